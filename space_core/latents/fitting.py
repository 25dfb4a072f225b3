"""Fits Landmarks2Latents to frames whose landmarks and latents are both known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import eigh

from space_core.latents.landmarks2latents import CONTEXT, NUM_SHAPES, SPEECH_WIDTH, LatentNetwork

STEPS, BATCH, RATE, WEIGHT_DECAY, DROPOUT = 600, 256, 1.5e-3, 1e-2, 0.1
CHECK_EVERY = 100  # steps between evaluations on the takes by which the best state is chosen
EPSILON = 1e-9  # added to the inputs' power, so that it is invertible if some inputs are always 0
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # of the linear map, in parts of the inputs' power; chosen by those takes
MIN_SIGN = 0.3  # correlation of an extracted angle with the true one from which on its sign is trusted
# By name, what each variant of the network is given besides the head pose.
VARIANTS = {
    "landmarks and speech": (True, True),
    "landmarks": (True, False),
    "speech": (False, True),
}


@dataclass(frozen=True)
class Examples:
    """N frames out of takes, with their neighbours.

    Attributes:
        motion: (N, 5, 1434) float16, normalized landmarks minus the portrait's own, of five frames in a row.
        pose: (N, 5, 7) see ``pose_features``.
        speech: (N, 5, 256) features.
        emotion: (N, 8).
        own: (N, 67) the portrait's own latents.
        latents: (N, 67) what the generator's motion extractor reads in the frame.
        angles: (N, 3) the pitch, yaw and roll that it reads, minus those that it reads in the portrait, degrees.
        take: (N,) the number of the take.
    """

    motion: np.ndarray
    pose: np.ndarray
    speech: np.ndarray
    emotion: np.ndarray
    own: np.ndarray
    latents: np.ndarray
    angles: np.ndarray
    take: np.ndarray

    def __len__(self) -> int:
        return len(self.take)

    def of(self, chosen: np.ndarray) -> "Examples":
        """The examples at indices (n,), or where a mask (N,) is true."""
        return Examples(**{name: values[chosen] for name, values in vars(self).items()})


def join_examples(parts: Sequence[Examples]) -> Examples:
    """Concatenates examples."""
    return Examples(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])})


def fit(
    examples: Examples, choosing: Examples, seed: int, variant: str = "landmarks and speech", steps: int = STEPS
) -> LatentNetwork:
    """A network fitted to examples: the linear map by ridge regression, then the residual by gradient descent.

    Args:
        examples: the training data.
        choosing: of other takes, by which the ridge and the best state of the residual are chosen.
        seed: of the first weights and of the order of the examples.
        variant: one of ``VARIANTS``.
        steps: of gradient descent without speech, and as many with it.
    """
    torch.manual_seed(seed)
    network = LatentNetwork(speech_alone=variant == "speech")
    change = examples.latents - examples.own
    network.latent_scale[:] = torch.from_numpy(np.maximum(np.sqrt((change**2).mean(0)), 1e-6))
    network.own_mean[:] = torch.from_numpy(examples.own.mean(0))
    network.own_scale[:] = torch.from_numpy(np.maximum(examples.own.std(0), 1e-6))
    network.basis[:] = torch.from_numpy(principal_shapes(examples.motion[:, CONTEXT].astype(np.float32)))
    network.angle_signs[:] = torch.from_numpy(signs(examples))
    training, held = (_tensors(part, network, variant) for part in (examples, choosing))
    with torch.no_grad():
        network.linear.weight[:] = _ridge(training, held)
        network.input_proj.weight.unflatten(1, (2 * CONTEXT + 1, -1))[..., -SPEECH_WIDTH:] = 0  # see ``_descend``
    _descend(network, training, held, steps)
    return network.eval()


def principal_shapes(motion: np.ndarray) -> np.ndarray:
    """(1434, 64) maps the motion of landmarks (N, 1434) to coefficients, of which the first has unit variance.

    The others keep their size relative to it: what moves landmarks little changes pictures little.
    """
    size = motion.shape[1]
    # Only the eigenvectors that are needed, in a quarter of the time of all.
    variances, shapes = eigh(motion.T @ motion / len(motion), subset_by_index=[size - NUM_SHAPES, size - 1])
    return (shapes[:, ::-1] / np.sqrt(variances[-1])).astype(np.float32)


def signs(examples: Examples) -> np.ndarray:
    """(3,) the signs of the extractor's pitch, yaw and roll relative to ours.

    Those of its documented axes for angles that it does not follow, as with random weights.
    """
    found = np.array([-1.0, 1.0, 1.0], np.float32)
    for column, ours in enumerate(examples.pose[:, CONTEXT, [1, 0, 2]].T):
        theirs = examples.angles[:, column]
        if theirs.std() > 1e-6 and abs(correlation := np.corrcoef(ours, theirs)[0, 1]) > MIN_SIGN:
            found[column] = np.sign(correlation)
    return found


@dataclass(frozen=True)
class Errors:
    """Root mean square errors over examples, in the latents' own units.

    Attributes:
        expression, placement: of the network, for the expression and for translation and scale.
        trivial_expression, trivial_placement: of predicting the portrait's own latents.
    """

    expression: float
    placement: float
    trivial_expression: float
    trivial_placement: float

    @property
    def reduction(self) -> float:
        """By which share the error of the expression lies below that of the portrait's own latents."""
        return 1 - self.expression / self.trivial_expression


