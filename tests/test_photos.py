"""Photos: common formats are read in their right colours, unusable files are refused with one sentence."""

import re
import signal
import struct
import subprocess
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import psutil
import pytest
from conftest import until
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from refusals import refusal

from space_core.errors import ServerFault, SpaceError
from space_core.media.image_decoding import BACKGROUND, MAX_SIDE
from space_core.media.images import DRAFT_SIDE, load_draft, load_photo

# ------------------------------------------------------------------------------------------------------ photos are read

PATTERN = np.zeros((80, 120, 3), np.uint8)  # four colours, so that a wrong turn or channel order shows
PATTERN[:40, :60], PATTERN[:40, 60:], PATTERN[40:, :60], PATTERN[40:, 60:] = (
    (230, 20, 20),
    (20, 230, 20),
    (20, 20, 230),
    (220, 200, 40),
)


def assert_pattern(photo, tolerance=6):
    assert photo.shape == PATTERN.shape
    assert photo.dtype == np.uint8
    for y, x in ((20, 30), (20, 90), (60, 30), (60, 90)):
        assert np.abs(photo[y, x].astype(int) - PATTERN[y, x]).max() <= tolerance


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp", "a.gif", "a.tiff", "a.jp2", "a.ppm", "a.avif"])
def test_every_usual_kind_of_photo_loads(tmp_path, name):
    options = {"a.jpg": {"quality": 95, "subsampling": 0}, "a.webp": {"lossless": True}}.get(name, {})
    Image.fromarray(PATTERN).save(tmp_path / name, **options)
    assert_pattern(load_photo(tmp_path / name), tolerance=12)
    assert_pattern(load_photo(str(tmp_path / name)), tolerance=12)


@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_an_icon_is_a_photo(tmp_path, size):
    Image.fromarray(PATTERN).resize((size, size)).save(tmp_path / "a.ico", sizes=[(size, size)])
    if size < 64:
        assert "too small" in refusal(load_photo, tmp_path / "a.ico")
    else:
        assert load_photo(tmp_path / "a.ico").shape == (size, size, 3)


def test_a_draft_is_a_reduced_photo(tmp_path):
    Image.fromarray(PATTERN).resize((6000, 4000)).save(tmp_path / "a.jpg")
    draft, scale = load_draft(tmp_path / "a.jpg")
    assert max(draft.shape) == DRAFT_SIDE
    assert scale == MAX_SIDE / DRAFT_SIDE
    Image.fromarray(PATTERN).save(tmp_path / "a.png")
    draft, scale = load_draft(tmp_path / "a.png")
    assert_pattern(draft)
    assert scale == 1


def test_open_images_and_arrays_load():
    assert_pattern(load_photo(Image.fromarray(PATTERN)))
    assert_pattern(load_photo(PATTERN))
    assert_pattern(load_photo(PATTERN[:, ::-1])[:, ::-1])
    assert load_photo(PATTERN[..., 0]).shape == PATTERN.shape


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tiff", "a.webp"])
def test_the_camera_s_orientation_is_applied_once(tmp_path, name, orientation):
    undo = [None, None, 0, 3, 1, 5, 2, 6, 4][orientation]  # Pillow's transposes, as a camera would have stored them
    stored = Image.fromarray(PATTERN) if undo is None else Image.fromarray(PATTERN).transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / name, exif=exif, **({"lossless": True} if name == "a.webp" else {}))
    assert_pattern(load_photo(tmp_path / name), tolerance=12)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_become_the_background(tmp_path, mode):
    image = Image.fromarray(np.dstack([PATTERN, np.full((80, 120), 255, np.uint8)]))
    image.paste((0, 0, 0, 0), (0, 0, 60, 40))
    image.convert(mode).save(tmp_path / "a.png")
    photo = load_photo(tmp_path / "a.png")
    assert tuple(photo[20, 30]) == BACKGROUND
    assert np.abs(photo[20, 90].astype(int) - BACKGROUND).max() > 30


def test_a_transparent_colour_of_a_palette_becomes_the_background(tmp_path):
    image = Image.fromarray(PATTERN).quantize(8)
    image.save(tmp_path / "a.gif", transparency=image.getpixel((30, 20)))
    assert tuple(load_photo(tmp_path / "a.gif")[20, 30]) == BACKGROUND


def test_a_gifs_first_frame_is_taken(tmp_path):
    others = [Image.new("RGB", (120, 80), colour) for colour in ("white", "black")]
    Image.fromarray(PATTERN).save(tmp_path / "a.gif", save_all=True, append_images=others)
    assert_pattern(load_photo(tmp_path / "a.gif"))


