"""The refinement: a small network that makes the mouth, as the layers before it drew it, look photographed.

It sees a window around the mouth that is fixed to the skull, upright and of one size on every face: what the geometry
has drawn there, what the photo shows there, and where the lips are open. What it adds to the picture is laid back over
the frame, the more, the further the lips have moved from the photo's; nothing where they have not.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from space_core.assets import weights_path
from space_core.face.portrait import MARGIN, SIZE
from space_core.face.topology import INNER_LOWER_LIP, INNER_UPPER_LIP, OUTER_LOWER_LIP, OUTER_UPPER_LIP
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.opening_mask import opening_mask, window_around
from space_core.generator.mesh_warp.sampling import lattice, smoothstep

WEIGHTS = weights_path("refinement.safetensors")

# The window: a square of the picture plane as wide as the outer eye corners are apart (1 normalized unit), its middle
# that far below the middle of the photo's mouth, as mouths open downwards.
SIDE = 128  # pixels
BELOW_MOUTH = 0.08
AROUND_LIPS = 10  # pixels of it; the skin further from the lips stays as it is, with all of its texture
EDGE = 0.12  # over which the window fades into the frame, in widths of it
# Lips that have moved less than the first of these from the photo's (normalized units, root mean square) are left as
# the geometry has them, with no motion the photo itself; from the second on, all of the refinement shows.
MOVED_LOW, MOVED_HIGH = 0.003, 0.015
COLOURFUL = (0.04, 0.15)  # saturations of the skin; below the first nothing is refined, above the second everything
REACH = 0.15  # normalized; distances to the lips' curves are told up to this

CHANNELS = (32, 64, 128)  # at a half, a quarter and an eighth of the window's resolution
NUM_LOOKS = 11  # pictures and maps that the network sees
INSIDE = slice(7, 8)  # the look that says what lies between the lips
NUM_LATENTS = 8  # used in training alone
LIPS = (INNER_UPPER_LIP, INNER_LOWER_LIP, OUTER_UPPER_LIP, OUTER_LOWER_LIP)


class Block(nn.Module):
    """Two residual convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(channels, channels, 3, padding=1)
        self.two = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.two(F.leaky_relu(self.one(F.leaky_relu(x, 0.1)), 0.1))


class RefinementNetwork(nn.Module):
    """A U-Net from what is known of a mouth to what has to be added to its picture."""

    def __init__(self, latents: bool = False) -> None:
        super().__init__()
        fine, middle, coarse = CHANNELS
        self.look = nn.Conv2d(4 * NUM_LOOKS, fine, 3, padding=1)
        self.fine_in = Block(fine)
        self.to_middle = nn.Conv2d(fine, middle, 3, stride=2, padding=1)
        self.middle_in = Block(middle)
        self.to_coarse = nn.Conv2d(middle, coarse, 3, stride=2, padding=1)
        self.coarse_in, self.coarse_out = Block(coarse), Block(coarse)
        self.from_coarse = nn.Conv2d(coarse, middle, 1)
        self.middle_out = Block(middle)
        self.from_middle = nn.Conv2d(middle, fine, 1)
        self.fine_out = Block(fine)
        self.draw = nn.Conv2d(fine, 4 * 7, 3, padding=1)
        self.tell = nn.Linear(NUM_LATENTS, 2 * coarse, bias=False) if latents else None  # FiLM

    def forward(self, looks: torch.Tensor, latents: torch.Tensor | None = None) -> torch.Tensor:
        """What to add (B, 3, 128, 128) to pictures that have these looks (B, 11, 128, 128), see ``looks``.

        ``latents`` (B, 8) tell what they can't.
        """
        seen = looks.to(self.look.weight.dtype, memory_format=torch.channels_last)
        fine = self.fine_in(self.look(F.pixel_unshuffle(seen, 2)))
        middle = self.middle_in(self.to_middle(fine))
        coarse = self.coarse_in(self.to_coarse(middle))
        if latents is not None:
            scale, shift = self.tell(latents.to(coarse.dtype))[..., None, None].chunk(2, 1)
            coarse = torch.addcmul(coarse + shift, coarse, scale)
        coarse = self.coarse_out(coarse)
        middle = self.middle_out(middle + F.interpolate(self.from_coarse(coarse), scale_factor=2))
        fine = self.fine_out(fine + F.interpolate(self.from_middle(middle), scale_factor=2))
        drawn = F.pixel_shuffle(self.draw(F.leaky_relu(fine, 0.1)), 2).float()
        # What it paints anew, where it does so, and what it adds to all else.
        painted, where, more = drawn.split((3, 1, 3), 1)
        # Between the lips that is nearly everywhere, elsewhere nearly nowhere, until it has learnt better.
        where = torch.sigmoid(where - 3 + 6 * looks[:, INSIDE])
        return where * (painted - looks[:, :3]) + more


