"""What stage 1 promises about lips."""

from pathlib import Path

import numpy as np
import pytest

from space_core.face.topology import EYES, INNER_LOWER_LIP, INNER_UPPER_LIP, NUM_POINTS, RIGID_POINTS, canonical_face
from space_core.media.audio import load_speech
from space_core.motion.emotion import emotion_curve
from space_core.motion.speech2landmarks import FADE, HOP, WINDOW, load_speech2landmarks
from space_core.timing import SAMPLE_RATE, number_of_frames

EXAMPLES = Path(__file__).parents[1] / "examples"
CLOSED = 0.015  # outer-eye-corner distances


def voice(seconds: float) -> np.ndarray:
    """Somebody reading (N,) float32, over and over."""
    return np.resize(load_speech(EXAMPLES / "english_portrait.flac"), round(seconds * SAMPLE_RATE))


def say(speech, portrait=None, emotion="neutral", intensity=1.0) -> np.ndarray:
    portrait = shut_face() if portrait is None else portrait
    curve = emotion_curve(emotion, intensity, number_of_frames(len(speech)))
    return np.concatenate(list(load_speech2landmarks("cpu").speak(speech, portrait, curve)))


def lip_opening(landmarks: np.ndarray) -> np.ndarray:
    return landmarks[..., INNER_LOWER_LIP[5], 1] - landmarks[..., INNER_UPPER_LIP[5], 1]


def shut_face() -> np.ndarray:
    """The canonical face, whose mouth is open, with its lips brought together."""
    face = canonical_face().vertices.copy()
    upper, lower = list(INNER_UPPER_LIP[1:-1]), list(INNER_LOWER_LIP[1:-1])
    face[upper] = face[lower] = (face[upper] + face[lower]) / 2
    return face


@pytest.mark.parametrize("num_samples", [4800, 16_000, 31_999, 32_000, 32_001, 100_000, 12 * SAMPLE_RATE])
def test_there_is_a_frame_for_every_40_ms_begun(num_samples):
    neutral = emotion_curve("neutral", 0, number_of_frames(num_samples))
    chunks = list(load_speech2landmarks("cpu").speak(voice(num_samples / SAMPLE_RATE), shut_face(), neutral))
    assert sum(map(len, chunks)) == number_of_frames(num_samples) == -(-num_samples // 640)
    assert all(chunk.shape[1:] == (NUM_POINTS, 3) and chunk.dtype == np.float32 for chunk in chunks)
    assert max(map(len, chunks)) <= WINDOW and len(chunks[0]) < WINDOW
    assert all(np.isfinite(chunk).all() for chunk in chunks)


def test_speech_opens_the_mouth_and_silence_closes_it_and_holds_it_still():
    speech = np.concatenate([voice(2), np.zeros(2 * SAMPLE_RATE, np.float32), voice(1)])
    opening = lip_opening(say(speech))
    assert np.ptp(opening[:50]) > 0.04
    assert np.abs(opening[60:90]).max() < CLOSED
    assert opening[60:90].std() < 1e-6


def test_silence_closes_the_mouth_of_a_photo_with_an_open_one():
    face = canonical_face().vertices
    assert lip_opening(face) > 0.08
    said = say(np.zeros(SAMPLE_RATE, np.float32), face)
    assert np.abs(lip_opening(said)).max() < 2 * CLOSED
    assert np.abs(said - face)[:, RIGID_POINTS].max() < 0.01


def test_silence_leaves_a_closed_mouth_as_it_is():
    assert np.abs(say(np.zeros(SAMPLE_RATE, np.float32)) - shut_face()).max() < CLOSED


def test_speech_moves_no_bones_lids_or_irises():
    motion = say(voice(2)) - shut_face()
    still = [
        *RIGID_POINTS,
        *range(468, NUM_POINTS),
        *(point for eye in EYES for point in (*eye.upper_lid, *eye.lower_lid)),
    ]
    assert np.abs(motion[:, still]).max() < 1e-6
    assert np.abs(motion).max() > 0.04


def test_the_same_speech_is_said_the_same_way_twice():
    assert np.array_equal(say(voice(5)), say(voice(5)))


def test_windows_leave_no_seams():
    opening = lip_opening(say(load_speech(EXAMPLES / "english_portrait.flac")))
    steps = np.abs(np.diff(opening))
    borders = [place + shift for place in range(HOP - FADE // 2, len(steps), HOP) for shift in (-1, 0, 1)]
    assert steps[borders].mean() < 2 * steps.mean()
    assert steps[borders].max() <= steps.max()


def test_a_voice_opens_the_lips_and_shuts_them_again_and_again():
    opening = lip_opening(say(load_speech(EXAMPLES / "english_portrait.flac")))
    wide = np.percentile(opening, 95) - opening.min()
    opening = (opening - opening.min()) / wide
    assert wide > 0.06
    # They part in each of the seven seconds, and meet several times.
    assert all(second.max() > 0.5 for second in np.array_split(opening, 7))
    meetings = np.diff((opening < 0.1).astype(int)) == 1
    assert 7 <= meetings.sum() <= 40


@pytest.mark.parametrize("after", [0, 1], ids=["at the end", "in the midst"])
def test_noise_without_words_that_breaks_off_leaves_the_mouth_shut(after):
    noise = 0.1 * np.random.default_rng(0).standard_normal(3 * SAMPLE_RATE).astype(np.float32)
    assert lip_opening(say(np.pad(noise, (0, after * SAMPLE_RATE)))).max() < 2 * CLOSED


def test_a_loud_and_a_quiet_recording_open_the_mouth_alike():
    speech = voice(3)
    loud, quiet = lip_opening(say(speech * 3)), lip_opening(say(speech / 10))
    assert np.abs(loud - quiet).max() < 0.01


def test_lips_never_pass_through_each_other():
    assert lip_opening(say(voice(4))).min() > -1e-6
