"""What stage 1 promises about emotions."""

import numpy as np
import pytest
from conftest import EXAMPLES
from faces import closed_face, lid_opening, lip_opening, predict

from space_core.errors import SpaceError
from space_core.face.topology import CHIN, EYES, RIGID_POINTS, canonical_face
from space_core.media.audio import load_speech
from space_core.motion.action_units import unit_offsets, unit_strengths
from space_core.motion.blink import apply_blink
from space_core.motion.emotion import emotion_curve
from space_core.motion.emotion_labels import EMOTIONS, MAX_INTENSITY, check_emotion
from space_core.motion.emotion_network import expressive_motion
from space_core.timing import FPS, SAMPLE_RATE

EXPRESSIVE = EMOTIONS[1:]
PARTING = ("disgusted", "fear", "happy", "surprised")
BLENDS = ("happy+surprised", "0.7 angry + 0.3 disgusted", "sad+fear+contempt")


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return load_speech(EXAMPLES / "english_starlight.flac")[: 3 * SAMPLE_RATE]


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return closed_face()


# The face


def test_no_emotion_changes_nothing(speech, face):
    neutral = predict(speech, face)
    for emotion in (*EMOTIONS, *BLENDS, "0:sad, 1:happy@0"):
        assert np.array_equal(neutral, predict(speech, face, emotion, intensity=0))
    for intensity in (0.5, MAX_INTENSITY):
        assert np.array_equal(neutral, predict(speech, face, "neutral", intensity))


@pytest.mark.parametrize("emotion", [*EXPRESSIVE, *BLENDS])
def test_distance_from_neutral_grows_with_the_intensity(speech, face, emotion):
    neutral = predict(speech, face)
    emotional = [predict(speech, face, emotion, intensity) for intensity in (0.1, 0.25, 0.5, 1.0, 1.25, 1.5)]
    distances = [np.linalg.norm(landmarks - neutral, axis=(1, 2)) for landmarks in emotional]
    assert (np.diff(distances, axis=0) > 0).all()  # in every frame
    assert np.linalg.norm(emotional[3] - neutral, axis=-1).max() > 0.03


@pytest.mark.parametrize("emotion", EXPRESSIVE)
def test_emotion_neither_closes_nor_freezes_the_mouth(speech, face, emotion):
    neutral, emotional = lip_opening(predict(speech, face)), lip_opening(predict(speech, face, emotion))
    assert np.corrcoef(emotional, neutral)[0, 1] > (0.95 if emotion == "surprised" else 0.97)
    assert 0.8 < emotional.std() / neutral.std() < 1.5
    assert emotional.max() > 0.8 * neutral.max()


@pytest.mark.parametrize("emotion", EXPRESSIVE)
def test_a_silent_mouth_is_parted_by_the_emotions_that_part_lips(face, emotion):
    silence = np.zeros(SAMPLE_RATE, np.float32)
    opening = [lip_opening(predict(silence, face, emotion, intensity)) for intensity in (0.5, 1.0, MAX_INTENSITY)]
    if emotion in PARTING:
        assert opening[1].min() > 0.03  # nearly 3 mm, so that teeth show
        assert (np.diff(opening, axis=0) > 0).all()
    else:
        assert np.abs(opening).max() < 0.015


@pytest.mark.parametrize("emotion", EXPRESSIVE)
def test_lips_meet_where_speech_shuts_them(speech, face, emotion):
    neutral, emotional = lip_opening(predict(speech, face)), lip_opening(predict(speech, face, emotion))
    shut = neutral < 1e-3
    assert shut.any() and (emotional[shut] < 0.15 * emotional.max()).all()


