"""The mel filters of the speech features, as librosa computes them and as Whisper was trained with.

    pip install librosa
    python -m space_core.training.mel_filters

writes ``weights/mel_filters.safetensors``. Computing them at run time, with the import of librosa, would take 0.4 s.
"""

import librosa
import numpy as np
from safetensors.numpy import save_file

from space_core.motion.speech_features import MEL_FILTERS, NUM_MELS, WINDOW_SAMPLES
from space_core.timing import SAMPLE_RATE


def mel_filters() -> np.ndarray:
    """(80, 201) float32: weight of each frequency bin's power in each mel band; Slaney's scale and normalization."""
    return librosa.filters.mel(sr=SAMPLE_RATE, n_fft=WINDOW_SAMPLES, n_mels=NUM_MELS, dtype=np.float32)


def main() -> None:
    save_file({"filters": mel_filters()}, MEL_FILTERS)


if __name__ == "__main__":
    main()
