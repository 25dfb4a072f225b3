"""What stage 1 promises about the upper face in speech, and about the prosody that it follows."""

import numpy as np
import pytest
from conftest import EXAMPLES
from scipy.signal import chirp

from space_core.media.audio import load_speech
from space_core.motion.emotion import emotion_curve, expression_dynamics
from space_core.motion.emotion_labels import EMOTIONS, MAX_INTENSITY
from space_core.motion.prosody import ACCENTED, Prosody, analyze_prosody
from space_core.motion.upper_face import BROWS, upper_face_model, upper_face_motion, upper_face_units
from space_core.timing import FPS, SAMPLE_RATE, number_of_frames

SEEDS = range(8)


def prosody_of(speech: np.ndarray) -> Prosody:
    return analyze_prosody(speech, number_of_frames(len(speech)))


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return np.tile(load_speech(EXAMPLES / "english_starlight.flac"), 3)


@pytest.fixture(scope="module")
def prosody(speech) -> Prosody:
    return prosody_of(speech)


def test_pitch_is_that_of_the_voice():
    times = np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE
    # A buzz whose pitch rises by an octave.
    buzz = np.sign(chirp(times, 100, 4, 200, method="logarithmic")).astype(np.float32) * 0.2
    pitch = prosody_of(buzz).pitch
    assert abs(np.median(pitch)) < 1
    np.testing.assert_allclose(pitch[-10] - pitch[9], 12 * 80 / 100, atol=1.5)


def test_silence_has_no_syllables_and_no_pitch():
    silent = prosody_of(np.zeros(SAMPLE_RATE, np.float32))
    assert not len(silent.syllables) and not silent.pitch.any() and not silent.accent.any()


def test_steady_noise_without_speech_raises_no_brows():
    noise = (0.003 * np.random.default_rng(0).standard_normal(6 * SAMPLE_RATE)).astype(np.float32)
    heard = prosody_of(noise)
    assert not heard.speaking.any() and not upper_face_units(heard, 1.0, 0).any()


def test_speech_in_noise_as_loud_as_it_is_heard(speech, prosody):
    noise = speech.std() * np.random.default_rng(0).standard_normal(len(speech))
    heard = prosody_of((speech + noise).astype(np.float32))
    assert np.corrcoef(heard.speaking, prosody.speaking)[0, 1] > 0.5


def test_some_syllables_are_accented(prosody):
    assert 1.5 < len(prosody.syllables) / len(prosody.loudness) * FPS < 6
    assert 0.15 < (prosody.accents > ACCENTED).mean() < 0.6


def test_the_upper_face_is_still_in_silence_and_without_expressiveness(prosody):
    silent = prosody_of(np.zeros(10 * SAMPLE_RATE, np.float32))
    assert not upper_face_units(silent, 1.0, 0).any()
    assert not upper_face_units(prosody, 0.0, 0).any()


def test_brows_move_as_far_as_recorded_and_more_with_more_expressiveness(prosody):
    deviation = np.mean([upper_face_motion(prosody, seed)[:, BROWS].std() for seed in SEEDS])
    assert 0.7 < deviation / upper_face_model().deviation[BROWS] < 1.4
    amounts = [np.abs(upper_face_units(prosody, amount, 0)).mean() for amount in (0, 0.5, 1, 1.5)]
    assert (np.diff(amounts) > 0).all()


def test_brows_are_raised_more_often_on_accented_syllables(prosody):
    accented = np.maximum(prosody.syllables[prosody.accents > ACCENTED] - 2, 0)
    speaking = prosody.speaking > 0.5
    ratios = []
    for seed in range(24):
        height = upper_face_motion(prosody, seed)[:, BROWS]
        raised = height > np.quantile(height, 0.75)
        ratios.append(raised[accented].mean() / raised[speaking].mean())
    assert np.mean(ratios) > 1.05


def test_the_same_seed_gives_the_same_upper_face_and_another_seed_another(prosody):
    np.testing.assert_array_equal(upper_face_units(prosody, 1.0, 3), upper_face_units(prosody, 1.0, 3))
    brows = np.array([upper_face_motion(prosody, seed)[:, BROWS] for seed in SEEDS])
    alike = np.corrcoef(brows)[np.triu_indices(len(brows), 1)]
    assert alike.mean() < 0.5


def test_the_upper_face_starts_from_the_photo_and_never_jumps(prosody):
    units = upper_face_units(prosody, 1.5, 1)
    assert not units[0].any() and np.abs(units).max() <= 1
    assert np.abs(np.diff(units, axis=0)).max() < 0.3


@pytest.mark.parametrize("emotion", EMOTIONS[1:])
def test_expressions_grow_from_the_photo_and_follow_the_speech(prosody, emotion):
    column, num_frames = EMOTIONS.index(emotion), len(prosody.loudness)
    shown = [
        expression_dynamics(emotion_curve(emotion, intensity, num_frames), prosody, 1.0)[:, column]
        for intensity in (0, 0.5, 1.0, MAX_INTENSITY)
    ]
    assert not shown[0].any()
    assert all(each[0] == 0 for each in shown)
    assert (np.diff(shown, axis=0)[:, 1:] > 0).all() and np.max(shown) <= MAX_INTENSITY
    begun = np.flatnonzero(shown[2] > 0.8)[0] / FPS
    assert 0.3 <= begun <= 0.8
    settled = shown[2][FPS:]
    assert settled.min() > 0.8 and 0.02 < settled.std() < 0.2
    accents = prosody.syllables[(prosody.accents > 1.5) & (prosody.syllables > FPS)]
    assert shown[2][accents].mean() > settled.mean()


def test_without_expressiveness_an_expression_is_constant_after_its_onset(prosody):
    shown = expression_dynamics(emotion_curve("happy", 1.0, len(prosody.loudness)), prosody, 0.0)
    np.testing.assert_allclose(shown[FPS:, EMOTIONS.index("happy")], 1)
