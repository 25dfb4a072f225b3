"""The visible mark: readable in the corner of any picture, without changing the rest."""

import numpy as np
import pytest

from space_core.media.visible_mark import marked

SIZES = [(64, 64), (256, 256), (512, 512), (1024, 1024), (2160, 3840), (800, 300), (64, 900)]


@pytest.mark.parametrize("size", SIZES)
def test_the_mark_stays_in_the_lower_right_corner(size):
    height, width = size
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    before = frame.copy()
    result = marked(frame)
    assert result.shape == frame.shape
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(frame, before)  # a new array
    rows, columns = np.nonzero((result != frame).any(2))
    assert rows.min() > (0.6 if height < 100 else 0.8) * height
    assert rows.max() < height - 1
    assert columns.max() < width - 1
    assert columns.min() >= 0
    # Near the corner, and small in a usual picture.
    assert height - rows.max() < 0.12 * height
    if min(size) >= 256:
        assert (columns.max() - columns.min()) * (rows.max() - rows.min()) < 0.03 * min(size) ** 2


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("background", [0, 70, 128, 200, 255])
def test_the_text_has_contrast_on_every_background(size, background):
    result = marked(np.full((*size, 3), background, np.uint8))[..., 0]
    label = result[round(0.6 * size[0]) :].astype(float)
    letters, around = label.max() if background < 255 else np.sort(label[label < 255])[-1], label.min()
    lightness = [((value / 255) ** 2.2 + 0.05) for value in (letters, around)]
    assert lightness[0] / lightness[1] > 4.5  # WCAG's contrast for text


def test_letters_are_large_enough_to_read_in_a_small_picture():
    label = marked(np.zeros((256, 256, 3), np.uint8))[..., 0] > 100
    rows, columns = np.nonzero(label)
    assert rows.max() - rows.min() >= 8
    assert columns.max() - columns.min() >= 55


def test_every_frame_of_a_size_gets_the_same_mark():
    black = np.zeros((512, 512, 3), np.uint8)
    np.testing.assert_array_equal(marked(black), marked(black.copy()))
