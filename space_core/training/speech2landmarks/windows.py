"""Windows of recordings that the decoder is trained on: parts of clips, with pauses, noise and music."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from space_core.motion.motion_network import CONTEXT_FRAMES, RECEPTIVE_FRAMES
from space_core.motion.speech2landmarks import WINDOW_FRAMES
from space_core.motion.speech_encoder import TOKENS_PER_FRAME, WIDTH
from space_core.motion.speech_features import NUM_MELS, STEPS_PER_FRAME, smooth_activity
from space_core.training.speech2landmarks.clips import Clip

TRACKED_SHARE = 0.3  # of windows that come from tracked clips rather than pseudo-labelled recordings
BATCH, ENSEMBLE_BATCH = 16, 24  # windows; with and without the encoder
WORDLESS_SHARE = 0.08  # of windows with noise or music alone
SOUNDING_SHARE = 0.7  # of these that are not silent
PAUSED_SHARE = 0.35  # of windows with a pause cut into them
PAUSE_FRAMES = (14, 70)  # shortest and longest pause
EDGE_FRAMES = 6  # at the ends of a recording, which is cut off within a word
PAUSE_EDGE_FRAMES, PAUSE_EDGE_WEIGHT = 3, 0.3  # at both ends of a pause, and how much these frames count


@dataclass(frozen=True)
class Windows:
    """A batch of windows of ``WINDOW_FRAMES`` frames, silent and with shut lips until recordings are put into them.

    Attributes:
        sound: (batch, (WINDOW_FRAMES + 2 · context) · rows_per_frame, bands) spectrograms or the encoder's features.
        motion: (batch, WINDOW_FRAMES, coefficients + 1); the last column is how far the lips are shut.
        weight: (batch, WINDOW_FRAMES) how much each frame counts.
        context: frames of sound before and after the window.
        rows_per_frame: of the sound.
    """

    sound: torch.Tensor
    motion: torch.Tensor
    weight: torch.Tensor
    context: int
    rows_per_frame: int

    def put(self, index: int, sound: torch.Tensor, motion: torch.Tensor, first: int) -> None:
        """Puts what a recording has from frame ``first`` on, which may be negative, into a window, in place.

        Args:
            index: of the window.
            sound: (rows, bands) of the recording.
            motion: (T, coefficients + 1) its motion.
        """
        length = len(motion)
        rows = sound[: length * self.rows_per_frame].to(self.sound.dtype)
        copy_window(rows, self.sound[index], (first - self.context) * self.rows_per_frame)
        copy_window(motion, self.motion[index], first)
        # Outside the recording there is silence; the frames at its ends are cut off within a word and don't count.
        for border in (-first, length - first):
            frames_around(self.weight[index], border, EDGE_FRAMES).zero_()


def silent_windows(
    num_windows: int, num_coefficients: int, context: int, rows_per_frame: int, num_bands: int
) -> Windows:
    """Windows without a recording; for the arguments see ``Windows``, whose motion has ``num_coefficients`` columns."""
    motion = torch.zeros(num_windows, WINDOW_FRAMES, num_coefficients)
    motion[:, :, -1] = 1  # lips are shut outside the recording
    sound = torch.zeros(num_windows, (WINDOW_FRAMES + 2 * context) * rows_per_frame, num_bands)
    return Windows(sound, motion, torch.ones(num_windows, WINDOW_FRAMES), context, rows_per_frame)


def clip_chances(clips: list[Clip]) -> np.ndarray:
    """The probability of each clip: the square root of its length, so that a few long clips don't outweigh the rest."""
    chances = np.sqrt([float(len(clip.opening)) for clip in clips])
    tracked = np.array([clip.tracked for clip in clips])
    if not tracked.all():
        chances[tracked] *= TRACKED_SHARE / chances[tracked].sum()
        chances[~tracked] *= (1 - TRACKED_SHARE) / chances[~tracked].sum()
    return chances / chances.sum()


