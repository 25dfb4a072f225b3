"""Continues the structure of a picture, such as letters, shelves, leaves and edges, into its unknown part.

Multi-scale patch-based completion (Wexler et al., 2007): the unknown part becomes such that each patch of it is like a
patch of the known part. Patches are compared in reduced pictures, where an exhaustive search is a product of matrices;
pixels are then copied at full resolution. Patches alone were far from what a head hides: they are also chosen by place
and by the colours of a smooth fill, which is right about large shapes; and where they contradict each other their mean
is taken, which looks out of focus instead of fragmented.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from space_core.distance import distance_to
from space_core.generator.mesh_warp.inpainting import DETAIL, TRACES, fill, with_detail
from space_core.generator.mesh_warp.parallel import map_parts, thread_beside
from space_core.generator.mesh_warp.sampling import blur, downsampled, sum_of_channels, to_three_channels
from space_core.smoothstep import smoothstep

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
OFF_MIDDLE = 0.15  # by this share a patch's distance counts more for the pixel at its corner
AGREEMENT = (0.02, 0.06)  # standard deviation of what patches say of a pixel, 0…1: copied … the mean of them
REACH, FADE = 96, 24  # pixels: no turn of a head uncovers what is further inside; over which completion ends there
BORDER = 6  # pixels around the unknown part that are not copied: in most traces of what hides it end there
MAX_ERROR = 0.1  # of colours, 0…1, at the border, that is made up for
# Structure is the deviation of known colours, 0…1, from their mean, between the first two scales and averaged over the
# third (standard deviations, pixels): grain and shades are none. Below and above these values it is plain and busy.
FINE, COARSE, WIDE = 2.0, 12.0, 14.0
PLAIN, BUSY = 0.014, 0.028
# Detail, colours 0…1, that is more than grain; and of which share of pixels nearby that is texture.
STRONG, EVERYWHERE = 0.02, (0.45, 0.6)
# Pixels are even where their colour differs by less than ``EVEN`` from that of their neighbours. Where the share of
# such pixels nearby exceeds ``PAPER``, detail is that of letters on paper, which is not a texture: pieces of it would
# be seen as scraps.
EVEN, PAPER = 0.01, (0.1, 0.18)
# Detail, colours 0…1, that is stronger is that of things, such as petals and letters: pieces of it are as weak as that.
STRONGEST = 0.08
REDUCED = 8  # times, for what is averaged over the last of these
# Where the picture gives evidence, both estimates' errors, averaged over the first width, are squared and averaged over
# the second (standard deviations, pixels); so large an error is expected of both. Last, the smooth estimate's share of
# both squares with which none … all of the structure is taken.
COARSE_ERROR, NEAR, USUAL_ERROR, BETTER = 3.0, 6.0, 0.03, (0.1, 0.25)
KNOWN = 0.99  # of ``known``: a pixel that is wholly known


@dataclass(frozen=True)
class _Field:
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
class _Completion:
    """A reduced picture that is completed.

    Attributes:
        field: what it is completed from.
        mean: (3, h, w) its colours, in the unknown part the mean of what the patches over a pixel say.
        spread: (h, w) their standard deviation.
    """

    field: _Field
    mean: torch.Tensor
    spread: torch.Tensor


@dataclass(frozen=True)
class _Structure:
    """What continues the known part's structure.

    Attributes:
        colours: (3, H, W).
        is_copied: (H, W) bool, where it is anything.
        disagreed: (H, W) 0 where pixels are copied … 1 where patches contradict each other, whose mean is taken.
    """

    colours: torch.Tensor
    is_copied: torch.Tensor
    disagreed: torch.Tensor


def busyness(picture: torch.Tensor, known: torch.Tensor) -> np.ndarray:
    """(H, W) float32 0 where the known part nearby is plain … 1 where it has structure.

    ``picture`` and ``known`` are as in ``with_structure``; traces of what hides the unknown part don't count.
    """
    weight = cv2.erode(known[0, 0].numpy(), _square(2 * TRACES + 1))
    own = _channels_last(picture[0]) * to_three_channels(weight)
    fine = blur(own, FINE) / to_three_channels(blur(weight, FINE).clip(1e-3))
    # Of the coarse scale a quarter of the resolution is enough.
    small, small_weight = (
        cv2.resize(array, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA) for array in (own, weight)
    )
    coarse = blur(small, COARSE / 4) / to_three_channels(blur(small_weight, COARSE / 4).clip(1e-3))
    structure = fine - cv2.resize(coarse, weight.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return smoothstep(np.sqrt(_nearby(sum_of_channels(structure * structure) / 3, weight)), PLAIN, BUSY)


def _texture(picture: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """(H, W) 1 where the known part nearby has detail everywhere, such as leaves … 0, also on paper with letters."""
    seen, weight = _channels_last(picture[0]), known[0, 0].numpy()
    strong = (sum_of_channels(cv2.absdiff(seen, blur(seen, DETAIL))) > 3 * STRONG).astype(np.float32)
    share = smoothstep(_nearby(strong, weight), *EVERYWHERE)
    if share.any():
        range_of_colours = sum_of_channels(cv2.morphologyEx(seen, cv2.MORPH_GRADIENT, _square(3)))
        even = (range_of_colours < 3 * EVEN).astype(np.float32)
        share = share * (1 - smoothstep(_nearby(even, weight), *PAPER))
    return torch.from_numpy(share)


def _nearby(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(H, W) the mean of values (H, W) of which (H, W) weights are known, over ``WIDE`` and beyond."""
    size = (weight.shape[1] // REDUCED, weight.shape[0] // REDUCED)
    total, near = (
        blur(cv2.resize(array, size, interpolation=cv2.INTER_AREA), WIDE / REDUCED)
        for array in (values * weight, weight)
    )
    mean, certain = (torch.from_numpy(array)[None, None] for array in (total / near.clip(1e-3), (10 * near).clip(0, 1)))
    return cv2.resize(fill(mean, certain)[0, 0].numpy(), weight.shape[::-1], interpolation=cv2.INTER_LINEAR)


def with_structure(
    smooth: torch.Tensor,
    picture: torch.Tensor,
    known: torch.Tensor,
    busy: np.ndarray,
    evidence: np.ndarray,
    wanted: np.ndarray,
) -> torch.Tensor:
    """What ``with_detail`` returns, with the known part's structure continued into the unknown one where there is any.

    Args:
        smooth: (1, 3, H, W) the picture filled with neither, 0…1.
        picture: (1, 3, H, W) the picture; its sides are multiples of 16.
        known: (1, 1, H, W) 0 unknown … 1 known.
        busy: (H, W) what ``busyness`` returns.
        evidence: (H, W) float32 how likely the unknown part is what the picture shows there, 0…1; it is not copied.
        wanted: (H, W) bool, which pixels of the unknown part are needed.
    """
    with thread_beside() as beside:
        detailed = beside.submit(with_detail, smooth, picture, known)
        is_known = known[0, 0].numpy() > KNOWN
        inside = distance_to(is_known)
        wanted = wanted & (inside < REACH)
        if not busy[wanted].any():
            return detailed.result()
        texture = beside.submit(_texture, picture, known)
        structure = _structure(picture, smooth, is_known, wanted)
    if structure is None:
        return detailed.result()
    trusted = structure.is_copied * torch.from_numpy(((REACH - inside) / FADE).clip(0, 1))
    structured = fill(structure.colours[None], trusted[None, None])
    better = _better(structured, smooth, picture, evidence * ~is_known)
    filled = detailed.result()
    # What is not copied has the detail of leaves and the like; that of letters would show as what it is.
    detail = (filled - smooth).clamp(-STRONGEST, STRONGEST)
    detail = detail * texture.result() * (1 - better * (1 - structure.disagreed))
    estimate = torch.lerp(smooth, structured, better) + detail
    return torch.lerp(filled, estimate, torch.from_numpy(busy) * (1 - known))


def _structure(
    picture: torch.Tensor, smooth: torch.Tensor, is_known: np.ndarray, wanted: np.ndarray
) -> _Structure | None:
    """The structure of a picture (1, 3, H, W), continued where ``wanted`` (H, W) bool; None if too little is known."""
    around = _square(2 * BORDER + 1)
    clear = torch.from_numpy(cv2.erode(is_known.astype(np.uint8), around) > 0)
    missing = torch.from_numpy(cv2.dilate(wanted.astype(np.uint8), around) > 0)
    completion = _completed(picture[0], smooth[0], clear, missing)
    if completion is None:
        return None
    copied, is_copied, repeated = _copied(picture[0], completion.field, completion.spread.shape)
    mean, spread = (
        F.interpolate(values[None], copied.shape[1:], mode="bilinear", align_corners=False)[0]
        for values in (completion.mean, torch.stack([completion.spread, repeated]))
    )
    disagreed = torch.maximum(smoothstep(spread[0], *AGREEMENT), spread[1])
    colours = torch.lerp(copied, mean, disagreed)
    # What it gets wrong at the border is made up for, smoothly.
    border = (clear & is_copied).float()
    error = ((picture[0] - colours) * border).clamp(-MAX_ERROR, MAX_ERROR)
    return _Structure(colours + fill(error[None], border[None, None])[0], is_copied, disagreed)


def _better(
    structured: torch.Tensor, smooth: torch.Tensor, picture: torch.Tensor, evidence: np.ndarray
) -> torch.Tensor:
    """(H, W) 1 where a picture is more like the structured estimate than the smooth one … 0.

    Both are (1, 3, H, W), ``evidence`` (H, W) is how likely the picture shows what is estimated.
    """
    # For what is averaged over such widths, half the resolution is enough.
    evidence, own, *estimates = (
        cv2.resize(array, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        for array in (evidence, *(_channels_last(values[0]) for values in (picture, structured, smooth)))
    )
    weight, near, errors = blur(evidence, NEAR / 2), to_three_channels(blur(evidence, COARSE_ERROR / 2).clip(1e-3)), []
    for estimate in estimates:
        error = blur((estimate - own) * to_three_channels(evidence), COARSE_ERROR / 2) / near
        squared = sum_of_channels(error * error) / 3
        errors.append(blur(squared * evidence, NEAR / 2) / weight.clip(1e-3) + USUAL_ERROR**2)
    better = smoothstep(errors[1] / (errors[0] + errors[1]), *BETTER)
    better, certain = (torch.from_numpy(array)[None, None] for array in (better, (10 * weight).clip(0, 1)))
    filled = fill(better, certain)[0, 0].numpy()
    return torch.from_numpy(cv2.resize(filled, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR))


def _completed(
    picture: torch.Tensor, smooth: torch.Tensor, known: torch.Tensor, wanted: torch.Tensor
) -> _Completion | None:
    """The last level of a picture (3, H, W), completed where (H, W) bool says that it is ``wanted`` and not ``known``.

    None if too little is known. ``smooth`` (3, H, W) is the picture filled smoothly.
    """
    completion, finest = None, LEVELS[-1]
    shares, colours, filled = (downsampled(values, finest) for values in (known.float()[None], picture * known, smooth))
    needed = F.max_pool2d(wanted.float()[None], finest)
    for reduction in LEVELS:
        share, colour, large = (F.avg_pool2d(values, reduction // finest) for values in (shares, colours, filled))
        is_known, size = share[0] > 0.5, share.shape[1:]
        sources = torch.from_numpy(np.argwhere(cv2.erode(is_known.byte().numpy(), _square(PATCH), borderValue=0)))
        if len(sources) < FEWEST:
            continue
        unknown = ~is_known & (F.max_pool2d(needed, reduction // finest)[0] > 0)
        targets = torch.from_numpy(np.argwhere(cv2.dilate(unknown.byte().numpy(), _square(PATCH))))
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
        completion = _Completion(field, torch.where(unknown, mean, reduced), spread)
    return completion


def _mean_around(colours: torch.Tensor, known: torch.Tensor, width: float) -> torch.Tensor:
    """(3, h, w) the mean of the known (h, w) bool of colours (3, h, w) over a width, the standard deviation."""
    weight = known.float().numpy()
    total = blur((colours * known).permute(1, 2, 0).numpy(), width) / blur(weight, width).clip(1e-3)[..., None]
    return torch.from_numpy(total).permute(2, 0, 1)


def _matched(reduced: torch.Tensor, guide: torch.Tensor, targets: torch.Tensor, sources: torch.Tensor) -> _Field:
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
    return _Field(targets, sources[torch.cat(indices)], torch.cat(distances).clamp(min=0))


def _voted(reduced: torch.Tensor, field: _Field) -> tuple[torch.Tensor, torch.Tensor]:
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
    for row, column in _steps():
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
        ring = torch.from_numpy(cv2.dilate(known.byte().numpy(), _square(3)) > 0) & ~known
        targets = torch.argwhere(ring)
        counts, wanted = _patches(known[None].float(), targets).repeat(1, 3), _patches(reduced, targets)
        distances = counts @ offered.square().T - 2 * (counts * wanted) @ offered.T
        distances += guides.square().sum(1) - 2 * GUIDE * guide[:, ring].T @ guides.T
        best = sources[distances.argmin(1)]
        reduced[:, ring] = reduced[:, *best.T]
        known = known | ring
    return reduced


def _copied(
    picture: torch.Tensor, field: _Field, size: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A picture (3, H, W) with what a field of a reduced picture of that size copies, and where, (H, W) bool.

    Also, for each reduced pixel, 1 where the same is copied to one beside it, too, which would be a pattern … 0.

    Each reduced pixel is a cell that the best patch over it is copied to. Cells overlap by half and are blended.
    """
    height, width = size
    around = np.full((height + 2 * RADIUS, width + 2 * RADIUS), np.inf, np.float32)
    apart = np.zeros((*around.shape, 2), np.float32)
    whole = apart.view(np.complex64)[..., 0]  # both at once
    targets = tuple(field.targets.T.numpy() + RADIUS)
    around[targets], apart[targets] = field.distances.numpy(), (field.sources - field.targets).numpy()
    best, pairs = np.full(size, np.inf, np.float32), np.zeros(size, np.complex64)
    for row, column in _steps():
        here = np.s_[RADIUS - row : RADIUS - row + height, RADIUS - column : RADIUS - column + width]
        distances = around[here] * np.float32(1 + OFF_MIDDLE * (row**2 + column**2) / (2 * RADIUS**2))
        better = distances < best
        np.copyto(best, distances, where=better)
        np.copyto(pairs, whole[here], where=better)
    cell, is_copied, offsets = picture.shape[1] // height, np.isfinite(best), pairs[..., None].view(np.float32)
    repeated = _repeated(offsets, is_copied)

    own = _channels_last(picture)
    total, weights = np.zeros_like(own), np.zeros(own.shape[:2], np.float32)
    # The cells that are copied, and one more around.
    ends = [np.flatnonzero(is_copied.any(1 - axis))[[0, -1]] + (-1, 2) for axis in (0, 1)]
    used = tuple(slice(*(cell * end.clip(0, count)).tolist()) for end, count in zip(ends, size, strict=True))
    pixels = [np.arange(part.start, part.stop, dtype=np.float32) for part in used]

    def weighted_copy(shift: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        places = [(values + 0.5) / cell - 0.5 for values in pixels]
        middles = [np.floor(values) + more for values, more in zip(places, shift, strict=True)]
        near = [1 - abs(values - middle) for values, middle in zip(places, middles, strict=True)]
        rows, columns = (m.clip(0, count - 1).astype(int) for m, count in zip(middles, size, strict=True))
        weight = near[0][:, None] * near[1] * is_copied[rows][:, columns]
        y, x = (cell * offsets[rows, :, axis][:, columns] for axis in (0, 1))
        copy = cv2.remap(own, pixels[1] + x, pixels[0][:, None] + y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        return to_three_channels(weight) * copy, weight

    for copy, weight in map_parts(weighted_copy, ((0, 0), (0, 1), (1, 0), (1, 1))):
        total[used] += copy
        weights[used] += weight
    copied = torch.from_numpy(total / to_three_channels(weights.clip(1e-6))).permute(2, 0, 1)
    return copied, torch.from_numpy(weights > 0.5), torch.from_numpy(repeated)


def _repeated(offsets: np.ndarray, is_copied: np.ndarray) -> np.ndarray:
    """(h, w) float32 1 where a cell that is copied with offsets (h, w, 2) is copied to one beside it, too … 0."""
    height, width = is_copied.shape
    places = np.arange(height * width).reshape(height, width)
    source = np.where(is_copied, places + (offsets @ np.array([width, 1], np.float32)).astype(int), -1 - places)
    found = np.zeros((height, width), np.float32)
    for row, column in ((0, 1), (1, -1), (1, 0), (1, 1)):
        left, right = max(-column, 0), width - max(column, 0)
        here, beside = np.s_[: height - row, left:right], np.s_[row:, left + column : right + column]
        same = source[here] == source[beside]
        found[here] += same
        found[beside] += same
    return blur(np.minimum(found, 1), 1)


def _patches(reduced: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(N, C · 49) the patches of a reduced picture (C, h, w) around pixels (N, 2)."""
    padded = F.pad(reduced[None], (RADIUS,) * 4, mode="replicate")[0]
    width, side = padded.shape[2], torch.arange(PATCH)
    first = places[:, 0] * width + places[:, 1]
    pixels = first[:, None] + (side[:, None] * width + side).view(-1)
    return (
        padded.flatten(1).index_select(1, pixels.view(-1)).view(len(padded), *pixels.shape).transpose(0, 1).flatten(1)
    )


def _steps() -> list[tuple[int, int]]:
    """Rows and columns from a patch's middle to each of its pixels."""
    reach = range(-RADIUS, RADIUS + 1)
    return list(product(reach, reach))


def _channels_last(picture: torch.Tensor) -> np.ndarray:
    """(H, W, C) a picture (C, H, W)."""
    return np.ascontiguousarray(picture.permute(1, 2, 0).numpy())


def _square(side: int) -> np.ndarray:
    return np.ones((side, side), np.uint8)
