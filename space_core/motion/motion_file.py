"""Motion files: a video's motion as an .npz file that can be inspected, edited and rendered again.

Arrays, T frames at 25 a second, real numbers (written as float32):

    format             ()           1
    normalized         (T, 478, 3)  normalized landmarks under ``said_emotion``, without action units, gaze and blinks
    closure            (T,)         how far speech holds the lips together, 0 … 1; 0 if missing
    tongue             (T, 2)       how far the tongue's tip is raised, and put between the teeth, 0 … 1; 0 if missing
    said_emotion       (T, 8)       the emotion that ``normalized`` contains; not to be edited
    emotion            (T, 8)       the emotion to render, 0 … 1.5 for each label; to be edited
    action_units       (T, 36)      strengths in the order of ``UNIT_COLUMNS``, 0 none … 1 full; 0 if missing
    gaze               (T, 2)       yaw and pitch, degrees; positive to the image's right and up
    blink              (T,)         0 eyes as they are … 1 closed
    hair               (T, 4)       how far the ``LOCKS`` of long hair swing, normalized; 0 if missing
    head_rotation      (T, 3)       yaw, pitch, roll, degrees
    head_translation   (T, 3)       the point between the outer eye corners, pixels of the 512 × 512 crop
    head_scale         (T,)         pixels per unit of the normalized face
    posed              (T, 478, 3)  the result of all these, in pixels; read only if ``normalized`` is missing
    rest               (478, 3)     the portrait's resting face, normalized
    photo_rotation     (3,)         the photo's own head pose
    photo_translation  (3,)
    photo_scale        ()
    speech             (N,)         the sound, 16 kHz mono, -1 … 1; may be missing

Files are untrusted: nothing is unpickled, and arrays are decompressed only after their declared size is checked.
"""

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from space_core.errors import SpaceError
from space_core.face.hair_locks import LOCKS
from space_core.face.normalization import HeadPose, normalize
from space_core.face.topology import NUM_POINTS, canonical_face
from space_core.media.files import (
    check_output,
    disk_full,
    existing_file,
    is_disk_full,
    shown_name,
    unfinished_file,
)
from space_core.motion.action_unit_labels import MAX_STRENGTH, UNIT_COLUMNS
from space_core.motion.emotion_labels import EMOTIONS, MAX_INTENSITY
from space_core.motion.motion import Motion, single_precision
from space_core.progress import run_with_progress
from space_core.timing import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME, number_of_frames

FORMAT = 1
T, N = "T", "N"  # frames and samples; their number depends on the file

# Each array's shape, and its least and greatest value.
ARRAYS = {
    "format": ((), FORMAT, FORMAT),
    "normalized": ((T, NUM_POINTS, 3), -10, 10),
    "closure": ((T,), 0, 1),
    "tongue": ((T, 2), 0, 1),
    "said_emotion": ((T, len(EMOTIONS)), 0, MAX_INTENSITY),
    "emotion": ((T, len(EMOTIONS)), 0, MAX_INTENSITY),
    "action_units": ((T, len(UNIT_COLUMNS)), -MAX_STRENGTH, MAX_STRENGTH),
    "gaze": ((T, 2), -90, 90),
    "blink": ((T,), 0, 1),
    "hair": ((T, len(LOCKS)), -1, 1),
    "head_rotation": ((T, 3), -90, 90),
    "head_translation": ((T, 3), -2000, 2000),
    "head_scale": ((T,), 1, 2000),
    "posed": ((T, NUM_POINTS, 3), -5000, 5000),
    "rest": ((NUM_POINTS, 3), -10, 10),
    "photo_rotation": ((3,), -90, 90),
    "photo_translation": ((3,), -2000, 2000),
    "photo_scale": ((), 1, 2000),
    "speech": ((N,), -1, 1),
}
PORTRAIT = ("rest", "photo_rotation", "photo_translation", "photo_scale")
# The arrays of the motion; if ``normalized`` is missing, they are computed from ``posed``.
LAYERS = ("normalized", "said_emotion", "emotion", "gaze", "blink", "head_rotation", "head_translation", "head_scale")
# 0 in files of versions that had none.
LATER_LAYERS = {"closure": (), "tongue": (2,), "action_units": (len(UNIT_COLUMNS),), "hair": (len(LOCKS),)}
FARTHEST = 1.0  # distance of a point from the resting face, in outer-eye-corner distances; a dropped jaw has 0.4
MAX_ZOOM = 3
MAX_ITEM_BYTES = 8
MAX_HEADER_BYTES = 4096
# Of the directory of an archive, which has one entry for each array: zipfile reads a million of them if they are there.
ENTRY, MAX_ENTRIES = b"PK\1\2", 100
BLOCK_BYTES = 1 << 20
# What zipfile and NumPy raise on damaged files; TypeError where a shape holds True, TokenError where a bracket is open.
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
    *(EOFError, OSError, ValueError, TypeError, RuntimeError),
)


