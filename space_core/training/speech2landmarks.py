"""Speech2Landmarks: the basis of mesh motion and the network that speaks in it.

    python -m space_core.training.speech2landmarks CORPUS TRACKS

reads ``CORPUS/manifest.csv``, ``split.csv`` and ``video/``, and the tracks written by ``track_corpus``; writes
``weights/speech2landmarks.safetensors``. Stops and resumes at ``TRACKS/../speech2landmarks.pt``.

1. Every clip becomes offsets from its own closed mouth, symmetric, in its own range of lip opening; a PCA of the
   offsets of all clips is the basis.
2. Two networks, each taught on half of the clips, tell by how many frames sound and picture of the other half are
   apart. Clips are shifted accordingly; clips that nobody can predict are left out.
3. The network is taught on all clips left, on noise, music and silence. With ``--taught`` it is also taught on speech
   without pictures, and learns to tell what the teacher hears besides what lips do; the latter alone is kept.
"""

import argparse
import time
from collections.abc import Callable
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
from space_core.media.audio import load_speech
from space_core.motion.speech2landmarks import (
    CONTEXT,
    LOWER,
    MOUTH_CORNERS,
    OUTER_LOWER,
    OUTER_UPPER,
    UPPER,
    WEIGHTS,
    MotionNetwork,
    lip_gaps,
)
from space_core.motion.speech_features import (
    FLOOR,
    NUM_BANDS,
    SCALE,
    STEPS_PER_FRAME,
    log_mel,
    speech_power,
)
from space_core.timing import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME, number_of_frames
from space_core.training.corpus import held_out_clips, read_manifest

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
PAUSE_DB, PAUSE_FRAMES = -30.0, 10  # quieter than that below speech for 0.4 s: the mouth is closed there
FADE = 4  # frames over which a mouth closes before a pause or opens after it

# Alignment
ALIGNMENT_STEPS = 450
LARGEST_LAG = 6
DEAF = 0.2  # correlation below which a clip's sound isn't its own, or its face isn't seen
SURE, GAIN = 0.38, 0.05  # a clip is shifted if it then correlates better than this, and by so much better than before

# Training
STEPS = 5000
SEEN = 0.35  # share of windows from clips whose lips were seen, not told by a teacher
BATCH = 24
FRAMES = 100
LEARNING_RATE = 1.5e-3
WARM_UP = 100
WEIGHT_DECAY = 0.05
DROPOUT = 0.1
EMA = 0.998
EVALUATE_EVERY = 250
OPENING_LOSS, VELOCITY_LOSS, CONCORDANCE_LOSS = 1.0, 0.5, 1.5
HINT_LOSS = 1.0
WORDLESS = 0.08  # share of windows with noise or music alone
PAUSED = 0.35  # share of windows with a pause cut into them


@dataclass(frozen=True)
class Clip:
    """A clip's sound and motion, at one or several speeds.

    Attributes:
        name: its id in the manifest.
        opening: (T,) the distance between the lips as tracked, for validation.
        steps: per speed, (4 T, 80) log-mel steps, or whatever else the network hears.
        motion: per speed, (T, coefficients + hints) coefficients of the basis, in the clip's own range, and what else
            the network shall tell.
        lag: by how many frames the motion was moved forwards against the sound.
        seen: whether the motion was tracked rather than told by a teacher.
    """

    name: str
    opening: np.ndarray
    steps: list[torch.Tensor]
    motion: list[torch.Tensor]
    lag: int = 0
    seen: bool = True


@dataclass(frozen=True)
class Hearing:
    """A kind of network and the features it hears.

    Attributes:
        network: makes one from the number of coefficients and the dropout.
        steps_per_frame: how many steps of features there are to a video frame.
        bands: how many features a step has.
        augment: what becomes of a batch of steps before the network hears it.
        wordless: whether the steps can be replaced by those of silence (zeros) and music.
    """

    network: Callable[[int, float], nn.Module]
    steps_per_frame: int
    bands: int
    augment: Callable[[torch.Tensor], torch.Tensor]
    wordless: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("tracks", type=Path)
    parser.add_argument("--taught", type=Path, help="what whisper_teacher wrote")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    training, validation, basis = prepare(arguments.corpus, arguments.tracks)
    if arguments.taught:
        training = with_teacher(training, torch.load(arguments.taught, weights_only=False))
    checkpoint = arguments.tracks.parent / "speech2landmarks.pt"
    network = train(training, validation, basis, STEPS, LOG_MEL, checkpoint)
    report(network, validation, basis, LOG_MEL)
    # What can't be heard is averaged out, which makes motion smaller; the basis makes up for it.
    amplitude = np.mean([figures_of(network, clip, basis, LOG_MEL)[3] for clip in validation])
    print(f"motion is magnified by {1 / amplitude:.2f}")
    save(network, basis / amplitude, WEIGHTS)


