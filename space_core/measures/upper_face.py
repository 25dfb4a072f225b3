"""Upper faces of recorded speakers, with the prosody of their speech, and what is measured on them."""

from dataclasses import dataclass

import numpy as np

from space_core.face.normalization import normalize
from space_core.measures.corpus import Corpus
from space_core.motion.loudness import smooth
from space_core.motion.prosody import ACCENTED, Prosody, analyze_prosody
from space_core.motion.upper_face import BROWS, channels_of
from space_core.timing import FPS, SAMPLES_PER_FRAME

# Left out: renderings of another model, readings, drawn characters. Beginnings of ids.
EXCLUDED = ("v_express_vasa_1_", "lipnet_", "talking_face_pc_avs_", "lia_data_vox_driving", "essa_ramzy_")
SHORTEST = 6 * FPS  # frames of a clip
NOISE_SMOOTHING = 1.2  # frames, standard deviation: of the tracker's noise
EVENT = 1.0  # standard deviations above the median from which on the brows count as raised
LEAD_FRAMES = 2  # by which recorded brows are raised before an accented syllable's loudest moment
RAISED_SHARE = 0.25  # of the frames: those with the highest brows


@dataclass(frozen=True)
class RecordedUpperFace:
    """A recorded clip of T frames: motion (T, channels) in millimetres from its mean, and the speech's prosody."""

    name: str
    motion: np.ndarray
    prosody: Prosody


def read_recorded_upper_faces(corpus: Corpus) -> tuple[list[RecordedUpperFace], list[RecordedUpperFace]]:
    """Training and validation clips of camera-recorded speakers, without the effects of head rotation on tracking."""
    training: list[RecordedUpperFace] = []
    validation: list[RecordedUpperFace] = []
    for row in corpus.clips:
        clip = row["id"]
        if row["speech"] != "1" or clip.startswith(EXCLUDED) or float(row["seconds"]) * FPS < SHORTEST:
            continue
        landmarks = corpus.landmarks(clip)
        if np.isnan(landmarks).any():
            continue
        faces, pose = normalize(landmarks)
        speech = corpus.speech(clip)
        num_frames = min(len(faces), len(speech) // SAMPLES_PER_FRAME)
        if num_frames < SHORTEST:
            continue
        rotation = pose.rotation[:num_frames]
        causes = np.column_stack([np.ones(num_frames), rotation, rotation**2])
        motion = channels_of(faces[:num_frames])
        motion = motion - causes @ np.linalg.lstsq(causes, motion, rcond=None)[0]
        prosody = analyze_prosody(speech[: num_frames * SAMPLES_PER_FRAME], num_frames)
        held = validation if clip in corpus.held_out else training
        held.append(RecordedUpperFace(clip, smooth(motion, NOISE_SMOOTHING), prosody))
    return training, validation


def brow_events(motion: np.ndarray) -> float:
    """How often a minute the brows are raised in motion (T, channels)."""
    height = motion[:, BROWS] - np.median(motion[:, BROWS])
    raised = height > EVENT * height.std()
    return float((np.diff(raised.astype(int)) == 1).sum() / len(motion) * 60 * FPS)


def raised_on_accents(motion: np.ndarray, prosody: Prosody) -> float:
    """How much more often brows are raised on accented syllables than at any time in speech; NaN with too few.

    ``motion`` (T, channels) is that of the upper face, in the order of its channels.
    """
    height = motion[:, BROWS]
    raised = height > np.quantile(height, 1 - RAISED_SHARE)
    accented = prosody.syllables[prosody.accents > ACCENTED] - LEAD_FRAMES
    accented, speaking = accented[accented >= 0], prosody.speaking > 0.5
    if len(accented) < 4 or not raised[speaking].any():
        return np.nan
    return float(raised[accented].mean() / raised[speaking].mean())
