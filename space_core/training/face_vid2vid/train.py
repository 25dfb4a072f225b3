"""One training step of the networks and their discriminator."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from space_core.errors import SpaceError
from space_core.generator.liveportrait.checkpoints import NAMES, save_checkpoint
from space_core.generator.liveportrait.layout import NUM_KEYPOINTS, Layout
from space_core.generator.liveportrait.motion_extractor import Latents
from space_core.generator.liveportrait.networks import LivePortraitNetworks
from space_core.measures.vgg import Vgg, has_vgg, perceptual_distance
from space_core.training.face_vid2vid.clips import Batch
from space_core.training.face_vid2vid.discriminator import (
    Discriminator,
    discriminator_loss,
    feature_matching,
    generator_loss,
)
from space_core.training.face_vid2vid.losses import (
    MEAN_DEPTH,
    RandomWarp,
    deformation_prior,
    equivariance,
    head_pose_loss,
    keypoint_prior,
    pyramid_distance,
)

# Weights of the losses, those of the paper; pixels are not compared there.
WEIGHTS = {
    "perceptual": 10.0,
    "pixels": 10.0,
    "equivariance": 20.0,
    "keypoint prior": 10.0,
    "head pose": 20.0,
    "deformation prior": 5.0,
    "adversarial": 1.0,
    "feature matching": 10.0,
}
BETAS, DISCRIMINATOR_BETAS = (0.9, 0.999), (0.5, 0.999)  # of Adam
WARM_UP_STEPS = 100  # linear, at most a tenth of all steps; then the learning rate falls as a cosine
CONTRAST = 4.0  # of the pictures that the motion extractor is made for at first: one over their usual deviation
HEAD_SCALE = 0.03  # of the heads' first weights: the keypoints hardly depend on the picture
SPREAD = 0.5  # half of the space in which the keypoints are at first


@dataclass(frozen=True)
class Settings:
    """What is trained, and how.

    Attributes:
        layout: of the networks.
        steps: of optimization.
        motion_share: of these steps, the first, in which the motion extractor alone is trained: keypoints without sense
            would teach the others nothing. The paper has a pre-trained pose estimator.
        adversarial_share: of these steps, after which the discriminator is trained and used.
        motion_batch, batch: pairs of frames at each of the first steps and of the others.
        rate: the highest learning rate.
        discriminator_channels: of its first convolution.
    """

    layout: Layout
    steps: int
    motion_share: float
    adversarial_share: float
    motion_batch: int
    batch: int
    rate: float
    discriminator_channels: int

    @property
    def motion_steps(self) -> int:
        return round(self.motion_share * self.steps)

    @property
    def adversarial_start(self) -> int:
        return round(self.adversarial_share * self.steps)


SETTINGS = {
    "published": Settings(
        Layout(),
        steps=200_000,
        motion_share=0.05,
        adversarial_share=0.1,
        motion_batch=32,
        batch=8,
        rate=2e-4,
        discriminator_channels=64,
    ),
    # Pictures of 64 pixels go in and of 128 come out: a face is drawn after minutes on one core.
    "toy": Settings(
        Layout(
            input_size=64,
            channels=16,
            volume_channels=32,
            volume_depth=4,
            volume_blocks=2,
            motion_channels=(24, 48, 96, 192),
            motion_blocks=(1, 1, 2, 1),
            flow_channels=8,
            flow_max_channels=64,
            flow_steps=3,
            flow_features=1,
            modulation_channels=16,
        ),
        steps=1500,
        motion_share=0.4,
        adversarial_share=0.8,
        motion_batch=12,
        batch=4,
        rate=1e-3,
        discriminator_channels=16,
    ),
}


class Trainer:
    """The networks, their optimizers and the step reached; a checkpoint holds all of it."""

    def __init__(self, settings: Settings, checkpoint: Path, device: torch.device, seed: int = 0) -> None:
        """Resumes from a checkpoint if there is one; the same seed gives the same networks.

        Args:
            settings: what is trained.
            checkpoint: the file.
            device: where. On CUDA pictures are computed in bfloat16, and keypoints in float32.
            seed: of the first weights and of everything random afterwards.

        Raises:
            SpaceError: the checkpoint is of another size.
        """
        torch.manual_seed(seed)
        self.settings, self.checkpoint, self.device, self.seed, self.step = settings, checkpoint, device, seed, 0
        self.networks = untrained_networks(settings.layout).to(device)
        self.discriminator = Discriminator(settings.discriminator_channels).to(device)
        self.optimizer = torch.optim.Adam(self.networks.parameters(), settings.rate, BETAS)
        self.discriminator_optimizer = torch.optim.Adam(
            self.discriminator.parameters(), settings.rate, DISCRIMINATOR_BETAS
        )
        self.vgg = Vgg().to(device) if has_vgg() else None
        if checkpoint.exists():
            saved = torch.load(checkpoint, map_location=device, weights_only=True)
            self.step = saved.pop("step")
            try:
                for name, state in saved.items():
                    getattr(self, name).load_state_dict(state)
            except (RuntimeError, ValueError) as error:
                raise SpaceError(f"{checkpoint} is of networks of another size. Give another folder.") from error

    def save(self) -> None:
        """Writes the checkpoint."""
        parts = ("networks", "discriminator", "optimizer", "discriminator_optimizer")
        unfinished = self.checkpoint.with_suffix(".part")
        torch.save({"step": self.step} | {name: getattr(self, name).state_dict() for name in parts}, unfinished)
        unfinished.replace(self.checkpoint)

    @property
    def batch_size(self) -> int:
        """The number of pairs that the next step is made for."""
        return self.settings.motion_batch if self.step < self.settings.motion_steps else self.settings.batch

    def train_step(self, batch: Batch) -> dict[str, float]:
        """One optimization step on pairs of frames of ``layout.output_size``; returns its weighted losses by name."""
        self.networks.train()
        for group in self.optimizer.param_groups + self.discriminator_optimizer.param_groups:
            group["lr"] = self._rate()
        batch = batch.to(self.device)
        warp = RandomWarp(len(batch.source), torch.Generator().manual_seed(self.seed + self.step))
        source, driving = (shrunk(pictures, self.settings.layout) for pictures in (batch.source, batch.driving))
        latents = self.networks.motion_extractor(torch.cat([source, driving, warp.pictures(driving)]))
        own, moving, warped = chunks(latents, 3)
        # The person's own keypoints, moved as in the other pictures.
        keypoints = self.networks.transform_keypoints(own)
        driving_keypoints, warped_keypoints = (
            self.networks.transform_keypoints(replace(motion, canonical=own.canonical)) for motion in (moving, warped)
        )
        losses = {
            "equivariance": equivariance(driving_keypoints, warped_keypoints, warp),
            "keypoint prior": keypoint_prior(driving_keypoints),
            "head pose": (head_pose_loss(own, batch.source_angles) + head_pose_loss(moving, batch.driving_angles)) / 2,
            "deformation prior": deformation_prior(moving.expression),
        }
        fooled = {}
        if self.step >= self.settings.motion_steps:
            with self._autocast():
                drawn = draw(self.networks, source, keypoints, driving_keypoints)
            if self.step >= self.settings.adversarial_start:
                fooled["discriminator"] = self._train_discriminator(batch.driving, drawn.detach())
            losses |= self._picture_losses(drawn, batch.driving)
        losses = {name: WEIGHTS[name] * loss for name, loss in losses.items()}
        self.optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(self.networks.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        return {name: float(loss.detach()) for name, loss in (losses | fooled).items()}

    def export(self, folder: Path) -> None:
        """Writes the five files of weights."""
        for name in NAMES:
            path = folder / f"{name}.safetensors"
            unfinished = path.with_suffix(".part")
            save_checkpoint(unfinished, self.networks.get_submodule(name), self.settings.layout)
            unfinished.replace(path)

    def _picture_losses(self, drawn: torch.Tensor, recorded: torch.Tensor) -> dict[str, torch.Tensor]:
        losses = {"pixels": pyramid_distance(drawn, recorded).mean()}
        if self.vgg is not None:
            losses["perceptual"] = perceptual_distance(self.vgg, drawn, recorded).mean()
        if self.step >= self.settings.adversarial_start:
            with self._autocast():
                judged, truth = self.discriminator(drawn), self.discriminator(recorded)
            losses["adversarial"] = generator_loss(judged)
            losses["feature matching"] = feature_matching(truth, judged)
        return losses

    def _train_discriminator(self, recorded: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        with self._autocast():
            loss = discriminator_loss(self.discriminator(recorded), self.discriminator(drawn))
        self.discriminator_optimizer.zero_grad()
        loss.backward()
        self.discriminator_optimizer.step()
        return loss

    def _rate(self) -> float:
        warm_up = min((self.step + 1) / min(WARM_UP_STEPS, self.settings.steps / 10), 1)
        return self.settings.rate * warm_up * (0.5 + 0.5 * math.cos(math.pi * self.step / self.settings.steps))

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")


def untrained_networks(layout: Layout) -> LivePortraitNetworks:
    """Networks to train, by torch's random numbers: keypoints spread over the picture, heads without motion.

    The stitching networks correct nothing.
    """
    networks = LivePortraitNetworks(layout)
    heads = networks.motion_extractor.detector
    with torch.no_grad():
        for layer in networks.motion_extractor.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                # With torch's smaller weights the residual blocks add little, and a pose is learned ten times slower.
                nn.init.kaiming_normal_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        # As if the pictures, 0…1, came with mean 0 and deviation 1.
        weight, bias = (heads.get_parameter(f"downsample_layers.0.0.{name}") for name in ("weight", "bias"))
        weight.mul_(CONTRAST)
        bias.copy_(-weight.sum((1, 2, 3)) / 2)
        for head in (heads.fc_kp, heads.fc_scale, heads.fc_t, heads.fc_exp):
            head.weight.mul_(HEAD_SCALE)
        heads.fc_scale.bias.fill_(1.0)
        places = torch.empty(NUM_KEYPOINTS, 3).uniform_(-SPREAD, SPREAD)
        heads.fc_kp.bias.copy_((places + torch.tensor([0.0, 0.0, MEAN_DEPTH])).flatten())
        for network in networks.stitching_retargeting_module.children():
            *_, last = network.get_submodule("mlp").children()
            for parameter in last.parameters():
                nn.init.zeros_(parameter)
    networks.stitching_retargeting_module.requires_grad_(False)
    return networks


def shrunk(pictures: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Pictures (B, 3, output_size, output_size) at the size that the networks take."""
    return F.interpolate(pictures, size=layout.input_size, mode="area")


def draw(
    networks: LivePortraitNetworks, source: torch.Tensor, keypoints: torch.Tensor, driving: torch.Tensor
) -> torch.Tensor:
    """Pictures (B, 3, output_size, output_size) of sources, moved from their keypoints to the driving ones.

    Differentiable, unlike ``LivePortraitNetworks.render``.
    """
    volume = networks.appearance_feature_extractor(source)
    return networks.spade_generator(networks.warping_module(volume, keypoints, driving))


def chunks(latents: Latents, count: int) -> list[Latents]:
    """Latents of several batches that were computed together."""
    parts = zip(*(tensor.chunk(count) for tensor in vars(latents).values()), strict=True)
    return [Latents(**dict(zip(vars(latents), part, strict=True))) for part in parts]
