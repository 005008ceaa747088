"""Images to check an export on: those of a folder, those that the run was tested on, or made ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from visiontasks.data import Source, read_image, sample_name
from visiontasks.data.pipeline.files import image_files
from visiontasks.data.pipeline.reader import UInt8Array
from visiontasks.data.pipeline.sources import FileSource, base_row
from visiontasks.errors import InputError, MissingFileError
from visiontasks.recipe.open_run import FinishedRun

SPLITS = ("test", "val", "train")
MADE_SIZES = ((150, 200), (301, 233), (64, 64))


@dataclass(frozen=True)
class Sample:
    """An image that is read when it is needed.

    Args:
        name: Its file, or its index and split.
        read: Gives it, decoded in full, RGB (H, W, 3), uint8.
        file: Its file, which the run's evaluation may decode smaller; None where it has none.
    """

    name: str
    read: Callable[[], UInt8Array]
    file: str | None = None


def folder_samples(folder: Path, *, max_16bit: int | None = None) -> list[Sample]:
    """All images in a folder and its subfolders.

    Args:
        folder: The folder.
        max_16bit: Largest value of 16-bit images, as for `read_image`.

    Raises:
        MissingFileError: If the folder is missing.
        InputError: If it holds no images, or files that are none.
    """
    if not folder.is_dir():
        raise MissingFileError(f"--images {folder}: no such folder")
    (files,) = image_files([folder])
    if not files:
        raise InputError(f"--images {folder}: no images in it")
    return [Sample(Path(file).name, partial(read_image, file, max_16bit=max_16bit), file) for file in files]


def run_samples(trained: FinishedRun, count: int) -> list[Sample]:
    """Images that a run was tested on, evenly over the split; where these are too few, of the other splits too.

    Args:
        trained: The run.
        count: How many at most.

    Raises:
        InputError: If the data is not there any more, or not as it was.
    """
    data = trained.data()
    data.setup()
    found: list[Sample] = []
    for split in SPLITS:
        if split not in data.split_sizes or len(found) >= count:
            continue
        source = data.source(split)
        rows = np.unique(np.linspace(0, len(source) - 1, min(len(source), count - len(found))).round().astype(int))
        for row in rows.tolist():
            name = f"{sample_name(source, row)} ({split})"
            found.append(Sample(name, partial(_pixels, source, row), _file(source, row)))
    return found


def made_samples() -> list[Sample]:
    """Three images of soft spots, the same ones each time."""
    return [Sample(f"made {i + 1}", partial(_spots, i)) for i in range(len(MADE_SIZES))]


def three(samples: Sequence[Sample]) -> list[Sample]:
    """The first, the middle and the last one; all of up to three."""
    return list(samples) if len(samples) <= 3 else [samples[0], samples[len(samples) // 2], samples[-1]]


def _pixels(source: Source, row: int) -> UInt8Array:
    return source[row]["image"]


def _file(source: Source, row: int) -> str | None:
    source, row = base_row(source, row)
    return str(source.paths[row]) if isinstance(source, FileSource) else None


def _spots(number: int) -> UInt8Array:
    height, width = MADE_SIZES[number]
    coarse = np.random.default_rng(number).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
