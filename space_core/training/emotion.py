"""What emotions add to a face, learnt from clips whose speakers act them.

    python -m space_core.training.emotion CORPUS

writes ``weights/emotion.safetensors``. Takes seconds.

For each speaker who acts neutral and other emotions: the median face of each emotion less that of neutral, without what
head pose does to a tracked face and without the opening of the mouth; then the mean over speakers.
"""

import numpy as np
from safetensors.numpy import save_file

from space_core.face.normalization import normalize
from space_core.face.topology import (
    EYES,
    NUM_SURFACE_POINTS,
    RIGID_POINTS,
    canonical_face,
)
from space_core.motion.emotion import EMOTIONS, WEIGHTS
from space_core.motion.speech2landmarks import LOWER, OUTER_LOWER, OUTER_UPPER, UPPER, lip_gaps
from space_core.training.corpus import Corpus, corpus_arguments

# Speakers who act neutral too, by what the ids of their clips begin with.
SPEAKERS = ("dreamtalk_style_clip_video_m030_", "dreamtalk_style_clip_video_w009_")

MASK_REACH = 0.08  # from points over bone to points that move freely
# The tracker's face model knows frowns and raised brows only faintly, and speakers differ: factors that make the learnt
# offsets of each emotion plain to see at intensity 1.
STRENGTHEN = {
    "angry": 1.8,
    "contempt": 1.3,
    "disgusted": 1.8,
    "fear": 1.6,
    "sad": 1.8,
    "surprised": 1.8,
}
NOSE_BASE = 2
EYE_OPENING = (0.7, 1.3)  # no emotion closes the eyes or tears them open further, relative to neutral
LIVELINESS = (0.85, 1.15)  # the factors by which speech motion may shrink or grow


def main() -> None:
    arguments = corpus_arguments(__doc__).parse_args()
    corpus = Corpus(arguments.corpus, arguments.cache)
    emotions = {row["id"]: row["emotion"] for row in corpus.clips if row["id"] not in corpus.held_out}
    faces, poses = {}, {}
    for name in emotions:
        faces[name], pose = normalize(corpus.seen_landmarks(name))
        poses[name] = pose.rotation
    slopes = slopes_of(list(faces.values()), list(poses.values()))
    opening = slopes[3]

    found = {emotion: [] for emotion in EMOTIONS}
    swings = {emotion: [] for emotion in EMOTIONS}
    for speaker in SPEAKERS:
        own = {emotions[name]: name for name in emotions if name.startswith(speaker) and emotions[name] in EMOTIONS}
        expression = {
            emotion: np.median(faces[name], axis=0) - np.tensordot(np.median(poses[name], axis=0), slopes[:3], 1)
            for emotion, name in own.items()
        }
        for emotion, name in own.items():
            offset = expression[emotion] - expression["neutral"]
            found[emotion].append(offset - lip_gaps(offset).mean() / lip_gaps(opening).mean() * opening)
            swing = lip_gaps(faces[name]).mean(-1).std() / lip_gaps(faces[own["neutral"]]).mean(-1).std()
            swings[emotion].append(swing)

    offsets = np.zeros((len(EMOTIONS), *canonical_face().vertices.shape))
    liveliness = np.ones(len(EMOTIONS))
    for index, emotion in enumerate(EMOTIONS):
        if emotion == "neutral":
            continue
        offset = without_lift(np.mean(found[emotion], axis=0)) * movable()[:, None] * STRENGTHEN.get(emotion, 1.0)
        if emotion != "contempt":
            offset = (offset + offset[canonical_face().mirror] * [-1, 1, 1]) / 2
        offsets[index] = keep_eyes_open(keep_lip_gap(offset))
        liveliness[index] = np.clip(np.mean(swings[emotion]), *LIVELINESS)
        print(f"{emotion:10s} {describe(offsets[index])} liveliness {np.mean(swings[emotion]):.2f}")
    save_file({"offsets": offsets.astype(np.float32), "liveliness": liveliness.astype(np.float32)}, WEIGHTS)


def slopes_of(faces: list[np.ndarray], poses: list[np.ndarray]) -> np.ndarray:
    """(4, 478, 3) by how much faces (T, 478, 3) change per degree of yaw, pitch, roll (T, 3), per unit of lip gap."""
    causes = [np.column_stack([pose, lip_gaps(face).mean(-1)]) for face, pose in zip(faces, poses, strict=True)]
    causes = np.concatenate([cause - cause.mean(0) for cause in causes])
    changes = np.concatenate([(face - face.mean(0)).reshape(len(face), -1) for face in faces])
    return np.linalg.lstsq(causes, changes, rcond=None)[0].reshape(4, -1, 3)


def movable() -> np.ndarray:
    """(478,) how far each point takes part: not at all over bone and in the eyes, fully elsewhere."""
    vertices = canonical_face().vertices
    distance = np.linalg.norm(vertices[:, None, :2] - vertices[None, list(RIGID_POINTS), :2], axis=-1).min(1)
    mask = np.clip(distance / MASK_REACH, 0, 1)
    mask[NUM_SURFACE_POINTS:] = 0
    return mask


def without_lift(offset: np.ndarray) -> np.ndarray:
    """An offset (478, 3) that leaves the middle of the mouth where it is, as taking out its opening has shifted it.

    The whole lower face moves by what the middle of the lips moved, fading out towards the nose.
    """
    vertices = canonical_face().vertices
    share = np.clip((vertices[:, 1] - vertices[NOSE_BASE, 1]) / (vertices[UPPER[4], 1] - vertices[NOSE_BASE, 1]), 0, 1)
    lift = offset[[UPPER[4], LOWER[4]], 1].mean()
    offset = offset.copy()
    offset[:, 1] -= lift * share
    return offset


def keep_lip_gap(offset: np.ndarray) -> np.ndarray:
    """An offset (478, 3) that moves both lips alike up and down, so that speech opens and closes them as ever."""
    offset = offset.copy()
    excess = lip_gaps(offset) / 2
    for points, sign in ((UPPER, 1), (LOWER, -1), (OUTER_UPPER, 1), (OUTER_LOWER, -1)):
        offset[points, 1] += sign * excess
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
