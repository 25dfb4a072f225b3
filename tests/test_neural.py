"""Generators by name, Landmarks2Latents, and the generator "liveportrait", with small networks of random weights."""

import re
import shutil
import sys
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from conftest import EXAMPLES, speech_of
from PIL import Image
from rendering import blinking, feeling, looking, open_mouth, posed
from test_liveportrait_networks import SMALL

from space_core import AnimationOptions, SpaceError, SpacePipeline
from space_core.cli import main
from space_core.evaluation import emotion_sheet, head_turn
from space_core.face.canvas import photo_canvas
from space_core.face.detector import build_detector
from space_core.face.portrait import prepare_portrait
from space_core.face.posed_face import PosedFace, join_faces
from space_core.generator.liveportrait import load_networks
from space_core.generator.liveportrait.checkpoints import NAMES, save_checkpoint
from space_core.generator.liveportrait.face_crop import cut_faces, face_crop
from space_core.generator.liveportrait.generator import LivePortraitGenerator, with_neighbours
from space_core.generator.liveportrait.random_weights import random_networks, smooth_networks
from space_core.generators import GENERATORS, available_generators, build_generator
from space_core.latents import fitting
from space_core.latents.fitting import VARIANTS, Examples, errors, fit, join_examples
from space_core.latents.landmarks2latents import Landmarks2Latents, LatentNetwork
from space_core.motion.planner import MotionPlanner
from space_core.neural import drawn_takes, training
from space_core.neural.training import FILE, load_or_train, save, train
from space_core.neural.video_takes import video_takes
from space_core.progress import ignore_progress
from space_core.training import landmarks2latents

PHOTO = EXAMPLES / "astronaut.jpg"
TINY = replace(SMALL, input_size=64)  # and pictures of 128 pixels come out
CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"


@pytest.fixture(scope="module")
def networks():
    return random_networks(3, TINY).ready("cpu")


@pytest.fixture(scope="module")
def predictor():
    """Landmarks2Latents with random weights that change the latents about as much as a face does."""
    torch.manual_seed(5)
    network = LatentNetwork()
    with torch.no_grad():
        network.basis.normal_(0, 0.5)
        network.latent_scale.fill_(0.05)
        for layer in (network.head, network.film):
            layer.weight.normal_(0, 0.1)
    return Landmarks2Latents(network)


@pytest.fixture(scope="module")
def neural(networks, predictor):
    return LivePortraitGenerator(networks, predictor)


@pytest.fixture(scope="module")
def prepared(neural, portrait):
    return neural.prepare(portrait)


@pytest.fixture
def one_portrait(monkeypatch):
    """Takes are drawn of one portrait alone: preparing the others takes longer than what most tests draw."""
    monkeypatch.setattr(drawn_takes, "PORTRAITS", drawn_takes.PORTRAITS[:1])


@pytest.fixture
def register(monkeypatch):
    """Adds generators, by name the function that builds one, for the time of a test."""

    def add(name, build):
        module = ModuleType(f"generator_of_tests_{name}")
        module.build = build
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(GENERATORS, name, module.__name__)

    return add


# Generators by name


def test_the_generator_of_the_contributing_guide_works(register, tmp_path, command_line):
    (source,) = re.findall(r"```python\n(.*?def build.*?)```", CONTRIBUTING.read_text("utf-8"), re.DOTALL)
    names = {}
    exec(source, names)
    register("dimming", names["build"])
    options = AnimationOptions(generator="dimming", blinks_per_minute=60)
    speech = speech_of(1.3, tmp_path / "speech.wav")  # with a blink
    frames = np.stack(list(SpacePipeline("cpu").animate(PHOTO, speech, options)))
    assert frames.shape == (33, 512, 512, 3)
    light = frames.mean((1, 2, 3))
    assert light.min() < 0.8 * light.max()
    settings = ("--setting", "generator=dimming", "--setting", "")
    assert command_line("compare", PHOTO, speech, "-o", tmp_path / "grid.mp4", *settings) == 0


