"""What emotions add to a face, learnt from clips whose speakers act them.

    python -m space_core.training.emotion CORPUS

prints its figures and writes ``weights/emotion.safetensors``. Takes a minute.

At rest: for each speaker who acts neutral too, the median face of each emotion less that of neutral, without what the
head pose does to a tracked face and without the opening of the mouth; the mean over speakers; and, as the tracker's
face model knows frowns, wrinkled noses and raised brows only faintly, the action units that belong to the emotion.

In speech: what the lower face does when it acts an emotion, beyond what it does in other speech with the lips as far
apart. Learnt by the network from the same speakers.
"""

from dataclasses import dataclass

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from space_core.face.normalization import normalize
from space_core.face.topology import EYES, NUM_SURFACE_POINTS, RIGID_POINTS, canonical_face
from space_core.measures.corpus import Corpus, corpus_arguments
from space_core.motion.emotion_labels import EMOTIONS
from space_core.motion.emotion_network import MODES, WEIGHTS, EmotionNetwork, articulation
from space_core.motion.eyelids import move_lids
from space_core.motion.speech2landmarks import LOWER, OUTER_LOWER, OUTER_UPPER, UPPER, lip_gaps

# Speakers who act neutral too, by what the ids of their clips begin with.
SPEAKERS = ("dreamtalk_style_clip_video_m030_", "dreamtalk_style_clip_video_w009_")
# All who act emotions; the others are there to validate.
SOURCES = (*SPEAKERS, "eamm_test_video_", "styletalk_style_clips_video_")
OTHER_NAMES = {"furious": "angry", "surprise": "surprised"}

MASK_REACH = 0.08  # from points over bone to points that move freely
NOSE_BASE = 2
EYE_OPENING = (0.7, 1.6)  # no emotion closes the eyes or tears them open further, relative to neutral
LIVELINESS = (0.88, 1.15)  # the factors by which speech motion may shrink or grow
SWING_OF_JAW = 0.15  # by how much less it grows with a dropped jaw (AU 27), which makes speech open the lips further

SEED = 0
CLOSED_SHARE = 0.2  # of a clip's frames, those with the lips nearest to each other
SWINGS = (0.7, 1.4)  # the factors by which emotions are taken to change the swing of a measure of articulation
STEPS, RATE, WEIGHT_DECAY = 200, 0.01, 1.0
TRUST = 0.5  # so much of what was learnt about speech is shown: two actors are few


@dataclass(frozen=True)
class Bump:
    """Skin around points of the left half of the face, and their counterparts, moves; fading out with distance.

    Attributes:
        points: of the face mesh.
        out: to the side, in outer-eye-corner distances, as are the others.
        up: upwards.
        reach: the distance at which three fifths of the motion are left.
    """

    points: tuple[int, ...]
    out: float
    up: float
    reach: float


# The action units of FACS (Ekman & Friesen, 1978) at a strong, natural intensity; the outer eye corners are 9 cm apart.
ACTION_UNITS = {
    1: (Bump((107, 55), 0, 0.06, 0.10),),  # inner brows raised
    2: (Bump((70, 63), 0, 0.06, 0.13),),  # outer brows raised
    4: (Bump((107, 55), -0.02, -0.05, 0.10), Bump((66,), -0.005, -0.02, 0.10)),  # brows lowered
    6: (Bump((117, 50), 0.01, 0.035, 0.13),),  # cheeks raised
    9: (Bump((48, 64, 203), 0.008, 0.035, 0.07), Bump((107, 55), -0.01, -0.025, 0.08)),  # nose wrinkled
    10: (Bump((37, 39), 0, 0.035, 0.08),),  # upper lip raised
    11: (Bump((203, 206, 36, 142), 0.008, 0.03, 0.14),),  # furrows from the nose to the mouth deepened
    12: (Bump((61,), 0.05, 0.05, 0.12),),  # mouth corners pulled
    15: (Bump((61,), 0.005, -0.05, 0.10),),  # mouth corners depressed
    16: (Bump((84, 91), 0, -0.04, 0.08),),  # lower lip depressed
    17: (Bump((199, 17), 0, 0.03, 0.12),),  # chin raised
    18: (Bump((61,), -0.05, 0, 0.12),),  # lips puckered
    20: (Bump((61,), 0.05, -0.01, 0.12),),  # lips stretched
    24: (Bump((61,), -0.02, 0, 0.10), Bump((37, 39), 0, -0.015, 0.06), Bump((84, 91), 0, 0.02, 0.06)),  # pressed
}
LIDS_UP = {5: (0.022, -0.004), 6: (0, 0.012), 7: (-0.008, 0.014)}  # the middle of the upper and of the lower lid
JAW_DROP = 0.024  # AU 27, where speech opens the lips: little, as it makes their swing larger

