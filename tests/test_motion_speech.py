"""What stage 1 promises about lips."""

import numpy as np
import pytest
import torch
from conftest import EXAMPLES
from faces import analysed, closed_face, lip_opening, predict
from safetensors.numpy import load_file

from space_core.assets import weights_path
from space_core.face.topology import EYES, NUM_POINTS, RIGID_POINTS, canonical_face
from space_core.measures.lips import mouth_measures
from space_core.media.audio import load_speech
from space_core.motion.action_units import unit_offsets, unit_strengths
from space_core.motion.emotion import emotion_curve
from space_core.motion.lip_closure import SHUT_AT, SHUT_FROM, close_between_openings, open_between_closures
from space_core.motion.lips import FREE_GAP, WIDEST_GAP, limit_opening, lip_gaps
from space_core.motion.quantization import dequantize, quantize
from space_core.motion.quick_openings import enlarge_quick_openings
from space_core.motion.quiet_passages import raise_quiet_passages
from space_core.motion.speech2landmarks import load_speech2landmarks, shape_labiodentals
from space_core.timing import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME, number_of_frames

CLOSED = 0.015  # outer-eye-corner distances
OPEN_VOWELS = (102, 117)  # frames of english_portrait.flac in the midst of voiced open vowels


def voice(seconds: float) -> np.ndarray:
    """An example (N,) float32, repeated."""
    return np.resize(load_speech(EXAMPLES / "english_portrait.flac"), round(seconds * SAMPLE_RATE))