class StillGenerator:
    """Shows the photo, and says that it is slow."""

    def __init__(self):
        self.prepared = []

    def prepare(self, portrait, canvas=None, refined=True):
        self.prepared.append(portrait)
        return portrait.image

    def batch_size(self, prepared):
        return 4

    def seconds_per_frame(self, prepared):
        return 2.0

    def render(self, prepared, faces):
        for face in faces:
            yield np.repeat(prepared[None], len(face), 0)


class ListeningGenerator(StillGenerator):
    """Needs to know what is felt and said."""

    def render(self, prepared, faces):
        for face in faces:
            assert face.emotion.shape == (len(face), 8)
            assert face.speech.shape == (len(face), 256)
            yield from super().render(prepared, [face])


class CountingGenerator(StillGenerator):
    """Counts the frames of each batch."""

    def __init__(self):
        super().__init__()
        self.counts = []

    def render(self, prepared, faces):
        for face in faces:
            self.counts.append(len(face))
            yield from super().render(prepared, [face])


def test_a_film_begins_with_one_frame_and_small_batches(register, short_speech):
    """So its stream begins sooner; the others are of the size that renders fastest."""
    counting = CountingGenerator()
    register("counting", lambda device, progress: counting)
    assert (
        sum(1 for _ in SpacePipeline("cpu").animate(PHOTO, short_speech, AnimationOptions(generator="counting"))) == 23
    )
    assert counting.counts == [1, 2, 2, *4 * [4], 2]


def test_prepared_portraits_are_kept_for_each_generator(register, short_speech):
    still = ListeningGenerator()
    register("still", lambda device, progress: still)
    pipeline = SpacePipeline("cpu")
    for generator in ("still", "mesh-warp", "still"):
        with pipeline.animate(PHOTO, short_speech, AnimationOptions(generator=generator)) as animation:
            next(animation)
    assert len(still.prepared) == 1


@pytest.mark.parametrize("quiet", [False, True])
def test_how_long_a_slow_generator_takes_is_said_before_it_draws(register, short_speech, tmp_path, capsys, quiet):
    register("still", lambda device, progress: StillGenerator())
    arguments = ["animate", PHOTO, short_speech, "-o", tmp_path / "out.mp4", "--generator", "still", "--device", "cpu"]
    assert main([*map(str, arguments), *["--quiet"][:quiet]]) == 0
    assert ("Drawing will take about 46 s on this machine." in capsys.readouterr().err) is not quiet


def test_a_generator_without_weights_is_refused(tmp_path, monkeypatch, short_speech, command_line, capsys):
    monkeypatch.setenv("SPACE_WEIGHTS_FOLDER", str(tmp_path))
    assert available_generators() == ("mesh-warp",)
    arguments = (PHOTO, short_speech, "-o", tmp_path / "out.mp4", "--generator", "liveportrait")
    assert command_line("animate", *arguments) == 2
    assert "get-weights liveportrait" in capsys.readouterr().err
    with pytest.raises(SpaceError, match="There is no generator called 'oil'"):
        build_generator("oil", torch.device("cpu"), ignore_progress)


def test_evaluations_draw_with_the_generator_that_is_named(register, tmp_path, monkeypatch, capsys):
    still = StillGenerator()
    register("still", lambda device, progress: still)
    (tmp_path / "portraits").mkdir()
    shutil.copy(PHOTO, tmp_path / "portraits")
    sheet = tmp_path / "sheet.png"
    run = ["head_turn", str(tmp_path), str(sheet), "--portraits", "astronaut", "--clips"]
    monkeypatch.setattr("sys.argv", [*run, "--generator", "still"])
    head_turn.main()
    cells = np.split(np.asarray(Image.open(sheet)), 7, axis=1)
    assert all(np.array_equal(cell, cells[0]) for cell in cells)  # the photo, and the head in six poses
    assert "yaw -0.0" in (told := capsys.readouterr().out) or "yaw 0.0" in told
    monkeypatch.setenv("SPACE_WEIGHTS_FOLDER", str(tmp_path))
    monkeypatch.setattr("sys.argv", [*run, "--generator", "liveportrait"])
    with pytest.raises(SystemExit):
        head_turn.main()
    assert "get-weights liveportrait" in capsys.readouterr().err


