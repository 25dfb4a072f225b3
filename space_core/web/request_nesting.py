"""Requests whose lists lie within lists within lists: refused before they are parsed, see ``shallow_json``."""

import json

from fastapi import HTTPException
from starlette.types import Message, Receive

from space_core.shallow_json import MAX_NESTING, nesting

TOO_DEEP = f"The lists and objects of a request may be nested {MAX_NESTING} levels deep."  # a page's have five at most


def without_deep_nesting(receive: Receive) -> Receive:
    """Receives a request of JSON; its end raises an ``HTTPException`` if it is nested too deep."""
    content = bytearray()

    async def receive_shallow() -> Message:
        message = await receive()
        content.extend(message.get("body", b""))
        is_end = message["type"] == "http.request" and not message.get("more_body")
        if is_end and nesting(content.decode(json.detect_encoding(content), "replace")) > MAX_NESTING:
            raise HTTPException(422, TOO_DEEP)
        return message

    return receive_shallow
