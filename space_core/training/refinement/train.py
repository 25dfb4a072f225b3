"""One training step of the refinement network, with an encoder of latents and a discriminator."""

import copy
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from space_core.generator.mesh_warp.refinement import (
    NUM_LATENTS,
    SIDE,
    RefinementNetwork,
    assemble_conditioning,
    keep_drawn_edges,
    near_lips,
    window_lattice,
)
from space_core.measures.vgg import Vgg, perceptual_distance
from space_core.training.optimization import set_learning_rate, update_average
from space_core.training.refinement.losses import detail, interior_luminance_distance, lip_weight, window_edge
from space_core.training.refinement.pairs import Pairs, Windows

CHANNELS = (32, 64, 128)  # of the network that is trained; a smaller one is taught what it does, see ``distillation``
STEPS, BATCH, LEARNING_RATE, DISCRIMINATOR_RATE = 4300, 8, 8e-4, 8e-4
FINE_TUNING_RATE = 3e-4
WARM_UP_STEPS = 50  # linear; then the learning rate falls as a cosine
EMA = 0.995  # of the weights; the average is shipped
SEED = 0
CROP = 80  # pixels; the part of the window that the perceptual loss compares, at random around the mouth
PIXEL_LOSS, PERCEPTUAL_LOSS, DETAIL_LOSS, INTERIOR_LOSS = 2.0, 2.0, 40.0, 1.5
PERCEPTUAL_BLOCKS = 3  # of VGG-16
ADVERSARIAL_SHARE, MAX_ADVERSARIAL = 0.5, 1.0  # of the other losses' gradient; largest weight of the adversarial loss
DISCRIMINATOR_START, DISCRIMINATOR_WARM_UP = 1600, 100  # steps until it is trained; until its loss is used
BALANCE_EVERY = 25  # steps between measurements of the adversarial loss's weight
LATENT_DROPOUT = 0.5  # share of pairs without latents
LATENT_NOISE = 0.05
TINT, CONTRAST, GREY_SHARE = 0.2, 0.25, 0.15  # range of the colour augmentation; share of pairs in black and white


class Discriminator(nn.Module):
    """Pictures (B, 3, H, W) 0…1 and maps (B, 4, H, W) to logits (B, 1, H / 8, W / 8), higher for recorded mouths."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(7, 32, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(32, 64, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(64, 128, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(128, 128, 3, 1, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(128, 1, 3, 1, 1),
        )

    def forward(self, pictures: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.cat([pictures - 0.5, maps], 1)).float()


class LatentEncoder(nn.Module):
    """Recorded mouth (B, 3, 128, 128) 0…1 and conditioning (B, 11, 128, 128) to latents (B, 8) in -1…1."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(10, 24, 3, 2, 1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(24, 48, 3, 2, 1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(48, 32, 3, 2, 1),
            nn.LeakyReLU(0.1),
            nn.Flatten(),
            projection := nn.Linear(32 * 64, NUM_LATENTS),
            nn.Tanh(),
        )
        projection.weight.data *= 10  # smaller latents would be ignored

    def forward(self, recorded: torch.Tensor, conditioning: torch.Tensor) -> torch.Tensor:
        inputs = torch.cat([recorded - 0.5, conditioning[:, :3], conditioning[:, -4:]], 1)
        return self.layers(F.avg_pool2d(inputs, 2)).float()


