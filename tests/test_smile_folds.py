"""What the folds of a smile promise that is taken back."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from rendering import feeling, on_surroundings, posed, rendered

from space_core.face.topology import OUTER_LOWER_LIP, OUTER_UPPER_LIP
from space_core.generator.mesh_warp.depiction import Depiction
from space_core.generator.mesh_warp.smile_folds import PreparedSmileFold, prepare_smile_folds

PHOTOGRAPH = {"stone": 0.0, "varnish": 0.0, "cartoon": 0.0}


@pytest.fixture(scope="module")
def shown(generator, portrait):
    """Renders a face, with and without its folds taken back, as brightness (T, H, W)."""
    prepared = generator.prepare(portrait)
    kept = replace(prepared, smile_folds=replace(prepared.smile_folds, folds=[]))
    return lambda face: tuple(rendered(generator, each, face).mean(-1) for each in (prepared, kept))


@pytest.fixture(scope="module")
def around(portrait):
    return on_surroundings(posed(portrait))


def folds_of(surroundings: np.ndarray, around, **kinds: float) -> list[PreparedSmileFold]:
    """The folds of surroundings (640, 640, 3), 0…1, of a face."""
    picture = torch.from_numpy(surroundings).permute(2, 0, 1)[None].float()
    return prepare_smile_folds(picture, around, Depiction(**PHOTOGRAPH | kinds))


def without_folds(surroundings: np.ndarray, around) -> np.ndarray:
    """Surroundings (640, 640, 3), 0…1, of a face without its folds."""
    bare = surroundings.copy()
    for fold in folds_of(surroundings, around):
        change = fold.change[0, :, ::2, ::2].permute(1, 2, 0).numpy()
        left, top = fold.first.int().tolist()
        bare[top : top + change.shape[0], left : left + change.shape[1]] += change
    return bare


def contrast_of_fold(frame: np.ndarray, landmarks: np.ndarray) -> float:
    """How much brightness differs along lines across the folds beside the mouth, in a frame (H, W)."""
    lines = []
    for inner, outer in ((165, 205), (92, 207), (391, 425), (322, 427)):
        places = np.linspace(landmarks[inner, :2], landmarks[outer, :2], 40).round().astype(int)
        values = frame[places[:, 1], places[:, 0]]
        lines.append(values - np.linspace(values[0], values[-1], len(values)))
    return float(np.std(lines))


def test_the_folds_of_a_smile_that_is_taken_back_get_shallower(portrait, shown):
    contrasts = []
    for intensity in (0.1, 0.25, 0.5, 1.0):
        face = posed(portrait, feeling(portrait, "sad", intensity))
        contrasts.append([contrast_of_fold(frame[0], face.landmarks[0]) for frame in shown(face)])
    shallower = [gone / kept for gone, kept in contrasts]
    assert (np.diff(shallower) <= 0.02).all()
    assert shallower[0] > 0.9 and shallower[-1] < 0.75


def test_a_smile_that_stays_keeps_its_folds(portrait, shown):
    for normalized in (None, feeling(portrait, "happy", 1.0)):
        gone, kept = shown(posed(portrait, normalized))
        assert np.array_equal(gone, kept)


def test_no_line_stays_where_a_fold_was(portrait, around):
    """A sharp fold is as dark as a line of make-up, and hardly wider than a pixel."""
    smooth = cv2.GaussianBlur(portrait.surroundings, (0, 0), 1.5).astype(np.float32) / 255
    points = around.host.posed[0, :, :2]
    line = (points[[206, 216, 212]] + points[[205, 207, 214]]) / 2
    across = np.zeros(smooth.shape[:2], np.float32)
    cv2.polylines(across, [line.round().astype(np.int32)], False, 1.0, 1, cv2.LINE_AA)
    lined = smooth * (1 - 0.4 * across[..., None])
    before, after = lined - smooth, without_folds(lined, around) - without_folds(smooth, around)
    dark = across > 0.9
    assert np.abs(after[dark]).mean() < 0.3 * np.abs(before[dark]).mean()


def test_the_dark_that_a_smile_makes_beside_the_corners_of_the_mouth_goes(portrait, around):
    """It is as dark as hair, and goes over into the dark of the mouth."""
    plain = portrait.surroundings.astype(np.float32) / 255
    points, scale = around.host.posed[0, :, :2], float(around.host.scale[0])
    mark, dark = np.zeros(plain.shape[:2], np.float32), plain.copy()
    for corner, cheek in ((61, 207), (291, 427)):
        outwards = (points[cheek] - points[corner]) / np.linalg.norm(points[cheek] - points[corner])
        ends = (points[corner] + scale * far * outwards for far in (0.0, 0.11))
        cv2.line(mark, *(end.round().astype(int).tolist() for end in ends), 1.0, round(0.08 * scale), cv2.LINE_AA)
    dark *= 1 - 0.8 * mark[..., None]
    lips = points[[*OUTER_UPPER_LIP, *OUTER_LOWER_LIP[::-1]]].round().astype(np.int32)
    beside = cv2.fillPoly(np.zeros(plain.shape[:2], np.uint8), [lips], 1)
    seen = (mark > 0.9) & (cv2.distanceTransform(1 - beside, cv2.DIST_L2, 5) > 0.06 * scale)
    assert seen.sum() > 50
    before, after = (np.abs(picture - plain)[seen].mean() for picture in (dark, without_folds(dark, around)))
    print(before, after)
    assert after < 0.5 * before


@pytest.mark.parametrize("kind", PHOTOGRAPH)
def test_drawn_and_carved_smiles_keep_their_folds(portrait, around, kind):
    picture = portrait.surroundings.astype(np.float32) / 255
    assert len(folds_of(picture, around)) == 2
    assert not folds_of(picture, around, **{kind: 1.0})


def test_a_face_that_does_not_smile_has_no_folds(portrait, around):
    still = on_surroundings(posed(portrait, feeling(portrait, "sad", 1.0)))
    assert not folds_of(portrait.surroundings.astype(np.float32) / 255, still)


def test_folds_amid_hard_shadows_stay(portrait, around):
    shadows = portrait.surroundings.astype(np.float32) / 255
    light = folds_of(shadows.copy(), around)
    reach = round(0.14 * float(around.host.scale[0]))
    for x, y in around.host.posed[0, [207, 216, 427, 436], :2].round().astype(int).tolist():
        cv2.circle(shadows, (x, y), reach, (0.01, 0.01, 0.01), -1)
    for lit, shaded in zip(light, folds_of(shadows, around), strict=True):
        assert lit.change.max() > 0.04 and shaded.change.max() < 0.2 * lit.change.max()
