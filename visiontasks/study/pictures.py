"""Small pictures of images of a dataset, as a page can hold them."""

import base64
from collections.abc import Sequence

import cv2

from visiontasks.data import DataModule
from visiontasks.data.pipeline.reader import read_image
from visiontasks.outputs.base import UInt8Array

MOST_PICTURES = 300
LONGEST_PX = 220
_QUALITY = 80


def pictures(data: DataModule, places: Sequence[tuple[str, int]]) -> list[str]:
    """Images as data URIs.

    Args:
        data: After `setup()`.
        places: Split and row of each image; the first 300 are taken.
    """
    return [_data_uri(data.source(split)[row]["image"]) for split, row in places[:MOST_PICTURES]]


def file_picture(file: str, *, max_16bit: int | None = None) -> str:
    """An image file that can be read, as a data URI.

    Args:
        file: Its path.
        max_16bit: Largest value of 16-bit images, as for `read_image`.
    """
    return _data_uri(read_image(file, least_size=lambda _: (LONGEST_PX, LONGEST_PX), max_16bit=max_16bit))


def _data_uri(image: UInt8Array) -> str:
    scale = min(1.0, LONGEST_PX / max(image.shape[:2]))
    size = max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[0]))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    _, content = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(content.tobytes()).decode()}"
