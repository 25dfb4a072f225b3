"""What the refinement of the mouth promises."""

import numpy as np
import pytest
import torch
from rendering import on_surroundings, open_mouth, posed

from space_core.face.topology import INNER_LOWER_LIP, INNER_UPPER_LIP, OUTER_LOWER_LIP
from space_core.generator.mesh_warp.face_motion import FaceMotion, PixelTransform, face_motion
from space_core.generator.mesh_warp.prepared_mouth import EDGE
from space_core.generator.mesh_warp.refinement import (
    INSIDE,
    SIDE,
    WEIGHTS,
    RefinementNetwork,
    assemble_conditioning,
    lips_in_window,
    load_refinement,
    prepare_refinement,
    refine,
    window_lattice,
    window_pixels,
)
from space_core.training.refinement import distillation
from space_core.training.refinement.pairs import render_windows

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def prepared(portrait):
    picture = torch.tensor(portrait.surroundings).permute(2, 0, 1)[None].float() / 255
    return prepare_refinement(picture, on_surroundings(posed(portrait)))


def photo_frames(portrait, count: int) -> torch.Tensor:
    """The photo itself, (count, 3, 512, 512)."""
    return torch.tensor(portrait.image.copy()).permute(2, 0, 1)[None].float().div(255).repeat(count, 1, 1, 1)


def with_open_mouth(portrait, *openings: float, **angles: float) -> FaceMotion:
    """The portrait with its lower lip dropped by normalized openings and its head turned, in pixels of its crop."""
    return face_motion(
        posed(portrait, open_mouth(portrait, *openings), **angles), PixelTransform(1.0, np.zeros(2)), CPU
    )


