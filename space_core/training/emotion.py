"""The recipe of EmotionNetwork: offsets of emotions at rest and in speech, from clips of actors.

    python -m space_core.training.emotion CORPUS

prints its figures and writes ``weights/emotion.safetensors``. Takes a minute.

At rest: for each speaker who also acts neutral, the mean face of each emotion minus that of neutral, without the
effect of head pose on tracking and without half of what all emotions of the speaker have in common; averaged over
speakers. As there are few speakers, and as the tracker attenuates frowns, wrinkled noses and raised brows, it is added
to the action units that EMFACS (Friesen & Ekman, 1983) gives for the emotion.

In speech: the difference between the lower face's motion under an emotion and in neutral speech with the same
articulation, fitted by the network on the same speakers.
"""

from dataclasses import dataclass

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from space_core.face.topology import EYES, canonical_face
from space_core.measures.actors import SPEAKERS, Clip, displacements, read_clips, slopes_of, typical_displacements
from space_core.measures.corpus import corpus_from_arguments
from space_core.measures.emotion_recipes import KEEPING_SMILES, RECIPES, curve, expression_of, smile
from space_core.measures.mesh_offsets import keep_lip_gap, lower_face, mirrored, movable
from space_core.motion.action_unit_labels import parse_action_units
from space_core.motion.emotion_labels import EMOTIONS
from space_core.motion.emotion_network import NUM_MODES, WEIGHTS, EmotionNetwork, articulation
from space_core.motion.lips import lip_gaps

# All who act emotions; those who are not in SPEAKERS are for validation.
SOURCES = (*SPEAKERS, "eamm_test_video_", "styletalk_style_clips_video_")

SPEECH_GAINS = (0.88, 1.15)  # limits of the factor of speech motion
JAW_GAIN = 0.15  # subtracted from that factor for a dropped jaw (AU 26), which opens the lips further in speech

SEED = 0
CLOSED_SHARE = 0.2  # of a clip's frames, those with the lips nearest to each other
AMPLITUDES = (0.7, 1.4)  # limits of the factor by which an emotion changes an articulation measure's amplitude
STEPS, RATE, WEIGHT_DECAY = 200, 0.01, 1.0
SPEECH_SHARE = 0.5  # of the fitted difference in speech that is shipped, as it comes from two actors


def main() -> None:
    clips = read_clips(corpus_from_arguments(__doc__))
    slopes = slopes_of([clip.faces for clip in clips], [clip.poses for clip in clips])
    offsets, open_offsets, gains = at_rest(clips, slopes)
    network = in_speech(clips, slopes)
    network.beta[:] = torch.from_numpy(offsets[1:].reshape(network.beta.shape))
    network.beta_open[:] = torch.from_numpy(open_offsets[1:].reshape(network.beta_open.shape))
    network.speech_gain[:] = torch.from_numpy(gains[1:] - 1)
    network.smile[:] = torch.from_numpy(smile().reshape(network.smile.shape))
    network.curve[:] = torch.from_numpy(curve().reshape(network.curve.shape))
    network.against_smile[:] = torch.tensor([float(emotion not in KEEPING_SMILES) for emotion in EMOTIONS[1:]])
    save_file({name: array.float().contiguous() for name, array in network.state_dict().items()}, WEIGHTS)


# At rest


