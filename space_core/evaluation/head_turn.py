"""Portraits turned far from their photo's pose: a contact sheet to look at, and figures.

    python -m space_core.evaluation.head_turn CORPUS sheet.jpg [--portraits NAME …] [--clips ID:FRAME …]
        [--generator liveportrait]

One row per portrait: the photo's crop, then yaw −35, −20, 20, 35° and pitch −15, 15° from the photo's pose, the head
turned about its neck. Columns of the figures, means over the turned frames:

    identity    distance of dlib's face descriptors to the photo's
    yaw, pitch  slope of the measured angle over the commanded one
    still       mean difference from the photo of pixels more than 12 pixels outside the person in photo and frame
    ghost       slope of the frame's detail over the photo's where the person was in the photo and no longer is, and
                in the 12 pixels around: 0 where nothing stays behind, but for the photo's background in the latter
    prepare     seconds that the preparation of the portrait took

Then, for recorded clips of heads that turn: the flicker of the person's outline in the recorded frames, and in those
that are drawn out of the first of them with the landmarks tracked in the others. It is the mean difference, in grey
levels, of pixels near the outline from those of the frame before, which optical flow has carried along.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt, gaussian_filter

from space_core.evaluation.face_descriptor import face_descriptor, has_dlib
from space_core.evaluation.recorded_clip import cut_clip
from space_core.face.crop_size import MARGIN
from space_core.face.detector import Detector, build_detector
from space_core.face.normalization import normalize
from space_core.face.portrait import Portrait, prepare_portrait
from space_core.face.posed_face import PosedFace
from space_core.face.segmentation import person_mask
from space_core.generator.generator import Generator
from space_core.measures.corpus import Corpus, corpus_arguments
from space_core.measures.rendering import add_generator_argument, render_face, render_landmarks, the_generator
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
# Clips of which so many frames from that number on show a head that turns by 18 to 40°.
CLIPS = (
    *("actalker_harlanhong_actalker_assets_video:90", "liveportrait_examples_driving_d3:215"),
    *("lia_x_data_driving_driving1:10", "liveportrait_examples_driving_d11:185"),
    *("liveportrait_examples_driving_d9:235", "bigai_nlco_imtalker_assets_driving_2:20"),
    *("v_express_short_case_tys_gt:60", "lia_x_data_driving_driving7:30"),
)
CLIP_FRAMES = 40
OUTLINE = 6  # pixels to either side of a person's outline
CELL = 320  # side of a picture in the sheet, pixels
CLEARANCE = 12  # pixels around the person
PERSON = 0.5  # of the mask: a pixel that shows the person
DETAIL = 2.0  # pixels: what is finer is detail


def turned(portrait: Portrait, turns: Sequence[tuple[float, float]]) -> PosedFace:
    """The photo's own face, its head turned about the neck by degrees of yaw and pitch."""
    photo, pivot = portrait.pose, head_motion_model().pivot
    pose = replace(photo.held(len(turns)), rotation=photo.rotation + np.array([(*turn, 0.0) for turn in turns]))
    arm = photo.scale * (photo.matrices @ pivot - pose.matrices @ pivot)
    normalized = portrait.normalized[None].repeat(len(turns), 0)
    return PosedFace(normalized, replace(pose, translation=pose.translation + arm))


def main() -> None:
    parser = corpus_arguments(__doc__)
    parser.add_argument("sheet", type=Path, help="the picture to write")
    parser.add_argument("--portraits", nargs="+", default=PORTRAITS, help="names of files, without .jpg")
    add_generator_argument(parser)
    parser.add_argument("--clips", nargs="*", default=CLIPS, help="ids in the corpus, each with its first frame")
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
    every = []
    for clip in arguments.clips:
        every.append(_clip_figures(Corpus(arguments.corpus, arguments.cache), clip, generator, detector))
        _print(clip, every[-1])
    if every:
        _print("mean", {key: _mean([figures[key] for figures in every]) for key in every[0]})


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
            identity.append(float(np.linalg.norm(face_descriptor(frame, face) - photo_descriptor)))
        angles.append((turn, (normalize(face[None])[1].rotation - portrait.pose.rotation)[0, :2]))
        now = person_mask(frame, face[:, :2]) > PERSON
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


def _clip_figures(corpus: Corpus, clip: str, generator: Generator[Any], detector: Detector) -> dict[str, float]:
    """Flicker of the outline in a clip, given as ID:FRAME, and in what is drawn out of its first frame."""
    name, first = clip.rsplit(":", 1)
    recorded = cut_clip(corpus, name, detector, int(first) + np.arange(CLIP_FRAMES))
    drawn = list(render_landmarks(generator, generator.prepare(recorded.portrait), recorded.landmarks))
    faces = recorded.landmarks[..., :2]
    return {"recorded": outline_flicker(recorded.frames, faces), "drawn": outline_flicker(drawn, faces)}


def outline_flicker(frames: Sequence[np.ndarray], faces: np.ndarray) -> float:
    """How much a person's outline flickers in frames (512, 512, 3) uint8; ``faces`` (T, N, 2) lie in its face."""
    flow, before, changes = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM), None, []
    pixels = np.stack(np.meshgrid(*[np.arange(side, dtype=np.float32) for side in frames[0].shape[1::-1]]), -1)
    for frame, face in zip(frames, faces, strict=True):
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        if before is not None:
            person = person_mask(frame, face) > PERSON
            near = np.where(person, distance_transform_edt(person), distance_transform_edt(~person)) < OUTLINE
            motion = flow.calc(grey, before, None)  # type: ignore[call-overload]  # no flow to start from
            # The second map is contained in the first.
            carried = cv2.remap(before, pixels + motion, None, cv2.INTER_LINEAR)  # type: ignore[call-overload]
            changes.append(cv2.absdiff(grey, carried)[near].mean())
        before = grey
    return _mean(changes)


def _mean(values: list[float]) -> float:
    """Of the values that are numbers; NaN where there are none."""
    numbers = [float(value) for value in values if not math.isnan(value)]
    return float(np.mean(numbers)) if numbers else math.nan


def _slope(angles: list[tuple[tuple[int, int], np.ndarray]], axis: int) -> float:
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
