"""A portrait: the user's photo with the square crop around one face, its face mesh and its masks."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy
from PIL import Image

from space_core.arrays import short_repr
from space_core.errors import SpaceError
from space_core.face.bars import Bar, continued_behind, find_bars
from space_core.face.crop import AROUND_CROP, Crop
from space_core.face.crop_size import MARGIN, SIZE
from space_core.face.detector import Detector
from space_core.face.normalization import HeadPose, deepened, normalize
from space_core.face.photo_notes import photo_notes
from space_core.face.segmentation import in_one_piece, person_mask

# The crop's side in heights of the face mesh (forehead to chin, without hair): head, hair and shoulders.
SIDE_IN_FACES = 2.25
MIN_SIDE_IN_FACES = 1.0  # where the photo ends sooner; photos that are smaller still are continued past their edges
FACE_CENTRE = 0.49  # where the middle of the face mesh comes to lie, from the crop's top

MIN_FACE_HEIGHT = 64  # pixels in the photo; lips of smaller faces are too few pixels to be animated
MAX_YAW = 50.0  # degrees; beyond it half of the mouth is hidden

# Photos in which no face is found are searched again in quarter turns, reduced to that side in pixels.
QUARTER_TURNS = ((2, "upside down"), (1, "on its side"), (3, "on its side"))
TURNED_SIDE = 800
UPRIGHT_ROLL = 45.0  # degrees, of a head that is upright after the turn

# Pixels between two people belong to the nearer one. Width of the transition, in heights of their faces.
BORDER_BETWEEN_PEOPLE = 0.04

UPWARDS = -0.7  # of a bar's normal along y: it lies above


@dataclass(frozen=True)
class Portrait:
    """A photo ready to be animated.

    Attributes:
        photo: (H, W, 3) uint8 RGB, the whole photo.
        surroundings: (640, 640, 3) uint8 RGB, the crop with ``MARGIN`` pixels more on each side.
        person: (640, 640) float32, 0 background and other people … 1 this person, over the surroundings.
        landmarks: (478, 3) posed landmarks in pixels of the crop, as they are found.
        normalized: (478, 3) the same, normalized, and as deep as faces are, see ``deepened``.
        pose: the head pose of the photo, of length 1.
        crop: where the crop lies in the photo.
        num_faces: how many faces the photo shows.
        bars: what is in front of the picture at the photo's edges; the person's mask goes on behind it.
    """

    photo: np.ndarray
    surroundings: np.ndarray
    person: np.ndarray
    landmarks: np.ndarray
    normalized: np.ndarray
    pose: HeadPose
    crop: Crop
    num_faces: int
    bars: tuple[Bar, ...] = ()

    __repr__ = short_repr

    @property
    def image(self) -> np.ndarray:
        """(512, 512, 3) uint8 RGB, the crop itself."""
        return self.surroundings[MARGIN:-MARGIN, MARGIN:-MARGIN]

    def behind_bars(self, picture: np.ndarray, crop: Crop) -> tuple[np.ndarray, np.ndarray]:
        """A picture (H, W, 3) uint8 RGB of the photo with bars replaced by what is beside them, and where they were.

        ``crop`` is where the portrait's crop lies in it; the mask (H, W) is bool. See ``continued_behind``.
        """
        return continued_behind(picture, self.bars, crop, self.crop, self.photo.shape[:2])

    @property
    def notes(self) -> tuple[str, ...]:
        """Advice on the photo, each a sentence or two, as in ``FacePreview.notes``."""
        return photo_notes(self.image, self.landmarks, self.normalized, self.pose, self.crop.scale)


@dataclass(frozen=True)
class FramedFace:
    """One face of a photo and the crop that would show it.

    Attributes:
        mesh: (478, 3) its landmarks in pixels of the photo.
        landmarks: (478, 3) the same in pixels of the crop.
        normalized: (478, 3) the same, normalized.
        pose: its head pose, of length 1.
        crop: where the crop lies in the photo.
        photo_scale: how many times larger the whole photo is, where this one was reduced.
    """

    mesh: np.ndarray
    landmarks: np.ndarray
    normalized: np.ndarray
    pose: HeadPose
    crop: Crop
    photo_scale: float = 1.0

    @property
    def height(self) -> float:
        """Of the face mesh, in pixels of the whole photo."""
        return float(np.ptp(self.mesh[:, 1])) * self.photo_scale

    @property
    def yaw(self) -> float:
        """How far the face is turned to either side, degrees."""
        return float(abs(self.pose.rotation[0, 0]))

    @property
    def refusal(self) -> str | None:
        """Why the face can't be animated, in a sentence or two; None where it can."""
        if self.height < MIN_FACE_HEIGHT:
            return (
                f"The face in the photo is too small: {int(self.height)} pixels high, at least {MIN_FACE_HEIGHT} are "
                "needed. Use a photo taken from closer, or a larger copy of it."
            )
        if self.yaw > MAX_YAW:
            return (
                f"The face in the photo is turned away by {self.yaw:.0f} degrees; up to {MAX_YAW:.0f} can be animated. "
                "Use a photo in which the person looks more towards the camera."
            )
        return None


