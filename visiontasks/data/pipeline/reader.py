"""The one place where an image or mask file becomes an array, so that a bad file fails by name and never silently."""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import IMAGEWIDTH, TiffImageFile

from visiontasks.data.pipeline.jpeg import LeastSize as LeastSize
from visiontasks.data.pipeline.jpeg import jpeg_pixels, read_plain_jpeg
from visiontasks.data.pipeline.mask_pixels import Shown, class_indices, colour_codes
from visiontasks.data.pipeline.misread import check_alpha, check_header, check_pages, is_16bit, may_have_band_as_alpha
from visiontasks.data.pipeline.sixteen_bit import (
    MAX_16BIT,
    WIDE_GREY_MODES,
    colours_16bit,
    file_content,
    grey_of_16bit,
    is_packed,
    rgb_of_16bit,
)
from visiontasks.errors import InputError, MissingFileError
from visiontasks.regular_files import check_regular

UInt8Array = npt.NDArray[np.uint8]
UInt32Array = npt.NDArray[np.uint32]

_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)
_ALPHA_MODES = ("RGBA", "RGBa", "LA", "PA")
_ENDS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "GIF": b";"}
"""What a whole file of a format ends with; one with something else may be whole too."""
_SCALABLE = ("JPEG", "MPO")
_JPEG_SCAN = b"\xff\xda"
_ZERO_BYTES = 2
_PNG_SIGNATURE = 8
_PNG_CHUNKS = (b"IHDR", b"PLTE", b"IDAT")


def read_image(
    path: str | os.PathLike[str], *, least_size: LeastSize | None = None, max_16bit: int | None = None
) -> UInt8Array:
    """Decode an image file in full, upright, as 8-bit RGB.

    EXIF orientation is applied. Transparency is composited over white. Of 16 bits, `max_16bit` becomes 255; of 12-bit
    grey packed in a TIFF, 4095. Palette, 1-bit, grey, CMYK and the like are converted. Of an animation the first frame
    is taken.

    Args:
        path: The file.
        least_size: Where it is given, a JPEG is decoded at 1/2, 1/4 or 1/8 of its size (rounded up), the smallest that
            is no less. All of the file is read then too, and libjpeg averages over what it leaves out.
        max_16bit: The largest value of images with 16 bits a channel, 256 to 65535; None for 65535.

    Returns:
        RGB, (H, W, 3), uint8.

    Raises:
        MissingFileError: If there is no such file.
        InputError: If the file is empty, truncated, not an image, over PIL's limit of pixels, grey of floats or of more
            than 16 bits, has values above `max_16bit`, or is of a kind that PIL misreads (see `misread`).
    """
    check_regular(path)
    plain = read_plain_jpeg(path, least_size)
    if plain is not None:
        return plain
    with _opened(path) as image:
        if least_size is not None and image.format in _SCALABLE:
            _shrink(image, least_size)
        return _pixels(image, max_16bit)


class NotedSize:
    """A `LeastSize` that stores the size it was called with: that of the image before it is decoded smaller."""

    def __init__(self, least_size: LeastSize) -> None:
        self.least_size = least_size
        self.size: tuple[int, int] | None = None

    def __call__(self, size: tuple[int, int]) -> tuple[int, int]:
        """See `LeastSize`."""
        self.size = size
        return self.least_size(size)


def rgb_array(image: Image.Image, *, max_16bit: int | None = None) -> UInt8Array:
    """Pixels of an image of PIL, converted as `read_image` does.

    Returns:
        RGB, (H, W, 3), uint8.

    Raises:
        InputError: If it cannot be decoded.
    """
    if 0 in image.size:
        raise InputError(f"an image of {image.width}x{image.height} pixels, expected at least 1x1")
    try:
        if isinstance(image, ImageFile.ImageFile):
            check_header(image)
        return _pixels(image, max_16bit)
    except InputError:
        raise
    except Exception as error:  # as in `_opened`
        raise InputError(f"damaged, cannot be decoded ({error})") from error


def inspect_image(path: str | os.PathLike[str], *, max_16bit: int | None = None) -> tuple[UInt8Array, list[str]]:
    """Decode an image file as `read_image` does, list what had to be converted, and find more damage.

    PIL passes over the checksums of a PNG, and over zeros in place of a JPEG's rest.

    Args:
        path: The file.
        max_16bit: As for `read_image`.

    Returns:
        RGB, (H, W, 3), uint8, and names of traits: `16-bit`, `CMYK`, `palette`, `EXIF-rotated`, `transparent`,
        `animated`.

    Raises:
        MissingFileError: If there is no such file.
        InputError: If the file cannot be decoded, as for `read_image`.
    """
    with _opened(path) as image:
        _check_content(image)
        traits = _traits(image)
        pixels = _pixels(image, max_16bit)
        traits += ["transparent"] if _is_transparent(image) else []
        return pixels, traits


