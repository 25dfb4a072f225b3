"""The five networks of LivePortrait (Guo et al., 2024) together, with the operations that a generator needs."""

import math
from pathlib import Path

import torch
from torch import nn

from space_core.errors import SpaceError
from space_core.generator.liveportrait.appearance_extractor import AppearanceExtractor
from space_core.generator.liveportrait.checkpoints import NAMES, find_checkpoints, load_checkpoint, read_layout
from space_core.generator.liveportrait.layout import NUM_KEYPOINTS, Layout
from space_core.generator.liveportrait.motion_extractor import Latents, MotionExtractor
from space_core.generator.liveportrait.spade_generator import SPADEGenerator, fold_spectral_norm
from space_core.generator.liveportrait.stitching import StitchingModule
from space_core.generator.liveportrait.warping_module import WarpingModule


class LivePortraitNetworks(nn.Module):
    """The networks, under the names of their files; ``load_networks`` gives them with weights, ready to use.

    Shapes are those of the published layout. On CUDA the pictures are computed in float16 by autocast; keypoints are
    always float32.
    """

    def __init__(self, layout: Layout | None = None) -> None:
        super().__init__()
        layout = layout or Layout()
        self.layout = layout
        self.appearance_feature_extractor = AppearanceExtractor(layout)
        self.motion_extractor = MotionExtractor(layout)
        self.warping_module = WarpingModule(layout)
        self.spade_generator = SPADEGenerator(layout)
        self.stitching_retargeting_module = StitchingModule()

    def ready(self, device: torch.device | str) -> "LivePortraitNetworks":
        """The same networks for inference on a device; loaded weights can't be exchanged afterwards."""
        fold_spectral_norm(self.spade_generator)
        self.eval().requires_grad_(False).to(device)
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
            elif parameter.ndim == 5 and parameter.is_cuda:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
        return self

    def compile_rendering(self) -> None:
        """Compiles what runs for every frame: the first frames then take a minute more, and later ones less."""
        self.warping_module.compile()
        self.spade_generator.compile()

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @torch.inference_mode()
    def extract_appearance(self, image: torch.Tensor) -> torch.Tensor:
        """The appearance volume (B, 32, 16, 64, 64) of pictures (B, 3, 256, 256), 0…1."""
        self._check_image(image)
        with self._autocast():
            return self.appearance_feature_extractor(image.to(self.device)).float()

    @torch.inference_mode()
    def extract_motion(self, image: torch.Tensor) -> Latents:
        """The latents of pictures (B, 3, 256, 256), 0…1."""
        self._check_image(image)
        return self.motion_extractor(image.to(self.device))

    def transform_keypoints(self, motion: Latents) -> torch.Tensor:
        """The keypoints (B, 21, 3) of latents: scale · (canonical · rotation + expression) + translation in x and y."""
        keypoints = motion.canonical @ rotation_matrix(motion.pitch, motion.yaw, motion.roll) + motion.expression
        keypoints = keypoints * motion.scale[..., None]
        return torch.cat([keypoints[..., :2] + motion.translation[:, None, :2], keypoints[..., 2:]], -1)

    @torch.inference_mode()
    def stitch(self, source: torch.Tensor, driving: torch.Tensor) -> torch.Tensor:
        """Driving keypoints (B, 21, 3), corrected so that the shoulders stay where those of the source are.

        Args:
            source: (B, 21, 3) or (1, 21, 3) keypoints of the portrait.
            driving: (B, 21, 3).
        """
        source, driving = self._keypoints(source, driving)
        return self.stitching_retargeting_module(source, driving)

    def render(self, volume: torch.Tensor, source: torch.Tensor, driving: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, 512, 512), 0…1.

        Args:
            volume: (B, 32, 16, 64, 64) or (1, …) the portrait's appearance volume.
            source: (B, 21, 3) or (1, 21, 3) its keypoints.
            driving: (B, 21, 3) those of the pictures.
        """
        return self.decode(self.warp(volume, source, driving))

    @torch.inference_mode()
    def warp(self, volume: torch.Tensor, source: torch.Tensor, driving: torch.Tensor) -> torch.Tensor:
        """Warped picture features (B, 256, 64, 64), the first half of ``render``."""
        layout = self.layout
        _check(volume, "volume", (layout.volume_channels, layout.volume_depth, layout.volume_size, layout.volume_size))
        source, driving = self._keypoints(source, driving)
        if len(volume) not in (1, len(driving)):
            raise SpaceError(f"There are {len(volume)} volumes for {len(driving)} frames; give one, or one for each.")
        volume = volume.to(self.device).expand(len(driving), -1, -1, -1, -1)
        with self._autocast():
            return self.warping_module(volume, source, driving)

    @torch.inference_mode()
    def decode(self, features: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, 512, 512), 0…1, of warped features, the second half of ``render``."""
        with self._autocast():
            return self.spade_generator(features)

    def _check_image(self, image: torch.Tensor) -> None:
        _check(image, "image", (3, self.layout.input_size, self.layout.input_size))

    def _keypoints(self, source: torch.Tensor, driving: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Both on the device, as many of the one as of the other."""
        _check(source, "source", (NUM_KEYPOINTS, 3))
        _check(driving, "driving", (NUM_KEYPOINTS, 3))
        if len(source) not in (1, len(driving)):
            raise SpaceError(f"There are {len(source)} sources for {len(driving)} frames; give one, or one for each.")
        driving = driving.to(self.device)
        return source.to(self.device).expand_as(driving), driving

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.float16, enabled=self.device.type == "cuda")


def load_networks(folder: str | Path, device: torch.device | str = "cpu") -> LivePortraitNetworks:
    """The networks with the weights in a folder, for inference on a device.

    Args:
        folder: with the five files (.safetensors or .pth), see ``checkpoints``: the published ones, or others of the
            same structure, whose files have their layout as metadata.
        device: a device of torch.

    Raises:
        SpaceError: a file is missing, damaged, of another network, or contains more than tensors.
    """
    networks, _ = _load(folder)
    return networks.ready(device)


def check_checkpoints(folder: str | Path) -> dict[str, Path]:
    """The five files in a folder by name, after they have been read as ``load_networks`` reads them.

    Raises:
        SpaceError: see ``load_networks``.
    """
    _, paths = _load(folder)
    return paths


def _load(folder: str | Path) -> tuple[LivePortraitNetworks, dict[str, Path]]:
    paths = find_checkpoints(folder)
    layout = read_layout(paths[NAMES[0]])
    with torch.device("meta"):  # no time and no random numbers are spent on weights that are replaced
        networks = LivePortraitNetworks(layout)
    for name, path in paths.items():
        load_checkpoint(path, networks.get_submodule(name))
    return networks, paths


def rotation_matrix(pitch: torch.Tensor, yaw: torch.Tensor, roll: torch.Tensor) -> torch.Tensor:
    """(B, 3, 3) matrices that rotate row vectors: about x by pitch, then y by yaw, then z by roll; (B,) degrees."""
    x, y, z = (angle * (math.pi / 180) for angle in (pitch, yaw, roll))
    zero, one = torch.zeros_like(x), torch.ones_like(x)

    def matrix(*values: torch.Tensor) -> torch.Tensor:
        return torch.stack(values, -1).unflatten(-1, (3, 3))

    about_x = matrix(one, zero, zero, zero, x.cos(), -x.sin(), zero, x.sin(), x.cos())
    about_y = matrix(y.cos(), zero, y.sin(), zero, one, zero, -y.sin(), zero, y.cos())
    about_z = matrix(z.cos(), -z.sin(), zero, z.sin(), z.cos(), zero, zero, zero, one)
    return (about_z @ about_y @ about_x).mT


def _check(tensor: torch.Tensor, name: str, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape[1:]) != shape:
        raise SpaceError(
            f"The {name} must have the shape (B, {', '.join(map(str, shape))}); got {tuple(tensor.shape)}."
        )