@pytest.mark.parametrize("emotion", PARTING)
def test_lips_part_half_a_second_after_speech_as_in_silence(speech, face, emotion):
    pause = np.concatenate([speech, np.zeros(SAMPLE_RATE, np.float32)])
    parted = lip_opening(predict(pause, face, emotion))[len(speech) * FPS // SAMPLE_RATE + FPS // 2 :]
    silent = lip_opening(predict(np.zeros(SAMPLE_RATE, np.float32), face, emotion)).mean()
    assert parted.max() > 0.8 * silent


def test_surprise_opens_the_mouth_further(speech, face):
    neutral, emotional = lip_opening(predict(speech, face)), lip_opening(predict(speech, face, "surprised"))
    assert (emotional > neutral + 0.01)[neutral > 0.05].all()


def test_surprise_drops_the_jaw_of_a_relaxed_mouth_as_fear_stretches_it(face):
    motion = {emotion: at_rest(face, emotion, 1.0) - face for emotion in ("fear", "surprised")}
    width = {emotion: moved[291, 0] - moved[61, 0] for emotion, moved in motion.items()}
    assert width["surprised"] < -0.05 and width["fear"] > 0.15
    assert motion["surprised"][CHIN, 1] > 2 * motion["fear"][CHIN, 1] > 0
    # The upper lip stays down: its lift is tense and bares teeth.
    assert motion["surprised"][13, 1] > -0.01 > motion["fear"][13, 1]


def low_brows(face: np.ndarray) -> np.ndarray:
    """The face with half the distance between its brows and its upper lids."""
    low, canonical = face.copy(), canonical_face().vertices
    brows = (canonical[:, 1] < -0.08) & (canonical[:, 1] > -0.3)
    low[brows, 1] += 0.08
    return low


def brow_height(face: np.ndarray) -> np.ndarray:
    pairs = zip(EYES, ([55, 65, 52], [285, 295, 282]), strict=True)
    return np.array([face[list(eye.upper_lid[3:6]), 1].mean() - face[brow, 1].mean() for eye, brow in pairs])


def test_anger_does_not_press_low_brows_onto_the_eyes(face):
    low = low_brows(face)
    assert (brow_height(low) < 0.6 * brow_height(face)).all()
    left = []
    for intensity in (0.25, 0.5, 1.0, 1.25, 1.5):
        emotional = (
            low + expressive_motion(np.zeros((1, 478, 3)), emotion_curve("angry", intensity, 1), low, np.zeros(1))[0]
        )
        left.append(brow_height(emotional))
        assert (left[-1] > 0.25 * brow_height(low)).all()
    assert (np.diff(left, axis=0) < 0).all()  # the stronger, the lower


@pytest.mark.parametrize("emotion", ["fear", "surprised"])
def test_narrow_eyes_widen_more_than_others(face, emotion):
    narrow = apply_blink(face[None], np.array([0.4]))[0]
    widened = [lid_opening(at_rest(each, emotion, 1)[None]) - lid_opening(each[None]) for each in (face, narrow)]
    assert (widened[1] > 1.3 * widened[0]).all()


@pytest.mark.parametrize("emotion", ["fear", "surprised"])
def test_low_brows_rise_with_the_intensity_but_do_not_stretch_the_skin_below_them_to_a_blur(face, emotion):
    low = low_brows(face)
    left = [brow_height(at_rest(low, emotion, intensity)) for intensity in (0, 0.5, 1.0, 1.5)]
    assert (np.diff(left, axis=0) > 0).all()
    assert (left[-1] < 1.9 * left[0]).all()


def test_disgust_does_not_lift_the_wings_of_the_nose_so_far_that_its_tip_hangs_down(face):
    lifted = [(face - at_rest(face, "disgusted", intensity))[[64, 98, 294, 327], 1] for intensity in (0.5, 1.0, 1.5)]
    assert (np.diff(lifted, axis=0) > 0).all()
    assert lifted[1].min() > 0.035 and lifted[2].max() < 0.055  # 3 and 5 mm


def smiling(face: np.ndarray) -> np.ndarray:
    """The face with a full smile, as a photo may show it."""
    return face + unit_offsets(unit_strengths("6:0.5, 12:1", 1))[0]


def corner_height(face: np.ndarray) -> np.ndarray:
    """(…,) how far the mouth corners of faces (…, 478, 3) are above the middle of the lips."""
    return face[..., [13, 14], 1].mean(-1) - face[..., [61, 291], 1].mean(-1)


def at_rest(face: np.ndarray, emotion: str, intensity: float) -> np.ndarray:
    """The face (478, 3) with an emotion, saying nothing."""
    curve = emotion_curve(emotion, intensity, 1)
    return face + expressive_motion(np.zeros((1, 478, 3)), curve, face, np.zeros(1))[0]


def test_fear_raises_the_inner_brows_draws_them_together_and_widens_the_eyes(face):
    afraid = at_rest(face, "fear", 1.0)
    moved = afraid - face
    inner, outer = -moved[[55, 285], 1], -moved[[70, 300], 1]
    assert inner.min() > 0.05
    assert (outer < 0.7 * inner).all() and (outer > 0).all()
    assert moved[55, 0] > 0 > moved[285, 0]
    assert lid_opening(afraid).min() > 1.2 * lid_opening(face).min()


def test_contempt_raises_one_corner_of_the_mouth_and_lowers_the_lids(face):
    contemptuous = at_rest(face, "contempt", 1.0)
    right, left = (face - contemptuous)[[61, 291], 1]
    assert left > 0.055 and right < 0
    assert left - right < 0.12  # more would twist the lips
    assert lid_opening(contemptuous).max() < 0.9 * lid_opening(face).max()


def test_contempt_raises_the_brow_above_the_raised_corner_of_the_mouth_alone(face):
    raised = (face - at_rest(face, "contempt", 1.0))[:, 1]
    right, left = raised[[63, 105, 66]].mean(), raised[[293, 334, 296]].mean()
    assert left > 0.03 and right < left - 0.04
    assert abs(raised[[55, 107]].mean()) < 0.015  # brows that both rise look bored


@pytest.mark.parametrize("emotion", ["angry", "disgusted", "fear", "sad", "surprised"])
def test_half_an_emotion_that_contradicts_the_smile_of_a_photo_leaves_nothing_of_it(face, emotion):
    smile = smiling(face)
    heights = [corner_height(at_rest(smile, emotion, intensity)) for intensity in (0, 0.1, 0.25, 0.4, 0.5)]
    assert heights[0] == corner_height(smile)
    assert (np.diff(heights) < 0).all()  # the stronger, the less of it
    for intensity in (0.5, 1.0, MAX_INTENSITY):
        without = corner_height(at_rest(face, emotion, intensity))
        assert -0.06 < corner_height(at_rest(smile, emotion, intensity)) - without < 0.015


def test_contempt_on_a_smiling_photo_raises_one_corner_of_the_mouth_alone(face):
    raised = [side[[13, 14], 1].mean() - side[[61, 291], 1] for side in (face, at_rest(smiling(face), "contempt", 1))]
    right, left = raised[1] - raised[0]
    assert left > 0.06 and right < 0


def test_joy_keeps_the_smile_of_a_photo(face):
    assert corner_height(at_rest(smiling(face), "happy", 1)) > corner_height(smiling(face))


def test_joy_curves_a_mouth_that_does_not_smile_yet_more_than_one_that_does(face):
    def curved(rest: np.ndarray, intensity: float) -> float:
        return corner_height(at_rest(rest, "happy", intensity)) - corner_height(rest)

    assert curved(face, 1) > 0.1
    assert curved(face, 1) > curved(smiling(face), 1) + 0.03
    assert curved(face, MAX_INTENSITY) > curved(face, 1) > curved(face, 0.5)


def test_anger_takes_back_even_a_faint_smile(face):
    faint = face + 0.3 * (smiling(face) - face)
    assert corner_height(at_rest(face, "angry", 1)) < corner_height(face)
    assert corner_height(at_rest(faint, "angry", 1)) < corner_height(face)


def test_anger_lowers_the_corners_of_a_smile_below_those_of_other_mouths_as_its_teeth_stay_curved(face):
    assert corner_height(at_rest(smiling(face), "angry", 1)) < corner_height(at_rest(face, "angry", 1)) - 0.02


@pytest.mark.parametrize("emotion", ["happy", "surprised"])
def test_joy_and_surprise_remove_the_frown_of_a_photo_which_looked_malicious(face, emotion):
    def inner_brows(rest: np.ndarray, intensity: float) -> float:  # below the rest of the brows
        height = at_rest(rest, emotion, intensity)[:, 1]
        return height[[55, 107, 285, 336]].mean() - height[[52, 53, 282, 283]].mean()

    frown = face + unit_offsets(unit_strengths("4:1", 1))[0]
    lowered = [inner_brows(frown, intensity) for intensity in (0, 0.25, 0.5, 1.0)]
    assert (np.diff(lowered) < -0.005).all()
    assert -0.03 < lowered[-1] - inner_brows(face, 1) < 0.01


@pytest.mark.parametrize("emotion", ["contempt", "fear", "surprised"])
def test_lashes_stay_at_the_edge_of_a_lid_that_rises_or_falls(face, emotion):
    emotional = at_rest(face, emotion, 1)
    for eye, above in zip(EYES, ((27, 29), (257, 259)), strict=True):
        before, after = (each[list(eye.upper_lid[3:6]), 1].mean() - each[above, 1].mean() for each in (face, emotional))
        assert 0.8 < after / before < 1.3


def test_surprise_shows_white_above_the_iris_rather_than_below_it(face):
    motion = at_rest(face, "surprised", 1) - face
    for eye in EYES:
        raised, lowered = -motion[list(eye.upper_lid[3:6]), 1].mean(), motion[list(eye.lower_lid[3:6]), 1].mean()
        assert raised > 0.03 and raised > 2 * lowered


def test_joy_lifts_the_hanging_corners_of_a_mouth(face):
    hanging = face + unit_offsets(unit_strengths("15:1", 1))[0]
    lower = corner_height(face) - corner_height(hanging)
    assert lower > 0.04
    assert corner_height(at_rest(face, "happy", 1)) - corner_height(at_rest(hanging, "happy", 1)) < 0.6 * lower
    assert corner_height(at_rest(hanging, "sad", 1)) < corner_height(hanging)


def test_joy_leaves_a_hanging_mouth_shut_where_speech_shuts_it(face):
    hanging = face + unit_offsets(unit_strengths("15:1", 1))[0]
    motion = expressive_motion(np.zeros((2, 478, 3)), emotion_curve("happy", 1, 2), hanging, np.array([1.0, 0.0]))
    shut, parted = lip_opening(hanging + motion) - lip_opening(hanging[None])
    assert shut < 0.003 and parted > 0.03  # 0.3 and 3 mm


def spread_by_joy(rest: np.ndarray) -> float:
    """How much wider joy makes the mouth of a face (478, 3)."""
    left, right = (at_rest(rest, "happy", 1)[corner, 0] - rest[corner, 0] for corner in (61, 291))
    return right - left


def test_joy_spreads_a_mouth_that_hangs_no_further_than_others(face):
    hanging = face + unit_offsets(unit_strengths("15:1", 1))[0]
    assert spread_by_joy(hanging) < spread_by_joy(face) + 0.05


def test_joy_spreads_a_mouth_that_smiles_already_by_half(face):
    assert 0 < spread_by_joy(smiling(face)) < 0.6 * spread_by_joy(face)


def test_a_smile_goes_as_far_as_a_blend_contradicts_it(face):
    smile = smiling(face)
    half = at_rest(smile, "0.5 happy + 0.5 sad", 1) - smile
    both = 0.5 * (at_rest(smile, "happy", 1) - smile) + 0.5 * (at_rest(smile, "sad", 1) - smile)
    np.testing.assert_allclose(half, both, atol=1e-6)


def test_blends_are_the_sum_of_their_parts(face):
    def offsets(emotion):
        return expressive_motion(np.zeros((1, 478, 3)), emotion_curve(emotion, 1.0, 1), face, np.zeros(1))

    blend = offsets("0.7 happy + 0.3 surprised")
    np.testing.assert_allclose(blend, 0.7 * offsets("happy") + 0.3 * offsets("surprised"), atol=1e-6)


def test_an_emotion_changes_speech_motion(speech, face):
    neutral, emotional = predict(speech, face), predict(speech, face, "happy")
    change = (emotional - neutral) - (emotional - neutral).mean(0)
    assert np.linalg.norm(change[:, [61, 291]], axis=-1).std() > 1e-4


@pytest.mark.parametrize("emotion", EXPRESSIVE)
def test_bones_and_irises_stay_where_they_are(speech, face, emotion):
    change = predict(speech, face, emotion) - predict(speech, face)
    assert np.abs(change[:, [*RIGID_POINTS, *range(468, 478)]]).max() < 1e-6


@pytest.mark.parametrize("emotion", sorted(set(EXPRESSIVE) - {"contempt"}))
def test_all_but_contempt_are_symmetric(emotion):
    rest = canonical_face().vertices
    emotional = expressive_motion(np.zeros((1, 478, 3)), emotion_curve(emotion, 1.0, 1), rest, np.zeros(1))[0]
    np.testing.assert_allclose(emotional, emotional[canonical_face().mirror] * [-1, 1, 1], atol=1e-3)


@pytest.mark.parametrize("emotion", EXPRESSIVE)
@pytest.mark.parametrize("shut", [0.0, 0.5, 0.7])
def test_no_emotion_shuts_eyes_even_half_shut_ones(face, emotion, shut):
    face = apply_blink(face[None], np.array([shut]))[0]
    emotional = face + expressive_motion(
        np.zeros((1, 478, 3)), emotion_curve(emotion, MAX_INTENSITY, 1), face, np.zeros(1)
    )
    assert (lid_opening(emotional) > 0.6 * lid_opening(face)).all()


# The emotion in words


def weight(curve: np.ndarray, emotion: str) -> np.ndarray:
    return curve[:, EMOTIONS.index(emotion)]


def test_a_label_is_constant_and_may_have_its_own_intensity():
    np.testing.assert_array_equal(weight(emotion_curve("happy", 0.5, 30), "happy"), 0.5)
    np.testing.assert_allclose(weight(emotion_curve(" Happy @ 1.2 ", 0.5, 30), "happy"), 1.2, rtol=1e-6)


def test_shares_of_a_blend_add_up_to_one():
    curve = emotion_curve("happy+surprised", 1.0, 1)
    assert weight(curve, "happy") == weight(curve, "surprised") == 0.5
    curve = emotion_curve("7 happy + 3 sad @ 0.5", 1.0, 1)
    np.testing.assert_allclose([weight(curve, "happy")[0], weight(curve, "sad")[0]], [0.35, 0.15], rtol=1e-6)


def test_a_timeline_reaches_its_emotions_smoothly():
    curve = emotion_curve("0:neutral, 2.5:happy@0.8, 6:surprised", 1.0, 10 * FPS)
    assert curve.shape == (10 * FPS, 8) and curve.dtype == np.float32
    for second, emotion, value in ((0, "neutral", 1), (2.1, "neutral", 1), (2.9, "happy", 0.8), (5.6, "happy", 0.8)):
        np.testing.assert_allclose(weight(curve, emotion)[round(second * FPS)], value, atol=1e-6)
    np.testing.assert_allclose(weight(curve, "surprised")[round(6.4 * FPS) :], 1, atol=1e-6)
    assert 0.3 < weight(curve, "happy")[round(2.5 * FPS)] < 0.5  # half way at the time given
    assert np.abs(np.diff(curve, axis=0)).max() < 0.11 and (curve >= 0).all()


def test_a_timeline_starts_with_its_entry_for_0_or_neutral():
    assert weight(emotion_curve("0:sad, 2:happy", 1.0, 100), "sad")[0] == 1
    assert weight(emotion_curve("2:happy", 1.0, 100), "neutral")[0] == 1


def test_the_order_of_a_timeline_does_not_matter_and_overlapping_transitions_stay_in_range():
    np.testing.assert_array_equal(emotion_curve("2:happy, 0:sad", 1.0, 99), emotion_curve("0:sad, 2:happy", 1.0, 99))
    curve = emotion_curve("0:sad, 1:happy, 1.1:angry, 1.2:fear@1.5", 1.0, 99)
    assert (curve >= 0).all() and curve.sum(1).max() <= MAX_INTENSITY + 1e-5


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("bored", "'bored'"),
        ("", "empty"),
        ("happy@1.6", "1.5"),
        ("happy@", "@"),
        ("happy@nan", "'nan'"),
        ("happy, sad", "seconds"),
        ("0:happy, sad", "'sad'"),
        ("soon:happy", "'soon'"),
        ("-1:happy", "'-1'"),
        ("0:happy,", "comma"),
        ("0:happy, 0.0:sad", "twice"),
        ("0 happy", "above 0"),
        ("happy++sad", "emotion"),
        ("happy\x00", "emotion"),
        ("h" * 5000, "1000"),
        ("9" * 500 + " happy", "shares"),
    ],
)
def test_mistakes_are_refused_with_a_sentence_that_names_them(wrong, named):
    for parse in (check_emotion, lambda text: emotion_curve(text, 1.0, 10)):
        with pytest.raises(SpaceError, match=r"\.$") as refusal:
            parse(wrong)
        assert named in str(refusal.value) and len(str(refusal.value)) < 250


@pytest.mark.parametrize("intensity", [-0.1, 1.6, float("nan")])
def test_intensities_out_of_range_are_refused(intensity):
    with pytest.raises(SpaceError, match=r"1\.5"):
        emotion_curve("happy", intensity, 10)