def prepare(corpus: Path, tracks: Path) -> tuple[list[Clip], list[Clip], np.ndarray]:
    """The clips to train on, aligned, those to validate on, and the motion basis."""
    held_out, rows = held_out_clips(corpus), read_manifest(corpus)
    offsets = {}
    for row in rows:
        clip = clip_offsets(np.load(tracks / f"{row['id']}.npy"))
        if clip is not None:
            offsets[row["id"]] = clip
    basis = motion_basis([motion for name, (motion, _) in offsets.items() if name not in held_out])
    training, validation = [], []
    for row in rows:
        if row["speech"] == "1" and row["id"] in offsets:
            speech = load_speech(corpus / "video" / f"{row['id']}.mp4")
            held = row["id"] in held_out
            motion, opening = offsets[row["id"]]
            speeds = ((1, 1),) if held else SPEEDS
            (validation if held else training).append(
                make_clip(row["id"], speech, coefficients(motion, basis), opening, speeds)
            )
    minutes = sum(len(clip.opening) for clip in training) / FPS / 60
    print(f"{len(offsets)} clips for the basis, {len(training)} with speech ({minutes:.1f} min)", flush=True)
    heard = alignment(training, basis, tracks.parent / "speech2landmarks.lags.pt")
    lags = {name: lag if best > SURE and best > here + GAIN else 0 for name, (lag, best, here) in heard.items()}
    print("clips shifted or left out:", {name: lags[name] for name in lags if lags[name] or heard[name][1] <= DEAF})
    training = [shifted(clip, lags[clip.name]) for clip in training if heard[clip.name][1] > DEAF]
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


def with_teacher(clips: list[Clip], taught: dict[str, dict]) -> list[Clip]:
    """The clips with the teacher's hints beside their motion, and the recordings whose motion the teacher tells.

    ``taught`` is what ``whisper_teacher`` wrote: motion with hints (T, coefficients + hints) by the paths of
    ``recordings``, and ``hints`` by the names of clips (T, hints).
    """
    hinted = []
    for clip in clips:
        columns = taught["hints"][clip.name]
        motion = [
            torch.cat([movement, at_speed(columns, speed, len(movement))], dim=1)
            for movement, speed in zip(clip.motion, SPEEDS, strict=True)
        ]
        hinted.append(replace(clip, motion=motion))
    for path, motion in taught["recordings"].items():
        speech, _ = soundfile.read(path, dtype="float32")
        clip = make_clip(Path(path).stem, speech, motion, np.zeros(len(motion)), SPEEDS[::2])
        hinted.append(replace(clip, seen=False))
    return hinted


def at_speed(motion: np.ndarray, speed: tuple[int, int], length: int) -> torch.Tensor:
    """The first ``length`` frames of motion (T, columns) resampled like sound by a factor of up / down."""
    source = np.minimum(np.arange(length) * speed[1] / speed[0], len(motion) - 1)
    resampled = [np.interp(source, np.arange(len(motion)), column) for column in motion.T]
    return torch.from_numpy(np.stack(resampled, axis=1).astype(np.float32))


def make_clip(name: str, speech: np.ndarray, motion: np.ndarray, opening: np.ndarray, speeds) -> Clip:
    """A clip from its sound (N,), its motion (T, coefficients), its lip opening (T,)."""
    motion = motion * mouth_open(speech, len(motion))[:, None]
    all_steps, all_motion = [], []
    for up, down in speeds:
        changed = resample_poly(speech, up, down).astype(np.float32) if up != down else speech
        length = min(number_of_frames(len(changed)), int(len(motion) * up / down))
        all_steps.append(torch.from_numpy(log_mel(changed, speech_power(changed), 0, length)).half())
        all_motion.append(at_speed(motion, (up, down), length))
    return Clip(name, opening, all_steps, all_motion)


