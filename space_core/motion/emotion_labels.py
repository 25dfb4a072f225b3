"""The emotion option as text: labels, blends such as ``0.7 happy + 0.3 sad``, timelines such as ``0:sad, 2:happy``."""

import re

from space_core.errors import SpaceError, quoted

# The labels of MEAD (Wang et al., ECCV 2020).
EMOTIONS = ("neutral", "angry", "contempt", "disgusted", "fear", "happy", "sad", "surprised")
MAX_INTENSITY = 1.5
MAX_TEXT = 1000  # characters

_NUMBER = r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+"
_EXAMPLES = "write for instance 'happy', '0.7 happy + 0.3 sad' or '0:neutral, 2.5:happy@0.8'"


def check_emotion(emotion: str) -> str:
    """Returns the text as it was given; raises ``SpaceError`` where ``parse_timeline`` does."""
    parse_timeline(emotion, 1.0)
    return emotion


def parse_timeline(emotion: str, intensity: float) -> list[tuple[float, tuple[float, ...]]]:
    """Parses an emotion in words.

    Args:
        emotion: a label, a blend or a timeline; see ``motion.emotion.emotion_curve`` for the grammar.
        intensity: of every label without an ``@`` of its own.

    Returns:
        Start times in seconds, ascending, each with its eight label weights: shares that sum up to 1, × intensity, in
        the order of ``EMOTIONS``.

    Raises:
        SpaceError: the text does not follow the grammar.
    """
    if not isinstance(emotion, str) or not emotion.strip():
        raise SpaceError(f"The emotion is empty; {_EXAMPLES}.")
    if len(emotion) > MAX_TEXT:
        raise SpaceError(f"The emotion is {len(emotion)} characters long; at most {MAX_TEXT} are read.")
    entries = emotion.split(",")
    timeline = {}
    for entry in entries:
        second, colon, blend = entry.rpartition(":")
        if not entry.strip():
            raise SpaceError(
                f"There is nothing between two commas, or after the last one, in the emotion; {_EXAMPLES}."
            )
        if colon and not re.fullmatch(_NUMBER, second.strip()):
            raise SpaceError(f"{quoted(second)} before the colon is no time in seconds; {_EXAMPLES}.")
        if not colon and len(entries) > 1:
            raise SpaceError(f"{quoted(entry)} lacks its time in seconds, as in '2.5:happy'; a blend is joined by +.")
        time = float(second) if colon else 0.0
        if time in timeline:
            raise SpaceError(f"The emotion says twice what is felt from second {time:g} on; say it once.")
        timeline[time] = _parse_blend(blend, intensity)
    return sorted(timeline.items())


def _parse_blend(text: str, intensity: float) -> tuple[float, ...]:
    """The eight label weights × intensity of, for instance, ``0.7 happy + 0.3 sad @ 0.8``."""
    blend, at, strength = text.partition("@")
    if at:
        if not re.fullmatch(_NUMBER, strength.strip()) or float(strength) > MAX_INTENSITY:
            raise SpaceError(
                f"The strength after the @ is a number between 0 and {MAX_INTENSITY:g}, not {quoted(strength)}."
            )
        intensity = float(strength)
    shares = dict.fromkeys(EMOTIONS, 0.0)
    for part in blend.split("+"):
        number = re.match(_NUMBER, part.strip())
        share = number[0] if number else "1"
        label = part.strip().removeprefix(number[0] if number else "").strip().lower()
        if not label:
            beside = quoted(part) if part.strip() else "a + or a colon"
            raise SpaceError(f"An emotion is missing beside {beside}; {_EXAMPLES}.")
        if label not in EMOTIONS:
            raise SpaceError(f"There is no emotion called {quoted(label)}; choose from: {', '.join(EMOTIONS)}.")
        shares[label] += float(share)
    total = sum(shares.values())
    if not 0 < total < float("inf"):
        raise SpaceError(f"The shares of {quoted(blend)} don't add up to a number above 0; {_EXAMPLES}.")
    return tuple(intensity * (share / total) for share in shares.values())
