"""The recipe of Landmarks2Latents, for LivePortrait's weights in a folder.

    python -m space_core.training.landmarks2latents --weights FOLDER [--videos FOLDER] [--seed 0] [--device cuda]

draws frames of the example portraits over all of SPACE's motion, has the motion extractor of the weights read them, and
learns from these, and from the first minute of each video in a folder, if one is given. It writes
``space_landmarks2latents.safetensors`` and its card beside the weights. After ten minutes on a CPU, or one with a GPU,
it learns from the takes that there are. The generator "liveportrait" does the same by itself when it is first used.
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from space_core.device import pick_device
from space_core.errors import SpaceError
from space_core.generator.liveportrait import load_networks
from space_core.neural.training import NUM_TAKES, save, train
from space_core.options import DEVICES


def _files(folder: Path | None) -> list[Path]:
    """The files of a folder, in order."""
    if folder is None:
        return []
    if not folder.is_dir():
        raise SpaceError(f"There is no folder {folder} with videos.")
    return sorted(path for path in folder.iterdir() if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, metavar="FOLDER", help="with LivePortrait's five files")
    parser.add_argument("--videos", type=Path, metavar="FOLDER", help="videos of a speaking face to train on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--takes", type=int, default=NUM_TAKES, help="of twelve frames each (default: %(default)s)")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    arguments = parser.parse_args()
    try:
        networks = load_networks(arguments.weights, pick_device(arguments.device))
        with tqdm(unit="step", file=sys.stderr) as bar:

            def show(stage: str, done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            trained = train(networks, show, arguments.seed, arguments.takes, _files(arguments.videos))
        save(trained, networks, arguments.weights)
    except SpaceError as error:
        raise SystemExit(f"space_core: {error}") from None
    print(trained.card)


if __name__ == "__main__":
    main()