def read_mask(path: str | os.PathLike[str]) -> UInt8Array:
    """Decode a mask file in full, upright; of a palette the indices are taken, or the greys if it has nothing else.

    Args:
        path: A file of one channel, with 1, 8 or 16 bits.

    Returns:
        Its values, (H, W), uint8; 0 and 1 of a mask with 1 bit.

    Raises:
        MissingFileError: If there is no such file.
        InputError: If the file cannot be decoded, is a JPEG, has more channels or frames, values above 255, or grey of
            2 or 4 bits, whose values are not known.
    """
    return read_mask_and_colours(path)[0]


def read_mask_and_colours(path: str | os.PathLike[str]) -> tuple[UInt8Array, Shown]:
    """Decode a mask as `read_mask` does, and give what its values are shown in."""
    with _opened(path) as image:
        values, shown = class_indices(image)
        return np.asarray(_upright(Image.fromarray(values), _orientation(image))), shown


def read_mask_colours(path: str | os.PathLike[str]) -> UInt32Array:
    """Decode a mask file in full, upright, by its colours.

    Args:
        path: A file of 8-bit colours without transparency.

    Returns:
        0xRRGGBB of each pixel, (H, W).

    Raises:
        MissingFileError: If there is no such file.
        InputError: If the file cannot be decoded, is a JPEG, or has several frames or transparent pixels.
    """
    with _opened(path) as image:
        codes = colour_codes(image)
        return np.asarray(_upright(Image.fromarray(codes.view(np.int32)), _orientation(image))).view(np.uint32)


def largest_16bit(path: str | os.PathLike[str]) -> int | None:
    """The largest value of a file with 16 bits a channel, of colours at most 255 too large; None for another file.

    Raises:
        MissingFileError: If there is no such file.
        InputError: If it cannot be decoded.
    """
    with _opened(path) as image:
        if not is_16bit(image) or is_packed(image):
            return None
        image.load()
        values = np.asarray(image)
        return int(values.max()) if image.mode in WIDE_GREY_MODES else 256 * int(values[:, :, :3].max()) + 255