@pytest.mark.slow
def test_the_sheet_of_emotions_is_drawn_by_the_generator_that_is_named(register, tmp_path, monkeypatch):
    still = StillGenerator()
    register("still", lambda device, progress: still)
    monkeypatch.setattr("sys.argv", ["emotion_sheet", str(tmp_path / "sheet.png"), str(PHOTO), "--generator", "still"])
    emotion_sheet.main()
    cells = np.split(np.asarray(Image.open(tmp_path / "sheet.png"))[emotion_sheet.CAPTION :], 8, axis=1)
    assert all(np.array_equal(cell, cells[0]) for cell in cells)


# Landmarks2Latents


def changes(predictor, portrait, face: PosedFace):
    own = torch.zeros(67)
    return predictor.predict(portrait.normalized, portrait.pose, own, face, slice(0, len(face)))


def test_the_portrait_s_own_landmarks_give_its_own_latents_whatever_is_said(predictor, portrait):
    still = posed(portrait, np.repeat(portrait.normalized[None], 6, 0))
    talking = replace(still, emotion=np.eye(8)[:6], speech=np.random.default_rng(0).normal(size=(6, 256)))
    for face in (still, talking):
        change = changes(predictor, portrait, face)
        assert change.expression.shape == (6, 21, 3)
        for values in vars(change).values():
            assert not values.any()


def test_latents_follow_landmarks_and_then_speech_and_emotion_too(predictor, portrait):
    moving = posed(portrait, open_mouth(portrait, *np.linspace(0, 0.1, 6)), yaw=5)
    plain = changes(predictor, portrait, moving)
    assert plain.expression[5].abs().max() > 0.01
    assert plain.angles[0].abs().tolist() == pytest.approx([0, 5, 0], abs=1e-4)
    loud = changes(predictor, portrait, replace(moving, speech=np.ones((6, 256))))
    happy = changes(predictor, portrait, replace(moving, emotion=np.eye(8)[np.full(6, 5)]))
    for other in (loud, happy):
        assert (other.expression - plain.expression)[5].abs().max() > 1e-4


def test_frames_are_predicted_as_in_the_whole_film(predictor, portrait):
    film = posed(portrait, open_mouth(portrait, *np.random.default_rng(0).uniform(0, 0.1, 11)))
    whole = changes(predictor, portrait, film)
    for sizes in ((4, 4, 3), (1,) * 11, (2, 8, 1), (11,)):
        starts = np.cumsum((0, *sizes))
        batches = [film[first:last] for first, last in pairwise(starts)]
        parts = [
            predictor.predict(portrait.normalized, portrait.pose, torch.zeros(67), face, frames).expression
            for face, frames in with_neighbours(batches, 2)
        ]
        assert [len(part) for part in parts] == list(sizes)
        torch.testing.assert_close(torch.cat(parts), whole.expression)


def examples(first_take: int, takes: int) -> Examples:
    """Takes whose latents follow the landmarks, and in half of the keypoints the speech while the mouth is open."""
    random, world = np.random.default_rng(first_take), np.random.default_rng(0)
    num = 12 * takes
    shapes, latents = world.normal(size=(6, 1434)) / 50, world.normal(size=(6, 67)) / 50
    heard = world.normal(size=(4, 256)) / 4
    opening, said = random.normal(size=(num, 6)), random.normal(size=(num, 4))
    change = opening @ latents
    change[:, :30] += 0.02 * np.abs(opening[:, :1]) * said[:, :1]
    five = [1, 5, 1]
    return Examples(
        motion=np.tile((opening @ shapes)[:, None], five).astype(np.float16),
        pose=np.zeros((num, 5, 7), np.float32),
        speech=np.tile((said @ heard)[:, None], five).astype(np.float16),
        emotion=np.eye(8, dtype=np.float32)[random.integers(8, size=num)],
        own=np.zeros((num, 67), np.float32),
        latents=change.astype(np.float32),
        angles=np.zeros((num, 3), np.float32),
        take=np.repeat(np.arange(first_take, first_take + takes), 12),
    )


@pytest.mark.slow
def test_fitting_uses_landmarks_and_speech():
    training, choosing, held = examples(0, 60), examples(60, 10), examples(70, 20)
    fitted = {variant: fit(training, choosing, 2, variant, steps=100) for variant in VARIANTS}
    both, landmarks, speech = (errors(network, held, variant) for variant, network in fitted.items())
    assert both.reduction > 0.6
    assert both.expression < 0.9 * landmarks.expression < 0.9 * speech.expression


