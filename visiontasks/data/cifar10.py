"""CIFAR-10 (Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009): 60,000 photographs of 32x32 pixels."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from albumentations.core.composition import BaseCompose
from albumentations.core.transforms_interface import BasicTransform
from torchvision.datasets import CIFAR10 as OfficialFiles

from visiontasks.data.base import DataModule
from visiontasks.data.download import download as fetch_dataset
from visiontasks.data.files import image_files
from visiontasks.data.reader import UInt8Array, read_image
from visiontasks.data.sources import ArraySource, Source, Subset, stratified_split
from visiontasks.data.transforms import Resize
from visiontasks.errors import InputError, MissingFileError

_SIDE_PX = 32
_LAYOUTS = "cifar-10-batches-py/ as in cifar-10-python.tar.gz, or train/<class>/ and test/<class>/ with png or jpg files"


class CIFAR10(DataModule):
    """The official files or class folders of images, held in memory; validation is split off the 50,000 training images."""

    class_names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]

    def __init__(
        self,
        root: str = "data",
        download: bool = False,
        *,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        image_size: int = 32,
        batch_size: int = 32,
        resize: Resize = "crop",
        augment: list[BasicTransform | BaseCompose] | None = None,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        """Say where the files are; the rest as in `DataModule`.

        Args:
            root: Folder that holds `cifar-10-batches-py/`, or `train/<class>/` and `test/<class>/`.
            download: Fetch the official files (170 MB) into root if neither is there.
            val_fraction: Share of the training images held out for validation, stratified.
            split_seed: Decides which; apart from `seed`, so that runs with other seeds share them.
            image_size: Side in pixels of the square images in a batch.
            batch_size: Images per batch and process.
            resize: How an image gets that size.
            augment: albumentations transforms for training images.
            num_workers: Loading processes; default: chosen.
            seed: Seed of order and augmentation.

        Raises:
            InputError: If val_fraction is not between 0 and 1.
        """
        super().__init__(
            image_size=image_size,
            batch_size=batch_size,
            resize=resize,
            augment=augment,
            num_workers=num_workers,
            seed=seed,
        )
        if not 0 < val_fraction < 1:
            raise InputError(f"data.init_args.val_fraction: {val_fraction}, expected between 0 and 1, like 0.1")
        self.root = Path(root)
        self.download = download
        self.val_fraction = val_fraction
        self.split_seed = split_seed

    def prepare_data(self) -> None:
        """Download the official files if asked to and nothing is there.

        Raises:
            MissingFileError: If the data is missing and may not or cannot be downloaded.
        """
        if self._has_official_files() or self._has_class_folders():
            return
        if not self.download:
            raise MissingFileError(
                f"no CIFAR-10 in {self.root}/: run with --data.init_args.download true (--data.download true), or point "
                f"--data.init_args.root at it ({_LAYOUTS})"
            )
        fetch_dataset(
            lambda: OfficialFiles(self.root, download=True),
            name="CIFAR-10",
            root=str(self.root),
            urls=[OfficialFiles.url],
            layout=_LAYOUTS,
        )

    def load_sources(self) -> dict[str, Source]:
        """Read all images into memory.

        Raises:
            InputError: If files are missing, damaged or of another size.
        """
        read = self._read_official if self._has_official_files() else self._read_class_folders
        whole, test = read("train"), read("test")
        train, val = stratified_split(whole.labels, self.val_fraction, self.split_seed)
        return {"train": Subset(whole, train), "val": Subset(whole, val), "test": test}

    def _has_official_files(self) -> bool:
        return (self.root / OfficialFiles.base_folder).is_dir()

    def _has_class_folders(self) -> bool:
        return all((self.root / split).is_dir() for split in ("train", "test"))

    def _read_official(self, split: str) -> ArraySource:
        try:
            files = OfficialFiles(self.root, train=split == "train")  # checks every file's md5 before it unpickles it
        except RuntimeError as error:
            folder = self.root / OfficialFiles.base_folder
            raise InputError(
                f"{folder}: CIFAR-10 files are missing or their md5 is wrong; remove the folder and run with "
                "--data.init_args.download true, or unpack cifar-10-python.tar.gz again"
            ) from error
        return ArraySource(files.data, np.array(files.targets))

    def _read_class_folders(self, split: str) -> ArraySource:
        folder = self.root / split
        if not folder.is_dir():
            raise MissingFileError(f"no CIFAR-10 in {self.root}/: {folder}/ is missing, expected {_LAYOUTS}")
        missing = [name for name in self.class_names if not (folder / name).is_dir()]
        if missing:
            raise InputError(f"{folder}/: no folder for {', '.join(missing)}; expected one for each of CIFAR-10's ten classes")
        paths = [image_files(folder / name) for name in self.class_names]
        labels = np.repeat(np.arange(len(paths)), [len(of_class) for of_class in paths])
        return ArraySource(_decoded([path for of_class in paths for path in of_class]), labels)


def _decoded(paths: list[str]) -> UInt8Array:
    images = np.empty((len(paths), _SIDE_PX, _SIDE_PX, 3), dtype=np.uint8)

    def decode(row: int) -> None:
        image = read_image(paths[row])
        if image.shape != images.shape[1:]:
            raise InputError(
                f"{paths[row]}: {image.shape[1]}x{image.shape[0]} pixels, CIFAR-10 has {_SIDE_PX}x{_SIDE_PX}; for other images take ImageFolder"
            )
        images[row] = image

    with ThreadPoolExecutor() as threads:
        for _ in threads.map(decode, range(len(paths)), chunksize=256):
            pass
    return images
