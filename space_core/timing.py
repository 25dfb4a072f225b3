"""Time inside: 25 frames a second, and 16 kHz sound."""

FPS = 25
SAMPLE_RATE = 16_000  # Hz
SAMPLES_PER_FRAME = SAMPLE_RATE // FPS


def number_of_frames(num_samples: int) -> int:
    """How many frames show that many samples of sound; the last one may outlast them."""
    return -(-num_samples // SAMPLES_PER_FRAME)


def duration(seconds: float) -> str:
    """About so long, in words: "about 40 s", "about 12 minutes", "about 3.5 hours"."""
    if seconds < 100:
        return f"about {round(seconds)} s"
    return f"about {round(seconds / 60)} minutes" if seconds < 6000 else f"about {seconds / 3600:.1f} hours"