def at_rest(clips: list[Clip], slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offsets (8, 478, 3) of the face at rest, those added where lips are open, and factors (8,) of speech motion.

    All at intensity 1, in the order of ``EMOTIONS``.
    """
    measured = typical_displacements(displacements(clips, slopes).values())
    ratios: dict[str, list[float]] = {emotion: [] for emotion in EMOTIONS}
    for speaker in SPEAKERS:
        own = {clip.emotion: clip for clip in clips if clip.name.startswith(speaker)}
        for emotion, clip in own.items():
            ratios[emotion].append(lip_gaps(clip.faces).mean(-1).std() / lip_gaps(own["neutral"].faces).mean(-1).std())

    offsets = np.zeros((len(EMOTIONS), *canonical_face().vertices.shape))
    open_offsets = np.zeros_like(offsets)
    gains = np.ones(len(EMOTIONS))
    for index, emotion in enumerate(EMOTIONS[1:], start=1):
        offsets[index], open_offsets[index] = expression_of(emotion, measured[emotion])
        gain = np.mean(ratios[emotion])
        jaw = parse_action_units(RECIPES[emotion]).get("26", 0)
        gains[index] = np.clip(gain, *SPEECH_GAINS) - JAW_GAIN * jaw
        print(f"{emotion:10s} {describe(offsets[index] + open_offsets[index])} speech gain {gain:.2f}")
    return offsets, open_offsets, gains


# In speech


@dataclass(frozen=True)
class ActedClip:
    """T frames of one clip: articulation (T, 5) scaled to neutral amplitude, and the emotion's change (T, 478, 3)."""

    source: str
    emotion: str
    articulation: np.ndarray
    change: np.ndarray


def in_speech(clips: list[Clip], slopes: np.ndarray) -> EmotionNetwork:
    """The network fitted to acted speech, without the offsets of the face at rest; for ``slopes`` see ``slopes_of``."""
    acted = acted_speech(clips, slopes)
    training = [clip for clip in acted if clip.source in SPEAKERS]
    for source in SOURCES:
        others = fit([clip for clip in training if clip.source != source])
        own = [clip for clip in acted if clip.source == source]
        error = sum(((clip.change - predict(others, clip)) ** 2).sum() for clip in own)
        explained = 1 - error / sum((clip.change**2).sum() for clip in own)
        print(f"{source:32s} {len(own):2d} clips, trained on others: {explained:.3f} of the change in speech explained")
    return fit(training)


def acted_speech(clips: list[Clip], slopes: np.ndarray) -> list[ActedClip]:
    """The changes that emotions make to speech, beyond the face at rest; symmetric except for contempt.

    ``slopes`` are those of ``slopes_of``.
    """
    motions = {clip.name: from_closed(clip, slopes) for clip in clips}
    measures = {name: articulation(motion) for name, motion in motions.items()}
    neutral = [clip.name for clip in clips if clip.emotion in ("", "neutral")]
    # Linear fit of neutral motion by articulation.
    neutral_motion = np.linalg.lstsq(
        np.concatenate([measures[name] for name in neutral]),
        np.concatenate([motions[name].reshape(len(motions[name]), -1) for name in neutral]),
        rcond=None,
    )[0]
    amplitudes = {name: np.sqrt((measure**2).mean(0)) for name, measure in measures.items()}
    typical = np.median([amplitudes[name] for name in neutral], axis=0)
    own = {source_of(name): amplitudes[name] for name in neutral if source_of(name) in SPEAKERS}
    acted = []
    for clip in clips:
        source = source_of(clip.name)
        if not source or clip.emotion in ("", "neutral"):
            continue
        amplitude = amplitudes[clip.name] / own.get(source, typical)
        measure = measures[clip.name] / np.clip(amplitude, *AMPLITUDES)
        change = motions[clip.name] - (measure @ neutral_motion).reshape(motions[clip.name].shape)
        change = keep_lip_gap(change * (lower_face() * movable())[:, None])
        if clip.emotion != "contempt":
            change = mirrored(change)
        acted.append(ActedClip(source, clip.emotion, measure, change))
    return acted


def source_of(name: str) -> str | None:
    """Which of ``SOURCES`` a clip belongs to."""
    return next((source for source in SOURCES if name.startswith(source)), None)


def from_closed(clip: Clip, slopes: np.ndarray) -> np.ndarray:
    """A clip's motion (T, 478, 3) relative to its face with closed lips, without head pose's effect on tracking.

    ``slopes`` are those of ``slopes_of``.
    """
    faces = clip.faces - np.tensordot(clip.poses, slopes[:3], 1)
    gap = lip_gaps(faces).mean(-1)
    return faces - np.median(faces[gap <= np.quantile(gap, CLOSED_SHARE)], axis=0)


def fit(acted: list[ActedClip]) -> EmotionNetwork:
    """A network fitted to the changes that emotions make to speech."""
    changes = np.concatenate([clip.change.reshape(len(clip.change), -1) for clip in acted])
    modes = np.linalg.svd(changes, full_matrices=False)[2][:NUM_MODES]
    scale = np.sqrt(((changes @ modes.T) ** 2).mean())  # so that coefficients are about 1
    measures = np.concatenate([clip.articulation for clip in acted])
    typical = np.sqrt((measures**2).mean(0))

    torch.manual_seed(SEED)
    network = EmotionNetwork()
    network.modes[:] = torch.from_numpy(scale * modes)
    nn.init.ones_(network.gamma)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=WEIGHT_DECAY)
    inputs, targets = torch.tensor(measures / typical).float(), torch.tensor(changes @ modes.T / scale).float()
    emotions = torch.cat([label_weights(clip) for clip in acted]).float()
    for _ in range(STEPS):
        loss = nn.functional.mse_loss(network.mode_coefficients(inputs, emotions), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        network.articulation_proj.weight.div_(torch.from_numpy(typical).float())
        network.gamma.mul_(SPEECH_SHARE)
    return network


def predict(network: EmotionNetwork, clip: ActedClip) -> np.ndarray:
    """The network's prediction (T, 478, 3) of the change that a clip's emotion makes to its speech."""
    measures = torch.from_numpy(clip.articulation).float()
    with torch.inference_mode():
        return network(measures, label_weights(clip).float(), torch.ones(len(measures))).numpy()


def label_weights(clip: ActedClip) -> torch.Tensor:
    """(T, 8) label weights of a clip."""
    weights = torch.zeros(len(clip.change), len(EMOTIONS))
    weights[:, EMOTIONS.index(clip.emotion)] = 1
    return weights


def describe(offset: np.ndarray) -> str:
    """Motion (478, 3) of brows, lids and mouth corners in words, in hundredths of the distance of the eyes' corners."""
    up = -100 * offset[:, 1]
    eyes = np.mean([up[list(eye.upper_lid[3:6])].mean() - up[list(eye.lower_lid[3:6])].mean() for eye in EYES])
    return (
        f"inner brows {up[[55, 285]].mean():+.1f} outer brows {up[[70, 300]].mean():+.1f} eyes open {eyes:+.1f} "
        f"cheeks {up[[50, 280]].mean():+.1f} mouth corners up {up[61]:+.1f} {up[291]:+.1f} "
        f"wide {100 * (offset[291, 0] - offset[61, 0]):+.1f} largest {100 * np.linalg.norm(offset, axis=-1).max():.1f}"
    )


if __name__ == "__main__":
    main()
