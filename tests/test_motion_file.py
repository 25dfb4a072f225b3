"""What motion files promise: saving and loading changes nothing, edits take effect, bad files are refused."""

import dataclasses
import os
import re
import struct
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
import soundfile
from conftest import EXAMPLES
from refusals import refusal

from space_core import AnimationOptions, Frame, LiveFrame, SpaceError, curves, load_motion, save_motion
from space_core.face.drawing import draw_normalized, draw_posed
from space_core.face.normalization import HeadPose
from space_core.motion.emotion_labels import EMOTIONS
from space_core.motion.motion import Motion, join
from space_core.motion.motion_file import ARRAYS

PHOTO, OTHER_PHOTO = EXAMPLES / "astronaut.jpg", EXAMPLES / "mona_lisa.jpg"


@pytest.fixture(scope="module")
def motion(pipeline, short_speech) -> Motion:
    return pipeline.motion(PHOTO, short_speech)


@pytest.fixture
def saved(motion, tmp_path):
    save_motion(tmp_path / "motion.npz", motion)
    return tmp_path / "motion.npz"


def edit(path, **arrays):
    """The file with some arrays replaced; those given as None are removed."""
    with np.load(path) as file:
        held = {name: file[name] for name in file.files} | arrays
    np.savez(path, **{name: array for name, array in held.items() if array is not None})
    return path


def assert_same(one, other):
    for field in dataclasses.fields(one):
        mine, others = getattr(one, field.name), getattr(other, field.name)
        if mine is others is None:
            continue
        if dataclasses.is_dataclass(mine):
            assert_same(mine, others)
        else:
            np.testing.assert_array_equal(mine, others)
            assert mine.dtype == others.dtype == (np.float16 if field.name == "speech_features" else np.float32)


# Motion


def test_what_holds_arrays_is_shown_by_their_shapes(motion):
    shown = repr(motion)
    assert f"normalized=({len(motion)}, 478, 3) float32" in shown
    assert f"head_pose=HeadPose(rotation=({len(motion)}, 3) float32, " in shown
    assert "speech=None" in repr(dataclasses.replace(motion, speech=None))
    frame = Frame(np.zeros((512, 512, 3), np.uint8), motion[:1])
    for value in (motion, frame, curves(motion), motion.face, LiveFrame(3, frame.picture, np.zeros(640, np.float32))):
        assert len(repr(value)) < 1000 and "\n" not in repr(value)


def test_a_motion_is_as_long_as_its_speech(motion, short_speech):
    assert motion.normalized.shape == (23, 478, 3)
    assert motion.posed.shape == (23, 478, 3)
    assert len(motion) == len(motion.head_pose) == len(motion.blink) == 23
    assert len(motion.speech) == round(soundfile.info(short_speech).duration * 16_000)


def test_joined_segments_are_the_whole_motion(motion):
    assert_same(join([motion[:10], motion[10:11], motion[11:]]), motion)
    assert_same(join(list(motion.segments())), motion)


def test_an_edited_emotion_equals_speech_with_that_emotion(pipeline, motion, short_speech):
    happy = pipeline.motion(PHOTO, short_speech, AnimationOptions(emotion="happy"))
    edited = dataclasses.replace(motion, emotion=happy.emotion)
    np.testing.assert_allclose(edited.edited, happy.edited, atol=1e-3)
    calmed = dataclasses.replace(happy, emotion=motion.emotion)
    np.testing.assert_allclose(calmed.edited, motion.edited, atol=3e-3)
    assert np.abs(happy.edited - motion.edited).max() > 0.03


def test_a_motion_moves_to_another_portrait(pipeline, motion, short_speech):
    moved = pipeline.motion(OTHER_PHOTO, motion)
    own = pipeline.motion(OTHER_PHOTO, short_speech)
    np.testing.assert_array_equal(moved.rest, own.rest)
    np.testing.assert_allclose(moved.head_pose.rotation[0], own.photo_pose.rotation[0], atol=1e-4)
    turned = motion.head_pose.rotation - motion.photo_pose.rotation
    np.testing.assert_allclose(moved.head_pose.rotation - moved.photo_pose.rotation, turned, atol=1e-4)
    lips = [14, 17]
    here, there = motion.normalized[:, lips] - motion.rest[lips], moved.normalized[:, lips] - moved.rest[lips]
    np.testing.assert_allclose(there, here, atol=0.02)


