"""What a comparison promises: the same words with several settings, in step, in one grid."""

import imageio_ffmpeg
import numpy as np
import pytest
from conftest import EXAMPLES

from space_core import AnimationOptions, SpaceError
from space_core.comparison import describe_differences, grid
from space_core.media.audio import load_speech
from space_core.output import Outputs

PHOTO = EXAMPLES / "astronaut.jpg"
DEFAULTS, HAPPY, SEED_3 = AnimationOptions(), AnimationOptions(emotion="happy", intensity=0.7), AnimationOptions(seed=3)


def test_two_settings_move_in_step_side_by_side(pipeline, short_speech):
    comparison = pipeline.compare(PHOTO, short_speech, [HAPPY, SEED_3])
    assert comparison.captions == ("happy, 0.7", "seed 3")
    singles = [pipeline.animate(PHOTO, short_speech, options) for options in (HAPPY, SEED_3)]
    assert comparison.num_frames == singles[0].num_frames
    count = 0
    for frame, *pictures in zip(comparison, *singles, strict=True):
        assert frame.shape[1:] == (1024, 3)
        assert 512 < len(frame) < 600 and len(frame) % 2 == 0
        np.testing.assert_array_equal(frame[:512, :512], pictures[0])
        np.testing.assert_array_equal(frame[:512, 512:], pictures[1])
        count += 1
    assert count == comparison.num_frames


def test_three_settings_leave_the_fourth_cell_empty(pipeline, short_speech):
    small = [AnimationOptions(size=256, seed=seed) for seed in range(3)]
    frame = next(pipeline.compare(PHOTO, short_speech, small, captions=["a", "b", "c"]))
    height = len(frame) // 2
    assert frame.shape[1:] == (512, 3) and 256 < height < 300
    empty = frame[height:, 256:]
    assert (empty == empty[0, 0]).all()
    captions = [
        frame[row * height + 256 : (row + 1) * height, column * 256 :][:, :256]
        for row, column in ((0, 0), (0, 1), (1, 0))
    ]
    for caption in captions:
        assert caption.max() > 200  # letters
    assert not np.array_equal(captions[0], captions[1])


@pytest.mark.parametrize(
    ("settings", "captions"),
    [
        ([DEFAULTS, HAPPY], ("neutral, 1", "happy, 0.7")),
        ([AnimationOptions(emotion="sad"), AnimationOptions(emotion="fear")], ("sad", "fear")),
        (
            [AnimationOptions(head_motion=0), DEFAULTS, AnimationOptions(head_motion=1.5)],
            ("head motion 0", "head motion 1", "head motion 1.5"),
        ),
        ([DEFAULTS, DEFAULTS], ("setting 1", "setting 2")),
    ],
)
def test_captions_say_what_differs(settings, captions):
    assert describe_differences(settings) == captions


def test_a_long_caption_is_cut():
    picture = np.zeros((256, 256, 3), np.uint8)
    frame = grid([picture, picture], ["word " * 60, "short"])
    strip = frame[256:, :256].astype(int)
    letters = np.abs(strip - strip[0, 0]).max((0, 2)) > 60
    assert letters[20:230].any()
    assert not letters[:10].any() and not letters[-10:].any()


@pytest.mark.parametrize(
    ("settings", "captions", "words"),
    [
        ([HAPPY], None, "2 to 4 settings"),
        ([HAPPY] * 5, None, "2 to 4 settings"),
        ([HAPPY, AnimationOptions(size=256)], None, "one size"),
        ([HAPPY, AnimationOptions(framing="photo")], None, "Only crops"),
        ([HAPPY, SEED_3], ["happy"], "2 settings and 1 captions"),
    ],
)
def test_what_can_not_stand_side_by_side_is_said(pipeline, short_speech, settings, captions, words):
    with pytest.raises(SpaceError, match=words):
        pipeline.compare(PHOTO, short_speech, settings, captions)


def test_stopping_midway_leaves_nothing_behind(pipeline, short_speech, tmp_path):
    def stop(stage, done, total):
        if (stage, done) == ("frames", 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.compare_to_file(PHOTO, short_speech, [HAPPY, SEED_3], tmp_path / "grid.mp4", progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_has_no_other_files(pipeline, short_speech, tmp_path):
    outputs = Outputs(tmp_path / "grid.mp4", motion_file=tmp_path / "motion.npz")
    with pytest.raises(SpaceError, match="Leave out the others"):
        pipeline.compare_to_file(PHOTO, short_speech, [HAPPY, SEED_3], outputs)
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_writes_the_grid_with_its_sound(command_line, short_speech, tmp_path):
    out = tmp_path / "grid.mp4"
    settings = ("--setting", "emotion=0:neutral, 0.6:happy@0.8, size=256", "--setting", "seed=3,size=256")
    assert command_line("compare", PHOTO, short_speech, "-o", out, *settings) == 0
    width, height = next(imageio_ffmpeg.read_frames(str(out)))["size"]
    assert width == 512 and 256 < height < 300
    assert np.abs(load_speech(out)).max() > 0.05


def test_the_command_line_says_what_is_wrong_with_a_setting(command_line, short_speech, tmp_path, capsys):
    for settings, words in (
        (["seed=1"], "2 to 4 settings"),
        (["happy", "seed=1"], "emotion=happy,intensity=0.7"),
        (["emotoin=happy", "seed=1"], "There is no option 'emotoin'"),
        (["intensity=3", "seed=1"], "intensity must be"),
        (["size=256", ""], "one size"),
    ):
        flags = [part for setting in settings for part in ("--setting", setting)]
        assert command_line("compare", PHOTO, short_speech, "-o", tmp_path / "grid.mp4", *flags) == 2
        assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
