"""8-bit quantization of network weights for storage, with one scale per row."""

import torch


def quantize(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Arrays of two or more dimensions in int8 with a float32 scale per row (``NAME.scale``), others in float16."""
    quantized = {}
    for name, array in weights.items():
        if array.ndim < 2:
            quantized[name] = array.half()
            continue
        scale = (array.flatten(1).abs().amax(1) / 127).clamp(min=1e-8)
        quantized[name] = (array / scale.reshape(-1, *[1] * (array.ndim - 1))).round().to(torch.int8)
        quantized[f"{name}.scale"] = scale
    return {name: array.contiguous() for name, array in quantized.items()}


def dequantize(quantized: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The float32 weights, each of its own shape, that ``quantize`` stored."""
    weights = {}
    for name, array in quantized.items():
        if name.endswith(".scale"):
            continue
        scale = quantized.get(f"{name}.scale", torch.ones(1))
        weights[name] = array.float() * scale.reshape(-1, *[1] * (array.ndim - 1))
    return weights
