"""Eyes: blinks, saccades, gaze and its compensation of head rotation.

    python -m space_core.evaluation.eyes CORPUS [--generator liveportrait]

Prints, over many seeds and the corpus's recordings: blinks per minute, their duration and how many follow the end of a
phrase; rate and size of saccades. Then, measured in rendered frames of portraits of the examples and the corpus: the
gaze for commanded angles, how far it stays on the viewer while the head turns, how far eyes shut and the share of eyes
that are closed (sunglasses, which hide the eyes, are counted separately). The tracker underestimates iris motion, so
the displacement of the iris is also measured by matching its pixels.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.ndimage import map_coordinates

from space_core.assets import example_path
from space_core.errors import SpaceError
from space_core.face.detector import Detector, build_detector
from space_core.face.normalization import HeadPose, pose_landmarks
from space_core.face.portrait import Portrait, prepare_portrait
from space_core.face.posed_face import PosedFace
from space_core.face.topology import EYES, Eye
from space_core.generator.generator import Generator
from space_core.generator.mesh_warp.face_motion import TO_SURROUNDINGS, face_motion
from space_core.generator.mesh_warp.glasses.finding import find_glasses
from space_core.measures.corpus import Corpus
from space_core.measures.eyes import CLOSED, OPEN, eye_opening
from space_core.measures.rendering import corpus_and_generator_from_arguments, render_landmarks
from space_core.media.audio import load_speech
from space_core.media.images import load_photo
from space_core.motion.blink import PHRASE_END_FRAMES, SILENT, apply_blink, blink_curve
from space_core.motion.eyelids import eye_width
from space_core.motion.gaze import EYEBALL_RADIUS, apply_gaze, counter_gaze, saccades
from space_core.motion.loudness import loudness, smooth
from space_core.timing import FPS, SAMPLE_RATE, number_of_frames

BLINKS_PER_MINUTE = 17.0
RECORDINGS, SEEDS = 40, 10

EVERY_PORTRAIT = 3  # of the corpus; each takes about two seconds
FRONTAL = 20.0  # degrees; faces turned further hide an eye
MIN_EYE_WIDTH = 30.0  # pixels between the corners of an eye; the tracker is unreliable below
# Commanded gaze: yaw and pitch in degrees; the first is the photo's own.
COMMANDS = np.array([[0, 0], [-20, 0], [-10, 0], [10, 0], [20, 0], [0, -12], [0, 12]], float)
HEAD_TURNS = np.array([-10.0, 10.0])  # degrees of yaw
STRENGTHS = (0.0, 0.5, 1.0)  # of ``counter_gaze``


def main() -> None:
    report(*corpus_and_generator_from_arguments(__doc__))


def report(corpus: Corpus, generator: Generator[Any]) -> None:
    """Prints the figures named at the top of this file."""
    _report_blinks(corpus)
    _report_saccades()
    _report_rendered(corpus, generator)


def _report_blinks(corpus: Corpus) -> None:
    recordings = [load_speech(path) for path in sorted((corpus.folder / "speech").glob("*.flac"))[:RECORDINGS]]
    for name, seconds in (("whole recordings", None), ("their first 3 s", 3), ("their first 1 s", 1)):
        _print_blinks(name, [speech[: seconds and seconds * SAMPLE_RATE] for speech in recordings])
    _print_blinks("10 s of silence", [np.zeros(10 * SAMPLE_RATE, np.float32)])
    for rate in (0.0, 6.0, 40.0, 60.0):
        _print_blinks(f"whole recordings, {rate:.0f} asked for", recordings, rate)


def _print_blinks(name: str, recordings: list[np.ndarray], per_minute: float = BLINKS_PER_MINUTE) -> None:
    minutes = 0.0
    durations: list[float] = []
    at_ends: list[bool] = []
    ends: list[bool] = []
    for speech in recordings:
        num_frames = number_of_frames(len(speech))
        after_phrase = phrase_ends(loudness(speech, num_frames))
        for seed in range(SEEDS):
            curve = blink_curve(speech, num_frames, per_minute, seed)
            closed = np.flatnonzero((curve[1:] == 1) & (curve[:-1] < 1)) + 1
            opened = np.flatnonzero(np.diff(np.append(curve, 0) > 0, prepend=False).astype(int))
            durations.extend(np.diff(opened.reshape(-1, 2), axis=1).ravel() / FPS)
            at_ends.extend(after_phrase[closed])
            minutes += num_frames / FPS / 60
        ends.extend(after_phrase)
    line = f"  blinks, {name}: {len(at_ends) / minutes:.1f} a minute"
    if at_ends:
        low, median, high = np.percentile(durations, [1, 50, 99])
        line += f", {median:.2f} s long ({low:.2f}…{high:.2f}), {np.mean(at_ends):.0%} in the {np.mean(ends):.0%}"
        line += " of the time after phrases"
    print(line)


def phrase_ends(loud: np.ndarray) -> np.ndarray:
    """(T,) whether speech of this loudness (T,) has ended within the last 0.6 s."""
    silent = smooth(loud, 2) < SILENT
    recent = np.lib.stride_tricks.sliding_window_view(np.pad(~silent, (PHRASE_END_FRAMES, 0)), PHRASE_END_FRAMES + 1)
    return silent & recent.any(axis=1)


def _report_saccades() -> None:
    for amount in (0.0, 1.0, 1.5):
        jumps, gazes = [], []
        for seed in range(SEEDS):
            gaze = saccades(60 * FPS, seed, amount)
            fixated = gaze[:-1][np.all(gaze[1:] == gaze[:-1], axis=1)]
            steps = np.linalg.norm(np.diff(fixated, axis=0), axis=1)
            jumps.extend(steps[steps > 0])
            gazes.append(gaze)
        size = np.percentile(jumps or [0], [10, 50, 90]).round(1)
        largest = np.abs(gazes).max((0, 1)).round(1)
        print(f"  saccades at {amount}: {len(jumps) / SEEDS:.0f} a minute of {size}°, never beyond {largest}°")


def _report_rendered(corpus: Corpus, generator: Generator[Any]) -> None:
    detector = build_detector("mediapipe")
    names, pixels, tracked, kept, shut, hidden = [], [], [], [], [], []
    for name, portrait in _portraits(corpus, detector):
        landmarks = np.concatenate([_commanded(portrait), _turning(portrait), _shut(portrait)])
        prepared = generator.prepare(portrait)
        *frames, last = render_landmarks(generator, prepared, landmarks)
        faces = [found[0] for frame in frames if (found := detector.detect(frame))]
        commanded, turning = slice(1, len(COMMANDS)), slice(len(COMMANDS), None)
        if len(faces) < len(frames):
            print(f"  {name}: no face found in a rendered frame")
            continue
        names.append(name)
        pixels.append([followed_gaze(frames[0], frame, faces[0]) for frame in frames[commanded]])
        tracked.append([tracked_gaze(faces[0], face) for face in faces[commanded]])
        # For each turn of the head, the gaze relative to that of eyes that turn with it.
        turns = [(frames[turning][turn :: len(HEAD_TURNS)], faces[turning][turn]) for turn in range(len(HEAD_TURNS))]
        kept.append([[followed_gaze(turned[0], frame, face)[0] for frame in turned] for turned, face in turns])
        with_shut_eyes = detector.detect(last)
        shut.append(eye_opening(with_shut_eyes[0]) / eye_opening(faces[0]) if with_shut_eyes else np.full(2, np.nan))
        hidden.append(_in_sunglasses(portrait))
    print(f"  rendered frames of {len(names)} portraits; the median, 10 %…90 % in brackets, in degrees")
    for method, gazes in (("irises matched by their pixels", pixels), ("irises found by the tracker", tracked)):
        print(f"  {method}")
        for number, command in enumerate(COMMANDS[1:]):
            axis = int(command[0] == 0)
            measured = np.array(gazes)[:, number, axis]
            error = np.abs(measured - command[axis])
            low, median, high = np.percentile(measured, [10, 50, 90])
            line = f"    {'pitch' if axis else 'yaw'} {command[axis]:+.0f}: {median:+.1f} ({low:+.1f}…{high:+.1f})"
            print(f"{line}, within 5° in {np.mean(error <= 5):.0%}, worst {names[int(error.argmax())]}")
    for number, strength in enumerate(STRENGTHS):
        share = 1 + np.array(kept)[:, :, number] / HEAD_TURNS
        print(f"  head turned by 10°, on the viewer at {strength}: gaze turns with it by {np.median(share):.0%}")
    line = f"  a shut eye, as tracked: {np.nanmedian(shut):.2f} of the open one"
    print(f"{line}, in the least shut {np.nanmax(shut):.2f}; in recorded blinks {_recorded_closure(corpus):.2f}")
    closed, visible = np.array(shut) < CLOSED, ~np.array(hidden)
    line = f"  shut eyes that count as closed: {closed.mean():.1%}"
    print(f"{line}; without {np.sum(hidden)} portraits in sunglasses {closed[visible].mean():.1%}")


def _recorded_closure(corpus: Corpus) -> float:
    """The median over clips of the smallest eye opening relative to the clip's median opening."""
    openings = [eye_opening(corpus.seen_landmarks(clip["id"])) for clip in corpus.clips if float(clip["seconds"]) > 8]
    return float(np.median([opening.min(0) / np.median(opening, axis=0) for opening in openings]))


