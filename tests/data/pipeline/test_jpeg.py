"""What OpenCV decodes in PIL's place has PIL's pixels; all else is left to PIL."""

import io
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_image

from visiontasks.data.pipeline import jpeg
from visiontasks.data.pipeline.jpeg import jpeg_pixels, opencv_agrees, read_plain_jpeg, segments
from visiontasks.data.pipeline.reader import read_image, rgb_array
from visiontasks.errors import InputError

SAMPLING = {"4:4:4": 0x111111, "4:2:2": 0x211111, "4:2:0": 0x221111, "4:4:0": 0x121111, "4:1:1": 0x411111}
CHINA = load_sample_image("china.jpg")
SIZES = [(1, 1), (7, 5), (16, 16), (17, 33), (101, 99)]  # width, height


def photograph(width: int = 101, height: int = 99) -> np.ndarray:
    return np.ascontiguousarray(CHINA[100 : 100 + height, 200 : 200 + width])


def encoded(pixels: np.ndarray, sampling: str = "4:2:0", *, progressive: bool = False, restarts: int = 0) -> bytes:
    options = {
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR: SAMPLING[sampling],
        cv2.IMWRITE_JPEG_PROGRESSIVE: int(progressive),
        cv2.IMWRITE_JPEG_RST_INTERVAL: restarts,
    }
    return bytes(cv2.imencode(".jpg", pixels[:, :, ::-1], [part for option in options.items() for part in option])[1])


def saved(pixels: np.ndarray, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@pytest.fixture(autouse=True)
def trusted() -> Iterator[None]:
    """Each test asks anew whether OpenCV decodes as PIL does."""
    opencv_agrees.cache_clear()
    yield
    opencv_agrees.cache_clear()


@pytest.mark.parametrize("sampling", SAMPLING)
@pytest.mark.parametrize("progressive", [False, True])
def test_opencv_gives_pils_pixels(sampling: str, progressive: bool) -> None:
    for size, restarts, scale in product(SIZES, (0, 2), (1, 2, 4, 8)):
        if min(size) < scale:
            continue
        content = encoded(photograph(*size), sampling, progressive=progressive, restarts=restarts)
        image, expected = opened(content), opened(content)
        for each in (image, expected):
            each.draft(None, (size[0] // scale, size[1] // scale))
        np.testing.assert_array_equal(jpeg_pixels(image), expected.convert("RGB"))


@pytest.mark.parametrize("options", [{"mode": "L"}, {"keep_rgb": True}, {"optimize": True, "quality": 20}])
def test_grey_and_uncommon_colours_are_pils_too(options: dict[str, Any]) -> None:
    content = saved(photograph(), **options)
    np.testing.assert_array_equal(jpeg_pixels(opened(content)), opened(content).convert("RGB"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_jpeg_is_upright(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "a.jpg").write_bytes(saved(photograph(), exif=exif))
    image = read_image(tmp_path / "a.jpg")
    np.testing.assert_array_equal(image, ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg")))
    assert image.flags.writeable
    assert image.flags.c_contiguous


WHOLE = b"\xff\xd8" + b"\xff\xe0\x00\x04\xff\xd9" + b"\xff\xda\x00\x03\x01" + b"\x12\xff\x00\xff\xd3\x34" + b"\xff\xd9"
SCAN = b"\xff\xda\x00\x03\x02\x56"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (WHOLE, True),
        (WHOLE[:-2] + SCAN + b"\xff\xd9", True),
        (WHOLE[:-1], False),
        (WHOLE[:-2], False),
        (WHOLE[:8], False),  # ends with that of its thumbnail
        (WHOLE + b"\0", False),
        (WHOLE + WHOLE, False),
        (WHOLE[:-2] + WHOLE, False),
        (WHOLE[:-2] + b"\xff\xc0\x00\x02" + SCAN + b"\xff\xd9", False),
        (WHOLE[:8] + b"\x01" + WHOLE[8:], False),
        (b"", False),
    ],
)
def test_whole_is_what_has_no_gap_up_to_its_last_byte(content: bytes, expected: bool) -> None:
    assert bool(segments(content)) is expected


@pytest.mark.parametrize(
    "change",
    [
        lambda whole: whole + bytes(3),
        lambda whole: whole[:-2],
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[: len(whole) // 2] + whole,
        lambda whole: whole + whole,
    ],
)
def test_what_is_cut_off_or_goes_on_is_left_to_pil(change: Callable[[bytes], bytes]) -> None:
    assert jpeg_pixels(opened(encoded(photograph()))) is not None
    assert jpeg_pixels(opened(change(encoded(photograph())))) is None


def test_a_scan_that_runs_into_another_file_is_refused(tmp_path: Path) -> None:
    whole = encoded(photograph())
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) // 2] + whole)
    assert cv2.imread(str(tmp_path / "a.jpg")) is not None
    with pytest.raises(InputError, match=r"a\.jpg: damaged, cannot be decoded"):
        read_image(tmp_path / "a.jpg")


def test_cmyk_and_other_formats_are_left_to_pil() -> None:
    assert jpeg_pixels(opened(saved(photograph(), "CMYK"))) is None
    file = io.BytesIO()
    Image.fromarray(photograph()).save(file, "PNG")
    assert jpeg_pixels(opened(file.getvalue())) is None


def test_an_image_that_was_changed_after_loading_stays_changed() -> None:
    image = opened(saved(photograph()))
    image.paste((0, 0, 0), (0, 0, *image.size))
    assert not rgb_array(image).any()


def test_an_opencv_that_decodes_otherwise_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = saved(photograph())
    (tmp_path / "a.jpg").write_bytes(content)
    assert opencv_agrees()
    opencv_agrees.cache_clear()
    decode = cv2.imdecode
    monkeypatch.setattr(jpeg.cv2, "imdecode", lambda *arguments: decode(*arguments) ^ 1)
    assert not opencv_agrees()
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), opened(content))


def test_more_pixels_than_opencv_allows_are_left_to_pil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = saved(photograph())
    (tmp_path / "a.jpg").write_bytes(content)
    assert opencv_agrees()

    def refuse(*_: Any) -> None:
        raise cv2.error("CV_IO_MAX_IMAGE_PIXELS")

    monkeypatch.setattr(jpeg.cv2, "imdecode", refuse)
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), opened(content))


