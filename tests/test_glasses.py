"""What the generator promises of glasses: frames are rigid, lids shut behind them, sunglasses hide the eyes."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from conftest import EXAMPLES
from PIL import Image, ImageDraw
from rendering import around, blinking, feeling, mean_difference, on_surroundings, posed, rendered
from skimage.registration import phase_cross_correlation

from space_core.face.crop_size import MARGIN, SIZE
from space_core.face.detector import build_detector
from space_core.face.portrait import prepare_portrait
from space_core.face.topology import BROWS, EYES
from space_core.generator.mesh_warp.glasses.cut_out import Glasses
from space_core.generator.mesh_warp.glasses.finding import find_glasses
from space_core.media.images import load_photo

NOSE_BRIDGE = 168


@pytest.fixture(scope="module")
def prepared(generator, wearer):
    return generator.prepare(wearer, refined=False)


def in_sunglasses(portrait):
    """The portrait with dark lenses and a bridge painted over its eyes."""
    picture = Image.fromarray(portrait.surroundings)
    pen = ImageDraw.Draw(picture)
    scale = float(portrait.pose.scale[0])
    middles = [portrait.landmarks[[eye.upper_lid[0], eye.upper_lid[-1]], :2].mean(0) + MARGIN for eye in EYES]
    for x, y in middles:
        y += 0.04 * scale
        pen.ellipse((x - 0.29 * scale, y - 0.21 * scale, x + 0.29 * scale, y + 0.21 * scale), fill=(22, 20, 18))
    pen.line([tuple(middle) for middle in middles], fill=(22, 20, 18), width=int(0.05 * scale))
    return replace(portrait, surroundings=np.asarray(picture))


def in_tinted_glasses(portrait):
    """The portrait with lenses painted over its eyes that halve the light, in frames hardly darker than those."""
    picture = portrait.surroundings.astype(float)
    scale = float(portrait.pose.scale[0])
    lenses, frame = np.zeros((2, *picture.shape[:2]), np.uint8)
    middles = [portrait.landmarks[[eye.upper_lid[0], eye.upper_lid[-1]], :2].mean(0) + MARGIN for eye in EYES]
    for x, y in middles:
        place = (round(x), round(y + 0.04 * scale)), (round(0.29 * scale), round(0.22 * scale))
        cv2.ellipse(lenses, *place, 0, 0, 360, 1, -1)
        cv2.ellipse(frame, *place, 0, 0, 360, 1, round(0.03 * scale))
    ends = [
        (round(x + side * 0.3 * scale), round(y + 0.01 * scale)) for (x, y), side in zip(middles, (1, -1), strict=True)
    ]
    cv2.line(frame, *ends, 1, round(0.05 * scale))
    picture = np.where(lenses[..., None] > 0, 0.58 * picture, picture)
    return replace(portrait, surroundings=np.where(frame[..., None] > 0, (70, 58, 50), picture).astype(np.uint8))


def test_tinted_glasses_are_found_and_seen_through(generator, portrait):
    prepared = generator.prepare(in_tinted_glasses(portrait), refined=False)
    assert prepared.glasses is not None and prepared.eyes is not None


def painted_around_eyes(portrait, waves, light=(40, 30, 25)):
    """The portrait with a dark line across its nose, and one around each eye that comes and goes by a share.

    Two of three pieces of 15° of the latter have the colour ``light``.
    """
    picture = portrait.surroundings.copy()
    scale, angle = float(portrait.pose.scale[0]), np.linspace(0, 2 * np.pi, 200)
    radius = 1 + waves * np.sin(7 * angle)
    middles = [portrait.landmarks[[eye.upper_lid[0], eye.upper_lid[-1]], :2].mean(0) + MARGIN for eye in EYES]
    for middle in middles:
        line = middle + scale * np.stack([0.3 * radius * np.cos(angle), 0.04 + 0.24 * radius * np.sin(angle)], 1)
        for number, piece in enumerate(np.array_split(line.round().astype(np.int32), 24)):
            cv2.polylines(picture, [piece], False, light if number % 3 else (40, 30, 25), round(0.03 * scale))
    ends = [(round(x + side * 0.3 * scale), round(y)) for (x, y), side in zip(middles, (1, -1), strict=True)]
    cv2.line(picture, *ends, (40, 30, 25), round(0.04 * scale))
    return replace(portrait, surroundings=picture)


def test_creases_around_the_eyes_of_a_screwed_up_face_are_no_glasses(portrait):
    def found(waves: float) -> bool:
        painted = painted_around_eyes(portrait, waves)
        picture = torch.tensor(painted.surroundings).permute(2, 0, 1)[None].float() / 255
        return find_glasses(picture, on_surroundings(posed(painted)), painted.person) is not None

    assert found(0.0)
    assert not found(0.17)


def test_eye_bags_that_are_dark_in_places_and_light_in_others_are_no_glasses(portrait):
    painted = painted_around_eyes(portrait, 0.0, light=(255, 245, 235))
    picture = torch.tensor(painted.surroundings).permute(2, 0, 1)[None].float() / 255
    assert find_glasses(picture, on_surroundings(posed(painted)), painted.person) is None


def test_skin_behind_a_frame_has_not_the_lenses_tint(portrait):
    tinted = in_tinted_glasses(portrait)
    around = on_surroundings(posed(tinted))
    picture = torch.tensor(tinted.surroundings).permute(2, 0, 1)[None].float() / 255
    glasses = find_glasses(picture, around, tinted.person)
    behind, skin = glasses.bare[0].mean(0).numpy(), portrait.surroundings.mean(-1) / 255
    shares = []
    for x, y in around.host.posed[0, [eye.pupil for eye in EYES], :2].round().astype(int):
        above = np.s_[y - 35 : y - 12, x - 10 : x + 10]
        frame = glasses.frame[0, 0].numpy()[above] > 0.9
        shares.append(np.median(behind[above][frame] / skin[above][frame]))
    assert np.mean(shares) > 0.75, shares  # the lenses take almost half of the light


@pytest.mark.parametrize("hair", [False, True])
def test_arms_lie_on_the_temples_and_not_before_the_face(portrait, hair):
    tinted = in_tinted_glasses(portrait)
    scale, landmarks = float(tinted.pose.scale[0]), tinted.landmarks
    drawn, ends = tinted.surroundings.copy(), []
    for eye, side in zip(EYES, (-1, 1), strict=True):
        x, y = landmarks[[eye.upper_lid[0], eye.upper_lid[-1]], :2].mean(0) + MARGIN - [0, 0.09 * scale]
        start, end = ((round(x + side * far * scale), round(y)) for far in (0.29, 0.6))
        cv2.line(drawn, start, end, (20, 18, 16), round(0.04 * scale))
        if hair:  # that reaches from above down to the arm, where it begins
            corners = ((round(x + side * far * scale), round(y + up * scale)) for far, up in ((0.36, -0.5), (0.6, 0.0)))
            cv2.rectangle(drawn, *corners, (30, 26, 22), -1)
            ends.append((round(x + side * 0.41 * scale), round(y - 0.06 * scale)))
        ends.append((round(x + side * 0.52 * scale), round(y)))
    picture = torch.tensor(drawn).permute(2, 0, 1)[None].float() / 255
    glasses = find_glasses(picture, on_surroundings(posed(tinted)), tinted.person)
    for x, y in ends:
        assert glasses.frame[0, 0, y, x] == 0
        torch.testing.assert_close(glasses.bare[0, :, y, x], picture[0, :, y, x])


def glasses_at_brows(portrait, colour: tuple[int, int, int], above: float) -> tuple[Glasses, np.ndarray, np.ndarray]:
    """The glasses found where rims are painted that run so far above the lower edge of black brows, brows and rims."""
    picture, landmarks = portrait.surroundings.copy(), portrait.landmarks[:, :2] + MARGIN
    scale, (brows, rims) = float(portrait.pose.scale[0]), np.zeros((2, *picture.shape[:2]), np.uint8)
    middles = [landmarks[[eye.upper_lid[0], eye.upper_lid[-1]]].mean(0) for eye in EYES]
    for (x, y), brow in zip(middles, BROWS, strict=True):
        outline = np.concatenate([landmarks[list(line)][::step] for line, step in zip(brow, (1, -1), strict=True)])
        cv2.fillPoly(brows, [outline.round().astype(np.int32)], 1)
        top, bottom = landmarks[list(brow[0]), 1].mean() - above * scale, y + 0.2 * scale
        place = (round(x), round((top + bottom) / 2)), (round(0.27 * scale), round((bottom - top) / 2))
        cv2.ellipse(rims, *place, 0, 0, 360, 1, round(0.025 * scale))
    ends = [(round(x + side * 0.26 * scale), round(y)) for (x, y), side in zip(middles, (1, -1), strict=True)]
    cv2.line(rims, *ends, 1, round(0.04 * scale))
    picture[brows > 0] = (30, 22, 18)
    picture[rims > 0] = colour
    shown = torch.tensor(picture).permute(2, 0, 1)[None].float() / 255
    return find_glasses(shown, on_surroundings(posed(portrait)), portrait.person), brows > 0, rims > 0


@pytest.mark.parametrize("colour", [(24, 20, 18), (150, 20, 30)])
def test_brows_that_touch_a_frame_are_no_part_of_it(portrait, colour):
    glasses, brows, rims = glasses_at_brows(portrait, colour, 0.0)
    frame = glasses.frame[0, 0].numpy()
    beside_rims = cv2.dilate(rims.astype(np.uint8), np.ones((7, 7))) == 0
    assert frame[beside_rims & brows].mean() < 0.5
    assert frame[rims].mean() > 0.8


@pytest.mark.parametrize("colour", [(24, 20, 18), (150, 20, 30)])
def test_frames_in_front_of_brows_are_whole(portrait, colour):
    glasses, _, rims = glasses_at_brows(portrait, colour, 0.05)
    assert glasses.frame[0, 0].numpy()[rims].mean() > 0.8


def test_brows_go_on_behind_a_frame_that_covers_a_part_of_them(portrait):
    glasses, brows, rims = glasses_at_brows(portrait, (150, 20, 30), 0.03)
    behind = cv2.erode(brows.astype(np.uint8), np.ones((5, 5))).astype(bool) & rims
    bare = glasses.bare[0].mean(0).numpy()
    assert behind.sum() > 50 and np.median(bare[behind]) < 0.25, np.median(bare[behind])


def painted_glasses(portrait, bridge: float, gap: float) -> Glasses | None:
    """The glasses found where black rims are painted on smooth cheeks, with a gap below the eyes of that half width.

    ``bridge`` is how bright the bridge between them is, relative to the skin.
    """
    picture, landmarks = portrait.surroundings.astype(np.float32), portrait.landmarks[:, :2] + MARGIN
    scale, (rims, between) = float(portrait.pose.scale[0]), np.zeros((2, *picture.shape[:2]), np.uint8)
    middles = [landmarks[[eye.upper_lid[0], eye.upper_lid[-1]]].mean(0) for eye in EYES]
    cheeks = round(np.mean(middles, 0)[1] + 0.08 * scale)
    picture[cheeks:] = cv2.GaussianBlur(picture[cheeks:], (0, 0), 12)
    for x, y in middles:
        place = (round(x), round(y + 0.03 * scale)), (round(0.27 * scale), round(0.2 * scale))
        cv2.ellipse(rims, *place, 0, 0, 360, 1, round(0.04 * scale))
        rims[round(y + 0.1 * scale) :, round(x - gap * scale) : round(x + gap * scale)] = 0
    ends = [(round(x + side * 0.26 * scale), round(y)) for (x, y), side in zip(middles, (1, -1), strict=True)]
    cv2.line(between, *ends, 1, round(0.04 * scale))
    picture[between > 0] *= bridge
    picture[rims > 0] = (20, 18, 16)
    shown = torch.tensor(picture.astype(np.uint8)).permute(2, 0, 1)[None].float() / 255
    return find_glasses(shown, on_surroundings(posed(portrait)), portrait.person)


def test_bold_frames_are_found_by_their_rims_where_the_bridge_hardly_shows(portrait):
    assert painted_glasses(portrait, 0.94, 0.0) is not None


def test_lines_around_the_eyes_but_not_below_them_are_no_glasses(portrait):
    assert painted_glasses(portrait, 0.1, 0.0) is not None
    assert painted_glasses(portrait, 0.1, 0.15) is None  # brows, a frown and wrinkles


def test_the_background_is_not_drawn_where_a_frame_was(portrait):
    tinted = in_tinted_glasses(portrait)
    x, y = (tinted.landmarks[:468, :2] + MARGIN).T
    beside = (tinted.person < 0.5) | (np.arange(640)[None] > x[np.abs(y - y[168]) < 20].max() - 8)
    green = np.where(beside[..., None], np.uint8([0, 255, 0]), tinted.surroundings)
    picture = torch.tensor(green).permute(2, 0, 1)[None].float() / 255
    person = np.where(beside, 0, tinted.person)
    scale, (start, height) = float(tinted.pose.scale[0]), tinted.landmarks[446, :2] + MARGIN
    columns = slice(round(start), int(np.flatnonzero(~beside[round(height)])[-1]) + 1)
    rows = slice(round(height - 0.03 * scale), round(height + 0.03 * scale))
    picture[..., rows, columns] = 0.05  # the frame ends where the person does
    glasses = find_glasses(picture, on_surroundings(posed(tinted)), person)
    bare = glasses.bare[0, :, rows, columns]
    assert (glasses.hidden[0, 0, rows, columns] > 0).any()
    assert float((bare[1] - torch.maximum(bare[0], bare[2])).max()) < 0.1


def test_glasses_are_found_and_seen_through(prepared, wearer):
    assert prepared.glasses is not None
    assert prepared.eyes is not None
    frame = frame_of(prepared)
    x, y = wearer.landmarks[NOSE_BRIDGE, :2].astype(int)
    assert frame[y - 20 : y + 20, x].max() == 1  # the bridge over the nose
    pupils = wearer.landmarks[[eye.pupil for eye in EYES], :2].astype(int)
    assert all(frame[y, x] == 0 for x, y in pupils)


def test_faces_without_glasses_have_none(generator, portrait):
    painting = prepare_portrait(load_photo(EXAMPLES / "mona_lisa.jpg"), build_detector("mediapipe"))
    for face in (portrait, painting):
        assert generator.prepare(face, refined=False).glasses is None


def test_without_motion_glasses_stay_the_photos(generator, prepared, wearer):
    frame = rendered(generator, prepared, posed(wearer))[0]
    np.testing.assert_array_equal(frame, wearer.image)


def frame_of(prepared) -> np.ndarray:
    """(512, 512) 1 where the film's picture at rest shows the glasses … 0."""
    glasses = prepared.glasses
    seen = 1 - glasses.layer[:: glasses.density, :: glasses.density, 3].numpy() / 255
    frame, (x, y) = np.zeros((SIZE, SIZE)), glasses.corner
    frame[y : y + seen.shape[0], x : x + seen.shape[1]] = seen
    return frame


