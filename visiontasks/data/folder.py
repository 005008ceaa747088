"""The user's own images, sorted into one folder for each class."""

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import numpy as np
from albumentations.core.composition import BaseCompose
from albumentations.core.transforms_interface import BasicTransform

from visiontasks.data.base import DataModule
from visiontasks.data.files import class_folders, image_files, is_image, listed, natural_key, visible_entries
from visiontasks.data.problems import OnBadSample, file_problems, usable_samples
from visiontasks.data.resize import Resize
from visiontasks.data.sources import FileSource, Source, Subset, check_fractions, divided, sample_path
from visiontasks.errors import InputError, MissingFileError

_SPLITS = ("train", "val", "test")
_MISNAMED = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}
_LAYOUTS = "<class>/ with images, or train/<class>/, val/<class>/ and test/<class>/"


class ImageFolder(DataModule):
    """Images in class folders, decoded when they are needed.

    Classes are the folders' names, class2 before class10. The splits depend on what lies under root:

    - `train/`, `val/`, `test/`: these.
    - `train/`, `test/`: validation is split off train.
    - `train/`, `val/`: these; there is no test split (evaluate with --split val).
    - `train/`, or class folders directly: validation and test are split off.
    - only `val/` or `test/`: these, to evaluate on.

    Class folders may hold folders. Hidden files and notes (.txt, .xml, .json, ...) are passed over.

    Beginning and end of every file are read, and all files that are empty, cut off, no images or of too many pixels are
    reported together. Bad files are left out after the splits are made, so that mending one leaves the others where
    they were.

    Args:
        root: The folder.
        val_fraction: Share of all training images that is split off for validation, where `val/` is missing.
        test_fraction: Share split off for test, where `val/` and `test/` are missing; 0.0 leaves none. 1.0 is
            for evaluation: where there are no splits all images are the test split, and `train/` beside others
            is not opened.
        split_seed: Decides which images are split off; apart from `seed`, so that runs share their test set.
        classes: Names of the class folders in the order of the labels, for a folder to evaluate on that lacks
            some of the classes. By default all that are there.
        on_bad_sample: `error` refuses a folder with bad files, with a list of them; `skip` decodes every file in full,
            leaves out the bad ones and counts them in `skipped`.
        image_size: Height and width in pixels of the images in a batch, or the side of square ones.
        batch_size: Images per batch and process.
        resize: How an image gets that size, as in `DataModule`.
        augment: albumentations transforms of the training images.
        num_workers: Loading processes; chosen by default.
        cache_images_gb: Memory for decoded images, as in `DataModule`; 0 keeps nothing.
        seed: Seed of order and augmentation; by default that of `seed_everything`.

    Raises:
        InputError: If a fraction is out of range, or a class is named twice.
    """

    def __init__(
        self,
        root: str,
        *,
        val_fraction: float = 0.2,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        classes: list[str] | None = None,
        on_bad_sample: OnBadSample = "error",
        image_size: int | tuple[int, int] = 224,
        batch_size: int = 32,
        resize: Resize = "crop",
        augment: list[BasicTransform | BaseCompose] | None = None,
        num_workers: int | None = None,
        cache_images_gb: float = 1.0,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            image_size=image_size,
            batch_size=batch_size,
            resize=resize,
            augment=augment,
            num_workers=num_workers,
            cache_images_gb=cache_images_gb,
            seed=seed,
        )
        check_fractions(val_fraction, test_fraction)
        if classes and len(set(classes)) < len(classes):
            raise InputError(f"data.init_args.classes: {listed(classes)}, expected each name once")
        if on_bad_sample not in get_args(OnBadSample):
            raise InputError(
                f"data.init_args.on_bad_sample: {on_bad_sample!r}, expected one of {', '.join(get_args(OnBadSample))}"
            )
        self.root = Path(root)
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed
        self.classes = classes
        self.on_bad_sample: OnBadSample = on_bad_sample
        self.skip_decodes = True
        """Whether `skip` decodes in full; a check that decodes anyway needs only beginnings and ends."""
        self._class_names: list[str] = []

    @property
    def class_names(self) -> list[str]:
        """Names of the class folders (of train, if it is there), in natural order, or `classes`.

        Raises:
            MissingFileError: If root is not there.
            InputError: If it has no class folders.
        """
        if not self._class_names:
            self._class_names = list(self.classes) if self.classes else self._found_classes()
        return list(self._class_names)

    def load_sources(self) -> dict[str, Source]:
        """List the images of each split, and leave out those that cannot be used.

        Raises:
            MissingFileError: If root is not there.
            BadSamplesError: If files are bad, and not to be skipped; with all of them.
            InputError: If folders or files are not as the class says, with all of their names, or all files of a split
                are bad.
        """
        return self._usable(self._split_sources())

    def _split_sources(self) -> dict[str, Source]:
        """All images of each split."""
        sources: dict[str, Source] = {split: self._open(folder) for split, folder in self._opened_folders().items()}
        if "train" not in sources or "val" in sources:
            return sources
        if "test" in sources:
            return {**sources, **self._divided(sources["train"], test_fraction=0.0)}
        return self._divided(sources["train"], test_fraction=self.test_fraction)

    def _usable(self, sources: Mapping[str, Source]) -> dict[str, Source]:
        """The sources without bad files."""
        paths = [sample_path(source, row) for source in sources.values() for row in range(len(source))]
        problems = file_problems(paths, decode=self.on_bad_sample == "skip" and self.skip_decodes)
        usable = usable_samples(problems, root=self.root, on_bad_sample=self.on_bad_sample)
        ends = np.cumsum([len(source) for source in sources.values()])[:-1]
        found: dict[str, Source] = {}
        for (split, source), good in zip(sources.items(), np.split(usable, ends), strict=True):
            if not good.any():
                raise InputError(
                    f"data.init_args.on_bad_sample: skip, but all {len(source)} image(s) of the {split} split are bad; "
                    "set it to error to have them listed"
                )
            if self.on_bad_sample == "skip":
                self.skipped[split] = int((~good).sum())
            found[split] = source if good.all() else Subset(source, np.flatnonzero(good))
        return found

    def _opened_folders(self) -> dict[str, Path]:
        folders = self._split_folders()
        if self.test_fraction < 1:
            return folders
        if list(folders) == ["train"]:
            return {"test": folders["train"]}
        return {split: folder for split, folder in folders.items() if split != "train"}

    def _split_folders(self) -> dict[str, Path]:
        """The folders that hold class folders; one without splits counts as train."""
        if not self.root.is_dir():
            raise MissingFileError(f"no folder {self.root}/: point --data.init_args.root at your images, as {_LAYOUTS}")
        names = class_folders(self.root)
        splits = {split: self.root / split for split in _SPLITS if split in names}
        # A class may be called train: then it holds images, not folders, and stands beside other classes.
        if not any(class_folders(folder) for folder in splits.values()) and not set(names) <= set(_SPLITS):
            splits = {}
        misnamed = [name for name in names if name.lower() in _MISNAMED]
        if misnamed and (splits or len(misnamed) == len(names)):
            better = ", ".join(f"{name} to {_MISNAMED[name.lower()]}" for name in misnamed)
            raise InputError(f"{self.root}/: the splits are called {', '.join(_SPLITS)}; rename {better}")
        return splits or {"train": self.root}

    def _found_classes(self) -> list[str]:
        folders = self._split_folders()
        searched = [folders["train"]] if "train" in folders else list(folders.values())
        names = {name for folder in searched for name in class_folders(folder)}
        if not names:
            raise InputError(
                f"no class folders in {' or '.join(f'{folder}/' for folder in searched)}: expected {_LAYOUTS}"
            )
        if len(names) == 1:
            raise InputError(f"data.init_args.root: {self.root}/ has 1 class ({names.pop()}), expected at least 2")
        return sorted(names, key=natural_key)

    def _open(self, folder: Path) -> FileSource:
        names, found = self.class_names, class_folders(folder)
        unknown = [name for name in found if name not in names]
        if unknown:
            known = "data.init_args.classes" if self.classes else f"{self.root / 'train'}/"
            add = f"add them to {known}" if self.classes else "add training images of them"
            raise InputError(
                f"{folder}/ has classes that {known} lacks: {listed(unknown)}; expected some of "
                f"{listed(names)}: {add}, or remove these folders"
            )
        stray = sorted(entry.name for entry in visible_entries(folder) if entry.is_file() and is_image(entry.name))
        if stray:
            raise InputError(f"{folder}/ has images outside of class folders: {listed(stray)}; move or remove them")
        labels = [label for label, name in enumerate(names) if name in found]
        paths = image_files(folder / names[label] for label in labels)
        if not any(paths):
            raise InputError(f"no images in the class folders of {folder}/ ({listed(found)}); expected {_LAYOUTS}")
        counts = [len(of_class) for of_class in paths]
        return FileSource([path for of_class in paths for path in of_class], np.repeat(labels, counts))

    def _divided(self, whole: Source, *, test_fraction: float) -> dict[str, Source]:
        """Split validation and test off, as shares of the whole."""
        parts = ["train", "val"] + (["test"] if test_fraction > 0 else [])
        counts = np.bincount(whole.labels, minlength=self.num_classes)
        small = [f"{name} ({n})" for name, n in zip(self.class_names, counts, strict=True) if n < len(parts)]
        if small:
            raise InputError(
                f"{self.root}/: too few images to be split into {', '.join(parts)}: {listed(small)}; add "
                "images, remove the class, or make the folders train/, val/ and test/ yourself"
            )
        return divided(whole, val_fraction=self.val_fraction, test_fraction=test_fraction, split_seed=self.split_seed)
