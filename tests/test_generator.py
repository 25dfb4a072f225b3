"""What the mesh-warp generator promises."""

import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import psutil
import pytest
import torch
from conftest import EXAMPLES, no_work_left
from rendering import around, blinking, looking, on_surroundings, open_mouth, posed, rendered

from space_core.evaluation.eyes import followed_gaze
from space_core.face.canvas import crop_canvas
from space_core.face.crop_size import MARGIN
from space_core.face.detector import build_detector
from space_core.face.normalization import DEPTH, normalize
from space_core.face.portrait import prepare_portrait
from space_core.face.posed_face import PosedFace, fit_posed_face
from space_core.face.topology import EYES, LEFT_EYE
from space_core.generator.mesh_warp.prepared_eyes import prepare_eyes
from space_core.generator.mesh_warp.rasterizer import rasterize
from space_core.measures.eyes import eye_opening
from space_core.media.images import load_photo
from space_core.motion.eyelids import move_lids
from space_core.motion.gaze import apply_gaze
from space_core.progress import NUM_CORES


@pytest.fixture(scope="module")
def prepared(generator, portrait):
    return generator.prepare(portrait)


@pytest.fixture(scope="module")
def detector():
    return build_detector("mediapipe")


@pytest.fixture(scope="module")
def with_shut_eyes(generator, prepared, portrait):
    """The frame in which the portrait's eyes are shut."""
    return rendered(generator, prepared, posed(portrait, blinking(portrait)))[0]


# The picture


def test_without_motion_the_frame_is_the_photo(generator, prepared, portrait):
    frame = rendered(generator, prepared, posed(portrait))[0]
    np.testing.assert_array_equal(frame, portrait.image)


def test_landmarks_of_a_detector_without_motion_give_the_photo_too(generator, portrait):
    face = fit_posed_face(portrait.landmarks[None])
    as_found = replace(portrait, normalized=face.normalized[0])
    frame = rendered(generator, generator.prepare(as_found), face)[0]
    np.testing.assert_array_equal(frame, portrait.image)


def test_a_face_is_as_deep_as_heads_that_turn_are_but_looks_like_the_photo(portrait):
    face = posed(portrait)
    np.testing.assert_allclose(face.landmarks[0, :, :2], portrait.landmarks[:, :2], atol=1e-6)
    deep, found = (np.ptp(landmarks[:468, 2]) for landmarks in (face.landmarks[0], portrait.landmarks))
    assert deep == pytest.approx(DEPTH * found)


def test_frames_are_512_rgb(generator, prepared, portrait):
    frames = rendered(generator, prepared, posed(portrait, portrait.normalized[None].repeat(3, 0)))
    assert frames.shape == (3, 512, 512, 3)
    assert frames.dtype == np.uint8


def test_memory_of_frames_is_reused_once_they_are_released(generator, prepared, portrait):
    faces = [posed(portrait, yaw=yaw % 7) for yaw in range(12)]
    kept, views = [], []
    for index, (frame,) in enumerate(generator.render(prepared, faces)):
        views.append(frame.ctypes.data)
        if index < 5:
            kept.append((frame[::2], frame[::2].copy()))
        del frame
    assert all(np.array_equal(frame, copy) for frame, copy in kept)
    assert len(set(views[:5])) == 5
    assert len(set(views)) < len(views)


def test_background_stands_still_when_the_head_turns(generator, prepared, portrait):
    frame = rendered(generator, prepared, posed(portrait, yaw=10))[0]
    background = portrait.person[64:-64, 64:-64] < 0.02
    difference = np.abs(frame.astype(int) - portrait.image).max(-1)
    # All but the pixels that the head covers in turning.
    assert np.mean(difference[background] <= 2) > 0.85


def test_head_turns_as_asked(generator, prepared, portrait, detector):
    frame = rendered(generator, prepared, posed(portrait, yaw=10, pitch=-6, roll=8))[0]
    (face,) = detector.detect(frame)
    _, pose = normalize(face[None].astype(float))
    np.testing.assert_allclose(pose.rotation[0] - portrait.pose.rotation[0], [10, -6, 8], atol=4)


@pytest.mark.parametrize("refined", [False, True], ids=["drawn", "refined"])
def test_an_open_mouth_is_dark_inside_and_shows_teeth(generator, portrait, refined):
    face = posed(portrait, open_mouth(portrait, 0.2))
    frame, landmarks = rendered(generator, generator.prepare(portrait, refined=refined), face)[0], face.landmarks[0]
    inside = around(frame, landmarks, (13, 14), 20).mean(-1)
    assert inside.min() < 80  # depth
    assert inside.max() > 110  # teeth
    lower_lip = around(frame, landmarks, (17, 84, 314), 3).mean()
    assert lower_lip > inside.min() + 40


def test_only_the_mouth_changes_when_it_opens(generator, prepared, portrait):
    frame = rendered(generator, prepared, posed(portrait, open_mouth(portrait, 0.15)))[0]
    top = int(portrait.landmarks[1, 1])  # the tip of the nose
    np.testing.assert_array_equal(frame[: top - 5], portrait.image[: top - 5])
    assert not np.array_equal(frame, portrait.image)


