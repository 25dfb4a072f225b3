"""Every figure of stage 1, measured on the corpus.

    python -m space_core.evaluation.motion CORPUS [--generator liveportrait]

prints the reports of lips, classes of phonemes, emotions, head motion and eyes, each of which is a module that can also
be run alone. The generator draws the films in which emotions and eyes are measured.
"""

from types import ModuleType

from space_core.evaluation import emotion, eyes, head_pose, lips, visemes
from space_core.measures.rendering import corpus_and_generator_from_arguments


def main() -> None:
    corpus, generator = corpus_and_generator_from_arguments(__doc__)
    _print_title(lips)
    lips.report(corpus)
    _print_title(visemes)
    visemes.report(corpus)
    _print_title(emotion)
    emotion.report(corpus, generator)
    _print_title(head_pose)
    head_pose.report(corpus)
    _print_title(eyes)
    eyes.report(corpus, generator)


def _print_title(part: ModuleType) -> None:
    print(f"\n{(part.__doc__ or '').splitlines()[0]}")


if __name__ == "__main__":
    main()