def share_of_rim_kept(prepared, frame: np.ndarray, photo: np.ndarray) -> float:
    """The share of the frame of the glasses whose pixels stay as they are in the photo."""
    rim = frame_of(prepared) == 1
    difference = np.abs(frame.astype(int) - photo).mean(-1)
    return float(np.mean(difference[rim] < 12))


@pytest.mark.parametrize("emotion", ["surprised", "angry"])
def test_frames_stay_where_they_are_when_brows_move(generator, prepared, wearer, emotion):
    frame = rendered(generator, prepared, posed(wearer, feeling(wearer, emotion, 1.0)))[0]
    x, y = wearer.landmarks[NOSE_BRIDGE, :2].astype(int)
    bridge = np.s_[y - 4 : y + 20, x - 30 : x + 30]
    shift, *_ = phase_cross_correlation(wearer.image[bridge].mean(-1), frame[bridge].mean(-1), upsample_factor=10)
    assert np.abs(shift).max() < 1
    assert share_of_rim_kept(prepared, frame, wearer.image) > 0.9


def test_thick_black_frames_are_rigid_too(generator, portrait):
    scale = float(portrait.pose.scale[0] * portrait.crop.scale)
    drawn = Image.new("L", portrait.photo.shape[1::-1])
    pen = ImageDraw.Draw(drawn)
    middles = [
        portrait.crop.to_photo(portrait.landmarks[[eye.upper_lid[0], eye.upper_lid[-1]], :2].mean(0)) for eye in EYES
    ]
    for side, (x, y) in zip((-0.02, 0.02), middles, strict=True):
        box = (x + (side - 0.29) * scale, y - 0.2 * scale, x + (side + 0.29) * scale, y + 0.26 * scale)
        pen.rounded_rectangle(box, 0.15 * scale, outline=255, width=round(0.11 * scale))
    inner = [(x - np.sign(side) * 0.24 * scale, y) for side, (x, y) in zip((-1, 1), middles, strict=True)]
    pen.line([tuple(float(value) for value in end) for end in inner], fill=255, width=round(0.15 * scale))
    photo = np.where(np.asarray(drawn)[..., None] > 127, np.uint8(15), portrait.photo)
    wearer = prepare_portrait(photo, build_detector("mediapipe"))
    prepared = generator.prepare(wearer, refined=False)
    assert prepared.glasses is not None
    frame = rendered(generator, prepared, posed(wearer, feeling(wearer, "surprised", 1.0)))[0]
    black = cv2.erode((wearer.image.max(-1) < 25).astype(np.uint8), np.ones((3, 3))) > 0
    black[int(wearer.landmarks[:468, 1].mean()) :] = False  # clothes
    black[: int(wearer.landmarks[[66, 296], 1].min()) - 20] = False
    assert black.sum() > 2000
    assert np.mean(frame[black].max(-1) < 60) > 0.95