@cache
def load_refinement(device: str | torch.device = "cpu") -> RefinementNetwork:
    """The trained network on a device, read once; in bfloat16 where that is fast."""
    device = torch.device(device)
    arrays = load_file(WEIGHTS)
    network = RefinementNetwork()
    network.load_state_dict({name: array.float() for name, array in arrays.items()})
    if device.type == "cuda" or torch.cpu._is_avx512_bf16_supported():
        network = network.bfloat16()
    return network.eval().to(device, memory_format=torch.channels_last)


@dataclass(frozen=True)
class PreparedRefinement:
    """What every frame of a portrait needs for the refinement.

    Attributes:
        photo: the photo's own landmarks.
        centre: (1, 3) normalized middle of the window.
        looks: (1, 4, 128, 128) the photo in its window, 0…1, and where its mouth is open, 0…1.
        strength: 0 a photo or statue without colours, which the network would not know how to treat … 1.
    """

    photo: FaceMotion
    centre: torch.Tensor
    looks: torch.Tensor
    strength: torch.Tensor


def prepare_refinement(picture: torch.Tensor, photo: FaceMotion) -> PreparedRefinement:
    """The mouth of a photo: its surroundings (1, 3, 640, 640), 0…1, and its own landmarks."""
    corners = photo.normalized[:, [INNER_UPPER_LIP[0], INNER_UPPER_LIP[-1]]].mean(1)
    centre = corners + torch.tensor([0, BELOW_MOUTH, 0], device=corners.device)
    window = windows_of(picture, window_pixels(centre, photo))
    opening = opening_mask(*lips_in_window(centre, photo)[:2], pixels=_lattice(picture.device)).coverage
    mean = window.mean((0, 2, 3))
    strength = smoothstep((mean.max() - mean.min()) / mean.max().clamp(min=0.05), *COLOURFUL)
    return PreparedRefinement(photo, centre, torch.cat([window, opening[:, None]], 1), strength)


def refine(
    frames: torch.Tensor,
    network: RefinementNetwork,
    prepared: PreparedRefinement,
    motion: FaceMotion,
) -> None:
    """Refines the mouths of frames (B, 3, 512, 512), 0…1, in place."""
    moved = how_moved(prepared.photo, motion)
    if not bool((moved > 0).any()):
        return
    pixels = window_pixels(prepared.centre, motion) - MARGIN
    seen = looks(windows_of(frames, pixels), prepared, motion)
    added = network(seen) * (prepared.strength * moved)[:, None, None, None] * near_lips(seen)

    # Back into the frames: each pixel near the window is looked up in it, outside there is nothing to add.
    around = window_around(pixels[:, [0, 0, -1, -1], [0, -1, 0, -1]], 0, SIZE)
    step = pixels[:, 0, 1] - pixels[:, 0, 0]  # (B, 2) one pixel of the window along its top
    axes = torch.stack([step, torch.stack([-step[:, 1], step[:, 0]], -1)], -2) / step.square().sum(-1)[:, None, None]
    place = (around.pixels - pixels[:, None, None, 0, 0]) @ axes[:, None].mT
    place = place * (2 / (SIDE - 1)) - 1
    added = F.grid_sample(added, place, align_corners=True)
    index = around.index.flatten(1)[:, None].expand(-1, 3, -1)
    frames.flatten(2).scatter_add_(2, index, added.flatten(2))
    frames.clamp_(0, 1)


def how_moved(photo: FaceMotion, motion: FaceMotion) -> torch.Tensor:
    """(B,) how far the lips have moved from the photo's: 0 not at all … 1 enough to refine them fully."""
    lips = sorted({point for curve in LIPS for point in curve})
    change = motion.normalized[:, lips] - photo.normalized[:, lips]
    return smoothstep(change.square().sum(-1).mean(-1).sqrt(), MOVED_LOW, MOVED_HIGH)


