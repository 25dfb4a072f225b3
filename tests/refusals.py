"""What functions say about inputs that they refuse."""

from collections.abc import Callable
from typing import Any

import pytest

from space_core.errors import SpaceError


def refusal(function: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    """The message with which a function refuses these arguments: one line, and not a long one."""
    with pytest.raises(SpaceError) as error:
        function(*arguments, **options)
    message = str(error.value)
    assert "Traceback" not in message
    assert "\n" not in message
    assert len(message) < 300
    return message