def test_an_emotion_that_moves_to_another_portrait_takes_back_the_smile_of_that_one(pipeline, short_speech):
    sad = AnimationOptions(emotion="sad")
    moved = pipeline.motion(PHOTO, pipeline.motion(OTHER_PHOTO, short_speech, sad))
    own = pipeline.motion(PHOTO, short_speech, sad)
    heights = [np.mean(each.normalized[:, [61, 291], 1] - each.rest[[61, 291], 1]) for each in (moved, own)]
    assert min(heights) > 0.05  # downwards
    np.testing.assert_allclose(*heights, atol=0.02)


# Files


def test_a_saved_motion_comes_back_exactly(motion, saved):
    assert_same(load_motion(saved), dataclasses.replace(motion, speech_features=None))
    assert [file.name for file in saved.parent.iterdir()] == ["motion.npz"]


def test_every_array_of_a_file_is_in_the_guide():
    guide = (EXAMPLES.parent / "docs" / "motion.md").read_text("utf-8")
    assert [name for name in ARRAYS if f"`{name}`" not in guide] == []


def test_the_speech_of_a_file_is_heard_again(pipeline, motion, saved):
    read = pipeline.motion(PHOTO, load_motion(saved))
    np.testing.assert_allclose(read.speech_features, motion.speech_features, atol=0.02)


def test_a_file_shows_the_result_too(motion, saved):
    with np.load(saved) as file:
        np.testing.assert_allclose(file["posed"], motion.posed, atol=1e-3)


def test_a_saved_motion_gives_the_same_frames_as_the_speech(pipeline, saved, short_speech):
    again = pipeline.animate(PHOTO, load_motion(saved))
    for frame, same in zip(pipeline.animate(PHOTO, short_speech), again, strict=True):
        np.testing.assert_array_equal(frame, same)


def test_edits_take_effect(motion, saved):
    with np.load(saved) as file:
        pose = file["head_rotation"] + [0, 8, 0]
        emotion = file["emotion"]
    emotion[:, EMOTIONS.index("happy")] = 1
    edits = {"blink": np.ones(23), "gaze": np.tile([10.0, 0], (23, 1)), "emotion": emotion, "head_rotation": pose}
    for name, array in edits.items():
        save_motion(saved, motion)
        moved = np.abs(load_motion(edit(saved, **{name: array})).posed - motion.posed).max(axis=(0, 2))
        assert moved.max() > 1, name
    save_motion(saved, motion)
    moved = np.abs(load_motion(edit(saved, blink=np.ones(23))).posed - motion.posed).max(axis=(0, 2))
    assert moved[159] > 1  # an upper lid
    assert moved[14] == 0  # the lower lip


def test_posed_landmarks_are_read_where_normalized_ones_are_missing(motion, saved):
    shown = motion.posed.astype(np.float32)
    shown[:, :, 0] += 20
    np.testing.assert_allclose(load_motion(edit(saved, posed=shown)).posed, motion.posed, atol=1e-3)
    read = load_motion(edit(saved, posed=shown, normalized=None, blink=None))
    np.testing.assert_allclose(read.posed, shown, atol=1e-2)


def test_a_file_without_sound_is_a_silent_motion(saved):
    assert load_motion(edit(saved, speech=None)).speech is None


def test_numbers_may_be_of_any_real_type(motion, saved):
    doubles = np.asfortranarray(motion.normalized, np.float64)
    read = load_motion(edit(saved, normalized=doubles, gaze=np.ones((23, 2), int)))
    np.testing.assert_array_equal(read.normalized, motion.normalized)
    assert read.gaze.dtype == np.float32


