"""What the generator promises of heads turned far from their photo's pose."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from rendering import around, looking, mean_difference, on_surroundings, posed, rendered

from space_core.arrays import distance_to
from space_core.evaluation.head_turn import outline_flicker
from space_core.face.crop_size import MARGIN, SIZE
from space_core.face.detector import build_detector
from space_core.face.portrait import Portrait, cut, prepare_portrait
from space_core.face.segmentation import person_mask
from space_core.face.topology import EYES
from space_core.generator.mesh_warp import MeshWarpGenerator
from space_core.generator.mesh_warp.background import Background, estimate_background
from space_core.generator.mesh_warp.coherence_transport import continue_lines
from space_core.generator.mesh_warp.compositing.compositor import compose
from space_core.generator.mesh_warp.compositing.far_view import blend_far_side
from space_core.generator.mesh_warp.compositing.grid import smoothed
from space_core.generator.mesh_warp.compositing.mirrored_edge import draw_apart
from space_core.generator.mesh_warp.compositing.person_layer import BIAS, cut_out
from space_core.generator.mesh_warp.compositing.warp import Warp
from space_core.generator.mesh_warp.earrings import find_earrings
from space_core.generator.mesh_warp.face_motion import FaceMotion, PixelTransform
from space_core.generator.mesh_warp.far_cheek import far_cheek
from space_core.generator.mesh_warp.far_side import far_appearance, find_far_side
from space_core.generator.mesh_warp.generator import PreparedPortrait
from space_core.generator.mesh_warp.hair_strands import find_hair_strands
from space_core.generator.mesh_warp.hair_tips import find_hair_tips
from space_core.generator.mesh_warp.hanging_hair import HangingHair
from space_core.generator.mesh_warp.head_back import find_head_back
from space_core.generator.mesh_warp.head_shape import head_depth
from space_core.generator.mesh_warp.head_sides import with_head_sides
from space_core.generator.mesh_warp.head_top import with_head_top
from space_core.generator.mesh_warp.held_things import held_things
from space_core.generator.mesh_warp.inpainting import fill, without_traces
from space_core.generator.mesh_warp.texture import busyness, texture_beyond
from space_core.generator.mesh_warp.warp_mesh import build_warp_mesh


def hair(share: float = 0) -> HangingHair:
    """Hair of one share everywhere."""
    return HangingHair(np.full((160, 160), share, np.float32))


def half_hidden(generator: MeshWarpGenerator, portrait: Portrait, yaw: float) -> Portrait:
    """A portrait of a head that is turned in its photo, rendered out of another."""
    picture = rendered(generator, generator.prepare(portrait, refined=False), posed(portrait, yaw=yaw))[0]
    return prepare_portrait(picture, build_detector("mediapipe"))


@pytest.fixture(scope="module")
def turned_away(generator, portrait):
    return half_hidden(generator, portrait, 30 - float(portrait.pose.rotation[0, 0]))


@pytest.fixture(scope="module")
def prepared(generator, portrait):
    return generator.prepare(portrait, refined=False)


def without_back(prepared: PreparedPortrait) -> PreparedPortrait:
    """A portrait whose head shows background where its photo does not show its back."""
    mesh, back = prepared.mesh, prepared.mesh.back
    return replace(prepared, mesh=replace(mesh, back=replace(back, texture=torch.zeros_like(back.texture))))


def widened(mask: np.ndarray, reach: int) -> np.ndarray:
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * reach + 1,) * 2)) > 0


@pytest.mark.parametrize("yaw", [-30, 30])
def test_background_away_from_head_and_hair_stays_as_it_is(generator, prepared, portrait, yaw):
    face = posed(portrait, yaw=yaw)
    frame = rendered(generator, prepared, face)[0]
    now = person_mask(frame, face.landmarks[0, :, :2]) > 0.5
    before = portrait.person[MARGIN:-MARGIN, MARGIN:-MARGIN] > 0.5
    outside = ~widened(now | before, 12)
    assert outside.mean() > 0.02
    assert np.abs(frame.astype(int) - portrait.image)[outside].mean() < 2


def test_what_hardly_looks_like_a_person_stands_still_away_from_the_person(generator, portrait):
    away = ~widened(portrait.person > 0.5, 40)
    others = replace(portrait, person=np.where(away, np.maximum(portrait.person, 0.4), portrait.person))
    frame = rendered(generator, generator.prepare(others, refined=False), posed(portrait, yaw=12))[0]
    difference = np.abs(frame.astype(int) - portrait.image)[away[MARGIN:-MARGIN, MARGIN:-MARGIN]]
    assert len(difference) > 1000
    assert difference.mean() < 1


@pytest.mark.parametrize("above", [8, -24])
def test_a_head_at_the_photos_upper_edge_keeps_its_shape_when_it_sinks(generator, portrait, above):
    columns = np.s_[:, 220:420]  # of the surroundings, about the middle of the face
    hair = int(np.flatnonzero((portrait.person[columns] > 0.5).any(1))[0]) - MARGIN
    first = portrait.crop.to_photo(np.array([0, hair - above]))[1]
    lower = prepare_portrait(portrait.photo[round(first) :], build_detector("mediapipe"))
    sinking = 24
    (frame,) = rendered(generator, generator.prepare(lower, refined=False), posed(lower, moved=(0, sinking, 0)))
    brows = int(lower.landmarks[:468, 1].min())
    head = cv2.erode(lower.person[MARGIN:-MARGIN, MARGIN:-MARGIN], np.ones((9, 9)))[4:brows] > 0.9
    carried = np.abs(frame[4 + sinking : brows + sinking].astype(int) - lower.image[4:brows])
    assert head.sum() > 3000
    assert carried[head].mean() < 5


def test_a_narrow_head_at_the_photos_upper_edge_is_continued_as_narrow_as_it_is():
    head = np.zeros((640, 640), np.float32)
    cv2.ellipse(head, (320, 200), (90, 180), 0, 0, 360, 1.0, -1)
    cut_off = head.copy()
    cut_off[:MARGIN] = 0
    whole = with_head_top(cut_off, MARGIN, scale=160.0)
    assert whole is not None
    np.testing.assert_array_equal(whole[MARGIN + 10 :], head[MARGIN + 10 :])
    for row in (MARGIN - 4, MARGIN - 12, MARGIN - 20):
        assert abs(whole[row].sum() - head[row].sum()) < 14


def test_hair_above_the_photos_upper_edge_is_not_striped(generator, portrait):
    hair = int(np.flatnonzero((portrait.person[:, 220:420] > 0.5).any(1))[0]) - MARGIN
    first = round(portrait.crop.to_photo(np.array([0, hair + 24]))[1])
    head = prepare_portrait(portrait.photo[first:], build_detector("mediapipe"))
    photo, scale = head.photo.copy(), head.crop.scale
    columns = (np.arange(photo.shape[1]) / (6 * scale)).astype(int) % 2 > 0  # strands, 6 pixels of the crop wide
    photo[: round(30 * scale), columns] = 200
    striped = replace(head, photo=photo, surroundings=cut(photo, head.crop))
    sinking = 40
    (frame,) = rendered(generator, generator.prepare(striped, refined=False), posed(striped, moved=(0, sinking, 0)))
    middle = int(striped.landmarks[:468, 0].mean())
    above, below = (
        frame[top : top + 8, middle - 30 : middle + 30].astype(float).mean((0, 2)).std() for top in (6, sinking + 6)
    )
    assert below > 20
    assert above < 0.5 * below


@pytest.mark.parametrize("side", [0, 1])
def test_a_head_at_the_photos_side_edge_keeps_its_shape_when_it_moves_inwards(generator, portrait, side):
    photo, person, crop = portrait.photo, portrait.person, portrait.crop
    eyes = slice(*(portrait.landmarks[[8, 5], 1].astype(int) + MARGIN))  # rows of the surroundings
    cut_off, inwards = 6, 24
    columns = np.flatnonzero((person[eyes] > 0.5).any(0)) - MARGIN
    if side == 0:
        cut_photo = photo[:, round(crop.to_photo(np.array([columns[0] + cut_off, 0.0]))[0]) :]
    else:
        cut_photo = photo[:, : round(crop.to_photo(np.array([columns[-1] - cut_off, 0.0]))[0])]
    cut_head = prepare_portrait(np.ascontiguousarray(cut_photo), build_detector("mediapipe"))
    step = inwards if side == 0 else -inwards
    (frame,) = rendered(generator, generator.prepare(cut_head, refined=False), posed(cut_head, moved=(step, 0, 0)))
    rows = slice(*cut_head.landmarks[[8, 5], 1].astype(int))
    left, right = (cut_head.crop.to_crop(np.array([end, 0.0]))[0] for end in (0, cut_photo.shape[1]))
    edge = np.s_[int(left) + 4 : int(left) + 44] if side == 0 else np.s_[int(right) - 44 : int(right) - 4]
    moved = slice(edge.start + step, edge.stop + step)
    head = cv2.erode(cut_head.person[MARGIN:-MARGIN, MARGIN:-MARGIN], np.ones((9, 9)))[rows, edge] > 0.9
    assert head.sum() > 500
    assert np.abs(frame[rows, moved].astype(int) - cut_head.image[rows, edge])[head].mean() < 5


def test_what_ends_near_the_photos_side_edge_is_not_held_there(generator, portrait):
    eyes = slice(*(portrait.landmarks[[8, 5], 1].astype(int) + MARGIN))  # rows of the surroundings
    last, inwards = np.flatnonzero((portrait.person[eyes] > 0.5).any(0))[-1] - MARGIN, 24
    close = portrait.photo[:, : round(portrait.crop.to_photo(np.array([last + 10, 0.0]))[0])]
    close = prepare_portrait(np.ascontiguousarray(close), build_detector("mediapipe"))
    edge = int(close.crop.to_crop(np.array([close.photo.shape[1], 0.0]))[0])
    # Its mask ends where the photo does not end yet.
    person = close.person.copy()
    person[:, MARGIN + edge - 8 : MARGIN + edge - 4] = 0.3
    person[:, MARGIN + edge - 4 :] = 0
    close = replace(close, person=person)
    (frame,) = rendered(generator, generator.prepare(close, refined=False), posed(close, moved=(-inwards, 0, 0)))
    rows, columns = slice(*close.landmarks[[8, 5], 1].astype(int)), slice(edge - 44, edge - 12)
    head = cv2.erode(person[MARGIN:-MARGIN, MARGIN:-MARGIN], np.ones((9, 9)))[rows, columns] > 0.9
    moved = frame[rows, columns.start - inwards : columns.stop - inwards].astype(int)
    assert head.sum() > 300
    assert np.abs(moved - close.image[rows, columns])[head].mean() < 5


def test_a_head_that_moves_far_is_not_seen_a_second_time_where_it_was(generator, portrait):
    eyes = slice(*(portrait.landmarks[[8, 5], 1].astype(int) + MARGIN))  # rows of the surroundings
    last = np.flatnonzero((portrait.person[eyes] > 0.5).any(0))[-1] - MARGIN
    close = portrait.photo[:, : round(portrait.crop.to_photo(np.array([last + 10, 0.0]))[0])]
    close = prepare_portrait(np.ascontiguousarray(close), build_detector("mediapipe"))
    (frame,) = rendered(generator, generator.prepare(close, refined=False), posed(close, moved=(-160, 0, 0)))
    rows = slice(*close.landmarks[[8, 5], 1].astype(int))
    edge = int(close.crop.to_crop(np.array([close.photo.shape[1], 0.0]))[0])
    beside = np.s_[rows, edge - 40 : edge]
    head = close.person[MARGIN:-MARGIN, MARGIN:-MARGIN][beside] > 0.95
    assert head.sum() > 300
    assert np.abs(frame[beside].astype(int) - close.image[beside])[head].mean() > 20


def test_a_round_head_is_continued_as_round_beyond_the_photos_side_edge():
    head = np.zeros((640, 640), np.float32)
    cv2.ellipse(head, (220, 320), (180, 180), 0, 0, 360, 1.0, -1)
    cut_off = head.copy()
    cut_off[:, :MARGIN] = 0
    edges = np.array([[MARGIN, MARGIN], [640 - MARGIN, 640 - MARGIN]], float)
    sides = with_head_sides(cut_off, edges, scale=160.0)
    assert (sides.left, sides.right) == (MARGIN, None)
    np.testing.assert_array_equal(sides.person[:, MARGIN + 10 :], head[:, MARGIN + 10 :])
    for column in (MARGIN - 4, MARGIN - 12):
        assert abs(sides.person[:, column].sum() - head[:, column].sum()) < 24
    assert not sides.person[:, : MARGIN // 2].any()
    facing = with_head_sides(np.ascontiguousarray(cut_off[:, ::-1]), edges, scale=160.0)
    assert (facing.left, facing.right) == (None, MARGIN)
    np.testing.assert_array_equal(facing.person[:, ::-1], sides.person)


def test_shoulders_stay_at_the_edge_of_a_framed_photo(generator, wearer):
    right = round(wearer.crop.to_photo(np.array([490.0, 0.0]))[0])
    framed = wearer.photo[:, :right].copy()
    framed[:, -2:] = 235
    portrait = prepare_portrait(framed, build_detector("mediapipe"))
    edge = int(portrait.crop.to_crop(np.array([right, 0.0]))[0])
    (frame,) = rendered(generator, generator.prepare(portrait, refined=False), posed(portrait, yaw=35))
    shoulder = np.s_[-80:, edge - 20 : edge - 10]
    assert portrait.image[shoulder].mean() < 60
    assert np.abs(frame[shoulder].astype(int) - portrait.image[shoulder]).mean() < 20


def test_nothing_between_is_seen_where_one_part_lies_in_front_of_another(generator, portrait):
    # A green stripe in the photo, from the one side of which the picture jumps to the other.
    surroundings = np.full_like(portrait.surroundings, 120)
    left = MARGIN + 220
    surroundings[:, left : left + 40] = [0, 255, 0]
    plain = replace(portrait, surroundings=surroundings, person=np.ones_like(portrait.person))
    canvas = generator.prepare(plain, refined=False).canvas
    offsets = torch.zeros(1, canvas.grid.rows, canvas.grid.columns, 2)
    offsets[:, :, 90:, 0] = 100.0
    (frame,), _ = compose(canvas, Warp(offsets))
    assert int(frame[20:-20, 140:220].int().diff(dim=-1).abs().max()) < 10


def test_skull_and_ears_lie_behind_the_face(portrait):
    photo = on_surroundings(posed(portrait))
    deep = head_depth(photo, portrait.person, hair())
    scale = float(photo.host.scale[0])
    forehead, left, right = photo.host.posed[0, [10, 234, 454], :2].astype(float)
    up = (forehead - (left + right) / 2) / np.linalg.norm(forehead - (left + right) / 2)
    outwards = (right - left) / np.linalg.norm(right - left)
    crown = deep.at((forehead + 0.5 * scale * up)[None]) - deep.at(forehead[None])
    ears = deep.at(np.stack([left - 0.2 * scale * outwards, right + 0.2 * scale * outwards])) - deep.at(
        np.stack([left + 0.2 * scale * outwards, right - 0.2 * scale * outwards])
    )
    assert 0.2 < crown[0] / scale < 1.2
    assert ears.min() > 0.2 * scale and ears.max() < scale


def test_ears_are_as_deep_at_their_lobes_as_at_their_tops(portrait):
    photo = on_surroundings(posed(portrait))
    ends = np.array([[x, y, 0.8] for x in (-0.98, 0.98) for y in (0.1, 0.6)])
    depth = head_depth(photo, portrait.person, hair()).at(photo.host.place(ends)[0, :, :2])
    top, lobe = ((depth - photo.host.place(ends)[0, :, 2]) / portrait.pose.scale).reshape(2, 2).T
    np.testing.assert_allclose(lobe, top, atol=0.12)


def test_hair_that_hangs_lies_before_the_ears_and_is_as_deep_below_them_as_above_them(portrait):
    photo, person = on_surroundings(posed(portrait)), np.zeros((640, 640), np.float32)
    corners = np.array([(-1.3, -1.2, 0.6), (1.3, -1.2, 0.6), (1.3, 1.6, 0.6), (-1.3, 1.6, 0.6)])
    cv2.fillPoly(person, [photo.host.place(corners)[0, :, :2].round().astype(np.int32)], 1)

    def depths(hangs: float, x: float, *heights: float) -> np.ndarray:
        places = photo.host.place(np.array([[side * x, y, 0.6] for y in heights for side in (-1, 1)]))[0]
        depth = head_depth(photo, person, hair(hangs)).at(places[:, :2]) - places[:, 2]
        return depth.reshape(-1, 2) / portrait.pose.scale + 0.6

    np.testing.assert_allclose(depths(1, 0.2, 0.4), depths(0, 0.2, 0.4), atol=0.01)
    assert (depths(1, 0.95, 0.1, 0.4) < depths(0, 0.95, 0.1, 0.4) - 0.3).all()
    np.testing.assert_allclose(np.diff(depths(1, 1.25, -0.3, 0.0, 0.4, 0.8), axis=0), 0, atol=0.1)


def round_head(photo: FaceMotion, depth: float) -> tuple[np.ndarray, float, np.ndarray]:
    """The middle (3,) of a head as round as a ball at a normalized depth, its radius, and its mask; in pixels."""
    middle, radius = photo.host.place(np.array([[0.0, 0.0, depth]]))[0, 0], 1.3 * float(photo.host.scale[0])
    centre = middle[:2].round().astype(int).tolist()
    return middle, radius, cv2.circle(np.zeros((640, 640), np.float32), centre, round(radius), 1.0, -1)


@pytest.mark.parametrize("yaw", [-30, 30])
def test_on_the_far_side_of_a_turned_photo_the_outline_is_no_deeper_than_the_middle_of_the_head(portrait, yaw):
    photo = on_surroundings(posed(portrait, yaw=yaw))
    middle, radius, person = round_head(photo, 0.85)
    angles = np.radians([20, 45, 70])
    outline = middle[:2] + radius * np.stack([np.sign(yaw) * np.cos(angles), -np.sin(angles)], -1)
    assert (head_depth(photo, person, hair()).at(outline) < middle[2]).all()


@pytest.mark.parametrize("yaw", [-30, 30])
def test_the_near_side_of_a_turned_photo_is_as_deep_at_the_outline_as_the_middle_of_the_head(portrait, yaw):
    photo = on_surroundings(posed(portrait, yaw=yaw))
    middle, radius, person = round_head(photo, 0.9)
    angles = np.radians([-15, 0, 15, 30])
    outline = middle[:2] + 0.95 * radius * np.stack([-np.sign(yaw) * np.cos(angles), -np.sin(angles)], -1)
    deeper = (head_depth(photo, person, hair()).at(outline) - middle[2]) / photo.host.scale[0]
    np.testing.assert_allclose(deeper, 0, atol=0.2)


@pytest.mark.parametrize("yaw", [-35, 35])
def test_hair_reaches_as_far_as_the_forehead_of_a_head_turned_far(portrait, yaw):
    photo = on_surroundings(posed(portrait))
    person = np.zeros((640, 640), np.float32)  # hair that stands 0.3 out from the head, and no more
    outline = photo.host.place(np.array([[np.cos(a), 1.3 * np.sin(a), 0.85] for a in np.linspace(0, 2 * np.pi, 64)]))
    cv2.fillPoly(person, [outline[0, :, :2].round().astype(np.int32)], 1)
    far = np.sign(yaw)
    places = np.array([[far * x, y, 0.0] for x in np.linspace(0, 0.9, 19) for y in (-0.75, -0.6, -0.45)])
    points = photo.host.place(places)[0, :, :2]
    posed_places = np.column_stack([points, head_depth(photo, person, hair()).at(points)])
    normalized = (posed_places - photo.host.translation) @ photo.host.rotation[0] / photo.host.scale[0]
    angle = np.radians(abs(yaw))
    outwards = far * normalized[:, 0] * np.cos(angle) - normalized[:, 2] * np.sin(angle)
    highest, middle, forehead = outwards.reshape(19, 3).max(0)
    assert middle > forehead - 0.08 and highest > forehead - 0.16


@pytest.mark.parametrize("yaw", [-35, 35])
def test_the_near_side_of_a_head_that_turns_is_nearly_as_wide_as_that_of_an_egg(portrait, yaw):
    photo, angle, near = on_surroundings(posed(portrait)), np.radians(abs(yaw)), np.sign(yaw)
    axis, depth, height, centre = 0.95, 1.2, 1.2, -0.2  # of an egg one wide, as deep as a skull
    angles, person = np.linspace(0, 2 * np.pi, 64), np.zeros((640, 640), np.float32)
    outline = np.column_stack([np.cos(angles), centre + height * np.sin(angles), np.full(64, axis)])
    cv2.fillPoly(person, [photo.host.place(outline)[0, :, :2].round().astype(np.int32)], 1)
    for y in (-0.7, -0.5, -0.3):
        radius = np.sqrt(1 - ((y - centre) / height) ** 2)
        places = np.array([[near * x, y, axis] for x in radius * np.linspace(0.5, 1, 11)])
        points = photo.host.place(places)[0, :, :2]
        posed_places = np.column_stack([points, head_depth(photo, person, hair()).at(points)])
        normalized = (posed_places - photo.host.translation) @ photo.host.rotation[0] / photo.host.scale[0]
        reach = (near * normalized[:, 0] * np.cos(angle) + normalized[:, 2] * np.sin(angle)).max()
        egg = axis * np.sin(angle) + radius * np.hypot(np.cos(angle), depth * np.sin(angle))
        assert 0.77 < reach / egg < 1, (y, reach / egg)


@pytest.mark.parametrize("yaw", [-30, 30])
def test_behind_the_near_ear_the_hair_above_it_goes_on_as_far_as_a_head_is_deep(portrait, yaw):
    photo, near, angle = on_surroundings(posed(portrait)), -np.sign(yaw), np.radians(abs(yaw))
    angles, person = np.linspace(0, 2 * np.pi, 64), np.zeros((640, 640), np.float32)
    outline = photo.host.place(np.column_stack([0.95 * np.cos(angles), 1.3 * np.sin(angles), np.full(64, 0.85)]))[0]
    cv2.fillPoly(person, [outline[:, :2].round().astype(np.int32)], 1)
    x, y = np.meshgrid(np.linspace(-1.2, 1.2, 200), np.linspace(-0.05, 1.2, 200))
    skin = photo.host.place(np.stack([x, y, np.full_like(x, 0.85)], -1).reshape(-1, 3))[0, :, :2].round().astype(int)
    colours = np.full((640, 640, 3), 0.8, np.float32)
    colours[person > 0] = dark = np.float32([0.3, 0.2, 0.1])
    colours[skin[:, 1], skin[:, 0]] = [0.8, 0.6, 0.5]
    back = find_head_back(photo, torch.from_numpy(colours).permute(2, 0, 1)[None], person, hair())
    side = back.vertices[:, 0] * near > 0
    heights, places = back.vertices[side, 1], back.places.numpy()[side].round().astype(int)
    behind_ear = (heights > -0.15) & (heights < 0.3)
    texture = back.texture.numpy()[places[behind_ear, 1], places[behind_ear, 0]] / 255
    x, _, z = back.vertices[side][behind_ear].T
    shade = (texture[:, :3] / dark).mean(1)
    np.testing.assert_allclose(texture[:, :3], shade[:, None] * dark, atol=0.02)
    assert shade[z < 0.85].min() > 0.9 and 0.6 < shade.min() < 0.7, "darker towards the back"
    assert texture[:, 3].min() > 0.95
    turned = near * x * np.cos(angle) + (z - 0.85) * np.sin(angle)
    assert 0.08 < turned.max() - 0.95 * np.cos(angle) < 0.25
    assert abs(x).max() < 0.96  # so that nothing of it is seen in the photo's pose
    assert back.in_view(on_surroundings(posed(portrait, yaw=yaw))).tolist() == [[yaw > 0, yaw < 0]]


def head_with_neck(
    photo: FaceMotion, grain: float = 0, lean: float = 0, skin: tuple[float, float, float] = (0.8, 0.6, 0.5)
) -> tuple[np.ndarray, np.ndarray]:
    """Colours (640, 640, 3) of a person with grainy dark hair and a skin-coloured face and neck, and the mask.

    The neck leans by ``lean`` towards positive x, normalized, at its lower end.
    """

    def drawn(outline: np.ndarray) -> np.ndarray:
        points = photo.host.place(np.column_stack([outline, np.full(len(outline), 0.85)]))[0, :, :2]
        mask = np.zeros((640, 640), np.float32)
        cv2.fillPoly(mask, [points.round().astype(np.int32)], 1)
        return mask

    angles = np.linspace(0, 2 * np.pi, 64)
    head = drawn(np.column_stack([0.95 * np.cos(angles), 1.2 * np.sin(angles) - 0.1]))
    face = drawn(np.column_stack([0.75 * np.cos(angles), 0.9 * np.sin(angles) + 0.4]))
    neck = drawn(np.array([[-0.5, 0.5], [0.5, 0.5], [0.5 + lean, 2.0], [lean - 0.5, 2.0]]))
    noise = cv2.GaussianBlur(np.random.default_rng(0).normal(size=(640, 640)).astype(np.float32), (0, 0), 1)
    hair = np.float32([0.3, 0.2, 0.1]) + grain * (noise / noise.std())[..., None]
    colours = np.full((640, 640, 3), 0.8, np.float32)
    colours[head > 0] = hair[head > 0]
    colours[neck > 0] = [0.48, 0.36, 0.3]
    colours[face > 0] = skin
    return colours.clip(0, 1), np.maximum(head, neck)


def test_below_the_hair_of_a_turned_head_is_a_neck_as_wide_and_as_coloured_as_the_photo_shows_it(portrait):
    photo = on_surroundings(posed(portrait))
    colours, person = head_with_neck(photo)
    back = find_head_back(photo, torch.from_numpy(colours).permute(2, 0, 1)[None], person, hair())
    below_jaw = (back.vertices[:, 1] > 0.85) & (back.vertices[:, 1] < 1.25)
    columns, rows = back.places.numpy()[below_jaw].round().astype(int).T
    texture = back.texture.numpy()[rows, columns] / 255
    colour = np.array([0.48, 0.36, 0.3])
    shade = (texture[:, :3] / colour).mean(1)
    np.testing.assert_allclose(texture[:, :3], shade[:, None] * colour, atol=0.02)
    beyond = columns % (back.texture.shape[1] // 2)  # from before the outline that the photo shows to the nape
    assert shade[beyond < 60].min() > 0.9 and shade[beyond > 110].max() < 0.8, "it is round"
    assert texture[:, 3].min() > 0.95
    assert abs(back.vertices[below_jaw, 0]).max() == pytest.approx(0.5, abs=0.05)
    jaw = photo.host.place(np.array([[0, 0.8, 0.85]]))[0, 0, 1]
    colours[int(jaw) :] = [0.1, 0.2, 0.5]
    in_scarf = find_head_back(photo, torch.from_numpy(colours).permute(2, 0, 1)[None], person, hair())
    assert in_scarf.texture.numpy()[rows, columns, 3].max() == 0


def upright(portrait: Portrait, yaw: float, pitch: float = 0, roll: float = 0) -> FaceMotion:
    """The photo's face in pixels of the surroundings, turned from the camera by degrees."""
    yaw, pitch, roll = np.array([yaw, pitch, roll]) - portrait.pose.rotation[0]
    return on_surroundings(posed(portrait, yaw=yaw, pitch=pitch, roll=roll))


