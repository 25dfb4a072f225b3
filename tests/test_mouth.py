"""What the inside of a mouth promises."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from rendering import around, blurred, mean_difference, on_surroundings, open_mouth, posed, rendered, with_mask
from scipy.signal import find_peaks, peak_prominences

from space_core.assets import example_path
from space_core.face.crop import Crop
from space_core.face.crop_size import MARGIN
from space_core.face.detector import build_detector
from space_core.face.portrait import Portrait, prepare_portrait
from space_core.face.topology import EYES, INNER_LOWER_LIP, INNER_UPPER_LIP, OUTER_LOWER_LIP, OUTER_UPPER_LIP, Eye
from space_core.generator.mesh_warp.anatomy import GUM, MILLIMETRE, TONGUE, TOOTH, load_anatomy
from space_core.generator.mesh_warp.continued_teeth import continued_teeth
from space_core.generator.mesh_warp.face_motion import FaceMotion
from space_core.generator.mesh_warp.lip_edges import find_lip_edges, moved_to_edges
from space_core.generator.mesh_warp.lip_seam import seam_shift
from space_core.generator.mesh_warp.lower_row import find_lower_row
from space_core.generator.mesh_warp.mouth import draw_mouth
from space_core.generator.mesh_warp.mouth_light import estimate_colours
from space_core.generator.mesh_warp.mouth_mesh import draw_mouth_mesh, lips_rounded
from space_core.generator.mesh_warp.opening_mask import opening_mask, window_around
from space_core.generator.mesh_warp.prepared_mouth import PreparedMouth, prepare_mouth
from space_core.measures.mouth_interior import mouth_interior, mouth_profile
from space_core.media.images import load_photo

CHEEKS = [50, 280, 205, 425]


@pytest.fixture(scope="module")
def grey(closed) -> Portrait:
    """The same in black and white."""

    def without_colours(picture: np.ndarray) -> np.ndarray:
        return np.repeat(picture.mean(-1, keepdims=True).round().astype(np.uint8), 3, -1)

    return changed(closed, without_colours)


def changed(portrait: Portrait, change: Callable[[np.ndarray], np.ndarray]) -> Portrait:
    """A portrait whose pictures (H, W, 3) uint8 are changed."""
    return replace(portrait, photo=change(portrait.photo), surroundings=change(portrait.surroundings))


def inside(landmarks: np.ndarray, shape: tuple[int, ...], margin: float = 2.0) -> np.ndarray:
    """(H, W) which pixels lie between the lips of landmarks (478, 3), by a margin in pixels."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    upper, lower = (landmarks[list(lip), :2] for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP))
    above, below = (np.interp(x[0], *curve.T) for curve in (upper, lower))
    between = (y > above + margin) & (y < below - margin)
    return between & (x > upper[0, 0] + margin) & (x < upper[-1, 0] - margin)


def parted(portrait: Portrait, opening: float, raised: float = 0.03) -> np.ndarray:
    """(1, 478, 3) the photo's face, normalized, its lower lip and chin dropped and its upper lip raised."""
    normalized = open_mouth(portrait, opening)
    upper = [*INNER_UPPER_LIP[1:-1], *OUTER_UPPER_LIP[1:-1]]
    normalized[:, upper, 1] = portrait.normalized[upper, 1] - raised
    return normalized


def painted_between_lips(portrait: Portrait, opening: float, colour: Callable[[np.ndarray], np.ndarray]) -> Portrait:
    """A portrait with its lips apart by millimetres, and between them a colour (3,), 0…1, made from that of its lips.

    The upper lip is where it was; the lower one is painted over.
    """
    normalized = portrait.normalized.copy()
    normalized[list(INNER_LOWER_LIP[1:-1]), 1] = normalized[list(INNER_UPPER_LIP[1:-1]), 1] + opening * MILLIMETRE
    landmarks = posed(portrait, normalized[None]).landmarks[0]
    painted = portrait.surroundings.copy()
    mask = inside(landmarks + [MARGIN, MARGIN, 0], painted.shape[:2], margin=0)
    painted[mask] = (255 * colour(estimate_colours(*seen(portrait)).lips)).round()
    crop = Crop(np.full(2, float(MARGIN)), 1.0)
    return replace(portrait, photo=painted, surroundings=painted, crop=crop, landmarks=landmarks, normalized=normalized)


def seen(portrait: Portrait) -> tuple[torch.Tensor, FaceMotion]:
    """A portrait's surroundings (1, 3, 640, 640), 0…1, and its landmarks in them."""
    photo = on_surroundings(posed(portrait))
    return torch.tensor(portrait.surroundings).permute(2, 0, 1)[None].float() / 255, photo


def box_of(photo: FaceMotion, eye: Eye) -> tuple[slice, slice]:
    """Rows and columns between the lids of an eye."""
    x, y = photo.posed[0, [*eye.upper_lid, *eye.lower_lid], :2].T
    return slice(int(y.min()), int(y.max())), slice(int(x.min()), int(x.max()))