def find_faces(photo: np.ndarray, detector: Detector, scale: float = 1.0) -> list[FramedFace]:
    """All faces of a photo, (H, W, 3) uint8 RGB, the largest first; SpaceError if there is no human face in it.

    ``scale`` is how many times larger the whole photo is, where this one was reduced.
    """
    faces = detector.detect(photo)
    if not faces:
        raise _no_face(photo, detector)
    return [_framed(face.astype(np.float64), photo.shape[1], photo.shape[0], scale) for face in faces]


def _no_face(photo: np.ndarray, detector: Detector) -> SpaceError:
    """The refusal of a photo in which no face was found; says so if there is one once the photo is turned upright."""
    step = math.ceil(max(photo.shape[:2]) / TURNED_SIDE)
    for quarters, lies in QUARTER_TURNS:
        turned = np.ascontiguousarray(np.rot90(photo[::step, ::step], quarters))
        for face in detector.detect(turned):
            _, pose = normalize(face[None].astype(np.float64))
            if abs(pose.rotation[0, 2]) < UPRIGHT_ROLL:
                return SpaceError(f"No human face was found: the photo seems to lie {lies}. Turn it upright first.")
    return SpaceError(
        "No human face was found in the photo. Use a sharp one in which a person looks roughly at the camera, with "
        "both eyes and the mouth in view."
    )


def choose_face(faces: list[FramedFace], number: int) -> FramedFace:
    """One of a photo's faces, counted from 1; SpaceError if there is no such face or if it can't be animated."""
    if number > len(faces):
        faces_shown = "one face" if len(faces) == 1 else f"{len(faces)} faces"
        raise SpaceError(f"The photo shows {faces_shown}, so there is no face {number}.")
    face = faces[number - 1]
    if face.refusal is not None:
        raise SpaceError(face.refusal)
    return face


def prepare_portrait(photo: np.ndarray, detector: Detector, face_number: int = 1) -> Portrait:
    """Finds a face of a photo, (H, W, 3) uint8 RGB, and cuts the portrait out.

    ``face_number`` counts the photo's faces from 1, the largest first. Raises SpaceError if there is no such human face
    or if it is too small or turned too far away.
    """
    faces = find_faces(photo, detector)
    face = choose_face(faces, face_number)
    surroundings = cut(photo, face.crop)
    bars = find_bars(photo, face.crop)
    behind = partial(continued_behind, bars=bars, crop=AROUND_CROP, photo=face.crop, photo_size=photo.shape[:2])
    person = person_mask(behind(surroundings)[0], face.landmarks[:, :2] + MARGIN)
    # A head goes on upwards as wide as it is; at its sides ears would grow.
    person, _ = behind(person, bars=tuple(bar for bar in bars if bar.normal[1] < UPWARDS))
    others = [face.crop.to_crop(other.mesh[:, :2]) for other in faces if other is not face]
    if others:
        # Where it ends before a neighbour, what is nearer to the person's own face may be a strip of the neighbour.
        person = in_one_piece(person * _nearest(face.landmarks[:, :2], others), _middle(face.landmarks) + MARGIN)
    normalized = deepened(face.normalized, face.pose)
    return Portrait(photo, surroundings, person, face.landmarks, normalized, face.pose, face.crop, len(faces), bars)


