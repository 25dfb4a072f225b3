"""Multi-scale patch-based completion of a reduced picture (Wexler et al., 2007).

The unknown part becomes such that each patch of it is like a patch of the known part. Patches are compared in reduced
pictures, where an exhaustive search is a product of matrices. Patches alone were far from what a head hides: they are
also chosen by place and by the colours of a smooth fill, which is right about large shapes; and where they contradict
each other their mean is taken, which looks out of focus instead of fragmented.
"""

from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from space_core.generator.mesh_warp.morphology import square
from space_core.generator.mesh_warp.parallel import map_parts
from space_core.generator.mesh_warp.sampling import blur, downsampled

LEVELS = 16, 8, 4  # reductions of the picture, each searched once: further searches change nothing that is measured
RADIUS = 3  # of a patch, reduced pixels
PATCH = 2 * RADIUS + 1
FEWEST = 30  # known patches; with fewer a level is left out
TOGETHER = 128  # patches that are searched for at a time: their distances stay in a core's cache
COMPONENTS = 24  # principal components in which patches are compared
# By how much a patch the picture's width away is worse, and one whose mean over that width, in pixels of the picture,
# differs by 1 from the smooth fill; as the Euclidean distance of patches of colours 0…1.
FARTHER, GUIDE, GUIDE_WIDTH = 10.0, 4.0, 16.0
ROWS = 0.25  # of the picture's height: patches are searched for so far above and below
TYPICAL = 0.5  # a patch whose error is the median one has e^(−1 / (2 · this)) times the weight of one without error


@dataclass(frozen=True)
class Field:
    """Which known patch each patch of the unknown part is like, in a reduced picture.

    Attributes:
        targets: (N, 2) row and column of the middles of patches.
        sources: (N, 2) likewise of those that they are like.
        distances: (N,) how much they differ, squared.
    """

    targets: torch.Tensor
    sources: torch.Tensor
    distances: torch.Tensor


@dataclass(frozen=True)
class Completion:
    """A reduced picture that is completed.

    Attributes:
        field: what it is completed from.
        mean: (3, h, w) its colours, in the unknown part the mean of what the patches over a pixel say.
        spread: (h, w) their standard deviation.
    """

    field: Field
    mean: torch.Tensor
    spread: torch.Tensor