def upright_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width that `read_image` gives, from the file's header.

    Its end is looked at too; a JPEG, PNG or GIF that does not end as it should is decoded to see whether it is cut off.

    Raises:
        MissingFileError: If there is no such file.
        InputError: If it is not an image, or cut off; one with other damage can pass.
    """
    with _opened(path) as image:
        size = (image.width, image.height) if _is_sideways(image) else (image.height, image.width)
        if not _ends_well(image):
            _check_content(image)
            image.load()
        if may_have_band_as_alpha(image):
            image.load()
            check_alpha(image)
        return size


def is_turned(path: str | os.PathLike[str]) -> bool:
    """Whether an image is turned by a quarter by its EXIF orientation, from the file's header.

    Raises:
        InputError: If it is no image.
    """
    with _opened(path) as image:
        return _is_sideways(image)


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[ImageFile.ImageFile]:
    """Open a file, and name it in whatever error follows."""
    check_regular(path)
    try:
        with Image.open(path) as image:
            _refuse_bomb(image)
            check_header(image)
            check_pages(image)
            if image.format == "TIFF":
                image.filename = ""  # else PIL maps the file into memory, with width and height of a turned one swapped
            yield image
    except Exception as error:  # PIL's plugins raise nearly every built-in type on a broken file
        raise _explained(error, Path(path)) from error


def taken_at(path: str | os.PathLike[str]) -> datetime | None:
    """When a photograph was taken, by its EXIF data; None where that is not written, or not as a time.

    Raises:
        MissingFileError: If there is no such file.
        InputError: If it is no image.
    """
    with _opened(path) as image:
        exif = image.getexif()
        written = str(exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal) or "")
    try:
        return datetime.strptime(written.strip("\0 "), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None


def _is_sideways(image: ImageFile.ImageFile) -> bool:
    if isinstance(image, TiffImageFile) and image.tag_v2.get(IMAGEWIDTH) != image.width:
        return False  # PIL has swapped its sides already
    # Not image.getexif(), which decodes a PNG in search of metadata behind the pixels.
    return Image.Image.getexif(image).get(_ORIENTATION, 1) in _SIDEWAYS


def _shrink(image: ImageFile.ImageFile, least_size: LeastSize) -> None:
    """Have a JPEG that is opened, but not loaded yet, decoded smaller."""
    if _is_sideways(image):
        width, height = least_size((image.width, image.height))
    else:
        height, width = least_size((image.height, image.width))
    image.draft(None, (width, height))


def _ends_well(image: ImageFile.ImageFile) -> bool:
    end = _ENDS.get(image.format or "")
    if end is None or image.fp is None:
        return True
    place = image.fp.tell()
    image.fp.seek(-len(end), os.SEEK_END)
    found = image.fp.read(len(end))
    image.fp.seek(place)
    return found == end


def _check_content(image: ImageFile.ImageFile) -> None:
    """Find what PIL decodes to wrong pixels without a word."""
    if image.fp is None or image.format not in ("PNG", "JPEG", "MPO"):
        return
    content = file_content(image)
    if image.format == "PNG":
        _check_png(content)
    elif content.endswith(bytes(_ZERO_BYTES)) and content.rfind(_ENDS["JPEG"]) < content.rfind(_JPEG_SCAN):
        raise InputError("damaged, zeros in place of its rest; copy it again or remove it")


def _check_png(content: bytes) -> None:
    """Compare the checksums of the chunks that hold pixels and colours."""
    start = _PNG_SIGNATURE
    while start + 8 <= len(content):
        kind, end = content[start + 4 : start + 8], start + 8 + int.from_bytes(content[start : start + 4])
        if end + 4 > len(content) or kind in (b"IEND", bytes(4)):
            return  # cut off, which decoding finds
        if kind in _PNG_CHUNKS and zlib.crc32(content[start + 4 : end]).to_bytes(4) != content[end : end + 4]:
            raise InputError("damaged, a checksum is wrong; copy it again or remove it")
        start = end + 4


def _traits(image: ImageFile.ImageFile) -> list[str]:
    """What is unusual about an image that is opened, but not loaded yet."""
    found = {
        "16-bit": is_16bit(image),
        "CMYK": image.mode == "CMYK",
        "palette": image.mode in ("P", "PA"),
        "EXIF-rotated": _orientation(image) != 1,
        "animated": bool(getattr(image, "is_animated", False)) and image.format != "MPO",
    }
    return [name for name, is_so in found.items() if is_so]


def _refuse_bomb(image: Image.Image) -> None:
    # Between one and two times its limit PIL only warns, which nobody sees in a worker.
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise Image.DecompressionBombError


def _orientation(image: Image.Image) -> int:
    return int(image.getexif().get(_ORIENTATION, 1))


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    if orientation == 1:
        return image
    image.getexif()[_ORIENTATION] = orientation  # of one that was made of another's pixels
    return ImageOps.exif_transpose(image)


def _pixels(image: Image.Image, max_16bit: int | None) -> UInt8Array:
    decoded = jpeg_pixels(image)
    if decoded is not None:
        orientation = _orientation(image)
        return decoded if orientation == 1 else np.array(_upright(Image.fromarray(decoded), orientation))
    white = max_16bit or MAX_16BIT
    colours = colours_16bit(image) if white < MAX_16BIT else None
    image.load()
    orientation = _orientation(image)  # PIL itself turns a TIFF upright while it loads
    if may_have_band_as_alpha(image):
        check_alpha(image)
    if colours is not None:
        image = rgb_of_16bit(colours, white)
    elif image.mode in WIDE_GREY_MODES:
        image = grey_of_16bit(image, white)
    return np.array(_rgb(_upright(image, orientation)), dtype=np.uint8)


def _rgb(image: Image.Image) -> Image.Image:
    if _may_be_transparent(image):
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _may_be_transparent(image: Image.Image) -> bool:
    return image.mode in _ALPHA_MODES or "transparency" in image.info


def _is_transparent(image: Image.Image) -> bool:
    """Whether a pixel of a loaded image is less than opaque."""
    if image.mode in WIDE_GREY_MODES:
        return bool((np.asarray(image) == image.info.get("transparency", -1)).any())
    return _may_be_transparent(image) and image.convert("RGBA").getchannel("A").getextrema() != (255, 255)


def _explained(error: Exception, file: Path) -> InputError:
    if isinstance(error, PermissionError):
        return InputError(f"{file}: may not be read ({error.strerror}); change its permissions")
    if not file.exists():
        return MissingFileError(f"{file}: no such image file")
    if file.is_dir():
        return InputError(f"{file}: a folder, expected an image file")
    if file.stat().st_size == 0:
        return InputError(f"{file}: the file is empty (0 bytes), expected an image; copy it again or remove it")
    if isinstance(error, InputError):
        return InputError(f"{file}: {error}")
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        limit = Image.MAX_IMAGE_PIXELS
        return InputError(f"{file}: over {limit} pixels, refused as a decompression bomb; shrink it or remove it")
    if isinstance(error, UnidentifiedImageError) and _is_tiff(file):
        return InputError(
            f"{file}: a TIFF of a kind that PIL cannot read; save it with 8 or 16 bits, 1 or 3 interleaved bands and "
            "no compression, or remove it"
        )
    if isinstance(error, UnidentifiedImageError):
        return InputError(f"{file}: not an image that PIL can read; convert it to PNG or JPEG, or remove it")
    return InputError(f"{file}: damaged, cannot be decoded ({error}); copy it again or remove it")


def _is_tiff(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