def incisors(frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(N,) the luminance over the middle of the upper incisors: the brightest of the rows below the upper lip."""
    left, right, top = int(landmarks[81, 0]), int(landmarks[311, 0]), int(landmarks[13, 1])
    rows = frame.mean(-1)[top + 3 : top + 14, left:right]
    return rows[rows.mean(1).argmax()]


def upper_arch(frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(N,) the luminance along the upper teeth from corner to corner: close below the lip, above the teeth's tips."""
    lip = landmarks[list(INNER_UPPER_LIP), :2]
    x = np.arange(int(lip[0, 0]) + 4, int(lip[-1, 0]) - 3)
    return frame.mean(-1)[np.round(np.interp(x, *lip.T) + 3).astype(int), x]


@pytest.mark.parametrize("refined", [False, True], ids=["drawn", "refined"])
def test_single_teeth_can_be_distinguished(generator, closed, refined):
    face = posed(closed, parted(closed, 0.06))
    frame = rendered(generator, generator.prepare(closed, refined=refined), face)[0]
    landmarks = face.landmarks[0]
    row = incisors(frame, landmarks)
    gaps, _ = find_peaks(-row, prominence=4)
    assert 2 <= len(gaps) <= 8
    assert row.max() > 1.2 * frame.mean(-1)[inside(landmarks, frame.shape)].mean()


def test_teeth_are_as_blurred_as_the_photo(generator, closed):
    face = posed(closed, parted(closed, 0.06))
    sharp, soft = (
        np.diff(incisors(rendered(generator, generator.prepare(portrait), face)[0], face.landmarks[0]))
        for portrait in (closed, blurred(closed, 1.5))
    )
    assert np.abs(soft).mean() < 0.75 * np.abs(sharp).mean()


def test_teeth_of_a_sepia_photo_are_sepia(generator, grey):
    sepia = changed(grey, lambda picture: (picture * [1, 0.78, 0.46]).round().astype(np.uint8))
    face = posed(grey, parted(grey, 0.06))
    frame = rendered(generator, generator.prepare(sepia, refined=False), face)[0].astype(float)
    mouth = frame[inside(face.landmarks[0], frame.shape, margin=4)]
    teeth = mouth[mouth.mean(1) > np.quantile(mouth.mean(1), 0.8)].mean(0)
    assert teeth[1] / teeth[0] == pytest.approx(0.78, abs=0.15)
    assert teeth[2] / teeth[0] == pytest.approx(0.46, abs=0.15)


def test_teeth_have_the_tone_that_a_sepia_photo_has_where_it_is_as_bright(grey):
    def sepia(picture: np.ndarray) -> np.ndarray:
        brightness = picture / 255.0
        return (picture * (np.array([1, 0.8, 0.55]) ** (1.3 - brightness))).round().astype(np.uint8)

    colours = estimate_colours(*seen(changed(grey, sepia)))
    brightness = colours.enamel.mean() / np.array([1, 0.8, 0.55]).mean() ** 0.5
    tone = np.array([1, 0.8, 0.55]) ** (1.3 - brightness)
    assert colours.enamel / colours.enamel.mean() == pytest.approx(tone / tone.mean(), abs=0.03)
    assert colours.reddening[0] < 1 < colours.reddening[2]  # the darker, the further from grey


def test_flesh_in_a_sepia_photo_is_sepia(grey):
    picture, photo = seen(changed(grey, lambda picture: (picture * [1, 0.86, 0.74]).round().astype(np.uint8)))
    tongue = estimate_colours(picture, photo).tongue
    assert tongue[1:] / tongue[0] == pytest.approx([0.86, 0.74], abs=0.03)


def test_the_tongue_of_a_varnished_painting_is_darker_than_its_teeth():
    painting = prepare_portrait(load_photo(example_path("mona_lisa.jpg")), build_detector("mediapipe"))
    colours = estimate_colours(*seen(painting))
    assert colours.depiction.varnish > 0.5
    assert max(colours.tongue.mean(), colours.gums.mean()) < 0.65 * colours.enamel.mean()


def test_flesh_behind_pale_lips_of_a_colour_photo_is_red(portrait):
    red, green, _ = estimate_colours(*seen(portrait)).tongue
    assert red > 1.3 * green


def test_no_dark_line_stands_between_the_front_teeth(generator, closed):
    face = posed(closed, parted(closed, 0.12))
    frame = rendered(generator, generator.prepare(closed, refined=False), face)[0].mean(-1)
    middle, edge = face.landmarks[0, INNER_UPPER_LIP[5], :2].round().astype(int)
    teeth = frame[edge + 5 : edge + 9, middle - 6 : middle + 7].mean(0)
    assert teeth.min() > 0.76 * teeth.max()


def test_an_open_mouth_has_the_contrast_of_a_recorded_one(generator, closed):
    face = posed(closed, parted(closed, 0.12))
    frame = rendered(generator, generator.prepare(closed), face)[0]
    contrast, gradient, bright = mouth_interior(frame, face.landmarks[0])
    assert 0.14 < contrast < 0.4
    assert 0.03 < gradient < 0.12
    assert bright < 0.6


def test_the_profile_of_a_mouth_runs_from_its_upper_lip_to_the_lower_one(closed):
    face = posed(closed, parted(closed, 0.12))
    frame = np.full_like(closed.image, 100)
    frame[round(face.landmarks[0, [13, 14], 1].mean()) + 2 :] = 50
    profile = mouth_profile(frame, face.landmarks[0])
    assert profile[:2] / profile[-1] == pytest.approx(2, abs=0.05)


def test_nothing_is_drawn_between_closed_lips(generator, closed):
    prepared = generator.prepare(closed, refined=False)
    turned = posed(closed, yaw=7, pitch=3)
    frame = rendered(generator, prepared, turned)[0]
    x, y = turned.landmarks[0, list(INNER_UPPER_LIP[2:-2]), :2].round().astype(int).T
    photo_x, photo_y = closed.landmarks[list(INNER_UPPER_LIP[2:-2]), :2].round().astype(int).T
    assert frame[y, x].mean() == pytest.approx(closed.image[photo_y, photo_x].mean(), abs=10)


def test_a_mask_stays_shut_while_the_mouth_behind_it_speaks(generator, closed):
    white, on_photo = (225, 230, 235), closed.crop.to_photo(closed.landmarks[:, :2])
    surroundings = with_mask(closed.surroundings, closed.landmarks + MARGIN, white)
    masked = replace(closed, photo=with_mask(closed.photo, on_photo, white), surroundings=surroundings)
    speaking = posed(masked, parted(masked, 0.15))
    frame = rendered(generator, generator.prepare(masked), speaking)[0]
    mouth = around(frame, speaking.landmarks[0], [13, 14], 15)
    np.testing.assert_allclose(mouth, np.broadcast_to(white, mouth.shape), atol=30)


def test_upper_teeth_stay_with_the_skull_as_the_jaw_opens(generator, closed):
    prepared = generator.prepare(closed, refined=False)
    face = posed(closed, np.concatenate([parted(closed, opening) for opening in (0.1, 0.16)]))
    frames = rendered(generator, prepared, face).mean(-1)
    (left, top), right = face.landmarks[0, 81, :2].astype(int), int(face.landmarks[0, 311, 0])
    profiles = frames[:, top + 2 : top + 24, left:right].mean(2)
    edges = np.diff(profiles[:, :12]).argmin(1)  # from bright teeth to the dark behind them
    assert abs(edges[1] - edges[0]) <= 1
    # Below them nothing is where it was: lower teeth and tongue went with the jaw.
    below = frames[:, top + edges[0] + 6 : top + edges[0] + 14, left:right]
    assert mean_difference(*below) > 8


def test_a_smile_shows_more_of_the_upper_teeth(generator, closed):
    face = posed(closed, parted(closed, 0.1))
    normalized = closed.normalized.copy()
    normalized[[61, 291], 1] -= 0.12  # corners of the mouth
    (left, top), right = face.landmarks[0, 81, :2].astype(int), int(face.landmarks[0, 311, 0])
    edges = []
    for portrait in (closed, replace(closed, normalized=normalized)):
        frame = rendered(generator, generator.prepare(portrait, refined=False), face)[0].mean(-1)
        profile = frame[top + 2 : top + 14, left:right].mean(1)
        edges.append(np.diff(profile).argmin())
    assert edges[1] > edges[0]


def test_upper_teeth_show_as_the_mouth_smiles_though_the_upper_lip_stays(generator, closed):
    prepared, edges = generator.prepare(closed, refined=False), []
    for wider in (0.0, 0.35):
        face = posed(closed, narrowed(closed, parted(closed, 0.12), -wider))
        (left, top), right = face.landmarks[0, 81, :2].astype(int), int(face.landmarks[0, 311, 0])
        frame = rendered(generator, prepared, face)[0].mean(-1)
        edges.append(np.diff(frame[top + 2 : top + 20, left:right].mean(1)).argmin())
    assert edges[1] > edges[0] + 2


def test_a_lower_lip_that_drops_further_than_the_chin_uncovers_no_fence_of_lower_teeth(generator, closed):
    normalized = parted(closed, 0.02, 0.01)
    normalized[:, [*INNER_LOWER_LIP[1:-1], *OUTER_LOWER_LIP[1:-1]], 1] += 0.09
    face = posed(closed, normalized)
    green = rendered(generator, generator.prepare(closed, refined=False), face)[0, ..., 1]  # the tongue is red
    (left, top), (right, bottom) = (face.landmarks[0, point, :2].round().astype(int) for point in (81, 402))
    profile = green[top + 2 : bottom - 2, left:right].mean(1)  # without the lips' edges
    upper, lower = np.array_split(profile, 2)
    assert upper.max() > lower.max()
    assert (upper > 0.9 * upper.max()).sum() > (lower > 0.9 * upper.max()).sum()


def test_the_tongue_moves_between_the_lips_and_nothing_else_does(generator, closed):
    prepared = generator.prepare(closed, refined=False)
    face = posed(closed, parted(closed, 0.12, 0.01))
    rest, raised, between = (
        rendered(generator, prepared, replace(face, tongue=np.array([shares], np.float32)))[0].astype(float)
        for shares in ((0, 0), (1, 0), (0, 1))
    )
    mouth, around = (inside(face.landmarks[0], rest.shape, margin) for margin in (2, -4))
    for one, other in ((rest, raised), (rest, between), (raised, between)):
        assert np.abs(one - other)[mouth].mean() > 2
        assert (one == other)[~around].all()


@pytest.mark.parametrize("colours", ["closed", "grey"])
def test_the_tongue_fills_the_middle_of_a_wide_mouth_and_is_darker_than_teeth(generator, colours, request):
    portrait = request.getfixturevalue(colours)
    face = posed(portrait, parted(portrait, 0.12))
    frame = rendered(generator, generator.prepare(portrait, refined=False), face)[0]
    _, teeth, tongue, _, _ = mouth_profile(frame, face.landmarks[0])
    assert 0.5 < tongue < 0.8 * teeth


def narrowed(portrait: Portrait, normalized: np.ndarray, share: float) -> np.ndarray:
    """Normalized landmarks (B, 478, 3) with lips that are narrower by a share of their width."""
    lips = sorted({*INNER_UPPER_LIP, *INNER_LOWER_LIP, *OUTER_UPPER_LIP, *OUTER_LOWER_LIP})
    normalized = normalized.copy()
    middle = portrait.normalized[lips, 0].mean()
    normalized[:, lips, 0] += share * (middle - normalized[:, lips, 0])
    return normalized


def test_between_rounded_lips_it_is_dark_above_and_light_below(generator, closed):
    prepared = generator.prepare(closed, refined=False)
    profiles = []
    for share in (0.0, 0.25):
        face = posed(closed, narrowed(closed, parted(closed, 0.12), share))
        profiles.append(mouth_profile(rendered(generator, prepared, face)[0], face.landmarks[0]))
    plain, rounded = profiles
    assert rounded[:2].mean() < rounded[3:].mean() < plain[:2].mean()
    assert rounded[:2].mean() < 0.6 * plain[:2].mean()
    assert rounded[3:].mean() > 0.6 * plain[3:].mean()


def test_a_mouth_that_goes_back_from_a_broad_smile_is_not_rounded(closed):
    smiling = replace(closed, normalized=narrowed(closed, closed.normalized[None], -0.5)[0])
    for share, rounded in ((-0.2, False), (0.3, True)):
        face = on_surroundings(posed(closed, narrowed(closed, parted(closed, 0.12), share)))
        assert (lips_rounded(prepare_mouth(*seen(smiling)), face.host) > 0.1) == rounded


def test_the_corners_of_the_mouth_do_not_fold_where_a_broad_smile_is_taken_back(closed):
    """Of which the tracked outer corners go further than the inner ones: spikes stood where these lay outside."""
    edges, folded = find_lip_edges(*seen(closed)), closed.normalized[None].copy()
    inner, outer = [78, 308], [61, 291]
    folded[:, outer, :2] += np.array([[7, 7], [-7, 7]]) * MILLIMETRE
    corners, in_photo = (
        np.subtract(*face.normalized[0, [inner, outer], :2])
        for face in (moved_to_edges(posed(closed, folded), edges), posed(closed))
    )
    assert (corners[:, 0] * [1, -1] > 0).all()
    assert np.linalg.norm(corners - in_photo, axis=-1).max() < 2.1 * MILLIMETRE
    still = moved_to_edges(posed(closed), edges).normalized
    assert np.array_equal(still[:, [*inner, *outer]], closed.normalized[None, [*inner, *outer]])


def test_the_depth_of_a_mouth_is_dark_and_hardly_redder_than_its_flesh(generator, closed):
    face = posed(closed, parted(closed, 0.2))
    frame = rendered(generator, generator.prepare(closed, refined=False), face)[0].mean(-1)
    x, y = face.landmarks[0, CHEEKS, :2].astype(int).T
    assert (frame[inside(face.landmarks[0], frame.shape)] < 0.2 * frame[y, x].mean()).mean() > 0.05
    colours = estimate_colours(*seen(closed))
    depths, tongue = (colour[0] / colour[1] for colour in (colours.depths, colours.tongue))
    assert tongue < depths < 1.5 * tongue


def test_a_tongue_without_colour_is_darker_beside_teeth_than_one_that_is_red(generator, closed, grey):
    shares = []
    for portrait in (closed, grey):
        face = posed(portrait, parted(portrait, 0.16))
        frame = rendered(generator, generator.prepare(portrait, refined=False), face)[0]
        upper, _, tongue, _, lower = mouth_profile(frame, face.landmarks[0])
        shares.append(tongue / min(upper, lower))
    assert shares[1] < 0.8 and shares[1] < shares[0] - 0.05


def test_a_smile_keeps_its_teeth(generator, portrait):
    normalized = portrait.normalized[None].copy()
    normalized[:, list(INNER_LOWER_LIP[2:-2]), 1] += 0.02
    face = posed(portrait, normalized)
    frame = rendered(generator, generator.prepare(portrait, refined=False), face)[0]
    teeth = inside(portrait.landmarks, frame.shape, margin=4)
    assert teeth.sum() > 200
    assert mean_difference(frame[teeth], portrait.image[teeth]) < 12


@pytest.mark.parametrize("length", [6, 9, 12])
def test_the_photos_own_upper_teeth_are_found_down_to_their_edge(closed, length):
    mouth, edges = with_teeth(closed, np.full(12, length))
    column = mouth.teeth[0, 3, :, 320 + 5] > 0.5
    assert float(column.nonzero().max()) == pytest.approx(edges[6] - 1, abs=0.8 * millimetre_of(mouth))


def test_the_photos_own_teeth_end_in_a_smooth_line_and_keep_their_gap(closed):
    lengths = np.array([7, 8.2, 7.3, 8.5, 8, 8.6, 0, 8, 7.4, 8.3, 7.2, 7.0])  # one of them is missing
    mouth, edges = with_teeth(closed, lengths)
    shown = (mouth.teeth[0, 3] > 0.5).numpy()
    columns = np.flatnonzero(shown.any(0))
    ends = np.array([np.flatnonzero(shown[:, column]).max() for column in columns])[5:-5]
    assert mouth.has_teeth
    assert np.abs(np.diff(ends)).max() <= 1
    assert np.abs(ends - np.median(edges)).max() < 1.5 * millimetre_of(mouth)
    assert (np.diff(columns) == 1).all()


def test_teeth_without_an_even_edge_give_their_colour_only(closed):
    mouth, _ = with_teeth(closed, np.array([11, 11, 11, 11, 5, 5, 5, 5, 11, 11, 11, 11]))
    assert mouth.open_in_photo and not mouth.has_teeth
    assert np.ptp(mouth.colours.enamel) < 0.03 < np.ptp(prepare_mouth(*seen(closed)).colours.enamel)


def test_the_photos_own_teeth_do_not_step_down_to_the_lower_ones(closed):
    mouth, _ = with_teeth(closed, np.array([7, 7.6, 8.2, 8.6, 8.9, 9, 9, 11.5, 11.5, 8.2, 7.6, 7]))
    shown = (mouth.teeth[0, 3] > 0.5).numpy()
    columns = np.flatnonzero(shown.any(0))
    ends = np.array([np.flatnonzero(shown[:, column]).max() for column in columns])
    assert mouth.has_teeth
    assert ends.max() - np.median(ends) < 1.6 * millimetre_of(mouth)


def test_the_photos_own_teeth_bring_no_dark_along_at_the_ends_of_their_row(closed):
    """Nor lips: the smooth border of the row goes on over what is below short last teeth."""
    mouth, _ = with_teeth(closed, np.array([3.5, 6, 8, 8, 8, 8, 8, 8, 8, 8, 6, 3.5]))
    shown = mouth.teeth[0, :3, mouth.teeth[0, 3] > 0.5].mean(0)
    assert mouth.has_teeth
    assert (shown < 0.3).sum() < 16 * millimetre_of(mouth) ** 2  # of 24, at steps from tooth to tooth


def test_a_row_that_goes_over_from_upper_to_lower_teeth_gives_its_colour_only(closed):
    for lengths, shown in (((7, 9.5), True), ((6, 14), False)):
        mouth, _ = with_teeth(closed, np.linspace(*lengths, 12) + 1 - np.linspace(-1, 1, 12) ** 2)
        assert mouth.shows_teeth and mouth.has_teeth == shown


def test_a_border_that_rises_towards_the_middle_is_not_that_of_upper_teeth(closed):
    rises = 9 - 3 * (1 - np.linspace(-1, 1, 12) ** 2)
    mouth, _ = with_teeth(closed, rises)
    assert mouth.open_in_photo and not mouth.has_teeth


@pytest.mark.parametrize("colours", ["closed", "grey"])
def test_lower_teeth_that_a_photo_shows_alone_stay_lower_teeth(generator, request, colours):
    portrait = lower_teeth_alone(request.getfixturevalue(colours), 9, 5)
    mouth = prepare_mouth(*seen(portrait))
    assert mouth.open_in_photo and mouth.shows_teeth and not mouth.has_teeth
    assert mouth.origin[1] < portrait.normalized[INNER_UPPER_LIP[5], 1]  # the upper ones are behind the lip
    wider = portrait.normalized[None].copy()
    wider[:, [*INNER_LOWER_LIP[1:-1], *OUTER_LOWER_LIP[1:-1], 152, 199], 1] += 4 * MILLIMETRE
    face = posed(portrait, wider)
    frame = rendered(generator, generator.prepare(portrait, refined=False), face)[0]
    profile = mouth_profile(frame, face.landmarks[0])
    assert profile[3] > 1.1 * profile[:2].max()


def test_upper_teeth_and_wide_open_lips_are_no_lower_teeth(closed):
    assert with_teeth(closed, np.full(12, 8))[0].has_teeth
    both = lower_teeth_alone(closed, 18, 5)
    picture, photo = seen(both)
    left, right, top = int(photo.posed[0, 81, 0]), int(photo.posed[0, 311, 0]), float(photo.posed[0, 13, 1])
    start, end = (round(top + length * MILLIMETRE * float(photo.scale)) for length in (0, 4))
    picture[..., start:end, left:right] = 0.85
    assert find_lower_row(picture, photo, prepare_mouth(*seen(both)).colours.lips) is None


def test_upper_teeth_that_touch_the_lower_lip_are_no_lower_teeth(closed):
    lip = painted_between_lips(closed, 9, lambda lips: 0.75 * lips)
    for below, found in ((0, True), (2.5, False)):  # millimetres of lip above its tracked edge
        portrait = lower_teeth_alone(closed, 9, 5, brighter=1.15)
        start = _row_above_the_lower_lip(portrait, below)
        portrait.surroundings[start:] = lip.surroundings[start:]
        lips = prepare_mouth(*seen(portrait)).colours.lips
        assert (find_lower_row(*seen(portrait), lips) is not None) == found


def test_lower_teeth_below_upper_ones_are_where_the_photo_shows_them_or_behind_the_lip(closed):
    near, far, hidden = (with_teeth(closed, np.full(12, 8.0), gap=gap)[0] for gap in (1.0, 2.0, 5))
    assert all(mouth.has_teeth for mouth in (near, far, hidden))
    assert far.jaw - near.jaw == pytest.approx(1.0 * MILLIMETRE, abs=0.4 * MILLIMETRE)
    lip = hidden.photo.host.normalized[0, INNER_LOWER_LIP[5], 1]
    assert hidden.origin[1] + hidden.jaw >= lip - 0.5 * MILLIMETRE


def test_lower_teeth_below_upper_ones_are_as_bright_beside_these_as_in_the_photo(closed):
    light = [with_teeth(closed, np.full(12, 8.0), lower=lower)[0].lower_light for lower in (1.0, 0.75)]
    assert light == pytest.approx([1.0, 0.75], abs=0.03)


def lower_teeth_alone(portrait: Portrait, opening: float, height: float, brighter: float = 1.5) -> Portrait:
    """A portrait with its lips apart by millimetres, and in the lowest of these teeth below the dark."""
    dark = painted_between_lips(portrait, opening, lambda lips: 0.2 * lips)
    white = painted_between_lips(portrait, opening, lambda lips: np.full(3, min(brighter * lips.mean(), 1.0)))
    painted = dark.surroundings.copy()
    rows = np.s_[_row_above_the_lower_lip(dark, height) :]
    painted[rows] = white.surroundings[rows]
    return replace(dark, photo=painted, surroundings=painted)


def _row_above_the_lower_lip(portrait: Portrait, millimetres: float) -> int:
    """The row of a portrait's surroundings that far above the middle of the lower lip's inner edge."""
    middle = posed(portrait).landmarks[0, INNER_LOWER_LIP[5], 1] + MARGIN
    return round(float(middle - millimetres * MILLIMETRE * float(seen(portrait)[1].scale)))


def test_teeth_of_a_photo_with_wide_open_lips_are_as_bright_as_there(closed):
    shares = []
    for opening in (6, 12):
        mouth = prepare_mouth(*seen(painted_between_lips(closed, opening, lambda lips: np.full(3, 0.8 * lips.mean()))))
        assert mouth.shows_teeth
        shares.append(float(mouth.dimmed.mean()))
    assert shares[0] < 0.85 < 0.95 < shares[1]


def test_teeth_of_a_smile_get_darker_as_the_lips_come_together(generator, closed):
    portrait = painted_between_lips(closed, 14, lambda lips: np.full(3, 0.85))
    prepared, light = generator.prepare(portrait, refined=False), []
    for opening in (13, 7):
        face = posed(closed, parted(closed, opening * MILLIMETRE, 0))
        light.append(mouth_profile(rendered(generator, prepared, face)[0], face.landmarks[0])[1:3].mean())
    assert light[1] < 0.85 * light[0]


def test_the_shade_of_lips_reddens_what_is_behind_them(generator, closed):
    prepared, face = generator.prepare(closed, refined=False), posed(closed, parted(closed, 0.14, 0.01))
    neutral = replace(prepared.lips.mouth, reddening=torch.ones(3, 1, 1))
    left, right, top = int(face.landmarks[0, 81, 0]), int(face.landmarks[0, 311, 0]), int(face.landmarks[0, 13, 1])
    redness = []
    for each in (prepared, replace(prepared, lips=replace(prepared.lips, mouth=neutral))):
        near, far = rendered(generator, each, face)[0][[top + 3, top + 7], left:right].mean(1)
        redness.append([near[0] / near[1], far[0] / far[1]])
    (near, far), (neutral_near, neutral_far) = redness
    assert near > 1.05 * neutral_near and near / neutral_near > far / neutral_far


def test_a_photo_with_a_wide_open_mouth_has_upper_teeth_where_its_lips_meet(closed):
    edges = []
    for opening in (8, 20):
        mouth = prepare_mouth(*seen(painted_between_lips(closed, opening, lambda lips: 0.1 * lips)))
        assert mouth.open_in_photo and not mouth.shows_teeth
        edges.append(float(mouth.origin[1]))
    assert edges[1] - edges[0] > 0.2 * 12 * MILLIMETRE


def test_teeth_beside_overexposed_lips_are_found(grey):
    bright = changed(grey, lambda picture: (1.9 * picture.astype(float)).clip(0, 250).astype(np.uint8))
    mouth, _ = with_teeth(bright, np.full(12, 8), white=245)
    assert mouth.has_teeth


def test_no_drawn_teeth_hang_below_the_photos_own(generator, closed):
    portrait = painted_between_lips(closed, 8, lambda lips: np.full(3, lips.mean()))
    mouth, rows = prepare_mouth(*seen(portrait)), []
    assert mouth.has_teeth
    for row in (mouth.row, np.array([np.inf, -np.inf], np.float32)):
        motion = seen(portrait)[1]
        window = window_around(motion.host.posed[:, :, :2], 0, (640, 640), torch.device("cpu"))
        drawn = draw_mouth_mesh(replace(mouth, row=row), motion, window)
        rows.append(float(drawn[:, 3].sum()))
    assert rows[0] < 0.8 * rows[1]


def with_teeth(
    portrait: Portrait, lengths: np.ndarray, white: int = 220, gap: float = 1.2, lower: float = 1.0
) -> tuple[PreparedMouth, np.ndarray]:
    """The mouth of a portrait with wide open lips and both rows of teeth painted between them, dark where they are not.

    Millimetres of ``gap`` are between the rows, 5 leave no lower one, which is ``lower`` times as bright as the upper
    one. ``lengths`` (N,) are those of the upper teeth, millimetres, from left to right. Also returns the rows in which
    they end, pixels of the surroundings.
    """
    face = posed(portrait, parted(portrait, (lengths.max() + 5) * MILLIMETRE, 0))
    photo = on_surroundings(face)
    millimetre = MILLIMETRE * float(photo.scale)
    left, right, top, bottom = (
        float(photo.posed[0, point, axis]) for point, axis in ((78, 0), (308, 0), (13, 1), (14, 1))
    )
    painted = portrait.surroundings.copy()
    painted[int(top) : int(bottom), int(left) : int(right)] = 30
    edges, sides = top + lengths * millimetre, np.linspace(left, right, len(lengths) + 1).round().astype(int)
    for edge, first, last in zip(edges, sides[:-1], sides[1:], strict=True):
        for start, end, light in ((top, edge, 1.0), (edges.max() + gap * millimetre, bottom, lower)):  # both rows
            painted[round(start) : round(end), first:last] = light * white
    picture = torch.from_numpy(painted).permute(2, 0, 1)[None].float() / 255
    return prepare_mouth(picture, photo), edges


def millimetre_of(mouth: PreparedMouth) -> float:
    """Pixels of a mouth's photo in a millimetre."""
    return MILLIMETRE * float(mouth.photo.scale)


@pytest.mark.parametrize("brightness", [0.8, 1.3], ids=["shaded", "lit"])
@pytest.mark.parametrize("opening", [8, 10])
def test_teeth_that_a_photo_shows_between_parted_lips_are_kept(closed, brightness, opening):
    # Brightness relative to the lips, in whose shade teeth may be darker than they; opening in millimetres.
    painted = painted_between_lips(closed, opening, lambda lips: np.full(3, brightness * lips.mean()))
    mouth = prepare_mouth(*seen(painted))
    assert mouth.open_in_photo and mouth.has_teeth
    assert mouth.colours.enamel.mean() >= 0.99 * brightness * mouth.colours.lips.mean()


def with_two_incisors(portrait: Portrait, opening: float) -> Portrait:
    """A portrait with its lips apart by millimetres and all dark between them but two teeth."""
    dark = painted_between_lips(portrait, opening, lambda lips: 0.15 * lips)
    photo = on_surroundings(posed(dark))
    millimetre = MILLIMETRE * float(photo.scale)
    x, y = photo.posed[0, INNER_UPPER_LIP[5], :2].tolist()
    teeth = np.zeros(dark.surroundings.shape[:2], np.float32)
    rows, columns = round(0.75 * opening * millimetre), round(7 * millimetre)
    teeth[round(y) : round(y) + rows, round(x) - columns : round(x) + columns] = 1
    colour = 255 * float(estimate_colours(*seen(portrait)).lips.mean())
    painted = (dark.surroundings + teeth[..., None] * (colour - dark.surroundings)).round().astype(np.uint8)
    return replace(dark, photo=painted, surroundings=painted)


def test_upper_teeth_are_found_if_the_photo_shows_but_the_incisors(closed):
    toothless = painted_between_lips(closed, 7, lambda lips: 0.15 * lips)
    shown, none = (prepare_mouth(*seen(portrait)) for portrait in (with_two_incisors(closed, 7), toothless))
    assert shown.shows_teeth and not none.shows_teeth
    assert shown.origin[1] > none.origin[1] + 2 * MILLIMETRE


@pytest.mark.parametrize("opening", [3, 5])
def test_a_row_of_teeth_too_thin_to_show_opens_the_mouth(closed, opening):
    mouth = prepare_mouth(*seen(painted_between_lips(closed, opening, lambda lips: np.full(3, lips.mean()))))
    assert mouth.open_in_photo and not mouth.has_teeth


def test_the_thinner_a_row_of_teeth_is_the_less_its_colour_counts(closed):
    estimated, colours = prepare_mouth(*seen(closed)).colours.enamel, []
    for opening in (3, 6, 9):
        grey = prepare_mouth(*seen(painted_between_lips(closed, opening, lambda lips: np.full(3, lips.mean()))))
        colours.append(np.abs(grey.colours.enamel - estimated).mean())
    assert colours[0] < 0.3 * colours[2] < colours[1] < colours[2]


def test_incisors_are_square_and_their_crowns_as_tall_as_wide():
    anatomy = load_anatomy()
    x, y, z = anatomy.vertices.T
    front = (anatomy.jaw < 0.5) & (abs(x) < 9) & (z < 4)
    incisors, gum = front & (anatomy.part == TOOTH), front & (anatomy.part == GUM)
    both, both_edges = np.ptp(x[incisors & (y > -6)]), np.ptp(x[incisors & (y > -1)])
    assert both_edges > 0.85 * both
    assert y[incisors].max() - y[gum].max() > 0.95 * both / 2


def test_a_tongue_is_not_taken_for_teeth(closed):
    mouth = prepare_mouth(*seen(painted_between_lips(closed, 8, lambda lips: 0.9 * lips)))
    assert mouth.open_in_photo and not mouth.has_teeth


def test_corners_of_an_open_mouth_stay_as_dark_as_in_the_photo(generator, closed):
    brightness = []
    for shade in (0.05, 0.6):  # of the lips
        portrait = painted_between_lips(closed, 8, lambda lips, shade=shade: shade * lips)
        normalized = portrait.normalized[None].copy()
        normalized[:, [*INNER_UPPER_LIP[1:-1], *OUTER_UPPER_LIP[1:-1]], 1] -= 2 * MILLIMETRE
        face = posed(portrait, normalized)
        frame = rendered(generator, generator.prepare(portrait, refined=False), face)[0].mean(-1)
        corners = inside(face.landmarks[0], frame.shape, margin=0)
        left, right = face.landmarks[0, [78, 308], 0]
        corners[:, int(left + 0.06 * (right - left)) : int(right - 0.06 * (right - left))] = False
        brightness.append(frame[corners].mean())
    assert brightness[0] < 0.92 * brightness[1]


def test_no_pale_speck_lights_the_dark_corners_of_closed_lips_that_part(generator, closed):
    painted, photo = closed.surroundings.copy(), on_surroundings(posed(closed))
    for corner in (78, 308):
        x, y = photo.host.posed[0, corner, :2].round().astype(int).tolist()
        cv2.circle(painted, (x, y), 9, (10, 8, 8), -1)
    landmarks = photo.host.posed[0].astype(float)
    dark = replace(
        closed,
        photo=painted,
        surroundings=painted,
        crop=Crop(np.full(2, float(MARGIN)), 1.0),
        landmarks=landmarks - [MARGIN, MARGIN, 0],
    )
    face = posed(dark, parted(dark, 0.06, 0.02))
    frame = rendered(generator, generator.prepare(dark, refined=False), face)[0].mean(-1)
    x, y = face.landmarks[0, 78, :2].round().astype(int)
    assert frame[y - 2 : y + 3, x : x + 5].max() < 60


@pytest.mark.parametrize("above", [0.3, 1.3])
def test_closed_lips_part_below_the_dark_seam_that_is_seen(closed, above):
    """Not at the line that is tracked further below: the upper lip would carry a strip of the lower one."""
    picture, photo = seen(closed)
    y, x = torch.meshgrid(torch.arange(640), torch.arange(640), indexing="ij")
    line, millimetre = photo.host.posed[0, list(INNER_UPPER_LIP), :2], MILLIMETRE * float(photo.scale)
    seam = torch.from_numpy(np.interp(x[0], *line.T)) - above * millimetre
    lips = (y > seam - 20) & (y < seam + 20)
    picture[..., lips] = torch.tensor([0.7, 0.5, 0.5])[:, None]
    picture[..., lips & ((y - seam).abs() < 0.5 * millimetre)] = 0.1
    assert seam_shift(picture, photo)[4, 1] == pytest.approx((0.3 - above) * MILLIMETRE, abs=0.3 * MILLIMETRE)


def test_open_lips_part_where_they_are_tracked(closed):
    assert not seam_shift(*seen(painted_between_lips(closed, 8, lambda lips: 0.1 * lips))).any()


def test_open_lips_end_where_the_photo_shows_their_edge_and_meet_where_they_are_tracked(closed):
    """Teeth seen beyond the tracked edge would be a pale line, the wider, the more the lip is stretched."""
    portrait = painted_between_lips(closed, 8, lambda lips: np.full(3, 0.9))
    picture, photo = seen(portrait)
    y, x = torch.meshgrid(torch.arange(640), torch.arange(640), indexing="ij")
    line, millimetre = photo.host.posed[0, list(INNER_UPPER_LIP), :2], MILLIMETRE * float(photo.scale)
    upper = torch.from_numpy(np.interp(x[0], *line.T))
    between = (x > line[0, 0]) & (x < line[-1, 0])
    picture[..., between & (y <= upper) & (y > upper - 15)] = torch.tensor([0.6, 0.3, 0.3])[:, None]
    picture[..., between & (y <= upper) & (y > upper - millimetre)] = 0.9
    edges = find_lip_edges(picture, photo)
    assert edges.shift[0, 4, 1] == pytest.approx(-MILLIMETRE, abs=0.35 * MILLIMETRE)
    as_in_photo, shut = posed(portrait), posed(closed)
    moved = moved_to_edges(as_in_photo, edges).normalized - as_in_photo.normalized
    assert moved[0, 13] == pytest.approx(edges.shift[0, 4])
    assert np.abs(moved_to_edges(shut, edges).normalized - shut.normalized).max() < 0.25 * MILLIMETRE


def test_the_steep_sides_of_an_opening_have_no_steps():
    upper = torch.tensor([[[10.2, 40.0], [20.2, 10.0], [30.2, 40.0]]])
    lower = torch.tensor([[[10.2, 40.0], [20.2, 60.0], [30.2, 40.0]]])
    coverage = []
    for scale in (1, 8):
        y, x = torch.meshgrid(*[(torch.arange(size * scale) + 0.5) / scale - 0.5 for size in (64, 40)], indexing="ij")
        mask = opening_mask(upper, lower, torch.stack([x, y], -1)[None], softness=1 / scale).coverage
        coverage.append(torch.nn.functional.avg_pool2d(mask[:, None], scale)[0, 0, 16:36, 8:32])
    assert (coverage[0] - coverage[1]).abs().max() < 0.1


@pytest.mark.parametrize(("shaded", "shade"), [(False, 0.0), (True, 0.42)])
def test_the_upper_lip_shades_drawn_teeth_as_far_as_it_does_in_the_photo(closed, shaded, shade):
    portrait = painted_between_lips(closed, 9, lambda lips: np.array([0.9, 0.85, 0.8]))
    picture, photo = seen(portrait)
    if shaded:
        y, x = torch.meshgrid(torch.arange(640), torch.arange(640), indexing="ij")
        line, millimetre = photo.host.posed[0, list(INNER_UPPER_LIP), :2], MILLIMETRE * float(photo.scale)
        below = (y - torch.from_numpy(np.interp(x[0], *line.T))) / millimetre
        between = torch.from_numpy(inside(photo.host.posed[0], (640, 640), margin=0))
        picture[..., between] *= (0.5 + 0.5 * (below / 4).clamp(0, 1))[between]
    mouth = prepare_mouth(picture, photo)
    assert mouth.shows_teeth
    assert mouth.upper_lip_shade == pytest.approx(shade, abs=0.1)


def test_teeth_that_a_photo_shows_beyond_the_tracked_edge_of_a_lip_do_not_stay_on_it(generator, closed):
    normalized, painted = parted(closed, 8 * MILLIMETRE, 0)[0], closed.surroundings.copy()
    landmarks = posed(closed, normalized[None]).landmarks[0]
    y, x = np.mgrid[:640, :640] - MARGIN
    upper, inner, outer = (
        (y - np.interp(x[0], *landmarks[list(lip), :2].T)) / (MILLIMETRE * float(closed.pose.scale[0]))
        for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP, OUTER_LOWER_LIP)
    )
    between = (x > landmarks[78, 0]) & (x < landmarks[308, 0])
    painted[between & (upper > 0) & (outer < 0)] = (150, 75, 75)
    painted[between & (upper > 0) & (inner < 1.4)] = 230
    crop = Crop(np.full(2, float(MARGIN)), 1.0)
    changes = {"photo": painted, "surroundings": painted, "landmarks": landmarks, "normalized": normalized}
    portrait = replace(closed, crop=crop, **changes)
    face = posed(portrait, open_mouth(portrait, 0.03))
    frame = rendered(generator, generator.prepare(portrait, refined=False), face)[0]
    lip, column = int(face.landmarks[0, 14, 1]), int(face.landmarks[0, 14, 0])
    assert frame[lip + 1 : lip + 5, column - 10 : column + 11, 1].max() < 200  # drawn lower teeth lie in the shade


