"""What the preview of a photo promises: the faces, the frame and the warnings, before anything is rendered."""

import threading

import numpy as np
import pytest
from conftest import EXAMPLES
from PIL import Image
from rendering import with_mask
from scipy.ndimage import gaussian_filter

from space_core import AnimationOptions, SpaceError, draw_preview
from space_core.media.images import load_photo


@pytest.fixture(scope="module")
def couple(astronaut) -> np.ndarray:
    """Two people, the larger face to the left."""
    photo = np.full((560, 960, 3), 120, np.uint8)
    photo[:, :512] = load_photo(EXAMPLES / "grace_hopper.jpg")
    photo[87:473, 540:926] = astronaut
    return photo


def scaled(photo: np.ndarray, factor: float) -> np.ndarray:
    size = round(photo.shape[1] * factor), round(photo.shape[0] * factor)
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS))


def notes_of(pipeline, photo) -> str:
    return " ".join(pipeline.preview(photo).notes)


def test_what_is_framed_is_what_will_be_animated(pipeline, portrait, astronaut):
    preview = pipeline.preview(EXAMPLES / "astronaut.jpg")
    np.testing.assert_array_equal(preview.photo, astronaut)
    assert np.abs(preview.framed.astype(int) - portrait.image).mean() < 0.5
    corners = portrait.crop.to_photo(np.array([[0, 0], [512, 0], [512, 512], [0, 512]]))
    np.testing.assert_allclose(preview.frame, corners)
    assert preview.notes == ()
    (face,) = preview.faces
    assert (face.number, face.refusal) == (1, None)
    mesh = portrait.crop.to_photo(portrait.landmarks[:, :2])
    np.testing.assert_allclose(face.box, [*mesh.min(0), *mesh.max(0)])


def test_faces_are_numbered_as_they_are_chosen(pipeline, couple):
    for number in (1, 2):
        preview = pipeline.preview(couple, AnimationOptions(face=number))
        assert [face.number for face in preview.faces] == [1, 2]
        assert preview.chosen is preview.faces[number - 1]
    one, other = preview.faces
    assert one.box[2] < 512 < other.box[0]


def test_a_click_chooses_the_nearest_face(pipeline, couple):
    preview = pipeline.preview(couple)
    for x, y, number in ((260, 230, 1), (0, 559, 1), (730, 200, 2), (950, 10, 2), (500, 300, 1), (600, 300, 2)):
        assert preview.face_at(x, y) == number


def test_a_preview_refuses_what_can_not_be_animated(pipeline, couple, short_speech):
    plain = np.full((300, 400, 3), 200, np.uint8)
    for photo, options in ((plain, AnimationOptions()), (couple, AnimationOptions(face=3)), ("none.jpg", None)):
        with pytest.raises(SpaceError) as looking:
            pipeline.preview(photo, options)
        with pytest.raises(SpaceError) as animating:
            pipeline.animate(photo, short_speech, options)
        assert str(looking.value) == str(animating.value)


def test_a_face_that_can_not_be_animated_says_why_beside_one_that_can(pipeline, couple):
    photo = scaled(couple, 0.55)
    one, other = pipeline.preview(photo).faces
    assert one.refusal is None
    assert "too small" in other.refusal
    with pytest.raises(SpaceError) as refused:
        pipeline.preview(photo, AnimationOptions(face=2))
    assert str(refused.value) == other.refusal


def rotated(photo, degrees):
    return np.asarray(Image.fromarray(photo).rotate(degrees, expand=True))


def test_photos_that_will_not_do_well_are_warned_of(pipeline, astronaut):
    assert "pixels high" in notes_of(pipeline, scaled(astronaut, 0.8))
    assert "dark" in notes_of(pipeline, (astronaut * 0.25).astype(np.uint8))
    assert "on its side" in notes_of(pipeline, np.rot90(astronaut))
    assert "on its side" not in notes_of(pipeline, rotated(astronaut, 35))
    large = scaled(load_photo(EXAMPLES / "grace_hopper.jpg"), 2)
    assert notes_of(pipeline, large) == ""
    assert "blurred" in notes_of(pipeline, gaussian_filter(large, (5, 5, 0)))
    assert "enlarged" in notes_of(pipeline, scaled(scaled(large, 1 / 12), 12))