def make_batch(
    clips: list[Clip], chances: np.ndarray, wordless: torch.Tensor | None, draw: np.random.Generator
) -> Windows:
    """Random parts of clips, each at one of its speeds.

    With ``wordless`` (steps, 80), sound is spectrograms, some with pauses cut into them, some of noise and music alone;
    else it is the encoder's features.
    """
    size, *sound_shape = (
        (BATCH, CONTEXT_FRAMES, STEPS_PER_FRAME, NUM_MELS)
        if wordless is not None
        else (ENSEMBLE_BATCH, RECEPTIVE_FRAMES, TOKENS_PER_FRAME, WIDTH)
    )
    batch = silent_windows(size, clips[0].motion[0].shape[1], *sound_shape)
    active = np.ones((size, WINDOW_FRAMES), bool)
    for index in range(size):
        if wordless is not None and draw.random() < WORDLESS_SHARE:
            if draw.random() < SOUNDING_SHARE:
                _put_wordless_sound(batch.sound[index], wordless, batch.rows_per_frame, draw)
            continue
        clip = clips[draw.choice(len(clips), p=chances)]
        speed = draw.integers(len(clip.sound))
        batch.put(index, clip.sound[speed], clip.motion[speed], random_start(len(clip.motion[speed]), draw))
        if wordless is not None and draw.random() < PAUSED_SHARE:
            _put_pause(batch.sound[index], active[index], batch.weight[index], draw)
    activity = torch.from_numpy(np.stack([smooth_activity(one) for one in active]))[:, :, None]
    shut = torch.where(activity < 0.5, 1.0, batch.motion[:, :, -1:])
    return replace(batch, motion=torch.cat([batch.motion[:, :, :-1] * activity, shut], dim=2))


def _put_wordless_sound(sound: torch.Tensor, wordless: torch.Tensor, per_frame: int, draw: np.random.Generator) -> None:
    """Puts a part of ``wordless`` into a window's spectrogram, in place."""
    first = draw.integers(len(wordless) - len(sound))
    num_frames = len(sound) // per_frame
    last = draw.integers(num_frames, 3 * num_frames) * per_frame // 2  # some recordings end within the window
    sound[:last] = wordless[first : first + len(sound)][:last]


def _put_pause(sound: torch.Tensor, active: np.ndarray, weight: torch.Tensor, draw: np.random.Generator) -> None:
    """Cuts a pause into a window, in place."""
    window = WINDOW_FRAMES + 2 * CONTEXT_FRAMES
    length, first = int(draw.integers(*PAUSE_FRAMES)), int(draw.integers(-10, WINDOW_FRAMES - 10))
    low, high = max(first + CONTEXT_FRAMES, 0), min(first + length + CONTEXT_FRAMES, window)
    sound[low * STEPS_PER_FRAME : high * STEPS_PER_FRAME] = 0
    active[max(first, 0) : max(first + length, 0)] = False
    # The word that the pause cuts off has no defined articulation.
    for border in (first, first + length):
        frames_around(weight, border, PAUSE_EDGE_FRAMES).mul_(PAUSE_EDGE_WEIGHT)


def random_start(length: int, draw: np.random.Generator) -> int:
    """The first frame of a window of a recording of so many frames, which may reach beyond both ends by a third."""
    return int(draw.integers(-WINDOW_FRAMES // 3, max(length - 2 * WINDOW_FRAMES // 3, 1)))


def copy_window(recording: torch.Tensor, window: torch.Tensor, first: int) -> None:
    """Copies the rows of a recording (T, …) from ``first`` on into a window (W, …), in place; its others stay."""
    begin, end = max(first, 0), min(first + len(window), len(recording))
    window[begin - first : end - first] = recording[begin:end]


def frames_around(weight: torch.Tensor, border: int, reach: int) -> torch.Tensor:
    """The part of (WINDOW_FRAMES,) weights that lies within ``reach`` of a border between frames."""
    return weight[max(border - reach, 0) : max(border + reach, 0)]
