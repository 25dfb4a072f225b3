"""The refinement: a small network that makes the mouth, as the layers before it drew it, look photographed.

Its input is a window around the mouth that is fixed to the skull, upright and of one size on every face: what the
geometry has drawn there, what the photo shows there, and where the lips are open. What it adds to the picture is laid
back over the frame, the more, the further the lips have moved from the photo's; nothing where they have not.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from space_core.arrays import smoothstep
from space_core.assets import weights_path
from space_core.face.topology import INNER_LOWER_LIP, INNER_UPPER_LIP, OUTER_LOWER_LIP, OUTER_UPPER_LIP
from space_core.generator.mesh_warp.face_motion import FaceMotion, HostMotion, index_on, upload
from space_core.generator.mesh_warp.opening_mask import opening_mask
from space_core.generator.mesh_warp.prepared_mouth import EDGE_SHARE
from space_core.generator.mesh_warp.sampling import affine_grid, blur_batch, grid_of, pairs

WEIGHTS = weights_path("refinement.safetensors")

# The window: a square of the picture plane as wide as the outer eye corners are apart (1 normalized unit). Its middle
# is ``BELOW_MOUTH`` (normalized) below the middle of the photo's mouth, as mouths open downwards.
SIDE = 128  # pixels
BELOW_MOUTH = 0.08
AROUND_LIPS = 10  # pixels of the window; the skin further from the lips keeps its texture
NEAR_LIPS_REACH = 2 * AROUND_LIPS + 2  # pixels of the window from the lips at which the refinement has faded to nothing
PART_UNIT = 8  # pixels, the stride of the network
EDGE = 0.12  # share of the window's width over which it fades into the frame
# Lips that have moved less than the first of these from the photo's (normalized units, root mean square) are left as
# the geometry has them, with no motion the photo itself; from the second on, all of the refinement shows.
MOVED_LOW, MOVED_HIGH = 0.003, 0.015
# Between the lips the refinement multiplies light in cells of ``SHADING_CELL`` pixels, blurred ``SHADING_BLURS`` times,
# by a factor within ``GAIN``; ``DARKEST`` is added to both of its terms, so that it does not grow in the dark. Beyond
# that it adds at most ``DETAIL``, 0…1.
SHADING_CELL, SHADING_BLURS = 4, 2
GAIN, DARKEST, DETAIL = (0.5, 1.6), 0.05, 0.05
# Brightness of lips, 0…1, below which the light that is added to them is reduced in proportion, or the seam between
# them would glow.
SHADED_LIP = 0.4
# The network, which has no input that says where teeth are bright, makes all of them darker than recorded ones: its
# factor is raised to this power and multiplied by this, chosen on recorded clips for contrast, gradient and bright
# pixels.
LIGHT_SHARE, BRIGHTER = 0.5, 1.05
REACH = 0.15  # normalized; distances to the lips' curves are given up to this

CHANNELS = (16, 48, 96)  # at a half, a quarter and an eighth of the window's resolution
NUM_CONDITIONS = 11  # channels of pictures and maps that the network is given
INSIDE = slice(7, 8)  # the channel that holds what lies between the lips
EDGES = slice(8, 9), slice(9, 10)  # those that hold the distances to the lips' inner edges
NUM_LATENTS = 8  # used in training alone
LIPS = (INNER_UPPER_LIP, INNER_LOWER_LIP, OUTER_UPPER_LIP, OUTER_LOWER_LIP)
LIP_POINTS = sorted({point for curve in LIPS for point in curve})


class Block(nn.Module):
    """Two residual convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(F.leaky_relu(self.conv1(F.leaky_relu(x, 0.1)), 0.1, inplace=True))


