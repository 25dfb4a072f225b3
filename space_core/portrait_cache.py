"""Prepared portraits, kept so that the same photo is prepared once."""

import hashlib
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from space_core.face.canvas import Canvas, crop_canvas, photo_canvas
from space_core.face.detector import Detector, build_detector
from space_core.face.portrait import Portrait, prepare_portrait
from space_core.generator.generator import Generator
from space_core.options import RenderingOptions

# Least recently used first out; each takes about 50 MB and 20 bytes a pixel of its film.
MAX_PORTRAITS, MAX_PIXELS = 8, 20_000_000


@dataclass
class PreparedPortrait:
    """A portrait, the generator's preparation of it, the pixels of its film, and when it was last used (seconds)."""

    portrait: Portrait
    prepared: Any
    num_pixels: int
    used_at: float


class PortraitCache:
    """Portraits by photo and options; may be used by several threads, of which one at a time prepares a portrait."""

    def __init__(self, generator: Generator, device: torch.device) -> None:
        self._generator = generator
        self._device = device
        self._detectors: dict[str, Detector] = {}
        self._portraits: OrderedDict[tuple, PreparedPortrait] = OrderedDict()
        self._lock = threading.Lock()  # of the dictionaries
        self._preparing = threading.Lock()

    def get(self, photo: np.ndarray, options: RenderingOptions) -> PreparedPortrait:
        """The prepared portrait of a photo (H, W, 3) uint8 RGB.

        Raises:
            SpaceError: see ``prepare_portrait``.
        """
        picture = (hashlib.blake2b(photo.tobytes(), digest_size=16).digest(), photo.shape)
        key = (*picture, options.detector, options.face, options.refine, options.framing, options.size)
        with self._preparing:
            if (found := self._find(key)) is None:
                found = self._prepare(photo, options)
                self._keep(key, found)
            return found

    def detector(self, name: str) -> Detector:
        """The detector of that name, built once."""
        with self._lock:
            if name not in self._detectors:
                self._detectors[name] = build_detector(name, self._device)
            return self._detectors[name]

    def forget(self, older_than_seconds: float) -> None:
        """Drops the portraits that were not used for that long."""
        with self._lock:
            oldest = time.monotonic() - older_than_seconds
            for key in [key for key, kept in self._portraits.items() if kept.used_at <= oldest]:
                del self._portraits[key]

    def _find(self, key: tuple) -> PreparedPortrait | None:
        with self._lock:
            if (found := self._portraits.get(key)) is not None:
                found.used_at = time.monotonic()
                self._portraits.move_to_end(key)
            return found

    def _prepare(self, photo: np.ndarray, options: RenderingOptions) -> PreparedPortrait:
        portrait = prepare_portrait(photo, self.detector(options.detector), options.face)
        canvas = _canvas(portrait, options)
        prepared = self._generator.prepare(portrait, canvas, options.refine == "network")
        height, width = canvas.shown[3], canvas.shown[2]
        return PreparedPortrait(portrait, prepared, height * width, time.monotonic())

    def _keep(self, key: tuple, portrait: PreparedPortrait) -> None:
        with self._lock:
            self._portraits[key] = portrait
            while len(self._portraits) > MAX_PORTRAITS or (
                len(self._portraits) > 1 and sum(kept.num_pixels for kept in self._portraits.values()) > MAX_PIXELS
            ):
                self._portraits.popitem(last=False)


def _canvas(portrait: Portrait, options: RenderingOptions) -> Canvas:
    """What the film shows."""
    return photo_canvas(portrait) if options.framing == "photo" else crop_canvas(portrait, options.size)