@pytest.mark.parametrize("num_samples", [4800, 16_000, 31_999, 32_000, 32_001, 100_000, 12 * SAMPLE_RATE])
def test_every_40_ms_begun_have_a_frame_a_few_seconds_at_a_time(num_samples):
    neutral = emotion_curve("neutral", 0, number_of_frames(num_samples))
    chunks = list(load_speech2landmarks("cpu").predict(voice(num_samples / SAMPLE_RATE), closed_face(), neutral))
    assert sum(map(len, chunks)) == number_of_frames(num_samples) == -(-num_samples // 640)
    assert all(chunk.shape[1:] == (NUM_POINTS, 3) and chunk.dtype == np.float32 for chunk in chunks)
    assert max(map(len, chunks)) <= 4 * FPS
    assert all(np.isfinite(chunk).all() for chunk in chunks)


def test_speech_opens_the_mouth_and_silence_closes_it_and_holds_it_still():
    speech = np.concatenate([voice(2), np.zeros(2 * SAMPLE_RATE, np.float32), voice(1)])
    opening = lip_opening(predict(speech))
    assert np.ptp(opening[:50]) > 0.04
    assert np.abs(opening[60:80]).max() < CLOSED
    assert opening[60:80].std() < 1e-6


def test_a_breath_parts_the_lips_before_speech():
    pause, speech = np.zeros(2 * SAMPLE_RATE, np.float32), voice(1)
    landmarks = predict(np.concatenate([pause, speech]))
    opening, chin = lip_opening(landmarks), mouth_measures(landmarks)[:, 2]
    assert np.abs(opening[:35]).max() < CLOSED
    assert opening[40:46].min() > 0.03
    assert opening[40:46].max() < 0.055
    assert chin[40:46].min() > chin[:33].max() + 0.005  # the jaw goes down with the lower lip
    assert lip_opening(predict(pause)).max() < CLOSED


def test_lips_meet_between_a_breath_and_a_word_that_begins_with_m():
    moment = voice(7)[35 * SAMPLES_PER_FRAME :][:SAMPLE_RATE]  # "photograph keeps one | moment"
    opening = lip_opening(predict(np.concatenate([np.zeros(SAMPLE_RATE, np.float32), moment])))
    assert opening[15:19].min() > 0.03
    assert opening[22:25].max() < CLOSED


def test_a_film_that_begins_shortly_before_the_first_word_begins_with_the_mouth_shut():
    speech = np.concatenate([np.zeros(SAMPLE_RATE // 2, np.float32), voice(1)])
    opening = lip_opening(predict(speech))
    assert opening[0] < CLOSED
    assert np.diff(opening[:9]).min() > -0.001
    assert opening[8] > 0.035


def test_a_short_vowel_parts_the_lips_between_two_closures():
    logit = np.array([-9, -9, 4, 5, 3, 1.5, 3, 6, 3, -9, -9.0])
    opened = open_between_closures(logit)
    assert opened[5] == pytest.approx(SHUT_FROM)
    assert (opened[[3, 7]] == logit[[3, 7]]).all()
    steady = np.linspace(-3, 6, 12)
    assert (open_between_closures(steady) == steady).all()


def test_a_quick_closure_between_two_openings_shuts_the_lips():
    logit = np.array([-5, -4, -2, 0.1, -1.8, -4, -5.0])
    shut = close_between_openings(logit)
    assert shut[3] == pytest.approx(SHUT_AT)
    assert (shut[[0, 1, 5, 6]] == logit[[0, 1, 5, 6]]).all()
    for unchanged in (np.linspace(-3, 6, 12), logit - 2):  # no peak; one at which lips stay apart
        assert (close_between_openings(unchanged) == unchanged).all()


@pytest.mark.parametrize(("frequency", "factor"), [(0, 1.0), (1, 1.0), (2, 1.05), (4.5, 1.6), (10, 0.4)])
def test_quick_openings_become_larger_slow_ones_and_trembling_do_not(frequency, factor):
    basis = load_speech2landmarks("cpu").basis
    course = np.cos(2 * np.pi * frequency * np.arange(4 * FPS) / FPS)
    coefficients = course[:, None] * np.eye(len(basis))[0]  # the first opens the mouth more than any other
    openings = [
        lip_opening(np.tensordot(each, basis, 1))
        for each in (coefficients, enlarge_quick_openings(coefficients, basis))
    ]
    within = slice(FPS, -FPS)
    assert np.abs(openings[1][within]).max() == pytest.approx(factor * np.abs(openings[0][within]).max(), rel=0.08)


def test_silence_closes_the_mouth_of_a_photo_with_an_open_one():
    face = canonical_face().vertices
    assert lip_opening(face) > 0.08
    landmarks = predict(np.zeros(SAMPLE_RATE, np.float32), face)
    assert np.abs(lip_opening(landmarks)).max() < 2 * CLOSED
    assert np.abs(landmarks - face)[:, RIGID_POINTS].max() < 0.01


def test_lips_that_a_photo_shows_apart_meet_along_their_whole_length():
    face = canonical_face().vertices
    assert np.abs(lip_gaps(predict(np.zeros(SAMPLE_RATE, np.float32), face))).max() < 0.001
    opening = lip_opening(predict(load_speech(EXAMPLES / "english_portrait.flac"), face))
    assert opening.min() < 0.001


def test_silence_leaves_a_closed_mouth_as_it_is():
    assert np.abs(predict(np.zeros(SAMPLE_RATE, np.float32)) - closed_face()).max() < CLOSED


def test_speech_moves_no_bones_lids_or_irises():
    motion = predict(voice(2)) - closed_face()
    still = [
        *RIGID_POINTS,
        *range(468, NUM_POINTS),
        *(point for eye in EYES for point in (*eye.upper_lid, *eye.lower_lid)),
    ]
    assert np.abs(motion[:, still]).max() < 1e-6
    assert np.abs(motion).max() > 0.04


def test_the_same_speech_gives_the_same_landmarks():
    landmarks = predict(voice(5))
    analysed.cache_clear()
    assert np.array_equal(predict(voice(5)), landmarks)


def test_windows_leave_no_seams():
    speech = load_speech(EXAMPLES / "english_portrait.flac")
    neutral = emotion_curve("neutral", 0, number_of_frames(len(speech)))
    chunks = list(load_speech2landmarks("cpu").predict(speech, closed_face(), neutral))
    steps = np.abs(np.diff(lip_opening(np.concatenate(chunks))))
    borders = [place + shift for place in np.cumsum([len(chunk) for chunk in chunks[:-1]]) for shift in (-1, 0, 1)]
    assert steps[borders].mean() < 2 * steps.mean()
    assert steps[borders].max() <= steps.max()


def test_a_voice_opens_the_lips_and_shuts_them_again_and_again():
    opening = lip_opening(predict(load_speech(EXAMPLES / "english_portrait.flac")))
    wide = np.percentile(opening, 95) - opening.min()
    opening = (opening - opening.min()) / wide
    assert wide > 0.06
    # They part in each of the seven seconds, and meet several times.
    assert all(wide * second.max() > 0.05 for second in np.array_split(opening, 7))
    meetings = np.diff((opening < 0.1).astype(int)) == 1
    assert 7 <= meetings.sum() <= 40


def held(speech: np.ndarray, frame: int, seconds: float) -> np.ndarray:
    """Speech (N,) whose sound in a frame goes on for some seconds: overlapping grains of it, in random order."""
    draw = np.random.default_rng(0)
    grain, middle = SAMPLE_RATE // 20, (frame * SAMPLE_RATE + SAMPLE_RATE // 2) // FPS
    sound = np.zeros(round(seconds * SAMPLE_RATE) + grain, np.float32)
    for begin in range(0, len(sound) - grain, grain // 4):
        first = middle - grain // 2 + int(draw.integers(-320, 320))
        sound[begin : begin + grain] += np.hanning(grain) / 2 * speech[first : first + grain]
    return np.concatenate([speech[:middle], sound, speech[middle:]])


@pytest.mark.parametrize("seconds", [1, 3])
@pytest.mark.parametrize("frame", OPEN_VOWELS)
def test_a_vowel_that_is_held_keeps_the_mouth_open(frame, seconds):
    speech = load_speech(EXAMPLES / "english_portrait.flac")
    spoken = lip_opening(predict(speech))[frame]
    opening = lip_opening(predict(held(speech, frame, seconds)))[frame + 3 : frame + 25 * seconds - 3]
    assert spoken > 0.1
    assert np.mean(opening < 2 * CLOSED) < 0.1
    assert 0.4 * spoken < np.median(opening) < 2 * spoken


@pytest.mark.parametrize("after", [0, 1], ids=["at the end", "in the midst"])
def test_noise_without_words_that_breaks_off_leaves_the_mouth_shut(after):
    noise = 0.1 * np.random.default_rng(0).standard_normal(3 * SAMPLE_RATE).astype(np.float32)
    assert lip_opening(predict(np.pad(noise, (0, after * SAMPLE_RATE)))).max() < 2 * CLOSED


def tone(pitch: float, overtones: int) -> np.ndarray:
    """Two seconds of a trembling tone with so many overtones, with half a second of silence before and after."""
    times = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    phase = 2 * np.pi * pitch * np.cumsum(1 + 0.02 * np.sin(10 * np.pi * times)) / SAMPLE_RATE
    sound = sum(0.6**number * np.sin((number + 1) * phase) for number in range(overtones + 1))
    return np.pad(0.2 * sound * np.minimum(1, 10 * np.minimum(times, times[::-1])), SAMPLE_RATE // 2).astype(np.float32)


@pytest.mark.parametrize("pitch", [1000, 1400])
def test_a_scream_keeps_the_mouth_open(pitch):
    opening = lip_opening(predict(tone(pitch, overtones=4)))
    assert opening[20:55].min() > 0.08
    assert opening[:8].max() < 0.055  # the breath before it
    assert opening[-8:].max() < 2 * CLOSED
    assert np.abs(np.diff(opening)).max() < 0.08


def test_a_whistle_and_high_chords_leave_the_mouth_shut():
    chord = sum(tone(pitch, overtones=4) for pitch in (500, 630, 750))
    for sound in (tone(1000, overtones=0), chord):
        assert lip_opening(predict(sound)).max() < 2 * CLOSED


def test_a_loud_and_a_quiet_recording_open_the_mouth_alike():
    speech = voice(3)
    loud, quiet = lip_opening(predict(speech * 3)), lip_opening(predict(speech / 10))
    assert np.abs(loud - quiet).max() < 0.01


def test_a_long_quiet_passage_moves_the_lips_as_a_loud_one_does():
    near, far = voice(7), voice(7) * 10 ** (-28 / 20)
    alike, quieter = (lip_opening(predict(np.concatenate([near, second])))[7 * FPS :] for second in (near, far))
    assert np.corrcoef(quieter, alike)[0, 1] > 0.95
    assert quieter.std() > 0.9 * alike.std()


def test_quiet_words_pauses_and_noise_are_not_raised():
    speech = voice(7)
    noise = 0.1 * speech.std() * np.random.default_rng(0).standard_normal(4 * SAMPLE_RATE)
    quiet_word = np.concatenate([speech, 0.06 * speech[:SAMPLE_RATE], speech])
    for sound in (speech, quiet_word, np.concatenate([speech, noise.astype(np.float32)]), 0 * speech, speech[:100]):
        np.testing.assert_array_equal(raise_quiet_passages(sound), sound)


def test_a_constant_offset_of_a_recording_opens_the_mouth_no_further():
    speech = 0.6 * load_speech(EXAMPLES / "spanish_stars.flac")[: 4 * SAMPLE_RATE]
    plain, offset = (lip_opening(predict(sound)) for sound in (speech, speech + 0.03))
    assert 0.98 < offset.mean() / plain.mean() < 1.02
    assert np.corrcoef(plain, offset)[0, 1] > 0.999


def test_the_f_and_v_of_a_voice_are_found():
    speech = load_speech(EXAMPLES / "english_portrait.flac")
    share = np.concatenate([window.labiodental for window in load_speech2landmarks("cpu").analyse(speech)])
    found = share > 0.5
    runs = np.count_nonzero(np.diff(np.pad(found.astype(int), 1)) > 0)
    assert 6 <= runs <= 9  # photograph, give, voice, follow, frame by frame
    assert found.mean() < 0.15  # and hardly anything else
    silence = np.zeros(2 * SAMPLE_RATE, np.float32)
    assert not any(window.labiodental.any() for window in load_speech2landmarks("cpu").analyse(silence))


def test_in_f_and_v_the_lower_lip_is_at_the_upper_incisors_and_the_jaw_hardly_drops():
    motions = np.stack([unit_offsets(unit_strengths(units, 1))[0] for units in ("25:0", "25:1, 26:1", "18:1")])
    face = closed_face()
    shaped = face + shape_labiodentals(motions, np.ones(3), 1.0)
    assert ((lip_opening(shaped) > 1.5 / 90) & (lip_opening(shaped) < 3.5 / 90)).all()  # the incisors' edges are seen
    assert (np.abs(shaped[:, 152, 1] - face[152, 1]) < 0.04).all()
    assert (shaped[:, 13, 1] < face[13, 1] + 0.01).all()  # the upper lip is not over the teeth
    np.testing.assert_array_equal(shape_labiodentals(motions, np.zeros(3), 1.0), motions)


def test_the_tongue_of_a_voice_rises_and_comes_between_the_teeth():
    speech = load_speech(EXAMPLES / "english_portrait.flac")
    raised, between = np.concatenate([window.tongue for window in load_speech2landmarks("cpu").analyse(speech)]).T
    assert 0.1 < (raised > 0.5).mean() < 0.5
    assert 0 < (between > 0.5).mean() < 0.1
    assert (raised + between <= 1 + 1e-6).all()
    assert max(np.abs(np.diff(raised)).max(), np.abs(np.diff(between)).max()) < 0.8  # no jumps
    silence = np.zeros(2 * SAMPLE_RATE, np.float32)
    assert not any(window.tongue.any() for window in load_speech2landmarks("cpu").analyse(silence))


def test_articulation_of_zero_leaves_the_mouth_still():
    assert np.abs(predict(voice(3), articulation=0) - predict(np.zeros(3 * SAMPLE_RATE, np.float32))).max() == 0


def test_more_articulation_opens_the_lips_further_and_closes_them_as_often():
    speech = voice(4)
    low, natural, high = (lip_opening(predict(speech, articulation=amount)) for amount in (0.5, 1, 1.5))
    assert low.std() < 0.7 * natural.std() < natural.std() < 0.75 * high.std()
    assert min(low.min(), natural.min(), high.min()) > -1e-6
    assert high[natural < CLOSED].max() < 2 * CLOSED


def test_articulation_opens_no_mouth_further_than_a_jaw_can():
    motion = 100 * canonical_face().vertices * np.linspace(0, 1, 50)[:, None, None]
    gaps = lip_opening(limit_opening(motion))
    assert (np.diff(gaps) > -1e-6).all() and gaps.max() < WIDEST_GAP + 1e-6
    small = motion * (FREE_GAP / 2 / lip_opening(motion).max())
    np.testing.assert_array_equal(limit_opening(small), small)


def test_the_mouth_moves_as_far_as_recorded_speakers_do():
    # Standard deviations of the validation speakers of the training corpus, in outer-eye-corner distances.
    measures = mouth_measures(predict(load_speech(EXAMPLES / "english_portrait.flac")))
    opening, width, chin, *_ = measures.std(0)
    assert 0.035 < opening < 0.075 and 0.02 < width < 0.06 and 0.012 < chin < 0.035


def test_a_smiling_mouth_widens_less_and_opens_as_far():
    smiling = closed_face() + unit_offsets(unit_strengths("6:0.5, 12:1", 1))[0]
    resting, smile = (mouth_measures(predict(voice(4), face)).std(0) for face in (closed_face(), smiling))
    assert smile[1] < 0.75 * resting[1]
    assert 0.9 * resting[0] < smile[0] < 1.2 * resting[0]


def test_lips_never_pass_through_each_other():
    assert lip_opening(predict(voice(4))).min() > -1e-6


def test_mel_filters_are_those_that_whisper_was_trained_with():
    librosa = pytest.importorskip("librosa")
    filters = librosa.filters.mel(sr=16_000, n_fft=400, n_mels=80)
    np.testing.assert_allclose(load_file(weights_path("mel_filters.safetensors"))["filters"], filters, atol=1e-7)


def test_quantized_weights_are_within_half_a_step():
    weights = {"bias": torch.randn(5), "matrix": torch.randn(4, 300), "convolution": torch.randn(4, 3, 7)}
    read = dequantize(quantize(weights))
    assert read.keys() == weights.keys()
    for name, array in weights.items():
        assert read[name].dtype == torch.float32
        largest = array.abs().amax() if array.ndim == 1 else array.flatten(1).abs().amax(1)
        error = (read[name] - array).abs().reshape(len(array), -1).amax(1)
        assert (error <= largest / 250).all()
