"""Portraits turned far from their photo's pose: a contact sheet to look at, and figures.

    python -m space_core.evaluation.head_turn CORPUS sheet.jpg [--portraits NAME …] [--generator liveportrait]

One row per portrait: the photo's crop, then yaw −35, −20, 20, 35° and pitch −15, 15° from the photo's pose, the head
turned about its neck. Columns of the figures, means over the turned frames:

    identity    distance of dlib's face descriptors to the photo's
    yaw, pitch  slope of the measured angle over the commanded one
    still       mean difference from the photo of pixels more than 12 pixels outside the person in photo and frame
    ghost       slope of the frame's detail over the photo's where the person was in the photo and no longer is, and
                in the 12 pixels around: 0 where nothing stays behind
    prepare     seconds that the preparation of the portrait took
"""

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt, gaussian_filter

from space_core.evaluation.face_descriptor import face_descriptor, has_dlib
from space_core.face.detector import Detector, build_detector
from space_core.face.normalization import HeadPose, normalize
from space_core.face.portrait import MARGIN, Portrait, prepare_portrait
from space_core.face.posed_face import PosedFace
from space_core.face.segmentation import person_mask
from space_core.measures.rendering import add_generator_argument, render_face, the_generator
from space_core.media.images import load_photo
from space_core.motion.head_pose import head_motion_model

# Long hair, short hair, curls, a turban, a tiara, beards, glasses, earrings, a child, paintings, a statue, a cartoon;
# plain and busy backgrounds.
PORTRAITS = (
    *("aniportrait_aragaki", "liveportrait_s42", "lia_x_portrait3", "joyvasa_joyvasa_006", "hallo3_0022"),
    *("liveportrait_s10", "kdtalker_wra_markwaynemullin_000", "hallo3_0008", "hallo3_0001", "liveportrait_s9"),
    *("hallo_7", "lia_x_frida", "hallo_1", "sonic_female_diaosu", "musetalk_musk", "lia_x_taylor"),
)
TURNS = ((-35, 0), (-20, 0), (20, 0), (35, 0), (0, -15), (0, 15))  # yaw and pitch from the photo's, degrees
CELL = 320  # side of a picture in the sheet, pixels
CLEARANCE = 12  # pixels around the person
PERSON = 0.5  # of the mask: a pixel that shows the person
DETAIL = 2.0  # pixels: what is finer is detail


def turned(portrait: Portrait, turns: Sequence[tuple[float, float]]) -> PosedFace:
    """The photo's own face, its head turned about the neck by degrees of yaw and pitch."""
    photo, pivot = portrait.pose, head_motion_model().pivot
    angles = np.array([(*turn, 0.0) for turn in turns])
    scale = photo.scale.repeat(len(angles))
    pose = HeadPose(photo.rotation + angles, photo.translation.repeat(len(angles), 0), scale)
    arm = scale[:, None] * (photo.matrices @ pivot - pose.matrices @ pivot)
    return PosedFace(
        portrait.normalized[None].repeat(len(angles), 0), HeadPose(pose.rotation, pose.translation + arm, scale)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="folder with portraits/*.jpg")
    parser.add_argument("sheet", type=Path, help="the picture to write")
    parser.add_argument("--portraits", nargs="+", default=PORTRAITS, help="names of files, without .jpg")
    add_generator_argument(parser)
    arguments = parser.parse_args()
    generator, detector = the_generator(arguments.generator), build_detector("mediapipe")
    rows, every = [], []
    for name in arguments.portraits:
        portrait = prepare_portrait(load_photo(arguments.corpus / "portraits" / f"{name}.jpg"), detector)
        start = time.perf_counter()
        prepared = generator.prepare(portrait)
        seconds = time.perf_counter() - start
        frames = np.stack(list(render_face(generator, prepared, turned(portrait, TURNS))))
        every.append({**_figures(portrait, frames, detector), "prepare": seconds})
        rows.append(np.concatenate([_cell(picture) for picture in (portrait.image, *frames)], axis=1))
        _print(name, every[-1])
    _print("mean", {key: _mean([figures[key] for figures in every]) for key in every[0]})
    Image.fromarray(np.concatenate(rows)).save(arguments.sheet)


def _figures(portrait: Portrait, frames: np.ndarray, detector: Detector) -> dict[str, float]:
    photo_descriptor = face_descriptor(portrait.image, portrait.landmarks) if has_dlib() else None
    person = portrait.person[MARGIN:-MARGIN, MARGIN:-MARGIN] > PERSON
    photo = portrait.image.astype(np.float32)
    identity, angles, still, ghost = [], [], [], []
    for frame, turn in zip(frames, TURNS, strict=True):
        faces = detector.detect(frame)
        if not faces:
            continue
        face = faces[0]
        if photo_descriptor is not None:
            identity.append(np.linalg.norm(face_descriptor(frame, face) - photo_descriptor))
        angles.append((turn, (normalize(face[None])[1].rotation - portrait.pose.rotation)[0, :2]))
        now = person_mask(frame, (face[:, :2].min(0) + face[:, :2].max(0)) / 2) > PERSON
        from_photo, from_now = (distance_transform_edt(~mask) for mask in (person, now))
        outside = (from_photo > CLEARANCE) & (from_now > CLEARANCE)
        if outside.any():
            still.append(np.abs(frame.astype(np.float32) - photo)[outside].mean())
        uncovered = (from_photo < CLEARANCE) & (from_now > CLEARANCE)
        if uncovered.sum() > 100:
            own, left = (_detail(picture)[uncovered] for picture in (frame, portrait.image))
            ghost.append(float((own * left).sum() / (left**2).sum().clip(1)))
    return {
        "identity": _mean(identity),
        "yaw": _slope(angles, 0),
        "pitch": _slope(angles, 1),
        "still": _mean(still),
        "ghost": _mean(ghost),
    }


def _mean(values: list) -> float:
    """Of the values that are numbers; NaN where there are none."""
    numbers = [float(value) for value in values if not math.isnan(value)]
    return float(np.mean(numbers)) if numbers else math.nan


def _slope(angles: list, axis: int) -> float:
    """Of the measured angle over the commanded one, through the origin."""
    pairs = np.array([(turn[axis], measured[axis]) for turn, measured in angles if turn[axis]])
    return float((pairs[:, 0] * pairs[:, 1]).sum() / (pairs[:, 0] ** 2).sum()) if len(pairs) else np.nan


def _detail(picture: np.ndarray) -> np.ndarray:
    grey = picture.astype(np.float32).mean(2)
    return grey - gaussian_filter(grey, DETAIL)


def _cell(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((CELL, CELL), Image.Resampling.LANCZOS))


def _print(name: str, figures: dict[str, float]) -> None:
    print(f"{name:36s}" + "".join(f" {key} {value:.3f}" for key, value in figures.items()), flush=True)


if __name__ == "__main__":
    main()