# What makes each emotion at intensity 1: how much of the learnt offset (0), of each action unit. Which units is EMFACS;
# how much was set by looking, and by what the classifiers of the evaluation read in the portraits that it names as
# developed on.
RECIPES = {
    "angry": {0: 1.0, 4: 1.7, 5: 0.4, 7: 0.8, 10: 0.2, 17: 0.5, 24: 1.0},
    "contempt": {0: 1.3},
    "disgusted": {0: 0.6, 1: 0.8, 2: 0.5, 6: 1.0, 7: 0.6, 9: 1.6, 10: 1.2, 11: 0.9, 15: 0.8, 17: 0.7},
    "fear": {1: 2.0, 2: 1.5, 4: 0.8, 5: 2.8, 9: 1.5, 15: 0.4, 16: 0.7, 20: 1.6, 27: 0.35},
    "happy": {0: 0.8, 6: 0.8, 12: 0.7},
    "sad": {0: 0.7, 1: 1.7, 4: 0.3, 15: 1.2, 17: 0.3},
    "surprised": {1: 0.6, 2: 1.5, 5: 2.6, 18: 1.2, 27: 1.0},
}


def main() -> None:
    arguments = corpus_arguments(__doc__).parse_args()
    clips = read_clips(Corpus(arguments.corpus, arguments.cache))
    slopes = slopes_of([clip.faces for clip in clips], [clip.poses for clip in clips])
    offsets, ajar, liveliness = at_rest(clips, slopes)
    network = in_speech(clips, slopes)
    network.beta[:] = torch.from_numpy(offsets[1:].reshape(network.beta.shape))
    network.ajar[:] = torch.from_numpy(ajar[1:].reshape(network.ajar.shape))
    network.liveliness[:] = torch.from_numpy(liveliness[1:] - 1)
    save_file({name: array.float().contiguous() for name, array in network.state_dict().items()}, WEIGHTS)


@dataclass(frozen=True)
class Clip:
    """A tracked clip: normalized faces (T, 478, 3), head poses (T, 3) in degrees, and the emotion acted, or ""."""

    name: str
    emotion: str
    faces: np.ndarray
    poses: np.ndarray


def read_clips(corpus: Corpus) -> list[Clip]:
    """The clips to train on."""
    clips = []
    for row in corpus.clips:
        if row["id"] not in corpus.held_out:
            faces, pose = normalize(corpus.seen_landmarks(row["id"]))
            emotion = OTHER_NAMES.get(row["emotion"], row["emotion"])
            clips.append(Clip(row["id"], emotion if emotion in EMOTIONS else "", faces, pose.rotation))
    return clips


def slopes_of(faces: list[np.ndarray], poses: list[np.ndarray]) -> np.ndarray:
    """(4, 478, 3) by how much faces (T, 478, 3) change per degree of yaw, pitch, roll (T, 3), per unit of lip gap."""
    causes = [np.column_stack([pose, lip_gaps(face).mean(-1)]) for face, pose in zip(faces, poses, strict=True)]
    causes = np.concatenate([cause - cause.mean(0) for cause in causes])
    changes = np.concatenate([(face - face.mean(0)).reshape(len(face), -1) for face in faces])
    return np.linalg.lstsq(causes, changes, rcond=None)[0].reshape(4, -1, 3)


# At rest