def window_pixels(centre: torch.Tensor, motion: FaceMotion) -> torch.Tensor:
    """(B, 128, 128, 2) the places in the surroundings of the window's pixels, around a normalized centre (1, 3)."""
    middle = motion.place(centre)[..., :2]  # (B, 1, 2)
    offsets = (_lattice(centre.device) - (SIDE - 1) / 2) / SIDE
    return (offsets.flatten(1, 2) @ _axes(motion).mT + middle).unflatten(1, (SIDE, SIDE))


def windows_of(pictures: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """(B, C, 128, 128) what square pictures (B, C, n, n) show at pixels (B, 128, 128, 2)."""
    step = float((pixels[:, 0, 1] - pixels[:, 0, 0]).norm(dim=-1).max())
    grid = (pixels + 0.5) * (2 / pictures.shape[-1]) - 1
    if step >= 2:  # of finer pictures, some pixels are one of the window's
        pictures = F.avg_pool2d(pictures, 2 ** int(math.log2(step)))
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def lips_in_window(centre: torch.Tensor, motion: FaceMotion) -> list[torch.Tensor]:
    """The four curves of the lips (see ``LIPS``), (B, 11, 2) each, in pixels of the window."""
    middle, axes = motion.place(centre)[..., :2], _axes(motion).inverse()
    return [(motion.posed[:, list(curve), :2] - middle) @ axes.mT * SIDE + (SIDE - 1) / 2 for curve in LIPS]


def looks(windows: torch.Tensor, prepared: PreparedRefinement, motion: FaceMotion) -> torch.Tensor:
    """(B, 11, 128, 128) what the network sees of windows (B, 3, 128, 128) of frames, 0…1, with this motion."""
    return joined(windows, prepared.looks, lips_in_window(prepared.centre, motion))


def joined(windows: torch.Tensor, photo: torch.Tensor, lips: list[torch.Tensor]) -> torch.Tensor:
    """The network's looks from windows of frames (B, 3, 128, 128), of the photo (B or 1, 4, 128, 128), and the lips."""
    pixels = _lattice(windows.device).expand(len(windows), -1, -1, -1)
    inner, outer = opening_mask(*lips[:2], pixels), opening_mask(*lips[2:], pixels, softness=4.0)
    reach = REACH * SIDE
    distances = [(edge / reach).clamp(-1, 1) for edge in (inner.below_upper, inner.above_lower)]
    maps = torch.stack([inner.coverage, *distances, outer.coverage], 1)
    return torch.cat([windows - 0.5, photo.expand(len(windows), -1, -1, -1) - 0.5, maps], 1)


def near_lips(looks: torch.Tensor) -> torch.Tensor:
    """(B, 1, 128, 128) how much of the refinement shows: all on the lips and between them, none in the skin around."""
    near = F.max_pool2d(looks[:, -1:], (2 * AROUND_LIPS + 1, 1), 1, (AROUND_LIPS, 0))
    near = F.max_pool2d(near, (1, 2 * AROUND_LIPS + 1), 1, (0, AROUND_LIPS))
    for _ in range(2):
        near = F.avg_pool2d(near, AROUND_LIPS + 1, 1, AROUND_LIPS // 2)
    return near * _window_edge(looks.device)


@cache
def _window_edge(device: torch.device) -> torch.Tensor:
    """(128, 128) 1 inside the window, fading to 0 at its edge."""
    across = (torch.arange(SIDE, device=device) + 0.5) / SIDE
    edge = smoothstep(torch.minimum(across, 1 - across), 0.5 / SIDE, EDGE)
    return edge[:, None] * edge


def _axes(motion: FaceMotion) -> torch.Tensor:
    """(B, 2, 2) columns: the window's width and height in the picture, upright with the head, in pixels."""
    along = motion.rotation[:, :2, 0]
    along = along / along.norm(dim=-1, keepdim=True) * motion.scale[:, None]
    return torch.stack([along, torch.stack([-along[:, 1], along[:, 0]], -1)], -1)


@cache
def _lattice(device: torch.device) -> torch.Tensor:
    return lattice(torch.arange(SIDE, dtype=torch.float32, device=device))
