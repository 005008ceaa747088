"""16-bit images that hold fewer bits: their range is stated once for the dataset, and asked for where it is not."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from visiontasks.data import ImageFolder
from visiontasks.data.pipeline.reader import inspect_image, read_image
from visiontasks.errors import InputError

MICROSCOPE = np.array([[0, 8, 9, 2048], [4095, 16, 1024, 4080]], np.uint16)  # 12 bits
AS_8_BITS = [[0, 0, 1, 128], [255, 1, 64, 254]]  # 255 * value / 4095, rounded


def save_colours(path: Path, grey: Any, alpha: int | None = None) -> Path:
    bands = [grey // 4, grey // 2, grey]  # blue, green, red
    cv2.imwrite(str(path), np.stack(bands if alpha is None else [*bands, np.full_like(grey, alpha)], axis=2))
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_of_a_stated_range_fills_8_bits(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(MICROSCOPE).save(tmp_path / f"a{suffix}")
    for read in (read_image, lambda path, **options: inspect_image(path, **options)[0]):
        image = read(tmp_path / f"a{suffix}", max_16bit=4095)
        np.testing.assert_array_equal(image, np.repeat(np.array(AS_8_BITS)[:, :, None], 3, 2))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_colours_of_a_stated_range_keep_what_the_lower_byte_holds(tmp_path: Path, suffix: str) -> None:
    path = save_colours(tmp_path / f"a{suffix}", MICROSCOPE)
    image = read_image(path, max_16bit=4095)
    np.testing.assert_array_equal(image[:, :, 0], AS_8_BITS)
    np.testing.assert_array_equal(image[1, 0], [255, 127, 64])  # 4095, 2047, 1023
    assert read_image(path).max() == 15  # as 16 bits


def test_transparency_always_has_the_whole_range(tmp_path: Path) -> None:
    path = save_colours(tmp_path / "a.png", MICROSCOPE, alpha=65535)
    np.testing.assert_array_equal(read_image(path, max_16bit=4095)[:, :, 0], AS_8_BITS)


def test_turned_colours_are_upright(tmp_path: Path) -> None:
    path = save_colours(tmp_path / "a.png", MICROSCOPE)
    whole = read_image(path, max_16bit=4095)
    exif = Image.Exif()
    exif[0x0112] = 6
    content = path.read_bytes()
    chunk = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    behind_header = 8 + 25
    made = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(content[:behind_header] + made + content[behind_header:])
    np.testing.assert_array_equal(read_image(path, max_16bit=4095), np.rot90(whole, -1))


def test_8_bits_have_no_other_range(tmp_path: Path) -> None:
    Image.fromarray(np.array([[7, 200]], np.uint8)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", max_16bit=4095)[0, :, 0].tolist() == [7, 200]


def test_a_value_above_the_stated_range_is_refused(tmp_path: Path) -> None:
    Image.fromarray(MICROSCOPE + 1).save(tmp_path / "a.png")
    with pytest.raises(
        InputError, match=r"a\.png: values up to 4096, expected at most 4095 \(data\.init_args\.max_16bit"
    ):
        read_image(tmp_path / "a.png", max_16bit=4095)


@pytest.fixture
def images(tmp_path: Path) -> Callable[..., Path]:
    """`images(scale)`: a folder of two classes with three 16-bit images each, of the microscope times scale."""

    def write(scale: int, save: Callable[[Path, Any], object] = lambda p, a: Image.fromarray(a).save(p)) -> Path:
        for name in ("cat", "dog"):
            (tmp_path / name).mkdir()
            for i in range(3):
                save(tmp_path / name / f"{i}.png", MICROSCOPE * np.uint16(scale if i else 1))
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("save", "largest"),
    [(lambda p, a: Image.fromarray(a).save(p), 4095), (save_colours, 4095)],
    ids=["grey", "colours"],
)
def test_images_that_leave_most_of_the_range_unused_are_refused_until_it_is_stated(
    images: Callable[..., Path], save: Any, largest: int
) -> None:
    root = str(images(1, save))
    with pytest.raises(
        InputError, match=rf"max_16bit: not stated, but .* no value above {largest} of 65535 \(6 looked"
    ):
        ImageFolder(root).setup()
    for stated, red in ((4095, AS_8_BITS[1][0]), (65535, 15 if save is save_colours else 16)):
        data = ImageFolder(root, max_16bit=stated)
        data.setup()
        assert data.source("train")[0]["image"][1, 0, 0] == red


def test_a_dataset_is_scaled_alike_whatever_an_image_holds(images: Callable[..., Path]) -> None:
    data = ImageFolder(str(images(16)))  # a third of the images is dark
    data.setup()
    largest = sorted(
        {int(data.source(split)[i]["image"].max()) for split, n in data.split_sizes.items() for i in range(n)}
    )
    assert largest == [16, 255]


@pytest.mark.parametrize("value", [0, 255, 65536])
def test_a_range_that_is_none_is_refused(value: int) -> None:
    with pytest.raises(InputError, match=rf"data\.init_args\.max_16bit: {value}, expected 256 to 65535"):
        ImageFolder("images", max_16bit=value)