def _portraits(corpus: Corpus, detector: Detector) -> Iterator[tuple[str, Portrait]]:
    """Portraits with two eyes that the tracker measures reliably."""
    examples = sorted(example_path("astronaut.jpg").parent.glob("*.jpg"))
    paths = examples + sorted((corpus.folder / "portraits").glob("*.jpg"))[::EVERY_PORTRAIT]
    for path in paths:
        try:
            portrait = prepare_portrait(load_photo(path), detector)
        except SpaceError:
            continue
        open_eyes = eye_opening(portrait.normalized).min() > OPEN
        sharp = eye_width(portrait.normalized[None]).min() * portrait.pose.scale[0] > MIN_EYE_WIDTH
        if open_eyes and sharp and np.abs(portrait.pose.rotation).max() < FRONTAL and path.stem != "contact_sheet":
            yield path.stem, portrait


def _in_sunglasses(portrait: Portrait) -> bool:
    face = PosedFace(portrait.normalized[None], portrait.pose)
    in_surroundings = face_motion(face, TO_SURROUNDINGS, torch.device("cpu"))
    picture = torch.tensor(portrait.surroundings).permute(2, 0, 1)[None].float() / 255
    glasses = find_glasses(picture, in_surroundings, portrait.person)
    return glasses is not None and glasses.opaque


