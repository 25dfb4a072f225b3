"""SPACE: one photo and one speech recording in, a video of that person saying it out."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from space_core.version import __version__ as __version__

if TYPE_CHECKING:
    from space_core.animation import Animation, Frame
    from space_core.comparison import Comparison
    from space_core.errors import ServerFault, SpaceError
    from space_core.face.preview import FacePreview
    from space_core.face.preview_drawing import draw_preview
    from space_core.live.control import LiveControl
    from space_core.live.frames import LiveFrame
    from space_core.live.gaps import fill_gaps
    from space_core.live.stream import LiveStream
    from space_core.motion.curves import Curves, curves
    from space_core.motion.motion import Motion
    from space_core.motion.motion_file import load_motion, save_motion
    from space_core.options import AnimationOptions
    from space_core.output import Outputs
    from space_core.pipeline import SpacePipeline

# By name, the module that holds it. It is imported when the name is first used: torch alone takes more than a second.
_MODULES = {
    "Animation": "space_core.animation",
    "AnimationOptions": "space_core.options",
    "Comparison": "space_core.comparison",
    "Curves": "space_core.motion.curves",
    "FacePreview": "space_core.face.preview",
    "Frame": "space_core.animation",
    "LiveControl": "space_core.live.control",
    "LiveFrame": "space_core.live.frames",
    "LiveStream": "space_core.live.stream",
    "Motion": "space_core.motion.motion",
    "Outputs": "space_core.output",
    "ServerFault": "space_core.errors",
    "SpaceError": "space_core.errors",
    "SpacePipeline": "space_core.pipeline",
    "curves": "space_core.motion.curves",
    "draw_preview": "space_core.face.preview_drawing",
    "fill_gaps": "space_core.live.gaps",
    "load_motion": "space_core.motion.motion_file",
    "save_motion": "space_core.motion.motion_file",
}

__all__ = [
    "Animation",
    "AnimationOptions",
    "Comparison",
    "Curves",
    "FacePreview",
    "Frame",
    "LiveControl",
    "LiveFrame",
    "LiveStream",
    "Motion",
    "Outputs",
    "ServerFault",
    "SpaceError",
    "SpacePipeline",
    "curves",
    "draw_preview",
    "fill_gaps",
    "load_motion",
    "save_motion",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
