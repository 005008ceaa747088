"""MNIST (LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998).

https://doi.org/10.1109/5.726791
"""

import gzip
import hashlib
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torchvision.datasets import MNIST as OfficialFiles

from visiontasks.data.base import DataModule
from visiontasks.data.pipeline.sources import ArraySource, Source, Subset, check_fractions, stratified_split
from visiontasks.data.targets import LabelTarget
from visiontasks.downloads import DOWNLOADS
from visiontasks.errors import InputError, MissingFileError

_UINT8_TYPE = 0x08
MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
"""Of the uncompressed files, which stays the same however they were compressed."""

DOWNLOAD = DOWNLOADS["MNIST"]


class MNIST(DataModule):
    """28x28 grey digits as RGB, held in memory; 60,000 train + val, 10,000 test.

    Args:
        root: Folder with `MNIST/raw/`, where the four idx files lie, gzipped or not.
        download: Fetch them (12 MB) if they are not there.
        val_fraction: Share of the 60,000 that is held out for validation, stratified.
        split_seed: Decides which; apart from `seed`, so that runs share their validation set.
        **kwargs: Arguments of `DataModule`.

    Raises:
        InputError: If val_fraction is not between 0 and 1.
    """

    def __init__(
        self,
        root: str = "data",
        download: bool = False,
        *,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        image_size: int | tuple[int, int] = 28,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_size=image_size, cache_images_gb=0, max_16bit=None, target=LabelTarget(), **kwargs)
        check_fractions(val_fraction, 0.0)
        self.root = Path(root)
        self.download = download
        self.val_fraction = val_fraction
        self.split_seed = split_seed

    @property
    def class_names(self) -> list[str]:
        """0 to 9."""
        return [str(digit) for digit in range(10)]

    def prepare_data(self) -> None:
        """Download the files, if asked to and they are not there.

        Raises:
            MissingFileError: If they are missing and may not or cannot be downloaded.
        """
        DOWNLOAD.provide(self.root, lambda: OfficialFiles(self.root, download=True), allowed=self.download)

    def load_sources(self) -> dict[str, Source]:
        """Read all images into memory.

        Raises:
            InputError: If a file is missing, damaged, or not MNIST's.
        """
        whole, test = self._read("train"), self._read("t10k")
        train, val = stratified_split(whole.labels, self.val_fraction, self.split_seed)
        return {"train": Subset(whole, train), "val": Subset(whole, val), "test": test}

    @property
    def _folder(self) -> Path:
        return self.root / "MNIST" / "raw"

    def _read(self, prefix: str) -> ArraySource:
        images = read_idx(self._folder, f"{prefix}-images-idx3-ubyte")
        return ArraySource(images, read_idx(self._folder, f"{prefix}-labels-idx1-ubyte"))


def read_idx(folder: Path, name: str) -> npt.NDArray[np.uint8]:
    """Read one of MNIST's files, gzipped or not, and check that it is that file.

    The format: 0, 0, the type (8: uint8), the number of dimensions, each dimension as 4 bytes with the
    largest first, the values.

    Args:
        folder: Where it lies.
        name: Its name without .gz, a key of `MD5`.

    Returns:
        Images (n, 28, 28) or labels (n,).

    Raises:
        MissingFileError: If it is not there.
        InputError: If it cannot be unpacked or its md5 is not the official one.
    """
    path = _found(folder, name)
    if path is None:
        raise MissingFileError(f"no MNIST in {folder}/: {name}[.gz] is missing; expected {DOWNLOAD.description}")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be unpacked ({error}); copy or download it again") from error
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if md5 != MD5[name]:
        raise InputError(f"{path}: not MNIST's file, the md5 of its content is {md5}, expected {MD5[name]}; replace it")
    dimensions = content[3]
    assert content[:3] == bytes((0, 0, _UINT8_TYPE))  # known from the md5
    shape = np.frombuffer(content, dtype=">u4", count=dimensions, offset=4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dimensions).reshape(shape.tolist())


def _found(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
