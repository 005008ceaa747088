"""JPEG files by OpenCV, in two thirds of PIL's time: only those of which it gives PIL's pixels to the last bit."""

import io
import os
import re
import struct
from collections.abc import Callable
from functools import cache
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from visiontasks.data.pipeline.sixteen_bit import file_content

UInt8Array = npt.NDArray[np.uint8]
LeastSize = Callable[[tuple[int, int]], tuple[int, int]]
"""From an image's height and width those that must be left of it."""

_AS_STORED = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_FLAGS = {
    1: _AS_STORED,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2 | _AS_STORED,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4 | _AS_STORED,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8 | _AS_STORED,
}
"""By what the sides are divided by; the names with COLOR stand for BGR."""
_MODES = ("RGB", "L")  # of CMYK, OpenCV's colours differ from PIL's
_START, _END = b"\xff\xd8", b"\xff\xd9"
_FRAMES, _SCAN, _APP1, _APP2 = (0xC0, 0xC1, 0xC2), 0xDA, 0xE1, 0xE2
_SEGMENTS = re.compile(rb"\xff[\xc0-\xc2\xc4\xda\xdb\xdd\xe0-\xef\xfe]")
_BETWEEN_SCANS = re.compile(rb"\xff[\xc4\xda\xdd]")
"""Those of tables, restarts and scans: a second header is another file's."""
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7]")
"""In a scan 0xff stands before 0 or a restart marker only."""


def read_plain_jpeg(path: str | os.PathLike[str], least_size: LeastSize | None) -> UInt8Array | None:
    """Decode a JPEG file without PIL, which takes a tenth of a small photograph's time for its header.

    Args:
        path: A regular file, or none.
        least_size: Where it is given, the height and width that must be left of an image.

    Returns:
        RGB, (H, W, 3), as PIL decodes it; None for what `jpeg_pixels` gives None for, for files that may be turned
        (EXIF, XMP) or have several images, for those that may be decoded smaller, and for unreadable ones.
    """
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (half the time of Path.open)
            content = _START + file.read() if file.read(len(_START)) == _START else b""
    except OSError:
        return None
    size = _plain_size(content)
    if size is None or (Image.MAX_IMAGE_PIXELS is not None and size[0] * size[1] > Image.MAX_IMAGE_PIXELS):
        return None
    if least_size is not None:
        height, width = least_size(size)
        if size[0] >= 2 * height and size[1] >= 2 * width:
            return None
    pixels = _decoded(content, 1) if opencv_agrees() else None
    return pixels if pixels is not None and pixels.shape[:2] == size else None


def jpeg_pixels(image: Image.Image) -> UInt8Array | None:
    """Pixels of a JPEG that is opened, but not loaded yet, as PIL would load them; not turned upright.

    Args:
        image: Drafted or not.

    Returns:
        RGB, (H, W, 3); None for what only PIL decodes or explains: other formats and colours, files that are cut off,
        damaged, or go on behind their end.
    """
    if not isinstance(image, JpegImageFile) or image.format != "JPEG" or not image.tile or image.mode not in _MODES:
        return None
    content = file_content(image)
    if not segments(content) or not opencv_agrees():
        return None
    pixels = _decoded(content, image.decoderconfig[0] if image.decoderconfig else 1)
    return pixels if pixels is not None and pixels.shape[:2] == (image.height, image.width) else None


def segments(content: bytes) -> list[tuple[int, int]]:
    """Marker and place of each segment of a JPEG; none unless they and its scans go on to its last byte without a gap.

    OpenCV decodes one that is cut off, or whose scan runs into another file, without an error.
    """
    found: list[tuple[int, int]] = []
    place, expected = len(_START), _SEGMENTS
    while expected.match(content, place):
        marker = content[place + 1]
        found.append((marker, place))
        place += 2 + int.from_bytes(content[place + 2 : place + 4])
        if marker == _SCAN:
            end, expected = _SCAN_END.search(content, place), _BETWEEN_SCANS
            place = end.start() if end else len(content)
    return found if content[place:] == _END else []


def _plain_size(content: bytes) -> tuple[int, int] | None:
    """Height and width of a whole JPEG of 8-bit RGB or grey, upright, with one image."""
    size = None
    for marker, place in segments(content):
        values = content[place + 4 : place + 10]
        if marker == _APP1 or (marker == _APP2 and values.startswith(b"MPF")):
            return None
        if marker in _FRAMES:
            bits, height, width, channels = struct.unpack(">BHHB", values)
            if size is not None or bits != 8 or channels not in (1, 3):
                return None
            size = height, width
    return size


@cache
def opencv_agrees() -> bool:
    """Whether OpenCV decodes as PIL does here: they may come with libraries that round or interpolate otherwise."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (21, 37, 3), np.uint8))
    for subsampling, scale in product(("4:4:4", "4:2:2", "4:2:0"), _FLAGS):
        file = io.BytesIO()
        noise.save(file, "JPEG", quality=90, subsampling=subsampling)
        with Image.open(file) as image:
            image.draft(None, (image.width // scale, image.height // scale))
            decoded = _decoded(file.getvalue(), scale)
            if decoded is None or not np.array_equal(np.asarray(image), decoded):
                return False
    return True


def _decoded(content: bytes, scale: int) -> UInt8Array | None:
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), _FLAGS[scale])
    except cv2.error:  # more pixels than OpenCV's own limit
        return None
    return None if pixels is None else np.asarray(pixels, np.uint8)
