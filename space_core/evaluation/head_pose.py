"""Generated head motion compared with that of recorded speakers.

    python -m space_core.evaluation.head_pose CORPUS

Prints, for training and validation clips, recorded and generated from the clips' own sound: the distributions of angles
and angular speeds over all frames, then medians over the clips; and, over many seeds: the start, the extent and the
drift over ten minutes, the speed in silence, the difference between seeds, and the effect of the amount.
"""

import numpy as np
from scipy.signal import savgol_filter

from space_core.face.normalization import HeadPose
from space_core.measures.corpus import Corpus, corpus_from_arguments
from space_core.measures.head_motion import RecordedHead, read_recorded_heads
from space_core.measures.spectrum import share_above
from space_core.motion.head_pose import PITCH, generate_head_pose
from space_core.motion.loudness import loudness, smooth
from space_core.motion.prosody import analyze_prosody
from space_core.timing import FPS, SAMPLE_RATE

SEEDS = 6
QUANTILES = (50, 75, 90, 95, 99)  # percent
ANGLES = ("yaw", "pitch", "roll")
MINUTES = 10  # of the long speech
SILENCE = 20 * SAMPLE_RATE
PHOTO = HeadPose(np.array([[12.0, -5.0, 3.0]]), np.zeros((1, 3)), np.ones(1))


def report(corpus: Corpus) -> None:
    """Prints the figures named at the top of this file."""
    training, validation = read_recorded_heads(corpus)
    for name, clips in (("training", training), ("validation", validation)):
        generated = [
            (generate_head_pose(analyze_prosody(speech, len(pose)), PHOTO, 1.0, 1000 * seed + number), speech)
            for seed in range(SEEDS)
            for number, (pose, speech) in enumerate(clips)
        ]
        print(f"  {len(clips)} {name} clips")
        _print_distributions(clips, generated)
        _print_medians(clips, generated)
    _report_promises(np.concatenate([speech for _, speech in training]))


def _print_distributions(recorded: list[RecordedHead], generated: list[RecordedHead]) -> None:
    """Quantiles over all frames of all clips."""
    print(f"    {', '.join(map(str, QUANTILES))} % of the frames are below")
    angles, speeds = [], []
    for clips in (recorded, generated):
        rotations = [pose.rotation for pose, _ in clips]
        angle = np.concatenate([np.abs(rotation - np.median(rotation, axis=0)) for rotation in rotations])
        speed = np.concatenate([np.abs(_velocity(rotation)) for rotation in rotations])
        angles.append(np.percentile(angle, QUANTILES, axis=0).T.round(1))
        speeds.append(np.percentile(speed, QUANTILES, axis=0).T.round(1))
    for name, (real, made) in (("° from the median", angles), ("° a second", speeds)):
        for channel, direction in enumerate(ANGLES):
            print(f"    {direction + name:24} recorded {real[channel]!s:30} generated {made[channel]}")


def _print_medians(recorded: list[RecordedHead], generated: list[RecordedHead]) -> None:
    """Medians over the clips."""
    clips = [[figures(pose, loudness(speech, len(pose))) for pose, speech in every] for every in (recorded, generated)]
    for name in clips[0][0]:
        real, made = (np.nanmedian([clip[name] for clip in every], axis=0).round(3) for every in clips)
        print(f"    {name:42} recorded {real!s:24} generated {made}")