def test_a_plain_jpeg_is_decoded_without_pil(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(saved(photograph()))  # 101x99
    expected = opened(saved(photograph()))
    np.testing.assert_array_equal(read_plain_jpeg(tmp_path / "a.jpg", None), expected)
    np.testing.assert_array_equal(read_plain_jpeg(tmp_path / "a.jpg", lambda size: (50, 50)), expected)
    assert read_plain_jpeg(tmp_path / "a.jpg", lambda size: (49, 50)) is None  # half of it is enough


def mpo(photo: np.ndarray) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(photo)
    image.save(file, "MPO", save_all=True, append_images=[image])
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        saved(photograph(), exif=Image.Exif()),
        saved(photograph(), xmp=b"<x/>"),
        mpo(photograph()),
        mpo(photograph())[: mpo(photograph()).index(b"\xff\xd9") + 2],
        saved(photograph(), "CMYK"),
        saved(photograph()) + b"\0",
        saved(photograph())[:-2],
        b"",
        b"\x89PNG",
    ],
)
def test_what_is_not_plain_is_opened_by_pil(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    assert read_plain_jpeg(tmp_path / "a.jpg", None) is None


def test_a_missing_file_a_folder_and_a_bomb_are_no_plain_jpegs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(saved(photograph()))
    for path in (tmp_path / "b.jpg", tmp_path):
        assert read_plain_jpeg(path, None) is None
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 101 * 99)
    assert read_plain_jpeg(tmp_path / "a.jpg", None) is not None
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 101 * 99 - 1)
    assert read_plain_jpeg(tmp_path / "a.jpg", None) is None
