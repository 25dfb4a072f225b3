"""What the refinement of the mouth promises."""

import numpy as np
import pytest
import torch

from space_core.face.normalization import HeadPose, pose_landmarks
from space_core.face.topology import INNER_LOWER_LIP, INNER_UPPER_LIP
from space_core.generator.mesh_warp.face_motion import face_motion
from space_core.generator.mesh_warp.refinement import (
    SIDE,
    WEIGHTS,
    lips_in_window,
    load_refinement,
    looks,
    prepare_refinement,
    refine,
    window_pixels,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def prepared(portrait):
    picture = torch.tensor(portrait.surroundings).permute(2, 0, 1)[None].float() / 255
    return prepare_refinement(picture, face_motion(portrait.landmarks[None], CPU))


def photo_frames(portrait, count: int) -> torch.Tensor:
    """The photo itself, (count, 3, 512, 512)."""
    return torch.tensor(portrait.image.copy()).permute(2, 0, 1)[None].float().div(255).repeat(count, 1, 1, 1)


def with_open_mouth(portrait, *openings: float, **angles: float) -> np.ndarray:
    """The portrait's landmarks (B, 478, 3) with its lower lip dropped by normalized openings, its head turned."""
    normalized = np.repeat(portrait.normalized[None], len(openings), 0)
    lips = portrait.normalized[list(INNER_LOWER_LIP), 1].mean()
    below = np.clip((portrait.normalized[:, 1] - lips + 0.05) / 0.05, 0, 1) * (np.abs(portrait.normalized[:, 0]) < 0.35)
    normalized[..., 1] += np.array(openings)[:, None] * below
    rotation = portrait.pose.rotation + [[angles.get(name, 0) for name in ("yaw", "pitch", "roll")]]
    pose = HeadPose(
        *(np.repeat(a, len(openings), 0) for a in (rotation, portrait.pose.translation, portrait.pose.scale))
    )
    return pose_landmarks(normalized, pose)


class Paint(torch.nn.Module):
    """Adds a little everywhere in the window."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, looks: torch.Tensor) -> torch.Tensor:
        return torch.full((len(looks), 3, SIDE, SIDE), 0.1)


def test_a_mouth_that_has_not_moved_is_left_alone_however_the_head_turns(portrait, prepared):
    frames = photo_frames(portrait, 2)
    refine(frames, load_refinement(), prepared, face_motion(with_open_mouth(portrait, 0, 0, yaw=8, roll=5), CPU))
    np.testing.assert_array_equal(frames, photo_frames(portrait, 2))


@torch.inference_mode()
def test_only_the_surroundings_of_the_mouth_change(portrait, prepared):
    motion = face_motion(with_open_mouth(portrait, 0.1, roll=10), CPU)
    frames = torch.zeros(1, 3, 512, 512)
    refine(frames, Paint(), prepared, motion)
    changed = frames.amax(1)[0]
    y, x = np.nonzero(changed.numpy())
    unit, mouth = portrait.pose.scale[0], portrait.landmarks[list(INNER_UPPER_LIP), :2].mean(0)
    assert 0.6 * unit < np.ptp(x) < 1.25 * unit
    assert np.hypot(x.mean() - mouth[0], y.mean() - mouth[1]) < 0.2 * unit
    # It fades in: there is no edge to see.
    assert np.abs(np.diff(changed, axis=0)).max() < 0.02


@torch.inference_mode()
def test_an_opening_mouth_is_refined_little_by_little(portrait, prepared):
    openings = np.linspace(0, 0.03, 16)
    frames = photo_frames(portrait, len(openings))
    refine(frames, Paint(), prepared, face_motion(with_open_mouth(portrait, *openings), CPU))
    strength = (frames - photo_frames(portrait, len(openings))).amax((1, 2, 3))
    assert strength[0] == 0
    assert strength[-1] > 0.09
    assert np.diff(strength).max() < 0.03


@torch.inference_mode()
def test_the_network_sees_the_lips_where_the_window_shows_them(portrait, prepared):
    motion = face_motion(with_open_mouth(portrait, 0.15, yaw=-6, roll=12), CPU)
    pixels = window_pixels(prepared.centre, motion)[0]
    for curve, points in zip(lips_in_window(prepared.centre, motion), (INNER_UPPER_LIP, INNER_LOWER_LIP), strict=False):
        x, y = curve[0].round().long().unbind(1)
        np.testing.assert_allclose(pixels[y, x], motion.posed[0, list(points), :2], atol=1.5)
    seen = looks(torch.zeros(1, 3, SIDE, SIDE), prepared, motion)
    middle = (curve[0, 5] for curve in lips_in_window(prepared.centre, motion)[:2])
    x, y = (sum(middle) / 2).round().long().tolist()
    assert seen[0, 7, y, x] == 1  # open
    assert seen[0, 7, 4, 4] == 0


@torch.inference_mode()
def test_a_frame_does_not_depend_on_the_others_of_its_batch(portrait, prepared):
    landmarks = with_open_mouth(portrait, 0.03, 0.2)
    together = photo_frames(portrait, 2)
    refine(together, load_refinement(), prepared, face_motion(landmarks, CPU))
    for index in range(2):
        alone = photo_frames(portrait, 1)
        refine(alone, load_refinement(), prepared, face_motion(landmarks[index : index + 1], CPU))
        np.testing.assert_allclose(alone[0], together[index], atol=0.01)


@torch.inference_mode()
def test_the_skin_around_the_mouth_keeps_its_colour(portrait, prepared):
    landmarks = with_open_mouth(portrait, 0.12)
    frames = photo_frames(portrait, 1)
    refine(frames, load_refinement(), prepared, face_motion(landmarks, CPU))
    x, y = landmarks[0, [205, 425, 152], :2].astype(int).T  # cheeks and chin
    np.testing.assert_allclose(frames[0, :, y, x], photo_frames(portrait, 1)[0, :, y, x], atol=0.06)


def test_the_weights_are_small():
    assert WEIGHTS.stat().st_size < 6e6