def no_progress_is_made(*step):
    raise AssertionError("it is there already")


@pytest.mark.slow
@pytest.mark.usefixtures("one_portrait")
def test_the_recipe_runs_to_its_end_and_is_repeatable_also_where_time_is_up(networks, tmp_path, portrait, monkeypatch):
    monkeypatch.setattr(training, "MIN_TAKES", 5)
    monkeypatch.setattr(fitting, "CHECK_EVERY", 20)
    told, files = [], []
    for name, num_takes in (("one", 5), ("two", 15)):
        (folder := tmp_path / name).mkdir()
        trained = train(networks, lambda *step: told.append(step), seed=1, num_takes=num_takes, steps=20)
        save(trained, networks, folder)
        files.append((folder / FILE).read_bytes())
        assert "--seed 1 --takes 5`" in trained.card
        monkeypatch.setitem(training.GATHERING_SECONDS, "cpu", 0)  # the least number of takes is drawn
    assert files[0] == files[1]
    assert told[0][0] == "learning"
    assert told[-1][1] == told[-1][2]
    assert all(f"{found.expression:.5f}" in trained.card for found in trained.errors.values())

    loaded = load_or_train(networks, tmp_path / "one", no_progress_is_made)
    face = posed(portrait, feeling(portrait, "happy", 0.5, 1.0))
    mine, others = (changes(one, portrait, face) for one in (loaded, Landmarks2Latents(trained.network)))
    assert torch.equal(mine.expression, others.expression)
    with pytest.raises(AssertionError, match="it is there already"):  # of other weights
        load_or_train(random_networks(4, TINY).ready("cpu"), tmp_path / "one", no_progress_is_made)


@pytest.mark.slow
@pytest.mark.usefixtures("one_portrait")
def test_the_recipe_learns_what_a_motion_extractor_reads_in_pictures(monkeypatch):
    monkeypatch.setattr(fitting, "CHECK_EVERY", 50)
    trained = train(smooth_networks(7, SMALL).ready("cpu"), ignore_progress, seed=1, num_takes=12, steps=50)
    assert all(errors.reduction > 0.5 for errors in trained.errors.values())


@pytest.mark.slow
@pytest.mark.usefixtures("one_portrait")
def test_the_command_learns_from_a_user_s_videos(networks, tmp_path, monkeypatch, capsys):
    weights, videos = tmp_path / "weights", tmp_path / "videos"
    weights.mkdir()
    videos.mkdir()
    for name in NAMES:
        small = random_networks(3, TINY).get_submodule(name)
        save_checkpoint(weights / f"{name}.safetensors", small, TINY)
    shutil.copy(EXAMPLES / "astronaut.mp4", videos)
    arguments = ["--weights", weights, "--videos", videos, "--takes", 2, "--device", "cpu"]
    monkeypatch.setattr("sys.argv", ["landmarks2latents", *map(str, arguments)])
    monkeypatch.setattr(landmarks2latents, "train", partial(train, steps=20))
    landmarks2latents.main()
    card = capsys.readouterr().out
    assert "2 takes that SPACE's mesh warp drew" in card and "and 3 takes of videos (1)" in card
    loaded = load_networks(weights)
    load_or_train(loaded, weights, no_progress_is_made)
    (videos / "notes.txt").write_text("no video")
    monkeypatch.setattr("space_core.neural.drawn_takes.prepare_portrait", None)  # refused before any is prepared
    with pytest.raises(SystemExit, match=r"notes\.txt"):
        landmarks2latents.main()


def test_a_user_s_video_gives_takes_with_its_sound_or_without(networks, far_turn_video):
    planner, detector = MotionPlanner(torch.device("cpu")), build_detector("mediapipe")
    spoken = list(video_takes(EXAMPLES / "astronaut.mp4", networks, planner, detector, 3))
    assert [set(part.take.tolist()) for part in spoken] == [{3}, {4}, {5}]
    whole = join_examples(spoken)
    assert len(whole) == 29  # one frame in five of 5.8 seconds
    assert whole.speech.any((1, 2)).mean() > 0.9
    assert 0 < np.abs(whole.motion).mean() < 0.05 and np.ptp(whole.pose[:, 2, 0]) > 0.1
    still = np.abs(whole.motion[:, 2]).max(1) == 0
    assert still.sum() == 1  # the usual face, in which the portrait's own latents are read
    np.testing.assert_allclose(whole.latents[still], whole.own[still], atol=1e-4)
    (silent,) = video_takes(far_turn_video, networks, planner, detector, 0)
    assert len(silent) == 2 and not silent.speech.any()


