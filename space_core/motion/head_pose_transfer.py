"""Head motion that is transferred from a video: a ``HeadPose`` that starts at the photo's own pose."""

from collections.abc import Iterable

import numpy as np

from space_core.errors import SpaceError
from space_core.face.normalization import HeadPose, join_poses, normalize
from space_core.motion.head_pose import ease, offset_pose, rotation_limits, soft_limit
from space_core.timing import FPS

# Degrees from the photo's pose in any angle, which motion never reaches; it is unchanged up to that part of them.
MAX_TRANSFERRED_ROTATION, FREE_PART = 38.0, 25 / 38
NOTABLE_ROTATION = 1.0  # beyond that part, of which users are notified; less is compressed by a tenth of a degree
MAX_TRANSFERRED_SHIFT = np.array([0.6, 0.45, 0.2])  # of translation in units of the normalized face, of the scale's log
SMOOTHING_FRAMES, SMOOTHING_ORDER = 9, 3  # Savitzky–Golay: removes jitter, keeps nods of up to 3 Hz
MIN_FOUND_SHARE = 0.5  # of a pose video's frames must show a face
OUTLIER_RADIUS = 2  # frames to either side of the median that replaces tracking errors …
MIN_OUTLIER = np.array([4.0, 4.0, 4.0, 0.06, 0.06, 0.06])  # … of at least this much
CUT = np.array([10.0, 10.0, 10.0, 0.3, 0.3, 0.15])  # from one frame to the next; larger changes are cuts
SHOT_TRANSITION_FRAMES = 2.0 * FPS  # over which the pose changes to that of the next shot, relative to its start


def follow_head_pose(faces: Iterable[np.ndarray | None]) -> HeadPose:
    """The head pose of each frame of a video, NaN in frames without a face.

    ``faces`` are the landmarks (478, 3) of successive frames, in pixels, or None; they are consumed one by one.
    """
    missing = HeadPose(np.full((1, 3), np.nan), np.full((1, 3), np.nan), np.full(1, np.nan))
    poses = [missing if face is None else normalize(face[None])[1] for face in faces]
    return join_poses([missing[:0], *poses])


def transfer_head_pose(driving: HeadPose, num_frames: int, photo: HeadPose, amount: float) -> HeadPose:
    """The head motion of a driving video, relative to its first frame with a face.

    Args:
        driving: the video's head poses at 25 frames a second, NaN where no face was found; see ``follow_head_pose``.
        num_frames: frames of the result. A shorter video is repeated forwards and backwards.
        photo: the photo's own pose, of length 1. The motion starts there and is scaled to its face.
        amount: 0 (exactly still), 1 (as in the video) … 1.5.

    Returns:
        A head pose of ``num_frames`` frames, as in the video up to ±25° from the photo's in every angle, compressed
        smoothly beyond, never ±38° from it; less if it turns a turned head still further away.

    Raises:
        SpaceError: too few of the frames show a face.
    """
    found = ~np.isnan(driving.scale)
    if not found.any():
        raise SpaceError("There is no face in the pose video; choose one that shows a person's face throughout.")
    if found.mean() < MIN_FOUND_SHARE:
        raise SpaceError(
            f"Only {found.mean():.0%} of the pose video's frames show a face; choose one that shows it throughout."
        )
    pose = driving[found]
    rotation = np.unwrap(pose.rotation, axis=0, period=360)
    scale = np.median(pose.scale)  # constant, so that approaching the camera does not scale the motion
    values = np.concatenate([rotation, pose.translation[:, :2] / scale, np.log(pose.scale)[:, None]], axis=1)

    # Frames before the first face and after the last are left out; gaps between are interpolated.
    frames = np.flatnonzero(found)
    range_of_faces = np.arange(frames[0], frames[-1] + 1)
    values = np.stack([np.interp(range_of_faces, frames, value) for value in values.T], axis=1)
    offsets = _without_cuts(_without_outliers(values))[_ping_pong(len(values), num_frames)]
    # After the repetition, so that reversals are smooth.
    from scipy.signal import savgol_filter  # takes 0.4 s to import, and most videos have no pose video

    window = min(SMOOTHING_FRAMES, num_frames - 1 + num_frames % 2)
    if window > SMOOTHING_ORDER:
        offsets = savgol_filter(offsets, window, SMOOTHING_ORDER, axis=0)
    offsets = (offsets - offsets[:1]) * amount

    # The video's translation already includes that of rotation about the neck.
    return offset_pose(_within_transfer_limits(offsets, photo), photo, np.zeros(3))


def transfer_notes(pose: HeadPose, photo: HeadPose) -> tuple[str, ...]:
    """Notes for the user on a pose of ``transfer_head_pose``: a sentence if turns were compressed."""
    turns = pose.rotation - photo.rotation
    free = FREE_PART * rotation_limits(turns, photo, MAX_TRANSFERRED_ROTATION)
    beyond = np.abs(turns) - free
    if beyond.max(initial=0.0) <= NOTABLE_ROTATION:
        return ()
    farthest = np.unravel_index(beyond.argmax(), beyond.shape)
    note = (
        "The head in the pose video turns further than the photo can follow: beyond "
        f"{free[farthest]:.0f}° from its first pose turns are reduced, here to {abs(turns[farthest]):.0f}° at most."
    )
    return (note,)


def _within_transfer_limits(offsets: np.ndarray, photo: HeadPose) -> np.ndarray:
    """Transferred offsets (T, 6) from the photo's pose, compressed smoothly where the photo can't carry them."""
    limits = rotation_limits(offsets[:, :3], photo, MAX_TRANSFERRED_ROTATION)
    return np.hstack([soft_limit(offsets[:, :3], limits, FREE_PART), soft_limit(offsets[:, 3:], MAX_TRANSFERRED_SHIFT)])


def _without_outliers(values: np.ndarray) -> np.ndarray:
    """Values (T, C) with single-frame tracking errors replaced by the median of their neighbourhood."""
    padded = np.pad(values, [(OUTLIER_RADIUS, OUTLIER_RADIUS), (0, 0)], mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * OUTLIER_RADIUS + 1, axis=0)
    median = np.median(windows, axis=-1)
    # A fast nod differs from its median, but not from the mean of its neighbours; a tracking error differs from both.
    between = (windows[..., OUTLIER_RADIUS - 1] + windows[..., OUTLIER_RADIUS + 1]) / 2
    jump = np.minimum(np.abs(values - median), np.abs(values - between))
    return np.where(jump > np.maximum(8 * np.median(jump, axis=0), MIN_OUTLIER), median, values)


def _without_cuts(values: np.ndarray) -> np.ndarray:
    """Values (T, C) relative to the first, without the jumps at a video's cuts.

    Each shot is relative to its own first frame, with a smooth transition from the last pose of the shot before.
    """
    offsets = values - values[0]
    frames = np.arange(len(values))
    for cut in np.flatnonzero((np.abs(np.diff(values, axis=0)) > CUT).any(axis=1)) + 1:
        before, progress = offsets[cut - 1].copy(), ease((frames[cut:] - cut) / SHOT_TRANSITION_FRAMES)[:, None]
        offsets[cut:] = values[cut:] - values[cut] + before * (1 - progress)
    return offsets


def _ping_pong(length: int, num_frames: int) -> np.ndarray:
    """(num_frames,) indices 0 … length-1 … 0 … length-1 …"""
    if length == 1:
        return np.zeros(num_frames, np.int64)
    place = np.arange(num_frames) % (2 * length - 2)
    return np.minimum(place, 2 * length - 2 - place)
