"""Stage 2: from posed landmarks, speech and emotion to the latents that drive a neural generator."""

from space_core.latents.landmarks2latents import Landmarks2Latents, LatentMotion, load_landmarks2latents

__all__ = ["Landmarks2Latents", "LatentMotion", "load_landmarks2latents"]
