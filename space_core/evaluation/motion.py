"""Every figure of stage 1, measured on the corpus.

    python -m space_core.evaluation.motion CORPUS

prints how well lips match recorded ones; each part is a module of its own.
"""

from space_core.evaluation import lips
from space_core.training.corpus import Corpus, corpus_arguments

PARTS = (lips,)


def main() -> None:
    arguments = corpus_arguments(__doc__).parse_args()
    corpus = Corpus(arguments.corpus, arguments.cache)
    for part in PARTS:
        print(f"\n{part.__doc__.splitlines()[0]}")
        part.report(corpus)


if __name__ == "__main__":
    main()