def _framed(mesh: np.ndarray, width: int, height: int, scale: float) -> FramedFace:
    """A face (478, 3) of a photo of that size, with the crop around it; ``scale``: see ``find_faces``."""
    crop = _crop_around(mesh, width, height)
    landmarks = mesh / crop.scale
    landmarks[:, :2] -= crop.origin / crop.scale
    normalized, pose = normalize(landmarks[None])
    return FramedFace(mesh, landmarks, normalized[0], pose, crop, scale)


def _nearest(face: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    """(640, 640) float32, 1 where the surroundings are nearer to a face (478, 2) than to the others … 0."""
    pixels = np.stack(np.meshgrid(*[np.arange(SIZE + 2 * MARGIN, dtype=np.float32) - MARGIN] * 2), -1)

    def distance(points: np.ndarray) -> np.ndarray:
        return np.linalg.norm(pixels - _middle(points), axis=-1) / np.ptp(points[:, 1])

    nearer = [scipy.special.expit((distance(other) - distance(face)) / BORDER_BETWEEN_PEOPLE) for other in others]
    return np.prod(nearer, axis=0, dtype=np.float32)


def _middle(face: np.ndarray) -> np.ndarray:
    """(2,) the middle of the box around a face (N, 2 or 3)."""
    return (face[:, :2].min(0) + face[:, :2].max(0)) / 2


def _crop_around(face: np.ndarray, width: int, height: int) -> Crop:
    """The square around a face: inside the photo where it can be."""
    low, high = face[:, :2].min(0), face[:, :2].max(0)
    face_height = high[1] - low[1]
    side = min(SIDE_IN_FACES * face_height, max(min(width, height), MIN_SIDE_IN_FACES * face_height))
    origin = (low + high) / 2 - [side / 2, side * FACE_CENTRE]
    room = np.array([width, height]) - side
    origin = np.where(room >= 0, np.clip(origin, 0, np.maximum(room, 0)), room / 2)
    return Crop(origin, side / SIZE)


def cut(photo: np.ndarray, crop: Crop, size: int = SIZE, margin: int = MARGIN) -> np.ndarray:
    """The crop at a size, and a margin around it, out of the photo, continued past its edges by its outermost pixels.

    Returns (n, n, 3) uint8 RGB with n = size + 2 · margin; with the defaults a portrait's surroundings.
    """
    scale = crop.scale * (SIZE / size)  # photo pixels per pixel
    low = crop.origin - margin * scale
    side = (size + 2 * margin) * scale
    outer_low, outer_high = np.floor(low).astype(int), np.ceil(low + side).astype(int)
    edges = np.array(photo.shape[1::-1])
    before = np.maximum(-outer_low, 0)
    after = np.maximum(outer_high - edges, 0)
    inside = photo[
        max(outer_low[1], 0) : min(outer_high[1], edges[1]), max(outer_low[0], 0) : min(outer_high[0], edges[0])
    ]
    padded = np.pad(inside, ((before[1], after[1]), (before[0], after[0]), (0, 0)), mode="edge")
    box = low - outer_low
    return np.asarray(
        Image.fromarray(padded).resize(
            (size + 2 * margin,) * 2, Image.Resampling.LANCZOS, box=(*box, *np.minimum(box + side, padded.shape[1::-1]))
        )
    )