def test_shut_lids_hide_the_eyes(with_shut_eyes, portrait):
    for eye in EYES:
        photo_eye = around(portrait.image, portrait.landmarks, [eye.pupil], 3)
        shut_eye = around(with_shut_eyes, portrait.landmarks, [eye.pupil], 3)
        assert shut_eye.mean() > photo_eye.mean() + 15  # skin instead of the pupil


def test_shut_eyes_read_as_closed(with_shut_eyes, portrait, detector):
    (open_face,), (shut_face,) = (detector.detect(picture) for picture in (portrait.image, with_shut_eyes))
    assert (eye_opening(shut_face) < eye_opening(open_face) / 3).all()


def with_lashes(portrait, colour: tuple[int, int, int]):
    """The portrait with the edges of its upper lids painted in a colour."""
    surroundings = portrait.surroundings.copy()
    for eye in EYES:
        edge = (portrait.landmarks[list(eye.upper_lid), :2] + MARGIN).round().astype(np.int32)
        cv2.polylines(surroundings, [edge], False, colour, 4, cv2.LINE_AA)
    return replace(portrait, surroundings=surroundings)


def edge_of_lids(frame: np.ndarray, landmarks: np.ndarray) -> float:
    """How bright the darkest line near the upper lids' edges is, relative to the lids above it."""
    bright = frame.mean(-1)
    shares = []
    for eye in EYES:
        x, y = landmarks[list(eye.upper_lid[3:6]), :2].round().astype(int).T
        line = min(bright[y + step, x].mean() for step in range(-2, 4))
        shares.append(line / bright[y - 6, x].mean())
    return float(np.mean(shares))


def test_lashes_of_shut_eyes_are_as_dark_as_in_the_photo(generator, portrait):
    face = posed(portrait, blinking(portrait))
    lines = []
    for colour in ((25, 15, 12), (190, 140, 110)):
        lashed = generator.prepare(with_lashes(portrait, colour), refined=False)
        lines.append(edge_of_lids(rendered(generator, lashed, face)[0], face.landmarks[0]))
    dark, light = lines
    assert dark < 0.25 and 0.4 < light < 0.6


def test_lashes_of_cartoons_do_not_have_the_blue_of_their_iris(portrait):
    photo = on_surroundings(posed(portrait))
    surroundings = with_lashes(portrait, (20, 60, 110)).surroundings
    picture = torch.tensor(surroundings).permute(2, 0, 1)[None].float() / 255
    for in_photo, in_cartoon in zip(*(prepare_eyes(picture, photo, 0.0, cartoon) for cartoon in (0, 1)), strict=True):
        photographed, drawn = (eye.lashes.colour.flatten() for eye in (in_photo, in_cartoon))
        assert photographed[2] > photographed[0] and drawn[2] < drawn[0]
        assert float(drawn.mean()) == pytest.approx(float(photographed.mean()), abs=0.01)