def test_cmyk_and_grey_and_bilevel_load(tmp_path):
    Image.fromarray(PATTERN).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    assert_pattern(load_photo(tmp_path / "cmyk.jpg"), tolerance=30)
    Image.fromarray(PATTERN).convert("CMYK").save(tmp_path / "cmyk.tiff")
    assert_pattern(load_photo(tmp_path / "cmyk.tiff"))
    for mode in ("L", "1"):
        Image.fromarray(PATTERN).convert(mode).save(tmp_path / "a.png")
        photo = load_photo(tmp_path / "a.png")
        assert photo.shape == PATTERN.shape
        assert np.ptp(photo, axis=2).max() == 0


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_16_bit_grey_keeps_its_shades(tmp_path, name):
    ramp = np.tile(np.linspace(0, 65535, 128).astype(np.uint16), (80, 1))
    Image.fromarray(ramp).save(tmp_path / name)
    photo = load_photo(tmp_path / name)
    assert int(photo[0, 0, 0]) == 0
    assert int(photo[0, -1, 0]) == 255
    assert int(photo[0, 64, 0]) == pytest.approx(128, abs=2)


@pytest.mark.parametrize(("white", "kind"), [(1.0, "f4"), (255.0, "f4"), (65535, "i4"), (255, "i4")])
def test_32_bit_grey_finds_its_white(tmp_path, white, kind):
    Image.fromarray(np.tile((np.linspace(0, 1, 128) * white).astype(kind), (80, 1))).save(tmp_path / "a.tiff")
    photo = load_photo(tmp_path / "a.tiff")
    assert int(photo[0, -1, 0]) == 255
    assert int(photo[0, 64, 0]) == pytest.approx(128, abs=2)


def test_an_embedded_profile_is_converted_to_srgb(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(PATTERN).save(tmp_path / "a.png", icc_profile=profile)
    assert_pattern(load_photo(tmp_path / "a.png"))
    Image.fromarray(PATTERN).save(tmp_path / "a.png", icc_profile=b"no profile" * 20)
    assert_pattern(load_photo(tmp_path / "a.png"))


def test_a_photo_may_have_megabytes_of_compressed_text(tmp_path):
    text = PngInfo()
    text.add_text("workflow", "step " * 500_000, zip=True)
    Image.fromarray(PATTERN).save(tmp_path / "a.png", pnginfo=text)
    assert_pattern(load_photo(tmp_path / "a.png"))


def test_a_large_photo_is_scaled_down(tmp_path):
    Image.new("RGB", (6000, 3000), (10, 200, 30)).save(tmp_path / "a.jpg")
    Image.new("LA", (6000, 3000), (200, 255)).save(tmp_path / "a.png")
    for name in ("a.jpg", "a.png"):
        photo = load_photo(tmp_path / name)
        assert photo.shape[1] <= MAX_SIDE
        assert photo.shape[1] / photo.shape[0] == pytest.approx(2, abs=0.01)


# --------------------------------------------------------------------------------------------------- photos are refused


def test_what_is_no_photo_is_refused(tmp_path):
    assert "no photo 'gone.jpg'" in refusal(load_photo, tmp_path / "gone.jpg")
    assert "is a folder" in refusal(load_photo, tmp_path)
    assert "No photo was given" in refusal(load_photo, None)
    assert "path of its file, not as a value of type bytes" in refusal(load_photo, b"photo.jpg")
    (tmp_path / "empty.jpg").touch()
    assert "empty (0 bytes)" in refusal(load_photo, tmp_path / "empty.jpg")
    (tmp_path / "text.jpg").write_text("not a picture")
    assert "not an image" in refusal(load_photo, tmp_path / "text.jpg")
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500))
    assert "HEIC" in refusal(load_photo, tmp_path / "photo.heic")


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL photo, which can't be read"),
        (b"II*\0\x10\0\0\0CR\2\0", "a raw photo"),
        (b"8BPS\0\1", "a Photoshop file, which can't be read"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg">', "a drawing (SVG)"),
        (b"\xef\xbb\xbf<!-- Generator: a program with a long name, and its version -->\n<svg>", "a drawing (SVG)"),
        (b"PK\x03\x04", "an archive or a document"),
        (b"%PDF-1.7\n", "a PDF, not a photo"),
        (b"\n<!DOCTYPE html><title>Not found</title>", "a web page, not a photo"),
        (b"\0\0\0\x20ftypisom\0\0\2\0", "a video, not a photo"),
        (b"ID3\4\0\0", "a recording, not a photo"),
    ],
)
def test_what_is_given_instead_of_a_photo_is_called_what_it_is(tmp_path, start, kind):
    (tmp_path / "photo.jpg").write_bytes(start + bytes(500))
    assert f"'photo.jpg' is {kind}" in refusal(load_photo, tmp_path / "photo.jpg")


