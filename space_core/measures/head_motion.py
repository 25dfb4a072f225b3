"""Head poses of recorded speakers, with their speech."""

import numpy as np

from space_core.face.normalization import HeadPose, normalize
from space_core.measures.corpus import Corpus
from space_core.timing import FPS

# Left out: renderings of another model, three-second readings, crops that follow the head and so hide its translation.
EXCLUDED = ("v_express_vasa_1_", "lipnet_", "talking_face_pc_avs_", "lia_data_vox_driving")  # beginnings of ids
SHORTEST = 4 * FPS  # frames of a clip

RecordedHead = tuple[HeadPose, np.ndarray]  # T head poses in pixels of the clip; speech (N,) float32, 16 kHz


def read_recorded_heads(corpus: Corpus) -> tuple[list[RecordedHead], list[RecordedHead]]:
    """Training and validation clips of camera-recorded speakers in which every frame shows a face."""
    ids = [clip["id"] for clip in corpus.clips if clip["speech"] == "1"]
    training: list[RecordedHead] = []
    validation: list[RecordedHead] = []
    for clip in ids:
        landmarks = corpus.landmarks(clip)
        if clip.startswith(EXCLUDED) or len(landmarks) < SHORTEST or np.isnan(landmarks).any():
            continue
        (validation if clip in corpus.held_out else training).append((normalize(landmarks)[1], corpus.speech(clip)))
    return training, validation
