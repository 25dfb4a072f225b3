"""Preview of a photo before anything is rendered: which faces it shows, how one would be framed, and warnings."""

from dataclasses import dataclass

import numpy as np

from space_core.arrays import short_repr
from space_core.face.crop_size import SIZE
from space_core.face.detector import Detector
from space_core.face.photo_notes import photo_notes
from space_core.face.portrait import FramedFace, choose_face, cut, find_faces


@dataclass(frozen=True)
class FoundFace:
    """A face of a photo.

    Attributes:
        number: what the option ``face`` calls it: 1 the largest, 2 the next.
        box: left, top, right and bottom of its mesh, forehead to chin, in pixels of the photo.
        refusal: why it can't be animated, in a sentence or two; None where it can.
    """

    number: int
    box: tuple[float, float, float, float]
    refusal: str | None


@dataclass(frozen=True)
class FacePreview:
    """What a photo shows.

    Attributes:
        photo: (H, W, 3) uint8 RGB, upright; a large photo is reduced.
        faces: every face, the largest first.
        chosen: the one that would be animated.
        framed: (512, 512, 3) uint8 RGB, the crop around it as it would be animated.
        frame: (4, 2) the corners of what the film shows, clockwise from the top left, in pixels of the photo: those of
            the crop, which may lie outside of it, or of the whole photo.
        notes: advice, see ``photo_notes``.
    """

    photo: np.ndarray
    faces: tuple[FoundFace, ...]
    chosen: FoundFace
    framed: np.ndarray
    frame: np.ndarray
    notes: tuple[str, ...]

    __repr__ = short_repr

    def face_at(self, x: float, y: float) -> int:
        """The number of the face nearest to a place in the photo, in pixels."""

        def distance(face: FoundFace) -> tuple[float, float]:
            left, top, right, bottom = face.box
            outside = np.hypot(max(left - x, 0, x - right), max(top - y, 0, y - bottom))
            return float(outside), float(np.hypot((left + right) / 2 - x, (top + bottom) / 2 - y))

        return min(self.faces, key=distance).number


def preview_face(photo: np.ndarray, detector: Detector, face_number: int, scale: float, is_whole: bool) -> FacePreview:
    """Previews a photo (H, W, 3) uint8 RGB and one of its faces, counted from 1.

    ``scale`` is how many times larger the photo is from which the film is made; ``is_whole`` says that the film shows
    all of it. Raises SpaceError where ``prepare_portrait`` does.
    """
    found = find_faces(photo, detector, scale)
    face = choose_face(found, face_number)
    faces = tuple(FoundFace(number, _box(other), other.refusal) for number, other in enumerate(found, 1))
    framed = cut(photo, face.crop, margin=0)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    frame = corners * photo.shape[1::-1] if is_whole else face.crop.to_photo(SIZE * corners)
    notes = photo_notes(framed, face.landmarks, face.normalized, face.pose, face.crop.scale * face.photo_scale)
    return FacePreview(photo, faces, faces[face_number - 1], framed, frame, notes)


def _box(face: FramedFace) -> tuple[float, float, float, float]:
    return (*face.mesh[:, :2].min(0).tolist(), *face.mesh[:, :2].max(0).tolist())