@pytest.mark.parametrize("between", ["teeth", "dark"])
def test_lips_that_close_over_what_the_photo_shows_between_them_show_no_second_line(closed, between):
    shown = {"teeth": lambda lips: np.full(3, lips.mean()), "dark": lambda lips: 0.1 * lips}[between]
    mouth = prepare_mouth(*seen(painted_between_lips(closed, 8, shown)))
    motion = seen(closed)[1]
    landmarks, millimetre = motion.host.posed[0], millimetre_of(mouth)
    y, x = np.mgrid[:640, :640]
    above, upper, lower, below = (
        y - np.interp(x[0], *landmarks[list(lip), :2].T)
        for lip in (OUTER_UPPER_LIP, INNER_UPPER_LIP, INNER_LOWER_LIP, OUTER_LOWER_LIP)
    )
    warped = np.where((above > 0) & (below < 0), 0.4, 0.8)  # lips, skin
    # What the warp left of it on the lips' edges.
    warped[(upper > -millimetre) & (lower < millimetre)] = {"teeth": 1, "dark": 0.05}[between]
    frame = torch.from_numpy(warped).float().repeat(1, 3, 1, 1)
    draw_mouth(frame, mouth, motion)
    left, right = (int(landmarks[point, 0]) for point in (81, 311))
    lips = frame[0].mean(0).numpy()[:, left:right][((above > 2) & (below < -2))[:, left:right]]
    assert mouth.open_in_photo and mouth.shows_teeth == (between == "teeth")
    assert lips.max() < 0.5
    assert (lips < 0.2).mean() < 0.05


