"""The generator "liveportrait", assembled: the networks, and Landmarks2Latents, which is trained when it is missing."""

from space_core.neural.assembly import build, is_available

__all__ = ["build", "is_available"]
