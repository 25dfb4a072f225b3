"""Random weights in the published layout, to test everything but the quality of the pictures."""

import torch
from torch import nn

from space_core.generator.liveportrait.layout import Layout
from space_core.generator.liveportrait.motion_extractor import MotionExtractor
from space_core.generator.liveportrait.networks import LivePortraitNetworks

POWER_ITERATIONS = 10  # until the singular vectors of spectral norm are near enough


def random_networks(seed: int, layout: Layout | None = None) -> LivePortraitNetworks:
    """The networks with random weights: the same seed gives the same ones. They are not folded for inference yet."""
    with torch.device("meta"):
        networks = LivePortraitNetworks(layout)
    networks.load_state_dict(random_state_dict(networks, seed), assign=True)
    return networks


def smooth_networks(seed: int, layout: Layout | None = None) -> LivePortraitNetworks:
    """Random networks like ``random_networks``, but with a motion extractor that reads pictures smoothly.

    Its blocks are as PyTorch initialises them, so that they change little of what passes, and each strided convolution
    averages over its patch, so that single pixels and texture hardly count.
    """
    networks = random_networks(seed, layout)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        networks.motion_extractor = extractor = MotionExtractor(networks.layout)
        for downsample in extractor.detector.downsample_layers:
            (convolution,) = (layer for layer in downsample.children() if isinstance(layer, nn.Conv2d))
            mixing = torch.randn(convolution.weight.shape[:2]) * convolution.in_channels**-0.5
            weight = mixing[..., None, None].expand_as(convolution.weight) / convolution.weight[0, 0].numel()
            convolution.weight.data = weight.contiguous()
    return networks


def random_state_dict(network: nn.Module, seed: int) -> dict[str, torch.Tensor]:
    """Random values for all tensors of a network, of which every part has some effect on the outputs."""
    random = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in sorted(network.state_dict().items()):
        kind = name.rpartition(".")[2]
        if kind == "num_batches_tracked":
            tensors[name] = torch.zeros((), dtype=torch.long)
            continue
        values = torch.randn(tensor.shape, generator=random)
        if kind == "running_var":
            tensors[name] = 1 + 0.5 * values.square()
        elif kind in ("weight", "weight_orig") and values.ndim > 1:
            tensors[name] = values * values[0].numel() ** -0.5
        elif kind == "weight":  # of a norm
            tensors[name] = 1 + 0.2 * values
        else:
            tensors[name] = 0.2 * values
    for name in [name for name in tensors if name.endswith("weight_u")]:
        weight = tensors[name.replace("weight_u", "weight_orig")].flatten(1)
        u = nn.functional.normalize(tensors[name], dim=0)
        for _ in range(POWER_ITERATIONS):
            v = nn.functional.normalize(weight.mT @ u, dim=0)
            u = nn.functional.normalize(weight @ v, dim=0)
        tensors[name], tensors[name.replace("weight_u", "weight_v")] = u, v
    return tensors
