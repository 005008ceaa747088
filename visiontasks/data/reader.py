"""The one place where an image or mask file becomes an array, so that a bad file fails by name and never silently."""

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from visiontasks.errors import InputError, MissingFileError
from visiontasks.regular_files import check_regular

UInt8Array = npt.NDArray[np.uint8]
LeastSize = Callable[[tuple[int, int]], tuple[int, int]]
"""From an image's height and width those that must be left of it."""

_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)
_ALPHA_MODES = ("RGBA", "RGBa", "LA", "PA")
_WIDE_GREY_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_INDEX_MODES = ("L", "P", "1", "I", "I;16", "I;16B", "I;16L", "I;16N")
_LARGEST_INDEX = 255
_ENDS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "GIF": b";"}
"""What a whole file of a format ends with; one with something else may be whole too."""
_SCALABLE = ("JPEG", "MPO")
_JPEG_SCAN = b"\xff\xda"
_ZERO_BYTES = 2
_PNG_SIGNATURE = 8
_PNG_CHUNKS = (b"IHDR", b"PLTE", b"IDAT")


def read_image(path: str | os.PathLike[str], *, least_size: LeastSize | None = None) -> UInt8Array:
    """Decode an image file in full, upright, as 8-bit RGB.

    EXIF orientation is applied. Transparency is composited over white. 16-bit grey is divided by 257 (65535
    becomes 255). Palette, 1-bit, grey, CMYK and the like are converted. Of an animation the first frame is
    taken.

    Args:
        path: The file.
        least_size: Where it is given, a JPEG is decoded at 1/2, 1/4 or 1/8 of its size (rounded up), the smallest that
            is no less. All of the file is read then too, and libjpeg averages over what it leaves out.

    Returns:
        RGB, (H, W, 3), uint8.

    Raises:
        MissingFileError: If there is no such file.
        InputError: If the file is empty, truncated, not an image, over PIL's limit of pixels, or grey of
            floats or of more than 16 bits.
    """
    with _opened(path) as image:
        if least_size is not None and image.format in _SCALABLE:
            _shrink(image, least_size)
        return _pixels(image)


def rgb_array(image: Image.Image) -> UInt8Array:
    """Pixels of an image of PIL, converted as `read_image` does.

    Returns:
        RGB, (H, W, 3), uint8.

    Raises:
        InputError: If it cannot be decoded.
    """
    if 0 in image.size:
        raise InputError(f"an image of {image.width}x{image.height} pixels, expected at least 1x1")
    try:
        return _pixels(image)
    except InputError:
        raise
    except Exception as error:  # as in `_opened`
        raise InputError(f"damaged, cannot be decoded ({error})") from error


def inspect_image(path: str | os.PathLike[str]) -> tuple[UInt8Array, list[str]]:
    """Decode an image file as `read_image` does, say what had to be converted, and find more damage.

    PIL passes over the checksums of a PNG, and over zeros in place of a JPEG's rest.

    Args:
        path: The file.

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
        image.load()
        alpha = image.convert("RGBA").getchannel("A").getextrema() if _may_be_transparent(image) else (255, 255)
        traits += ["transparent"] if alpha != (255, 255) else []
        return np.array(_rgb(_upright(image)), dtype=np.uint8), traits


def read_mask(path: str | os.PathLike[str]) -> UInt8Array:
    """Decode a mask file in full, upright; of a palette the indices are taken, not the colours.

    Args:
        path: A file of one channel, with 1, 8 or 16 bits.

    Returns:
        Its values, (H, W), uint8; 0 and 1 of a mask with 1 bit.

    Raises:
        MissingFileError: If there is no such file.
        InputError: If the file cannot be decoded, is a JPEG, has more channels, or values above 255.
    """
    with _opened(path) as image:
        if image.format == "JPEG":
            raise InputError("a JPEG, whose compression changes values; save the mask as PNG")
        if image.mode not in _INDEX_MODES:
            raise InputError(
                f"has colours or floats (mode {image.mode}), expected one channel of class indices (mode L or P); "
                "save the mask as such a PNG"
            )
        image.load()
        values = np.asarray(_upright(image))
        if values.min() < 0 or values.max() > _LARGEST_INDEX:
            raise InputError(
                f"values from {values.min()} to {values.max()}, expected 0 to {_LARGEST_INDEX}; save class indices"
            )
        return values.astype(np.uint8)


def upright_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width that `read_image` gives, from the file's header.

    Its end is looked at too; a JPEG, PNG or GIF that does not end as it should is decoded to see whether it is cut off.

    Raises:
        MissingFileError: If there is no such file.
        InputError: If it is no image, or cut off; one with other damage can pass.
    """
    with _opened(path) as image:
        size = (image.width, image.height) if _is_sideways(image) else (image.height, image.width)
        if not _ends_well(image):
            _check_content(image)
            image.load()
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
    """Open a file, and say by its name whatever goes wrong with it."""
    check_regular(path)
    try:
        with Image.open(path) as image:
            _refuse_bomb(image)
            yield image
    except Exception as error:  # PIL's plugins raise nearly every built-in type on a broken file
        raise _explained(error, Path(path)) from error


def _is_sideways(image: ImageFile.ImageFile) -> bool:
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
    place = image.fp.tell()
    image.fp.seek(0)
    content = image.fp.read()
    image.fp.seek(place)
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
    # PIL gives colours of 16 bits as 8; only what it is about to unpack tells. BGR;16 of a BMP has 5 bits a channel.
    unpacked = [str(tile[3]) for tile in image.tile]
    found = {
        "16-bit": image.mode.startswith("I;16") or any(";16" in text and "BGR;16" not in text for text in unpacked),
        "CMYK": image.mode == "CMYK",
        "palette": image.mode in ("P", "PA"),
        "EXIF-rotated": image.getexif().get(_ORIENTATION, 1) != 1,
        "animated": bool(getattr(image, "is_animated", False)) and image.format != "MPO",
    }
    return [name for name, is_so in found.items() if is_so]


def _refuse_bomb(image: Image.Image) -> None:
    # Between one and two times its limit PIL only warns, which nobody sees in a worker.
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise Image.DecompressionBombError


def _upright(image: Image.Image) -> Image.Image:
    turned = image.getexif().get(_ORIENTATION, 1) != 1
    return ImageOps.exif_transpose(image) if turned else image


def _pixels(image: Image.Image) -> UInt8Array:
    image.load()
    return np.array(_rgb(_upright(image)), dtype=np.uint8)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in _WIDE_GREY_MODES:
        return Image.fromarray(_eight_bit(np.asarray(image))).convert("RGB")
    if _may_be_transparent(image):
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _may_be_transparent(image: Image.Image) -> bool:
    return image.mode in _ALPHA_MODES or "transparency" in image.info


def _eight_bit(grey: npt.NDArray[np.generic]) -> UInt8Array:
    values = np.asarray(grey, dtype=np.float64 if grey.dtype.kind == "f" else np.int64)
    if grey.dtype.kind == "f" or values.min() < 0 or values.max() > 65535:
        raise InputError(
            f"grey values of type {grey.dtype} from {values.min()} to {values.max()}, expected 8 or 16 bits; "
            "save it with 8 bits a channel"
        )
    return ((values + 128) // 257).astype(np.uint8)


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
    if isinstance(error, UnidentifiedImageError):
        return InputError(f"{file}: not an image that PIL can read; convert it to PNG or JPEG, or remove it")
    return InputError(f"{file}: damaged, cannot be decoded ({error}); copy it again or remove it")
