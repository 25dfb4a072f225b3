"""What the options promise: defaults, ranges, and one clear sentence for each wrong value."""

import dataclasses
from pathlib import Path

import pytest

from space_core.errors import SpaceError
from space_core.options import EMOTIONS, AnimationOptions, option_choices, option_field, option_names, option_range


def test_every_option_has_a_default_and_a_description():
    assert AnimationOptions() == AnimationOptions(emotion="neutral", intensity=1.0, seed=0, detector="mediapipe")
    assert all(option_field(name).description for name in option_names())
    assert option_names() == tuple(field.name for field in dataclasses.fields(AnimationOptions))


def test_options_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        AnimationOptions().seed = 1


def test_a_changed_copy_is_validated_too():
    assert dataclasses.replace(AnimationOptions(), seed=3).seed == 3
    with pytest.raises(SpaceError, match="seed must be"):
        dataclasses.replace(AnimationOptions(), seed=-1)


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_every_emotion_of_mead_is_accepted(emotion):
    assert AnimationOptions(emotion=emotion).emotion == emotion


@pytest.mark.parametrize("emotion", ["0.7 happy + 0.3 sad", "happy@0.8", "0:neutral, 2.5:happy@0.8, 6:surprised"])
def test_emotions_may_be_blended_and_follow_each_other(emotion):
    assert AnimationOptions(emotion=emotion).emotion == emotion


def test_the_pose_video_becomes_a_path():
    assert AnimationOptions(pose_video="nod.mp4").pose_video == Path("nod.mp4")


@pytest.mark.parametrize("name", [name for name in option_names() if option_range(name)])
def test_the_ends_of_every_range_are_accepted_and_what_is_beyond_is_not(name):
    least, greatest = option_range(name)
    for value in (least, greatest):
        assert getattr(AnimationOptions(**{name: value}), name) == value
    for value in (least - 1, greatest + 1, float("nan"), float("inf"), -float("inf"), "much", None):
        with pytest.raises(SpaceError, match=f"^{name} must be .*between {least} and {greatest}; got "):
            AnimationOptions(**{name: value})


BLENDS = "write for instance 'happy', '0.7 happy + 0.3 sad' or '0:neutral, 2.5:happy@0.8'"
UNITS = "write for instance '1:0.5, 12:0.8' or '12L:1'"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"emotion": "0.5 happy + 0.6"}, f"An emotion is missing beside '0.6'; {BLENDS}."),
        ({"emotion": "0:"}, f"An emotion is missing beside a + or a colon; {BLENDS}."),
        ({"action_units": "12:0.8,"}, f"An action unit is missing beside a comma or a colon; {UNITS}."),
        ({"emotion": "joyful"}, f"There is no emotion called 'joyful'; choose from: {', '.join(EMOTIONS)}."),
        ({"emotion": None}, "emotion must be a text such as 'happy'; got None."),
        ({"intensity": 3}, "intensity must be between 0 and 1.5; got 3."),
        ({"intensity": 3.0}, "intensity must be between 0 and 1.5; got 3."),
        ({"intensity": 1.5000001}, "intensity must be between 0 and 1.5; got 1.5000001."),
        ({"seed": True}, "seed must be a whole number between 0 and 4294967295; got True."),
        ({"intensity": False}, "intensity must be between 0 and 1.5; got False."),
        ({"seed": 1.5}, "seed must be a whole number between 0 and 4294967295; got 1.5."),
        ({"detector": "dlib"}, "detector must be one of mediapipe, face-alignment; got 'dlib'."),
        ({"generator": "oil"}, "generator must be one of mesh-warp, liveportrait; got 'oil'."),
        ({"generator": 3}, "generator must be one of mesh-warp, liveportrait; got 3."),
        ({"pose_video": 3}, "pose_video must be the path of a video, or None; got 3."),
        ({"pose_video": ""}, "pose_video must be the path of a video, or None; got ''."),
        ({"size": 301}, "size must be an even number between 256 and 1024; got 301."),
        ({"mark": "hidden"}, "mark must be one of none, visible; got 'hidden'."),
        ({"framing": "square"}, "framing must be one of crop, photo; got 'square'."),
        ({"framing": "photo", "size": 640}, "A whole photo keeps its own size: leave out size or framing."),
        ({"mood": "happy"}, f"There is no option 'mood'; the options are {', '.join(option_names())}."),
    ],
)
def test_a_wrong_option_is_refused_with_what_is_possible(given, sentence):
    with pytest.raises(SpaceError) as refusal:
        AnimationOptions(**given)
    assert str(refusal.value) == sentence


def test_two_wrong_options_are_both_named():
    with pytest.raises(SpaceError, match=r"no emotion called .*\. seed must be"):
        AnimationOptions(emotion="joyful", seed=-1)


def test_a_very_long_value_does_not_flood_the_message():
    with pytest.raises(SpaceError) as refusal:
        AnimationOptions(emotion="x" * 10_000)
    assert len(str(refusal.value)) < 250


def test_choices_are_listed_for_those_who_show_them():
    assert option_choices("emotion") is None
    assert option_choices("detector") == ("mediapipe", "face-alignment")
    assert option_choices("framing") == ("crop", "photo")
    assert option_choices("refine") == ("network", "none")
    assert option_choices("generator") == ("mesh-warp", "liveportrait")
    assert option_choices("mark") == ("none", "visible")
    assert option_choices("seed") is None
    assert option_range("emotion") is None
