"""Requests whose lists lie within lists within lists, refused before they are parsed.

The parser would go on until the interpreter's stack ends. Whatever else runs at that depth, such as the finalizer of an
object that has nothing to do with the request, fails, too.
"""

import json
import re

import numpy as np
from fastapi import HTTPException
from starlette.types import Message, Receive

MAX_NESTING = 50  # lists and objects within each other; a page's values have five at most
TOO_DEEP = f"The lists and objects of a request may be nested {MAX_NESTING} levels deep."

_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


def without_deep_nesting(receive: Receive) -> Receive:
    """Receives a request of JSON; its end raises an ``HTTPException`` if it is nested too deep."""
    content = bytearray()

    async def receive_shallow() -> Message:
        message = await receive()
        content.extend(message.get("body", b""))
        is_end = message["type"] == "http.request" and not message.get("more_body")
        if is_end and nesting(bytes(content)) > MAX_NESTING:
            raise HTTPException(422, TOO_DEEP)
        return message

    return receive_shallow


def nesting(content: bytes) -> int:
    """How many lists and objects of a text of JSON lie within each other; brackets in its strings do not count."""
    text = content.decode(json.detect_encoding(content), "replace")
    codes = np.frombuffer(_STRING.sub("", text).encode(), np.uint8)
    steps = np.isin(codes, list(b"[{")).astype(int) - np.isin(codes, list(b"]}"))
    return int(steps.cumsum().max(initial=0))