def test_brows_rise_behind_the_frame(generator, prepared, wearer):
    """Skin between brows and rims is moved, not drawn out into light stripes: it stays as dark as it was."""
    frame = rendered(generator, prepared, posed(wearer, feeling(wearer, "surprised", 1.5)))[0]
    rims = cv2.dilate((frame_of(prepared) > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    for brow in (66, 296):
        x, y = wearer.landmarks[brow, :2].astype(int)
        above = np.s_[y - 6 : y + 14, x - 20 : x + 20]
        skin = ~rims[above]
        assert frame[above].mean(-1)[skin].max() < wearer.image[above].mean(-1)[skin].max() + 12


def test_frames_turn_as_the_rigid_head_does(generator, prepared, wearer):
    faces = [posed(wearer, normalized, yaw=10) for normalized in (None, feeling(wearer, "surprised", 1.0))]
    still, moved = rendered(generator, prepared, *faces)
    x, y = faces[0].landmarks[0, NOSE_BRIDGE, :2].astype(int)
    bridge = np.s_[y - 4 : y + 16, x - 25 : x + 25]
    assert np.abs(still[bridge].astype(int) - moved[bridge]).mean() < 6


@pytest.mark.parametrize("pitch", [-20, 20])
def test_rims_are_whole_when_the_head_nods(generator, prepared, wearer, pitch):
    box, face = prepared.glasses.box, posed(wearer, pitch=pitch)
    everywhere = replace(prepared, glasses=replace(prepared.glasses, box=box.mean(0) + 2 * (box - box.mean(0))))
    frame, whole = (rendered(generator, one, face)[0].astype(int) for one in (prepared, everywhere))
    assert (np.abs(frame - whole).max(-1) > 40).sum() < 20


def test_lids_shut_behind_the_frame(generator, prepared, wearer):
    frame = rendered(generator, prepared, posed(wearer, blinking(wearer)))[0]
    assert share_of_rim_kept(prepared, frame, wearer.image) > 0.95
    for eye in EYES:
        lid, pupil = (around(picture, wearer.landmarks, [eye.pupil], 3) for picture in (frame, wearer.image))
        assert lid.mean() > pupil.mean() + 15


def test_lashes_next_to_a_frame_are_no_part_of_it(wearer):
    around = on_surroundings(posed(wearer))
    picture = torch.tensor(wearer.surroundings).permute(2, 0, 1)[None].float() / 255
    glasses = find_glasses(picture, around, wearer.person)
    lashes = np.zeros(picture.shape[2:], np.uint8)
    for eye in EYES:
        outline = around.host.posed[0, [*eye.upper_lid, *eye.lower_lid[::-1]], :2].round().astype(np.int32)
        cv2.fillPoly(lashes, [outline], 1)
        cv2.polylines(lashes, [outline], True, 1, round(0.04 * float(wearer.pose.scale[0])))
    changed = (glasses.hidden - glasses.frame)[0, 0].numpy()
    assert changed[lashes > 0].max() < 0.2 and changed.max() > 0.9


def test_nothing_is_drawn_on_sunglasses(generator, portrait):
    cool = in_sunglasses(portrait)
    prepared = generator.prepare(cool, refined=False)
    assert prepared.eyes is None
    frame, angry = rendered(generator, prepared, posed(cool, blinking(cool)), posed(cool, feeling(cool, "angry", 1.0)))
    lens = frame_of(prepared) == 1
    for picture in (frame, angry):
        assert np.abs(picture.astype(int) - cool.image)[lens].max() <= 1
    assert mean_difference(frame, cool.image) < 0.01  # skin around them moves with the lids


def test_hair_that_the_arms_of_sunglasses_touch_is_no_part_of_them_and_reflections_are(portrait):
    cool, scale = in_sunglasses(portrait), float(portrait.pose.scale[0])
    drawn, hair, reflections = cool.surroundings.copy(), [], []
    for eye, side in zip(EYES, (-1, 1), strict=True):
        x, y = portrait.landmarks[[eye.upper_lid[0], eye.upper_lid[-1]], :2].mean(0) + MARGIN
        at = [(round(x + side * out * scale), round(y + 0.04 * scale)) for out in (0.24, 0.36, 0.44)]
        cv2.circle(drawn, at[0], round(0.03 * scale), (250, 250, 250), -1)
        cv2.line(drawn, at[0], at[2], (20, 18, 16), round(0.02 * scale))
        temple = [(at[2][0], round(y + down * scale)) for down in (-0.3, 0.3)]
        cv2.line(drawn, *temple, (20, 18, 16), round(0.13 * scale))
        hair.append(at[2])
        reflections.append((at[0][0], at[0][1] - round(0.02 * scale)))
    picture = torch.tensor(drawn).permute(2, 0, 1)[None].float() / 255
    glasses = find_glasses(picture, on_surroundings(posed(cool)), cool.person)
    assert glasses.opaque
    assert [float(glasses.frame[0, 0, y, x]) for x, y in hair] == [0, 0]
    assert [float(glasses.frame[0, 0, y, x]) for x, y in reflections] == [1, 1]


def test_a_head_that_leaves_the_picture_takes_its_glasses_along(generator, prepared, wearer):
    assert rendered(generator, prepared, posed(wearer, moved=(2000, 0, 0))).shape == (1, 512, 512, 3)


def test_lenses_beyond_the_far_cheek_of_a_turned_face_stay_as_wide_as_they_are(generator, portrait):
    turn = 28 - float(portrait.pose.rotation[0, 0])
    picture = rendered(generator, generator.prepare(portrait, refined=False), posed(portrait, yaw=turn))[0]
    turned = in_sunglasses(prepare_portrait(picture, build_detector("mediapipe")))
    prepared, face = generator.prepare(turned, refined=False), posed(turned, yaw=-28)
    assert prepared.glasses is not None
    with_glasses, without = (
        rendered(generator, one, face)[0].astype(int) for one in (prepared, replace(prepared, glasses=None))
    )
    changed = np.abs(with_glasses - without).max(-1) > 8
    x, outline = np.nonzero(changed)[1], face.landmarks[0, :468, 0]
    assert np.ptp(x) < 1.1 * np.ptp(outline)


@pytest.fixture(scope="module")
def turned_wearer(generator, portrait):
    """A head turned by 28° with glasses painted on it, which reach beyond its far cheek; and its rims (640, 640)."""
    turn = 28 - float(portrait.pose.rotation[0, 0])
    picture = rendered(generator, generator.prepare(portrait, refined=False), posed(portrait, yaw=turn))[0]
    turned = prepare_portrait(picture, build_detector("mediapipe"))
    photo, angle = on_surroundings(posed(turned)), np.linspace(0, 2 * np.pi, 60)
    middles = [turned.normalized[[eye.upper_lid[0], eye.upper_lid[-1]]].mean(0) for eye in EYES]
    rings = [np.column_stack([x + 0.29 * np.cos(angle), y + 0.03 + 0.24 * np.sin(angle)]) for x, y, _ in middles]
    across = [[x - side * 0.29, y + 0.03] for (x, y, _), side in zip(middles, (-1, 1), strict=True)]
    rims, lenses = np.zeros((2, 640, 640), np.uint8)
    for line in (*rings, np.array(across)):
        points = photo.host.place(np.column_stack([line, np.full(len(line), -0.3)]))[0, :, :2].round().astype(np.int32)
        cv2.polylines(rims, [points], False, 1, round(0.03 * float(photo.scale)))
        cv2.fillPoly(lenses, [points], 1)
    surroundings = np.where(rims[..., None] > 0, np.uint8([20, 18, 16]), turned.surroundings)
    person = np.maximum(turned.person, np.maximum(lenses, rims).astype(np.float32))
    return replace(
        turned, surroundings=surroundings, photo=surroundings[MARGIN:-MARGIN, MARGIN:-MARGIN], person=person
    ), rims


def test_rims_that_reach_beyond_the_far_cheek_are_found_and_are_no_part_of_the_head(turned_wearer):
    wearer, rims = turned_wearer
    picture, photo = (
        torch.tensor(wearer.surroundings).permute(2, 0, 1)[None].float() / 255,
        on_surroundings(posed(wearer)),
    )
    glasses = find_glasses(picture, photo, wearer.person)
    assert glasses.frame[0, 0].numpy()[rims > 0].mean() > 0.8
    far = np.sign(wearer.pose.rotation[0, 0])
    x = far * np.arange(640)
    beyond = (rims > 0) & (x > (far * photo.host.posed[0, :468, 0]).max() + 0.05 * photo.host.scale[0])
    assert beyond.sum() > 50 and (wearer.person - glasses.beyond)[beyond].mean() < 0.1


def test_the_far_lens_of_a_turned_head_is_as_wide_as_the_near_one_when_it_turns_to_the_front(generator, turned_wearer):
    wearer, _ = turned_wearer
    prepared, face = generator.prepare(wearer, refined=False), posed(wearer, yaw=-float(wearer.pose.rotation[0, 0]))
    with_glasses, without = (
        rendered(generator, one, face)[0].astype(int) for one in (prepared, replace(prepared, glasses=None))
    )
    x = np.nonzero(np.abs(with_glasses - without).max(-1) > 24)[1] - face.landmarks[0, NOSE_BRIDGE, 0]
    assert 0.85 < -x.min() / x.max() < 1.15, (x.min(), x.max())
