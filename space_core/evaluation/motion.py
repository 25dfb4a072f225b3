"""Every figure of stage 1, measured on the corpus.

    python -m space_core.evaluation.motion CORPUS

prints the reports of lips, classes of phonemes, emotions, head motion and eyes, each of which is a module that can also
be run alone.
"""

from space_core.evaluation import emotion, eyes, head_pose, lips, visemes
from space_core.measures.corpus import corpus_from_arguments

PARTS = (lips, visemes, emotion, head_pose, eyes)


def main() -> None:
    corpus = corpus_from_arguments(__doc__)
    for part in PARTS:
        print(f"\n{part.__doc__.splitlines()[0]}")
        part.report(corpus)


if __name__ == "__main__":
    main()
