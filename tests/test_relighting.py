"""What the generator promises of the light on a turned face: it stays where it is."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from rendering import on_surroundings, posed

from space_core.face.detector import build_detector
from space_core.face.portrait import Portrait, prepare_portrait
from space_core.generator.mesh_warp.depiction import Depiction
from space_core.generator.mesh_warp.relighting import multiply_in_opencv, multiply_in_torch, prepare_light

CHEEKS_AND_NOSE = (50, 280, 4, 205, 425)
PHOTO, STATUE, VARNISHED, CARTOON = (Depiction(*kind) for kind in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)))


@pytest.fixture(scope="module")
def lit_from_left(astronaut, portrait) -> Portrait:
    """A face, bright on the picture's left and dark on its right."""
    columns = np.arange(astronaut.shape[1])
    x = portrait.crop.to_crop(np.stack([columns, np.zeros_like(columns)], 1))[:, 0]
    light = np.interp(x, [130, 380], [1.0, 0.4])[:, None]
    return prepare_portrait((astronaut * light).round().astype(np.uint8), build_detector("mediapipe"))


@pytest.fixture(scope="module")
def prepared(generator, lit_from_left):
    return generator.prepare(lit_from_left)


@pytest.fixture(scope="module")
def drawn(generator, prepared, lit_from_left):
    """A function: the frames (512, 512, 3) of a head turned by so many degrees, relit, and with the photo's shading."""

    def draw(yaw: float) -> tuple[np.ndarray, ...]:
        face = posed(lit_from_left, yaw=yaw)
        kinds = (prepared, replace(prepared, light=None))
        return tuple(generator.render_batch(kind, face)[0].astype(int) for kind in kinds)

    return draw


def test_a_face_gets_brighter_as_it_turns_to_the_light_and_darker_as_it_turns_away(drawn, lit_from_left):
    def gain(yaw: float) -> float:
        points = posed(lit_from_left, yaw=yaw).landmarks[0, CHEEKS_AND_NOSE, :2]
        (left, top), (right, bottom) = points.min(0).astype(int), points.max(0).astype(int)
        relit, printed = (frame[top:bottom, left:right].mean() for frame in drawn(yaw))
        return relit / printed

    gains = [gain(yaw) for yaw in (-20, -10, 10, 20)]  # negative: to the picture's left
    assert gains == sorted(gains, reverse=True)
    assert 1.25 > gains[0] > 1.04
    assert 0.8 < gains[-1] < 0.96


def test_in_the_pose_of_the_photo_its_light_is_kept(drawn):
    np.testing.assert_array_equal(*drawn(0))


def test_only_the_face_is_relit_without_an_edge_at_its_border(drawn, lit_from_left):
    change = np.abs(np.subtract(*drawn(20)))
    outline = cv2.convexHull(posed(lit_from_left, yaw=20).landmarks[0, :, :2].round().astype(np.int32))
    face = cv2.fillConvexPoly(np.zeros(change.shape[:2], np.uint8), outline, 1)
    assert change[face == 1].mean() > 3
    assert change[face == 0].max() <= 3


@pytest.mark.parametrize(("depiction", "relit"), [(PHOTO, True), (STATUE, False), (VARNISHED, False), (CARTOON, False)])
def test_statues_cartoons_and_varnished_paintings_keep_their_shading(lit_from_left, depiction, relit):
    picture = torch.tensor(lit_from_left.surroundings).permute(2, 0, 1)[None].float() / 255
    around = on_surroundings(posed(lit_from_left))
    assert (prepare_light(picture, around, depiction) is not None) == relit


def test_opencv_and_torch_relight_alike():
    random = torch.Generator().manual_seed(0)
    frames = torch.randint(256, (2, 50, 60, 3), generator=random, dtype=torch.uint8)
    ratio = 0.8 + 0.4 * torch.rand(2, 1, 10, 12, generator=random)
    one, other = frames.clone(), frames.clone()
    own = np.s_[4:54, 6:66]
    multiply_in_opencv(one, ratio, 6, own)
    multiply_in_torch(other, ratio, 6, own)
    assert (one.int() - frames.int()).abs().float().mean() > 5
    assert (one.int() - other.int()).abs().max() <= 2
