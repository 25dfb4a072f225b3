"""Faces for tests of motion, and what is measured on them."""

from functools import lru_cache

import numpy as np

from space_core.face.topology import EYES, INNER_LOWER_LIP, INNER_UPPER_LIP, canonical_face
from space_core.motion.emotion import emotion_curve
from space_core.motion.speech2landmarks import load_speech2landmarks
from space_core.motion.speech_window import SpeechWindow
from space_core.timing import number_of_frames

UPPER_LIP, LOWER_LIP = list(INNER_UPPER_LIP[1:-1]), list(INNER_LOWER_LIP[1:-1])


def closed_face() -> np.ndarray:
    """The canonical face (478, 3), whose mouth is open, with its lips brought together."""
    face = canonical_face().vertices.copy()
    face[UPPER_LIP] = face[LOWER_LIP] = (face[UPPER_LIP] + face[LOWER_LIP]) / 2
    return face


def predict(
    speech: np.ndarray,
    face: np.ndarray | None = None,
    emotion: str = "neutral",
    intensity: float = 1.0,
    articulation: float = 1.0,
) -> np.ndarray:
    """Normalized landmarks (T, 478, 3) of speech (N,); of the closed face unless another one is given."""
    curve = emotion_curve(emotion, intensity, number_of_frames(len(speech)))
    face = closed_face() if face is None else face
    windows = analysed(speech.astype(np.float32).tobytes())
    predicted = load_speech2landmarks("cpu").predict_with_closure(windows, face, curve, articulation)
    return np.concatenate([landmarks for landmarks, _ in predicted])


@lru_cache(maxsize=8)
def analysed(speech: bytes) -> list[SpeechWindow]:
    """What speech, float32 samples, determines whoever says it and however; many tests have the same."""
    return list(load_speech2landmarks("cpu").analyse(np.frombuffer(speech, np.float32)))


def lip_opening(landmarks: np.ndarray) -> np.ndarray:
    """(…,) vertical gap between the middles of the inner lips of landmarks (…, 478, 3); negative if they cross."""
    return landmarks[..., LOWER_LIP[4], 1] - landmarks[..., UPPER_LIP[4], 1]


def lid_opening(landmarks: np.ndarray) -> np.ndarray:
    """(…, 2, 7) distance between the lids of both eyes of landmarks (…, 478, 3), seen from the front."""
    upper = landmarks[..., [eye.upper_lid[1:-1] for eye in EYES], :2]
    lower = landmarks[..., [eye.lower_lid[1:-1] for eye in EYES], :2]
    return np.linalg.norm(lower - upper, axis=-1)