def _commanded(portrait: Portrait) -> np.ndarray:
    """Landmarks (commands, 478, 3) with each of the commanded gazes."""
    normalized = portrait.normalized[None].repeat(len(COMMANDS), 0)
    normalized = apply_gaze(normalized, COMMANDS[:, 0], COMMANDS[:, 1])
    return pose_landmarks(normalized, _poses(portrait.pose, np.zeros(len(COMMANDS))))


def _turning(portrait: Portrait) -> np.ndarray:
    """Landmarks (strengths × turns, 478, 3) of a head turned both ways, for each strength of ``counter_gaze``."""
    pose = _poses(portrait.pose, HEAD_TURNS)
    gazes = [counter_gaze(portrait.pose, pose, strength) for strength in STRENGTHS]
    normalized = portrait.normalized[None].repeat(len(HEAD_TURNS), 0)
    return np.concatenate([pose_landmarks(apply_gaze(normalized, *gaze.T), pose) for gaze in gazes])


def _shut(portrait: Portrait) -> np.ndarray:
    return pose_landmarks(apply_blink(portrait.normalized[None], np.ones(1)), portrait.pose)


def _poses(photo: HeadPose, yaw: np.ndarray) -> HeadPose:
    """The photo's pose turned by each yaw (N,), degrees."""
    return replace(photo.held(len(yaw)), rotation=photo.rotation + np.stack([yaw, 0 * yaw, 0 * yaw], axis=1))


def tracked_gaze(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Change of gaze (2,), yaw and pitch in degrees, between tracked landmarks (478, 3) of a head that is still."""
    return _turn([(after - before)[eye.pupil, :2] for eye in EYES], before)


def followed_gaze(before: np.ndarray, after: np.ndarray, face: np.ndarray) -> np.ndarray:
    """Change of gaze (2,), yaw and pitch in degrees, between two pictures (H, W, 3), by matching the irises' pixels.

    ``face`` (478, 3) are the landmarks of the first picture, in pixels.
    """
    return _turn([_followed(before.mean(-1), after.mean(-1), face, eye) for eye in EYES], face)


def _turn(shifts: list[np.ndarray], face: np.ndarray) -> np.ndarray:
    """Yaw and pitch of eyes whose irises have moved by pixels (2,) each from looking straight ahead."""
    share = np.mean(shifts / eye_width(face[None]).T, axis=0) / EYEBALL_RADIUS
    return np.degrees(np.arcsin(np.clip(share, -1, 1))) * [1, -1]


def _followed(before: np.ndarray, after: np.ndarray, face: np.ndarray, eye: Eye) -> np.ndarray:
    """The shift in pixels (2,) that matches the iris of one grey picture best to the other; squared error."""
    pupil = face[eye.pupil, :2]
    radius = np.linalg.norm(face[list(eye.iris_rim), :2] - pupil, axis=1).mean() * 1.15
    grid = np.stack(np.meshgrid(np.arange(-radius, radius, 0.5), np.arange(-radius, radius, 0.5)), axis=-1)
    # Lids cover the top and bottom of an iris.
    disc = grid[(grid[..., 0] ** 2 + (1.6 * grid[..., 1]) ** 2) < radius**2] + pupil
    iris = map_coordinates(before, disc.T[::-1], order=1, mode="nearest")
    shift = np.zeros(2)
    for reach, step in ((2 * radius, 1.0), (1.0, 0.125)):
        around = np.arange(-reach, reach + step, step)
        shifts = shift + np.stack(np.meshgrid(around, around), axis=-1).reshape(-1, 1, 2)
        seen = map_coordinates(after, np.moveaxis(disc + shifts, -1, 0)[::-1], order=1, mode="nearest")
        shift = shifts[((seen - iris) ** 2).sum(1).argmin(), 0]
    return shift


if __name__ == "__main__":
    main()