class Trainer:
    """The networks, their optimizers and the step reached; a checkpoint holds all of it."""

    def __init__(
        self, checkpoint: Path, initial: Path | None = None, steps: int = STEPS, device: torch.device | str = "cpu"
    ) -> None:
        """Resumes from a checkpoint if there is one; else starts at random, or from initial weights of the network.

        Training from initial weights is shorter and gentler: a lower learning rate, and no discriminator.
        """
        torch.manual_seed(SEED)
        self.checkpoint, self.steps, self.device = checkpoint, steps, torch.device(device)
        self.learning_rate = LEARNING_RATE if initial is None else FINE_TUNING_RATE
        self.adversarial = initial is None
        self.network, self.encoder = RefinementNetwork(CHANNELS, latents=True), LatentEncoder()
        self.discriminator = Discriminator()
        for parameter in self.network.conv_out.parameters():
            nn.init.zeros_(parameter)
        if initial is not None:
            nn.init.zeros_(self.network.get_parameter("film.weight"))
            weights = {name: array.float() for name, array in load_file(initial).items()}
            self.network.load_state_dict(weights, strict=False)
        for network in (self.network, self.encoder, self.discriminator):
            network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        parameters = [*self.network.parameters(), *self.encoder.parameters()]
        self.optimizer = torch.optim.Adam(parameters, self.learning_rate, betas=(0.9, 0.99))
        self.discriminator_optimizer = torch.optim.Adam(
            self.discriminator.parameters(), DISCRIMINATOR_RATE, betas=(0.5, 0.99)
        )
        self.vgg = Vgg().to(self.device)
        self.lattice, self.edge = window_lattice(self.device), window_edge().to(self.device)
        self.step, self.adversarial_weight = 0, 0.0
        if checkpoint.exists():
            saved = torch.load(checkpoint, map_location=self.device)
            self.step = saved.pop("step")
            for name, state in saved.items():
                getattr(self, name).load_state_dict(state)

    def save(self) -> None:
        """Writes the checkpoint."""
        parts = ("network", "encoder", "discriminator", "average", "optimizer", "discriminator_optimizer")
        torch.save({"step": self.step} | {name: getattr(self, name).state_dict() for name in parts}, self.checkpoint)

    def train_step(self, pairs: Pairs) -> dict[str, torch.Tensor]:
        """One optimization step on a batch on the trainer's device; returns its losses by name."""
        generator = torch.Generator().manual_seed(SEED + 1 + self.step)
        set_learning_rate(self.optimizer, self.learning_rate, self.step, self.steps, WARM_UP_STEPS)
        rendered, recorded, photo, lips = augment(pairs, generator)
        conditioning = assemble_conditioning(rendered, photo, list(lips.unbind(1)), self.lattice)
        left, top = torch.randint(8, SIDE - CROP - 8 + 1, (2,), generator=generator).tolist()
        crop = (..., slice(top, top + CROP), slice(left, left + CROP))
        with torch.autocast(self.device.type, torch.bfloat16):
            latents = self.encoder(recorded, conditioning)
            latents = latents + LATENT_NOISE * torch.randn(latents.shape, generator=generator).to(self.device)
            latents = latents * (torch.rand(len(pairs), 1, generator=generator) >= LATENT_DROPOUT).to(self.device)
            added = self.network(conditioning, latents)
        added = keep_drawn_edges(conditioning, added) * near_lips(conditioning, self.edge)
        refined = rendered + added * pairs.motion_weight[:, None, None, None]
        weight = lip_weight(conditioning)
        perceptual = perceptual_distance(self.vgg, refined[crop], recorded[crop], PERCEPTUAL_BLOCKS, weight[crop])
        losses = {
            "pixels": ((refined - recorded).abs() * weight).mean() * PIXEL_LOSS,
            "perceptual": perceptual.mean() * PERCEPTUAL_LOSS,
            "detail": ((detail(refined) - detail(recorded)).abs() * weight).mean() * DETAIL_LOSS,
            "interior": interior_luminance_distance(refined, recorded, conditioning) * INTERIOR_LOSS,
        }
        loss = torch.stack(list(losses.values())).sum()
        if self.adversarial and self.step >= DISCRIMINATOR_START:
            shown = (refined[crop], recorded[crop], conditioning[:, -4:][crop], F.avg_pool2d(weight[crop], 8))
            losses |= self._train_discriminator(*shown, loss)
            # At first only the discriminator is trained.
            if self.step >= DISCRIMINATOR_START + DISCRIMINATOR_WARM_UP:
                loss = loss + self.adversarial_weight * losses["adversarial"]
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        update_average(self.average, self.network, ema_decay(self.step))
        return {name: value.detach() for name, value in losses.items()}

    def _train_discriminator(
        self,
        refined: torch.Tensor,
        recorded: torch.Tensor,
        maps: torch.Tensor,
        patches: torch.Tensor,
        loss: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """One step of the discriminator; the losses by name, of which "adversarial" is the refinement network's.

        Args:
            refined, recorded: (B, 3, CROP, CROP).
            maps: (B, 4, CROP, CROP) where lips and mouth are.
            patches: (B, 1, CROP / 8, CROP / 8) the weight of each patch.
            loss: the other losses' sum, with which the adversarial one is balanced.
        """
        with torch.autocast(self.device.type, torch.bfloat16):
            self.discriminator.requires_grad_(False)
            adversarial = -(patches * self.discriminator(refined, maps)).mean()
            self.discriminator.requires_grad_(True)
            real = self.discriminator(recorded, maps)
            fake = self.discriminator(refined.detach(), maps)
        if self.step % BALANCE_EVERY == 0:
            # The adversarial loss's gradient is a fixed share of the others' (Esser et al., 2021).
            gradients = [
                torch.autograd.grad(part, self.network.conv_out.weight, retain_graph=True)[0].norm()
                for part in (loss, adversarial)
            ]
            ratio = float(ADVERSARIAL_SHARE * gradients[0] / gradients[1].clamp(min=1e-6))
            self.adversarial_weight = min(ratio, MAX_ADVERSARIAL)
        discriminator = (patches * (F.relu(1 - real) + F.relu(1 + fake))).mean()
        self.discriminator_optimizer.zero_grad()
        discriminator.backward()
        self.discriminator_optimizer.step()
        return {
            "adversarial": adversarial,
            "adversarial weight": torch.tensor(self.adversarial_weight),
            "discriminator": discriminator,
        }


def ema_decay(step: int) -> float:
    """The decay of the weights' average after so many steps: that of a plain mean at first."""
    return min(EMA, 1 - 1 / (1 + step))


def augment(windows: Windows, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
    """Pictures of windows, 0…1, varied in contrast and colours, half of them mirrored: rendered, recorded, photo, lips.

    Without recorded frames, rendered ones are in their place.
    """
    count, device = len(windows), windows.rendered.device

    def uniform(*shape: int) -> torch.Tensor:
        return (2 * torch.rand(count, *shape, generator=generator) - 1).to(device)

    gamma = torch.exp(CONTRAST * uniform(1, 1, 1))
    tint = torch.exp(TINT * (uniform(3, 1, 1) + uniform(1, 1, 1)))
    grey = (torch.rand(count, 1, 1, 1, generator=generator) < GREY_SHARE).float().to(device)

    def varied(pictures: torch.Tensor) -> torch.Tensor:
        pictures = (pictures.float() / 255).clamp(min=1e-3) ** gamma * tint
        return torch.lerp(pictures, pictures.mean(1, keepdim=True).expand_as(pictures), grey).clamp(0, 1)

    rendered = varied(windows.rendered)
    recorded = varied(windows.recorded) if isinstance(windows, Pairs) else rendered
    photo = torch.cat([varied(windows.photo[:, :3]), windows.photo[:, 3:].float() / 255], 1)
    lips = windows.lips
    if torch.rand((), generator=generator) < 0.5:
        rendered, recorded, photo = (pictures.flip(-1) for pictures in (rendered, recorded, photo))
        lips = lips.flip(2) * lips.new_tensor([-1.0, 1.0]) + lips.new_tensor([SIDE - 1.0, 0.0])
    return rendered, recorded, photo, lips
