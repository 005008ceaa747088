"""Every kind of image file that there is in the wild, and every way in which one is broken."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visiontasks.data import read_image
from visiontasks.data.pipeline.reader import inspect_image, read_mask, upright_size
from visiontasks.errors import InputError, MissingFileError


def jpeg_bytes(size: tuple[int, int] = (64, 48)) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def test_png_keeps_its_pixels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.dtype == np.uint8
    assert image.flags.writeable
    np.testing.assert_array_equal(image, pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, mode: str) -> None:
    # The stored picture is 3 wide, 2 high, its first pixel white: (row, column) of that one when upright.
    corner = {1: (0, 0), 2: (0, 2), 3: (1, 2), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (2, 1), 8: (2, 0)}
    stored = Image.new(mode, (3, 2))
    stored.putpixel((0, 0), 255 if mode == "L" else (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    image = read_image(tmp_path / "a.png")
    assert image.shape == ((2, 3, 3) if orientation <= 4 else (3, 2, 3))
    assert [tuple(place) for place in np.argwhere(image[:, :, 0] == 255)] == [corner[orientation]]


def test_16_bit_grey_is_scaled_not_saturated(tmp_path: Path) -> None:
    # 257 is one step of 8 bits: 128 rounds down, 129 up.
    grey = np.array([[0, 128, 129, 257], [32767, 32768, 65407, 65535]], np.uint16)
    Image.fromarray(grey).save(tmp_path / "a.png")
    expected = [[0, 0, 1, 1], [127, 128, 255, 255]]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.repeat(np.array(expected)[:, :, None], 3, 2))


def test_big_endian_16_bit_tiff_is_scaled(tmp_path: Path) -> None:
    Image.frombytes("I;16B", (2, 1), b"\x00\x00\xff\xff").save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif")[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize(("mode", "value"), [("F", 0.5), ("I", 70000), ("I", -1)])
def test_grey_beyond_16_bits_is_refused(tmp_path: Path, mode: str, value: float) -> None:
    Image.new(mode, (2, 2), value).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a\.tif: grey values .* expected 8 or 16 bits"):
        read_image(tmp_path / "a.tif")


def test_transparency_is_composited_over_white(tmp_path: Path) -> None:
    rgba = Image.new("RGBA", (3, 1))
    rgba.putdata([(10, 20, 30, 255), (10, 20, 30, 0), (100, 0, 0, 51)])  # 51 is a fifth
    rgba.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[10, 20, 30], [255, 255, 255], [224, 204, 204]]]


def test_grey_with_alpha_is_composited_over_white(tmp_path: Path) -> None:
    grey = Image.new("LA", (2, 1))
    grey.putdata([(7, 255), (7, 0)])
    grey.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[7, 7, 7], [255, 255, 255]]]


def test_palette_with_a_transparent_colour_is_composited_over_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.putdata([0, 1])
    image.save(tmp_path / "a.png", transparency=1)
    assert read_image(tmp_path / "a.png").tolist() == [[[200, 0, 0], [255, 255, 255]]]


@pytest.mark.parametrize(
    ("mode", "value", "suffix", "rgb"),
    [
        ("1", 1, ".png", (255, 255, 255)),
        ("L", 9, ".png", (9, 9, 9)),
        ("CMYK", (0, 255, 255, 0), ".tif", (255, 0, 0)),
    ],
)
def test_other_modes_become_rgb(
    tmp_path: Path, mode: str, value: int | tuple[int, ...], suffix: str, rgb: tuple[int, ...]
) -> None:
    Image.new(mode, (4, 3), value).save(tmp_path / f"a{suffix}")
    image = read_image(tmp_path / f"a{suffix}")
    assert image.shape == (3, 4, 3)
    assert (image == rgb).all()


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (read_image(tmp_path / "a.gif") == (255, 0, 0)).all()


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.99])
def test_a_truncated_jpeg_is_refused(tmp_path: Path, share: float) -> None:
    whole = jpeg_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"a\.jpg: (damaged|not an image)"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("suffix", [".png", ".gif", ".bmp", ".webp", ".tif"])
def test_a_truncated_file_of_any_format_is_refused(tmp_path: Path, suffix: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=f"a{suffix}: "):
        read_image(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(InputError, match=r"a\.jpg: the file is empty"):
        read_image(tmp_path / "a.jpg")


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("<html>404</html>")
    with pytest.raises(InputError, match=r"a\.jpg: not an image"):
        read_image(tmp_path / "a.jpg")


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"a\.jpg: no such image file"):
        read_image(tmp_path / "a.jpg")


def test_a_file_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Image, "open", refuse)  # root may read everything, so a mode of 000 would not do
    with pytest.raises(InputError, match=r"a\.jpg: may not be read \(Permission denied\); change its permissions"):
        read_image(tmp_path / "a.jpg")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder, expected an image file"):
        read_image(tmp_path)


# PIL warns above its limit and raises above twice its limit: 101 and 400 pixels of 100.
@pytest.mark.parametrize("size", [(101, 1), (20, 20)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("1", size).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: over 100 pixels, refused as a decompression bomb"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("pixels", "name", "message"),
    [
        (np.zeros((2, 2, 3), np.uint8), "a.png", r"a\.png: has colours or floats \(mode RGB\), expected one channel"),
        (np.zeros((2, 2, 4), np.uint8), "a.png", r"\(mode RGBA\)"),
        (np.zeros((2, 2), np.float32), "a.tif", r"\(mode F\)"),
        (np.array([[7, 1001]], np.uint16), "a.png", "values from 7 to 1001, expected 0 to 255"),
        (np.array([[-1, 1]], np.int32), "a.tif", "values from -1 to 1, expected 0 to 255"),
        (np.zeros((2, 2), np.uint8), "a.jpg", "a JPEG, whose compression changes values; save the mask as PNG"),
    ],
)
def test_what_is_no_mask_of_class_indices_is_refused(tmp_path: Path, pixels: Any, name: str, message: str) -> None:
    Image.fromarray(pixels).save(tmp_path / name)
    with pytest.raises(InputError, match=message):
        read_mask(tmp_path / name)


def test_a_truncated_and_a_missing_mask_are_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 9, (32, 32), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:200])
    with pytest.raises(InputError, match=r"a\.png: damaged, cannot be decoded"):
        read_mask(tmp_path / "a.png")
    with pytest.raises(MissingFileError, match=r"b\.png: no such"):
        read_mask(tmp_path / "b.png")


def test_inspecting_gives_the_same_pixels_as_reading(tmp_path: Path) -> None:
    Image.new("CMYK", (4, 3), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    image, traits = inspect_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image, read_image(tmp_path / "a.tif"))
    assert traits == ["CMYK"]


def test_a_transparent_palette_with_a_rotation_has_three_traits(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.putdata([0, 1])
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", transparency=1, exif=exif)
    upright, traits = inspect_image(tmp_path / "a.png")
    assert traits == ["palette", "EXIF-rotated", "transparent"]
    assert upright.shape == (2, 1, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif"])
def test_the_size_of_a_file_that_is_cut_off_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.effect_noise((64, 48), 50).save(path)
    assert upright_size(path) == (48, 64)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="damaged, cannot be decoded"):
        upright_size(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif"])
def test_bytes_behind_a_whole_image_are_no_damage(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.effect_noise((64, 48), 50).save(path)
    path.write_bytes(path.read_bytes() + bytes(500))
    assert upright_size(path) == (48, 64)
    assert read_image(path).shape == (48, 64, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_zeros_in_place_of_the_rest_are_damage(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"a{suffix}"
    Image.effect_noise((256, 256), 50).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))].ljust(len(whole), b"\0"))
    for read in (upright_size, inspect_image):
        with pytest.raises(InputError, match="damaged"):
            read(path)


def test_a_wrong_checksum_is_damage_where_pil_sees_none(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.effect_noise((64, 64), 50).save(path)
    whole = bytearray(path.read_bytes())
    whole[whole.index(b"IDAT") - 4 + 8 + int.from_bytes(whole[whole.index(b"IDAT") - 4 : whole.index(b"IDAT")])] ^= 1
    path.write_bytes(whole)
    assert read_image(path).shape == (64, 64, 3)
    with pytest.raises(InputError, match=r"a\.png: damaged, a checksum is wrong; copy it again"):
        inspect_image(path)


def test_a_whole_jpeg_with_zeros_behind_it_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg_bytes() + bytes(1000))
    assert inspect_image(path)[1] == []


def photograph(size: tuple[int, int]) -> Image.Image:
    """Smooth in all directions, as photographs mostly are."""
    y, x = np.mgrid[: size[1], : size[0]] / max(size)
    return Image.fromarray((127 * np.stack([x + y, 2 * x * y, 1 - x * x], 2)).astype(np.uint8))


@pytest.mark.parametrize(
    ("least", "shape"),
    [((101, 150), (201, 301, 3)), ((100, 150), (101, 151, 3)), ((50, 75), (51, 76, 3)), ((1, 1), (26, 38, 3))],
)
def test_a_jpeg_is_decoded_no_smaller_than_told(tmp_path: Path, least: tuple[int, int], shape: tuple[int, ...]) -> None:
    photograph((301, 201)).save(tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.jpg", least_size=lambda size: least).shape == shape


def test_what_is_left_of_a_smaller_jpeg_is_its_average(tmp_path: Path) -> None:
    photograph((320, 192)).save(tmp_path / "a.jpg", quality=95)
    whole = read_image(tmp_path / "a.jpg").astype(float)
    quarter = read_image(tmp_path / "a.jpg", least_size=lambda size: (48, 80)).astype(float)
    np.testing.assert_allclose(quarter, whole.reshape(48, 4, 80, 4, 3).mean((1, 3)), atol=3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_jpeg_is_asked_about_upright(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photograph((320, 192)).save(tmp_path / "a.jpg", exif=exif, quality=95)
    asked: list[tuple[int, int]] = []
    whole = read_image(tmp_path / "a.jpg")

    def half(size: tuple[int, int]) -> tuple[int, int]:
        asked.append(size)
        return size[0] // 2, size[1] // 2

    small = read_image(tmp_path / "a.jpg", least_size=half)
    assert asked == [whole.shape[:2]]
    assert small.shape == (whole.shape[0] // 2, whole.shape[1] // 2, 3)
    np.testing.assert_allclose(small.astype(float), whole[::2, ::2], atol=6)


@pytest.mark.parametrize(("mode", "rgb"), [("L", (200, 200, 200)), ("CMYK", (55, 255, 255))])
def test_grey_and_cmyk_are_decoded_smaller_too(tmp_path: Path, mode: str, rgb: tuple[int, ...]) -> None:
    Image.new(mode, (64, 48), 200).save(tmp_path / "a.jpg")
    image = read_image(tmp_path / "a.jpg", least_size=lambda size: (12, 16))
    assert image.shape == (12, 16, 3)
    np.testing.assert_allclose(image, np.broadcast_to(rgb, image.shape), atol=2)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_jpeg_is_refused_at_any_scale(tmp_path: Path, share: float, progressive: bool) -> None:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", progressive=progressive)
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue()[: int(share * buffer.tell())])
    with pytest.raises(InputError, match=r"a\.jpg: (damaged|not an image)"):
        read_image(tmp_path / "a.jpg", least_size=lambda size: (6, 8))


def test_other_formats_keep_their_size(tmp_path: Path) -> None:
    photograph((64, 48)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", least_size=lambda size: (6, 8)).shape == (48, 64, 3)
