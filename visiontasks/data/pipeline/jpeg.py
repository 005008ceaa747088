"""JPEG files by OpenCV, in two thirds of PIL's time: only those of which it gives PIL's pixels to the last bit."""

import io
import re
from functools import cache
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from visiontasks.data.pipeline.sixteen_bit import file_content

UInt8Array = npt.NDArray[np.uint8]

_AS_STORED = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_FLAGS = {
    1: _AS_STORED,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2 | _AS_STORED,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4 | _AS_STORED,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8 | _AS_STORED,
}
"""By what the sides are divided by; the names with COLOR stand for BGR."""
_MODES = ("RGB", "L")  # of CMYK, OpenCV's colours differ from PIL's
_START, _SCAN, _END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
_SEGMENTS = re.compile(rb"\xff[\xc0-\xcf\xda-\xfe]")
"""Markers that a length follows."""
_BETWEEN_SCANS = re.compile(rb"\xff[\xc4\xda\xdd]")
"""Those of tables, restarts and scans: a second header is another file's."""
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7]")
"""In a scan 0xff stands before 0 or a restart marker only."""


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
    if not is_whole(content) or not opencv_agrees():
        return None
    pixels = _decoded(content, image.decoderconfig[0] if image.decoderconfig else 1)
    return pixels if pixels is not None and pixels.shape[:2] == (image.height, image.width) else None


def is_whole(content: bytes) -> bool:
    """Whether the segments and scans of a JPEG follow each other without a gap up to its last byte.

    OpenCV decodes one that is cut off, or whose scan runs into another file, without an error.
    """
    place, expected = len(_START), _SEGMENTS
    while expected.match(content, place):
        is_scan = content.startswith(_SCAN, place)
        place += 2 + int.from_bytes(content[place + 2 : place + 4])
        if is_scan:
            end, expected = _SCAN_END.search(content, place), _BETWEEN_SCANS
            place = end.start() if end else len(content)
    return content[place:] == _END


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