def test_the_seam_between_lips_that_close_is_as_soft_as_the_photo(closed):
    mouth = prepare_mouth(*seen(painted_between_lips(closed, 8, lambda lips: 0.1 * lips)))
    motion = seen(closed)[1]
    x, y = motion.host.posed[0, [13, 14], :2].mean(0).round().astype(int)
    steepest, darkest = [], []
    for softening in (0.0, 3.0):
        frame = torch.full((1, 3, 640, 640), 0.8)
        draw_mouth(frame, replace(mouth, softening=softening), motion)
        across = frame[0].mean(0)[y - 12 : y + 13, x]
        steepest.append(float(across.diff().abs().max()))
        darkest.append(float(0.8 - across.min()))
    assert steepest[1] < 0.5 * steepest[0]
    assert darkest[1] > 0.3 * darkest[0]


def test_lips_that_only_seem_apart_show_no_teeth(closed):
    assert not prepare_mouth(*seen(painted_between_lips(closed, 2, lambda lips: 0.5 * lips))).open_in_photo


def test_a_photos_teeth_go_on_upwards_as_far_as_crowns_do_and_above_them_is_gum():
    picture, teeth = torch.zeros(1, 3, 60, 90), torch.zeros(1, 1, 60, 90)
    picture[0, :, 38:45] = torch.tensor([0.8, 0.78, 0.7])[:, None, None]
    picture[0, :, 38:45, 28:32] *= 0.7  # a gap between two of them
    picture[0, :, 38:42, 68:] = torch.tensor([0.8, 0.45, 0.4])[:, None, None]  # gum over others
    teeth[..., 38:45, 10:80] = 1
    gums = torch.tensor([0.6, 0.3, 0.3])
    continued = continued_teeth(picture, teeth, 90.0, gums)[0]  # one pixel is a millimetre
    assert (continued[3, 30:45, 15:75] > 0.9).all()
    assert (continued[3, :20] == 0).all()
    assert continued[0, 37, 20] > 1.1 * continued[0, 37, 30]
    redness = continued[0] / continued[1]
    assert float(redness[36, 20]) < 1.1 < 1.4 < float(redness[36, 76])
    assert (redness[28:31, 15:75] > 1.4).all()


