"""How long hair lags behind a moving head and swings: a damped pendulum for each lock, whose pivot the head moves.

With ``u`` how far a lock is from where the head would carry it, and ``p`` its pivot, both along x:
``u'' + 2 d w u' + w² u = -p''``. Between frames the pivot moves evenly: its acceleration is a step of velocity at each
frame, and what follows is a free oscillation in closed form, the same however frames are grouped.
"""

import numpy as np

from space_core.face.hair_locks import LOCKS
from space_core.face.normalization import HeadPose
from space_core.motion.head_pose import soft_limit
from space_core.timing import FPS

PIVOT_HEIGHT, PIVOT_DEPTH = 0.4, 0.6  # normalized: hair hangs from behind the ears
FREQUENCIES = np.array([1.45, 1.0, 1.45, 1.0])  # Hz, of the locks: pendulums of 12 and 25 cm
DAMPING = 0.4  # of the critical damping: a quarter of a swing is left at the next one
SPREAD = 0.12  # of frequencies and damping among seeds and locks, standard deviation of the logarithm
FARTHEST = 0.25  # normalized


class HairSwing:
    """The locks of one film or stream, at rest before its first frame."""

    def __init__(self, photo: HeadPose, seed: int) -> None:
        """``photo`` is the photo's own pose, of length 1."""
        random = np.random.default_rng(seed)
        w = 2 * np.pi * FREQUENCIES * np.exp(SPREAD * random.standard_normal(len(LOCKS)))
        damping = DAMPING * np.exp(SPREAD * random.standard_normal(len(LOCKS)))
        decay, rate = damping * w, w * np.sqrt(1 - damping**2)
        cos, sin = np.cos(rate / FPS), np.sin(rate / FPS) / rate
        # (2, 2, 4): distance and velocity a frame later.
        self._step = np.exp(-decay / FPS) * np.array([[cos + decay * sin, sin], [-(w**2) * sin, cos - decay * sin]])
        self._state = np.zeros((2, len(LOCKS)))  # distance and velocity
        self._pivots: np.ndarray | None = None  # (4,) at the latest frame
        self._velocity = np.zeros(len(LOCKS))  # of the pivots, since then
        self._scale = photo.scale

    def next(self, pose: HeadPose) -> np.ndarray:
        """(T, 4) float32, how far the ``LOCKS`` are to the image's right of where the head carries them, normalized.

        ``pose`` are the poses of the next T frames.
        """
        at = np.column_stack([LOCKS[:, 0], np.full((len(LOCKS), 2), [PIVOT_HEIGHT, PIVOT_DEPTH])])
        pivots = (pose.scale[:, None] * (pose.matrices[:, 0] @ at.T) + pose.translation[:, :1]) / self._scale
        swing = np.empty_like(pivots)
        before = pivots[0] if self._pivots is None else self._pivots
        for index, here in enumerate(pivots):
            velocity = (here - before) * FPS
            self._state[1] -= velocity - self._velocity
            self._state = np.einsum("ijk,jk->ik", self._step, self._state)
            swing[index], self._velocity, before = self._state[0], velocity, here
        self._pivots = before
        return soft_limit(swing, np.full(len(LOCKS), FARTHEST)).astype(np.float32)