def save_motion(path: str | Path, motion: Motion, on_progress: Callable[[], None] = lambda: None) -> None:
    """Writes a motion file, replacing an existing one atomically.

    Args:
        path: the file.
        motion: what is written.
        on_progress: called a few times a second; an exception that it raises is passed on, and no file appears.

    Raises:
        SpaceError: a name that doesn't end in .npz, or a file that can't be written.
    """
    target = check_output(path, ".npz")
    with _failures_as_refusals(target), unfinished_file(target) as unfinished:
        file = unfinished.open("wb")  # closed by the task, which goes on after an exception of on_progress
        run_with_progress(lambda: _write(file, motion), on_progress)
        unfinished.replace(target)


def _write(file: IO[bytes], motion: Motion) -> None:
    """Writes a motion into a file, and closes it."""
    pose, photo = motion.head_pose, motion.photo_pose
    arrays = {
        "format": np.int64(FORMAT),
        "normalized": motion.normalized,
        "closure": motion.closure,
        "tongue": motion.tongue,
        "said_emotion": motion.said_emotion,
        "emotion": motion.emotion,
        "action_units": motion.action_units,
        "gaze": motion.gaze,
        "blink": motion.blink,
        "hair": motion.hair,
        "head_rotation": pose.rotation,
        "head_translation": pose.translation,
        "head_scale": pose.scale,
        "posed": np.concatenate([segment.posed.astype(np.float32) for segment in motion.segments()]),
        "rest": motion.rest,
        "photo_rotation": photo.rotation[0],
        "photo_translation": photo.translation[0],
        "photo_scale": photo.scale[0],
    }
    if motion.speech is not None:
        arrays["speech"] = motion.speech
    with file:
        np.savez_compressed(file, **arrays)


@contextmanager
def _failures_as_refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as failure:
        if is_disk_full(failure):
            raise disk_full() from failure
        raise SpaceError(f"The landmarks {shown_name(path)} can't be written. Choose another name.") from failure


def load_motion(path: str | Path, max_seconds: float = 600.0) -> Motion:
    """Reads a motion file, edited or not.

    Args:
        path: the user's file.
        max_seconds: the longest motion that is accepted.

    Raises:
        SpaceError: no such file, not a motion file, damaged, too long, or an array that is missing, of another shape or
            type, or out of range.
    """
    file = existing_file(path, "landmarks file")
    arrays = _read_arrays(file, max_seconds)
    name = shown_name(file)
    has_layers = "normalized" in arrays
    if not has_layers and "posed" not in arrays:
        raise SpaceError(f"{name} has neither an array 'normalized' nor 'posed'. Save the landmarks again.")
    needed = {"format", *PORTRAIT, *(LAYERS if has_layers else ())}
    if missing := [array for array in ARRAYS if array in needed and array not in arrays]:
        raise SpaceError(f"{name} has no array {missing[0]!r}. Save the landmarks again.")
    num_frames = len(arrays["normalized" if has_layers else "posed"])
    if not has_layers:
        arrays |= _layers(arrays["posed"])
    for array, shape in LATER_LAYERS.items():
        arrays.setdefault(array, np.zeros((num_frames, *shape), np.float32))
    _check_lengths(arrays, num_frames, name)
    _check_face(arrays, name)
    speech = arrays.get("speech")
    return Motion(
        normalized=arrays["normalized"],
        closure=arrays["closure"],
        tongue=arrays["tongue"],
        said_emotion=arrays["said_emotion"],
        emotion=arrays["emotion"],
        action_units=arrays["action_units"],
        gaze=arrays["gaze"],
        blink=arrays["blink"],
        hair=arrays["hair"],
        head_pose=HeadPose(arrays["head_rotation"], arrays["head_translation"], arrays["head_scale"]),
        rest=arrays["rest"],
        photo_pose=HeadPose(*(arrays[array][None] for array in PORTRAIT[1:])),
        speech=None if speech is None else speech[: num_frames * SAMPLES_PER_FRAME],
    )


def _check_lengths(arrays: dict[str, np.ndarray], num_frames: int, name: str) -> None:
    """Refuses layers of another number of frames."""
    for array in (*LAYERS, *LATER_LAYERS):
        if len(arrays[array]) != num_frames:
            raise SpaceError(
                f"{name} has {num_frames} frames, but {len(arrays[array])} in {array!r}. Give all the same number."
            )


def _check_face(arrays: dict[str, np.ndarray], name: str) -> None:
    """Refuses geometry that is not a face: it would not be visible, and huge triangles exhaust memory."""
    if (far := np.abs(arrays["rest"] - canonical_face().vertices).max()) > FARTHEST:
        raise SpaceError(f"'rest' in {name} is no normalized face: a point lies {far:.1f} from where it is in others.")
    if (far := np.abs(arrays["normalized"] - arrays["rest"]).max()) > FARTHEST:
        raise SpaceError(
            f"The landmarks in {name} move a point by {far:.1f} distances of the eyes; the limit is {FARTHEST:g}."
        )
    zoom = arrays["head_scale"] / arrays["photo_scale"]
    if zoom.min() < 1 / MAX_ZOOM or zoom.max() > MAX_ZOOM:
        raise SpaceError(f"'head_scale' in {name} must lie between 1/{MAX_ZOOM} and {MAX_ZOOM} times 'photo_scale'.")