def lids_of(portrait, surroundings: np.ndarray, cartoon: float = 0.0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Of both eyes the surroundings (3, 640, 640) with shut lids, and how far these replace the photo (640, 640)."""
    picture = torch.tensor(surroundings).permute(2, 0, 1)[None].float() / 255
    eyes = prepare_eyes(picture, on_surroundings(posed(portrait)), 0.0, cartoon)
    return [
        (torch.lerp(picture[0], eye.lids.picture[0, :3], eye.lids.picture[0, 3]), eye.lids.picture[0, 3])
        for eye in eyes
    ]


def covered_by_lids(portrait, surroundings: np.ndarray, part: np.ndarray) -> float:
    """How far shut lids replace a part (640, 640) bool of the surroundings, in its mean."""
    covers = torch.maximum(*(covers for _, covers in lids_of(portrait, surroundings)))
    return float(covers[part].mean())


def corners_of(eye, photo: np.ndarray) -> np.ndarray:
    """(2, 2) the inner and the outer corner of an eye among a photo's landmarks (478, 2)."""
    ends = photo[[eye.upper_lid[0], eye.upper_lid[-1]]]
    return ends[np.argsort(abs(ends[:, 0] - photo[1, 0]))]


def lids_darkened(portrait, parts: np.ndarray) -> list[float]:
    """By how much shut lids of both eyes become darker in their part (2, 640, 640) where the photo is dark there."""
    dark = portrait.surroundings.copy()
    dark[parts.any(0)] = (30, 20, 18)
    plain, other = (lids_of(portrait, surroundings) for surroundings in (portrait.surroundings, dark))
    return [
        float((lid - darkened)[:, part > 0].mean())
        for (lid, _), (darkened, _), part in zip(plain, other, parts, strict=True)
    ]


def test_lashes_that_reach_far_do_not_stay_on_shut_lids(portrait):
    photo = on_surroundings(posed(portrait)).host.posed[0, :, :2]
    lashes = np.zeros((2, *portrait.surroundings.shape[:2]), np.uint8)
    for eye, drawn in zip(EYES, lashes, strict=True):
        length = 0.3 * np.ptp(photo[list(eye.upper_lid), 0])
        for x, y in photo[list(eye.upper_lid[2:7])]:
            cv2.line(drawn, (round(x), round(y)), (round(x), round(y - length)), 1)
    assert max(lids_darkened(portrait, lashes)) < 0.04


def test_liner_beyond_the_outer_corner_does_not_stay_beside_shut_lids(portrait):
    photo = on_surroundings(posed(portrait)).host.posed[0, :, :2]
    wings = np.zeros((2, *portrait.surroundings.shape[:2]), np.uint8)
    for eye, wing in zip(EYES, wings, strict=True):
        inner, outer = corners_of(eye, photo)
        along, across = outer - inner, (outer - inner)[::-1] * [-1, 1]
        corners = [outer - 0.13 * across, outer + 0.13 * across, outer + 0.3 * along]
        cv2.fillPoly(wing, [np.round(corners).astype(np.int32)], 1)
    assert max(lids_darkened(portrait, wings)) < 0.04


def test_shut_lids_end_below_brows(portrait):
    photo, browed = on_surroundings(posed(portrait)).host.posed[0, :, :2], portrait.surroundings.copy()
    brows = np.zeros(browed.shape[:2], np.uint8)
    for rim in ((46, 53, 52, 65, 55), (276, 283, 282, 295, 285)):
        cv2.polylines(brows, [(photo[list(rim)] - [0, 3]).round().astype(np.int32)], False, 1, 6)
    browed[brows > 0] = (95, 70, 60)
    assert covered_by_lids(portrait, browed, brows > 0) < 0.03


def test_shut_lids_leave_hair_beside_the_eyes(portrait):
    photo, haired = on_surroundings(posed(portrait)).host.posed[0, :, :2], portrait.surroundings.copy()
    hair = np.zeros(haired.shape[:2], np.uint8)
    for eye in EYES:
        inner, outer = corners_of(eye, photo)
        for strand in np.arange(0.15, 1, 0.13):
            x, y = (outer + strand * (outer - inner)).round().astype(int).tolist()
            cv2.line(hair, (x, y - 40), (x, y + 40), 1, 4)
    haired[hair > 0] = (40, 28, 22)
    assert covered_by_lids(portrait, haired, hair > 0) < 0.02


def test_brows_do_not_colour_shut_lids(portrait):
    photo, browed = on_surroundings(posed(portrait)).host.posed[0, :, :2], portrait.surroundings.copy()
    for brow in ((70, 63, 105, 66, 107), (336, 296, 334, 293, 300)):
        points = [photo[list(brow)].round().astype(np.int32)]
        cv2.polylines(browed, points, False, (90, 105, 125), 9, cv2.LINE_AA)  # grey as hair
    plain, other = (lids_of(portrait, surroundings) for surroundings in (portrait.surroundings, browed))
    for (lid, covers), (other_lid, other_covers) in zip(plain, other, strict=True):
        both = covers.minimum(other_covers) > 0.99
        assert float((lid - other_lid).abs()[:, both].mean()) < 0.018


def test_shut_lids_have_the_make_up_around_both_eyes(portrait):
    photo = on_surroundings(posed(portrait)).host.posed[0, :, :2]
    made_up = np.zeros((2, *portrait.surroundings.shape[:2]), np.uint8)
    for eye, drawn in zip(EYES, made_up, strict=True):
        corners = photo[[eye.upper_lid[0], eye.upper_lid[-1]]]
        width = np.linalg.norm(corners[1] - corners[0])
        middle = (corners.mean(0) - [0, 0.1 * width]).round().astype(int).tolist()
        cv2.ellipse(drawn, (middle, (int(1.7 * width), int(0.9 * width)), 0.0), 1, -1)
    darkened = []
    for parts in (made_up, made_up[:1]):
        dark = np.where(parts.any(0)[..., None], portrait.surroundings // 2, portrait.surroundings)
        pairs = zip(lids_of(portrait, portrait.surroundings), lids_of(portrait, dark), strict=True)
        darkened.append([float((1 - other / lid)[:, covers > 0.99].mean()) for (lid, covers), (other, _) in pairs])
    assert min(darkened[0]) > 0.3
    assert max(darkened[1]) < 0.15  # of one eye alone, it is a shadow or hair


def test_shut_lids_have_the_colour_of_the_shade_around_both_eyes(portrait):
    photo = on_surroundings(posed(portrait)).host.posed[0, :, :2]
    shaded, dark = np.zeros((2, *portrait.surroundings.shape[:2]), np.uint8)
    for eye in EYES:
        corners = photo[[eye.upper_lid[0], eye.upper_lid[-1]]]
        width = np.linalg.norm(corners[1] - corners[0])
        middle = (corners.mean(0) - [0, 0.1 * width]).round().astype(int).tolist()
        cv2.ellipse(shaded, (middle, (int(1.7 * width), int(0.9 * width)), 0.0), 1, -1)
        end, (left, right) = int(photo[list(eye.upper_lid), 1].min() - 0.2 * width), corners[:, 0].astype(int)
        dark[end - 30 : end, left:right] = 1  # as below a brow
    red = np.where(shaded[..., None] > 0, portrait.surroundings * [0.8, 0.5, 0.5], portrait.surroundings)
    red = np.where(dark[..., None] > 0, 0.4 * red, red).astype(np.uint8)
    plain, other = (lids_of(portrait, surroundings) for surroundings in (portrait.surroundings, red))
    for (lid, covers), (other_lid, _) in zip(plain, other, strict=True):
        factors = (other_lid / lid)[:, covers > 0.99].mean(1)
        assert factors[0] > 0.65
        assert factors[1:].max() < 0.6
    for (lid, covers), (cartoons, _) in zip(other, lids_of(portrait, red, cartoon=1.0), strict=True):
        assert (cartoons / lid)[:, covers > 0.99].mean() > 1.15  # there it is the large eyes' own colour


def test_shut_lids_are_no_darker_than_what_the_photo_shows_of_them(generator, detector):
    painting = prepare_portrait(load_photo(EXAMPLES / "mona_lisa.jpg"), detector)  # with lit lids in dark sockets
    frame = rendered(generator, generator.prepare(painting), posed(painting, blinking(painting)))[0]
    own = around(painting.image, painting.landmarks, (257, 258), 3).mean()
    assert 0.95 * own < around(frame, painting.landmarks, (386, 374), 3).mean() < 1.2 * own


def test_shut_lids_have_no_shadow_on_white_paper(portrait):
    white = np.full_like(portrait.surroundings, 253)
    for lid, covers in lids_of(portrait, white):
        assert float(lid[:, covers > 0.99].min()) > 0.96


def test_shut_lids_cover_drawn_eyes_that_are_larger_than_the_tracked_ones(portrait):
    photo = on_surroundings(posed(portrait)).host.posed[0, :, :2]
    skin = np.array([250, 225, 205], np.uint8)
    drawn, irises = np.full_like(portrait.surroundings, skin), np.zeros(portrait.surroundings.shape[:2], np.uint8)
    for eye in EYES:
        width = np.linalg.norm(photo[eye.upper_lid[0]] - photo[eye.upper_lid[-1]])
        center = photo[eye.pupil] + [0, 0.15 * width]
        cv2.circle(irises, center.round().astype(int).tolist(), int(0.38 * width), 1, -1)
    drawn[irises > 0] = (70, 110, 190)
    lids = lids_of(portrait, drawn)
    covers = torch.maximum(*(covers for _, covers in lids))
    assert float(covers[irises > 0].mean()) > 0.99
    for lid, covers in lids:
        seen = lid[:, (irises > 0) & (covers.numpy() > 0.9)].mean(1)
        np.testing.assert_allclose(seen, skin / 255, atol=0.06)


def test_shut_lids_cover_large_eyes_of_shaded_drawings_with_the_colour_of_the_face(portrait):
    photo = on_surroundings(posed(portrait)).host.posed[0, :, :2]
    skin = np.array([225, 165, 140])
    shade = 0.9 + 0.1 * np.sin(np.arange(portrait.surroundings.shape[1]) / 10)[None, :, None]
    drawn = np.broadcast_to((skin * shade).astype(np.uint8), portrait.surroundings.shape).copy()
    eyes = np.zeros(drawn.shape[:2], np.uint8)
    for eye in EYES:
        width = np.linalg.norm(photo[eye.upper_lid[0]] - photo[eye.upper_lid[-1]])
        center = (photo[eye.pupil] + [0, 0.2 * width]).round().astype(int).tolist()
        for picture, white, iris in ((eyes, 1, 1), (drawn, (235, 235, 240), (70, 60, 150))):
            cv2.circle(picture, center, int(0.6 * width), white, -1)
            cv2.circle(picture, center, int(0.35 * width), iris, -1)
    lids = lids_of(portrait, drawn)
    assert float(torch.maximum(*(covers for _, covers in lids))[eyes > 0].mean()) > 0.99
    for lid, covers in lids:
        seen = (eyes > 0) & (covers.numpy() > 0.9)
        np.testing.assert_allclose(lid[:, seen].mean(1), 0.9 * skin / 255, atol=0.08)
        assert float((lid[0] - lid[2])[seen].min()) > 0.15  # of skin, not of white


def test_shut_lids_of_drawings_leave_hair_beside_the_eyes(portrait):
    photo = on_surroundings(posed(portrait)).host.posed[0, :, :2]
    drawn = np.full_like(portrait.surroundings, (250, 225, 205))
    hair = np.zeros(drawn.shape[:2], np.uint8)
    for eye in EYES:
        inner, outer = corners_of(eye, photo)
        pupil = photo[eye.pupil].round().astype(int).tolist()
        cv2.circle(drawn, pupil, int(0.2 * abs(outer[0] - inner[0])), (70, 110, 190), -1)
        cv2.line(drawn, pupil, outer.round().astype(int).tolist(), (40, 28, 22), 6)
        (left, top), (right, bottom) = outer + 0.12 * (outer - inner) - [0, 40], outer + 1.1 * (outer - inner) + [0, 40]
        cv2.rectangle(hair, (round(left), round(top)), (round(right), round(bottom)), 1, -1)
    drawn[hair > 0] = (90, 40, 30)
    covers = torch.maximum(*(covers for _, covers in lids_of(portrait, drawn)))
    assert float((covers.numpy() > 0.3)[hair > 0].mean()) < 0.01


def test_shut_lids_of_drawings_do_not_cover_a_shaded_cheek(portrait):
    photo = on_surroundings(posed(portrait)).host.posed[0, :, :2]
    drawn = np.full_like(portrait.surroundings, (250, 225, 205))
    shaded = np.zeros(drawn.shape[:2], np.uint8)
    for eye in EYES:
        width = float(np.linalg.norm(photo[eye.upper_lid[0]] - photo[eye.upper_lid[-1]]))
        x, y = photo[eye.pupil]
        side = 0.4 * width
        cv2.rectangle(
            drawn, (round(x - side), round(y)), (round(x + side), round(y + 1.5 * width)), (150, 120, 105), -1
        )
        cv2.circle(drawn, (round(x), round(y)), round(0.2 * width), (70, 110, 190), -1)
        below = [round(y + 0.45 * width), round(y + 0.6 * width)]
        cv2.rectangle(shaded, (round(x - 0.3 * width), below[0]), (round(x + 0.3 * width), below[1]), 1, -1)
    assert covered_by_lids(portrait, drawn, shaded > 0) < 0.02


def test_shut_lids_leave_lit_strands_of_dark_hair_above_a_cheek(portrait):
    photo, haired = on_surroundings(posed(portrait)).host.posed[0, :, :2], portrait.surroundings.copy()
    hair = np.zeros(haired.shape[:2], np.uint8)
    for eye in EYES:
        inner, outer = corners_of(eye, photo)
        along, y = outer - inner, outer[1]
        near, far = (float((outer + share * along)[0]) for share in (0.15, 1.5))
        cv2.rectangle(haired, (round(near), round(y - 60)), (round(far), round(y)), (85, 56, 46), -1)
        for x in np.arange(near, far, np.copysign(14, far - near)):
            cv2.line(haired, (round(x), round(y - 60)), (round(x), round(y)), (20, 12, 10), 9)
        beside = (round(near), round(y - 12)), (round(float((outer + 0.3 * along)[0])), round(y))
        cv2.rectangle(hair, *beside, 1, -1)
    assert covered_by_lids(portrait, haired, hair > 0) < 0.1


def test_a_fringe_over_an_eye_gets_no_lid(portrait):
    photo, fringed = on_surroundings(posed(portrait)).host.posed[0, :, :2], portrait.surroundings.copy()
    (left, top), (right, bottom) = (photo[list(EYES[0].lower_lid)].min(0), photo[list(EYES[0].lower_lid)].max(0))
    width = right - left
    fringed[round(top - 2 * width) : round(bottom), round(left - width) : round(right + 0.5 * width)] = (40, 30, 26)
    (_, covered), (_, open_to_view) = lids_of(portrait, fringed)
    assert float(covered.max()) == 0 and float(open_to_view.max()) > 0.99


def test_shut_lids_do_not_show_the_open_eye(portrait):
    photo, patterned = on_surroundings(posed(portrait)).host.posed[0, :, :2], portrait.surroundings.copy()
    for eye in EYES:
        outline = photo[[*eye.upper_lid, *eye.lower_lid[-2:0:-1]]].round().astype(np.int32)
        cv2.fillPoly(patterned, [outline], (250, 250, 250))
        cv2.polylines(patterned, [outline], True, (20, 20, 20), 1)
    plain, other = (lids_of(portrait, surroundings) for surroundings in (portrait.surroundings, patterned))
    for (lid, covers), (other_lid, _) in zip(plain, other, strict=True):
        assert float((lid - other_lid).abs()[:, covers > 0.99].max()) < 0.005


def test_half_shut_lids_have_dark_edges(generator, portrait):
    face = posed(portrait, blinking(portrait, 0.55))
    lashed = generator.prepare(with_lashes(portrait, (25, 15, 12)), refined=False)
    assert edge_of_lids(rendered(generator, lashed, face)[0], face.landmarks[0]) < 0.3


@pytest.mark.parametrize(("lid", "outwards"), [("upper_lid", -0.04), ("upper_lid", 0.02), ("lower_lid", 0.06)])
def test_eyes_go_on_behind_their_lids_without_the_lashes(portrait, lid, outwards):
    photo, lined = on_surroundings(posed(portrait)), portrait.surroundings.copy()
    for eye in EYES:
        edge = photo.host.posed[0, list(getattr(eye, lid)), :2].round().astype(np.int32)
        cv2.polylines(lined, [edge], False, (20, 15, 15), 2)

    def behind_lids(surroundings: np.ndarray) -> list[float]:
        picture = torch.tensor(surroundings).permute(2, 0, 1)[None].float() / 255
        brightness = []
        for prepared in prepare_eyes(picture, photo, 0.0):
            points = photo.host.posed[0, list(getattr(prepared.eye, lid)), :2] - prepared.corner.numpy()
            x, y = (2 * (points[3:6] + [0, outwards * np.ptp(points[:, 0])])).round().astype(int).T
            brightness.append(float(prepared.ball[0][:, y, x].mean()))
        return brightness

    assert np.less(0.85 * np.array(behind_lids(portrait.surroundings)), behind_lids(lined)).all()


def test_no_ring_brighter_than_the_white_goes_on_around_an_iris_behind_its_lid(portrait):
    photo, ringed = on_surroundings(posed(portrait)), portrait.surroundings.copy()
    places = []
    for eye in EYES:
        pupil, rim = photo.host.posed[0, eye.pupil, :2], photo.host.posed[0, list(eye.iris_rim), :2]
        radius = np.linalg.norm(rim - pupil, axis=1).mean()
        cv2.circle(ringed, pupil.round().astype(int).tolist(), round(radius), (255, 255, 255), 2)
        places.append(pupil - [0, radius])
    picture = torch.tensor(ringed).permute(2, 0, 1)[None].float() / 255
    for prepared, place in zip(prepare_eyes(picture, photo, 0.0), places, strict=True):
        x, y = (2 * (place - prepared.corner.numpy())).round().astype(int)
        assert float(prepared.ball[0][:, y, x].mean()) < 0.9


def test_lashes_go_with_a_lid_that_comes_down(generator, prepared, portrait):
    lift = np.zeros((1, 2, 2, 9, 3))
    lift[:, :, 0, :, 1] = 0.03
    face = posed(portrait, move_lids(portrait.normalized[None], lift))
    lashed = generator.prepare(with_lashes(portrait, (25, 15, 12)), refined=False)
    plain, other = (rendered(generator, each, face)[0].mean(-1) for each in (prepared, lashed))
    for eye in EYES:
        x, y = face.landmarks[0, list(eye.upper_lid[2:7]), :2].round().astype(int).T
        assert other[y + 1, x].mean() < 0.7 * plain[y + 1, x].mean()


def test_irises_turn(generator, prepared, portrait):
    frame = rendered(generator, prepared, posed(portrait, looking(portrait, 15.0)))[0]

    def darkest_column(picture: np.ndarray) -> float:
        eye = around(picture, portrait.landmarks, [LEFT_EYE.pupil], 9).mean(-1)
        dark = np.clip(np.median(eye) - eye, 0, None)
        return float((dark.sum(0) * np.arange(dark.shape[1])).sum() / dark.sum())

    assert darkest_column(frame) > darkest_column(portrait.image) + 0.7


@pytest.mark.parametrize("yaw", [-10.0, -3.0, 3.0, 10.0])
def test_small_gaze_is_seen_as_far_as_it_was_asked_for(generator, prepared, portrait, yaw):
    frame = rendered(generator, prepared, posed(portrait, looking(portrait, yaw)))[0]
    assert followed_gaze(portrait.image, frame, portrait.landmarks)[0] == pytest.approx(yaw, abs=1 + 0.2 * abs(yaw))


@pytest.mark.parametrize("yaw", [-10.0, 10.0])
def test_irises_do_not_jump_when_gaze_sets_in_on_a_turned_head(generator, prepared, portrait, yaw):
    face = posed(portrait, np.concatenate([portrait.normalized[None], looking(portrait, 1.0)]), yaw=yaw)
    frames = rendered(generator, prepared, face)
    assert followed_gaze(*frames, face.landmarks[0])[0] == pytest.approx(1.0, abs=0.7)


def test_half_shut_eyes_stay_as_they_are_in_a_still_frame_whatever_moves_in_the_next(generator, portrait):
    normalized = blinking(portrait, 0.75)
    half_shut = replace(portrait, landmarks=posed(portrait, normalized).landmarks[0], normalized=normalized[0])
    face = posed(portrait, np.concatenate([normalized, apply_gaze(normalized, 8.0, 0.0)]))
    frames = rendered(generator, generator.prepare(half_shut), face)
    np.testing.assert_array_equal(frames[0], portrait.image)


def test_eyes_that_are_shut_in_the_photo_open(generator, portrait, with_shut_eyes, detector):
    normalized = blinking(portrait)
    surroundings = portrait.surroundings.copy()
    surroundings[64:-64, 64:-64] = with_shut_eyes
    asleep = replace(
        portrait,
        surroundings=surroundings,
        landmarks=posed(portrait, normalized).landmarks[0],
        normalized=normalized[0],
    )
    face = posed(portrait, np.concatenate([normalized, portrait.normalized[None]]))
    frames = rendered(generator, generator.prepare(asleep), face)
    np.testing.assert_array_equal(frames[0], with_shut_eyes)
    (shut,), (awake,) = (detector.detect(frame) for frame in frames)
    assert (eye_opening(awake) > 2 * eye_opening(shut)).all()
    for eye in EYES:
        pupil = around(frames[1], portrait.landmarks, [eye.pupil], 2)
        assert pupil.mean() < around(with_shut_eyes, portrait.landmarks, [eye.pupil], 2).mean() - 30


def test_eyes_that_open_do_not_keep_the_slit_of_the_photo_across_them(generator, portrait):
    normalized = blinking(portrait, 0.75)
    surroundings, landmarks = portrait.surroundings.copy(), posed(portrait, normalized).landmarks[0]
    for eye in EYES:
        slit = landmarks[[*eye.upper_lid, *eye.lower_lid[::-1]], :2] + MARGIN
        cv2.fillPoly(surroundings, [slit.round().astype(np.int32)], (0, 255, 0))
    squinting = replace(portrait, surroundings=surroundings, landmarks=landmarks, normalized=normalized[0])
    frame = rendered(generator, generator.prepare(squinting, refined=False), posed(portrait))[0].astype(int)
    green = (frame[..., 1] > frame[..., [0, 2]].max(-1) + 100).astype(np.uint8)
    for eye in EYES:
        inside = np.zeros_like(green)
        outline = portrait.landmarks[[*eye.upper_lid, *eye.lower_lid[::-1]], :2]
        cv2.fillPoly(inside, [outline.round().astype(np.int32)], 1)
        assert not (green & cv2.erode(inside, np.ones((5, 5)))).any()


# The iterator


def test_frames_do_not_depend_on_their_batches(generator, prepared, portrait):
    rotation = portrait.pose.rotation + np.outer(np.arange(-5, 6), [1, 0, 0])
    pose = replace(portrait.pose.held(11), rotation=rotation)
    face = PosedFace(open_mouth(portrait, *np.linspace(0, 0.1, 11)), pose)
    whole = rendered(generator, prepared, face)
    parts = rendered(generator, prepared, face[:1], face[1:4], face[4:])
    # The refinement sees less of the skin around lips that open less far in all of a batch.
    np.testing.assert_allclose(whole.astype(int), parts.astype(int), atol=3)


def test_the_fastest_batch_holds_fewer_frames_of_a_large_film(generator, prepared, portrait):
    size = generator.batch_size(prepared)
    assert size >= 1
    assert 1 <= generator.batch_size(generator.prepare(portrait, crop_canvas(portrait, 1024))) < size


def test_a_few_batches_are_read_ahead_and_closing_ends_the_work(generator, prepared, portrait):
    read, ended = [], threading.Event()

    def faces():
        try:
            for number in range(100):
                read.append(number)
                yield posed(portrait)
        finally:
            ended.set()

    with no_work_left():
        frames = generator.render(prepared, faces())
        assert not read
        for number in range(1, 4):
            next(frames)
            assert len(read) <= number + 3
        frames.close()
        so_far = len(read)
        assert ended.is_set()
    assert len(read) == so_far
    assert list(frames) == []


def test_a_face_that_can_not_be_had_ends_the_work(generator, prepared, portrait):
    def faces():
        for _ in range(6):
            yield posed(portrait)
        raise LookupError("no more faces")

    with no_work_left():
        frames = generator.render(prepared, faces())
        next(frames)
        with pytest.raises(LookupError, match="no more faces"):
            list(frames)


def test_a_face_that_can_not_be_drawn_ends_the_work(generator, prepared, portrait):
    broken = posed(portrait, portrait.normalized[None, :100])
    with no_work_left():
        frames = generator.render(prepared, [posed(portrait), broken, *[posed(portrait)] * 20])
        np.testing.assert_array_equal(next(frames)[0], portrait.image)
        with pytest.raises((IndexError, RuntimeError)):
            list(frames)


@pytest.mark.skipif(NUM_CORES < 2, reason="needs two cores")
def test_several_batches_are_drawn_at_once_wherever_they_are_asked_for(generator, prepared, portrait):
    def count_workers() -> int:
        before = set(threading.enumerate())
        frames = generator.render(prepared, [posed(portrait)] * 20)
        next(frames)
        workers = set(threading.enumerate()) - before
        frames.close()
        return len(workers)

    # A thread that computes on one core alone, as another film may have left it.
    with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as elsewhere:
        assert elsewhere.submit(count_workers).result() >= 2


# The processes that draw beside this one


def find_drawing_processes():
    return [child for child in psutil.Process().children() if "drawing_worker" in " ".join(child.cmdline())]


def cpu_seconds(processes):
    return sum(process.cpu_times().user for process in processes)


@pytest.fixture
def drawing_processes(generator, monkeypatch):
    """Two processes that draw beside this one, as on three cores."""
    monkeypatch.setattr("space_core.generator.mesh_warp.generator.NUM_CORES", 3)
    monkeypatch.setattr("space_core.generator.mesh_warp.drawing_process.NUM_PROCESSES", 2)
    generator.warm_up()
    found = find_drawing_processes()
    assert len(found) >= 2
    return found


def nodding(portrait, count):
    """Batches of a frame each, of a head that goes down."""
    return [posed(portrait, open_mouth(portrait, 0.001 * number), pitch=0.2 * number) for number in range(count)]


def test_frames_of_other_processes_are_the_same(generator, prepared, portrait, drawing_processes):
    faces, before = nodding(portrait, 30), [cpu_seconds([process]) for process in drawing_processes]
    drawn = np.concatenate(list(generator.render(prepared, faces)))
    assert all(cpu_seconds([process]) > begun for process, begun in zip(drawing_processes, before, strict=True))
    np.testing.assert_array_equal(drawn, np.concatenate([generator.render_batch(prepared, face) for face in faces]))


def test_a_film_goes_on_when_a_process_is_killed_and_another_is_started(
    generator, prepared, portrait, drawing_processes
):
    faces = nodding(portrait, 60)
    frames = generator.render(prepared, faces)
    drawn = [next(frames) for _ in range(10)]
    killed = drawing_processes[0]
    killed.kill()
    drawn += frames
    np.testing.assert_array_equal(
        np.concatenate(drawn), np.concatenate([generator.render_batch(prepared, face) for face in faces])
    )
    generator.warm_up()
    assert killed not in find_drawing_processes()
    assert len(find_drawing_processes()) == len(drawing_processes)


@pytest.mark.usefixtures("drawing_processes")
def test_two_films_at_once_are_both_drawn(generator, prepared, portrait):
    faces = nodding(portrait, 16)
    other = generator.prepare(portrait, crop_canvas(portrait, 256))
    with no_work_left():
        for large, small in zip(generator.render(prepared, faces), generator.render(other, faces), strict=True):
            assert (large.shape, small.shape) == ((1, 512, 512, 3), (1, 256, 256, 3))


def test_a_film_that_is_broken_off_leaves_the_processes_to_the_next(generator, prepared, portrait, drawing_processes):
    frames = generator.render(prepared, nodding(portrait, 60))
    for _ in range(10):
        next(frames)
    frames.close()
    before = cpu_seconds(drawing_processes)
    assert len(list(generator.render(prepared, nodding(portrait, 30)))) == 30
    assert cpu_seconds(drawing_processes) > before + 0.05


AT_EXIT = """
import atexit, pickle, sys, time
films = []
atexit.register(lambda: [film.close() for film in films])  # after what the package does at exit
sys.path[:] = sys.argv[1:]
from space_core.generator.mesh_warp import MeshWarpGenerator
prepared, faces = pickle.load(sys.stdin.buffer)
generator = MeshWarpGenerator("cpu")
generator.warm_up()
films.append(generator.render(prepared, faces))
for _ in range(20): next(films[0])
time.sleep(1)  # all batches that were begun are drawn
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_a_film_may_be_given_up_when_its_process_has_ended_at_exit(prepared, portrait):
    request = pickle.dumps((prepared, nodding(portrait, 30)))
    two_cores = {**os.environ, "OMP_NUM_THREADS": "2"}
    arguments = [sys.executable, "-c", AT_EXIT, *sys.path]
    done = subprocess.run(arguments, input=request, env=two_cores, capture_output=True, check=False, timeout=120)
    assert (done.returncode, done.stderr.decode()) == (0, "")


# The rasterizer


def test_rasterizer_interpolates_and_shows_the_nearest_triangle():
    corners = torch.tensor([[0.0, 0], [8, 0], [0, 8], [8, 8]])
    vertices = torch.cat([corners, corners])[None]
    depths = torch.tensor([[5.0] * 4 + [2.0, 2.0, 9.0, 9.0]])
    triangles = torch.tensor([[0, 1, 2], [1, 3, 2], [4, 5, 6], [5, 7, 6]])
    colours = torch.tensor([1.0] * 4 + [0.0] * 4)
    attributes = torch.cat([vertices, colours[None, :, None]], 2)
    picture = rasterize(vertices, depths, triangles, attributes, (10, 12))[0]
    assert picture.shape == (10, 12, 3)
    np.testing.assert_allclose(picture[3, 5, :2], [5, 3], atol=1e-4)
    assert picture[1, 4, 2] == 0  # where the second square is nearer
    assert picture[7, 4, 2] == 1
    assert not picture[9].any() and not picture[:, 9:].any()  # outside


def test_rasterizer_leaves_no_gaps_between_triangles():
    random = np.random.default_rng(0)
    axis = np.linspace(0, 63, 9)
    grid = np.stack(np.meshgrid(axis, axis), -1)
    grid[1:-1, 1:-1] += random.uniform(-3, 3, (7, 7, 2))
    index = np.arange(81).reshape(9, 9)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    triangles = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])
    vertices = torch.tensor(grid.reshape(1, -1, 2), dtype=torch.float32)
    picture = rasterize(vertices, torch.zeros(1, 81), torch.tensor(triangles), torch.ones(1, 81, 1), (64, 64))
    np.testing.assert_allclose(picture, 1, atol=1e-5)
