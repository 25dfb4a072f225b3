"""LivePortrait: a neural generator that is driven by latent keypoints; its weights are not part of SPACE."""

from space_core.generator.liveportrait.motion_extractor import Latents
from space_core.generator.liveportrait.networks import LivePortraitNetworks, load_networks

__all__ = ["Latents", "LivePortraitNetworks", "load_networks"]
