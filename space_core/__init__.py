"""SPACE: one photo and one speech recording in, a video of that person saying it out."""

from space_core.comparison import Comparison
from space_core.errors import SpaceError
from space_core.face.drawing import draw_preview
from space_core.face.preview import FacePreview
from space_core.motion.curves import Curves, curves
from space_core.motion.motion import Motion
from space_core.motion.motion_file import load_motion, save_motion
from space_core.options import AnimationOptions
from space_core.pipeline import Animation, SpacePipeline

__all__ = [
    "Animation",
    "AnimationOptions",
    "Comparison",
    "Curves",
    "FacePreview",
    "Motion",
    "SpaceError",
    "SpacePipeline",
    "curves",
    "draw_preview",
    "load_motion",
    "save_motion",
]