def test_documents_are_no_photos(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\nshowpage\n")
    assert "not an image" in refusal(load_photo, tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp", "a.gif", "a.tiff", "a.jp2", "a.avif"])
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_a_truncated_image_is_refused(tmp_path, name, part):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(part * len(content))])
    assert "damaged" in refusal(load_photo, tmp_path / name)


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.bmp"])
def test_20000_by_20000_is_refused_before_it_is_decoded(tmp_path, name):
    Image.new("L", (100, 100)).save(tmp_path / name)
    content = bytearray((tmp_path / name).read_bytes())
    place, order, width = {"a.png": (16, "big", 4), "a.gif": (6, "little", 2), "a.bmp": (18, "little", 4)}[name]
    content[place : place + 2 * width] = (20000).to_bytes(width, order) * 2
    if name == "a.png":
        content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    (tmp_path / name).write_bytes(content)
    # The pixels are missing, so an attempt to decode them would be refused as damaged.
    assert re.search("400 megapixels.*limit is 64 megapixels", refusal(load_photo, tmp_path / name))


def test_65_megapixels_are_refused_with_their_size(tmp_path):
    Image.new("1", (8100, 8100)).save(tmp_path / "a.png")
    assert "8100 x 8100" in refusal(load_photo, tmp_path / "a.png")


def test_a_large_photo_of_a_slow_format_is_refused(tmp_path):
    Image.new("1", (5700, 5700)).save(tmp_path / "a.png")
    assert "limit of this format is 32 megapixels" in refusal(load_photo, tmp_path / "a.png")


def test_a_jpeg_of_hundreds_of_scans_is_refused_before_they_are_decoded(tmp_path):
    """Every scan goes through all pixels: 64 megapixels and 600 scans, in 246 kB, took 32 s."""
    Image.new("L", (2000, 2000), 100).save(tmp_path / "a.jpg", progressive=True)
    assert load_photo(tmp_path / "a.jpg").shape == (2000, 2000, 3)
    content = (tmp_path / "a.jpg").read_bytes()
    last = content[content.rindex(b"\xff\xda") : -2]
    (tmp_path / "a.jpg").write_bytes(content[:-2] + 600 * last + content[-2:])
    assert re.search("6.. scans, which takes too long", refusal(load_photo, tmp_path / "a.jpg"))


@pytest.mark.filterwarnings("error")
def test_libraries_say_nothing_about_a_damaged_photo(tmp_path, capfd):
    Image.fromarray(PATTERN).save(tmp_path / "a.tiff", compression="tiff_lzw")
    content = bytearray((tmp_path / "a.tiff").read_bytes())
    for place in range(8, len(content), 7):
        content[place] ^= 0x55
        (tmp_path / "a.tiff").write_bytes(content)
        with suppress(SpaceError):
            load_photo(tmp_path / "a.tiff")
    assert capfd.readouterr() == ("", "")


def test_scans_of_a_thumbnail_do_not_count(tmp_path):
    exif = Image.Exif()
    exif[0x010E] = b"\xff\xda\x00\x08" * 4000
    Image.fromarray(PATTERN).resize((3000, 2000)).save(tmp_path / "a.jpg", progressive=True, exif=exif)
    assert load_photo(tmp_path / "a.jpg").shape == (2000, 3000, 3)


def test_a_bitmap_that_only_slow_code_can_decompress_is_refused(tmp_path):
    Image.new("P", (5000, 5000)).save(tmp_path / "a.bmp")
    content = bytearray((tmp_path / "a.bmp").read_bytes())
    content[30] = 1  # run lengths
    (tmp_path / "a.bmp").write_bytes(content)
    assert "takes too long to read" in refusal(load_photo, tmp_path / "a.bmp")


