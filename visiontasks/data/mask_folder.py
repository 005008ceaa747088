"""The user's own images with a mask each, in images/ and masks/ by equal stems."""

from pathlib import Path

import numpy as np
from albumentations.core.composition import BaseCompose
from albumentations.core.transforms_interface import BasicTransform

from visiontasks.data.base import DataModule
from visiontasks.data.files import class_folders, listed
from visiontasks.data.masks import MaskPair, MaskSource, ValueTable, check_masks, paired
from visiontasks.data.problems import OnBadSample, usable_samples
from visiontasks.data.resize import Resize
from visiontasks.data.sources import Int64Array, Source, check_fractions, divided
from visiontasks.data.transforms import IGNORED
from visiontasks.errors import InputError, MissingFileError

_SPLITS = ("train", "val", "test")
_LAYOUTS = "images/ and masks/, or train/, val/ and test/ with images/ and masks/ each"
CLASSES_FILE = "classes.txt"


class MaskFolder(DataModule):
    """Images and masks of class indices, one file each with equal stems, decoded when they are needed.

    `root` holds `images/` and `masks/`, or the splits `train/`, `val/` and `test/` with both folders each; what is
    missing of the splits is split off as in `ImageFolder`. A mask has one channel (PNG, mode L or P) and the size of
    its image; 255 marks pixels without a class. Every mask is decoded and checked before the training.

    The classes are the lines of `classes.txt` in root ("Sky", or "0 Sky"), else the values in the training masks.

    Args:
        root: The folder.
        ignored: Values in the masks that mean no class, besides 255; lines of `classes.txt` for them are left out, and
            the classes behind them move up.
        val_fraction: Share of all training images that is split off for validation, where `val/` is missing.
        test_fraction: Share split off for test, where `val/` and `test/` are missing; 0.0 leaves none, 1.0 takes all
            for evaluation, as in `ImageFolder`.
        split_seed: Decides which images are split off; apart from `seed`, so that runs share their test set.
        classes: Names of the classes in place of `classes.txt`, without the ignored ones.
        on_bad_sample: What to do with masks that do not fit, and files without a partner: `error` lists all of them,
            `skip` leaves them out and counts them.
        image_size: Height and width in pixels of the images in a batch, or the side of square ones.
        batch_size: Images per batch and process.
        resize: How an image gets that size, as in `DataModule`, but not `crop`.
        augment: albumentations transforms of the training images and masks.
        num_workers: Loading processes; chosen by default.
        seed: Seed of order and augmentation; by default that of `seed_everything`.

    Raises:
        InputError: If a value is out of range.
    """

    def __init__(
        self,
        root: str,
        *,
        ignored: list[int] | None = None,
        val_fraction: float = 0.2,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        classes: list[str] | None = None,
        on_bad_sample: OnBadSample = "error",
        image_size: int | tuple[int, int] = 256,
        batch_size: int = 8,
        resize: Resize = "squash",
        augment: list[BasicTransform | BaseCompose] | None = None,
        num_workers: int | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            image_size=image_size,
            batch_size=batch_size,
            resize=resize,
            augment=augment,
            num_workers=num_workers,
            seed=seed,
            target="mask",
        )
        check_fractions(val_fraction, test_fraction)
        if ignored and not all(0 <= value <= IGNORED for value in ignored):
            raise InputError(f"data.init_args.ignored: {ignored}, expected values from 0 to 255")
        self.root = Path(root)
        self.ignored = ignored or []
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed
        self.classes = classes
        self.on_bad_sample: OnBadSample = on_bad_sample
        self._checked: dict[str, tuple[list[MaskPair], Int64Array]] = {}
        self._names: dict[int, str] = {}

    @property
    def class_names(self) -> list[str]:
        """The classes in the order of their values.

        Raises:
            MissingFileError: If root is not there.
            InputError: If `classes.txt` is not as it should be.
        """
        return list(self._named_values().values())

    def load_sources(self) -> dict[str, Source]:
        """Pair and check the files of each split.

        Raises:
            MissingFileError: If a folder is not there.
            BadSamplesError: If masks do not fit, with all of them.
            InputError: If a class in another split is not in the training masks.
        """
        names = self._named_values()
        table = ValueTable({value: label for label, value in enumerate(names)}, self.ignored)
        folders = self._split_folders()
        found, problems = {}, []
        for split, folder in folders.items():
            pairs, unpaired = paired(folder / "images", folder / "masks")
            wrong, counts = check_masks(pairs, table)
            found[split] = (pairs, counts, len(unpaired))
            problems += [*wrong, *unpaired]
        usable = usable_samples(problems, root=self.root, on_bad_sample=self.on_bad_sample)
        sources: dict[str, Source] = {}
        values: dict[str, Int64Array] = {}
        for split, (pairs, counts, num_unpaired) in found.items():
            kept, usable = usable[: len(pairs)], usable[len(pairs) + num_unpaired :]
            sources[split] = MaskSource([pair for pair, good in zip(pairs, kept, strict=True) if good], table)
            values[split] = counts[kept].sum(0)
            self.skipped[split] = num_unpaired + int((~kept).sum())
        self._check_known(values, names)
        return self._completed(sources)

    def _named_values(self) -> dict[int, str]:
        """Name of each value that is a class."""
        if not self._names:
            self._names = self._read_names()
        return self._names

    def _read_names(self) -> dict[int, str]:
        listing = self.root / CLASSES_FILE
        if self.classes:
            free = [value for value in range(IGNORED) if value not in self.ignored]
            return dict(zip(free, self.classes, strict=False))
        if listing.is_file():
            return {value: name for value, name in read_class_names(listing).items() if value not in self.ignored}
        folders = self._split_folders()
        searched = [folders["train"]] if "train" in folders else list(folders.values())
        counts = [check_masks(paired(folder / "images", folder / "masks")[0], None)[1] for folder in searched]
        held = np.flatnonzero(np.concatenate(counts).sum(0)).tolist()
        return {value: str(value) for value in held if value not in (*self.ignored, IGNORED)}

    def _split_folders(self) -> dict[str, Path]:
        if not self.root.is_dir():
            raise MissingFileError(f"no folder {self.root}/: point --data.init_args.root at your images, as {_LAYOUTS}")
        names = class_folders(self.root)
        splits = {split: self.root / split for split in _SPLITS if split in names} or {"train": self.root}
        if "images" not in names and "train" in splits and splits["train"] == self.root:
            raise MissingFileError(f"{self.root}/ has no images/ and no train/: expected {_LAYOUTS}")
        if self.test_fraction < 1:
            return splits
        if list(splits) == ["train"]:
            return {"test": splits["train"]}
        return {split: folder for split, folder in splits.items() if split != "train"}

    def _check_known(self, values: dict[str, Int64Array], names: dict[int, str]) -> None:
        """Refuse classes that other splits have and train lacks."""
        if "train" not in values:
            return
        for split in values:
            lacking = [name for value, name in names.items() if values[split][value] and not values["train"][value]]
            if lacking:
                raise InputError(
                    f"{self.root}/: the {split} masks have classes that no training mask has: {listed(lacking)}; add "
                    "training images of them, or ignore their values (data.init_args.ignored)"
                )

    def _completed(self, sources: dict[str, Source]) -> dict[str, Source]:
        """Split off what is missing of the splits."""
        if "train" not in sources or "val" in sources:
            return sources
        test_fraction = 0.0 if "test" in sources else self.test_fraction
        parts = divided(
            sources["train"],
            val_fraction=self.val_fraction,
            test_fraction=test_fraction,
            split_seed=self.split_seed,
        )
        return {**sources, **parts}


def read_class_names(path: Path) -> dict[int, str]:
    """Names of classes by their value in the masks.

    Args:
        path: A text file with a name in each line, the first for the value 0, or with value and name in each.

    Raises:
        InputError: If values or names repeat, or only some lines have a value.
    """
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    firsts = [line.split(maxsplit=1) for line in lines]
    if all(len(words) == 2 and words[0].isdigit() for words in firsts):
        names = {int(value): name for value, name in firsts}
    elif any(len(words) == 2 and words[0].isdigit() for words in firsts):
        raise InputError(f"{path}: only some lines begin with a value, expected all (`0 Sky`) or none (`Sky`)")
    else:
        names = dict(enumerate(lines))
    if len(names) < len(lines) or len(set(names.values())) < len(names) or any(value >= IGNORED for value in names):
        raise InputError(f"{path}: expected each value (0 to 254) and each name once, got {listed(lines)}")
    return dict(sorted(names.items()))
