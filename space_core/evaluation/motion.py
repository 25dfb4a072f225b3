"""Every figure of stage 1, measured on the corpus.

    python -m space_core.evaluation.motion CORPUS

prints the reports of lips, emotions, head motion and eyes, each of which is a module of this folder.
"""

from space_core.evaluation import emotion, eyes, head_pose, lips
from space_core.measures.corpus import Corpus, corpus_arguments

PARTS = (lips, emotion, head_pose, eyes)


def main() -> None:
    arguments = corpus_arguments(__doc__).parse_args()
    corpus = Corpus(arguments.corpus, arguments.cache)
    for part in PARTS:
        print(f"\n{part.__doc__.splitlines()[0]}")
        part.report(corpus)


if __name__ == "__main__":
    main()
