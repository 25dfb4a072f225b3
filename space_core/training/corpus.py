"""The corpus's own lists: which clips there are, and which of them are kept for validation."""

import csv
from pathlib import Path


def read_manifest(corpus: Path) -> list[dict[str, str]]:
    """The rows of ``CORPUS/manifest.csv``, one a clip."""
    with (corpus / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def held_out_clips(corpus: Path) -> set[str]:
    """The ids in ``CORPUS/split.csv``: clips to validate on, never to train on."""
    with (corpus / "split.csv").open(newline="") as file:
        return {row["id"] for row in csv.DictReader(file)}