def test_a_covered_mouth_is_warned_of(pipeline, portrait, astronaut):
    assert "covered" not in notes_of(pipeline, astronaut)
    mesh = np.c_[portrait.crop.to_photo(portrait.landmarks[:, :2]), portrait.landmarks[:, 2]]
    for colour in ((225, 230, 235), (25, 25, 28), (110, 150, 190)):
        assert "covered" in notes_of(pipeline, with_mask(astronaut, mesh, colour))


def test_a_film_has_the_notes_of_the_preview(pipeline, astronaut, short_speech):
    for photo in (scaled(astronaut, 0.8), (astronaut * 0.25).astype(np.uint8), gaussian_filter(astronaut, (2, 2, 0))):
        with pipeline.animate(photo, short_speech) as animation:
            assert animation.photo_notes == pipeline.preview(photo).notes != ()


def test_a_large_photo_is_previewed_as_a_draft(pipeline, astronaut, tmp_path):
    far = np.full((2850, 3800, 3), 130, np.uint8)
    far[1200 : 1200 + astronaut.shape[0], 1700 : 1700 + astronaut.shape[1]] = astronaut
    Image.fromarray(far).save(tmp_path / "far.jpg", quality=95)
    draft, whole = pipeline.preview(tmp_path / "far.jpg"), pipeline.preview(far)
    assert draft.photo.shape == (1440, 1920, 3)
    np.testing.assert_allclose(np.array(draft.chosen.box) * 3800 / 1920, whole.chosen.box, atol=4)
    assert draft.notes == whole.notes == ()  # the face is small in the draft, but not in the photo


def test_a_photo_can_be_previewed_while_another_is_prepared(pipeline, astronaut, short_speech, monkeypatch):
    from space_core.face.portrait import prepare_portrait

    begun, go_on = threading.Event(), threading.Event()

    def slow(*arguments):
        begun.set()
        go_on.wait(60)
        return prepare_portrait(*arguments)

    monkeypatch.setattr("space_core.portrait_cache.prepare_portrait", slow)
    other = threading.Thread(target=lambda: pipeline.animate(astronaut[:, ::-1], short_speech))
    other.start()
    try:
        assert begun.wait(60)
        looking = threading.Thread(target=lambda: pipeline.preview(astronaut))
        looking.start()
        looking.join(30)
        assert not looking.is_alive()
    finally:
        go_on.set()
        other.join()


def test_the_drawn_look_shows_the_crop_and_dims_what_it_leaves_out(pipeline, astronaut):
    preview = pipeline.preview(astronaut)
    drawn = draw_preview(preview)
    assert drawn.shape == astronaut.shape and drawn.dtype == np.uint8
    left, top = preview.frame[0].round().astype(int)
    right = round(preview.frame[1, 0])
    hair = slice(top + 8, top + 30), slice((left + right) // 2 - 10, (left + right) // 2 + 10)
    np.testing.assert_array_equal(drawn[hair], astronaut[hair])
    assert drawn[-60:].mean() < 0.7 * astronaut[-60:].mean()
    assert draw_preview(preview, max_side=200).shape == (200, 200, 3)


def test_the_drawn_look_dims_nothing_of_a_photo_that_is_shown_whole(pipeline, astronaut):
    drawn = draw_preview(pipeline.preview(astronaut, AnimationOptions(framing="photo")))
    np.testing.assert_array_equal(drawn[-60:-8, 8:-8], astronaut[-60:-8, 8:-8])


def test_the_drawn_look_sets_the_chosen_one_of_several_faces_apart(pipeline, couple):
    drawings = [draw_preview(pipeline.preview(couple, AnimationOptions(face=face))).astype(int) for face in (1, 2)]
    for chosen, (first, last) in enumerate(((0, 512), (540, 926))):
        mine, others = drawings[chosen][:, first:last], drawings[1 - chosen][:, first:last]
        assert mine.mean() > 1.2 * others.mean()