def completed(
    picture: torch.Tensor, smooth: torch.Tensor, known: torch.Tensor, wanted: torch.Tensor
) -> Completion | None:
    """The last level of a picture (3, H, W), completed where (H, W) bool says that it is ``wanted`` and not ``known``.

    None if too little is known. ``smooth`` (3, H, W) is the picture filled smoothly.
    """
    completion, finest = None, LEVELS[-1]
    shares, colours, filled = (downsampled(values, finest) for values in (known.float()[None], picture * known, smooth))
    needed = F.max_pool2d(wanted.float()[None], finest)
    for reduction in LEVELS:
        share, colour, large = (F.avg_pool2d(values, reduction // finest) for values in (shares, colours, filled))
        is_known, size = share[0] > 0.5, share.shape[1:]
        sources = torch.from_numpy(np.argwhere(cv2.erode(is_known.byte().numpy(), square(PATCH), borderValue=0)))
        if len(sources) < FEWEST:
            continue
        unknown = ~is_known & (F.max_pool2d(needed, reduction // finest)[0] > 0)
        targets = torch.from_numpy(np.argwhere(cv2.dilate(unknown.byte().numpy(), square(PATCH))))
        own = colour / share.clamp(min=1e-6)
        reduced = torch.where(is_known, own, large)
        guide = torch.where(unknown, large, _mean_around(own, is_known, GUIDE_WIDTH / reduction))
        if completion is None:
            reduced = _peeled(reduced, guide, ~unknown, sources)
        else:
            before = F.interpolate(completion.mean[None], size, mode="bicubic", align_corners=False)[0]
            reduced = torch.where(unknown, before, reduced)
        field = _matched(reduced, guide, targets, sources)
        mean, spread = _voted(reduced, field)
        completion = Completion(field, torch.where(unknown, mean, reduced), spread)
    return completion


def _mean_around(colours: torch.Tensor, known: torch.Tensor, width: float) -> torch.Tensor:
    """(3, h, w) the mean of the known (h, w) bool of colours (3, h, w) over a width, the standard deviation."""
    weight = known.float().numpy()
    total = blur((colours * known).permute(1, 2, 0).numpy(), width) / blur(weight, width).clip(1e-3)[..., None]
    return torch.from_numpy(total).permute(2, 0, 1)


def _matched(reduced: torch.Tensor, guide: torch.Tensor, targets: torch.Tensor, sources: torch.Tensor) -> Field:
    """The field of a reduced picture (3, h, w), from patches around pixels (N, 2) to those around pixels (M, 2).

    ``guide`` (3, h, w) are colours of large shapes.
    """
    width = reduced.shape[2]
    wanted, offered = _patches(reduced, targets), _patches(reduced, sources)
    middle = offered.mean(0)
    # In double precision: in single precision LAPACK fails on patches of which many are the same.
    covariance = ((offered - middle).T @ (offered - middle)).double()
    axes = torch.linalg.eigh(covariance).eigenvectors[:, -COMPONENTS:].float()
    wanted, offered = (
        torch.cat([(values - middle) @ axes, GUIDE * guide[:, *places.T].T, places * (FARTHER / width)], 1)
        for values, places in ((wanted, targets), (offered, sources))
    )
    lengths, transposed = offered.square().sum(1), offered.T.contiguous()
    source_rows, within = sources[:, 0].contiguous(), round(ROWS * reduced.shape[1])

    def nearest(part: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # Both are in the order of rows; patches of rows further away would be too far from what is wanted.
        bounds = torch.stack([rows[0] - within, rows[-1] + within + 1])
        first, last = torch.searchsorted(source_rows, bounds).tolist()
        if last - first < FEWEST:
            first, last = 0, len(sources)
        relative = torch.addmm(lengths[first:last], part, transposed[:, first:last], alpha=-2)
        best = torch.from_numpy(relative.numpy().argmin(1))  # a tenth of the time that it takes in torch
        return relative.gather(1, best[:, None])[:, 0] + part.square().sum(1), best + first

    found = map_parts(nearest, wanted.split(TOGETHER), targets[:, 0].split(TOGETHER))
    distances, indices = zip(*found, strict=True)
    return Field(targets, sources[torch.cat(indices)], torch.cat(distances).clamp(min=0))


def _voted(reduced: torch.Tensor, field: Field) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean (3, h, w) and standard deviation (h, w) of what the patches over each pixel say.

    Patches that fit better weigh more.
    """
    weight = torch.exp(-field.distances / (2 * TYPICAL * field.distances.median() + 1e-6)).clamp(min=1e-6)
    width = reduced.shape[2] + 2 * RADIUS
    values = torch.cat([reduced, reduced.square().mean(0)[None], torch.ones_like(reduced[:1])])
    padded = F.pad(values, (RADIUS,) * 4).flatten(1)
    total = torch.zeros_like(padded)
    sources, targets = (
        ((places + RADIUS) * torch.tensor([width, 1])).sum(1) for places in (field.sources, field.targets)
    )
    for row, column in steps_from_middle():
        step = row * width + column
        total.index_add_(1, targets + step, padded.index_select(1, sources + step) * weight)
    *total, weight = total.unflatten(1, (-1, width))[:, RADIUS:-RADIUS, RADIUS:-RADIUS]
    *mean, square = torch.stack(total) / weight.clamp(min=1e-9)
    mean = torch.stack(mean)
    return mean, (square - mean.square().mean(0)).clamp(min=0).sqrt()


def _peeled(reduced: torch.Tensor, guide: torch.Tensor, known: torch.Tensor, sources: torch.Tensor) -> torch.Tensor:
    """A reduced picture (3, h, w), what is not known (h, w) filled from the border inwards, ring by ring.

    ``guide`` and ``sources`` are as in ``_matched``.
    """
    reduced, offered = reduced.clone(), _patches(reduced, sources)
    guides = GUIDE * guide[:, *sources.T].T
    while not known.all():
        ring = torch.from_numpy(cv2.dilate(known.byte().numpy(), square(3)) > 0) & ~known
        targets = torch.argwhere(ring)
        counts, wanted = _patches(known[None].float(), targets).repeat(1, 3), _patches(reduced, targets)
        distances = counts @ offered.square().T - 2 * (counts * wanted) @ offered.T
        distances += guides.square().sum(1) - 2 * GUIDE * guide[:, ring].T @ guides.T
        best = sources[distances.argmin(1)]
        reduced[:, ring] = reduced[:, *best.T]
        known = known | ring
    return reduced


def _patches(reduced: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(N, C · 49) the patches of a reduced picture (C, h, w) around pixels (N, 2)."""
    padded = F.pad(reduced[None], (RADIUS,) * 4, mode="replicate")[0]
    width, side = padded.shape[2], torch.arange(PATCH)
    first = places[:, 0] * width + places[:, 1]
    pixels = first[:, None] + (side[:, None] * width + side).view(-1)
    return (
        padded.flatten(1).index_select(1, pixels.view(-1)).view(len(padded), *pixels.shape).transpose(0, 1).flatten(1)
    )


def steps_from_middle() -> list[tuple[int, int]]:
    """Rows and columns from a patch's middle to each of its pixels."""
    reach = range(-RADIUS, RADIUS + 1)
    return list(product(reach, reach))
