"""Files that PIL decodes to wrong pixels without an error: each is refused by name, its harmless siblings are read."""

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from visiontasks.data.pipeline.reader import inspect_image, read_image, upright_size
from visiontasks.errors import InputError

RGB, GREY, WHITE_IS_ZERO = 2, 1, 0
UNSPECIFIED, ASSOCIATED, UNASSOCIATED = 0, 1, 2


def tiff(
    path: Path, pixels: npt.NDArray[np.generic], *, photometric: int, planar: bool = False, **more: int | Sequence[int]
) -> Path:
    """A little-endian TIFF of one strip, as tifffile writes it; bands last, or first if `planar`."""
    bands_last = np.moveaxis(pixels, 0, 2) if planar else pixels.reshape(*pixels.shape[:2], -1)
    height, width, bands = bands_last.shape
    data = pixels.tobytes()
    tags: dict[int, Sequence[int]] = {
        256: [width],
        257: [height],
        258: [8 * pixels.itemsize] * bands,
        259: [1],
        262: [photometric],
        273: [8 + len(data) // bands * band for band in range(bands)] if planar else [8],
        277: [bands],
        278: [height],
        279: [len(data) // bands] * bands if planar else [len(data)],
        284: [2 if planar else 1],
    }
    names = {"extra": 338, "sample_format": 339, "depth": 32997, "bits": 258, "orientation": 274}
    tags |= {names[name]: list(value) if isinstance(value, Sequence) else [value] for name, value in more.items()}
    start = 8 + len(data)
    behind = start + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag, numbers in sorted(tags.items()):
        packed = struct.pack(f"<{len(numbers)}H", *numbers)
        place = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack("<I", behind + len(values))
        values += packed if len(packed) > 4 else b""
        entries += struct.pack("<HHI", tag, 3, len(numbers)) + place
    path.write_bytes(
        b"II*\0" + struct.pack("<I", start) + data + struct.pack("<H", len(tags)) + entries + bytes(4) + values
    )
    return path


def colours(*bands: int, dtype: type = np.uint8) -> npt.NDArray[np.generic]:
    return np.broadcast_to(np.array(bands, dtype), (3, 4, len(bands))).copy()


def test_plain_tiffs_are_read_as_they_are(tmp_path: Path) -> None:
    assert read_image(tiff(tmp_path / "a.tif", colours(200, 100, 50), photometric=RGB))[2, 3].tolist() == [200, 100, 50]
    wide = colours(200 * 257, 100 * 257, 50 * 257, dtype=np.uint16)
    assert read_image(tiff(tmp_path / "b.tif", wide, photometric=RGB))[2, 3].tolist() == [200, 100, 50]
    inverted = tiff(tmp_path / "c.tif", colours(55)[:, :, 0], photometric=WHITE_IS_ZERO)
    assert read_image(inverted)[2, 3].tolist() == [200] * 3
    planar = np.ascontiguousarray(np.moveaxis(colours(97, 35, 93), 2, 0))
    assert read_image(tiff(tmp_path / "d.tif", planar, photometric=RGB, planar=True))[2, 3].tolist() == [97, 35, 93]


@pytest.mark.parametrize("read", [read_image, inspect_image, upright_size])
@pytest.mark.parametrize("kind", [UNSPECIFIED, ASSOCIATED, UNASSOCIATED])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_near_infrared_band_is_not_taken_for_transparency(
    tmp_path: Path, read: object, kind: int, dtype: type
) -> None:
    path = tiff(tmp_path / "a.tif", colours(200, 100, 50, 40, dtype=dtype), photometric=RGB, extra=kind)
    with pytest.raises(InputError, match=r"a\.tif: (its fourth band .* does not look like transp|4 bands, of which)"):
        read(path)  # type: ignore[operator]


def test_a_near_infrared_band_with_few_grey_levels_is_found(tmp_path: Path) -> None:
    near_infrared = np.zeros((10, 10, 4), np.uint8)  # nodata in 90 % of the image
    near_infrared[0] = (200, 100, 50, 120)
    with pytest.raises(InputError, match=r"\(0 to 120 of 255, 10% neither opaque nor transparent\)"):
        read_image(tiff(tmp_path / "a.tif", near_infrared, photometric=RGB, extra=UNASSOCIATED))


def test_transparency_in_a_tiff_is_composited_over_white(tmp_path: Path) -> None:
    rgba = colours(10, 20, 30, 255)
    rgba[0, 0, 3] = 0
    path = tiff(tmp_path / "a.tif", rgba, photometric=RGB, extra=UNASSOCIATED)
    assert read_image(path)[0, :2].tolist() == [[255, 255, 255], [10, 20, 30]]
    assert upright_size(path) == (3, 4)


@pytest.mark.parametrize("bands", [(1, 2), (1, 2, 3, 4, 5), (1, 2, 3, 4, 5, 6)])
def test_bands_that_pil_drops_are_refused(tmp_path: Path, bands: tuple[int, ...]) -> None:
    photometric = GREY if len(bands) == 2 else RGB
    extra = [UNSPECIFIED] * (len(bands) - (1 if photometric == GREY else 3))
    path = tiff(tmp_path / "a.tif", colours(*bands), photometric=photometric, extra=extra)
    with pytest.raises(InputError, match=rf"a\.tif: {len(bands)} bands, of which PIL drops what is no colour; save it"):
        read_image(path)


def test_a_second_band_of_a_jpeg_2000_is_not_taken_for_transparency(tmp_path: Path) -> None:
    Image.fromarray(colours(200, 100, 50, 40)).save(tmp_path / "a.jp2")
    with pytest.raises(InputError, match=r"a\.jp2: its fourth band \(40 to 40 of 255, 100% neither"):
        read_image(tmp_path / "a.jp2")


def test_planar_16_bit_colours_are_refused(tmp_path: Path) -> None:
    pixels = np.ascontiguousarray(np.moveaxis(colours(97 * 257, 35 * 257, 93 * 257, dtype=np.uint16), 2, 0))
    path = tiff(tmp_path / "a.tif", pixels, photometric=RGB, planar=True)
    with pytest.raises(InputError, match=r"a\.tif: 16-bit bands one after the other \(planar\).*interleaved"):
        read_image(path)


def test_16_bit_grey_with_0_as_white_is_refused(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", colours(9, dtype=np.uint16), photometric=WHITE_IS_ZERO)
    with pytest.raises(InputError, match=r"a\.tif: 16-bit grey in which 0 is white, .* save it with 0 as black"):
        read_image(path)


def test_signed_bytes_are_refused(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", colours(-1, dtype=np.int8), photometric=GREY, sample_format=2)
    with pytest.raises(InputError, match=r"a\.tif: signed 8-bit values"):
        read_image(path)


def test_packed_12_bit_grey_has_all_of_its_range(tmp_path: Path) -> None:
    packed = np.frombuffer(bytes([0x00, 0x08, 0x00, 0xFF, 0xF0, 0x10]), np.uint8).reshape(1, 6)  # 0, 2048, 4095, 16
    path = tiff(tmp_path / "a.tif", packed, photometric=GREY, bits=12)
    content = bytearray(path.read_bytes())
    width_at = content.index(struct.pack("<HHI", 256, 3, 1)) + 8
    content[width_at] = 4
    path.write_bytes(content)
    # 255 * 2048 / 4095 = 127.53, 255 * 16 / 4095 = 0.996
    assert read_image(path)[0, :, 0].tolist() == [0, 128, 255, 1]
    assert read_image(path, max_16bit=1023)[0, :, 0].tolist() == [0, 128, 255, 1]  # of 16-bit files only


def test_pages_are_refused_but_a_smaller_copy_is_none(tmp_path: Path) -> None:
    pages = [Image.new("L", (4, 3), grey) for grey in (10, 20, 30)]
    pages[0].save(tmp_path / "bands.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(InputError, match=r"bands\.tif: 3 pages, expected one image; save each page"):
        read_image(tmp_path / "bands.tif")
    smaller = pages[1].resize((2, 2))
    smaller.encoderinfo = {"tiffinfo": {254: 1}}
    pages[0].save(tmp_path / "overview.tif", save_all=True, append_images=[smaller], tiffinfo={254: 0})
    content = (tmp_path / "overview.tif").read_bytes()
    with Image.open(tmp_path / "overview.tif") as image:
        image.seek(1)
        assert image.tag_v2.get(254) == 1, content  # type: ignore[attr-defined]
    assert read_image(tmp_path / "overview.tif")[0, 0].tolist() == [10, 10, 10]


def test_a_volume_is_refused(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", colours(9), photometric=GREY, depth=3)
    with pytest.raises(InputError, match=r"a\.tif: a volume of 3 slices, expected an image"):
        read_image(path)


def test_a_tiff_that_pil_does_not_know_is_called_one(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", colours(1, 2, 3, dtype=np.float64), photometric=RGB, sample_format=[3] * 3)
    with pytest.raises(InputError, match=r"a\.tif: a TIFF of a kind that PIL cannot read; save it with 8 or 16 bits"):
        read_image(path)


def test_a_bmp_with_two_greys_in_8_bits_is_refused(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 1]], np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(tmp_path / "a.bmp")
    with pytest.raises(InputError, match=r"a\.bmp: a BMP of 8 bits with few greys, which PIL decodes wrongly"):
        read_image(tmp_path / "a.bmp")
    Image.fromarray(np.array([[False, True, True]])).save(tmp_path / "b.bmp")
    assert read_image(tmp_path / "b.bmp")[0, :, 0].tolist() == [0, 255, 255]


def png(path: Path, *, width: int, depth: int, colour_type: int, row: bytes, **chunks: bytes) -> Path:
    """A PNG of one row."""
    parts = {
        "IHDR": struct.pack(">IIBBBBB", width, 1, depth, colour_type, 0, 0, 0),
        **chunks,
        "IDAT": zlib.compress(b"\0" + row),
        "IEND": b"",
    }
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in parts.items():
        chunk = name.encode() + data
        content += struct.pack(">I", len(data)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(content)
    return path


def test_a_transparent_grey_of_16_bits_is_composited_over_white(tmp_path: Path) -> None:
    row = struct.pack(">3H", 0, 257, 65535)
    path = png(tmp_path / "a.png", width=3, depth=16, colour_type=0, row=row, tRNS=struct.pack(">H", 257))
    image, traits = inspect_image(path)
    assert image[0, :, 0].tolist() == [0, 255, 255]
    assert traits == ["16-bit", "transparent"]


def test_16_bit_colours_with_a_transparent_one_are_refused(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png", width=1, depth=16, colour_type=2, row=bytes(6), tRNS=bytes(5) + b"\1")
    with pytest.raises(InputError, match=r"a\.png: 16-bit colours with a transparent one"):
        read_image(path)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_turned_tiff_has_the_size_that_it_is_read_with(tmp_path: Path, orientation: int) -> None:
    stored = np.array([[0, 40, 80], [120, 160, 200]], np.uint8)
    path = tiff(tmp_path / "a.tif", stored, photometric=GREY, orientation=orientation)
    upright = {1: stored, 3: np.rot90(stored, 2), 6: np.rot90(stored, -1), 8: np.rot90(stored)}[orientation]
    assert read_image(path)[:, :, 0].tolist() == upright.tolist()
    assert upright_size(path) == upright.shape
