"""Figures of the refinement on validation pairs: PSNR, perceptual distance, detail."""

import numpy as np
import torch

from space_core.generator.mesh_warp.refinement import (
    RefinementNetwork,
    assemble_conditioning,
    keep_drawn_edges,
    near_lips,
    window_lattice,
)
from space_core.measures.vgg import Vgg, perceptual_distance
from space_core.training.refinement.losses import detail, window_edge
from space_core.training.refinement.pairs import Pairs
from space_core.training.refinement.train import LatentEncoder, Trainer

MOUTH = slice(20, 108)  # rows and columns of the window that figures are taken of
CHUNK = 16  # pairs at once


@torch.no_grad()
def figures(pictures: torch.Tensor, pairs: Pairs, vgg: Vgg) -> np.ndarray:
    """(N, 3) of mouths (N, 3, 128, 128), 0…1: PSNR in dB, perceptual distance, detail relative to the recorded."""
    rows = []
    for first in range(0, len(pairs), CHUNK):
        part = slice(first, first + CHUNK)
        shown, recorded = pictures[part], pairs.recorded[part].float() / 255
        mouth = (..., MOUTH, MOUTH)
        psnr = -10 * torch.log10((shown - recorded)[mouth].square().mean((1, 2, 3)) + 1e-8)
        distance = perceptual_distance(vgg, shown[mouth], recorded[mouth])
        sharpness = detail(shown)[mouth].mean((1, 2, 3)) / detail(recorded)[mouth].mean((1, 2, 3))
        rows.append(torch.stack([psnr, distance, sharpness], 1))
    return torch.cat(rows).cpu().numpy()


@torch.no_grad()
def refined(network: RefinementNetwork, pairs: Pairs, encoder: LatentEncoder | None = None) -> torch.Tensor:
    """(N, 3, 128, 128) the refined mouths, 0…1; with latents of the recorded frames if an encoder is given."""
    device = pairs.rendered.device
    lattice, edge = window_lattice(device), window_edge().to(device)
    rows = []
    for first in range(0, len(pairs), CHUNK):
        part = pairs[first : first + CHUNK]
        rendered, photo = part.rendered.float() / 255, part.photo.float() / 255
        conditioning = assemble_conditioning(rendered, photo, list(part.lips.unbind(1)), lattice)
        with torch.autocast(device.type, torch.bfloat16):
            latents = encoder(part.recorded.float() / 255, conditioning) if encoder is not None else None
            added = network(conditioning, latents)
        weight = part.motion_weight[:, None, None, None] * near_lips(conditioning, edge)
        rows.append((rendered + keep_drawn_edges(conditioning, added) * weight).clamp(0, 1))
    return torch.cat(rows)


def report(trainer: Trainer, pairs: Pairs, clips: list[str]) -> None:
    """Prints the figures, clip by clip, of plain warp, rendered, and refined without and with true latents."""
    shown = {
        "plain warp": pairs.warped.float() / 255,
        "rendered": pairs.rendered.float() / 255,
        "refined": refined(trainer.average, pairs),
        "with true latents": refined(trainer.average, pairs, trainer.encoder),
    }
    measured = {name: figures(pictures, pairs, trainer.vgg) for name, pictures in shown.items()}
    print(f"{'PSNR, perceptual distance, sharpness':40}", *(f"{name:17}" for name in measured), sep=" | ")
    means: dict[str, list[np.ndarray]] = {name: [] for name in measured}
    for number, clip in enumerate(clips):
        own = (pairs.clip == number).cpu().numpy()
        for name, rows in measured.items():
            means[name].append(rows[own].mean(0))
        _print_row(clip[-40:], [rows[-1] for rows in means.values()])
    _print_row("mean", [np.mean(rows, axis=0) for rows in means.values()])


def _print_row(name: str, rows: list[np.ndarray]) -> None:
    print(f"{name:40}", *(f"{row[0]:5.2f} {row[1]:.4f} {row[2]:4.2f}" for row in rows), sep=" | ", flush=True)