def figures(pose: HeadPose, loud: np.ndarray) -> dict[str, np.ndarray]:
    """Figures of a head's motion (T ≥ 100 frames) and of how it goes with the loudness (T,) of the speech."""
    rotation = pose.rotation
    velocity = _velocity(rotation)
    acceleration = savgol_filter(rotation, 9, 2, deriv=2, axis=0) * FPS**2
    speed = np.linalg.norm(velocity, axis=1)
    speaking = smooth(loud, 0.25 * FPS)
    pausing = speaking < 0.25
    pause = speed[pausing].mean() if pausing.sum() > FPS else np.nan
    # The first 0.3 s of phrases.
    onset = np.flatnonzero(np.diff(pausing.astype(int)) < 0)[:, None] + np.arange(round(0.3 * FPS))
    place = pose.translation[:, :2] / np.median(pose.scale)
    autocorrelation = [np.corrcoef(angle[:-25], angle[25:])[0, 1] for angle in rotation.T]
    beat = np.corrcoef(loud[10:-12], velocity[12:-10, PITCH])[0, 1]
    setting_in = speed[np.minimum(onset, len(speed) - 1)].mean() if len(onset) else np.nan
    return {
        "standard deviation (yaw, pitch, roll)": rotation.std(0),
        "… of translation (x, y)": place.std(0),
        "… of the logarithm of scale": np.log(pose.scale).std(),
        "range from 5 % to 95 %": np.percentile(rotation, 95, axis=0) - np.percentile(rotation, 5, axis=0),
        "mean speed, degrees a second": np.abs(velocity).mean(0),
        "fast speed (95 %)": np.percentile(np.abs(velocity), 95, axis=0),
        "kurtosis of speed (3 is Gaussian)": (velocity**4).mean(0) / (velocity**2).mean(0) ** 2,
        "mean acceleration, degrees a second²": np.abs(acceleration).mean(0),
        "autocorrelation after 1 s": np.array(autocorrelation),
        "share of motion above 1 Hz": share_above(rotation, 1),
        "share of motion above 4 Hz": share_above(rotation, 4),
        "speed in pauses over speed in speech": pause / speed[speaking > 0.5].mean(),
        "speed as the voice sets in over mean speed": setting_in / speed.mean(),
        "loudness and pitch speed, 80 ms later": beat,
    }


def _report_promises(speech: np.ndarray) -> None:
    long = np.resize(speech, MINUTES * 60 * SAMPLE_RATE)
    poses = [_rotation(long, 1.0, seed) for seed in range(SEEDS)]
    start = max(np.abs(rotation[0]).max() for rotation in poses)
    extent = max(np.abs(rotation).max() for rotation in poses)
    minutes = np.abs([rotation.reshape(MINUTES, -1, 3).mean(1) for rotation in poses])  # (seeds, minutes, 3)
    print(
        f"  {MINUTES} minutes of speech, {SEEDS} seeds, degrees from the photo's pose: {start:.2f} at the start,",
        end="",
    )
    print(f" never beyond {extent:.1f}; mean of the first minute {minutes[:, 0].mean():.2f},", end="")
    print(f" of the last {minutes[:, -1].mean():.2f}, of any at most {minutes.max():.2f}")

    spoken = speech[:SILENCE]
    paused = np.concatenate([spoken, np.zeros(SILENCE, np.float32)])
    voiced, silent = np.split(np.mean([_speed(_rotation(paused, 1.0, seed)) for seed in range(SEEDS)], axis=0), 2)
    print(f"  speed: {voiced.mean():.1f}°/s in speech, {silent[FPS:].mean():.1f} in silence after it, ", end="")
    alone = np.mean([_speed(_rotation(paused[SILENCE:], 1.0, seed)).mean() for seed in range(SEEDS)])
    print(f"{alone:.1f} in a recording of silence")

    moves = [_rotation(spoken, 1.0, seed) for seed in range(SEEDS)]
    pairs = [(one, other) for one in range(SEEDS) for other in range(one)]
    alike = [np.corrcoef(moves[one].ravel(), moves[other].ravel())[0, 1] for one, other in pairs]
    apart = [np.abs(moves[one] - moves[other]).mean() for one, other in pairs]
    print(f"  two seeds: {np.mean(apart):.1f}° apart on average, correlation {np.mean(alike):.2f}", end="")
    print(f" ({np.min(alike):.2f}…{np.max(alike):.2f})")
    for amount in (0.0, 0.25, 0.5, 1.0, 1.5):
        rotations = [_rotation(long, amount, seed) for seed in range(SEEDS)]
        deviation = np.mean([rotation.std(0) for rotation in rotations], axis=0).round(2)
        print(f"  amount {amount}: standard deviation {deviation}, never beyond {np.abs(rotations).max():.1f}°")


def _rotation(speech: np.ndarray, amount: float, seed: int) -> np.ndarray:
    """(T, 3) generated angles, from the photo's."""
    num_frames = len(speech) * FPS // SAMPLE_RATE
    prosody = analyze_prosody(speech, num_frames)
    return generate_head_pose(prosody, PHOTO, amount, seed).rotation - PHOTO.rotation


def _velocity(rotation: np.ndarray) -> np.ndarray:
    """(T, 3) degrees a second."""
    return savgol_filter(rotation, 9, 2, deriv=1, axis=0) * FPS


def _speed(rotation: np.ndarray) -> np.ndarray:
    return np.linalg.norm(_velocity(rotation), axis=1)


if __name__ == "__main__":
    report(corpus_from_arguments(__doc__))
