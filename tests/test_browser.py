"""The page in a real browser; pictures of it are kept in ``tests/screenshots``."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import EXAMPLES, Visitor, speech_of, until
from PIL import Image

from space_core.media import ffmpeg

playwright = pytest.importorskip("playwright.sync_api", reason="SKIPPED: no browser tests without Playwright")

SCREENSHOTS = Path(__file__).parent / "screenshots"
FILM_TIMEOUT = 120_000  # ms
# No requests of the browser itself, and films that play without a click on them.
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--autoplay-policy=no-user-gesture-required"),
)
STATE_OF_FILM = """(selector) => {
  const video = document.querySelector(selector);
  const picture = new OffscreenCanvas(64, 64).getContext('2d');
  picture.drawImage(video, 0, 0, 64, 64);
  return {
    at: video.currentTime, seconds: video.duration, source: video.currentSrc, sounds: video.webkitAudioDecodedByteCount,
    pixels: Array.from(picture.getImageData(0, 0, 64, 64).data),
  };
}"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Chromium: the one on the machine, or the one that Playwright brings. Its microphone hears an example."""
    SCREENSHOTS.mkdir(exist_ok=True)
    installed = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    heard = speech_of(5.8, tmp_path_factory.mktemp("microphone") / "heard.wav")
    microphone = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    flags = [*FLAGS, *microphone, f"--use-file-for-audio-capture={heard}"]
    with playwright.sync_playwright() as driver:
        if not installed and not Path(driver.chromium.executable_path).exists():
            pytest.skip("SKIPPED: no browser tests, as there is no Chromium; `playwright install chromium` brings one")
        chromium = driver.chromium.launch(executable_path=installed, args=flags)
        yield chromium
        chromium.close()


DESK = {"viewport": {"width": 1300, "height": 900}}
LIVE = pytest.mark.parametrize("page", [{"path": "/live"}], indirect=True)


@pytest.fixture(scope="module")
def contexts(browser):
    """By its options, a context of the browser for all tests with these, whose cache has the page's scripts."""
    made = {}

    def context(options):
        key = str(options)
        if key not in made:
            made[key] = browser.new_context(**options)
        return made[key]

    return context