def at_rest(clips: list[Clip], slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offsets (8, 478, 3) of the face at rest, what is added where lips are open, and factors (8,) of speech motion.

    All at intensity 1.
    """
    found, swings = {emotion: [] for emotion in EMOTIONS}, {emotion: [] for emotion in EMOTIONS}
    for speaker in SPEAKERS:
        own = {clip.emotion: clip for clip in clips if clip.name.startswith(speaker)}
        expression = {
            emotion: np.median(clip.faces, axis=0) - np.tensordot(np.median(clip.poses, axis=0), slopes[:3], 1)
            for emotion, clip in own.items()
        }
        for emotion, clip in own.items():
            offset = expression[emotion] - expression["neutral"]
            found[emotion].append(offset - lip_gaps(offset).mean() / lip_gaps(slopes[3]).mean() * slopes[3])
            swing = lip_gaps(clip.faces).mean(-1).std() / lip_gaps(own["neutral"].faces).mean(-1).std()
            swings[emotion].append(swing)

    offsets = np.zeros((len(EMOTIONS), *canonical_face().vertices.shape))
    ajar = np.zeros_like(offsets)
    liveliness = np.ones(len(EMOTIONS))
    for index, emotion in enumerate(EMOTIONS[1:], start=1):
        learnt = without_lift(np.mean(found[emotion], axis=0)) * movable()[:, None]
        learnt = learnt if emotion == "contempt" else mirrored(learnt)
        offsets[index], ajar[index] = expression_of(RECIPES[emotion], learnt)
        liveliness[index] = np.clip(np.mean(swings[emotion]), *LIVELINESS) - SWING_OF_JAW * RECIPES[emotion].get(27, 0)
        print(f"{emotion:10s} {describe(offsets[index] + ajar[index])} liveliness {np.mean(swings[emotion]):.2f}")
    return offsets, ajar, liveliness


def expression_of(recipe: dict[int, float], learnt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The offsets (478, 3) that a recipe makes of a learnt one (478, 3) and of the action units; the jaw's apart."""
    offset = recipe.get(0, 0.0) * learnt
    offset = offset + sum(amount * action_unit(unit) for unit, amount in recipe.items() if unit not in (0, 27))
    return keep_eyes_open(keep_lip_gap(offset)), recipe.get(27, 0.0) * jaw_drop()


def action_unit(unit: int) -> np.ndarray:
    """The offset (478, 3) of the canonical face that shows an action unit, symmetric."""
    vertices = canonical_face().vertices
    offset = np.zeros_like(vertices)
    for bump in ACTION_UNITS.get(unit, ()):
        distance = np.linalg.norm(vertices[:, None, :2] - vertices[None, list(bump.points), :2], axis=-1).min(1)
        near = np.exp(-0.5 * (distance / bump.reach) ** 2) * (vertices[:, 0] < 0.02)
        near[[point for eye in EYES for point in (*eye.upper_lid, *eye.lower_lid)]] = 0
        offset += near[:, None] * [-bump.out, -bump.up, 0]
    on_both_sides = (np.abs(vertices[:, 0]) < 0.02)[:, None]
    offset = np.where(on_both_sides, mirrored(offset), 2 * mirrored(offset)) * movable()[:, None]
    upper, lower = LIDS_UP.get(unit, (0, 0))
    lift = np.zeros((1, 2, 2, 9, 3))
    lift[0, ..., 1] = -np.array([upper, lower])[:, None] * np.sin(np.linspace(0, np.pi, 9))
    return offset + move_lids(vertices[None], lift)[0] - vertices


def jaw_drop() -> np.ndarray:
    """The offset (478, 3) of a jaw that drops, mouth corners following a third of the way: AU 27."""
    vertices = canonical_face().vertices
    share = np.clip((vertices[:, 1] - vertices[LOWER[4], 1] + 0.02) / 0.10, 0, 1)
    share *= np.clip(1 - (vertices[:, 0] / 0.75) ** 2, 0, 1)
    share[[*UPPER, *OUTER_UPPER]] = 0
    share[[61, 78, 291, 308]] = 0.35
    share[LOWER] = share[OUTER_LOWER] = 0.35 + 0.65 * np.sin(np.linspace(0, np.pi, len(LOWER) + 2)[1:-1]) ** 0.7
    return mirrored(JAW_DROP * (share * movable())[:, None] * [0, 1, 0])


def mirrored(offset: np.ndarray) -> np.ndarray:
    """The mean of offsets (…, 478, 3) and their mirror images."""
    return (offset + offset[..., canonical_face().mirror, :] * [-1, 1, 1]) / 2


def movable() -> np.ndarray:
    """(478,) how far each point takes part: not at all over bone and in the eyes, fully elsewhere."""
    vertices = canonical_face().vertices
    distance = np.linalg.norm(vertices[:, None, :2] - vertices[None, list(RIGID_POINTS), :2], axis=-1).min(1)
    mask = np.clip(distance / MASK_REACH, 0, 1)
    mask[NUM_SURFACE_POINTS:] = 0
    return mask


def lower_face() -> np.ndarray:
    """(478,) 1 from the upper lip downwards, 0 from the nose upwards, a rise between."""
    height = canonical_face().vertices[:, 1]
    return np.clip((height - height[NOSE_BASE]) / (height[UPPER[4]] - height[NOSE_BASE]), 0, 1)


def without_lift(offset: np.ndarray) -> np.ndarray:
    """An offset (478, 3) that leaves the middle of the mouth where it is, as taking out its opening has shifted it.

    The whole lower face moves by what the middle of the lips moved, fading out towards the nose.
    """
    lift = offset[[UPPER[4], LOWER[4]], 1].mean()
    offset = offset.copy()
    offset[:, 1] -= lift * lower_face()
    return offset


def keep_lip_gap(offset: np.ndarray) -> np.ndarray:
    """Offsets (…, 478, 3) that move both lips alike up and down, so that speech opens and closes them as ever."""
    offset = offset.copy()
    excess = lip_gaps(offset) / 2
    for points, sign in ((UPPER, 1), (LOWER, -1), (OUTER_UPPER, 1), (OUTER_LOWER, -1)):
        offset[..., points, 1] += sign * excess
    return offset


def keep_eyes_open(offset: np.ndarray) -> np.ndarray:
    """An offset (478, 3) whose lids, on the canonical face, come no closer and go no further apart than they may."""
    offset = offset.copy()
    vertices = canonical_face().vertices
    for eye in EYES:
        upper, lower = list(eye.upper_lid[1:-1]), list(eye.lower_lid[1:-1])
        gap = vertices[lower, 1] - vertices[upper, 1]
        wanted = np.clip(gap + offset[lower, 1] - offset[upper, 1], gap * EYE_OPENING[0], gap * EYE_OPENING[1])
        excess = (gap + offset[lower, 1] - offset[upper, 1] - wanted) / 2
        offset[upper, 1] += excess
        offset[lower, 1] -= excess
    return offset


# In speech


@dataclass(frozen=True)
class Acted:
    """Frames of one clip: articulation (T, 5) as it would be without emotion, and what the emotion adds (T, 478, 3)."""

    source: str
    emotion: str
    articulation: np.ndarray
    change: np.ndarray


def in_speech(clips: list[Clip], slopes: np.ndarray) -> EmotionNetwork:
    """The network, which adds nothing to a face at rest yet."""
    acted = acted_speech(clips, slopes)
    taught = [clip for clip in acted if clip.source in SPEAKERS]
    for source in SOURCES:
        others = fit([clip for clip in taught if clip.source != source])
        judged = [clip for clip in acted if clip.source == source]
        error = sum(((clip.change - predict(others, clip)) ** 2).sum() for clip in judged)
        explained = 1 - error / sum((clip.change**2).sum() for clip in judged)
        print(
            f"{source:32s} {len(judged):2d} clips, taught by others: {explained:.3f} of the change in speech explained"
        )
    return fit(taught)


def acted_speech(clips: list[Clip], slopes: np.ndarray) -> list[Acted]:
    """What emotions change in speech, beyond the face at rest; symmetric but for contempt."""
    motions = {clip.name: from_closed(clip, slopes) for clip in clips}
    measures = {name: articulation(motion) for name, motion in motions.items()}
    plain = [clip.name for clip in clips if clip.emotion in ("", "neutral")]
    # How a face moves with its articulation when it feels nothing.
    as_ever = np.linalg.lstsq(
        np.concatenate([measures[name] for name in plain]),
        np.concatenate([motions[name].reshape(len(motions[name]), -1) for name in plain]),
        rcond=None,
    )[0]
    swings = {name: np.sqrt((measure**2).mean(0)) for name, measure in measures.items()}
    usual = np.median([swings[name] for name in plain], axis=0)
    own = {source_of(name): swings[name] for name in plain if source_of(name) in SPEAKERS}
    acted = []
    for clip in clips:
        source = source_of(clip.name)
        if not source or clip.emotion in ("", "neutral"):
            continue
        swing = swings[clip.name] / own.get(source, usual)
        measure = measures[clip.name] / np.clip(swing, *SWINGS)
        change = motions[clip.name] - (measure @ as_ever).reshape(motions[clip.name].shape)
        change = keep_lip_gap(change * (lower_face() * movable())[:, None])
        if clip.emotion != "contempt":
            change = mirrored(change)
        acted.append(Acted(source, clip.emotion, measure, change))
    return acted


def source_of(name: str) -> str | None:
    """Which of ``SOURCES`` a clip belongs to."""
    return next((source for source in SOURCES if name.startswith(source)), None)


def from_closed(clip: Clip, slopes: np.ndarray) -> np.ndarray:
    """A clip's motion (T, 478, 3) away from its face with closed lips, without what the head pose does to it."""
    faces = clip.faces - np.tensordot(clip.poses, slopes[:3], 1)
    gap = lip_gaps(faces).mean(-1)
    return faces - np.median(faces[gap <= np.quantile(gap, CLOSED_SHARE)], axis=0)


def fit(acted: list[Acted]) -> EmotionNetwork:
    """A network that knows what emotions change in speech."""
    changes = np.concatenate([clip.change.reshape(len(clip.change), -1) for clip in acted])
    modes = np.linalg.svd(changes, full_matrices=False)[2][:MODES]
    scale = np.sqrt(((changes @ modes.T) ** 2).mean())  # so that coefficients are about 1
    measures = np.concatenate([clip.articulation for clip in acted])
    usual = np.sqrt((measures**2).mean(0))

    torch.manual_seed(SEED)
    network = EmotionNetwork()
    network.modes[:] = torch.from_numpy(scale * modes)
    nn.init.ones_(network.gamma)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=WEIGHT_DECAY)
    inputs, targets = torch.tensor(measures / usual).float(), torch.tensor(changes @ modes.T / scale).float()
    emotions = torch.cat([felt_by(clip) for clip in acted]).float()
    for _ in range(STEPS):
        loss = nn.functional.mse_loss(network.in_speech(inputs, emotions), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        network.listen.weight /= torch.from_numpy(usual).float()
        network.gamma *= TRUST
    return network


def predict(network: EmotionNetwork, clip: Acted) -> np.ndarray:
    """What a network thinks that the emotion of a clip adds to its speech (T, 478, 3), beyond the face at rest."""
    with torch.inference_mode():
        return network(torch.from_numpy(clip.articulation).float(), felt_by(clip).float()).numpy()


def felt_by(clip: Acted) -> torch.Tensor:
    """(T, 8) label weights of a clip."""
    felt = torch.zeros(len(clip.change), len(EMOTIONS))
    felt[:, EMOTIONS.index(clip.emotion)] = 1
    return felt


def describe(offset: np.ndarray) -> str:
    """How far brows, lids and mouth corners move up and out, in hundredths of the distance of the outer eye corners."""
    up = -100 * offset[:, 1]
    eyes = np.mean([up[list(eye.upper_lid[3:6])].mean() - up[list(eye.lower_lid[3:6])].mean() for eye in EYES])
    return (
        f"inner brows {up[[55, 285]].mean():+.1f} outer brows {up[[70, 300]].mean():+.1f} eyes open {eyes:+.1f} "
        f"cheeks {up[[50, 280]].mean():+.1f} mouth corners up {up[61]:+.1f} {up[291]:+.1f} "
        f"wide {100 * (offset[291, 0] - offset[61, 0]):+.1f} largest {100 * np.linalg.norm(offset, axis=-1).max():.1f}"
    )


if __name__ == "__main__":
    main()
