"""SPACE: one photo and one speech recording in, a video of that person saying it out."""

from space_core.errors import SpaceError
from space_core.options import AnimationOptions
from space_core.pipeline import Animation, SpacePipeline

__all__ = ["Animation", "AnimationOptions", "SpaceError", "SpacePipeline"]
