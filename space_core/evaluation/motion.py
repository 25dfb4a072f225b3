"""Every figure of stage 1, measured on the corpus.

    python -m space_core.evaluation.motion CORPUS

prints how lips match recorded ones, how emotions are read, how heads move and eyes look; each part is a module of its
own.
"""

from space_core.evaluation import emotion, eyes, head_pose, lips
from space_core.training.corpus import Corpus, corpus_arguments

PARTS = (lips, emotion, head_pose, eyes)


def main() -> None:
    arguments = corpus_arguments(__doc__).parse_args()
    corpus = Corpus(arguments.corpus, arguments.cache)
    for part in PARTS:
        print(f"\n{part.__doc__.splitlines()[0]}")
        part.report(corpus)


if __name__ == "__main__":
    main()