BAD_ARRAYS = {
    "other shape": ({"blink": np.zeros((23, 2))}, r"'blink' in .* must have the shape \(T,\); it has \(23, 2\)"),
    "other mesh": ({"normalized": np.zeros((23, 68, 3))}, r"must have the shape \(T, 478, 3\); it has \(23, 68, 3\)"),
    "other length": ({"gaze": np.zeros((5, 2))}, "has 23 frames, but 5 in 'gaze'"),
    "no frames": ({"normalized": np.zeros((0, 478, 3))}, "must have the shape"),
    "NaN": ({"gaze": np.full((23, 2), np.nan)}, "'gaze' in 'motion.npz' holds values that are no numbers"),
    "overflow": ({"gaze": np.full((23, 2), 1e300)}, "must lie between -90 and 90; it holds 1e"),
    "out of range": ({"blink": np.full(23, 1.4)}, "'blink' in 'motion.npz' must lie between 0 and 1; it holds 1.4"),
    "later format": ({"format": np.int64(2)}, "'format' in 'motion.npz' must be 1; it holds 2"),
    "text": ({"blink": np.array(["shut"] * 23)}, "'blink' in 'motion.npz' holds text, not numbers"),
    "complex": ({"blink": np.zeros(23, complex)}, "holds complex numbers"),
    "pickle": ({"blink": np.array([print] * 23, object)}, "'blink' in 'motion.npz' holds Python objects, not numbers"),
    "missing": ({"head_scale": None}, "has no array 'head_scale'"),
    "no landmarks": ({"normalized": None, "posed": None}, "neither an array 'normalized' nor 'posed'"),
    "misspelt": ({"blinks": np.zeros(23)}, "'motion.npz' holds 'blinks', which is none of: format, normalized"),
    "no face at rest": ({"rest": np.zeros((478, 3))}, "'rest' in 'motion.npz' is no normalized face"),
    "no face": ({"normalized": np.full((23, 478, 3), 4)}, "move a point by .* distances of the eyes; the limit is 1"),
    "giant": ({"head_scale": np.full(23, 1999)}, "'head_scale' in 'motion.npz' must lie between 1/3 and 3 times"),
    "too long": ({"blink": np.zeros(20_000)}, "the limit is 600 s, 15000 frames"),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_a_bad_array_is_refused(saved, name):
    arrays, sentence = BAD_ARRAYS[name]
    assert re.search(sentence, refusal(load_motion, edit(saved, **arrays)))


def test_what_is_no_motion_file_is_refused(saved, tmp_path):
    assert "no landmarks file 'gone.npz'" in refusal(load_motion, tmp_path / "gone.npz")
    content = saved.read_bytes()
    for name, part in {
        "text": b"blink = 1",
        "truncated": content[: len(content) // 2],
        "flipped": content[:5000] + b"\xff" * 400 + content[5400:],
    }.items():
        (tmp_path / f"{name}.npz").write_bytes(part)
        assert "is not a landmarks file (.npz), or it is damaged" in refusal(load_motion, tmp_path / f"{name}.npz")
    np.save(tmp_path / "array.npz", np.zeros(3))
    (tmp_path / "array.npz.npy").rename(tmp_path / "array.npz")
    assert "is not a landmarks file" in refusal(load_motion, tmp_path / "array.npz")
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("../blink.npy", "")
    assert "holds 'blink', which is none of" in refusal(load_motion, tmp_path / "other.npz")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("speech.npy", "w") as file:
        for _ in range(100):
            file.write(bytes(1_000_000))
    assert path.stat().st_size < 1_000_000
    assert "'speech' in 'bomb.npz' is too long" in refusal(load_motion, path)


@pytest.mark.parametrize("times", [2, 500_000])
def test_an_array_that_is_there_many_times_is_refused_before_it_is_unpacked_as_often(tmp_path, times):
    path = tmp_path / "many.npz"
    np.savez(path, speech=np.zeros(9, np.float32))
    content = path.read_bytes()
    start, end = content.index(b"PK\1\2"), content.index(b"PK\5\6")
    directory = content[start:end] * times
    numbers = struct.pack("<HHII", *[times & 0xFFFF] * 2, len(directory), start)
    path.write_bytes(content[:start] + directory + content[end : end + 8] + numbers + bytes(2))
    begun = time.process_time()
    assert "is not a landmarks file" in refusal(load_motion, path)
    assert time.process_time() < begun + 1


def test_a_header_that_claims_more_than_there_is_is_refused(saved):
    edit(saved, blink=None)
    with zipfile.ZipFile(saved, "a") as archive, archive.open("blink.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**12,)})
    assert "'blink' in 'motion.npz' is too long" in refusal(load_motion, saved)


def test_a_header_whose_shape_is_no_number_is_refused(saved):
    edit(saved, blink=None)
    with zipfile.ZipFile(saved, "a") as archive, archive.open("blink.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (True,)})
    assert "is not a landmarks file (.npz), or it is damaged" in refusal(load_motion, saved)


def test_a_header_whose_brackets_are_not_closed_is_refused(saved):
    edit(saved, blink=None)
    with zipfile.ZipFile(saved, "a") as archive:
        header = b"{" + b"(" * 62 + b"\n"
        archive.writestr("blink.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    assert "is not a landmarks file (.npz), or it is damaged" in refusal(load_motion, saved)


def test_a_shorter_limit_holds_for_motions_too(saved):
    with pytest.raises(SpaceError, match=r"limit is 0\.8 s, 20 frames"):
        load_motion(saved, max_seconds=0.8)


def test_a_motion_file_that_cannot_be_written_is_refused(motion, tmp_path):
    for path, words in ((tmp_path / "motion.mp4", "must end in .npz"), (tmp_path / "nowhere" / "a.npz", "no folder")):
        with pytest.raises(SpaceError, match=words):
            save_motion(path, motion)


@pytest.mark.skipif(os.name != "posix", reason="only there files are locked")
def test_what_a_killed_run_has_left_beside_its_motion_file_is_removed_by_a_later_one(motion, saved, tmp_path):
    program = """
import sys
from space_core import load_motion, save_motion
def wait():
    print("started", flush=True)
    input()
save_motion(sys.argv[2], load_motion(sys.argv[1]), wait)
"""
    folder = tmp_path / "results"
    folder.mkdir()
    command = [sys.executable, "-c", program, str(saved), str(folder / "killed.npz")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout.readline() == "started\n"
        killed.kill()
    (left,) = folder.iterdir()
    os.utime(left, (0, 0))
    save_motion(folder / "motion.npz", motion)
    assert [path.name for path in folder.iterdir()] == ["motion.npz"]


# Drawings


def test_landmarks_are_drawn_where_they_are(motion):
    drawing = draw_posed(motion.posed[0])
    assert drawing.shape == (512, 512, 3)
    assert drawing.dtype == np.uint8
    inked = np.argwhere(drawing.min(axis=2) < 160)[:, ::-1]
    low, high = motion.posed[0, :, :2].min(0), motion.posed[0, :, :2].max(0)
    assert np.abs(inked.min(0) - low).max() < 6
    assert np.abs(inked.max(0) - high).max() < 6


def test_irises_vanish_behind_closed_lids(motion):
    def teal(blink):
        landmarks = dataclasses.replace(motion[:1], blink=np.array([blink], np.float32)).edited[0]
        drawing = draw_normalized(landmarks).astype(int)
        return int((drawing[..., 2] - drawing[..., 0] > 60).sum())

    assert teal(0) > 40
    assert teal(1) < teal(0) / 4


def test_the_stages_of_a_frame_end_with_its_picture(pipeline, motion):
    animation = pipeline.animate(PHOTO, motion[:1], AnimationOptions(mark="none"))
    for frame in animation.frames():
        stages = animation.stages(frame)
        assert stages.shape == (512, 1536, 3)
        np.testing.assert_array_equal(stages[:, 1024:], frame.picture)


def test_any_landmarks_that_a_file_may_hold_can_be_shown(pipeline, motion, tmp_path):
    random = np.random.default_rng(0)
    wild = motion.rest + random.uniform(-0.99, 0.99, motion[:1].normalized.shape).astype(np.float32)
    pose = HeadPose(np.full((1, 3), 90, np.float32), np.zeros((1, 3), np.float32), 2.99 * motion.head_pose.scale[:1])
    save_motion(tmp_path / "wild.npz", dataclasses.replace(motion[:1], normalized=wild, head_pose=pose))
    animation = pipeline.animate(PHOTO, load_motion(tmp_path / "wild.npz"))
    for frame in animation.frames():
        assert animation.stages(frame).shape == (512, 1536, 3)
