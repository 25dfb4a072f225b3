"""Takes on which Landmarks2Latents is trained, drawn by the mesh warp over all of its motion."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from space_core.assets import example_path
from space_core.face.detector import build_detector
from space_core.face.normalization import HeadPose
from space_core.face.portrait import Portrait, prepare_portrait
from space_core.face.posed_face import PosedFace
from space_core.generator.liveportrait.face_crop import FaceCrop, face_crop
from space_core.generator.liveportrait.networks import LivePortraitNetworks
from space_core.generator.mesh_warp import MeshWarpGenerator
from space_core.generator.mesh_warp.generator import PreparedPortrait
from space_core.latents.fitting import Examples
from space_core.latents.landmarks2latents import CONTEXT, context_frames, pose_features
from space_core.media.audio import load_speech
from space_core.media.images import load_photo
from space_core.motion.action_unit_labels import UNIT_COLUMNS
from space_core.motion.emotion_labels import EMOTIONS
from space_core.motion.motion import Motion, join
from space_core.motion.planner import MotionPlanner
from space_core.neural.latent_reading import read_latents
from space_core.options import MotionOptions
from space_core.timing import SAMPLE_RATE

PORTRAITS = ("astronaut.jpg", "grace_hopper.jpg", "mona_lisa.jpg")
RECORDINGS = ("english_portrait.flac", "english_starlight.flac", "spanish_stars.flac")
TAKE_SECONDS, FRAMES_OF_TAKE = 3, 12
SPEEDS = (0.8, 1.25)  # a recording is played as fast, at a pitch that much higher
# Added to the planned motion at each moment: standard deviations of rotation (degrees of yaw, pitch, roll), translation
# and zoom; up to so many action units of up to such a strength; gaze, up to so many degrees of yaw and pitch; the share
# of moments with lowered lids.
TURN, PATH, ZOOM = (9.0, 6.0, 4.0), (0.06,) * 3, (0.03,)
MAX_UNITS, UNIT_STRENGTH = 3, 1.2
GAZE, SHUT_SHARE = (25.0, 20.0), 0.25


@dataclass(frozen=True)
class SourcePortrait:
    """A portrait to draw, with its own latents (67,) and angles (3,)."""

    portrait: Portrait
    prepared: PreparedPortrait
    crop: FaceCrop
    latents: np.ndarray
    angles: np.ndarray


class DrawnTakes:
    """Draws moments out of a short speech of one of the example portraits, with random options.

    Attributes:
        planner: of their motion.
        detector: of their faces.
    """

    def __init__(self, networks: LivePortraitNetworks, seed: int) -> None:
        device = networks.device
        self._networks = networks
        self._random = np.random.default_rng(seed)
        self.planner, self.detector = MotionPlanner(device), build_detector("mediapipe")
        self._generator = MeshWarpGenerator(device)
        self._recordings = [load_speech(example_path(name)) for name in RECORDINGS]

    def takes(self, number: int, first: int) -> Iterator[Examples]:
        """So many takes of 12 frames, numbered from ``first`` on; the portraits take turns."""
        sources = list(self._sources())
        for take in range(number):
            source = sources[take % len(sources)]
            yield self._examples(source, self._motion(source.portrait), first + take)

    def _sources(self) -> Iterator[SourcePortrait]:
        """The example portraits, each also mirrored."""
        for name in PORTRAITS:
            photo = load_photo(example_path(name))
            for picture in (photo, np.ascontiguousarray(photo[:, ::-1])):
                yield self._prepared(prepare_portrait(picture, self.detector))

    def _prepared(self, portrait: Portrait) -> SourcePortrait:
        prepared, crop = self._generator.prepare(portrait), face_crop(portrait.landmarks)
        still = PosedFace(portrait.normalized[None], portrait.pose)
        latents, angles = read_latents(self._networks, self._generator.render_batch(prepared, still), crop)
        return SourcePortrait(portrait, prepared, crop, latents[0], angles[0])

    def _motion(self, portrait: Portrait) -> Motion:
        """What the face does around twelve moments of a take, five frames each, one after the other."""
        random, speech = self._random, self._speech()
        options = MotionOptions(
            emotion=", ".join(f"{second}:{self._blend()}" for second in range(TAKE_SECONDS)),
            articulation=random.uniform(0.4, 1.5),
            head_motion=random.uniform(0, 1.5),
            saccades=0,
            seed=int(random.integers(2**32)),
        )
        timelines = self.planner.timelines(portrait, speech, options)
        windows = self.planner.analyse(speech)
        motion = join(list(self.planner.segments(portrait, speech, windows, timelines)))
        moments = np.sort(random.choice(len(motion), FRAMES_OF_TAKE, replace=False))
        around = context_frames(0, len(motion), len(motion))[moments].ravel()
        return self._varied(motion, around, portrait.pose.scale)

    def _varied(self, motion: Motion, around: np.ndarray, scale: np.ndarray) -> Motion:
        """The frames ``around`` moments, with random action units, gaze, lids and head poses for each moment."""
        random, frames = self._random, len(around) // FRAMES_OF_TAKE

        def of_moments(values: np.ndarray) -> np.ndarray:
            return np.repeat(values, frames, 0).astype(np.float32)

        units = np.zeros((FRAMES_OF_TAKE, len(UNIT_COLUMNS)))
        for strengths in units:
            raised = random.choice(len(UNIT_COLUMNS), random.integers(MAX_UNITS + 1), replace=False)
            strengths[raised] = random.uniform(0, UNIT_STRENGTH, len(raised))
        shut = random.uniform(0, 1, FRAMES_OF_TAKE) * (random.uniform(0, 1, FRAMES_OF_TAKE) < SHUT_SHARE)
        turn, path, zoom = (random.normal(0, size, (FRAMES_OF_TAKE, len(size))) for size in (TURN, PATH, ZOOM))
        pose = motion.head_pose
        return replace(
            motion,
            **{
                name: getattr(motion, name)[around]
                for name in ("normalized", "closure", "tongue", "said_emotion", "emotion")
            },
            action_units=motion.action_units[around] + of_moments(units),
            gaze=motion.gaze[around] + of_moments(random.uniform(-1, 1, (FRAMES_OF_TAKE, 2)) * GAZE),
            blink=np.maximum(motion.blink[around], of_moments(shut)),
            head_pose=HeadPose(
                pose.rotation[around] + of_moments(turn),
                pose.translation[around] + of_moments(path) * scale,
                pose.scale[around] * np.exp(of_moments(zoom)[:, 0]),
            ),
            speech=None,
            speech_features=None if motion.speech_features is None else motion.speech_features[around],
        )

    def _blend(self) -> str:
        """An emotion as users write it."""
        shares = self._random.dirichlet(np.full(2, 0.5))
        labels = self._random.choice(EMOTIONS, 2)
        felt = " + ".join(f"{share:.2f} {label}" for share, label in zip(shares + 0.01, labels, strict=True))
        return f"{felt}@{self._random.uniform(0, 1.5):.2f}"

    def _speech(self) -> np.ndarray:
        """A part of a recording at another speed, (N,) 16 kHz."""
        recording = self._recordings[self._random.integers(len(self._recordings))]
        speed = np.exp(self._random.uniform(*np.log(SPEEDS)))
        length = round(TAKE_SECONDS * SAMPLE_RATE * speed)
        begin = self._random.integers(max(len(recording) - length, 1))
        part = recording[begin : begin + length]
        places = np.arange(0, len(part) - 1, speed)
        return np.interp(places, np.arange(len(part)), part).astype(np.float32)

    def _examples(self, source: SourcePortrait, motion: Motion, take: int) -> Examples:
        edited, portrait, moments = motion.edited, source.portrait, slice(CONTEXT, None, 2 * CONTEXT + 1)
        shown = PosedFace(edited[moments], motion.head_pose[moments], tongue=motion.tongue[moments])
        size = self._generator.batch_size(source.prepared)
        pictures = self._generator.render(
            source.prepared, (shown[first : first + size] for first in range(0, FRAMES_OF_TAKE, size))
        )
        latents, angles = read_latents(self._networks, np.concatenate(list(pictures)), source.crop)
        features = motion.speech_features
        assert features is not None

        def around(values: np.ndarray) -> np.ndarray:
            return values.reshape(FRAMES_OF_TAKE, 2 * CONTEXT + 1, -1)

        return Examples(
            motion=around(edited - portrait.normalized).astype(np.float16),
            pose=around(pose_features(portrait.pose, motion.head_pose)),
            speech=around(features),
            emotion=motion.emotion[moments],
            own=np.repeat(source.latents[None], FRAMES_OF_TAKE, 0),
            latents=latents,
            angles=angles - source.angles,
            take=np.full(FRAMES_OF_TAKE, take),
        )
