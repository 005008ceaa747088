"""Images on their way to a trained network: files, arrays or PIL images, read and resized as its evaluation does."""

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from PIL import Image

import visiontasks.data
from visiontasks.data.datasets.boxes import BoxData
from visiontasks.data.pipeline.reader import LeastSize, NotedSize, UInt8Array, read_image, rgb_array
from visiontasks.data.pipeline.reduction import reduction
from visiontasks.errors import InputError
from visiontasks.outputs.geometry import Geometry, Resize, Size, place
from visiontasks.predict.given import SingleImage
from visiontasks.recipe.open_run import FinishedRun

MOST_SCALED_PIXELS = 100_000_000
"""To which an image is scaled before a crop, 0.3 GB."""
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Preprocessing:
    """How images get the size of a network's input.

    Args:
        size: Height and width of the result, for `place`.
        resize: The policy, for `place`.
        least_size: How small JPEG files may be decoded, as for `read_image`.
        max_16bit: Largest value of 16-bit images, as for `read_image`.
    """

    size: Size
    resize: Resize
    least_size: LeastSize | None = None
    max_16bit: int | None = None

    def read(self, image: SingleImage) -> tuple[UInt8Array, Size]:
        """Decode an image, RGB (H, W, 3); and its height and width, of which a JPEG may have been made smaller.

        Raises:
            MissingFileError: If the file is missing.
            InputError: If it cannot be decoded, or is not an image.
        """
        if isinstance(image, InputError):
            raise image
        if isinstance(image, np.ndarray):
            pixels = image
        elif isinstance(image, Image.Image):
            pixels = rgb_array(image, max_16bit=self.max_16bit)
        elif self.least_size is None:
            pixels = read_image(image, max_16bit=self.max_16bit)
        else:
            asked = NotedSize(self.least_size)
            pixels = read_image(image, least_size=asked, max_16bit=self.max_16bit)
            if asked.size is not None:
                return pixels, asked.size
        return pixels, (pixels.shape[0], pixels.shape[1])


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image as networks get it.

    Args:
        name: The file as it was given, or the position in the input.
        size: Its own height and width; None if it could not be read.
        inputs: For each preprocessing its pixels and geometry; empty if it could not be read.
        error: Why it could not be read.
    """

    name: str
    size: Size | None = None
    inputs: tuple[tuple[UInt8Array, Geometry], ...] = ()
    error: str | None = None


def preprocessing_of(trained: FinishedRun, size: Size) -> Preprocessing:
    """What a run's evaluation does with an image before the network.

    Args:
        trained: The run.
        size: Height and width of the result: `trained.image_size`, or larger where parts are cut from it.
    """
    data = trained.recipe["data"]
    source = getattr(visiontasks.data, data["class_path"].rpartition(".")[2], None)
    has_boxes = isinstance(source, type) and issubclass(source, BoxData)
    # as `visiontasks.data.pipeline.sources.reduced`: only where nothing but a label belongs to an image
    reducible = trained.task.outputs.is_of_whole_image and not has_boxes
    least_size = reduction(size, trained.resize, None) if reducible else None
    return Preprocessing(size, trained.resize, least_size, trained.max_16bit)


def prepare(index: int, image: SingleImage, preprocessings: Sequence[Preprocessing]) -> Prepared:
    """Read an image and resize it for each preprocessing; what is wrong with it is in the result.

    Args:
        index: Its position in the input, which is its name where it has no file.
        image: See `visiontasks.predict.given.single_images`.
        preprocessings: At least one; the file is decoded once for each way to decode it.
    """
    name = _name(index, image)
    decoded: dict[tuple[LeastSize | None, int | None], tuple[UInt8Array, Size]] = {}
    inputs = []
    try:
        for each in preprocessings:
            way = each.least_size, each.max_16bit
            if way not in decoded:
                decoded[way] = each.read(image)
            pixels, size = decoded[way]
            geometry = place(size, each.size, each.resize)
            _check_scaled(geometry)
            inputs.append((geometry.image(pixels), geometry))
    except InputError as error:
        return Prepared(name, error=str(error).removeprefix(f"{name}: "))
    first = preprocessings[0]
    return Prepared(name, decoded[first.least_size, first.max_16bit][1], tuple(inputs))


def in_batches(
    function: Callable[[Item], Result], items: Iterable[Item], *, size: int, threads: int, ahead: bool
) -> Generator[list[Result], None, None]:
    """Apply a function to items in threads, and give the results in batches, in the order of the items.

    Args:
        function: Its exceptions are raised where its batch would be.
        items: Any number; taken batch by batch.
        size: Of a batch; the last one may be smaller.
        threads: How many work at once.
        ahead: Whether the next batch is begun before one is given, or once the next one is asked for.
    """
    rest = iter(items)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")

    def begun() -> list[Future[Result]]:
        return [pool.submit(function, item) for item in islice(rest, size)]

    try:
        batch = begun()
        while batch:
            following = begun() if ahead else []
            yield [future.result() for future in batch]
            batch = following if ahead else begun()
    finally:
        pool.shutdown(cancel_futures=True)


def _check_scaled(placement: Geometry) -> None:
    """Refuse a long line, of which a crop takes the middle only after all of it was enlarged."""
    height, width = placement.scaled
    if placement.scaled != placement.size and height * width > MOST_SCALED_PIXELS:
        raise InputError(
            f"{placement.size[1]}x{placement.size[0]} pixels, which would be enlarged to {width}x{height} so that a "
            f"crop of {placement.target[1]}x{placement.target[0]} is covered; cut it into parts"
        )


def _name(index: int, image: Any) -> str:
    if isinstance(image, str | os.PathLike):
        return os.fspath(image)
    return str(getattr(image, "filename", "") or index)
