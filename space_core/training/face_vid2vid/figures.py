"""Figures on held-out pairs, and a picture of what the networks draw."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from space_core.generator.liveportrait.networks import LivePortraitNetworks
from space_core.measures.vgg import Vgg, perceptual_distance
from space_core.training.face_vid2vid.clips import Batch
from space_core.training.face_vid2vid.losses import pyramid_distance
from space_core.training.face_vid2vid.train import draw, shrunk

CHUNK = 4  # pairs at once
SHOWN = 6  # pairs in the picture


@torch.inference_mode()
def reenact(networks: LivePortraitNetworks, pairs: Batch) -> torch.Tensor:
    """(B, 3, output_size, output_size) on the CPU: the sources, moved as the driving pictures are, as for inference."""
    networks.eval()
    device, drawn = networks.device, []
    for first in range(0, len(pairs.source), CHUNK):
        source, driving = (
            shrunk(pictures[first : first + CHUNK].to(device), networks.layout)
            for pictures in (pairs.source, pairs.driving)
        )
        own, moving = networks.motion_extractor(source), networks.motion_extractor(driving)
        keypoints, moved = (
            networks.transform_keypoints(replace(motion, canonical=own.canonical)) for motion in (own, moving)
        )
        drawn.append(draw(networks, source, keypoints, moved).float().cpu())
    return torch.cat(drawn)


@torch.inference_mode()
def figures(pictures: torch.Tensor, recorded: torch.Tensor, vgg: Vgg | None) -> dict[str, float]:
    """Means over pictures (B, 3, H, W), 0…1: pyramid distance, PSNR in dB, perceptual distance where VGG is there."""
    found = {
        "pixels": pyramid_distance(pictures, recorded),
        "psnr": -10 * torch.log10((pictures - recorded).square().mean((1, 2, 3)) + 1e-8),
    }
    if vgg is not None:
        device = next(vgg.parameters()).device
        found["perceptual"] = torch.cat(
            [
                perceptual_distance(vgg, one.to(device), other.to(device)).cpu()
                for one, other in zip(pictures.split(CHUNK), recorded.split(CHUNK), strict=True)
            ]
        )
    return {name: float(values.mean()) for name, values in found.items()}


def save_sheet(path: Path, pairs: Batch, drawn: torch.Tensor) -> None:
    """Writes some pairs, one a row: source, driving picture, and what was drawn (B, 3, H, W), 0 … 1."""
    shown = torch.stack([pairs.source, pairs.driving, drawn])[:, :SHOWN]  # (3, rows, 3, H, W)
    sheet = shown.permute(1, 3, 0, 4, 2).flatten(2, 3).flatten(0, 1)  # (rows · H, 3 · W, 3)
    Image.fromarray(np.asarray((255 * sheet).round().byte())).save(path)
