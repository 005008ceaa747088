"""CIFAR-10: 60,000 photographs of 32x32 (Krizhevsky, "Learning Multiple Layers of Features...", 2009).

https://www.cs.toronto.edu/~kriz/cifar.html
"""

from pathlib import Path
from typing import Any

import numpy as np
from torchvision.datasets import CIFAR10 as OfficialFiles

from visiontasks.data.base import DataModule
from visiontasks.data.pipeline.files import image_files, listed
from visiontasks.data.pipeline.problems import Problem, usable_samples
from visiontasks.data.pipeline.reader import UInt8Array, read_image
from visiontasks.data.pipeline.sources import ArraySource, Source, Subset, check_fractions, stratified_split
from visiontasks.data.targets import LabelTarget
from visiontasks.downloads import DOWNLOADS
from visiontasks.errors import InputError, MissingFileError

_CLASS_NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
_SIDE_PX = 32
DOWNLOAD = DOWNLOADS["CIFAR10"]


class CIFAR10(DataModule):
    """CIFAR-10 from official files or class folders, held in memory; 50,000 train + val, 10,000 test.

    Args:
        root: Folder with `cifar-10-batches-py/`, or with `train/<class>/` and `test/<class>/`.
        download: Fetch the official files (170 MB) into root if neither is there.
        val_fraction: Share of the 50,000 that is held out for validation, stratified.
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
        image_size: int | tuple[int, int] = 32,
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
        """The ten classes in the official order, which is also the alphabetical one."""
        return list(_CLASS_NAMES)

    def prepare_data(self) -> None:
        """Download the official files, if asked to and nothing is there.

        Raises:
            MissingFileError: If the data is missing and may not or cannot be downloaded.
        """
        DOWNLOAD.provide(self.root, lambda: OfficialFiles(self.root, download=True), allowed=self.download)

    def load_sources(self) -> dict[str, Source]:
        """Read all images into memory.

        Raises:
            InputError: If files are missing, damaged, or of another size.
        """
        read = self._read_official if self._has_official_files() else self._read_class_folders
        whole, test = read("train"), read("test")
        train, val = stratified_split(whole.labels, self.val_fraction, self.split_seed)
        return {"train": Subset(whole, train), "val": Subset(whole, val), "test": test}

    def _has_official_files(self) -> bool:
        return bool((self.root / OfficialFiles.base_folder).is_dir())

    def _read_official(self, split: str) -> ArraySource:
        try:
            files = OfficialFiles(self.root, train=split == "train")  # checks every md5 before it unpickles
        except RuntimeError as error:
            raise InputError(
                f"{self.root / OfficialFiles.base_folder}: CIFAR-10's files are incomplete or their md5 is "
                "wrong; remove the folder and run with --data.init_args.download true, or unpack "
                f"{OfficialFiles.filename} again"
            ) from error
        return ArraySource(files.data, np.array(files.targets))

    def _read_class_folders(self, split: str) -> ArraySource:
        folders = [self.root / split / name for name in _CLASS_NAMES]
        missing = [str(folder) for folder in folders if not folder.is_dir()]
        if missing:
            raise MissingFileError(
                f"no CIFAR-10 in {self.root}/: no folder {listed(missing)}; expected {DOWNLOAD.description}"
            )
        found = image_files(folders)
        labels = np.repeat(np.arange(len(found)), [len(of_class) for of_class in found])
        paths = [path for of_class in found for path in of_class]
        return ArraySource(_decoded(paths, self.root), labels, paths=paths)


def _decoded(paths: list[str], root: Path) -> UInt8Array:
    # One thread: at 70 us an image, several only wait for each other.
    images = np.empty((len(paths), _SIDE_PX, _SIDE_PX, 3), dtype=np.uint8)
    problems: list[list[Problem]] = [[] for _ in paths]
    for row, path in enumerate(paths):
        try:
            images[row] = _read(path)
        except InputError as error:
            problems[row].append(Problem.of_error(path, error, otherwise="copy it there again"))
    usable_samples(problems, root=root, on_bad_sample="error", can_skip=False)
    return images


def _read(path: str) -> UInt8Array:
    image = read_image(path)
    if image.shape != (_SIDE_PX, _SIDE_PX, 3):
        raise InputError(
            f"{path}: {image.shape[1]}x{image.shape[0]} pixels, CIFAR-10 has {_SIDE_PX}x{_SIDE_PX}; for other images "
            "take ImageFolder"
        )
    return image
