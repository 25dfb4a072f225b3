"""JSON of unknown origin, refused before it is parsed where its lists lie too deep within each other.

The parser would go on until the interpreter's stack ends. Whatever else runs at that depth, such as the finalizer of an
object that has nothing to do with the text, fails, too.
"""

import json
import re
from typing import Any

import numpy as np

MAX_NESTING = 50  # lists and objects within each other

_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


def nesting(text: str) -> int:
    """How many lists and objects of a text of JSON lie within each other; brackets in its strings do not count."""
    codes = np.frombuffer(_STRING.sub("", text).encode("utf-8", "replace"), np.uint8)
    steps = np.isin(codes, list(b"[{")).astype(int) - np.isin(codes, list(b"]}"))
    return int(steps.cumsum().max(initial=0))


def parse_shallow(text: str) -> Any:
    """What a text of JSON contains.

    Raises:
        ValueError: it is no JSON, or more than MAX_NESTING lists and objects lie within each other.
    """
    if (depth := nesting(text)) > MAX_NESTING:
        raise ValueError(f"lists and objects are nested {depth} levels deep, and may be {MAX_NESTING}")
    return json.loads(text)