@pytest.mark.skipif(sys.platform != "linux", reason="processes have limits on Linux only")
def test_a_photo_for_which_there_is_no_memory_is_not_called_damaged(tmp_path):
    Image.new("RGBA", (5600, 5600)).save(tmp_path / "a.png", compress_level=1)
    program = """
import resource, sys
from space_core import SpaceError
from space_core.media.images import DRAFT_SIDE, load_draft, load_photo
limit = 420_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    load_photo(sys.argv[1])
except SpaceError as error:
    print(error)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "a.png")]
    assert "not enough memory" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def photo_readers():
    """The processes that decode photos."""
    return [child for child in psutil.Process().children() if "decoding_worker" in " ".join(child.cmdline())]


def num_watched():
    """How many processes of this one have a limit of time at the moment."""
    return sum(thread.name == "watchdog" for thread in threading.enumerate())


@pytest.fixture
def held_photo(tmp_path):
    """A photo that is being loaded by a process that is suspended, and the future of its array."""
    path = tmp_path / "held.png"
    Image.fromarray(PATTERN).save(path)
    load_photo(path)
    readers, others = photo_readers(), num_watched()
    for reader in readers:
        reader.suspend()
    with ThreadPoolExecutor(len(readers)) as threads:
        loading = [threads.submit(load_photo, path) for _ in readers]
        # Each of them has a reader when its time limit runs.
        until(lambda: num_watched() == others + len(readers))
        yield path, loading[0], readers
        for reader in readers:
            with suppress(psutil.NoSuchProcess):
                reader.resume()


@pytest.mark.skipif(sys.platform == "win32", reason="it has no signals")
def test_a_photo_does_not_wait_for_another(held_photo):
    path, loading, _ = held_photo
    assert_pattern(load_photo(path))
    assert not loading.done()


@pytest.mark.skipif(sys.platform == "win32", reason="it has no signals")
@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("SIGPROF", "'held.png' takes too long to read"),  # the limit of time
        ("SIGSEGV", "'held.png' is damaged"),
        ("SIGKILL", "not enough memory"),  # what the system does when it has none left
    ],
)
def test_a_photo_that_ends_its_reader_is_refused_and_the_next_one_is_read(held_photo, number, message):
    path, loading, readers = held_photo
    for reader in readers:
        reader.send_signal(getattr(signal, number))
        with suppress(psutil.NoSuchProcess):
            reader.resume()
    with pytest.raises(SpaceError, match=message):
        loading.result()
    assert_pattern(load_photo(path))


def _png(path, light_to_values, *chunks):
    """Writes a PNG of 16 bits of greys and colours; returns what they are in sRGB."""
    light = np.random.default_rng(0).random((6, 6, 3)).repeat(16, 0).repeat(16, 1) ** 2
    values = np.round(light_to_values(light).clip(0, 1) * 65535).astype(">u2")

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in values))
    head = struct.pack(">IIBBBBB", 96, 96, 16, 2, 0, 0, 0)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
    return np.round(255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055))


# Linear light with sRGB's primaries in those of Display P3 and of BT.2020.
IN_P3 = np.array([[0.8225, 0.1774, 0], [0.0332, 0.9669, 0], [0.0171, 0.0724, 0.9108]])
IN_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


def _pq(light):
    power = (light * 203 / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def _hlg(light):
    display = light * 203 / 1000
    scene = display * (display @ [0.2627, 0.6780, 0.0593])[..., None] ** (1 / 1.2 - 1)
    bright = 0.17883277 * np.log((12 * scene - 0.28466892).clip(1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)


CODED = {
    "linear": (lambda light: light, (b"gAMA", struct.pack(">I", 100_000))),
    "gamma_1.8": (lambda light: light ** (1 / 1.8), (b"gAMA", struct.pack(">I", 55_556))),
    "display_p3": (lambda light: (light @ IN_P3.T) ** (1 / 2.2), (b"cICP", bytes([12, 4, 0, 1]))),
    "pq": (lambda light: _pq(0.6 * light @ IN_BT2020.T), (b"cICP", bytes([9, 16, 0, 1]))),
    "hlg": (lambda light: _hlg(0.6 * light @ IN_BT2020.T), (b"cICP", bytes([9, 18, 0, 1]))),
}


@pytest.mark.parametrize("coding", CODED)
def test_a_photo_that_says_how_its_colours_are_coded_has_these_colours(tmp_path, coding):
    values, chunk = CODED[coding]
    expected = _png(tmp_path / "photo.png", values, chunk)
    if coding in ("pq", "hlg"):  # below the light that is compressed
        expected = 255 * (1.055 * (0.6 * ((expected / 255 + 0.055) / 1.055) ** 2.4) ** (1 / 2.4) - 0.055)
    decoded = load_photo(tmp_path / "photo.png")
    is_light = expected > 60  # of the darkest values few bits are left
    assert np.abs(decoded - expected)[is_light].max() < 8
    assert np.abs(decoded - expected)[is_light].mean() < 1.5


def test_a_photo_whose_profile_is_for_hdr_is_mapped_to_sdr(tmp_path):
    tag = b"cicp" + (144).to_bytes(4, "big") + (12).to_bytes(4, "big")
    profile = bytes(128) + (1).to_bytes(4, "big") + tag + b"cicp" + bytes(4) + bytes([9, 16, 0, 1])
    paper = round(255 * float(_pq(np.ones(1))[0]))
    Image.new("RGB", (64, 64), (paper, paper, paper)).save(tmp_path / "photo.jpg", icc_profile=profile)
    assert load_photo(tmp_path / "photo.jpg").min() > 230


def test_highlights_of_an_hdr_photo_keep_their_shape(tmp_path):
    ramp = np.linspace(0.5, 3, 96)[None, :, None].repeat(96, 0).repeat(3, 2)
    _png(tmp_path / "photo.png", lambda _: _pq(ramp), (b"cICP", bytes([9, 16, 0, 1])))
    (row,) = load_photo(tmp_path / "photo.png")[:1, ::8, 0].astype(int)
    assert (np.diff(row)[:6] > 0).all()
    assert 250 <= row[-1] <= 255


def test_an_avif_of_a_wide_gamut_without_a_profile_has_its_colours(tmp_path):
    photo = np.full((64, 64, 3), (200, 60, 40), np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.avif", quality=100, subsampling="4:4:4")
    content = (tmp_path / "photo.avif").read_bytes()
    code = content.index(b"colrnclx") + 8
    (tmp_path / "photo.avif").write_bytes(content[:code] + bytes([0, 12]) + content[code + 2 :])
    assert np.abs(load_photo(tmp_path / "photo.avif").astype(int) - (217, 43, 22)).max() < 4


@pytest.mark.parametrize(("index", "shown"), [("R03", (232, 57, 34)), ("R98", (200, 60, 40)), (None, (200, 60, 40))])
def test_a_photo_of_a_camera_that_says_adobe_rgb_in_its_exif_data_has_its_colours(tmp_path, index, shown):
    exif = Image.Exif()
    exif[0x8769] = {0xA001: 0xFFFF} | ({0xA005: {1: index, 2: b"0100"}} if index else {})
    Image.new("RGB", (64, 64), (200, 60, 40)).save(tmp_path / "photo.jpg", quality=100, exif=exif)
    assert np.abs(load_photo(tmp_path / "photo.jpg").astype(int) - shown).max() < 4


@pytest.mark.parametrize(
    "chunk",
    [
        (b"cICP", b"\x09"),
        (b"cICP", b"\xff\xff\x00\x01"),
        (b"gAMA", bytes(4)),
        (b"gAMA", b"\xff\xff\xff\xff"),
        (b"cHRM", bytes(32)),
        (b"cHRM", struct.pack(">8I", 31270, 32900, 10000, 10000, 20000, 20000, 30000, 30000)),
    ],
)
def test_senseless_codings_are_ignored(tmp_path, chunk):
    expected = _png(
        tmp_path / "photo.png", lambda light: light ** (1 / 2.2), (b"gAMA", struct.pack(">I", 45455)), chunk
    )
    assert np.abs(load_photo(tmp_path / "photo.png") - expected)[expected > 60].max() < 5


def test_a_tiny_or_a_very_narrow_image_is_refused():
    assert "too small: 63 x 500" in refusal(load_photo, Image.new("RGB", (63, 500)))
    assert "too narrow" in refusal(load_photo, Image.new("RGB", (70, 20_000)))


@pytest.mark.parametrize("shape", [(0, 0, 3), (100, 100, 2), (100,), (2, 100, 100, 3)])
def test_arrays_of_other_shapes_are_refused(shape):
    assert "shape (H, W, 3)" in refusal(load_photo, np.zeros(shape, np.uint8))


def test_arrays_of_other_types_are_refused():
    assert "uint8" in refusal(load_photo, np.zeros((100, 100, 3), np.float32))


@pytest.mark.parametrize("box", [b"pitm", b"iloc", b"iinf", b"av01", b"hdlr"])
def test_an_avif_without_one_of_its_boxes_is_refused_as_unreadable(tmp_path, box):
    """Pillow's decoder raises a RuntimeError, which was taken for a fault of the server."""
    Image.new("RGB", (128, 128), (90, 140, 60)).save(tmp_path / "a.avif")
    (tmp_path / "a.avif").write_bytes((tmp_path / "a.avif").read_bytes().replace(box, b"free"))
    with pytest.raises(SpaceError, match=r"a\.avif") as refusal:
        load_photo(tmp_path / "a.avif")
    assert not isinstance(refusal.value, ServerFault)