def test_teeth_are_no_colder_than_the_light_on_the_skin(closed):
    picture, photo = seen(closed)
    for eye in EYES:  # whites in a blue shade
        rows, columns = box_of(photo, eye)
        picture[..., rows, columns] = torch.tensor([0.3, 0.4, 0.5])[:, None, None]
    red, _, blue = estimate_colours(picture, photo).enamel
    assert blue < red


def test_teeth_are_no_redder_than_the_light_on_the_brightest_skin(closed):
    picture, photo = seen(closed)
    x, y = photo.posed[0, :468, :2].round().long().T
    brightest = picture.mean(1)[0] > picture[0, :, y, x].mean(0).quantile(0.75)
    for eye in EYES:
        brightest[box_of(photo, eye)] = False
    shade = torch.tensor([0.8, 0.3, 0.3])[:, None, None]  # red, as in dark parts of pictures of much contrast
    red = torch.where(brightest, picture, shade * picture)
    usual, enamel = (estimate_colours(each, photo).enamel for each in (picture, red))
    assert enamel[1] / enamel[0] > 0.7 * usual[1] / usual[0]


def test_teeth_between_lips_that_hardly_part_lie_in_a_red_shade(generator, closed):
    prepared, redness = generator.prepare(closed, refined=False), []
    for opening in (0.045, 0.14):
        face = posed(closed, parted(closed, opening, 0.01))
        frame = rendered(generator, prepared, face)[0].astype(float)
        left, right, top = int(face.landmarks[0, 81, 0]), int(face.landmarks[0, 311, 0]), int(face.landmarks[0, 13, 1])
        rows = frame[top + 3 : top + 8, left:right].mean(1)  # above the upper incisors' edges
        redness.append((rows[:, 0] / rows[:, 1]).min())
    assert redness[0] > 1.05 * redness[1]


