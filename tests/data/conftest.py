"""Made datasets, small enough to be checked by hand."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visiontasks.data import DataModule, Source
from visiontasks.data.pipeline.sources import ArraySource

MakeData = Callable[..., DataModule]
WriteImages = Callable[..., Path]


class MadeData(DataModule):
    """`sizes` images a split, of two classes in turns; image i of any split has random pixels of seed i."""

    def __init__(self, sizes: dict[str, int], side_px: int, names: list[str], **options: Any) -> None:
        super().__init__(image_size=side_px, **options)
        self.sizes = sizes
        self.side_px = side_px
        self.names = names

    @property
    def class_names(self) -> list[str]:
        return self.names

    def load_sources(self) -> dict[str, Source]:
        return {split: ArraySource(self.images(size), np.arange(size) % 2) for split, size in self.sizes.items()}

    def images(self, size: int) -> Any:
        shape = (self.side_px, self.side_px, 3)
        return np.stack([np.random.default_rng(i).integers(0, 256, shape, np.uint8) for i in range(size)])


@pytest.fixture(scope="session")
def make_data() -> MakeData:
    """`make_data(train=23, val=5, batch_size=4, ...)`: a DataModule with splits of these sizes."""

    def make(
        *,
        train: int = 23,
        val: int = 5,
        test: int = 7,
        side_px: int = 8,
        class_names: Sequence[str] = ("even", "odd"),
        **options: Any,
    ) -> DataModule:
        return MadeData({"train": train, "val": val, "test": test}, side_px, list(class_names), **options)

    return make


@pytest.fixture
def write_images() -> WriteImages:
    """`write_images(folder, 3)`: 3 images 0.png, 1.png, ... of 8x6 pixels in a folder, which is made."""

    def write(folder: Path, number: int, *, size: tuple[int, int] = (8, 6), suffix: str = ".png") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(number):
            Image.new("RGB", size, (10 * i, 100, 200)).save(folder / f"{i}{suffix}")
        return folder

    return write