def back_of(photo: FaceMotion, colours: np.ndarray, person: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(P, 3) vertices of the back of a head with short hair, (P, 4) colours there and how opaque it is, 0…1, and (P,)
    how much it is drawn over the person's soft edge."""
    back = find_head_back(photo, torch.from_numpy(colours).permute(2, 0, 1)[None], person, hair())
    columns, rows = back.places.numpy().round().astype(int).T
    return back.vertices, back.texture.numpy()[rows, columns] / 255, back.over_edge.numpy()[:, 0]


def test_a_neck_behind_the_jaw_is_as_colourful_as_the_photo_shows_it_although_the_face_is_bleached(portrait):
    photo = on_surroundings(posed(portrait))
    vertices, texture, over_edge = back_of(photo, *head_with_neck(photo, skin=(0.9, 0.76, 0.7)))
    behind_jaw = (vertices[:, 1] > 0.6) & (vertices[:, 1] < 0.85) & (vertices[:, 2] < 0.8)
    colour = texture[behind_jaw, :3].mean(0)
    np.testing.assert_allclose(colour / colour.sum(), np.array([0.48, 0.36, 0.3]) / 1.14, atol=0.01)
    assert over_edge.min() == 1  # or the background would be seen in the soft edges of jaw and ear


def test_behind_the_ear_of_a_drawing_is_paper_although_its_hair_is_lines(portrait):
    photo = on_surroundings(posed(portrait))
    colours, person = np.ones((640, 640, 3), np.float32), np.zeros((640, 640), np.float32)

    def on_head(outline: list[tuple[float, float]]) -> np.ndarray:
        points = photo.host.place(np.column_stack([outline, np.full(len(outline), 0.85)]))[0, :, :2]
        return points.round().astype(np.int32)

    cv2.fillPoly(person, [on_head([(-0.8, -0.45), (0.8, -0.45), (0.8, 0.6), (-0.8, 0.6)])], 1)
    for side in (-1, 1):
        cv2.polylines(colours, [on_head([(side * 0.65, -0.4), (side * 0.7, 0.1)])], False, (0, 0, 0), 2)
    vertices, texture, _ = back_of(photo, colours, person)
    behind_ear = (vertices[:, 1] > -0.2) & (vertices[:, 1] < 0.1)
    assert texture[behind_ear, 3].max() > 0.9
    assert texture[behind_ear, :3].min() > 0.6  # darker towards the back


@pytest.mark.parametrize("side", [-1, 1])
def test_a_head_that_turns_gets_wider_little_by_little(portrait, side):
    # In the photo it is turned a little the other way: then more of its back comes into view at once.
    photo = upright(portrait, -8 * side)
    colours, person = head_with_neck(photo)
    back = find_head_back(photo, torch.from_numpy(colours).permute(2, 0, 1)[None], person, hair())
    ear = np.array([[-side * 0.85, 0, 0.6]])
    width = []
    for yaw in range(31):
        motion = upright(portrait, yaw * side)
        place = motion.place(torch.from_numpy(back.vertices).float())
        positions, _ = back.grown(motion, place[..., :2], place[..., 2])
        rows = (abs(back.vertices[:, 1]) < 0.3) & (back.vertices[:, 0] * side < 0)
        beyond = (side * (motion.host.place(ear)[0, 0, 0] - positions[0, rows, 0].numpy())).max(initial=0)
        width.append(back.in_view(motion)[0].max() * beyond / float(motion.scale[0]))
    assert width[0] == 0 and width[-1] > 0.2
    assert np.diff(width).max() < 0.05


def test_the_hair_at_the_back_has_locks_of_the_contrast_that_the_photo_shows(portrait):
    photo = on_surroundings(posed(portrait))
    colours, person = head_with_neck(photo)
    is_hair = (colours == np.float32([0.3, 0.2, 0.1])).all(-1)
    textures = []
    for contrast in (0, 0.1, 0.2):
        shares = 1 + contrast * np.sin(np.arange(640) / 6)[:, None] * is_hair[..., None]
        picture = torch.from_numpy((colours * shares).astype(np.float32)).permute(2, 0, 1)[None]
        back = find_head_back(photo, picture, person, hair())
        above_ear = back.texture[130:190, :160, :3].float().mean(2).numpy()
        textures.append(cv2.GaussianBlur(above_ear, (0, 0), 3))  # without strands
    plain, little, much = textures
    assert 0.02 < (little / plain).std() < 0.1
    assert 1.5 < (much / plain).std() / (little / plain).std() < 2.5


@pytest.mark.parametrize(("length", "seen"), [(0.8, False), (1.6, True)])
def test_hair_at_the_back_is_as_long_as_the_photo_shows_it_on_either_side(portrait, length, seen):
    photo = on_surroundings(posed(portrait))
    colours, person = head_with_neck(photo)
    lowest = photo.host.place(np.array([[0, length, 0.85]]))[0, 0, 1]
    share = np.zeros((160, 160), np.float32)
    share[: int(lowest / 4)] = 1
    picture = torch.from_numpy(colours).permute(2, 0, 1)[None]
    back = find_head_back(photo, picture, person, HangingHair(share))
    low = (back.vertices[:, 1] > 1.1) & (back.vertices[:, 1] < 1.2)
    columns, rows = back.places.numpy()[low].round().astype(int).T
    assert ((back.texture.numpy()[rows, columns, 3] > 200) == seen).all()


def test_from_the_side_the_back_of_a_head_is_round_up_to_the_crown(portrait):
    photo = on_surroundings(posed(portrait))
    vertices, texture, _ = back_of(photo, *head_with_neck(photo))
    seen = vertices[(texture[:, 3] > 0.5) & (vertices[:, 1] < 0)]
    depth = seen[:, 2] - 0.85
    for y in (-0.9, -0.7, -0.5):
        ellipse = np.sqrt(1 - ((y + 0.1) / 1.2) ** 2)
        assert 0.7 < depth[abs(seen[:, 1] - y) < 0.1].max() / depth.max() / ellipse < 1.15


def test_the_neck_behind_the_jaw_has_the_grain_of_the_skin(portrait):
    photo = on_surroundings(posed(portrait))
    colours, person = head_with_neck(photo)
    grain = np.random.default_rng(0).normal(size=colours.shape[:2]).astype(np.float32)
    amounts = []
    for amount in (0.0, 0.02):
        picture = (colours + amount * grain[..., None]).clip(0, 1)
        back = find_head_back(photo, torch.from_numpy(picture).permute(2, 0, 1)[None], person, hair())
        # Of the rows of the texture, those of the neck are the last but a few.
        neck = back.texture.numpy()[300:330, 60:100, :3].astype(float).mean(2)
        amounts.append((neck - cv2.GaussianBlur(neck, (0, 0), 2)).std() / 255)
    assert amounts[0] < 0.001 and 0.003 < amounts[1] < 0.02


@pytest.mark.parametrize("side", [-1, 1])
def test_no_neck_is_seen_behind_the_jaw_where_the_photo_shows_that_it_leans_away(portrait, side):
    photo = on_surroundings(posed(portrait))
    vertices, texture, _ = back_of(photo, *head_with_neck(photo, lean=-0.6 * side))
    low, own = vertices[:, 1] > 0.8, vertices[:, 0] * side > 0
    assert texture[low & own, 3].max() == 0
    upright_neck = back_of(photo, *head_with_neck(photo))[1]
    assert upright_neck[low & own & (vertices[:, 1] < 1.3), 3].min() > 0.95


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize(("yaw", "drawn"), [(5, 1), (10, 1), (13, 0), (20, 0)])
def test_the_back_beyond_the_far_side_of_a_photo_is_drawn_wholly_or_not_at_all(portrait, side, yaw, drawn):
    photo = upright(portrait, side * yaw)
    vertices, texture, _ = back_of(photo, *head_with_neck(photo))
    middle = (vertices[:, 1] > -0.6) & (vertices[:, 1] < 0)
    near, far = (texture[middle & (vertices[:, 0] * facing > 0), 3] for facing in (-side, side))
    assert near.min() > 0.95
    assert abs(far - drawn).max() < 0.05


@pytest.mark.parametrize(("width", "drawn"), [(1.2, 1), (1.36, 1), (1.39, 0)])
def test_the_back_of_wide_hair_is_drawn_wholly_or_not_at_all(portrait, width, drawn):
    photo = upright(portrait, 0)
    corners = np.array([[-width, -1.2, 0.85], [width, -1.2, 0.85], [width, 0.5, 0.85], [-width, 0.5, 0.85]])
    person = np.zeros((640, 640), np.float32)
    cv2.fillPoly(person, [photo.host.place(corners)[0, :, :2].round().astype(np.int32)], 1)
    colours = np.where(person[..., None] > 0, np.float32([0.3, 0.2, 0.1]), np.float32(0.8))
    vertices, texture, _ = back_of(photo, colours, person)
    middle = (vertices[:, 1] > -0.6) & (vertices[:, 1] < -0.2)
    assert abs(texture[middle, 3] - drawn).max() < 0.05


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize(("pitch", "roll"), [(-30, -30), (-30, 30), (30, -30), (30, 30)])
def test_the_back_of_a_tilted_head_that_looks_up_or_down_is_drawn_on_the_same_side(portrait, side, pitch, roll):
    photo = upright(portrait, side * 22, pitch, roll)
    vertices, texture, _ = back_of(photo, *head_with_neck(photo))
    middle = (vertices[:, 1] > -0.4) & (vertices[:, 1] < 0)
    near, far = (texture[middle & (vertices[:, 0] * facing > 0), 3] for facing in (-side, side))
    assert far.max() == 0 and near.min() > 0.95


@pytest.mark.parametrize("pitch", [-35, 0, 35])
def test_the_back_of_a_head_that_looks_up_or_down_is_as_round_as_the_photo_shows_it(portrait, pitch):
    photo, radius, angles = upright(portrait, 0, pitch), 1.1, np.linspace(0, 2 * np.pi, 64)
    middle = photo.host.place(np.array([[0, 0, 0.85]]))[0, 0, :2]
    outline = middle + radius * float(photo.host.scale[0]) * np.column_stack([np.cos(angles), np.sin(angles)])
    person = np.zeros((640, 640), np.float32)
    cv2.fillPoly(person, [outline.round().astype(np.int32)], 1)
    colours = np.where(person[..., None] > 0, np.float32([0.3, 0.2, 0.1]), np.float32(0.8))
    vertices, texture, _ = back_of(photo, colours, person)
    beside_axis = (vertices[:, 2] < 0.85) & (texture[:, 3] > 0.3) & (vertices[:, 1] < 0)
    assert 0.9 < np.hypot(vertices[beside_axis, 0], vertices[beside_axis, 1]).max() / radius < 1.03


def test_hair_at_the_back_of_a_head_is_as_grainy_as_the_photo_shows_it(portrait):
    photo = on_surroundings(posed(portrait))

    def shown(grain: float) -> np.ndarray:
        colours, person = head_with_neck(photo, grain)
        back = find_head_back(photo, torch.from_numpy(colours).permute(2, 0, 1)[None], person, hair())
        rows = back.places.numpy()[(back.vertices[:, 1] > -0.6) & (back.vertices[:, 1] < 0), 1].round().astype(int)
        return back.texture.numpy()[rows.min() : rows.max(), :, 0] / 255

    even = shown(0)
    shade = even.mean(0)  # it is darker towards the back
    assert (even - shade).std() < 0.01
    assert 0.5 * 0.06 < 0.3 * (shown(0.06) / shade).std() < 0.06


def test_a_head_at_rest_shows_nothing_behind_it_and_a_turned_one_does(generator, prepared, portrait):
    unseen = without_back(prepared)

    def difference(yaw: float) -> float:
        one, other = (rendered(generator, own, posed(portrait, yaw=yaw)).astype(int) for own in (prepared, unseen))
        return float(np.abs(one - other).mean())

    assert difference(0) == difference(2) == 0
    assert difference(25) > 0.3


def test_tips_of_hair_before_a_plain_background_are_found():
    picture = np.full((640, 640, 3), 0.8, np.float32)
    mask = np.zeros((640, 640), np.float32)
    cv2.circle(mask, (320, 320), 150, 1.0, -1)
    picture[mask > 0] = [0.2, 0.1, 0.05]
    cv2.line(picture, (460, 300), (500, 250), (0.2, 0.1, 0.05), 5)
    found = find_hair_tips(torch.from_numpy(picture).permute(2, 0, 1)[None], mask)
    assert found.shape == (640, 640)
    assert found[262:268, 488:490].max() > 0.8
    elsewhere = ~widened((mask > 0) | (found > 0.5) & (np.arange(640) > 440), 8)
    assert found[elsewhere].max() < 0.2


def test_single_strands_before_a_smooth_background_are_found_and_before_a_rough_one_are_not():
    picture = np.full((640, 640, 3), 0.8, np.float32)
    mask = np.zeros((640, 640), np.float32)
    cv2.circle(mask, (320, 320), 150, 1.0, -1)
    picture[mask > 0] = [0.2, 0.1, 0.05]
    cv2.line(picture, (455, 260), (500, 200), (0.7, 0.68, 0.67), 1, cv2.LINE_AA)
    found = find_hair_strands(torch.from_numpy(picture).permute(2, 0, 1)[None], mask)
    assert found.shape == (640, 640)
    assert found[225:235].max() > 0.9
    line = np.zeros((640, 640), np.uint8)
    cv2.line(line, (455, 260), (500, 200), 1)
    assert found[~widened(line, 4) & ~widened(mask > 0, 4)].max() == 0
    cv2.line(picture, (150, 40), (140, 600), (0.7, 0.68, 0.67), 1, cv2.LINE_AA)  # the edge of a door
    assert find_hair_strands(torch.from_numpy(picture).permute(2, 0, 1)[None], mask)[:, :160].max() == 0
    leaves = np.kron(np.random.default_rng(0).uniform(-0.3, 0.2, (64, 64)), np.ones((10, 10)))
    rough = np.where(mask[..., None] > 0, picture, picture + leaves[..., None]).astype(np.float32)
    assert find_hair_strands(torch.from_numpy(rough).permute(2, 0, 1)[None], mask).max() == 0


def test_an_earring_before_a_smooth_background_is_found_and_a_blurred_thing_is_not(portrait):
    person = np.clip((portrait.person - 0.3) / 0.65, 0, 1)
    picture = np.where(person[..., None] > 0.05, portrait.surroundings / 255, 0.7).astype(np.float32)
    below_ear = portrait.landmarks[132, :2] + MARGIN
    row = int(below_ear[1]) + 12
    edge = int(np.flatnonzero(person[row] > 0.9)[0])
    cv2.ellipse(picture, (edge - 6, row), (9, 14), 0, 0, 360, (0.3, 0.1, 0.5), -1)
    earring = np.zeros((640, 640), np.uint8)
    cv2.ellipse(earring, (edge - 6, row), (9, 14), 0, 0, 360, 1, -1)
    found, blurred = (
        find_earrings(torch.from_numpy(seen).permute(2, 0, 1)[None], person, portrait)
        for seen in (picture, cv2.GaussianBlur(picture, (0, 0), 8))
    )
    beside = (earring > 0) & (person < 0.05)
    assert found[beside].mean() > 0.9
    assert found[~widened(earring > 0, 4)].sum() < 50  # of the edge of the mask
    assert blurred.sum() == 0


def with_texture(picture: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """A plain picture (1, 3, H, W), filled where it is not known (1, 1, H, W)."""
    smooth = fill(picture, known)
    return smooth + texture_beyond(smooth, picture, known, np.zeros(picture.shape[2:], np.float32))


def test_uncovered_background_has_the_grain_of_the_photo():
    grain = np.random.default_rng(0).normal(0.5, 0.05, (1, 3, 200, 200)).astype(np.float32)
    picture, known = torch.from_numpy(grain), torch.ones(1, 1, 200, 200)
    known[..., 60:140, 70:150] = 0
    filled = with_texture(picture, known)
    torch.testing.assert_close(filled[..., :60, :], picture[..., :60, :])
    assert float(filled[..., 70:130, 80:140].std()) == pytest.approx(0.05, rel=0.3)


def test_uncovered_background_far_from_all_that_is_known_has_its_colour():
    picture, known = torch.full((1, 3, 640, 640), 0.8), torch.zeros(1, 1, 640, 640)
    known[..., :200, :] = 1
    torch.testing.assert_close(with_texture(picture, known), picture)


def brick_wall() -> torch.Tensor:
    """(1, 3, 640, 640) a wall of bricks of 96 × 48 pixels."""
    y, x = np.mgrid[:640, :640]
    row = y // 48
    mortar = (y % 48 < 8) | ((x + 48 * (row % 2)) % 96 < 8)
    colours = np.where(mortar[..., None], (0.8, 0.8, 0.75), (0.55, 0.25, 0.2)).astype(np.float32)
    return torch.from_numpy(cv2.GaussianBlur(colours, (0, 0), 1)).permute(2, 0, 1)[None].contiguous()


def hidden_part() -> tuple[torch.Tensor, np.ndarray]:
    """(1, 1, 640, 640) where a picture is known, and (640, 640) evidence in a ring within the rest."""
    hidden, evidence = np.zeros((640, 640), np.float32), np.zeros((640, 640), np.float32)
    hidden[200:400, 260:400] = evidence[200:400, 260:400] = 1
    evidence[212:388, 272:388] = 0
    return torch.from_numpy(1 - hidden)[None, None], evidence


@pytest.mark.parametrize("angle", [0, 20, 60, 90])
def test_lines_behind_a_head_go_on_where_it_uncovers_them(angle):
    y, x = np.mgrid[:640, :640].astype(np.float32)
    across = np.cos(np.radians(angle)) * x + np.sin(np.radians(angle)) * y
    colours = np.where((across % 80 < 30)[..., None], (0.8, 0.8, 0.75), (0.35, 0.25, 0.2)).astype(np.float32)
    boards = torch.from_numpy(cv2.GaussianBlur(colours, (0, 0), 1)).permute(2, 0, 1)[None].contiguous()
    known, evidence = hidden_part()
    smooth = fill(boards, known)
    continued = continue_lines(smooth, boards, known, evidence, np.ones((640, 640), bool))
    is_known = (known > 0).expand_as(boards)
    torch.testing.assert_close(continued[is_known], boards[is_known])
    near = torch.from_numpy(distance_to(known[0, 0].numpy()) < 30).expand_as(boards) & ~is_known
    errors = [float((estimate - boards)[near].abs().mean()) for estimate in (continued, smooth)]
    assert errors[0] < errors[1] / 3


def test_where_the_photo_shows_one_colour_nothing_is_continued():
    picture, (known, evidence) = torch.full((1, 3, 640, 640), 0.4), hidden_part()
    continued = continue_lines(fill(picture, known), picture, known, evidence, np.ones((640, 640), bool))
    torch.testing.assert_close(continued, picture)


def test_a_trace_of_hair_at_its_border_does_not_colour_the_uncovered_background():
    picture, (known, _) = torch.full((1, 3, 640, 640), 0.8), hidden_part()
    picture[..., 200:400, 256:260] = picture[..., 200:400, 400:404] = 0.3
    hiding = 1 - known[0, 0].numpy()
    clean = without_traces(picture, known, busyness(picture, known), hiding)
    filled = with_texture(picture, clean)
    assert float((filled - 0.8)[..., 210:390, 270:390].abs().max()) < 0.02
    assert torch.equal(clean[..., :, :240], known[..., :, :240])
    plain = torch.full((1, 3, 640, 640), 0.8)
    assert torch.equal(without_traces(plain, known, busyness(plain, known), hiding), known)


def test_a_strip_of_a_brighter_wall_at_the_edge_of_the_photo_is_no_trace_of_what_hides_the_wall():
    picture, known = torch.full((1, 3, 640, 640), 0.4), torch.ones(1, 1, 640, 640)
    known[..., :100] = known[..., 112:400] = 0
    picture[..., :112], picture[..., 112:400] = 0.8, 0.1
    hiding = np.zeros((640, 640), np.float32)
    hiding[:, 112:400] = 1
    clean = without_traces(picture, known, np.zeros((640, 640), np.float32), hiding)
    assert float(clean[..., 102:110].min()) > 0.95


def test_a_ribbon_of_which_the_mask_is_hardly_sure_does_not_colour_the_uncovered_background(portrait):
    picture, mask, ribbon = brick_wall()[0].permute(1, 2, 0).numpy().copy(), *np.zeros((2, 640, 640), np.float32)
    cv2.circle(mask, (320, 320), 150, 1.0, -1)
    cv2.rectangle(ribbon, (460, 280), (490, 360), 1.0, -1)
    picture[mask > 0], picture[ribbon > 0] = 0.1, (0.1, 0.2, 0.9)
    mask = np.maximum(mask, 0.15 * ribbon)
    seen = torch.from_numpy(picture).permute(2, 0, 1)[None]
    background = estimate_background(
        replace(portrait, person=mask), seen, np.zeros((640, 640), bool), np.array([[0, 0], [640, 640]]), mask
    )
    plate = (seen * background.known + background.unknown)[0]
    assert float((plate[2] - plate[0])[240:400, 380:450].max()) < 0.05  # the wall is nowhere blue


def test_what_the_photo_shows_beside_a_head_stands_still_up_to_its_outline_but_not_hair_beyond_the_mask(portrait):
    mask, fuzz = np.zeros((2, 640, 640), np.float32)
    cv2.circle(mask, (320, 320), 150, 1.0, -1)
    cv2.circle(fuzz, (320, 320), 162, 1.0, -1)
    picture = np.full((640, 640, 3), (0.75, 0.75, 0.7), np.float32)
    picture[300:340] = 0.3, 0.15, 0.1  # a shelf that ends at the head
    fuzz[:320] = fuzz[:, :320] = 0
    picture[fuzz > 0] = 0.5, 0.5, 0.45
    picture[mask > 0] = 0.1
    mask[262:282, 165:171] = 0.2  # which it is not sure of
    background = estimate_background(
        replace(portrait, person=mask),
        torch.from_numpy(picture).permute(2, 0, 1)[None],
        np.zeros((640, 640), bool),
        np.array([[0, 0], [640, 640]]),
        mask,
    )
    known = background.known[0, 0].numpy()
    distance = np.hypot(*(np.indices(known.shape) - 320))
    beside = (distance > 159) & (distance < 162)
    beside[:, 322:] = beside[322:] = False
    assert known[beside].min() > 0.95
    assert known[cv2.erode(fuzz * (distance > 150), np.ones((9, 9))) > 0].max() < 0.5


def test_what_moves_with_a_head_is_neither_black_nor_white_before_another_background():
    seen = np.full((640, 640, 3), (200, 60, 60), np.uint8)
    seen[300:340, 250:300], seen[300:340, 350:400] = (40, 50, 60), (250, 240, 230)  # a window, dark and bright
    fill = np.full(seen.shape, (200, 60, 60), np.float32)
    fill[300:340] = 160
    none, known = torch.ones(1, 1, 640, 640), torch.ones(1, 1, 640, 640)
    known[:, :, 300:340, 200:450] = 0
    unknown = torch.from_numpy(fill / 255).permute(2, 0, 1)[None] * (1 - known)
    layer, background, _ = cut_out(
        seen, Background(none, known, unknown), PixelTransform(1.0, np.zeros(2)), np.zeros(2), (0, 0, 0)
    )
    for behind in (0, 128, 255):
        share = layer[..., 3:] / 255
        moved = layer[..., :3] + (behind - BIAS) * share
        window = moved[305:335, 255:295], moved[305:335, 355:395]
        assert min(colours.min() for colours in window) > -20
        assert max(colours.max() for colours in window) < 275
    assert abs(layer[..., :3] + (background - float(BIAS)) * (layer[..., 3:] / 255) - seen).max() < 1


def test_letters_beside_a_head_of_which_the_mask_is_hardly_sure_stand_still_but_not_a_veil(portrait):
    picture, mask = np.full((640, 640, 3), (0.15, 0.15, 0.2), np.float32), np.zeros((640, 640), np.float32)
    for x in (40, 130, 540):  # strokes of letters, the second one beside the head
        picture[200:440, x : x + 60] = 0.95, 0.8, 0.1
    cv2.circle(mask, (320, 320), 120, 1.0, -1)
    picture[mask > 0] = 0.3, 0.15, 0.1
    mask[220:420, 140:190] = 0.45

    def known() -> torch.Tensor:
        seen, edges = torch.from_numpy(picture).permute(2, 0, 1)[None], np.array([[0, 0], [640, 640]])
        whose = replace(portrait, person=mask)
        return estimate_background(whose, seen, np.zeros((640, 640), bool), edges, mask).known[0, 0]

    assert float(known()[230:410, 140:180].min()) > 0.95
    assert float(known()[260:380, 260:380].max()) < 0.05
    picture[480:, 80:560], mask[480:, 80:560] = picture[300, 150], 1.0  # the person wears more of that colour
    assert float(known()[300:340, 178:186].max()) < 0.5


def test_the_lines_of_a_drawing_do_not_colour_the_paper_behind_its_head(portrait):
    mask = np.zeros((640, 640), np.float32)
    cv2.circle(mask, (320, 320), 150, 1.0, -1)
    paper = np.full((640, 640, 3), 0.9, np.float32)
    for x in range(60, 640, 90):  # the lines end at the head
        cv2.line(paper, (x, 0), (320, 320), (0.1, 0.1, 0.2), 3)
    drawing = torch.from_numpy(np.where(mask[..., None] > 0, np.float32(0.6), paper)).permute(2, 0, 1)[None]
    background = estimate_background(
        replace(portrait, person=mask), drawing, np.zeros((640, 640), bool), np.array([[0, 0], [640, 640]]), mask
    )
    plate = (drawing * background.known + background.unknown)[0, :, 190:450, 190:450]
    hidden = torch.from_numpy(cv2.erode(mask, np.ones((9, 9))) > 0)[190:450, 190:450]
    assert float((plate[:, hidden] - 0.9).abs().max()) < 0.02


def test_lines_that_the_photo_contradicts_do_not_go_on():
    wall, (known, evidence) = brick_wall(), hidden_part()
    smooth = fill(wall, known)
    seen = torch.where(known > 0, wall, smooth)
    continued = continue_lines(smooth, seen, known, evidence, np.ones((640, 640), bool))
    near = (torch.from_numpy(evidence) > 0).expand_as(wall[0])[None]
    assert float((continued - smooth)[near].abs().mean()) < 0.02


def continued_detail(picture: torch.Tensor) -> float:
    """How much of its detail a picture (1, 3, 640, 640), busy everywhere, goes on with."""
    known, _ = hidden_part()
    texture = texture_beyond(fill(picture, known), picture, known, np.ones((640, 640), np.float32))
    return float(texture[..., 200:400, 260:400].abs().mean())


def test_letters_on_paper_are_no_confetti_where_a_head_uncovers_more_of_it():
    letters, paper = np.random.default_rng(0), np.full((640, 640, 3), 0.95, np.float32)
    for y in range(26, 640, 26):
        line = "".join(letters.choice(list("ABEHKMNRSTWX"), 60))
        cv2.putText(paper, line, (0, y), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (0.8, 0.1, 0.1), 2, cv2.LINE_AA)
    assert continued_detail(torch.from_numpy(paper).permute(2, 0, 1)[None].contiguous()) < 0.03


def test_strong_detail_such_as_that_of_petals_is_softer_where_a_head_uncovers_more_of_it():
    petals = np.random.default_rng(0).choice([0.1, 0.9], (3, 320, 320)).repeat(2, 1).repeat(2, 2).astype(np.float32)
    assert 0.03 < continued_detail(torch.from_numpy(petals)[None]) < 0.1


def test_the_soft_edge_of_dark_hair_does_not_darken_the_bright_wall_beside_it(portrait):
    mask = np.zeros((640, 640), np.float32)
    mask[100:, 100:480] = 1
    mask = cv2.GaussianBlur(mask, (0, 0), 5)
    texture = np.random.default_rng(0).uniform(0.2, 0.5, (80, 80)).astype(np.float32)
    wall = np.full((640, 640), 0.8, np.float32)
    wall[:, 300:] = cv2.resize(texture, (640, 640))[:, 300:]
    hair = cv2.GaussianBlur((mask > 0.5).astype(np.float32), (0, 0), 2)
    seen = torch.from_numpy(wall * (1 - hair) + 0.05 * hair).expand(1, 3, 640, 640).contiguous()
    background = estimate_background(
        replace(portrait, person=mask), seen, np.zeros((640, 640), bool), np.array([[64, 64], [576, 576]]), mask
    )
    plate = (seen * background.known + background.unknown)[0].mean(0)[200:500, 80:160]
    assert float(plate.diff(dim=1).abs().max()) < 0.02


def test_what_a_hand_holds_beside_the_head_stays_with_the_body():
    person, faded = np.zeros((640, 640), np.float32), np.zeros((160, 160))
    faded[100:] = 1
    cv2.circle(person, (320, 240), 100, 1.0, -1)  # head, with hair that hangs beside it, …
    cv2.rectangle(person, (225, 240), (260, 380), 1.0, -1)
    cv2.rectangle(person, (100, 420), (540, 640), 1.0, -1)  # … body …
    cv2.rectangle(person, (290, 320), (350, 430), 1.0, -1)
    cv2.rectangle(person, (480, 200), (520, 430), 1.0, -1)  # … with something in its hand
    held = held_things(person, np.array([320.0, 240.0]), faded, 100.0)
    assert held[50:100, 121:130].min() > 0.99
    assert held[:85, :110][person[:340:4, :440:4] > 0].max() < 0.01
    person[380:420, 480:] = 0  # it is no longer held
    assert held_things(person, np.array([320.0, 240.0]), faded, 100.0).max() == 0


def test_a_photo_that_shows_both_sides_has_no_far_side(generator, prepared, portrait, turned_away):
    assert abs(portrait.pose.rotation[0, 0]) < 6
    assert prepared.mesh.far is None and prepared.canvas.far is None
    assert generator.prepare(turned_away, refined=False).mesh.far is not None


def test_what_a_turned_photo_hides_is_the_near_side_mirrored(generator, turned_away):
    # The near temple is green in the photo; the far one has none of it until it comes into view.
    photo = float(turned_away.pose.rotation[0, 0])
    near_temple = [34, 127, 162, 139] if photo > 0 else [264, 356, 389, 368]
    x, y = (turned_away.landmarks[near_temple, :2].mean(0) + MARGIN).astype(int).tolist()
    surroundings = cv2.circle(turned_away.surroundings.copy(), (x, y), 20, (0, 255, 0), -1)
    painted = replace(turned_away, surroundings=surroundings, photo=surroundings[MARGIN:-MARGIN, MARGIN:-MARGIN])
    prepared = generator.prepare(painted, refined=False)
    rest, there = (rendered(generator, prepared, posed(painted, yaw=yaw))[0] for yaw in (0, -photo))
    np.testing.assert_array_equal(rest, painted.image)
    green = [(frame[..., 1].astype(int) - frame[..., [0, 2]].max(-1) > 20) for frame in (rest, there)]
    middle = int(turned_away.landmarks[:468, 0].mean())
    far = np.s_[:, middle:] if photo > 0 else np.s_[:, :middle]
    assert green[0][far].sum() < 5 and green[1][far].sum() > 50


def test_the_background_beside_the_far_cheek_is_not_taken_for_a_side_that_is_not_alike(turned_away):
    photo = on_surroundings(posed(turned_away))
    face = cv2.convexHull(photo.host.posed[0, :468, :2].round().astype(np.int32))
    person = cv2.fillConvexPoly(np.zeros((640, 640), np.float32), face, 1.0)
    picture = torch.from_numpy(np.where(person > 0, 0.6, 0.02).astype(np.float32)).expand(1, 3, -1, -1)
    appearance = far_appearance(photo, picture, person)
    assert appearance.alike.min() > 0.99
    assert np.abs(appearance.light).max() < 0.05


def test_the_background_is_not_drawn_into_a_far_side_that_is_not_alike(generator, turned_away):
    green = np.where(turned_away.person[..., None] > 0.5, turned_away.surroundings, np.uint8([0, 255, 0]))
    shown = replace(turned_away, surroundings=green, photo=green[MARGIN:-MARGIN, MARGIN:-MARGIN])
    prepared = generator.prepare(shown, refined=False)
    far = replace(prepared.canvas.far, alike=torch.zeros_like(prepared.canvas.far.alike))
    prepared = replace(prepared, canvas=replace(prepared.canvas, far=far))
    face = posed(shown, yaw=-float(shown.pose.rotation[0, 0]))
    (frame,) = rendered(generator, prepared, face)
    hull = cv2.convexHull(face.landmarks[0, :468, :2].round().astype(np.int32))
    inside = cv2.erode(cv2.fillConvexPoly(np.zeros((SIZE, SIZE), np.uint8), hull, 1), np.ones((13, 13))) > 0
    inside[: int(face.landmarks[0, [105, 334], 1].min())] = False  # above the brows there may be hair
    is_green = frame[..., 1].astype(int) - frame[..., [0, 2]].max(-1) > 60
    assert is_green[inside].sum() < 20, is_green[inside].sum()


def test_the_bridge_of_the_nose_hides_the_far_eye_of_a_head_that_turns_further_away(generator, turned_away):
    prepared = generator.prepare(turned_away, refined=False)
    face = posed(turned_away, looking(turned_away, 15), yaw=40 * float(np.sign(turned_away.pose.rotation[0, 0])))
    frames = [rendered(generator, each, face)[0] for each in (prepared, replace(prepared, eyes=None))]
    pupils = [[around(frame, face.landmarks[0], [eye.pupil], 12) for frame in frames] for eye in EYES]
    drawn = [mean_difference(*pair) for pair in pupils]
    assert min(drawn) < 0.5 and max(drawn) > 5


def test_a_turned_photo_is_unchanged_when_the_head_turns_further_away(generator, turned_away):
    prepared = generator.prepare(turned_away, refined=False)
    without = replace(prepared, mesh=replace(prepared.mesh, far=None))
    away = 10 * float(np.sign(turned_away.pose.rotation[0, 0]))
    for yaw, same in ((away, True), (-away, False)):
        face = posed(turned_away, yaw=yaw)
        one, other = (rendered(generator, each, face) for each in (prepared, without))
        assert np.array_equal(one, other) == same


def test_nothing_between_is_seen_where_the_mirrored_cheek_hides_what_lies_behind_it():
    in_face, offsets = torch.zeros(1, 20, 20, 1), torch.zeros(1, 20, 20, 2)
    in_face[:, :, :10] = 1
    offsets[:, :, 10:, 0] = 100
    behind, front, share = draw_apart(offsets, in_face, smoothed(offsets), torch.zeros(1, 22, 22, 2), 1.0)
    assert share.min() == 0 and share.max() == 1
    # Between neighbouring cells either side may jump only where the other one is seen at both.
    for places, unseen in ((behind, share > 0.999), (front, share < 0.001)):
        jumps = places[0].diff(dim=1)[..., 0].abs() > 1
        assert (unseen[0, :, 1:, 0] & unseen[0, :, :-1, 0])[jumps].all()


@pytest.mark.parametrize("in_view", [1.0, 0.4])
def test_the_far_side_fades_out_over_the_person_and_ends_before_the_background(in_view):
    share = torch.linspace(0, 1, 41)[:, None]
    nothing = torch.zeros_like(share)
    weights = torch.cat([in_view * share, nothing + in_view, nothing + 1, nothing, nothing], -1)
    mirrored, person, background = torch.zeros(41, 4), torch.zeros(41, 4), torch.zeros(41, 4)
    background[:, 3] = 255
    ends = blend_far_side(background, mirrored, weights)[:, 3]
    fading = (ends < 250) & (ends > 255 * (1 - in_view) + 5)
    assert 1 <= fading.sum() <= 6
    assert ends[-1] == pytest.approx(255 * (1 - in_view))
    weights[:, 4] = 1
    mirrored[:, :3] = 200
    fades = blend_far_side(person, mirrored, weights)[:, 0]
    torch.testing.assert_close(fades, 200 * in_view * share[:, 0])


@pytest.mark.parametrize(("hair", "far_shown", "mirrored"), [(1, False, True), (1, True, False), (0, False, False)])
def test_long_hair_is_mirrored_where_the_photo_shows_none_on_the_far_side(turned_away, hair, far_shown, mirrored):
    photo = on_surroundings(posed(turned_away))
    far = np.sign(turned_away.pose.rotation[0, 0])
    lock = np.array([[-0.9 * far, y, 0.6] for y in (1.2, 1.3, 1.4)])  # beside and below the jaw, on the near side
    person = np.ones((640, 640), np.float32)
    if not far_shown:
        beyond = photo.host.posed[0, :468, 0] * far
        person[:, np.arange(640) * far > beyond.max() - 0.2 * float(photo.host.scale[0])] = 0
    triangles = np.array([[468, 469, 470]])
    side = find_far_side(photo, person, lock, np.zeros(3), np.full(3, float(hair)), triangles)
    assert bool((side.hidden[468:] > 0.5).all() and (side.kind[468:, 0] == 1).all()) == mirrored


@pytest.mark.parametrize(("hair", "turn", "shown"), [(0, 8, 0), (0, 25, 1), (1, 8, 1)])
def test_after_a_small_turn_no_hair_behind_the_far_ear_shows_beside_the_cheek_but_that_which_hangs(
    turned_away, hair, turn, shown
):
    photo, far = on_surroundings(posed(turned_away)), np.sign(turned_away.pose.rotation[0, 0])
    behind_ear = np.array([[-1.1 * far, y, 1.0] for y in (0.0, 0.1, 0.2)])
    person, triangles = np.ones((640, 640), np.float32), np.array([[468, 469, 470]])
    side = find_far_side(photo, person, behind_ear, np.ones(3), np.full(3, float(hair)), triangles)
    motion = on_surroundings(posed(turned_away, yaw=-turn * far))
    everything = replace(side, hidden=torch.ones_like(side.hidden)).hidden_in(motion, torch.ones(1, 471, 1))[0, :, 0]
    assert (everything[:468] == 1).all()
    torch.testing.assert_close(everything[468:], torch.full((3,), float(shown)))


@pytest.mark.parametrize(("down_to", "mirrored"), [(1.2, True), (0.9, False)])
def test_the_neck_before_hair_that_reaches_the_shoulders_is_mirrored_with_it(turned_away, down_to, mirrored):
    photo, far = on_surroundings(posed(turned_away)), np.sign(turned_away.pose.rotation[0, 0])
    person = np.ones((640, 640), np.float32)
    beyond = photo.host.posed[0, :468, 0] * far
    person[:, np.arange(640) * far > beyond.max() - 0.2 * float(photo.host.scale[0])] = 0
    places = [(-0.9, 0.85), (-0.9, down_to), (-0.8, 0.87), (-0.7, 0.83), (-0.7, 1.5)]  # hair, the neck before it, below
    around = np.array([[x * far, y, 0.6] for x, y in places])
    hair, turns = np.array([1.0, 1.0, 0, 0, 0]), np.full(5, 0.4)
    side = find_far_side(photo, person, around, turns, hair, np.array([[468, 469, 470], [470, 471, 472]]))
    assert side.kind[468:, 0].tolist() == [1, 1, mirrored, mirrored, 0]
    assert (side.hidden[468:472] > 0.5).all()  # mirrored or not, what is stretched there is hidden


@pytest.mark.parametrize(("beside", "mirrored"), [(0.9, True), (1.3, False)])
def test_hair_is_not_mirrored_to_where_the_photo_shows_the_background(turned_away, beside, mirrored):
    photo = on_surroundings(posed(turned_away))
    far = np.sign(turned_away.pose.rotation[0, 0])
    lock = np.array([[-beside * far, y, 0.6] for y in (1.0, 1.1, 1.2)])
    person = np.ones((640, 640), np.float32)
    beyond = (photo.host.posed[0, :468, 0] * far).max() - 0.2 * float(photo.host.scale[0])
    person[:, np.arange(640) * far > beyond] = 0
    side = find_far_side(photo, person, lock, np.ones(3), np.ones(3), np.array([[468, 469, 470]]))
    assert (side.hidden[468:] > 0.5).all() if mirrored else not side.hidden[468:].any()


@pytest.mark.parametrize("far_ear_shown", [True, False])
def test_the_near_ear_is_not_mirrored_where_the_photo_shows_the_far_one(portrait, far_ear_shown):
    turn = 12 - float(portrait.pose.rotation[0, 0])
    photo = on_surroundings(posed(portrait, yaw=turn))
    ear = np.array([[-0.85, y, 0.6] for y in (0.0, 0.1, 0.2)])
    person = np.ones((640, 640), np.float32)
    person[int(photo.host.posed[0, 13, 1]) :] = 0  # nothing beside the jaw
    if not far_ear_shown:
        person[:, int(photo.host.posed[0, :468, 0].max()) :] = 0
    side = find_far_side(photo, person, ear, np.ones(3), np.zeros(3), np.array([[468, 469, 470]]))
    assert (side is None) == far_ear_shown
    assert far_ear_shown or (side.hidden[468:] > 0.5).all()


@pytest.mark.parametrize(("yaw", "mirrored"), [(10.5, 0), (11, 0), (11.5, 0), (12.5, 1)])
def test_the_near_ear_is_mirrored_wholly_or_not_at_all(portrait, yaw, mirrored):
    photo = on_surroundings(posed(portrait, yaw=yaw - float(portrait.pose.rotation[0, 0])))
    person = np.zeros((640, 640), np.float32)  # nothing beyond the face: the photo shows no far ear
    ear = np.array([[-0.85, y, 0.85] for y in (0.0, 0.1, 0.2)])
    side = find_far_side(photo, person, ear, np.ones(3), np.zeros(3), np.array([[468, 469, 470]]))
    assert (side.hidden[468:] == mirrored).all()
    assert (side.hidden[[234, 127]] == 1).all() == mirrored, "the face's outline before it, too"


def test_hair_above_the_mirrored_ear_is_mirrored_up_to_the_top_of_the_head(portrait):
    turn = 20 - float(portrait.pose.rotation[0, 0])
    photo = on_surroundings(posed(portrait, yaw=turn))
    person = np.zeros((640, 640), np.float32)  # nothing beyond the face: the photo shows no far ear
    above = np.array([[-0.6, y, 0.7] for y in (-0.6, -0.8, -1.0)])
    side = find_far_side(photo, person, above, np.ones(3), np.zeros(3), np.array([[468, 469, 470]]))
    assert (side.hidden[468:] > 0.9).all()


@pytest.mark.parametrize("yaw", [-30, 30])
def test_what_shows_beside_a_cheek_that_hides_the_outline_is_no_far_ear(portrait, yaw):
    turn = 1.3 * yaw - float(portrait.pose.rotation[0, 0])
    photo = on_surroundings(posed(portrait, yaw=turn))
    far, face = np.sign(yaw), photo.host.posed[0, :468, :2]
    person = cv2.fillConvexPoly(
        np.zeros((640, 640), np.float32), cv2.convexHull(face.round().astype(np.int32)), 1.0
    )  # the face, and no ear
    ear = np.array([[-0.85 * far, y, 0.6] for y in (0.0, 0.1, 0.2)])
    side = find_far_side(photo, person, ear, np.ones(3), np.zeros(3), np.array([[468, 469, 470]]))
    assert (side.hidden[468:] > 0.5).all()


@pytest.mark.parametrize("yaw", [-35, 35])
def test_a_far_cheek_that_its_photo_hides_is_as_wide_as_the_near_one_when_the_head_turns_to_the_front(portrait, yaw):
    front = -float(portrait.pose.rotation[0, 0])
    photo = on_surroundings(posed(portrait, yaw=front + yaw))
    face = cv2.convexHull(photo.host.posed[0, :468, :2].round().astype(np.int32))
    person = cv2.fillConvexPoly(np.zeros((640, 640), np.float32), face, 1.0)
    mouth, near = int(photo.host.posed[0, 13, 1]), np.sign(yaw) * (np.arange(640) - face[..., 0].mean()) < 0
    person[:mouth, near] = 1  # the head behind the near cheek, and nothing beside the jaw
    skin = torch.full((1, 3, 640, 640), 0.6)
    edges, appearance = np.array([[0.0, 0.0], [640.0, 640.0]]), far_appearance(photo, skin, person)
    mesh = build_warp_mesh(photo, skin, person, edges, (False, False, False), appearance, rigid=0.0)
    x = mesh.move(on_surroundings(posed(portrait, yaw=front))).positions[0, :, 0]
    left, right = x[168] - x[234], x[454] - x[168]
    assert float(left / right) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("yaw", [-30, 30])
def test_lashes_before_the_background_do_not_stay_beside_a_face_that_turns_to_the_front(portrait, yaw):
    def cheek(yaw: float, beyond: int) -> float | None:
        """Of what lies beyond the far cheek, ``beyond`` pixels high, at the height of the eyes."""
        turn = yaw - float(portrait.pose.rotation[0, 0])
        photo = on_surroundings(posed(portrait, yaw=turn))
        face, far = photo.host.posed[0, :468, :2], int(np.sign(yaw))
        y = int(face[[33, 263], 1].mean())
        level = face[abs(face[:, 1] - y) < 10, 0]
        x = int(level[(level * far).argmax()]) + 10 * far
        person = np.zeros((640, 640), np.float32)
        cv2.fillConvexPoly(person, cv2.convexHull(face.round().astype(np.int32)), 1.0)
        person[y - beyond // 2 : y + beyond // 2, min(x - 20 * far, x + 30 * far) : max(x - 20 * far, x + 30 * far)] = 1
        found = far_cheek(photo, person)
        return None if found is None else float(found[y // 4, x // 4])

    assert cheek(1.3 * yaw, 6) > 0.7
    assert cheek(1.3 * yaw, 80) < 0.1  # hair
    assert cheek(0.3 * yaw, 6) is None


@pytest.mark.parametrize("yaw", [-35, 35])
def test_glasses_change_nothing_far_from_the_eyes(generator, wearer, yaw):
    prepared, face = generator.prepare(wearer, refined=False), posed(wearer, yaw=yaw)
    with_glasses, without = (
        rendered(generator, one, face)[0].astype(int) for one in (prepared, replace(prepared, glasses=None))
    )
    changed = np.abs(with_glasses - without).max(-1) > 8
    assert changed.any()
    y, x = np.nonzero(changed)
    low, high = face.landmarks[0, :468, :2].min(0), face.landmarks[0, :468, :2].max(0)
    reach = 0.1 * SIZE
    assert (x > low[0] - reach).all() and (x < high[0] + reach).all()
    assert (y > low[1] - reach).all() and (y < high[1]).all()


def test_an_outline_that_changes_flickers_and_one_that_moves_hardly_does(portrait):
    face = portrait.landmarks[:, :2]

    def flicker(*frames: np.ndarray) -> float:
        return outline_flicker(frames, face[None].repeat(len(frames), 0))

    moved = [np.roll(portrait.image, shift, axis=1) for shift in range(4)]
    lighter = (portrait.image * 0.9 + 25).astype(np.uint8)
    assert flicker(portrait.image, portrait.image) == 0
    assert flicker(*moved) < 0.3 * flicker(portrait.image, lighter, portrait.image, lighter)


@pytest.mark.parametrize(("yaw", "jaw"), [(28, (93, 132, 58)), (-28, (323, 361, 288))])
def test_pixels_of_the_near_cheeks_outline_are_no_comb(generator, portrait, yaw, jaw):
    def striped(picture: np.ndarray) -> np.ndarray:
        rows = 20 * np.sign(np.sin(np.arange(len(picture)) * np.pi / 2 + 0.1))[:, None, None]
        return (picture.astype(int) + rows.astype(int)).clip(0, 255).astype(np.uint8)

    lines = replace(portrait, photo=striped(portrait.photo), surroundings=striped(portrait.surroundings))
    face = posed(portrait, yaw=yaw)
    plain, drawn = (
        rendered(generator, without_back(generator.prepare(photo, refined=False)), face)[0]
        for photo in (portrait, lines)
    )
    stripes = np.abs(drawn.astype(int) - plain).mean(-1)
    for x, y in face.landmarks[0, jaw, :2].astype(int):
        strength = stripes[y - 2 : y + 3, x - 16 : x + 17].mean(0)
        assert strength.max() > 14
        assert strength.min() < 4
