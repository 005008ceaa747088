"""Masks of every kind of file: their class indices, or a refusal by name where these are not known."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visiontasks.data.formats.masks import MaskedImage, check_shown, read_masks
from visiontasks.data.pipeline.reader import read_mask
from visiontasks.errors import InputError

RED, GREEN, BLACK, WHITE = (128, 0, 0), (0, 128, 0), (0, 0, 0), (255, 255, 255)
GREY = (128, 128, 128)


def paletted(path: Path, indices: list[int], *colours: tuple[int, int, int]) -> Path:
    image = Image.fromarray(np.array([indices], np.uint8)).convert("P")
    image.putdata(indices)
    image.putpalette([channel for colour in colours for channel in colour])
    image.save(path)
    return path


def grey(path: Path, values: list[int], **options: Any) -> Path:
    Image.fromarray(np.array([values], np.uint8)).save(path, **options)
    return path


def one_bit(path: Path, values: list[int]) -> Path:
    Image.fromarray(np.array([values], np.bool_)).save(path)
    return path


def refusal(*masks: Path) -> str:
    images = []
    for path in masks:
        with Image.open(path) as mask:
            image = path.with_suffix(".image.png")
            Image.new("RGB", mask.size).save(image)
        images.append(MaskedImage(str(image), str(path)))
    read_masks(images)
    assert not [problem for image in images for problem in image.problems]
    try:
        check_shown(images)
    except InputError as error:
        return str(error).replace(f"{masks[0].parent}/", "")
    return ""


@pytest.mark.parametrize("suffix", [".gif", ".png", ".tif"])
def test_a_palette_of_greys_gives_the_greys(tmp_path: Path, suffix: str) -> None:
    # as PIL writes a GIF of the values 0 and 2, or of 2 alone
    assert read_mask(paletted(tmp_path / f"a{suffix}", [0, 1, 1], BLACK, (2, 2, 2))).tolist() == [[0, 2, 2]]
    assert read_mask(paletted(tmp_path / f"b{suffix}", [0, 0, 0], (2, 2, 2), BLACK)).tolist() == [[2, 2, 2]]


def test_a_gif_of_grey_values_has_them(tmp_path: Path) -> None:
    for values in ([0, 1, 2], [0, 2, 2], [2, 2, 2], [0, 0, 255], [7, 200, 3]):
        expected = [0, 0, 1] if 255 in values else values  # black and white alone are taken for 0 and 1
        assert read_mask(grey(tmp_path / "a.gif", values)).tolist() == [expected]


@pytest.mark.parametrize("suffix", [".gif", ".png", ".tif"])
def test_black_and_white_are_0_and_1(tmp_path: Path, suffix: str) -> None:
    assert read_mask(paletted(tmp_path / f"a{suffix}", [0, 1, 1], BLACK, WHITE)).tolist() == [[0, 1, 1]]


def test_a_palette_with_colours_gives_indices_even_where_a_mask_has_only_its_greys(tmp_path: Path) -> None:
    voc = [BLACK, RED, GREEN, (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128), GREY]  # a car is grey
    assert read_mask(paletted(tmp_path / "a.png", [0, 7, 7], *voc)).tolist() == [[0, 7, 7]]


def test_a_palette_that_says_nothing_gives_indices(tmp_path: Path) -> None:
    assert read_mask(paletted(tmp_path / "a.png", [0, 1, 2], BLACK, BLACK, BLACK)).tolist() == [[0, 1, 2]]


def test_one_palette_for_all_masks_may_have_any_colours(tmp_path: Path) -> None:
    masks = [
        paletted(tmp_path / f"{i}.png", values, BLACK, RED, GREEN, RED) for i, values in enumerate([[0, 1], [2, 3]])
    ]
    assert refusal(*masks) == ""
    assert refusal(grey(tmp_path / "grey.png", [0, 1, 2]), *masks) == ""  # as augmented VOC mixes them


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (([0, 1, 2], BLACK, RED, GREEN), ([0, 1, 1], BLACK, GREEN), "0,128,0 has the value 1 in b.png, but 2 in a"),
        (([0, 1, 1], BLACK, RED), ([1, 0, 0], RED, BLACK), "128,0,0 has the value 0 in b.png, but 1 in a"),
        (
            ([0, 1, 1], BLACK, RED),
            ([0, 1, 1], BLACK, GREEN),
            "value 1 is the colour 0,128,0 in b.png, but the colour 128",
        ),
        (
            ([0, 1, 1], BLACK, WHITE),
            ([0, 1, 1], BLACK, RED),
            "value 1 is the colour 128,0,0 in b.png, but the colour 255",
        ),
        (
            ([0, 1, 2], BLACK, GREY, WHITE),
            ([0, 1, 1], BLACK, WHITE),
            "255,255,255 has the value 1 in b.png, but 255 in",
        ),
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".gif"])
def test_palettes_that_differ_are_refused(tmp_path: Path, first: Any, second: Any, message: str, suffix: str) -> None:
    found = refusal(paletted(tmp_path / f"a{suffix}", *first), paletted(tmp_path / f"b{suffix}", *second))
    assert message in found.replace(".gif", ".png")
    assert found.startswith("data.init_args.root: the masks have palettes that differ")
    assert "name the class of each colour (data.init_args.values:" in found


def test_white_of_one_bit_and_of_eight_are_not_mixed(tmp_path: Path) -> None:
    bit = one_bit(tmp_path / "bit.png", [0, 1, 1])
    assert "255,255,255 has the value 1 in bit.png, but 255 in a.png" in refusal(
        grey(tmp_path / "a.png", [0, 255]), bit
    )
    assert refusal(grey(tmp_path / "b.png", [0, 1]), bit) == ""


def test_ignored_pixels_may_be_white_in_grey_and_coloured_in_palettes(tmp_path: Path) -> None:
    voc = [*[(i, 1, 2) for i in range(255)], (224, 224, 192)]
    assert refusal(grey(tmp_path / "a.png", [0, 255]), paletted(tmp_path / "b.png", [0, 255], *voc)) == ""


def png_of_bits(path: Path, bits: int) -> Path:
    """A grey PNG of one row: 0, 1, 2 and so on."""
    row = bytes([0, 0b00011011]) if bits == 2 else bytes([0, 0x01, 0x23])
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", 4, 1, bits, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(row)),
        (b"IEND", b""),
    ]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in parts)
    )
    return path


@pytest.mark.parametrize(("bits", "text"), [(2, "0 to 3 .* in steps of 85"), (4, "0 to 15 .* in steps of 17")])
def test_grey_of_few_bits_is_refused(tmp_path: Path, bits: int, text: str) -> None:
    with pytest.raises(
        InputError, match=rf"a\.png: grey of {bits} bits, stored as {text}.*; save the mask with 8 bits"
    ):
        read_mask(png_of_bits(tmp_path / "a.png", bits))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".gif", ".jp2"])
def test_eight_bits_keep_their_values_in_any_lossless_file(tmp_path: Path, suffix: str) -> None:
    options = {"irreversible": False} if suffix == ".jp2" else {}
    assert read_mask(grey(tmp_path / f"a{suffix}", [0, 1, 2, 19, 255], **options)).tolist() == [[0, 1, 2, 19, 255]]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".pbm"])
def test_one_bit_is_0_and_1(tmp_path: Path, suffix: str) -> None:
    assert read_mask(one_bit(tmp_path / f"a{suffix}", [0, 1, 1])).tolist() == [[0, 1, 1]]


def test_what_pil_scales_or_inverts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 3 1 3\n" + bytes([0, 1, 3]))
    with pytest.raises(InputError, match=r"a\.pgm: a largest value of 3, by which PIL scales; save the mask as PNG"):
        read_mask(tmp_path / "a.pgm")
    grey(tmp_path / "a.tif", [0, 1, 2], tiffinfo={262: 0})
    with pytest.raises(InputError, match=r"a\.tif: grey in which 0 is white, .*; save 0 as black"):
        read_mask(tmp_path / "a.tif")


def test_an_animation_and_a_jpeg_of_another_name_are_refused(tmp_path: Path) -> None:
    frames = [Image.new("L", (4, 4), value) for value in (1, 2)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match=r"a\.gif: several frames, expected one mask"):
        read_mask(tmp_path / "a.gif")
    frames[0].save(tmp_path / "b.png", "JPEG")
    with pytest.raises(InputError, match=r"b\.png: a JPEG, whose compression changes values"):
        read_mask(tmp_path / "b.png")


def test_colours_are_listed_for_the_option(tmp_path: Path) -> None:
    Image.fromarray(np.array([[RED, BLACK, RED]], np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"data\.init_args\.values can name .*, here 0,0,0 and 128,0,0\)$"):
        read_mask(tmp_path / "a.png")
    noise = np.random.default_rng(0).integers(0, 256, (5, 5, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "b.webp")
    with pytest.raises(InputError, match=r"mode RGB.* here more than 8\)$"):
        read_mask(tmp_path / "b.webp")
