"""Fills the unknown part of a picture from the known part."""

import torch
from scipy.ndimage import distance_transform_edt
from torch.nn import functional as F

from space_core.generator.sampling import smoothstep

LEVELS = (40, 80, 160)  # sides of the picture in which pieces are sought, from coarse to fine
ROUNDS = (10, 5, 2)  # of seeking and putting together, on each level
PATCH = 5  # side of what is compared, pixels of a level
FAR = 0.3  # what it costs, in colour, that a piece comes from as far away as the picture is wide
SURE = 3.0  # in a comparison, known pixels count so many times as much as guessed ones
LARGEST_STEP = 0.08  # in brightness, 0…1, that is evened out between the pieces and what they meet
FADES = (80.0, 120.0)  # pixels beyond the edge, which no head uncovers; between these the smooth filling takes over


def continued(picture: torch.Tensor, known: torch.Tensor, genuine: torch.Tensor) -> torch.Tensor:
    """Fills a picture of the surroundings beyond the edge of what is known with pieces of it, further on smoothly.

    Every pixel comes from the place whose neighbourhood looks most alike, sought coarse to fine (Wexler et al., 2007,
    in the manner of PatchMatch, Barnes et al., 2009): lines go on as lines, and grain as grain. The same picture gives
    the same filling.

    Args:
        picture, known: as ``fill`` takes them, square.
        genuine: (1, 1, H, W) 1 for what may be copied.

    Returns:
        What ``fill`` does.
    """
    smooth = fill(picture, known)
    if bool((known > 0.99).all()) or not bool((known > 0.5).any()):
        return smooth
    side, random = picture.shape[-1], torch.Generator().manual_seed(0)
    whole_picture, whole_known, guess, source = picture.cpu(), known.cpu(), smooth.cpu(), None
    for size, rounds in zip(LEVELS, ROUNDS, strict=True):
        step = side // size
        small = F.avg_pool2d(whole_picture, step)
        sure = (F.avg_pool2d(whole_known, step) > 0.99).float()
        copied = sure * (F.avg_pool2d(genuine.cpu(), step) > 0.99)
        usable = (_spread(1 - copied, PATCH // 2) == 0)[0, 0]
        # Pixels that know themselves but have unknown neighbours take part, so that pieces fit the edge.
        near = _spread(sure, round(FADES[1] / step)) * _spread(1 - sure, PATCH // 2)
        places = near[0, 0].nonzero()
        if not bool(usable.any()) or not len(places):
            return smooth
        if source is None:
            source = usable.nonzero()[torch.randint(int(usable.sum()), (size * size,), generator=random)]
            source = source.T.reshape(2, size, size)
        else:
            odd = torch.stack(torch.meshgrid(*[torch.arange(size) % 2] * 2, indexing="ij"))
            source = source.repeat_interleave(2, 1).repeat_interleave(2, 2) * 2 + odd
        guess = torch.lerp(F.interpolate(guess, (size, size), mode="area"), small, sure)
        for _ in range(rounds):
            source = _sought(source, places, guess, sure, usable, random)
            guess = torch.lerp(_put_together(small, source), small, sure)
            guess = torch.lerp(F.interpolate(smooth.cpu(), (size, size), mode="area"), guess, near.clamp(min=sure))
        guess = F.interpolate(guess, (size * 2,) * 2, mode="bilinear", align_corners=False)

    # At full size the pieces are the picture's own pixels. What is left of steps in brightness at the edge is spread …
    step = side // size
    inner = torch.stack(torch.meshgrid(*[torch.arange(side) % step] * 2, indexing="ij"))
    source = source.repeat_interleave(step, 1).repeat_interleave(step, 2) * step + inner
    pieces = _put_together(whole_picture, source, 5)
    # … over the whole filling, so coarsely that no grain is.
    met = F.interpolate(near * sure, (side, side), mode="nearest")
    coarse, weight = F.avg_pool2d((whole_picture - pieces) * met, 2 * step), F.avg_pool2d(met, 2 * step)
    coarse = (coarse / weight.clamp(min=1e-6)).clamp(-LARGEST_STEP, LARGEST_STEP)
    steps = fill(coarse, (weight > 0.2).float())
    pieces = pieces + F.interpolate(steps, (side, side), mode="bilinear", align_corners=False)
    pieces = pieces.clamp(0, 1).to(picture.device)
    beyond = _distance(whole_known).to(picture.device)
    pieces = torch.lerp(smooth, pieces, smoothstep(beyond, *FADES[::-1]))
    return torch.lerp(pieces, picture, known)


def _sought(
    source: torch.Tensor,
    places: torch.Tensor,
    guess: torch.Tensor,
    sure: torch.Tensor,
    usable: torch.Tensor,
    random: torch.Generator,
) -> torch.Tensor:
    """The sources (2, n, n), y and x, bettered at some places (P, 2): by their neighbours' and by chance."""
    size = guess.shape[-1]
    reach = PATCH // 2
    table = F.unfold(F.pad(guess, (reach,) * 4, mode="replicate"), PATCH)[0].T.contiguous()  # (n · n, 3 · 25)
    weight = F.unfold(F.pad(1 + (SURE - 1) * sure, (reach,) * 4, mode="replicate"), PATCH)[0].T
    here = places[:, 0] * size + places[:, 1]
    wanted, weight = table[here], weight[here]
    weight = (weight / weight.sum(1, keepdim=True)).repeat(1, 3)

    def cost(candidates: torch.Tensor) -> torch.Tensor:
        found = table[candidates[:, 0] * size + candidates[:, 1]]
        away = ((candidates - places).float() / size).norm(dim=1)
        cost = ((found - wanted) ** 2 * weight).sum(1) + (FAR * away) ** 2
        return torch.where(usable[candidates[:, 0], candidates[:, 1]], cost, torch.inf)

    best = source[:, places[:, 0], places[:, 1]].T
    least = cost(best)
    source = source.clone()

    def consider(candidates: torch.Tensor) -> None:
        nonlocal best, least
        candidates = candidates.clamp(0, size - 1)
        costs = cost(candidates)
        better = costs < least
        best = torch.where(better[:, None], candidates, best)
        least = torch.where(better, costs, least)
        source[:, places[:, 0], places[:, 1]] = best.T

    for hop in (4, 1):
        for shift in torch.tensor([[0, hop], [hop, 0], [0, -hop], [-hop, 0]]):
            y, x = (places - shift).clamp(0, size - 1).T
            consider(source[:, y, x].T + shift)
    radius = size / 2
    while radius >= 1:
        consider(best + (radius * (2 * torch.rand(best.shape, generator=random) - 1)).round().long())
        radius /= 4
    return source


def _put_together(picture: torch.Tensor, source: torch.Tensor, patch: int = PATCH) -> torch.Tensor:
    """(1, 3, n, n) each pixel the mean of what the pieces around it, from their sources (2, n, n), have there."""
    size, reach = picture.shape[-1], patch // 2
    total = torch.zeros_like(picture)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            near = source.roll((dy, dx), (1, 2))
            y, x = (near[0] + dy).clamp(0, size - 1), (near[1] + dx).clamp(0, size - 1)
            total += picture[:, :, y, x]
    return total / patch**2


def _spread(mask: torch.Tensor, reach: int) -> torch.Tensor:
    """(1, 1, n, n) a mask grown by so many pixels, as a square."""
    for axis in ((1, 2 * reach + 1), (2 * reach + 1, 1)):
        mask = F.max_pool2d(mask, axis, 1, (axis[0] // 2, axis[1] // 2))
    return mask


def _distance(known: torch.Tensor) -> torch.Tensor:
    """(1, 1, n, n) how far each unknown pixel is from the nearest known one."""
    return torch.tensor(distance_transform_edt(known[0, 0].numpy() < 0.5), dtype=torch.float32)[None, None]


def fill(picture: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Push-pull: averages the known pixels down a pyramid and fills each level's gaps from the coarser one.

    Args:
        picture: (1, C, H, W) float.
        known: (1, 1, H, W) 0 unknown … 1 known.

    Returns:
        (1, C, H, W), equal to ``picture`` where ``known`` is 1.
    """
    height, width = picture.shape[-2:]
    if min(height, width) <= 2 or bool((known > 0.99).all()):
        return picture
    even = F.pad(picture * known, (0, width % 2, 0, height % 2))
    weight = F.avg_pool2d(F.pad(known, (0, width % 2, 0, height % 2)), 2)
    coarse = F.avg_pool2d(even, 2) / weight.clamp(min=1e-6)
    coarse = fill(coarse, (weight * 4).clamp(max=1))
    smooth = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    return picture * known + smooth * (1 - known)