def mouth_open(speech: np.ndarray, num_frames: int) -> np.ndarray:
    """(num_frames,) 1 in speech, 0 in its pauses, in which speakers' mouths do what they like but ours shall close."""
    frames = np.pad(speech, (0, max(num_frames * SAMPLES_PER_FRAME - len(speech), 0)))[: num_frames * SAMPLES_PER_FRAME]
    level = 10 * np.log10(frames.reshape(num_frames, -1).var(1) / speech_power(speech) + 1e-9)
    quiet = (level < PAUSE_DB).astype(float)
    long = np.convolve(quiet, np.ones(PAUSE_FRAMES)) > PAUSE_FRAMES - 0.5  # (T + PAUSE_FRAMES - 1): a pause ends here
    inside = np.convolve(long[PAUSE_FRAMES - 1 :], np.ones(PAUSE_FRAMES))[:num_frames] > 0
    return fade(torch.from_numpy(~inside).float()[None])[0].numpy()


def fade(active: torch.Tensor) -> torch.Tensor:
    """(batch, T) of 0 and 1, its steps smoothed: closing takes the first frames of a pause, opening its last ones."""
    kernel = torch.hann_window(2 * FADE + 3, periodic=False)[1:-1]
    padded = F.pad(active[:, None], (FADE, FADE), mode="replicate")
    spread = F.max_pool1d(F.pad(padded, (1, 1), mode="replicate"), 3, 1)
    return F.conv1d(spread, (kernel / kernel.sum())[None, None])[:, 0]


def shifted(clip: Clip, lag: int) -> Clip:
    """The clip with its motion ``lag`` frames earlier."""
    if lag == 0:
        return clip
    steps, motion = [], []
    for sound, movement, (up, down) in zip(clip.steps, clip.motion, SPEEDS, strict=True):
        later = round(lag * up / down)
        here = range(max(-later, 0), min(len(movement) - later, len(movement)))
        steps.append(sound[here.start * STEPS_PER_FRAME : here.stop * STEPS_PER_FRAME])
        motion.append(movement[here.start + later : here.stop + later])
    return replace(clip, steps=steps, motion=motion, lag=lag)