def test_light_between_lips_that_hardly_part_comes_from_above(generator, closed):
    face = posed(closed, parted(closed, 0.04, 0.015))
    frame = rendered(generator, generator.prepare(closed), face)[0]
    profile = mouth_profile(frame, face.landmarks[0])
    assert profile[-1] > 0.95 * profile[0]


def test_teeth_of_a_dark_face_are_as_white_as_those_of_a_light_one(portrait):
    """Its skin is dark and reddish; the whites of its eyes show that the light is not."""
    picture, photo = seen(portrait)
    skin = torch.zeros_like(picture[0, 0])
    for rows, columns, value in ((slice(None), slice(None), 1.0), *((*box_of(photo, eye), 0.0) for eye in EYES)):
        skin[rows, columns] = value
    dark = torch.lerp(picture, picture * torch.tensor([0.6, 0.45, 0.35])[:, None, None], skin)
    light, of_dark = (estimate_colours(shown, photo).enamel for shown in (picture, dark))
    assert of_dark.mean() > 0.8 * light.mean()
    assert of_dark[2] / of_dark[0] > 0.9 * light[2] / light[0]


@pytest.mark.parametrize("refined", [False, True], ids=["drawn", "refined"])
def test_a_photo_without_colours_gets_none(generator, grey, refined):
    face = posed(grey, parted(grey, 0.1))
    frame = rendered(generator, generator.prepare(grey, refined=refined), face)[0].astype(int)
    mouth = frame[inside(face.landmarks[0], frame.shape, margin=0)]
    assert np.ptp(mouth, axis=1).max() <= 6


