"""Preview of a photo before anything is rendered: which faces it shows, how one would be framed, and warnings."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from space_core.face.crop_size import SIZE
from space_core.face.detector import Detector
from space_core.face.luminance import LUMINANCE
from space_core.face.portrait import FramedFace, choose_face, cut, find_faces
from space_core.face.topology import EYES, INNER_LOWER_LIP, INNER_UPPER_LIP

# What a photo is warned of; each limit lies beyond what the portraits of the corpus that move well have.
SMALL_FACE = 100  # pixels high: a frame then shows the face more than twice as large as the photo
TURNED = 30.0  # degrees of yaw
ON_ITS_SIDE = 60.0  # degrees of roll, as in scans and in photos that have lost their orientation
WIDE_OPEN = 0.3  # gap between the lips, in widths of the mouth
SHUT = 0.2  # opening of the wider eye, in widths of the eye
DARK = 75  # the light of the face's brighter parts, of 255; dark skin in good light is above 120
# Detail of one to two pixels of a frame relative to detail of two to four: of 256 sharp photos 0.43 and more, of 18
# blurred ones 0.41 and less, as of faces enlarged from 40 pixels. Finer detail may be of JPEG or of the enlarging.
BLURRED = 0.42


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
        frame: (4, 2) the crop's corners, clockwise from the top left, in pixels of the photo; may lie outside of it.
        notes: warnings, each a sentence or two, about a photo that will do but not well.
    """

    photo: np.ndarray
    faces: tuple[FoundFace, ...]
    chosen: FoundFace
    framed: np.ndarray
    frame: np.ndarray
    notes: tuple[str, ...]

    def face_at(self, x: float, y: float) -> int:
        """The number of the face nearest to a place in the photo, in pixels."""

        def distance(face: FoundFace) -> tuple[float, float]:
            left, top, right, bottom = face.box
            outside = np.hypot(max(left - x, 0, x - right), max(top - y, 0, y - bottom))
            return float(outside), float(np.hypot((left + right) / 2 - x, (top + bottom) / 2 - y))

        return min(self.faces, key=distance).number


def preview_face(photo: np.ndarray, detector: Detector, face_number: int = 1, scale: float = 1.0) -> FacePreview:
    """Previews a photo (H, W, 3) uint8 RGB and one of its faces, counted from 1.

    ``scale`` is how many times larger the photo is from which the film is made. Raises SpaceError where
    ``prepare_portrait`` does.
    """
    found = find_faces(photo, detector, scale)
    face = choose_face(found, face_number)
    faces = tuple(FoundFace(number, _box(other), other.refusal) for number, other in enumerate(found, 1))
    framed = cut(photo, face.crop, margin=0)
    frame = face.crop.to_photo(SIZE * np.array([[0, 0], [1, 0], [1, 1], [0, 1]]))
    notes = (*_notes_on_face(face), *_notes_on_light(face, framed))
    return FacePreview(photo, faces, faces[face_number - 1], framed, frame, notes)


def _box(face: FramedFace) -> tuple[float, float, float, float]:
    return (*face.mesh[:, :2].min(0).tolist(), *face.mesh[:, :2].max(0).tolist())


def _notes_on_face(face: FramedFace) -> Iterator[str]:
    if face.height < SMALL_FACE:
        yield f"The face is only {face.height:.0f} pixels high, so the film will be soft. A photo from closer helps."
    if abs(face.pose.rotation[0, 2]) > ON_ITS_SIDE:
        yield "The head lies on its side in the photo. Turn the photo upright first, or the film lies on its side, too."
    if face.yaw > TURNED:
        yield f"The face is turned away by {face.yaw:.0f} degrees. One that looks at the camera moves better."
    if _mouth_opening(face.normalized) > WIDE_OPEN:
        yield "The mouth is wide open in the photo. With closed lips it moves better."
    if _eye_opening(face.normalized) < SHUT:
        yield "The eyes are shut in the photo, so open ones have to be made up. A photo with open eyes helps."


def _notes_on_light(face: FramedFace, framed: np.ndarray) -> Iterator[str]:
    low, high = face.landmarks[:, :2].min(0), face.landmarks[:, :2].max(0)
    (left, top), (right, bottom) = (np.clip(corner, 0, SIZE).astype(int) for corner in (low, high))
    light = framed[top:bottom, left:right] @ LUMINANCE
    if np.percentile(light, 90) < DARK:
        yield "The face is very dark. A brighter photo helps."
    fine, medium, coarse = (gaussian_filter(light, pixels) for pixels in (1, 2, 4))
    if (fine - medium).std() < BLURRED * (medium - coarse).std():
        yield "The photo is blurred or enlarged from a small one, so the film will be soft. A sharper one helps."


def _mouth_opening(normalized: np.ndarray) -> float:
    """The gap between the lips of landmarks (478, 3), in widths of the mouth."""
    upper, lower = (normalized[list(lip), :2] for lip in (INNER_UPPER_LIP, INNER_LOWER_LIP))
    return float((lower - upper)[:, 1].max() / np.linalg.norm(upper[-1] - upper[0]))


def _eye_opening(normalized: np.ndarray) -> float:
    """How far apart the lids of the wider eye of landmarks (478, 3) are in its middle, in widths of the eye."""
    openings = []
    for eye in EYES:
        upper, lower = (normalized[list(lid)] for lid in (eye.upper_lid, eye.lower_lid))
        middle = len(upper) // 2
        openings.append(np.linalg.norm(upper[middle] - lower[middle]) / np.linalg.norm(upper[-1] - upper[0]))
    return float(max(openings))
