"""The recipe of the neural generator: its parts, an interrupted run, and a hundred steps of small networks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from rendering import open_mouth, posed, rendered
from test_liveportrait_networks import SMALL

from space_core.errors import SpaceError
from space_core.face.posed_face import join_faces
from space_core.generator.liveportrait import load_networks
from space_core.generator.liveportrait.networks import rotation_matrix
from space_core.generator.liveportrait.random_weights import random_networks
from space_core.media.video_writer import write_video
from space_core.training.face_vid2vid.__main__ import train
from space_core.training.face_vid2vid.clips import Batch, pick_pairs, read_clips, split
from space_core.training.face_vid2vid.losses import RandomWarp, equivariance, keypoint_prior
from space_core.training.face_vid2vid.train import SETTINGS, Trainer, draw

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def turning(far_turn_video, tmp_path_factory):
    """The clip of a head that turns, 128 pixels large."""
    (clip,) = read_clips(far_turn_video.parent, 128, tmp_path_factory.mktemp("clips"))
    return clip


def test_angles_of_a_clip_turn_keypoints_as_its_head_turns(turning):
    assert turning.frames.shape == (10, 128, 128, 3)
    rotations = rotation_matrix(*torch.from_numpy(turning.angles).T)
    nose = torch.tensor([0.0, 0.0, -1.0]) @ rotations  # z is away from the camera
    assert (nose[:, 0].diff() > 0).all()  # to the right, as in the video
    assert nose[0, 0] < -0.3 < 0.3 < nose[-1, 0]
    assert nose[:, 1].abs().max() < 0.3


def test_videos_that_cannot_be_used_are_left_out_and_cut_ones_are_kept(far_turn_video, tmp_path, capsys):
    videos, cache = tmp_path / "videos", tmp_path / "cache"
    videos.mkdir()
    (videos / "notes.txt").write_text("no video")
    write_video(iter([np.zeros((64, 64, 3), np.uint8)] * 12), videos / "night.mp4", None, 12)
    (videos / "turn.mp4").write_bytes(far_turn_video.read_bytes())
    (clip,) = read_clips(videos, 64, cache)
    told = capsys.readouterr().out
    assert "notes.txt is left out" in told
    assert "night.mp4 is left out: it shows no face" in told
    (videos / "turn.mp4").write_bytes(b"another")
    (again,) = read_clips(videos, 64, cache)
    assert np.array_equal(again.frames, clip.frames)
    with pytest.raises(SpaceError, match="There is no folder"):
        list(read_clips(tmp_path / "nowhere", 64, cache))


def test_pairs_are_the_same_for_a_seed_and_mirrored_with_their_angles(turning):
    one, same, other = (pick_pairs([turning], 8, seed) for seed in (1, 1, 2))
    assert torch.equal(one.driving, same.driving) and not torch.equal(one.driving, other.driving)
    plain = pick_pairs([turning], 8, 1, mirrored=False)
    known = {tuple(np.round(angles, 3)) for angles in turning.angles}
    assert {tuple(np.round(angles, 3)) for angles in plain.source_angles.numpy()} <= known
    mirrored = (one.source_angles * torch.tensor([1, -1, -1])).numpy()
    both = [*known, *(tuple(np.round(angles, 3)) for angles in turning.angles * [1, -1, -1])]
    assert {tuple(np.round(angles, 3)) for angles in mirrored} <= set(both)


def test_one_clip_in_ten_is_held_out():
    clips = list(range(25))
    training, held = split(clips)
    assert held == [0, 10, 20]
    assert sorted(training + held) == clips
    assert split(clips[:1]) == ([0], [0])


def test_a_warp_moves_pictures_and_points_alike():
    warp = RandomWarp(1, torch.Generator().manual_seed(4))
    picture = torch.zeros(1, 3, 64, 64)
    picture[..., 20:23, 40:43] = 1
    shown = warp.pictures(picture)[0, 0]
    weights, axis = shown / shown.sum(), (2 * torch.arange(64) + 1) / 64 - 1
    found = torch.stack([(weights.sum(0) * axis).sum(), (weights.sum(1) * axis).sum()])
    dot = torch.tensor([axis[41], axis[21]])
    assert (found - dot).norm() > 0.03
    torch.testing.assert_close(warp(found[None, None])[0, 0], dot, atol=0.01, rtol=0)
    assert equivariance(dot[None, None], found[None, None], warp) < 0.01


def test_the_keypoint_prior_is_zero_for_keypoints_that_are_apart_at_their_depth():
    apart = torch.tensor([[[-0.5, 0.0, 0.33], [0.5, 0.0, 0.33], [0.0, 0.5, 0.33]]])
    assert float(keypoint_prior(apart)) == pytest.approx(0, abs=1e-6)
    assert float(keypoint_prior(apart * 0.1 + 0.297)) > 0.1
    assert float(keypoint_prior(apart + torch.tensor([0.0, 0.0, 1.0]))) == pytest.approx(1)


def test_networks_compute_the_same_in_training_form_and_ready():
    networks = random_networks(3, replace(SMALL, input_size=64)).eval()
    source, keypoints = torch.rand(1, 3, 64, 64), 0.3 * torch.randn(1, 21, 3)
    with torch.no_grad():
        expected = draw(networks, source, keypoints, keypoints + 0.05)
    networks.ready("cpu")
    drawn = networks.render(networks.extract_appearance(source), keypoints, keypoints + 0.05)
    torch.testing.assert_close(drawn, expected, atol=1e-4, rtol=1e-3)


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path):
    layout = replace(
        SMALL, input_size=32, channels=4, volume_depth=2, flow_steps=2, flow_features=1, modulation_channels=8
    )
    settings = replace(SETTINGS["toy"], layout=layout, steps=3, motion_share=0.3, adversarial_share=0.6)
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    batch = Batch(pictures, pictures.flip(0), torch.zeros(2, 3), torch.ones(2, 3))

    def run(name: str, stops: tuple[int, ...]) -> dict[str, torch.Tensor]:
        for stop in stops:
            trainer = Trainer(settings, tmp_path / name, CPU, seed=5)
            while trainer.step < stop:
                losses = trainer.train_step(batch)
            trainer.save()
        assert {"adversarial", "feature matching", "discriminator", "head pose"} <= losses.keys()
        return trainer.networks.state_dict()

    whole, parts = run("whole", (3,)), run("parts", (2, 3))
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())
    with pytest.raises(SpaceError, match="of another size"):
        Trainer(SETTINGS["toy"], tmp_path / "whole", CPU)


@pytest.mark.slow
def test_a_hundred_steps_teach_small_networks_to_drive_a_face(generator, portrait, tmp_path, monkeypatch):
    layout = replace(SETTINGS["toy"].layout, input_size=32)  # pictures of 64 pixels come out
    monkeypatch.setitem(SETTINGS, "small", replace(SETTINGS["toy"], layout=layout))
    phase = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    mouths = open_mouth(portrait, *(0.06 - 0.06 * np.cos(3 * phase)))
    moments = [
        posed(portrait, mouths[[number]], yaw=25 * np.sin(angle), pitch=8 * np.cos(2 * angle))
        for number, angle in enumerate(phase)
    ]
    videos, folder = tmp_path / "videos", tmp_path / "weights"
    videos.mkdir()
    drawn = rendered(generator, generator.prepare(portrait), *(join_faces(moments[i : i + 8]) for i in range(0, 48, 8)))
    write_video(iter(drawn), videos / "turning.mp4", None, len(drawn))
    found = train(videos, folder, "small", steps=120, seed=0, device="cpu")
    trained = found["trained networks"]["pixels"]
    assert trained < 0.25 * found["untrained networks"]["pixels"]
    assert trained < 0.85 * found["the source itself"]["pixels"]

    networks = load_networks(folder)
    assert networks.layout == layout
    (clip,) = read_clips(videos, layout.output_size, folder / "clips")
    left, right = (torch.from_numpy(clip.frames[[number]].copy()).permute(0, 3, 1, 2) / 255 for number in (12, 36))
    source, driving = (torch.nn.functional.avg_pool2d(picture, 2) for picture in (left, right))
    own, moved = networks.extract_motion(source), networks.extract_motion(driving)
    keypoints, driven = (
        networks.transform_keypoints(replace(motion, canonical=own.canonical)) for motion in (own, moved)
    )
    picture = networks.render(networks.extract_appearance(source), keypoints, networks.stitch(keypoints, driven))
    assert picture.shape == (1, 3, 64, 64)
    assert (picture - right).abs().mean() < 0.85 * (left - right).abs().mean()
