"""The action units option as text: units of FACS with their strengths, such as ``1:0.5, 12:0.8``."""

import re

from space_core.errors import SpaceError, quoted

# FACS (Ekman & Friesen, 1978): the number of each action unit and its name there. Left and right are the person's own.
SIDED_UNITS = {
    "1": "inner brow raiser",
    "2": "outer brow raiser",
    "4": "brow lowerer",
    "5": "upper lid raiser",
    "6": "cheek raiser",
    "7": "lid tightener",
    "9": "nose wrinkler",
    "10": "upper lip raiser",
    "11": "nasolabial deepener",
    "12": "lip corner puller",
    "14": "dimpler",
    "15": "lip corner depressor",
    "16": "lower lip depressor",
    "20": "lip stretcher",
}
MIDDLE_UNITS = {
    "17": "chin raiser",
    "18": "lip pucker",
    "22": "lip funneler",
    "23": "lip tightener",
    "24": "lip pressor",
    "25": "lips part",
    "26": "jaw drop",
    "27": "mouth stretch",
}
UNITS = {**SIDED_UNITS, **MIDDLE_UNITS}
# The columns of strengths, in arrays and motion files: 1L, 1R, 2L, …, 20R, 17, 18, …, 27.
UNIT_COLUMNS = (*(f"{unit}{side}" for unit in SIDED_UNITS for side in "LR"), *MIDDLE_UNITS)
MAX_STRENGTH = 1.5
MAX_TEXT = 1000  # characters

_NUMBER = r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+"
_EXAMPLES = "write for instance '1:0.5, 12:0.8' or '12L:1'"


def check_action_units(text: str) -> str:
    """Returns the text as it was given; raises ``SpaceError`` where ``parse_action_units`` does."""
    parse_action_units(text)
    return text


def parse_action_units(text: str) -> dict[str, float]:
    """Parses action units with strengths.

    Args:
        text: units with a strength after each colon, 0 … 1.5, joined by commas. A number alone is the unit on both
            sides; ``L`` or ``R`` after it limits it to the person's own left or right half. An empty text is none.

    Returns:
        Strengths by column of ``UNIT_COLUMNS``, without those that are 0.

    Raises:
        SpaceError: the text does not follow the grammar, or names a unit twice.
    """
    if not isinstance(text, str):
        raise SpaceError(f"Action units are a text; {_EXAMPLES}.")
    if len(text) > MAX_TEXT:
        raise SpaceError(f"The action units are {len(text)} characters long; at most {MAX_TEXT} are read.")
    strengths: dict[str, float] = {}
    for entry in text.split(",") if text.strip() else ():
        name, colon, strength = (part.strip() for part in entry.partition(":"))
        columns = _columns(name.upper().removeprefix("AU").strip())
        if not name:
            raise SpaceError(f"An action unit is missing beside a comma or a colon; {_EXAMPLES}.")
        if not columns:
            raise SpaceError(
                f"There is no action unit {quoted(name)}; choose from {', '.join(UNITS)}, "
                f"with L or R for one side of {next(iter(SIDED_UNITS))} to {[*SIDED_UNITS][-1]}."
            )
        if not colon or not re.fullmatch(_NUMBER, strength) or float(strength) > MAX_STRENGTH:
            raise SpaceError(
                f"Action unit {name} needs a strength between 0 and {MAX_STRENGTH:g} after a colon; {_EXAMPLES}."
            )
        if any(column in strengths for column in columns):
            raise SpaceError(f"Action unit {name} is given twice; give it once.")
        strengths |= dict.fromkeys(columns, float(strength))
    return {column: strength for column, strength in strengths.items() if strength}


def _columns(name: str) -> tuple[str, ...]:
    """The columns that a unit's name stands for; none if it is no name."""
    if name in SIDED_UNITS:
        return (f"{name}L", f"{name}R")
    return (name,) if name in UNIT_COLUMNS else ()