class RefinementNetwork(nn.Module):
    """A U-Net from the conditioning of a mouth to what has to be added to its picture."""

    def __init__(self, channels: tuple[int, int, int] = CHANNELS, latents: bool = False) -> None:
        super().__init__()
        fine, middle, coarse = channels
        self.conv_in = nn.Conv2d(NUM_CONDITIONS, fine, 6, stride=2, padding=2)
        self.fine_in = Block(fine)
        self.to_middle = nn.Conv2d(fine, middle, 3, stride=2, padding=1)
        self.middle_in = Block(middle)
        self.to_coarse = nn.Conv2d(middle, coarse, 3, stride=2, padding=1)
        self.coarse_in, self.coarse_out = Block(coarse), Block(coarse)
        self.from_coarse = nn.Conv2d(coarse, middle, 1)
        self.middle_out = Block(middle)
        self.from_middle = nn.Conv2d(middle, fine, 1)
        self.fine_out = Block(fine)
        self.conv_out = nn.Conv2d(fine, 4 * 7, 3, padding=1)
        self.film = nn.Linear(NUM_LATENTS, 2 * coarse, bias=False) if latents else None

    def forward(self, conditioning: torch.Tensor, latents: torch.Tensor | None = None) -> torch.Tensor:
        """What to add (B, 3, h, w) to pictures with this conditioning (B, 11, h, w); h and w are multiples of 8.

        ``latents`` (B, 8) carry what the conditioning does not; in training alone.
        """
        # In two steps, which on a CPU take a third of the time of one.
        x = conditioning.to(self.conv_in.weight.dtype).contiguous(memory_format=torch.channels_last)
        fine = self.fine_in(self.conv_in(x))
        middle = self.middle_in(self.to_middle(fine))
        coarse = self.coarse_in(self.to_coarse(middle))
        if latents is not None and self.film is not None:
            scale, shift = self.film(latents.to(coarse.dtype))[..., None, None].chunk(2, 1)
            coarse = torch.addcmul(coarse + shift, coarse, scale)
        coarse = self.coarse_out(coarse)
        middle = self.middle_out(middle + F.interpolate(self.from_coarse(coarse), scale_factor=2))
        fine = self.fine_out(fine + F.interpolate(self.from_middle(middle), scale_factor=2))
        out = F.pixel_shuffle(self.conv_out(F.leaky_relu(fine, 0.1)), 2).float()
        # What it paints anew, where it does so, and what it adds to all else.
        painted, where, residual = out.split((3, 1, 3), 1)
        # Between the lips that is nearly everywhere, elsewhere nearly nowhere, unless it has learned otherwise.
        where = torch.sigmoid(where - 3 + 6 * conditioning[:, INSIDE])
        return where * (painted - conditioning[:, :3]) + residual


def read_network(path: Path, channels: tuple[int, int, int] = CHANNELS) -> RefinementNetwork:
    """The network in a file with arrays in half precision, on the host, in float32."""
    network = RefinementNetwork(channels)
    network.load_state_dict({name: array.float() for name, array in load_file(path).items()})
    return network


def load_refinement(device: str | torch.device = "cpu") -> RefinementNetwork:
    """The trained network on a device; in bfloat16 where that is fast."""
    device, network = torch.device(device), read_network(WEIGHTS)
    fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
    network = network.bfloat16() if fast else network
    return network.eval().to(device, memory_format=torch.channels_last)


@dataclass(frozen=True)
class PreparedRefinement:
    """What every frame of a portrait needs for the refinement.

    Attributes:
        photo: the photo's own landmarks.
        centre: (1, 3) normalized middle of the window.
        centre_on_host: the same.
        conditioning: (1, 4, 128, 128) the photo in its window, 0…1, and where its mouth is open, 0…1.
        strength: 0 a statue or a cartoon, for which the network was not trained … 1.
        lattice: (1, 128, 128, 2) x and y of the window's pixels.
        edge: (128, 128) 1 inside the window, fading to 0 at its edge.
        softening: standard deviation, in pixels of the window, of the Gaussian that blurs what is added.
        drawn_over: width, in pixels of the window, of the lips' inner edges that the drawn mouth covers.
    """

    photo: FaceMotion
    centre: torch.Tensor
    centre_on_host: np.ndarray
    conditioning: torch.Tensor
    strength: float
    lattice: torch.Tensor
    edge: torch.Tensor
    softening: float
    drawn_over: float