@torch.inference_mode()
def errors(network: LatentNetwork, examples: Examples, variant: str = "landmarks and speech") -> Errors:
    """The errors of a network of a variant."""
    inputs, speech, emotion, own, target = _tensors(examples, network, variant)
    wrong = (network(inputs, speech, emotion, own) - target) * network.latent_scale
    trivial = target * network.latent_scale

    def rms(values: torch.Tensor) -> float:
        return float(values.square().mean().sqrt())

    return Errors(rms(wrong[:, :-4]), rms(wrong[:, -4:]), rms(trivial[:, :-4]), rms(trivial[:, -4:]))


Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def _tensors(examples: Examples, network: LatentNetwork, variant: str) -> Tensors:
    """Inputs, speech, emotion, own latents and targets, as the network takes them, with what a variant has not as 0."""
    with_landmarks, with_speech = VARIANTS[variant]
    shapes = torch.from_numpy(examples.motion).float() @ network.basis
    inputs = torch.cat([shapes * with_landmarks, torch.from_numpy(examples.pose).float()], 2)
    speech = torch.from_numpy(examples.speech).float() * with_speech
    own = torch.from_numpy(examples.own).float()
    target = (torch.from_numpy(examples.latents).float() - own) / network.latent_scale
    return inputs, speech, torch.from_numpy(examples.emotion).float(), own, target


def _ridge(training: Tensors, held: Tensors) -> torch.Tensor:
    """(67, 71) the linear map from the inputs of the middle frame to the targets that is best for held-out takes."""
    x, y = training[0][:, CONTEXT].double(), training[-1].double()
    power = x.T @ x / len(x) + EPSILON * torch.eye(x.shape[1])
    candidates = [
        torch.linalg.solve(power + ridge * power.diagonal().mean() * torch.eye(len(power)), x.T @ y / len(x))
        for ridge in RIDGES
    ]
    found = [(held[0][:, CONTEXT].double() @ weights - held[-1]).square().mean() for weights in candidates]
    return candidates[int(torch.stack(found).argmin())].T.float()


def _descend(network: LatentNetwork, training: Tensors, held: Tensors, steps: int) -> None:
    """Fits the residual, and keeps the state that is best for held-out takes; the linear map stays as it is.

    Speech comes last: otherwise the network would memorize takes by their speech before it has learned from landmarks.
    """
    network.linear.requires_grad_(False)
    loss_of: Callable[..., torch.Tensor] = torch.nn.functional.mse_loss

    def check(with_speech: bool) -> float:
        with torch.inference_mode():
            inputs, speech, *others, target = held
            return float(loss_of(network(inputs, speech * with_speech, *others), target))

    best, state = check(False), {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for with_speech in (False, True):
        network.load_state_dict(state)
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(parameters, RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps + 1)
        for step in range(1, steps + 1):
            chosen = torch.randint(len(training[0]), (min(BATCH, len(training[0])),))
            *given, target = (values[chosen] for values in training)
            # Whole inputs of some examples, so that the network does not rely on one of them.
            given[1] = torch.nn.functional.dropout2d(given[1][:, None] * with_speech, DROPOUT)[:, 0]
            given[3] = torch.where(torch.rand(len(target), 1) < DROPOUT, network.own_mean, given[3])
            loss = loss_of(network(*given), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if step % CHECK_EVERY == 0 and (now := check(with_speech)) < best:
                best, state = now, {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict(state)