def alignment(clips: list[Clip], basis: np.ndarray, checkpoint: Path) -> dict[str, tuple[int, float, float]]:
    """By how many frames the motion of each clip comes after its sound, the correlation then, and without shifting."""
    if checkpoint.exists():
        return torch.load(checkpoint)
    heard = {}
    for half in (0, 1):
        network = train(clips[1 - half :: 2], [], basis, ALIGNMENT_STEPS, LOG_MEL, None)
        for clip in clips[half::2]:
            truth = opening_of(clip.motion[len(SPEEDS) // 2], basis)
            heard[clip.name] = tuple(map(float, best_lag(predict(network, clip, basis, LOG_MEL), truth)))
            print("{:48s} lag {:+.0f} correlation {:.2f}, {:.2f} at 0".format(clip.name[-48:], *heard[clip.name]))
    heard = {name: (int(lag), best, here) for name, (lag, best, here) in heard.items()}
    torch.save(heard, checkpoint)
    return heard


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
    """Lip opening (T,) of coefficients (T, coefficients + hints), 0 at rest."""
    return np.maximum(motion[:, : len(basis)].numpy() @ lip_gaps(basis)[:, 4], 0)


def predict(network: nn.Module, clip: Clip, basis: np.ndarray, hearing: Hearing) -> np.ndarray:
    """The lip opening (T,) that the network hears in a clip at its own speed."""
    return opening_of(hear(network, clip.steps[len(clip.steps) // 2], hearing), basis)


@torch.inference_mode()
def hear(network: nn.Module, steps: torch.Tensor, hearing: Hearing) -> torch.Tensor:
    """Coefficients (T, coefficients) for all of a recording's steps."""
    silence = CONTEXT * hearing.steps_per_frame
    return network.eval()(F.pad(steps.float(), (0, 0, silence, silence))[None])[0]


def train(
    clips: list[Clip],
    validation: list[Clip],
    basis: np.ndarray,
    num_steps: int,
    hearing: Hearing,
    checkpoint: Path | None,
    seed: int = SEED,
) -> nn.Module:
    """A network taught on the clips for so many steps; returns the running average of its weights."""
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    network, average = (hearing.network(clips[0].motion[0].shape[1], dropout) for dropout in (DROPOUT, 0.0))
    average.load_state_dict(network.state_dict())
    optimizer = torch.optim.AdamW(
        network.parameters(), LEARNING_RATE, (0.9, 0.98), weight_decay=WEIGHT_DECAY, fused=True
    )
    measure = Measures(basis)
    start = 0
    if checkpoint and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        draw.bit_generator.state = state["draw"]
        torch.set_rng_state(state["torch"])
        start = state["step"]
    lengths = np.array([len(clip.opening) for clip in clips], float)
    # Long clips of one speaker shouldn't drown the many short ones of others.
    chances = np.sqrt(lengths)
    seen = np.array([clip.seen for clip in clips])
    if not seen.all():
        chances[seen] *= SEEN / chances[seen].sum()
        chances[~seen] *= (1 - SEEN) / chances[~seen].sum()
    chances /= chances.sum()
    songs = torch.cat([sound(draw) for _ in range(12) for sound in (music, noise)])
    begun, losses = time.time(), []
    for step in range(start, num_steps):
        network.train()
        rate = min(1, (step + 1) / WARM_UP) * 0.5 * (1 + np.cos(np.pi * step / num_steps))
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * rate + 1e-6
        steps, motion, valid = batch(clips, chances, songs, draw, hearing)
        with torch.autocast("cpu", torch.bfloat16):
            predicted = network(hearing.augment(steps))
        loss = measure.loss(predicted.float(), motion, valid)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        decay = min(EMA, (step + 1) / (step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
        losses.append(loss.item())
        if (step + 1) % EVALUATE_EVERY == 0 or step + 1 == num_steps:
            figures = ""
            if validation:
                results = [figures_of(average, clip, basis, hearing) for clip in validation]
                figures = "correlation {:.3f} at lag {:+.1f}, amplitude {:.2f}".format(*np.mean(results, 0)[[2, 0, 3]])
            print(f"step {step + 1} loss {np.mean(losses):.4f} {figures} {time.time() - begun:.0f} s", flush=True)
            losses = []
            if checkpoint:
                state = {"network": network, "average": average, "optimizer": optimizer}
                state = {name: module.state_dict() for name, module in state.items()}
                state |= {"draw": draw.bit_generator.state, "torch": torch.get_rng_state(), "step": step + 1}
                torch.save(state, checkpoint)
    return average.eval()


def batch(clips, chances, songs, draw, hearing) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Steps (batch, steps, bands), motion (batch, FRAMES, coefficients), how much frames count (batch, FRAMES)."""
    per_frame = hearing.steps_per_frame
    window = FRAMES + 2 * CONTEXT
    all_steps = torch.zeros(BATCH, window * per_frame, hearing.bands)
    all_motion = torch.zeros(BATCH, FRAMES, clips[0].motion[0].shape[1])
    active = torch.ones(BATCH, FRAMES)
    valid = torch.ones(BATCH, FRAMES)
    for index in range(BATCH):
        if hearing.wordless and draw.random() < WORDLESS:
            if draw.random() < 0.5:
                first = draw.integers(len(songs) - window * per_frame)
                last = draw.integers(window, 3 * window) * per_frame // 2  # where the recording may end
                all_steps[index, :last] = songs[first : first + window * per_frame][:last]
            continue
        clip = clips[draw.choice(len(clips), p=chances)]
        speed = draw.integers(len(clip.steps))
        steps, motion = clip.steps[speed], clip.motion[speed]
        first = int(draw.integers(-FRAMES // 3, max(len(motion) - 2 * FRAMES // 3, 1)))
        # The window's context reaches beyond the frames to predict, the clip may end before either.
        here = max(first - CONTEXT, 0), min(first + FRAMES + CONTEXT, len(motion))
        offset = here[0] - (first - CONTEXT)
        sound = steps[here[0] * per_frame : here[1] * per_frame]
        all_steps[index, offset * per_frame : offset * per_frame + len(sound)] = sound
        here = max(first, 0), min(first + FRAMES, len(motion))
        all_motion[index, here[0] - first : here[1] - first] = motion[here[0] : here[1]]
        # Beyond the clip's ends there is silence; the few frames at the border are cut off in mid-word.
        for border in (-first, len(motion) - first):
            valid[index, max(border - 6, 0) : max(border + 6, 0)] = 0
        if hearing.wordless and draw.random() < PAUSED:
            length = int(draw.integers(14, 70))
            begin = int(draw.integers(-10, FRAMES - 10))
            low, high = max(begin + CONTEXT, 0), min(begin + length + CONTEXT, window)
            all_steps[index, low * per_frame : high * per_frame] = 0
            active[index, max(begin, 0) : max(begin + length, 0)] = 0
            # A word cut off by the pause isn't articulated to its end.
            for border in (begin, begin + length):
                valid[index, max(border - 3, 0) : max(border + 3, 0)] *= 0.3
    return all_steps, all_motion * fade(active)[:, :, None], valid


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

    def loss(self, predicted: torch.Tensor, motion: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Of predicted and true coefficients and hints (batch, T, columns), by how much frames count (batch, T)."""
        (predicted, told), (motion, hints) = (
            (columns[:, :, : len(self.share)], columns[:, :, len(self.share) :]) for columns in (predicted, motion)
        )
        error = (predicted - motion).abs() @ self.share
        if hints.shape[2]:
            error = error + HINT_LOSS * (told - hints).abs().mean(2)
        lips, true_lips = predicted @ self.shape, motion @ self.shape
        # A mouth that should be closed is seen to be open more easily than one that should be wide open.
        closed = 1 + torch.sigmoid(-(true_lips[:, :, :1] - 0.3) * 8)
        lip_error = ((lips - true_lips).abs() * closed) @ self.importance / self.importance.sum()
        change = ((lips.diff(dim=1) - true_lips.diff(dim=1)).abs()) @ self.importance / self.importance.sum()
        swing = 1 - concordance(lips, true_lips, valid[:, :, None]) @ self.importance / self.importance.sum()
        total = valid.sum()
        return (
            (error * valid).sum() / total
            + OPENING_LOSS * (lip_error * valid).sum() / total
            + VELOCITY_LOSS * (change * valid[:, 1:]).sum() / total
            + CONCORDANCE_LOSS * swing.mean()
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
    ratio += 10  # a band holds a tenth of the power of speech or so
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


def figures_of(network: nn.Module, clip: Clip, basis: np.ndarray, hearing: Hearing) -> tuple[int, float, float, float]:
    """Best lag, correlation there, correlation without lag, and standard deviation relative to the truth."""
    predicted = predict(network, clip, basis, hearing)
    length = min(len(predicted), len(clip.opening))
    figures = best_lag(predicted[:length], clip.opening[:length])
    return *figures, predicted.std() / clip.opening.std()


def report(network: nn.Module, validation: list[Clip], basis: np.ndarray, hearing: Hearing) -> None:
    """Prints the figures of every validation clip."""
    for clip in validation:
        lag, best, here, amplitude = figures_of(network, clip, basis, hearing)
        print(f"{clip.name[-48:]:48s} correlation {here:.2f}, {best:.2f} at lag {lag:+d}, amplitude {amplitude:.2f}")


def save(network: MotionNetwork, basis: np.ndarray, path: Path) -> None:
    """Writes the network in half precision with the basis."""
    arrays = network.state_dict()
    # Silence shows the face at rest, exactly.
    with torch.inference_mode():
        silence = network(torch.zeros(1, (2 * CONTEXT + 1) * STEPS_PER_FRAME, NUM_BANDS))[0, 0]
    print(f"in silence lips are {opening_of(silence[None], basis)[0]:.4f} apart; that is taken out")
    arrays["speak.bias"] = arrays["speak.bias"] - silence
    for name in ("speak.weight", "speak.bias"):  # without hints
        arrays[name] = arrays[name][: len(basis)]
    arrays = {name: tensor.half().contiguous() for name, tensor in arrays.items()}
    save_file(arrays | {"basis": torch.from_numpy(basis).float().contiguous()}, path)


LOG_MEL = Hearing(MotionNetwork, STEPS_PER_FRAME, NUM_BANDS, augment, wordless=True)

if __name__ == "__main__":
    main()