def prepare_refinement(
    picture: torch.Tensor, photo: FaceMotion, made: float = 0.0, softening: float = 0.0, drawn_over: float = 0.0
) -> PreparedRefinement:
    """The mouth in a picture (1, 3, h, w), 0…1, of a photo with these landmarks in its pixels.

    ``made`` says how far it is a statue or a cartoon, see ``Depiction``, ``softening`` how much more blurred the photo
    is than a sharp one, see ``PreparedMouth``, ``drawn_over`` how wide edges of the lips the drawn mouth covers,
    normalized.
    """
    corners = photo.normalized[:, [INNER_UPPER_LIP[0], INNER_UPPER_LIP[-1]]].mean(1)
    centre = corners + torch.tensor([0, BELOW_MOUTH, 0], device=corners.device)
    lattice = window_lattice(picture.device)
    window = crop_windows(picture, window_pixels(centre, lattice, photo), _step(photo))
    upper, lower, *_ = lips_in_window(centre, photo)
    opening = opening_mask(upper, lower, lattice).coverage
    across = (torch.arange(SIDE, device=picture.device) + 0.5) / SIDE
    edge = smoothstep(torch.minimum(across, 1 - across), 0.5 / SIDE, EDGE)
    conditioning = torch.cat([window, opening[:, None]], 1)
    return PreparedRefinement(
        photo,
        centre,
        centre.cpu().numpy(),
        conditioning,
        1 - made,
        lattice,
        edge[:, None] * edge,
        softening / _step(photo),
        drawn_over * SIDE,
    )


def refine(frames: torch.Tensor, network: RefinementNetwork, prepared: PreparedRefinement, motion: FaceMotion) -> None:
    """Refines the mouths of frames (B, 3, h, w), 0…1, in place; ``motion`` is in pixels of the frames."""
    weight = upload(lip_motion_weight(prepared.photo, motion), frames.device)
    part = refined_part(prepared, motion.host)
    lattice = prepared.lattice[:, *part]
    pixels = window_pixels(prepared.centre, lattice, motion)
    lips = lips_in_window(prepared.centre, motion)
    windows = crop_windows(frames, pixels, _step(motion))
    conditioning = assemble_conditioning(windows, prepared.conditioning[..., *part], lips, lattice)
    added = network(conditioning)
    if prepared.drawn_over:
        conditioning[:, INSIDE] = _drawn_inside(conditioning, prepared.drawn_over)
    added = keep_drawn_edges(conditioning, added)
    added = added * near_lips(conditioning, prepared.edge[part]) * (prepared.strength * weight)[:, None, None, None]
    added = blur_batch(added, prepared.softening)

    # Back into the frames: each of their pixels is looked up in the window; beyond it there is nothing to add.
    height, width = added.shape[2:]
    first, step = pixels[:, 0, 0], pixels[:, 0, 1] - pixels[:, 0, 0]  # (B, 2), the latter one pixel along its top
    # From pixels of the frame to grid_sample's -1 … 1 of the window: (B, 2), per column and per row.
    step_x, step_y = (step / step.square().sum(-1, keepdim=True)).unbind(-1)
    scale_x, scale_y = 2 / (width - 1), 2 / (height - 1)
    along = torch.stack([step_x * scale_x, -step_y * scale_y], -1)
    down = torch.stack([step_y * scale_x, step_x * scale_y], -1)
    corner = -(first[:, :1] * along + first[:, 1:] * down) - 1
    place = pairs(*affine_grid(corner, along, down, frames.shape[2:]))
    frames.add_(F.grid_sample(added, place, align_corners=True)).clamp_(0, 1)