@pytest.fixture(scope="module")
def statue(grey) -> Portrait:
    """The grey portrait as if of stone: no irises, and lips as bright as the skin beside them."""

    def carved(picture: np.ndarray) -> np.ndarray:
        picture = picture.copy()
        landmarks = np.round(grey.landmarks[:, :2] + MARGIN).astype(np.int32)
        skin = int(np.median(picture[landmarks[CHEEKS, 1], landmarks[CHEEKS, 0]]))
        outlines = [(*eye.upper_lid, *eye.lower_lid[::-1]) for eye in EYES] + [OUTER_UPPER_LIP + OUTER_LOWER_LIP[::-1]]
        for outline in outlines:
            cv2.fillPoly(picture, [landmarks[list(outline)]], (skin,) * 3)
        return picture

    return replace(grey, surroundings=carved(grey.surroundings))


def test_teeth_of_a_statue_are_of_its_stone(generator, grey, statue):
    face = posed(grey, parted(grey, 0.1))
    between = inside(face.landmarks[0], grey.image.shape)
    photographed, carved = (
        rendered(generator, generator.prepare(portrait), face)[0][between].astype(float) for portrait in (grey, statue)
    )
    skin = np.median(grey.image[tuple(grey.landmarks[CHEEKS, 1::-1].astype(int).T)])
    assert np.quantile(photographed, 0.98) > 1.05 * skin
    assert np.quantile(carved, 0.95) < skin


