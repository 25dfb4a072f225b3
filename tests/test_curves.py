"""What the curves of a motion promise."""

import dataclasses

import numpy as np
import pytest
import soundfile
from conftest import EXAMPLES

from space_core import AnimationOptions, curves
from space_core.motion.emotion_labels import EMOTIONS
from space_core.web.curve_plot import plot_curves

PHOTO = EXAMPLES / "astronaut.jpg"


@pytest.fixture(scope="module")
def motion(pipeline, tmp_path_factory):
    """A second of speech, two of silence, before whose end a breath is drawn, and another of speech."""
    sound, rate = soundfile.read(EXAMPLES / "english_starlight.flac")
    path = tmp_path_factory.mktemp("curves") / "pause.wav"
    soundfile.write(path, np.concatenate([sound[:rate], np.zeros(2 * rate), sound[rate : 2 * rate]]), rate)
    return pipeline.motion(PHOTO, path, AnimationOptions(blinks_per_minute=60, gaze_yaw=8))


def test_every_curve_has_a_value_for_every_frame(motion):
    for name, curve in dataclasses.asdict(curves(motion)).items():
        assert curve.shape == ((100, 8) if name == "emotion" else (100,))
        assert np.isfinite(curve).all()


def test_lips_and_loudness_rise_and_fall_together(motion):
    drawn = curves(motion)
    assert drawn.seconds[-1] == pytest.approx(3.96)
    assert drawn.lip_opening[32:58].max() < 0.05 < 0.15 < drawn.lip_opening[:25].max() < 1
    assert drawn.lip_opening.min() >= 0
    assert drawn.loudness[32:65].max() < 0.1 < 0.5 < drawn.loudness[:25].max() <= 1


def test_angles_are_relative_to_the_photo(motion, portrait):
    drawn = curves(motion)
    for angle, curve in enumerate((drawn.yaw, drawn.pitch, drawn.roll)):
        assert curve[0] == pytest.approx(0, abs=0.05)
        np.testing.assert_allclose(
            curve, motion.head_pose.rotation[:, angle] - portrait.pose.rotation[0, angle], atol=1e-4
        )
    np.testing.assert_array_equal(drawn.gaze_yaw, motion.gaze[:, 0])
    assert drawn.gaze_yaw.mean() > 4
    assert drawn.blink.max() == 1


def test_edits_take_effect_and_without_speech_loudness_is_0(motion):
    surprised = np.zeros_like(motion.emotion)
    surprised[:, EMOTIONS.index("surprised")] = 1
    edited = curves(dataclasses.replace(motion, emotion=surprised, speech=None))
    assert edited.emotion[:, EMOTIONS.index("surprised")].min() == 1
    assert edited.lip_opening.mean() > curves(motion).lip_opening.mean()
    assert not edited.loudness.any()


def test_no_legend_of_the_drawn_curves_lies_over_them(motion):
    figure = plot_curves(curves(motion))
    figure.draw_without_rendering()
    legends = [(axis, axis.get_legend()) for axis in figure.axes if axis.get_legend()]
    assert len(legends) == 5
    for axis, legend in legends:
        assert legend.get_frame().get_window_extent().y0 > axis.get_window_extent().y1 - 5  # pixels
