"""The upper face in speech compared with recorded speakers.

    python -m space_core.evaluation.upper_face CORPUS

Prints, recorded and generated from the clips' own sound with several seeds: the standard deviation of each channel, how
often a minute the brows are raised, the share of their motion above 1 Hz, and how much more often they are raised on
accented syllables than at any time in speech; then the motion in silence, the difference between seeds, and the time.
"""

import time

import numpy as np

from space_core.measures.corpus import Corpus, corpus_from_arguments
from space_core.measures.spectrum import share_above
from space_core.measures.upper_face import (
    RecordedUpperFace,
    brow_events,
    raised_on_accents,
    read_recorded_upper_faces,
)
from space_core.motion.prosody import Prosody, analyze_prosody
from space_core.motion.upper_face import BROWS, CHANNELS, upper_face_motion
from space_core.timing import FPS, SAMPLE_RATE

SEEDS = 8
SECONDS = 10


def report(corpus: Corpus) -> None:
    """Prints the figures named at the top of this file."""
    training, validation = read_recorded_upper_faces(corpus)
    for name, clips in (("training", training), ("validation", validation)):
        print(f"  {len(clips)} {name} clips")
        recorded = [figures(clip.motion, clip.prosody) for clip in clips]
        generated = [figures(_generated(clip, seed), clip.prosody) for seed in range(SEEDS) for clip in clips]
        for figure in recorded[0]:
            real, made = (np.array([row[figure] for row in rows]) for rows in (recorded, generated))
            print(
                f"    {figure:58s} recorded median {np.nanmedian(real):6.2f} mean {np.nanmean(real):6.2f}   "
                f"generated {np.nanmedian(made):6.2f} {np.nanmean(made):6.2f}"
            )
    silence = analyze_prosody(np.zeros(SECONDS * SAMPLE_RATE, np.float32), SECONDS * FPS)
    print(f"  largest motion in silence, mm: {np.abs(upper_face_motion(silence, 0)).max():g}")
    prosody = training[0].prosody
    brows = np.array([upper_face_motion(prosody, seed)[:, BROWS] for seed in range(SEEDS)])
    alike = np.corrcoef(brows)[np.triu_indices(SEEDS, 1)]
    print(f"  correlation of the brows of two seeds: {alike.mean():.2f} ({alike.min():.2f} … {alike.max():.2f})")
    speech = np.random.default_rng(0).standard_normal(SECONDS * SAMPLE_RATE).astype(np.float32)
    begun = time.perf_counter()
    upper_face_motion(analyze_prosody(speech, SECONDS * FPS), 0)
    print(f"  {SECONDS} s of speech take {time.perf_counter() - begun:.3f} s")


def figures(motion: np.ndarray, prosody: Prosody) -> dict[str, float]:
    """Figures of motion (T, channels) in millimetres that accompanies speech."""
    brows = motion[:, BROWS] - motion[:, BROWS].mean()
    pausing = prosody.speaking < 0.2
    speed = np.abs(np.gradient(brows))
    return {
        **{f"standard deviation of {name}, mm": float(motion[:, i].std()) for i, name in enumerate(CHANNELS)},
        "brows raised, a minute": brow_events(motion),
        "share of brow motion above 1 Hz": float(share_above(brows, 1)),
        "share of brow motion above 3 Hz": float(share_above(brows, 3)),
        "skewness of brow height": float((brows**3).mean() / brows.std() ** 3),
        "raised on accented syllables, relative to chance": raised_on_accents(motion, prosody),
        "speed of the brows in pauses, relative to speech": (
            float(speed[pausing].mean() / speed[~pausing].mean()) if pausing.sum() > FPS else np.nan
        ),
    }


def _generated(clip: RecordedUpperFace, seed: int) -> np.ndarray:
    return upper_face_motion(clip.prosody, seed)


if __name__ == "__main__":
    report(corpus_from_arguments(__doc__))
