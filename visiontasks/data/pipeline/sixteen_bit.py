"""From 16 bits a channel to 8, by a largest value that is the same for all images of a dataset."""

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, TiffImageFile

from visiontasks.data.pipeline.misread import is_16bit
from visiontasks.errors import InputError

UInt8Array = npt.NDArray[np.uint8]
UInt16Array = npt.NDArray[np.uint16]

MAX_16BIT = 65535
"""The largest value that 16 bits hold."""
WIDE_GREY_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_MAX_12BIT = 4095
_ORIENTATION = 0x0112


def file_content(image: ImageFile.ImageFile) -> bytes:
    """All bytes of an opened file, whose position is restored."""
    assert image.fp is not None
    place = image.fp.tell()
    image.fp.seek(0)
    content: bytes = image.fp.read()
    image.fp.seek(place)
    return content


def grey_of_16bit(image: Image.Image, white: int) -> Image.Image:
    """8 bits of a loaded image of grey that has more; white where it is transparent."""
    values = np.asarray(image)
    grey = _eight_bit(values, _MAX_12BIT if is_packed(image) else white)
    grey[values == image.info.get("transparency", -1)] = 255
    return Image.fromarray(grey)


def is_packed(image: Image.Image) -> bool:
    """Whether an image has 12 bits in 12, and not in 16."""
    return isinstance(image, TiffImageFile) and image.tag_v2.get(BITSPERSAMPLE) == (12,)


def colours_16bit(image: Image.Image) -> UInt16Array | None:
    """BGR or BGRA of a file with 16-bit colours, not turned upright; None if it has none. PIL gives their upper 8 bits.

    Args:
        image: Opened, but not loaded yet.
    """
    if not isinstance(image, ImageFile.ImageFile) or image.fp is None or image.mode in WIDE_GREY_MODES:
        return None
    if image.format != "JPEG2000" and not is_16bit(image):
        return None
    decoded = cv2.imdecode(np.frombuffer(file_content(image), np.uint8), cv2.IMREAD_UNCHANGED)
    if image.format == "JPEG2000" and decoded is not None and decoded.dtype == np.uint8:
        return None
    is_upright = image.getexif().get(_ORIENTATION, 1) == 1
    known = image.format == "PNG" or (image.format in ("TIFF", "JPEG2000") and is_upright)
    if not known or image.mode == "CMYK" or decoded is None or decoded.shape[2:] not in ((3,), (4,)):
        raise InputError(
            f"16-bit colours ({image.format}, mode {image.mode}) of which only 8 bits can be read, so "
            "data.init_args.max_16bit cannot be applied; save it as PNG"
        )
    return np.asarray(decoded, np.uint16)


def rgb_of_16bit(colours: UInt16Array, white: int) -> Image.Image:
    """8-bit RGB or RGBA of BGR or BGRA; the range is that of colours, and transparency always has all 16 bits."""
    bgr = _eight_bit(colours[:, :, :3], white)
    alpha = _eight_bit(colours[:, :, 3:], MAX_16BIT) if colours.shape[2] == 4 else bgr[:, :, :0]
    return Image.fromarray(np.concatenate([bgr[:, :, ::-1], alpha], axis=2))


def _eight_bit(values: npt.NDArray[np.generic], white: int) -> UInt8Array:
    wide = np.asarray(values, dtype=np.float64 if values.dtype.kind == "f" else np.int64)
    if values.dtype.kind == "f" or wide.min() < 0 or wide.max() > MAX_16BIT:
        raise InputError(
            f"grey values of type {values.dtype} from {wide.min()} to {wide.max()}, expected 8 or 16 bits; "
            "save it with 8 bits a channel"
        )
    if wide.max() > white:
        raise InputError(
            f"values up to {wide.max()}, expected at most {white} (data.init_args.max_16bit); state the largest value "
            "of all images there"
        )
    return ((wide * 255 + white // 2) // white).astype(np.uint8)
