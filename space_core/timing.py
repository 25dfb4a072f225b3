"""Time inside: 25 frames a second, and 16 kHz sound."""

FPS = 25
SAMPLE_RATE = 16_000  # Hz
SAMPLES_PER_FRAME = SAMPLE_RATE // FPS


def number_of_frames(num_samples: int) -> int:
    """How many frames show that many samples of sound; the last one may outlast them."""
    return -(-num_samples // SAMPLES_PER_FRAME)