def _layers(posed: np.ndarray) -> dict[str, np.ndarray]:
    """The layers of posed landmarks (T, 478, 3), without further emotion, action units, gaze or blinks."""
    normalized, pose = normalize(posed)
    pose = single_precision(pose)
    zeros = np.zeros((len(posed), len(EMOTIONS)), np.float32)
    return {
        "normalized": normalized.astype(np.float32),
        "said_emotion": zeros,
        "emotion": zeros,
        "action_units": np.zeros((len(posed), len(UNIT_COLUMNS)), np.float32),
        "closure": zeros[:, 0],
        "tongue": zeros[:, :2],
        "gaze": zeros[:, :2],
        "blink": zeros[:, 0],
        "head_rotation": pose.rotation,
        "head_translation": pose.translation,
        "head_scale": pose.scale,
    }


def _read_arrays(path: Path, max_seconds: float) -> dict[str, np.ndarray]:
    """The arrays of a file, float32, with shapes and ranges checked."""
    name = shown_name(path)
    most = {T: number_of_frames(round(max_seconds * SAMPLE_RATE)), N: round(max_seconds * SAMPLE_RATE)}
    most[N] += SAMPLES_PER_FRAME  # the last frame may outlast the limit
    try:
        _check_directory(path)
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len({member.filename for member in members}) < len(members):
                raise ValueError("an array that is there a thousand times would be unpacked as often")
            for member in members:
                _check_member(member, most, name)
            return {_array_name(member): _read_array(archive, member, most, name) for member in members}
    except DAMAGE:
        raise SpaceError(f"{name} is not a landmarks file (.npz), or it is damaged. Save it again.") from None


def _check_directory(path: Path) -> None:
    """Raises ``ValueError`` for an archive of very many files, counted, as the number that it states may be wrong."""
    if zipfile.is_zipfile(path):
        with path.open("rb") as file:
            if sum(block.count(ENTRY) for block in iter(lambda: file.read(BLOCK_BYTES), b"")) > MAX_ENTRIES:
                raise ValueError("NumPy writes one file for each array")


def _check_member(member: zipfile.ZipInfo, most: dict[str, int], name: str) -> None:
    """Refuses, by the archive's directory, unknown arrays and those that are too large to be decompressed."""
    array = _array_name(member)
    if array not in ARRAYS or array == member.filename:
        known = ", ".join(ARRAYS)
        raise SpaceError(f"{name} holds {shown_name(array)}, which is none of: {known}. Take it out.")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("NumPy writes no other compression")
    lengths = [most[size] if isinstance(size, str) else size for size in ARRAYS[array][0]]
    numbers = np.prod(lengths, dtype=np.int64)
    if member.file_size > numbers * MAX_ITEM_BYTES + MAX_HEADER_BYTES:
        raise _too_long(array, most, name)


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: dict[str, int], name: str) -> np.ndarray:
    array = _array_name(member)
    expected, least, greatest = ARRAYS[array]
    with archive.open(member) as file:
        shape, dtype = _read_header(file)
    # NumPy itself refuses to unpickle object arrays, but with a message for programmers.
    if dtype.kind not in "fiu" or dtype.itemsize > MAX_ITEM_BYTES:
        raise SpaceError(f"{array!r} in {name} holds {_kind(dtype)}, not numbers. Save it as float32.")
    fits = len(shape) == len(expected) and all(
        got > 0 if size in most else got == size for got, size in zip(shape, expected, strict=True)
    )
    if fits and any(got > most[size] for got, size in zip(shape, expected, strict=True) if size in most):
        raise _too_long(array, most, name)
    if not fits:
        wanted = "(" + ", ".join(map(str, expected)) + ("," if len(expected) == 1 else "") + ")"
        raise SpaceError(f"{array!r} in {name} must have the shape {wanted}; it has {shape}.")
    with archive.open(member) as file:
        values = np.lib.format.read_array(file, allow_pickle=False)
    if not np.isfinite(values).all():
        raise SpaceError(f"{array!r} in {name} holds values that are no numbers (NaN or infinity). Take them out.")
    low, high = values.min(), values.max()
    if low < least or high > greatest:
        worst = low if low < least else high
        limits = f"be {least}" if least == greatest else f"lie between {least} and {greatest}"
        raise SpaceError(f"{array!r} in {name} must {limits}; it holds {worst:g}.")
    return values.astype(np.float32)


def _too_long(array: str, most: dict[str, int], name: str) -> SpaceError:
    frames = most[T]
    return SpaceError(f"{array!r} in {name} is too long: the limit is {frames / FPS:g} s, {frames} frames.")


def _array_name(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(".npy")


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Declared shape and type of an array."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"arrays of version {version} are not supported")
    shape, _, dtype = read(file, max_header_size=MAX_HEADER_BYTES)
    return shape, dtype


def _kind(dtype: np.dtype) -> str:
    """A type in words."""
    return {"O": "Python objects", "U": "text", "S": "text", "b": "truth values", "c": "complex numbers"}.get(
        dtype.kind, "something else"
    )
