"""Comparisons: the same speech rendered with several settings, synchronized, in one grid."""

from collections.abc import Generator, Sequence
from contextlib import ExitStack
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from space_core.animation import Animation
from space_core.errors import SpaceError
from space_core.frame_iterator import FrameIterator
from space_core.options import AnimationOptions, option_field, option_names
from space_core.progress import Progress

MIN_SETTINGS, MAX_SETTINGS = 2, 4
COLUMNS = 2
# In parts of a cell's side.
STRIP = 0.11  # height of the strip below each picture that says which setting it is
LETTERS = 0.055  # height of its letters
LONGEST_CAPTION = 200  # characters that are laid out; about 30 fit
BACKGROUND, TEXT_COLOR = (24, 26, 32), (236, 238, 244)


class Comparison(FrameIterator):
    """A grid of talking portraits: an iterator of ``num_frames`` pictures (H, W, 3) uint8 RGB, drawn as asked for.

    Closing it, or leaving its ``with`` block, ends the work.

    Attributes:
        portrait: the prepared photo, the first setting's.
        num_frames: how many frames there are in all, 25 a second.
        captions: what is below each picture.
        notes: those of the animations, each once.
    """

    def __init__(self, animations: Sequence[Animation], captions: tuple[str, ...], progress: Progress) -> None:
        first = animations[0]
        notes = dict.fromkeys(note for animation in animations for note in animation.notes)
        super().__init__(first.portrait, first.num_frames, tuple(notes))
        self.captions = captions
        self._pictures = self._draw(animations, progress)

    def close(self) -> None:
        """Ends the work; no more frames are drawn."""
        self._pictures.close()

    def __next__(self) -> np.ndarray:
        return next(self._pictures)

    def _draw(self, animations: Sequence[Animation], progress: Progress) -> Generator[np.ndarray, None, None]:
        with ExitStack() as open_animations:
            for animation in animations:
                open_animations.enter_context(animation)
            # In step, so that no more than a few frames of each wait for the others.
            for done, pictures in enumerate(zip(*animations, strict=True)):
                progress("frames", done, self.num_frames)
                yield grid(pictures, self.captions)
            progress("frames", self.num_frames, self.num_frames)


def check_settings(settings: Sequence[AnimationOptions], captions: Sequence[str] | None) -> tuple[str, ...]:
    """Checks that settings can be compared.

    Returns:
        Their captions, by default the options in which they differ.

    Raises:
        SpaceError: the settings can't be compared, or there are not as many captions as settings.
    """
    if not MIN_SETTINGS <= len(settings) <= MAX_SETTINGS:
        raise SpaceError(
            f"{MIN_SETTINGS} to {MAX_SETTINGS} settings can be compared, not {len(settings)}. "
            "Leave some out, or add some."
        )
    if any(options.shows_whole_photo for options in settings):
        raise SpaceError("Only crops can be compared. Leave out the framing.")
    if len({options.size for options in settings}) > 1:
        raise SpaceError("Pictures to be compared must have one size. Give the same size in every setting.")
    if captions is None:
        return describe_differences(settings)
    if len(captions) != len(settings):
        raise SpaceError(f"There are {len(settings)} settings and {len(captions)} captions. Give one for each.")
    return tuple(captions)


def describe_differences(settings: Sequence[AnimationOptions]) -> tuple[str, ...]:
    """The options in which settings differ, as a caption for each: "happy, 0.7" or "seed 3"."""
    differing = [name for name in option_names() if len({getattr(options, name) for options in settings}) > 1]
    captions = []
    for number, options in enumerate(settings, 1):
        changed = [name for name in differing if getattr(options, name) != option_field(name).default]
        captions.append(", ".join(_words(name, options, changed or differing) for name in changed or differing))
        captions[-1] = captions[-1] or f"setting {number}"
    return tuple(captions)


def _words(name: str, options: AnimationOptions, named: Sequence[str]) -> str:
    """One of the options that a caption names, in words; an emotion and its intensity by their values alone."""
    value = getattr(options, name)
    shown = f"{value:g}" if isinstance(value, float) else str(getattr(value, "name", value))
    is_said_by_value = name == "emotion" or (name == "intensity" and "emotion" in named)
    return shown if is_said_by_value else f"{name.replace('_', ' ')} {shown}"


def grid(pictures: Sequence[np.ndarray], captions: Sequence[str]) -> np.ndarray:
    """Two to four pictures (n, n, 3) uint8 RGB, n even, in two columns, each above its caption: (H, W, 3) uint8."""
    side = len(pictures[0])
    rows = -(-len(pictures) // COLUMNS)
    whole = np.empty((rows * (side + _strip_height(side)), COLUMNS * side, 3), np.uint8)
    whole[:] = BACKGROUND
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        row, column = divmod(number, COLUMNS)
        top, left = row * (side + _strip_height(side)), column * side
        whole[top : top + side, left : left + side] = picture
        whole[top + side : top + side + _strip_height(side), left : left + side] = _strip(caption, side)
    return whole


def _strip_height(side: int) -> int:
    return 2 * round(side * STRIP / 2)  # even, as H.264 requires


@lru_cache(maxsize=MAX_SETTINGS)
def _strip(caption: str, side: int) -> np.ndarray:
    """A caption as a picture; a long one is cut."""
    strip = Image.new("RGB", (side, _strip_height(side)), BACKGROUND)
    font = ImageFont.load_default(size=side * LETTERS)
    room, text = side - strip.height, " ".join(caption[:LONGEST_CAPTION].split())
    while font.getlength(text) > room:
        text = text.rstrip("…")[:-1].rstrip() + "…"
    ImageDraw.Draw(strip).text((side / 2, strip.height / 2), text, TEXT_COLOR, font, anchor="mm")
    return np.asarray(strip)