# The generator


def test_the_crop_is_upright_and_shows_the_face(portrait):
    crop = face_crop(portrait.landmarks)
    matrix = crop.matrix(256)
    eyes, mouth = portrait.landmarks[[468, 473], :2].mean(0), portrait.landmarks[[78, 308], :2].mean(0)
    (eyes_x, eyes_y), (mouth_x, mouth_y) = (matrix @ [*point, 1] for point in (eyes, mouth))
    assert eyes_x == pytest.approx(mouth_x)
    assert 90 < eyes_y < mouth_y < 180
    assert cut_faces(portrait.image[None], crop, 256).shape == (1, 3, 256, 256)


def test_still_landmarks_give_keypoints_of_the_portrait_and_moving_ones_others(neural, prepared, portrait):
    still = neural.keypoints(prepared, posed(portrait), slice(0, 1))
    torch.testing.assert_close(still, prepared.keypoints)
    moved = (blinking(portrait), looking(portrait, 20), open_mouth(portrait, 0.1), feeling(portrait, "happy", 1.0))
    for face in (*(posed(portrait, landmarks) for landmarks in moved), posed(portrait, yaw=10)):
        assert (neural.keypoints(prepared, face, slice(0, 1)) - still).abs().max() > 1e-3


def test_outside_of_the_pasted_face_the_photo_is_unchanged(neural, portrait, astronaut):
    prepared = neural.prepare(portrait, photo_canvas(portrait))
    face = join_faces([posed(portrait), posed(portrait, open_mouth(portrait, 0.1), roll=5)])
    (frames,) = neural.render(prepared, [face])
    assert frames.shape == (2, *astronaut.shape) and frames.dtype == np.uint8
    left, top, right, bottom = prepared.box
    inside = np.zeros(astronaut.shape[:2], bool)
    inside[top:bottom, left:right] = prepared.mask[..., 0] > 0
    assert 0.02 < inside.mean() < 0.9
    np.testing.assert_array_equal(frames[:, ~inside], np.stack([astronaut[~inside]] * 2))
    assert (frames[0] != frames[1]).any()
    assert prepared.mask.max() == 1


def test_a_bar_at_the_photo_s_edge_stays_as_it_is_and_the_generator_gets_none(neural, astronaut, monkeypatch):
    photo = astronaut.copy()
    photo[200:] = 0
    portrait = prepare_portrait(photo, build_detector("mediapipe"))
    seen = []
    extract = neural._networks.extract_appearance
    monkeypatch.setattr(neural._networks, "extract_appearance", lambda face: seen.append(face) or extract(face))
    prepared = neural.prepare(portrait, photo_canvas(portrait))
    assert prepared.box[3] > 205
    (frames,) = neural.render(prepared, [posed(portrait, open_mouth(portrait, 0.1))])
    assert not frames[:, 201:].any()
    assert seen[0][..., -3:, 20:-20].mean() > 0.01


@pytest.mark.slow
def test_a_film_is_drawn_and_written_from_the_command_line(neural, register, command_line, tmp_path):
    register("liveportrait", lambda device, progress: neural)
    speech, saved = speech_of(0.3, tmp_path / "speech.wav"), tmp_path / "motion.npz"
    options = ("--generator", "liveportrait")
    first = (PHOTO, speech, "-o", tmp_path / "one.mp4", "--save-landmarks", saved, "--framing", "photo", *options)
    assert command_line("animate", *first, "--emotion", "happy") == 0
    assert command_line("animate", PHOTO, "--landmarks", saved, "-o", tmp_path / "two.mp4", *options) == 0
    assert all((tmp_path / name).stat().st_size > 5000 for name in ("one.mp4", "two.mp4"))
