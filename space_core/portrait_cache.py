"""Prepared portraits, kept so that the same photo is prepared once."""

import hashlib
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, fields, is_dataclass, replace
from importlib import import_module
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from PIL import Image

from space_core.errors import ServerFault, SpaceError
from space_core.face.canvas import Canvas, crop_canvas, photo_canvas
from space_core.face.crop import Crop
from space_core.face.detector import Detector, build_detector
from space_core.face.portrait import Portrait, prepare_portrait
from space_core.face.preview import FacePreview, preview_face
from space_core.generator.generator import Generator
from space_core.inputs import Photo
from space_core.media.images import load_draft
from space_core.options import RenderingOptions
from space_core.processes.memory import return_freed_memory
from space_core.progress import start

CACHE_BYTES = 200_000_000  # about ten square films; the networks and a film at work take 0.8 GB besides
# Imported where a portrait is prepared: here beforehand, and never in processes that draw, which take 29 MB less.
PREPARATION = ("scipy.ndimage", "scipy.sparse.csgraph", "scipy.spatial", "skimage.draw")

Key = tuple[Any, ...]  # what distinguishes portraits


@dataclass
class CachedPortrait:
    """A prepared portrait in the cache.

    Attributes:
        portrait: the portrait.
        prepared: what the generator prepared from it.
        num_bytes: that both take.
        used_at: when it was last used, seconds of ``time.monotonic``.
    """

    portrait: Portrait
    prepared: Any
    num_bytes: int
    used_at: float


class PortraitCache:
    """Portraits by photo, generator and options; may be used by several threads, which prepare one at a time."""

    def __init__(self, device: torch.device, max_bytes: int = CACHE_BYTES) -> None:
        """Beyond ``max_bytes`` the least recently used portraits are removed; the latest one is always kept."""
        for module in PREPARATION:
            import_module(module)
        self._device = device
        self._max_bytes = max_bytes
        self._detectors: dict[str, Detector] = {}
        self._portraits: OrderedDict[Key, CachedPortrait] = OrderedDict()
        self._found: WeakValueDictionary[Key, Portrait] = WeakValueDictionary()  # those that are being prepared
        self._refused: tuple[Key, str] | None = None  # the latest photo that can't be animated, and why
        self._lock = threading.Lock()  # of the dictionaries
        self._finding, self._preparing = threading.Lock(), threading.Lock()

    def portrait(self, photo: np.ndarray, options: RenderingOptions) -> Portrait:
        """The portrait alone, as soon as its face is found, even while ``get`` is still preparing it."""
        return self._portrait(_key(photo, options), photo, options)

    def get(self, photo: np.ndarray, options: RenderingOptions, generator: Generator[Any]) -> CachedPortrait:
        """The portrait of a photo (H, W, 3) uint8 RGB, prepared by ``generator``, which is the one that options name.

        Raises:
            SpaceError: see ``prepare_portrait``.
        """
        key = _key(photo, options)
        with self._preparing:
            if (found := self._find(key)) is None:
                found = self._prepare(self._portrait(key, photo, options), options, generator)
                self._keep(key, found)
                self._found.pop(key, None)
            return found

    def preview(self, photo: Photo, options: RenderingOptions) -> FacePreview:
        """See ``SpacePipeline.preview``. Nothing of it is kept."""
        draft, scale = load_draft(photo)
        return preview_face(draft, self.detector(options.detector), options.face, scale, options.shows_whole_photo)

    def detector(self, name: str) -> Detector:
        """The detector of that name, built once."""
        with self._lock:
            if name not in self._detectors:
                self._detectors[name] = build_detector(name, self._device)
            return self._detectors[name]

    def forget(self, older_than_seconds: float) -> None:
        """Removes the portraits that were not used for that long."""
        with self._lock:
            oldest = time.monotonic() - older_than_seconds
            expired = [key for key, kept in self._portraits.items() if kept.used_at <= oldest]
            for key in expired:
                del self._portraits[key]
        if expired:
            return_freed_memory()

    def _find(self, key: Key) -> CachedPortrait | None:
        with self._lock:
            if (found := self._portraits.get(key)) is not None:
                found.used_at = time.monotonic()
                self._portraits.move_to_end(key)
            return found

    def _portrait(self, key: Key, photo: np.ndarray, options: RenderingOptions) -> Portrait:
        with self._finding:
            if (kept := self._find(key)) is not None:
                return kept.portrait
            if (found := self._found.get(key)) is not None:
                return found
            if self._refused is not None and self._refused[0] == key:
                raise SpaceError(self._refused[1])
            try:
                found = prepare_portrait(photo, self.detector(options.detector), options.face)
            except ServerFault:
                raise
            except SpaceError as error:
                self._refused = key, str(error)
                raise
            self._found[key] = found
            return found

    def _prepare(self, portrait: Portrait, options: RenderingOptions, generator: Generator[Any]) -> CachedPortrait:
        kept = start(lambda: portrait if options.shows_whole_photo else _reduced(portrait))
        prepared = generator.prepare(portrait, _canvas(portrait, options), options.refine == "network")
        return CachedPortrait(kept.result(), prepared, _num_bytes((kept.result(), prepared), set()), time.monotonic())

    def _keep(self, key: Key, portrait: CachedPortrait) -> None:
        with self._lock:
            self._portraits[key] = portrait
            while (
                len(self._portraits) > 1 and sum(kept.num_bytes for kept in self._portraits.values()) > self._max_bytes
            ):
                self._portraits.popitem(last=False)
        start(return_freed_memory)  # of what was dropped, and of what preparing took


def _key(photo: np.ndarray, options: RenderingOptions) -> Key:
    checksum = hashlib.sha256(np.ascontiguousarray(photo).data).digest()
    return (checksum, photo.shape, *options.preparation)


def _canvas(portrait: Portrait, options: RenderingOptions) -> Canvas:
    """What the film shows."""
    return photo_canvas(portrait) if options.shows_whole_photo else crop_canvas(portrait, options.size)


def _reduced(portrait: Portrait) -> Portrait:
    """A portrait with its photo at the resolution of the crop: once it is prepared, no film needs more of it."""
    scale = portrait.crop.scale
    if scale <= 1:
        return portrait
    height, width, _ = portrait.photo.shape
    size = max(1, round(width / scale)), max(1, round(height / scale))
    photo = np.asarray(Image.fromarray(portrait.photo).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0))
    return replace(portrait, photo=photo, crop=Crop(portrait.crop.origin / scale, 1.0))


def _num_bytes(value: Any, counted: set[int]) -> int:
    """The bytes of all arrays and tensors in dataclasses, lists and tuples.

    Memory whose address is in ``counted`` is left out; the addresses of the rest are added to it.
    """
    if isinstance(value, torch.Tensor):
        memory: Any = value.untyped_storage()
        address = memory.data_ptr()
    elif isinstance(value, np.ndarray):
        memory = value
        while isinstance(memory.base, np.ndarray):
            memory = memory.base
        address = memory.ctypes.data
    elif is_dataclass(value):
        return sum(_num_bytes(getattr(value, field.name), counted) for field in fields(value))
    elif isinstance(value, list | tuple):
        return sum(_num_bytes(item, counted) for item in value)
    else:
        return 0
    if address in counted:
        return 0
    counted.add(address)
    return memory.nbytes() if callable(memory.nbytes) else memory.nbytes