@pytest.fixture
def page(contexts, demo, request):
    """The page, just opened. At the end a picture of it is kept, and it has requested nothing from any other host."""
    options = {**DESK, **getattr(request, "param", {})}
    path = options.pop("path", "/")
    page = contexts(options).new_page()
    requested, errors = [], []
    page.on("request", lambda request: requested.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{demo}{path}")
    page.locator("#animate, #begin").wait_for()
    yield page
    page.context.set_offline(False)
    page.screenshot(path=SCREENSHOTS / f"{request.node.name}.png", full_page=True)
    page.evaluate("() => localStorage.clear()")
    page.close()
    assert not [url for url in requested if not url.startswith((demo, "data:", "blob:"))]
    assert not errors


@pytest.fixture(scope="module")
def short_speech(tmp_path_factory):
    """Longer than elsewhere: a browser on a busy machine has to see the film while it is drawn."""
    return speech_of(1.6, tmp_path_factory.mktemp("speech") / "short.wav")


@pytest.fixture(scope="module")
def short_stream(tmp_path_factory):
    """A film of the length of the short speech, as the demo sends one while it is drawn."""
    path = tmp_path_factory.mktemp("stream") / "stream.mp4"
    fragmented = ["-t", "1.6", "-c", "copy", "-movflags", "+empty_moov+default_base_moof+frag_keyframe"]
    subprocess.run([ffmpeg.binary(), "-v", "error", "-i", EXAMPLES / "astronaut.mp4", *fragmented, path], check=True)
    return path


@pytest.fixture(scope="module")
def two_people(tmp_path_factory):
    """A photo of two people, the smaller face on the left."""
    left, right = Image.open(EXAMPLES / "astronaut.jpg"), Image.open(EXAMPLES / "grace_hopper.jpg")
    photo = Image.new("RGB", (1024, 560))
    photo.paste(left.resize((512, 512)), (0, 0))
    photo.paste(right.resize((512, 560)), (512, 0))
    path = tmp_path_factory.mktemp("photos") / "two.png"
    photo.save(path)
    return path


def give(page, photo=None, speech=None):
    """Uploads as a person does, and waits until the page has them."""
    if photo:
        page.set_input_files("#photo input[type=file]", photo)
        page.locator("#note p").filter(has_not_text="Looking for faces").first.wait_for()
    if speech:
        page.set_input_files("#speech input[type=file]", speech)
        page.locator("#speech .waveform-container, #speech #waveform").first.wait_for()


SHOWS_A_FRAME = """(selector) => {
  const video = document.querySelector(selector);
  return video.currentTime > 0.2 && !video.seeking && video.readyState >= 2;
}"""


def film(page, selector="#result video", name=r"-\w+"):
    """The state of a film that is complete and plays, by a pattern of its name; those that were made have a dash."""
    page.wait_for_function(
        f"() => /{name}\\.mp4$/.test(document.querySelector('{selector}')?.currentSrc)", timeout=FILM_TIMEOUT
    )
    page.wait_for_function(SHOWS_A_FRAME, arg=selector, timeout=20_000)
    return page.evaluate(STATE_OF_FILM, selector)


def show_tab(page, name):
    page.get_by_role("tab", name=name, exact=True).click()


def summary(page):
    return page.locator("#result-summary").inner_text()


LAPTOP = {"viewport": {"width": 1366, "height": 768}}


@pytest.mark.parametrize("page", [LAPTOP], indirect=True)
def test_a_laptop_shows_at_first_sight_how_to_start_and_the_whole_film_from_when_it_is_asked_for(page):
    for shown in ("#photo", "#speech", "#animate", "table img >> nth=0"):
        box = page.locator(shown).bounding_box()
        assert box["y"] + box["height"] <= 768, shown
    page.locator("#animate").click()
    page.evaluate("scrollTo(0, 400)")  # in the half second until what Gradio shows is there
    page.wait_for_function(IS_IN_FULL_VIEW)
    page.evaluate("scrollTo(0, 400)")
    page.get_by_text("happy", exact=True).last.click()
    page.wait_for_function(IS_IN_FULL_VIEW)


IS_IN_FULL_VIEW = """() => {
  const {top, bottom} = document.querySelector('#result .stage').getBoundingClientRect();
  return top >= 0 && bottom <= innerHeight;
}"""


@pytest.mark.slow
def test_an_example_plays_at_once_and_is_made_anew_by_one_click(page):
    page.get_by_text("happy", exact=True).last.click()
    begun = film(page, name="astronaut")
    assert begun["seconds"] == pytest.approx(5.8, abs=0.1)
    assert "press “Animate”" in page.locator("#result .about").inner_text()
    page.wait_for_function("(at) => document.querySelector('#result video').currentTime > at + 0.6", arg=begun["at"])
    later = page.evaluate(STATE_OF_FILM, "#result video")
    assert later["sounds"] > 0
    moved = sum(abs(a - b) > 8 for a, b in zip(begun["pixels"], later["pixels"], strict=True))
    assert moved > 20
    page.locator("#animate").click()
    assert film(page)["seconds"] == pytest.approx(5.8, abs=0.1)
    assert re.search(r"5\.8 s of video, made in [\d.]+ s", summary(page))


PLAYED = """(player) => {
  window.seen = [];
  window.trouble = [];
  const video = document.querySelector(`${player} video`);
  video.addEventListener('timeupdate', () => {
    const source = video.currentSrc.slice(0, 5);
    seen.push([source, video.currentTime]);
    // Of the finished film, which a browser loads in parts, it may have the beginning and the end alone.
    if (source === 'blob:' && video.buffered.length > 1) trouble.push(`gap at ${video.buffered.end(0)}`);
  });
  video.addEventListener('playing', () => {
    window.hasBegunBefore ??= !document.querySelector(`${player} a[download]`).href;
  });
}"""


@pytest.mark.slow
def test_a_film_plays_without_a_gap_while_it_is_drawn_and_is_the_finished_film_at_the_same_place_afterwards(page):
    give(page, EXAMPLES / "astronaut.jpg", EXAMPLES / "english_starlight.flac")
    page.evaluate(PLAYED, "#result")
    page.locator("#animate").click()
    page.wait_for_function("() => document.querySelector('#result video').currentTime > 0.2", timeout=FILM_TIMEOUT)
    assert page.evaluate("() => document.querySelector('#result video').currentSrc").startswith("blob:")
    shown = film(page)
    assert shown["at"] == pytest.approx(5.8, abs=0.1)
    seen = page.evaluate("() => seen")
    assert page.evaluate("() => window.hasBegunBefore")
    assert page.evaluate("() => window.trouble") == []
    times = [at for source, at in seen if source == "blob:" and at > 0]
    assert times == sorted(times) and times[-1] > 5.5
    page.evaluate("() => { document.querySelector('#result video').currentTime = 1; }")
    page.wait_for_function(
        "() => { const v = document.querySelector('#result video'); return !v.seeking && v.readyState > 1; }"
    )
    assert page.evaluate(STATE_OF_FILM, "#result video")["at"] == pytest.approx(1, abs=0.3)


WITHOUT_MEDIA_SOURCE = "delete window.MediaSource; delete window.ManagedMediaSource;"


@pytest.mark.slow
def test_where_there_are_only_managed_media_sources_they_play_the_film_while_it_is_drawn(
    page, short_speech, short_stream
):
    managed = "const Managed = class extends MediaSource {};"
    page.add_init_script(f"{managed} {WITHOUT_MEDIA_SOURCE} window.ManagedMediaSource = Managed;")
    # On a busy machine the film is complete before the page asks for its stream, which is then no longer there.
    page.route("**/stream/*.mp4", lambda route: route.fulfill(path=short_stream))
    page.reload()
    give(page, EXAMPLES / "astronaut.jpg", short_speech)
    page.evaluate(PLAYED, "#result")
    page.locator("#animate").click()
    shown = film(page)
    assert shown["at"] > 0
    assert [at for source, at in page.evaluate("() => seen") if source == "blob:" and at > 0]
    assert page.evaluate("() => document.querySelector('#result video').disableRemotePlayback")


@pytest.mark.slow
def test_where_there_are_no_media_sources_the_page_plays_the_playlist_and_then_the_film(page, short_speech):
    page.add_init_script(f"{WITHOUT_MEDIA_SOURCE} HTMLMediaElement.prototype.canPlayType = () => 'maybe';")
    page.reload()
    give(page, EXAMPLES / "astronaut.jpg", short_speech)
    for is_gone in (False, True):  # as after the end of a short film
        if is_gone:
            page.route("**/stream/*.m3u8", lambda route: route.fulfill(status=404))
        with page.expect_request(re.compile(r"/stream/[^/]*\.m3u8$"), timeout=FILM_TIMEOUT):
            page.locator("#animate").click()
        assert film(page)["seconds"] == pytest.approx(1.6, abs=0.1)


@pytest.mark.slow
def test_own_photo_and_recording_give_a_film_that_can_be_downloaded(page, short_speech):
    give(page, EXAMPLES / "grace_hopper.jpg", short_speech)
    assert "This is how it will be framed" in page.locator("#note").inner_text()
    page.locator("#animate").click()
    assert film(page)["seconds"] == pytest.approx(1.6, abs=0.1)
    with page.expect_download() as download:
        page.locator("#result a[download]").click()
    assert Path(download.value.path()).read_bytes()[4:8] == b"ftyp"
    assert download.value.suggested_filename == "grace_hopper-neutral.mp4"


@pytest.mark.slow
def test_earlier_films_of_a_visitor_stay_at_hand_until_they_are_deleted(page, short_speech):
    earlier = page.get_by_text("Earlier videos:")
    give(page, EXAMPLES / "grace_hopper.jpg", short_speech)
    for number, emotion in enumerate(("neutral", "sad")):
        page.locator("#emotion input").fill(emotion)
        page.locator("#emotion input").press("Enter")
        assert not earlier.is_visible()
        page.locator("#animate").click()
        film(page, name=f"grace_hopper-{emotion}")
        assert earlier.is_visible() == (number > 0)
    assert "Emotion: sad, intensity 1. Seed: 0." in summary(page)
    page.get_by_role("button", name="1 grace_hopper-neutral").click()
    film(page, name="grace_hopper-neutral")
    assert "Emotion: neutral. Seed: 0." in page.locator("#result .about").inner_text()
    assert not summary(page)
    with page.expect_download() as download:
        page.locator("#result a[download]").click()
    assert download.value.suggested_filename == "grace_hopper-neutral.mp4"
    page.get_by_role("button", name="2 grace_hopper-sad").click()
    film(page, name="grace_hopper-sad")
    assert "Emotion: sad" in summary(page)
    assert not page.locator("#result .about").inner_text()
    page.get_by_role("button", name="1 grace_hopper-neutral").click()
    page.route("**/grace_hopper-sad.mp4", lambda route: route.fulfill(status=404))
    page.get_by_role("button", name="2 grace_hopper-sad").click()
    page.get_by_text("This video is no longer there.").wait_for()
    assert page.get_by_role("button", name="grace_hopper").all_inner_texts() == ["1 grace_hopper-neutral"]


@pytest.mark.slow
def test_a_film_can_be_given_to_other_programs_where_the_browser_can_do_that(page):
    share = page.get_by_role("button", name="Share it")
    page.locator("#examples tbody tr").first.click()
    film(page, name="")
    assert not share.is_visible()
    page.evaluate(
        """() => {
          navigator.canShare = ({files}) => files[0].type === 'video/mp4';
          navigator.share = async ({files}) => { window.shared = [files[0].name, files[0].size]; };
        }"""
    )
    page.locator("#examples tbody tr").nth(1).click()
    share.click()
    assert page.evaluate("() => shared") == ["grace_hopper.mp4", (EXAMPLES / "grace_hopper.mp4").stat().st_size]


def test_a_typed_text_is_spoken(page):
    give(page, EXAMPLES / "astronaut.jpg")
    show_tab(page, "Text")
    page.locator("#text textarea").fill("Hello there, how are you?")
    page.locator("#say").click()
    page.locator("#spoken .waveform-container, #spoken #waveform").first.wait_for(timeout=FILM_TIMEOUT)
    assert page.locator("#spoken").get_by_role("button", name="Share").count() == 0  # it would send it to another site
    page.locator("#animate").click()
    shown = film(page)
    assert 0.8 < shown["seconds"] < 4
    assert shown["sounds"] > 0


@pytest.mark.slow
def test_stop_ends_the_work_and_the_next_film_is_made(page, short_speech):
    give(page, EXAMPLES / "astronaut.jpg", EXAMPLES / "english_portrait.flac")
    page.locator("#animate").click()
    page.get_by_text("Drawing").first.wait_for(timeout=FILM_TIMEOUT)
    assert told(page) == "The video is being made."
    page.locator("#stop").click()
    page.get_by_text("Drawing").first.wait_for(state="hidden")
    assert told(page) == "Stopped."
    page.wait_for_timeout(500)
    assert not page.locator("#result-summary").get_by_text("Error").is_visible()
    assert page.locator(".toast-body").count() == 0
    page.locator("#speech").get_by_label("Clear").first.click()
    give(page, speech=short_speech)
    page.locator("#animate").click()
    assert film(page)["seconds"] == pytest.approx(1.6, abs=0.1)
    assert told(page) == "The video is ready."


def told(page):
    """What a screen reader says of the film."""
    return page.locator("#result [role=status]").text_content()


@pytest.mark.parametrize("page", [{"viewport": {"width": 375, "height": 740}}], indirect=True)
def test_why_there_is_no_film_stands_in_its_place_when_the_message_has_gone(page):
    page.locator("#animate").click()
    page.locator(".toast-body").get_by_text("There is no photo yet").wait_for()
    page.locator(".toast-body").get_by_text("This didn't work").wait_for()
    page.get_by_test_id("toast-close").click()
    page.locator(".toast-body").wait_for(state="detached")
    assert summary(page) == "There is no photo yet. Give one, or pick an example."
    assert told(page) == "The video will play here."
    page.wait_for_function("() => document.querySelector('#result-summary').getBoundingClientRect().bottom <= 741")
    page.set_viewport_size({"width": 320, "height": 640})
    page.wait_for_function("() => document.documentElement.scrollWidth === 320")  # nothing is beside the window


def test_a_message_goes_when_the_photo_is_there_or_its_visitor_tries_again(page):
    page.locator("#animate").click()
    page.locator(".toast-body").get_by_text("There is no photo yet").wait_for()
    give(page, EXAMPLES / "astronaut.jpg")
    page.locator(".toast-body").wait_for(state="detached")
    assert not page.locator("#result-summary .error").is_visible()
    page.locator("#animate").click()
    page.locator(".toast-body").get_by_text("There is no speech yet").wait_for()
    show_tab(page, "Text")
    page.locator("#say").click()
    page.locator(".toast-body").get_by_text("There is no text to say").wait_for()
    assert "There is no speech yet" not in page.locator(".toast-body").inner_text()


def test_a_file_of_a_wrong_kind_is_refused_in_plain_words(page):
    page.set_input_files("#speech input[type=file]", EXAMPLES / "astronaut.mp4")
    page.locator(".toast-body").get_by_text("astronaut.mp4 is not a recording. A video goes under").wait_for()
    page.set_input_files("#photo input[type=file]", EXAMPLES / "english_starlight.flac")
    page.locator(".toast-body").get_by_text("english_starlight.flac is not a picture").wait_for()
    page.locator("#animate").click()
    page.locator("#result-summary").get_by_text("There is no photo yet").wait_for()


def test_a_camera_or_microphone_that_is_denied_or_missing_is_said_beside_it(page):
    fails = "({video}) => Promise.reject(new DOMException('No', video ? 'NotAllowedError' : 'NotFoundError'))"
    page.add_init_script(f"navigator.mediaDevices.getUserMedia = {fails};")
    page.reload()
    page.locator("#photo").get_by_role("button", name="Capture from camera").click()
    page.locator("#photo").get_by_text("Click to Access Webcam").click()
    page.get_by_role("alert").get_by_text("The camera was not allowed.").wait_for()
    page.locator("#speech").get_by_role("button", name="Record audio").click()
    page.locator("#speech").get_by_role("button", name="Record", exact=True).click()
    page.get_by_role("alert").get_by_text("No microphone was found.").wait_for()
    assert not page.get_by_text("The camera was not allowed.").is_visible()
    page.locator("#animate").click()
    page.get_by_text("No microphone was found.").wait_for(state="detached")


def test_notes_on_a_photo_are_read_aloud_and_go_when_another_photo_is_given(page, tmp_path):
    wrong = tmp_path / "wrong.jpg"
    wrong.write_text("no photo")
    give(page, wrong)
    notes = page.locator("#note [aria-live=polite]")
    assert "'wrong.jpg' is not an image" in notes.inner_text()
    page.route("**/queue/join*", lambda route: None)  # the preview is never made
    page.locator("#photo").get_by_label("Remove Image").click()
    page.set_input_files("#photo input[type=file]", EXAMPLES / "astronaut.jpg")
    page.wait_for_function("() => document.querySelector('#note [aria-live]').innerText === 'Looking for faces …'")


def test_a_preview_that_is_refused_is_no_longer_waited_for(page):
    page.route("**/queue/join*", lambda route: route.fulfill(status=429, json={"detail": "Wait for one."}))
    give(page, EXAMPLES / "astronaut.jpg")
    assert "There is no preview this time." in page.locator("#note").inner_text()


def test_a_lost_connection_is_said_until_it_is_back(page):
    page.get_by_text("surprised", exact=True).last.wait_for()  # the examples are loaded last
    page.wait_for_timeout(500)
    page.context.set_offline(True)
    page.locator("#animate").click()
    page.get_by_role("alert").get_by_text("The connection to the demo is lost").wait_for()
    page.context.set_offline(False)
    page.get_by_text("The connection to the demo is lost").wait_for(state="detached")


def test_a_photo_that_will_not_do_is_refused_before_anything_is_made(page, tmp_path, short_speech):
    Image.linear_gradient("L").resize((400, 300)).save(tmp_path / "landscape.png")
    give(page, tmp_path / "landscape.png", short_speech)
    assert "No human face was found" in page.locator("#note").inner_text()
    page.locator("#animate").click()
    page.locator(".toast-body").get_by_text("No human face was found").wait_for()
    assert "Traceback" not in page.content()


def test_a_file_that_is_no_picture_is_not_shown_as_a_broken_one_and_the_next_photo_is_shown(page, tmp_path):
    (tmp_path / "letter.jpg").write_text("Dear reader")
    page.set_input_files("#photo input[type=file]", tmp_path / "letter.jpg")
    page.locator("#photo img[data-unshown]").wait_for(state="hidden")
    page.set_input_files("#photo input[type=file]", EXAMPLES / "astronaut.jpg")
    page.locator("#photo img:not([data-unshown])").wait_for()


@pytest.mark.slow
def test_one_of_two_faces_is_chosen_by_a_click(page, two_people, short_speech):
    give(page, two_people, short_speech)
    assert "2 faces" in page.locator("#note").inner_text()
    picture = page.locator("#found img")
    box = picture.bounding_box()
    # The photo is twice as wide as high and fills the width of the box.
    picture.click(position={"x": box["width"] * 0.24, "y": box["height"] * 0.45})
    page.get_by_text("2 will speak").wait_for()
    page.locator("#animate").click()
    # Behind the astronaut it is light, behind the admiral dark.
    pixels = film(page)["pixels"]
    above = [sum(pixels[4 * (64 * y + x) : 4 * (64 * y + x) + 3]) / 3 for y in range(2, 8) for x in range(48, 62)]
    assert sum(above) / len(above) > 120


@pytest.mark.slow
def test_intermediate_results_are_shown_on_request(page, short_speech):
    give(page, EXAMPLES / "astronaut.jpg", short_speech)
    show_tab(page, "Inside")
    page.locator("#look-inside input").check()
    page.locator("#animate").click()
    film(page)
    show_tab(page, "Inside")
    page.locator("#inside video").wait_for()
    page.locator("#curves img").wait_for()
    page.locator("a[href$='-landmarks.npz']").wait_for()


@pytest.mark.slow
def test_settings_are_compared_in_one_film_that_plays_while_it_is_drawn(page, tmp_path):
    give(page, EXAMPLES / "astronaut.jpg", speech_of(3, tmp_path / "speech.wav"))
    show_tab(page, "Compare")
    page.evaluate(PLAYED, "#grid")
    page.locator("#compare").click()
    shown = film(page, "#grid video")
    assert shown["seconds"] == pytest.approx(3, abs=0.1)
    assert shown["sounds"] > 0
    assert page.evaluate("() => window.trouble") == []
    assert [at for source, at in page.evaluate("() => seen") if source == "blob:" and at > 0]
    assert "3.0 s of video" in page.locator("#grid-summary").inner_text()
    with page.expect_download() as download:
        page.locator("#grid a[download]").click()
    assert Path(download.value.path()).read_bytes()[4:8] == b"ftyp"
    assert download.value.suggested_filename == "astronaut-compared.mp4"
    page.locator("#stop").click()  # when nothing is being drawn any more, what was made stays
    assert page.locator("#grid video").is_visible()
    width, height = page.evaluate(
        "() => { const v = document.querySelector('#grid video'); return [v.videoWidth, v.videoHeight]; }"
    )
    assert width == 1024
    assert 512 < height < 640


WIDEST = """
window.widest = 0;
(function look() {
  window.widest = Math.max(widest, document.documentElement?.scrollWidth ?? 0);
  requestAnimationFrame(look);
})();
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [{"viewport": {"width": 375, "height": 740}, "has_touch": True, "is_mobile": True}], indirect=True
)
def test_the_page_fits_a_phone(page, short_speech):
    page.add_init_script(WIDEST)
    page.reload()
    page.locator("#animate").wait_for()
    give(page, EXAMPLES / "astronaut.jpg", short_speech)
    page.locator("#animate").tap()
    film(page)
    page.wait_for_function(
        """() => {
          const box = document.querySelector('#result').getBoundingClientRect();
          return box.top >= 0 && box.bottom <= 741;
        }"""
    )
    assert page.locator("#result").bounding_box()["width"] <= 375
    assert page.evaluate("() => widest") <= 375


@pytest.mark.parametrize(
    "page", [{"viewport": {"width": 375, "height": 740}, "has_touch": True, "is_mobile": True}], indirect=True
)
def test_on_a_phone_an_example_is_two_taps_away(page):
    page.get_by_role("link", name="Try an example").tap()
    page.locator("#examples tbody tr").first.tap()
    film(page, name="")


RECEIVED = """() => {
  window.received = {said: 0, loudest: 0, pictures: []};
  const add = Player.prototype.add;
  Player.prototype.add = function (message) {
    add.call(this, message);
    received.said = new DataView(message).getUint32(4, true);
    received.loudest = Math.max(received.loudest, ...new Int16Array(message, 12, 640));
  };
  Session.prototype.measure = () => {  // the lower half of the face, small
    const small = new OffscreenCanvas(32, 16).getContext('2d');
    small.drawImage(document.querySelector('#picture'), 128, 256, 256, 128, 0, 0, 32, 16);
    received.pictures.push(Array.from(small.getImageData(0, 0, 32, 16).data));
  };
}"""


@LIVE
@pytest.mark.slow
def test_a_portrait_says_what_the_microphone_records(page, demo):
    page.set_input_files("#photo", EXAMPLES / "astronaut.jpg")
    page.get_by_text("Press Talk").wait_for()
    page.evaluate(RECEIVED)
    page.locator("#begin").click()
    page.wait_for_function("() => received.said > 2 * 16000", timeout=FILM_TIMEOUT)
    assert page.evaluate("() => received.loudest") > 3000
    pictures = page.evaluate("() => received.pictures")
    moved = [max(abs(a - b) for a, b in zip(pictures[0], picture, strict=True)) for picture in pictures]
    assert len(pictures) > 4  # of 50; a busy machine skips some
    assert max(moved) > 20
    page.locator("#emotion").select_option("happy")
    said = page.evaluate("() => received.said")
    page.wait_for_function(f"() => received.said > {said} + 8000", timeout=FILM_TIMEOUT)
    page.locator("#end").click()
    page.get_by_text("begin again").wait_for()
    with Visitor(demo) as visitor:
        until(lambda: visitor.metric("space_live_sessions") == 0)


@LIVE
def test_a_missing_microphone_and_a_demo_that_is_gone_are_said_in_plain_words(page):
    page.set_input_files("#photo", EXAMPLES / "astronaut.jpg")
    page.get_by_text("Press Talk").wait_for()
    missing = "() => Promise.reject(new DOMException('Requested device not found', 'NotFoundError'))"
    page.evaluate(f"() => {{ navigator.mediaDevices.getUserMedia = {missing}; }}")
    page.locator("#begin").click()
    page.get_by_text("No microphone was found.").wait_for()
    page.context.set_offline(True)
    page.set_input_files("#photo", EXAMPLES / "grace_hopper.jpg")
    page.get_by_text("The demo does not answer.").wait_for()


@LIVE
def test_a_photo_that_will_not_do_is_refused_before_anybody_talks_and_an_example_takes_its_place(page, tmp_path):
    Image.linear_gradient("L").resize((400, 300)).save(tmp_path / "landscape.png")
    page.set_input_files("#photo", tmp_path / "landscape.png")
    page.get_by_text("No human face was found").wait_for()
    assert page.locator("#begin").is_disabled()
    page.get_by_role("button", name="Or use an example").click()
    page.get_by_text("Press Talk").wait_for()
    assert page.locator("#begin").is_enabled()


# Contrasts to what is behind, by WCAG 2.2 (level AA).
CONTRAST = """
  const pixel = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  const colour = (text) => {
    pixel.clearRect(0, 0, 1, 1);
    pixel.fillStyle = text;
    pixel.fillRect(0, 0, 1, 1);
    return pixel.getImageData(0, 0, 1, 1).data;
  };
  const luminance = (rgb) => {
    const [red, green, blue] = Array.from(rgb.slice(0, 3), (value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05;
  };
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const rgba = colour(getComputedStyle(element).backgroundColor);
      if (rgba[3] > 200) return rgba;
    }
    return colour('white');
  };
  const contrast = (...colours) => {
    const [one, other] = colours.map(luminance);
    return Math.max(one, other) / Math.min(one, other);
  };
"""
FAINT_TEXTS = f"""() => {{
  {CONTRAST}
  return [...document.querySelectorAll('body *')].filter((element) => {{
    const isText = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!element.checkVisibility() || !(isText || element.placeholder)) return false;
    const style = getComputedStyle(element, isText ? null : '::placeholder');
    return contrast(colour(style.color), behind(element)) < 4.5;
  }}).map((element) => element.innerText || element.placeholder);
}}"""
FAINT_FIELDS = f"""() => {{
  {CONTRAST}
  const hasEdge = (element) => {{
    const style = getComputedStyle(element), around = behind(element.parentElement);
    const edge = parseFloat(style.borderTopWidth) ? contrast(colour(style.borderTopColor), around) : 1;
    return Math.max(edge, contrast(behind(element), around)) >= 3;
  }};
  return [...document.querySelectorAll('textarea, input:is([type=number], [type=radio], [type=checkbox])')]
    .filter((field) => field.checkVisibility() && !field.checked)
    .filter((field) => !hasEdge(field) && !hasEdge(field.parentElement))  // a number and its buttons share an edge
    .map((field) => field.outerHTML);
}}"""
FAINT_OR_SMALL_ICONS = f"""() => {{
  {CONTRAST}
  return [...document.querySelectorAll('button:has(svg)')].filter((button) => {{
    const {{width, height}} = button.getBoundingClientRect();
    const isFaint = contrast(colour(getComputedStyle(button.querySelector('svg')).color), behind(button)) < 3;
    return button.checkVisibility() && (isFaint || Math.min(width, height) < 24);
  }}).map((button) => button.ariaLabel || button.innerText);
}}"""


@pytest.mark.parametrize("page", [{"color_scheme": "dark"}], indirect=True)
def test_the_page_is_dark_where_the_visitors_system_is_and_can_be_read_in_the_dark_and_in_the_light(page):
    def brightness(property):
        colour = page.evaluate(f"() => getComputedStyle(document.body).{property}")
        return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3

    page.locator("#advanced button").first.click()
    page.get_by_text("Seed", exact=True).first.wait_for()
    give(page, speech=EXAMPLES / "english_starlight.flac")
    page.get_by_role("button", name="Trim audio").wait_for()
    assert brightness("backgroundColor") < 60
    assert brightness("color") > 180
    assert not page.evaluate(FAINT_TEXTS)
    assert not page.evaluate(FAINT_FIELDS)
    assert not page.evaluate(FAINT_OR_SMALL_ICONS)
    page.locator("#theme").click()
    page.wait_for_timeout(1000)  # the colours change softly
    assert brightness("backgroundColor") > 200
    assert not page.evaluate(FAINT_TEXTS)
    assert not page.evaluate(FAINT_FIELDS)
    assert not page.evaluate(FAINT_OR_SMALL_ICONS)


def test_everything_that_can_be_operated_has_a_name(page):
    page.locator("#examples tbody tr").first.click()
    page.get_by_role("button", name="Advanced").click()
    page.locator("#found img").wait_for()
    for tab in ("Text", "From a video", "Inside", "Compare", "Video"):
        show_tab(page, tab)
        operated = r"- (button|link|checkbox|radio|slider|spinbutton|textbox|combobox|tab|grid|gridcell)(?: \[.*)?:?"
        for line in page.locator("body").aria_snapshot().splitlines():
            assert not re.fullmatch(operated, line.strip()), line
    assert page.get_by_role("gridcell", name="mona lisa").count() == 1
    assert page.locator(".empty[aria-label]:not([role])").count() == 0
    for group in ("Next time", "Framing"):
        assert page.get_by_role("group", name=group).get_by_role("radio").count() == 2
    show_tab(page, "Compare")
    assert page.get_by_role("group", name="Settings").get_by_role("radio").count() == 3
    assert page.get_by_role("group", name="Setting 2", exact=True).get_by_role("combobox").count() == 1


@pytest.mark.parametrize("page", [{"locale": "de-DE"}], indirect=True)
def test_the_page_is_in_english_whatever_the_language_of_the_browser(page):
    page.locator("#photo").get_by_text("Drop Image Here").wait_for()
    assert page.evaluate("() => document.documentElement.lang") == "en"


def test_everything_can_be_reached_by_keyboard(page):
    reached, outlines = set(), set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => document.activeElement.closest('[id]')?.id"))
        if page.evaluate("() => document.activeElement.matches('[type=range], [role=combobox]')"):
            outlines.add(page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle"))
    assert {"animate", "stop"} <= reached
    assert outlines == {"solid"}  # where the keyboard is shows on sliders and choices, too
    named = page.evaluate(
        """() => [...document.querySelectorAll('button, input, textarea')]
          .filter((e) => e.checkVisibility() && e.type !== 'file')
          .filter((e) => !(e.innerText || e.ariaLabel || e.title || e.labels?.length || e.placeholder)).length"""
    )
    assert named == 0