class Paint(torch.nn.Module):
    """Adds a little everywhere in the window."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, conditioning: torch.Tensor) -> torch.Tensor:
        return torch.full((len(conditioning), 3, *conditioning.shape[2:]), 0.1)


@torch.inference_mode()
def test_a_mouth_that_has_not_moved_is_left_alone_however_the_head_turns(portrait, prepared):
    frames = photo_frames(portrait, 2)
    refine(frames, load_refinement(), prepared, with_open_mouth(portrait, 0, 0, yaw=8, roll=5))
    np.testing.assert_array_equal(frames, photo_frames(portrait, 2))


@torch.inference_mode()
def test_only_the_surroundings_of_the_mouth_change(portrait, prepared):
    motion = with_open_mouth(portrait, 0.1, roll=10)
    frames = torch.full((1, 3, 512, 512), 0.5)
    refine(frames, Paint(), prepared, motion)
    changed = (frames - 0.5).abs().amax(1)[0]
    y, x = np.nonzero(changed.numpy())
    unit, mouth = portrait.pose.scale[0], portrait.landmarks[list(INNER_UPPER_LIP), :2].mean(0)
    assert 0.6 * unit < np.ptp(x) < 1.25 * unit
    assert np.hypot(x.mean() - mouth[0], y.mean() - mouth[1]) < 0.2 * unit
    # It fades in: there is no edge to see in the skin. Between the lips less is added, as drawn edges are kept.
    steps = np.abs(np.diff(changed, axis=0))
    lips = motion.host.posed[0, [*INNER_UPPER_LIP, *INNER_LOWER_LIP], :2]
    (left, top), (right, bottom) = lips.min(0).astype(int) - 3, lips.max(0).astype(int) + 4
    steps[top:bottom, left:right] = 0
    assert steps.max() < 0.02


@torch.inference_mode()
def test_lips_keep_their_colour(portrait, prepared):
    motion = with_open_mouth(portrait, 0.1)
    frames = torch.tensor([0.6, 0.4, 0.3])[:, None, None].repeat(1, 1, 512, 512)

    class Redden(torch.nn.Module):
        """Wants everything redder and lighter."""

        def forward(self, conditioning: torch.Tensor) -> torch.Tensor:
            return torch.tensor([0.15, 0.0, 0.0])[:, None, None].expand(*conditioning[:, :3].shape)

    refine(frames, Redden(), prepared, motion)
    x, y = motion.host.posed[0, [INNER_LOWER_LIP[5], OUTER_LOWER_LIP[5]], :2].mean(0).astype(int)
    red, green, blue = frames[0, :, y, x].tolist()
    assert red > 0.62
    assert [red / green, red / blue] == pytest.approx([1.5, 2], rel=0.01)


@torch.inference_mode()
def test_a_dark_spot_that_gets_light_takes_the_colour_around_it(portrait, prepared):
    motion = with_open_mouth(portrait, 0.1)
    frames = torch.tensor([0.6, 0.5, 0.45])[:, None, None].repeat(1, 1, 512, 512)
    x, y = motion.host.posed[0, [INNER_LOWER_LIP[5], OUTER_LOWER_LIP[5]], :2].mean(0).astype(int)
    frames[0, :, y - 1 : y + 2, x - 1 : x + 2] = torch.tensor([0.3, 0.1, 0.05])[:, None, None]

    class Lighten(torch.nn.Module):
        def forward(self, conditioning: torch.Tensor) -> torch.Tensor:
            return torch.full_like(conditioning[:, :3], 0.3)

    refine(frames, Lighten(), prepared, motion)
    red, green, _ = frames[0, :, y, x].tolist()
    assert red > 0.35
    assert red / green < 2.1


@torch.inference_mode()
def test_edges_between_the_lips_are_kept(portrait, prepared):
    motion = with_open_mouth(portrait, 0.15)
    frames = photo_frames(portrait, 1)
    stripes = (torch.arange(512) // 4 % 2).float() * 0.5 + 0.2  # as teeth are, bright and dark side by side
    frames[:] = stripes

    class Grey(torch.nn.Module):
        """Wants grey everywhere."""

        def forward(self, conditioning: torch.Tensor) -> torch.Tensor:
            return 0.45 - (conditioning[:, :3] + 0.5)

    refine(frames, Grey(), prepared, motion)
    x, y = motion.host.posed[0, [13, 14], :2].mean(0).astype(int)
    inside = frames[0, 1, y, x - 12 : x + 12]
    assert inside.max() - inside.min() > 0.3


@torch.inference_mode()
def test_the_edges_of_lips_that_the_drawn_mouth_covers_get_no_light_of_lips(portrait):
    picture = torch.tensor(portrait.surroundings).permute(2, 0, 1)[None].float() / 255
    motion = with_open_mouth(portrait, 0.15)
    x, edge = motion.host.posed[0, 14, :2].round().astype(int)  # of the lower lip

    class LightLips(torch.nn.Module):
        """Wants light wherever the mouth is not open."""

        def forward(self, conditioning: torch.Tensor) -> torch.Tensor:
            return (0.3 * (1 - conditioning[:, INSIDE])).expand(-1, 3, -1, -1)

    def added(drawn_over: float) -> torch.Tensor:
        prepared = prepare_refinement(picture, on_surroundings(posed(portrait)), drawn_over=drawn_over)
        frames = torch.full((1, 3, 512, 512), 0.3)
        refine(frames, LightLips(), prepared, motion)
        return frames[0, 0, edge - 5 : edge + 12, x] - 0.3

    covered, uncovered = added(EDGE), added(0.0)
    assert covered[5] < 0.6 * uncovered[5]  # on the edge
    assert covered[10:].tolist() == pytest.approx(uncovered[10:].tolist(), abs=0.005)  # on the lip


@torch.inference_mode()
def test_an_opening_mouth_is_refined_little_by_little(portrait, prepared):
    openings = np.linspace(0, 0.03, 16)
    frames = photo_frames(portrait, len(openings))
    refine(frames, Paint(), prepared, with_open_mouth(portrait, *openings))
    strength = (frames - photo_frames(portrait, len(openings))).amax((1, 2, 3))
    assert strength[0] == 0
    assert strength[-1] > 0.09
    assert np.diff(strength).max() < 0.03


@torch.inference_mode()
def test_mouths_in_black_and_white_are_refined_and_statues_are_not(portrait):
    def added(stone: float) -> torch.Tensor:
        grey, margin = (
            torch.tensor(picture.mean(-1)).float().div(255).expand(1, 3, -1, -1)
            for picture in (portrait.image, portrait.surroundings)
        )
        frames = grey.clone()
        prepared = prepare_refinement(margin, on_surroundings(posed(portrait)), stone)
        refine(frames, load_refinement(CPU), prepared, with_open_mouth(portrait, 0.2))
        return frames - grey

    assert added(stone=0).abs().max() > 0.05
    assert not added(stone=1).any()


@torch.inference_mode()
def test_the_network_gets_the_lips_where_the_window_shows_them(portrait, prepared):
    motion = with_open_mouth(portrait, 0.15, yaw=-6, roll=12)
    pixels = window_pixels(prepared.centre, prepared.lattice, motion)[0]
    lips = lips_in_window(prepared.centre, motion)
    for curve, points in zip(lips[:2], (INNER_UPPER_LIP, INNER_LOWER_LIP), strict=True):
        x, y = curve[0].round().long().unbind(1)
        np.testing.assert_allclose(pixels[y, x], motion.posed[0, list(points), :2], atol=1.5)
    conditioning = assemble_conditioning(torch.zeros(1, 3, SIDE, SIDE), prepared.conditioning, lips, prepared.lattice)
    x, y = ((lips[0][0, 5] + lips[1][0, 5]) / 2).round().long().tolist()
    assert conditioning[0, 7, y, x] == 1  # open
    assert conditioning[0, 7, 4, 4] == 0


@torch.inference_mode()
def test_a_frame_does_not_depend_on_the_others_of_its_batch(portrait, prepared):
    openings = (0.03, 0.2)
    together = photo_frames(portrait, 2)
    refine(together, load_refinement(), prepared, with_open_mouth(portrait, *openings))
    for index, opening in enumerate(openings):
        alone = photo_frames(portrait, 1)
        refine(alone, load_refinement(), prepared, with_open_mouth(portrait, opening))
        np.testing.assert_allclose(alone[0], together[index], atol=0.01)


@torch.inference_mode()
def test_the_skin_around_the_mouth_keeps_its_colour(portrait, prepared):
    motion = with_open_mouth(portrait, 0.12)
    frames = photo_frames(portrait, 1)
    refine(frames, load_refinement(), prepared, motion)
    x, y = motion.host.posed[0, [205, 425, 152], :2].astype(int).T  # cheeks and chin
    np.testing.assert_allclose(frames[0, :, y, x], photo_frames(portrait, 1)[0, :, y, x], atol=0.06)


def test_the_weights_are_small():
    assert WEIGHTS.stat().st_size < 6e6


def test_a_smaller_network_learns_what_a_larger_one_does(portrait, monkeypatch):
    monkeypatch.setattr(distillation, "BATCH", 4)
    torch.manual_seed(0)
    teacher = RefinementNetwork((32, 64, 128)).requires_grad_(False)
    windows = render_windows(portrait, posed(portrait, open_mouth(portrait, 0.05, 0.1, 0.15, 0.2)))[0]
    pictures, photo = windows.rendered.float() / 255, windows.photo.float() / 255
    conditioning = assemble_conditioning(pictures, photo, list(windows.lips.unbind(1)), window_lattice(CPU))
    errors = []
    for steps in (0, 40):
        small = distillation.distil(teacher, windows, CPU, steps)
        errors.append(float((small(conditioning) - teacher(conditioning)).abs().mean().detach()))
    assert errors[1] < 0.85 * errors[0]