def refined_part(prepared: PreparedRefinement, host: HostMotion) -> tuple[slice, slice]:
    """Rows and columns of the window around the lips of all frames; in the rest of it ``near_lips`` is 0."""
    lips = (host.normalized[:, LIP_POINTS, :2] - prepared.centre_on_host[..., :2]) * SIDE + SIDE / 2
    low, high = lips.min((0, 1)) - NEAR_LIPS_REACH, lips.max((0, 1)) + NEAR_LIPS_REACH
    low = (low // PART_UNIT * PART_UNIT).clip(0, SIDE - PART_UNIT).astype(int)
    high = (-(-high // PART_UNIT) * PART_UNIT).clip(low + PART_UNIT, SIDE).astype(int)
    columns, rows = (slice(int(first), int(last)) for first, last in zip(low, high, strict=True))
    return rows, columns


def keep_drawn_edges(conditioning: torch.Tensor, added: torch.Tensor) -> torch.Tensor:
    """What is added (B, 3, h, w) to pictures with this conditioning, limited to light; between the lips to smooth.

    Lips keep their colour, as recorded ones do; the network alone would redden them as they move. Between them it
    decides on what is smooth: the drawn picture is multiplied by the ratio of the low-resolution pictures that the
    network predicts and that were drawn. Of the rest only little is added, so that the edges of drawn teeth stay.
    """
    inside = conditioning[:, INSIDE]
    drawn = conditioning[:, :3] + 0.5
    wanted = drawn + added
    low = F.avg_pool2d(torch.cat([torch.cat([wanted, drawn], 1) * inside, inside], 1), SHADING_CELL)
    for _ in range(SHADING_BLURS):
        low = F.avg_pool2d(low, 3, 1, 1)
    low = low[:, :6] / low[:, 6:].clamp(min=1e-4)
    ratio = ((low[:, :3] + DARKEST) / (low[:, 3:] + DARKEST)).mean(1, keepdim=True)
    gain = BRIGHTER * ratio.clamp(*GAIN) ** LIGHT_SHARE
    shaded = drawn * F.interpolate(gain, scale_factor=SHADING_CELL, mode="bilinear")
    light = shaded.mean(1, keepdim=True)
    detail = (wanted.mean(1, keepdim=True) - light).clamp(-DETAIL, DETAIL)
    # Light in the colour of the surroundings: in its own, the dark dot of a corner would become orange.
    around = F.avg_pool2d(F.avg_pool2d(drawn, SHADING_CELL), 3, 1, 1, count_include_pad=False)
    around = around / around.mean(1, keepdim=True).clamp(min=DARKEST)
    around = F.interpolate(around, scale_factor=SHADING_CELL, mode="bilinear")
    outside = around * added.mean(1, keepdim=True) * (drawn.mean(1, keepdim=True) / SHADED_LIP).clamp(max=1)
    return torch.lerp(outside, shaded * (1 + detail / light.clamp(min=DETAIL)) - drawn, inside)


def _drawn_inside(conditioning: torch.Tensor, drawn_over: float) -> torch.Tensor:
    """(B, 1, h, w) where the mouth is drawn, which covers edges of the lips of that width, in pixels."""
    above, below = ((REACH * SIDE) * conditioning[:, edge] for edge in EDGES)
    over = (EDGE_SHARE * (above + below)).clamp(0, drawn_over)
    wider = (above + over + 0.5).clamp(0, 1) + (below + over + 0.5).clamp(0, 1) - 1
    return torch.maximum(conditioning[:, INSIDE], wider * (over > 0))


def lip_motion_weight(photo: FaceMotion, motion: FaceMotion) -> np.ndarray:
    """(B,) float32 how far the lips have moved from the photo's: 0 not at all … 1 enough to refine them fully."""
    change = motion.host.normalized[:, LIP_POINTS] - photo.host.normalized[:, LIP_POINTS]
    return smoothstep(np.sqrt(np.square(change).sum(-1).mean(-1)), MOVED_LOW, MOVED_HIGH).astype(np.float32)


def window_corners(prepared: PreparedRefinement, host: HostMotion) -> np.ndarray:
    """(B, 4, 2) the corners of the refined part of the window, in pixels of the picture of the motion; on the host."""
    along = host.rotation[:, :2, 0]
    along = along / np.linalg.norm(along, axis=-1, keepdims=True) * host.scale[:, None]
    down = np.stack([-along[:, 1], along[:, 0]], -1)
    middle = host.place(prepared.centre_on_host)[:, 0, :2]
    rows, columns = ((np.array([side.start, side.stop]) / SIDE - 0.5) for side in refined_part(prepared, host))
    return np.stack([middle + x * along + y * down for x in columns for y in rows], 1)


def window_pixels(centre: torch.Tensor, lattice: torch.Tensor, motion: FaceMotion) -> torch.Tensor:
    """(B, h, w, 2) where pixels of the window lie, in pixels of the picture in which the motion is given.

    ``centre`` (1, 3) is the normalized middle of the window, ``lattice`` (1, h, w, 2) its pixels or a part of them; see
    ``window_lattice``.
    """
    axes = _axes(motion)
    along, down = axes[..., 0] / SIDE, axes[..., 1] / SIDE
    corner = lattice[:, 0, 0] - (SIDE - 1) / 2
    first = motion.place(centre)[:, 0, :2] + corner[:, :1] * along + corner[:, 1:] * down
    return pairs(*affine_grid(first, along, down, lattice.shape[1:3]))


def window_lattice(device: torch.device) -> torch.Tensor:
    """(1, 128, 128, 2) x and y of the window's pixels."""
    axis = torch.arange(SIDE, dtype=torch.float32, device=device)
    return grid_of(axis, axis)


def crop_windows(pictures: torch.Tensor, pixels: torch.Tensor, step: float) -> torch.Tensor:
    """(B, C, H, W) what pictures (B, C, h, w) show at pixels (B, H, W, 2) that are ``step`` pixels apart."""
    height, width = pictures.shape[-2:]
    x, y = ((pixels[..., axis] + 0.5) * (2 / side) - 1 for axis, side in ((0, width), (1, height)))
    if step >= 2:  # of finer pictures, some pixels are one of the window's
        pictures = F.avg_pool2d(pictures, 2 ** int(math.log2(step)))
    return F.grid_sample(pictures, pairs(x, y), padding_mode="border", align_corners=False)


def lips_in_window(centre: torch.Tensor, motion: FaceMotion) -> list[torch.Tensor]:
    """The four curves of the lips (see ``LIPS``), (B, 11, 2) each, in pixels of the window."""
    middle, axes = motion.place(centre)[..., :2], _axes(motion)
    # The axes are at right angles and of one length, so their inverse is their transpose over its square.
    inverse = axes / axes[:, :, :1].square().sum(1, keepdim=True)  # transposed, as it is applied to rows
    points = motion.posed.index_select(1, index_on(sum(LIPS, ()), centre.device))[..., :2]
    return list(((points - middle) @ inverse * SIDE + (SIDE - 1) / 2).chunk(len(LIPS), 1))


def assemble_conditioning(
    windows: torch.Tensor, photo: torch.Tensor, lips: list[torch.Tensor], lattice: torch.Tensor
) -> torch.Tensor:
    """(B, 11, h, w) the network's input for the window or a part of it.

    Args:
        windows: (B, 3, h, w) of the frames, 0…1.
        photo: (B or 1, 4, h, w) the photo in its window and where its mouth is open.
        lips: the curves of the lips, see ``lips_in_window``.
        lattice: (1, h, w, 2), see ``window_lattice``.
    """
    pixels = lattice.expand(2 * len(windows), -1, -1, -1)
    upper, lower, outer_upper, outer_lower = lips
    curves = torch.cat([upper, outer_upper]), torch.cat([lower, outer_lower])
    inner, outer = opening_mask(*curves, pixels, _softness(len(windows), windows.device)).halves()
    reach = REACH * SIDE
    distances = [(edge / reach).clamp(-1, 1) for edge in (inner.below_upper, inner.above_lower)]
    maps = torch.stack([inner.coverage, *distances, outer.coverage], 1)
    return torch.cat([windows - 0.5, photo.expand(len(windows), -1, -1, -1) - 0.5, maps], 1)


def _softness(batch: int, device: torch.device) -> torch.Tensor:
    """(2 · batch, 1, 1) widths of the edges of the inner openings of so many frames, and of the outer ones."""
    return torch.arange(2 * batch, device=device)[:, None, None].ge(batch) * 3.0 + 1.0


def near_lips(conditioning: torch.Tensor, edge: torch.Tensor) -> torch.Tensor:
    """(B, 1, h, w) how much of the refinement is shown: all on the lips and between them, none in the skin around.

    ``edge`` (h, w) fades the window out, see ``PreparedRefinement``.
    """
    half = AROUND_LIPS // 2  # at half the resolution, as it is smooth
    near = F.avg_pool2d(conditioning[:, -1:], 2)
    near = F.max_pool2d(near, (2 * half + 1, 1), 1, (half, 0))
    near = F.max_pool2d(near, (1, 2 * half + 1), 1, (0, half))
    for _ in range(2):
        near = F.avg_pool2d(near, (half, 1), 1, (half // 2, 0))
        near = F.avg_pool2d(near, (1, half), 1, (0, half // 2))
    near = F.interpolate(near, scale_factor=2, mode="bilinear")
    return near * edge


def _step(motion: FaceMotion) -> float:
    """How far apart the window's pixels are, in pixels of the picture, at most."""
    return float(motion.host.scale.max()) / SIDE


def _axes(motion: FaceMotion) -> torch.Tensor:
    """(B, 2, 2) columns: the window's width and height in the picture, upright with the head, in pixels."""
    along = motion.rotation[:, :2, 0]
    along = along / along.norm(dim=-1, keepdim=True) * motion.scale[:, None]
    return torch.stack([along, torch.stack([-along[:, 1], along[:, 0]], -1)], -1)