def test_a_person_in_black_and_white_with_pale_lips_and_irises_is_no_statue(grey, statue):
    picture, photo = seen(statue)
    assert estimate_colours(picture, photo).depiction.stone > 0.9
    for eye in EYES:
        x, y = photo.posed[0, eye.pupil, :2].round().long().tolist()
        picture[..., y - 2 : y + 3, x - 2 : x + 3] = 0.1
    assert estimate_colours(picture, photo).depiction.stone < 0.1


def with_large_eyes(portrait: Portrait) -> Portrait:
    """A portrait with the eyes of a cartoon."""
    normalized = portrait.normalized.copy()
    for eye in EYES:
        points = [*eye.upper_lid, *eye.lower_lid, *eye.iris_rim]
        normalized[points] = normalized[eye.pupil] + 1.5 * (normalized[points] - normalized[eye.pupil])
    return replace(portrait, normalized=normalized)


def test_a_cartoon_shows_no_lower_teeth(generator, closed):
    face, lower = posed(closed, parted(closed, 0.14)), []
    for portrait in (closed, with_large_eyes(closed)):
        frame = rendered(generator, generator.prepare(portrait, refined=False), face)[0]
        profile = mouth_profile(frame, face.landmarks[0])
        lower.append(profile[-2:].max() / profile[:4].max())
    assert lower[1] < 0.8 * lower[0]


def test_a_drawing_in_flat_colours_is_a_cartoon_and_a_photo_is_none(closed):
    picture, photo = seen(closed)
    assert estimate_colours(picture, photo).depiction.cartoon == 0
    drawing = np.full_like(closed.surroundings, (230, 190, 170))
    lips = INNER_UPPER_LIP, INNER_LOWER_LIP, OUTER_UPPER_LIP, OUTER_LOWER_LIP
    for curve in (*lips, *(lid for eye in EYES for lid in (eye.upper_lid, eye.lower_lid))):
        points = photo.host.posed[0, list(curve), :2].round().astype(np.int32)
        cv2.polylines(drawing, [points], False, (20, 10, 10), 2)
    for eye in EYES:
        cv2.circle(drawing, photo.host.posed[0, eye.pupil, :2].round().astype(int).tolist(), 5, (20, 10, 10), -1)
    drawing[:60] = (60, 80, 200)  # it has more than one colour
    for blurs, cartoon in ((0, 1), (4, 0)):  # a blurred photo has no texture either
        soft = cv2.GaussianBlur(drawing, (0, 0), blurs) if blurs else drawing
        picture = torch.tensor(soft).permute(2, 0, 1)[None].float() / 255
        assert estimate_colours(picture, photo).depiction.cartoon == cartoon
    flesh = estimate_colours(torch.tensor(drawing).permute(2, 0, 1)[None].float() / 255, photo).tongue
    assert flesh[0] / flesh[1] > 1.2 * 230 / 190  # its lips have the colour of skin, its tongue has not


def test_a_pencil_drawing_is_a_cartoon_whose_teeth_are_no_lighter_than_its_paper(closed):
    _, photo = seen(closed)
    brightness, grain = closed.surroundings.mean(2), np.random.default_rng(0).normal(0, 4, (640, 640, 1))
    strokes = (brightness / cv2.GaussianBlur(brightness, (0, 0), 3).clip(1)).clip(0, 1)[..., None] ** 2
    drawing = (strokes * (180, 178, 172) + grain).clip(0, 255)
    colours = estimate_colours(torch.tensor(drawing).permute(2, 0, 1)[None].float() / 255, photo)
    assert colours.depiction.cartoon > 0.9
    assert colours.enamel.max() < 185 / 255


def test_the_refinement_leaves_cartoons_alone(generator, closed):
    cartoon, face = with_large_eyes(closed), posed(closed, parted(closed, 0.1))
    drawn, refined = (
        rendered(generator, generator.prepare(cartoon, refined=refined), face) for refined in (False, True)
    )
    np.testing.assert_array_equal(drawn, refined)


def test_teeth_of_a_cartoon_are_one_band(generator, closed):
    face, depths = posed(closed, parted(closed, 0.06)), []
    for portrait in (closed, with_large_eyes(closed)):
        frame = rendered(generator, generator.prepare(portrait, refined=False), face)[0]
        row = upper_arch(frame, face.landmarks[0])
        depths.append(peak_prominences(-row, find_peaks(-row)[0])[0].max())
    assert depths[1] < 0.6 * depths[0]  # a person's teeth nearly touch


def test_a_mouth_held_open_does_not_flicker(generator, closed):
    face = posed(closed, parted(closed, 0.1).repeat(6, 0))
    frames = rendered(generator, generator.prepare(closed), face)
    assert np.abs(np.diff(frames.astype(int), axis=0)).max() <= 1


def test_teeth_move_smoothly_with_the_head(generator, closed):
    prepared = generator.prepare(closed)
    normalized = parted(closed, 0.1)
    frames = [rendered(generator, prepared, posed(closed, normalized, yaw=yaw))[0] for yaw in (0, 0.25, 0.5)]
    between = inside(posed(closed, normalized).landmarks[0], frames[0].shape)
    assert mean_difference(frames[0][between], frames[1][between]) < 6


def test_the_anatomy_is_an_adults():
    anatomy = load_anatomy()
    x, y, z = anatomy.vertices.T
    lower = anatomy.jaw > 0.5
    upper_teeth, lower_teeth = ((anatomy.part == TOOTH) & which for which in (~lower, lower))
    assert 35 < np.ptp(x[upper_teeth & (z < 15)]) < 55  # canines and premolars
    assert abs(y[upper_teeth & (z < 3)].max()) < 1  # the incisors' edge is the origin
    assert y[lower_teeth & (z < 6)].min() < 0  # behind which the lower ones end
    assert {TOOTH, GUM, TONGUE} == set(anatomy.part)
    assert (anatomy.jaw[anatomy.part == TONGUE] == 1).all()
    np.testing.assert_allclose(np.linalg.norm(anatomy.normals, axis=1), 1, atol=1e-5)
    assert anatomy.triangles.max() < len(anatomy.vertices)
