"""The user's own images with a mask each, in images/ and masks/ by equal stems."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from visiontasks.class_names import normalized
from visiontasks.data.base import DataModule
from visiontasks.data.datasets.options import check_choice, check_classes
from visiontasks.data.formats.layouts import layout_hint
from visiontasks.data.formats.mask_checks import (
    check_targets,
    check_values,
    level_hint,
    lone_class_hint,
    mapping_hint,
    untaught_hint,
)
from visiontasks.data.formats.mask_values import parse_values
from visiontasks.data.formats.masks import (
    NUM_VALUES,
    MaskedImage,
    MaskSource,
    ValueTable,
    check_shown,
    paired,
    read_masks,
)
from visiontasks.data.formats.split_folders import SPLITS, split_names
from visiontasks.data.pipeline.files import class_folders, listed, named_folder, natural_key, visible_entries
from visiontasks.data.pipeline.groups import check_groups
from visiontasks.data.pipeline.problems import OnBadSample, Problem, no_sample_left, usable_samples
from visiontasks.data.pipeline.sources import Source, check_fractions, divide
from visiontasks.data.targets import MaskTarget
from visiontasks.errors import InputError, MissingFileError
from visiontasks.ops.losses import IGNORED
from visiontasks.outputs.geometry import Resize
from visiontasks.regular_files import check_regular

CLASSES_FILE = "classes.txt"
_LAYOUTS = "images/ and masks/, or train/, val/ and test/ with images/ and masks/ each"
_IGNORE = "or ignore the value (data.init_args.ignored)"


class MaskFolder(DataModule):
    """Images and masks of class indices, one file each with equal stems, decoded when they are needed.

    `root` holds `images/` and `masks/`, or the splits `train/`, `val/` and `test/` with both folders each, or both
    folders with the same splits in them; the splits may be called Training, valid or the like. A mask may have a suffix
    behind its image's stem, such as `_mask`, if all have the same.

    What is missing of the splits is split off the training images as in `ImageFolder`, but an image with a class that
    train would not have stays there. Bad samples are left out only then, so that fixing one leaves the others where
    they were.

    A mask has one channel (PNG, mode L or P) and the size of its upright image, turned by its EXIF orientation;
    255 marks pixels without a class, unless `values` maps it to one. Every mask is decoded and checked before the
    training, and all that is wrong is reported together: files that are damaged or have no partner, other sizes,
    colours, values that are no class's, and classes that no training mask has. Masks whose palettes differ, whose
    values look like grey levels or were interpolated, and classes without a training pixel are refused.

    The classes are the lines of `classes.txt` in root (`Sky`, or `0 Sky`), else the values in the training masks.

    Args:
        root: The folder.
        values: Class index of a value in the mask files, as `{255: 1}` or `{128: 1, 255: 2}`; other values stay as they
            are. Or of each colour, as `{"0,0,0": 0, "128,0,0": 1}` or `{"#800000": 1}`; then masks are read by their
            colours, and all of these have to be named. 255 as a class index means no class. `classes.txt`, `ignored`
            and `classes` are about class indices.
        ignored: Values in the masks that mean no class, besides 255. Lines of `classes.txt` for them are left out, and
            the classes behind them move up.
        val_fraction: Share of all training images that is split off for validation, where `val/` is missing.
        test_fraction: Share split off for test, where `val/` and `test/` are missing; 0.0 leaves none, 1.0 takes all
            for evaluation, as in `ImageFolder`.
        split_seed: Decides which images are split off; apart from `seed`, so that runs share their test set.
        groups: What images have in common that are never divided between splits made here: `folder`, `near`, `time`,
            `time:MINUTES`, `TABLE.csv:COLUMN` or a pattern, see `visiontasks.data.pipeline.groups.group_names`.
        classes: Names of the classes in the order of the labels, without ignored ones, for data to evaluate on that
            has only some of them. Their values stand in `classes.txt`; without it names that are numbers are the
            values, and others have the values 0, 1, 2, ... that are not ignored.
        on_bad_sample: `error` refuses a dataset with bad samples, with a list of them; `skip` leaves them out and
            counts them in `skipped`.
        **kwargs: Arguments of `DataModule`.

    Raises:
        InputError: If a value is out of range, or a class is named twice.
    """

    def __init__(
        self,
        root: str,
        *,
        values: dict[int | str, int | None] | None = None,
        ignored: list[int] | None = None,
        val_fraction: float = 0.2,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        groups: str | None = None,
        classes: list[str] | None = None,
        on_bad_sample: OnBadSample = "error",
        image_size: int | tuple[int, int] = 256,
        batch_size: int = 8,
        resize: Resize = "squash",
        **kwargs: Any,
    ) -> None:
        super().__init__(image_size=image_size, batch_size=batch_size, resize=resize, target=MaskTarget(), **kwargs)
        check_fractions(val_fraction, test_fraction)
        if ignored and not all(0 <= value <= IGNORED for value in ignored):
            raise InputError(f"data.init_args.ignored: {ignored}, expected values from 0 to {IGNORED}")
        check_classes(classes)
        check_choice("on_bad_sample", on_bad_sample, get_args(OnBadSample))
        self.root = Path(root)
        self.recoding = parse_values(values)
        self.ignored = ignored or []
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed
        self.groups = check_groups(groups)
        self.classes = classes
        self.on_bad_sample: OnBadSample = on_bad_sample
        self._images: dict[str, list[MaskedImage]] = {}
        self._class_names: list[str] = []
        self._label_of: dict[int, int] = {}
        """Class index of each value that is a class's."""
        self._class_counts: list[int] = []
        self._ignored_share = 0.0
        """Of the training pixels, those that are 255."""

    @property
    def class_names(self) -> list[str]:
        """The classes in the order of their values, or `classes`.

        Raises:
            MissingFileError: If root is not there.
            InputError: If `classes.txt` is not as it should be, or there is none and the masks hold no two values.
        """
        if not self._class_names:
            names = self._value_names()
            check_targets(self.recoding, [*names, *self.ignored])
            self._class_names = self.classes or list(names.values())
            label_of = {normalized(name): label for label, name in enumerate(self._class_names)}
            forms = {value: normalized(name) for value, name in names.items()}
            self._label_of = {value: label_of[name] for value, name in forms.items() if name in label_of}
        return list(self._class_names)

    @property
    def class_counts(self) -> list[int]:
        """Pixels of each class in the training masks, which `setup()` has counted."""
        self.setup()
        self.source("train")  # raises if there is none
        return self._class_counts

    @property
    def counts_by_decoding(self) -> bool:
        """`setup()` has decoded all masks."""
        return False

    def setup(self, stage: str | None = None) -> None:
        """Open the splits, once, and check them; for a training also that each class has a pixel.

        Raises:
            InputError: If images, masks or classes are not what training or evaluation needs.
        """
        super().setup(stage)
        problems = self.class_problems(self._class_counts) if stage == "fit" else []
        if problems:
            raise InputError(f"data.init_args.root: {listed([each.what for each in problems])}; {problems[0].fix}")

    def class_problems(self, counts: Sequence[int]) -> list[Problem]:
        """Classes without a training pixel; with the option to set where 255 may be theirs.

        Args:
            counts: Training pixels of each class, (K,).
        """
        value_of = {label: value for value, label in self._label_of.items()}
        names = self.class_names
        empty = [label for label in range(len(names)) if counts[label] == 0]
        return [
            Problem(
                str(self.root),
                f"no training pixel of the class {names[label]}",
                untaught_hint(names[label], value_of.get(label), self._ignored_share, self.recoding),
            )
            for label in empty
        ]

    def load_sources(self) -> dict[str, Source]:
        """Pair and check the files of each split.

        Raises:
            MissingFileError: If a folder is not there.
            BadSamplesError: If samples are bad, and not to be skipped; with all of them.
            InputError: If images are too few to be split, or all of a split are bad.
        """
        names = self.class_names
        if len(names) == 1:
            self._refuse_lone(names[0])
        table = ValueTable(self._label_of, self.ignored)
        splits = self._divided()
        self._images = {}  # of a large dataset they take more memory than the sources
        self._add_value_problems(splits, table)
        images = [image for of_split in splits.values() for image in of_split]
        usable_samples([image.problems for image in images], root=self.root, on_bad_sample=self.on_bad_sample)
        sources: dict[str, Source] = {}
        for split, of_split in splits.items():
            good = [image for image in of_split if not image.problems]
            if not good:
                raise no_sample_left(split, len(of_split))
            if self.on_bad_sample == "skip":
                self.skipped[split] = len(of_split) - len(good)
            sources[split] = MaskSource(
                [image.image for image in good],
                [image.mask for image in good],
                table,
                recoding=self.recoding,
                max_16bit=self.max_16bit,
            )
            if split == "train":
                counts = np.sum([image.value_counts for image in good], axis=0)
                self._ignored_share = float(counts[IGNORED] / counts.sum())
                self._class_counts = [0] * len(names)
                for value, label in self._label_of.items():
                    self._class_counts[label] = int(counts[value])
        return sources

    def _refuse_lone(self, name: str) -> None:
        images = [image for of_split in self._read().values() for image in of_split]
        counts = np.sum([image.value_counts for image in images], axis=0)
        where = CLASSES_FILE if (self.root / CLASSES_FILE).is_file() else "data.init_args.classes"
        raise InputError(
            f"data.init_args.root: {where} names 1 class ({name}), expected at least 2"
            f"{lone_class_hint(name, counts, self.recoding, ignored=self.ignored)}"
        )

    def _value_names(self) -> dict[int, str]:
        """Name of each value that is a class's."""
        listing = self.root / CLASSES_FILE
        if listing.is_file():
            return {value: name for value, name in read_class_names(listing).items() if value not in self.ignored}
        if not self.classes:
            return {value: str(value) for value in self._found_values()}
        if all(name.isdecimal() and int(name) < IGNORED for name in self.classes):
            return {int(name): name for name in self.classes}
        return dict(zip((value for value in range(IGNORED) if value not in self.ignored), self.classes, strict=False))

    def _found_values(self) -> list[int]:
        """Values in the training masks, or in all where there are none, that are not ignored."""
        splits = self._read()
        searched = [splits["train"]] if "train" in splits else list(splits.values())
        images = [image for of_split in searched for image in of_split]
        counts = np.sum([image.value_counts for image in images], axis=0)
        found = np.flatnonzero(counts).tolist()
        none = {*self.ignored, IGNORED}
        if len({*found} - none) < 2:
            usable_samples([image.problems for image in images], root=self.root, on_bad_sample="error")
            raise InputError(
                f"data.init_args.root: the masks of {self.root}/ hold no two classes, only the value(s) "
                f"{listed(list(map(str, found)))} ({IGNORED} and data.init_args.ignored mean no "
                f"class); expected class indices such as 0 and 1, or {CLASSES_FILE}{level_hint(found, self.recoding)}"
            )
        check_values(images, self.recoding, ignored=self.ignored)
        return sorted({*found, *self.recoding.targets.values()} - none)

    def _read(self) -> dict[str, list[MaskedImage]]:
        """The images of each split that the dataset has (`train` alone where it has none), with their masks checked."""
        if not self._images:
            folders = self._split_folders()
            self.hidden.clear()
            found = {split: paired(*pair, self.hidden) for split, pair in folders.items()}
            empty = [f"{os.path.commonpath(folders[split])}/" for split, images in found.items() if not images]
            if empty:
                raise InputError(f"data.init_args.root: no images and masks in {listed(empty)}; expected {_LAYOUTS}")
            read_masks((image for images in found.values() for image in images), self.recoding)
            check_shown(image for images in found.values() for image in images)
            self._images = found
        return self._images

    def _split_folders(self) -> dict[str, tuple[Path, Path]]:
        """The folders of images and masks of each split that is opened."""
        splits = self._found_splits()
        if self.test_fraction < 1:
            return splits
        if list(splits) == ["train"]:
            return {"test": splits["train"]}
        return {split: folders for split, folders in splits.items() if split != "train"}

    def _found_splits(self) -> dict[str, tuple[Path, Path]]:
        if not self.root.is_dir():
            raise MissingFileError(f"no folder {self.root}/: point --data.init_args.root at your images, as {_LAYOUTS}")
        names = class_folders(self.root)
        with_images = [name for name in names if named_folder(self.root / name, "images").is_dir()]
        found = split_names([name for name in names if name in (*SPLITS, *with_images)], folder=self.root)
        others = [name for name in names if name not in found.splits.values()]
        if found.splits and others:
            raise InputError(
                f"data.init_args.root: {self.root}/ has {listed(others)} beside {listed([*found.splits.values()])}; "
                f"expected {_LAYOUTS}: rename or move them{layout_hint(self.root)}"
            )
        images, masks = (named_folder(self.root, part) for part in ("images", "masks"))
        if not found.splits and not images.is_dir():
            raise MissingFileError(
                f"data.init_args.root: {self.root}/ has no images/ and no train/: expected {_LAYOUTS}"
                f"{layout_hint(self.root)}"
            )
        folders = {split: self.root / name for split, name in found.splits.items()}
        if folders:
            return {
                split: (named_folder(folder, "images"), named_folder(folder, "masks"))
                for split, folder in folders.items()
            }
        inside = split_names(class_folders(images), folder=images)
        others = [entry.name for entry in visible_entries(images) if entry.name not in inside.splits.values()]
        if inside.splits and others:
            raise InputError(
                f"data.init_args.root: {images}/ has {listed(sorted(others, key=natural_key))} beside "
                f"{listed([*inside.splits.values()])}: move them"
            )
        has_masks = bool(inside.splits) and masks.is_dir()
        of_masks = split_names(class_folders(masks), folder=masks).splits if has_masks else {}
        splits = {split: (images / name, masks / of_masks.get(split, name)) for split, name in inside.splits.items()}
        return splits or {"train": (images, masks)}

    def _divided(self) -> dict[str, list[MaskedImage]]:
        """The images of each split; what is missing of them is split off train."""
        splits = self._read()
        if "train" not in splits or ("val" in splits and self.fold is None):
            return splits
        images = splits["train"]
        test_fraction = 0.0 if "test" in splits else self.test_fraction
        has_class = np.stack([image.value_counts[list(self._label_of)] > 0 for image in images])
        grouped = self.divided_rows(
            [image.image or image.mask for image in images],
            [frozenset(map(str, np.flatnonzero(row))) for row in has_class],
            test_fraction=test_fraction,
            everywhere=False,
            has_val="val" in splits,
        )
        if grouped is not None:
            self._split_off = set(grouped) - {"train"}
            return {**splits, **{split: [images[row] for row in of_split] for split, of_split in grouped.items()}}
        if len(images) < (3 if test_fraction > 0 else 2):
            raise InputError(
                f"data.init_args.root: {self.root}/ has {len(images)} training image(s), too few to be split into "
                f"{'train, val, test' if test_fraction > 0 else 'train, val'}; add images, or make the splits yourself"
            )
        rows = divide(
            np.zeros(len(images), dtype=np.int64),
            val_fraction=self.val_fraction,
            test_fraction=test_fraction,
            seed=self.split_seed,
        )
        in_train = np.isin(np.arange(len(images)), rows["train"])
        in_train |= has_class[:, ~has_class[in_train].any(0)].any(1)
        parts = {split: [images[row] for row in of_split if not in_train[row]] for split, of_split in rows.items()}
        parts["train"] = [image for image, stays in zip(images, in_train, strict=True) if stays]
        self._split_off = set(parts) - {"train"}
        return {**splits, **parts}

    def _add_value_problems(self, splits: Mapping[str, Sequence[MaskedImage]], table: ValueTable) -> None:
        """Note masks with values that are no class's, or with classes that train does not have."""
        counts = np.sum([image.value_counts for images in splits.values() for image in images], axis=0)
        fix = self._naming() + mapping_hint(counts, sorted(self._label_of), self.recoding, ignored=self.ignored)
        for image in (image for images in splits.values() for image in images):
            try:
                table.classes_of(np.flatnonzero(image.value_counts).astype(np.uint8))
            except InputError as error:
                image.problems.append(Problem(image.mask, str(error), fix))
        taught = _held(splits["train"]) if "train" in splits else np.ones(NUM_VALUES, dtype=np.bool_)
        name_of = {value: self._class_names[label] for value, label in self._label_of.items()}
        for image in (image for split, images in splits.items() if split != "train" for image in images):
            missing = [name for value, name in name_of.items() if image.value_counts[value] and not taught[value]]
            if missing:
                what = f"class(es) that no training mask has: {listed(missing)}"
                image.problems.append(Problem(image.mask, what, f"fix the mask, add training images of it, {_IGNORE}"))

    def _naming(self) -> str:
        """What can be done where a mask has a value that is no class's, beside what is done already."""
        listing = (self.root / CLASSES_FILE).is_file()
        where = [CLASSES_FILE] if listing or not self.classes else []
        where += ["data.init_args.classes"] if self.classes else []
        train = "" if listing or self.classes else "add training images of it, "
        return f"fix the mask, name the class in {' and '.join(where)}, {train}{_IGNORE}"


def read_class_names(path: Path) -> dict[int, str]:
    """Names of classes by their value in the masks, in the order of the values.

    Args:
        path: A text file with a name in each line, the first for the value 0, or with value and name in each.

    Raises:
        InputError: If it is not text, values or names repeat, or only some lines have a value.
    """
    check_regular(path)
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}), expected text in UTF-8") from error
    words = [line.split(maxsplit=1) for line in lines]
    numbered = [len(parts) == 2 and parts[0].isdecimal() for parts in words]
    if any(numbered) and not all(numbered):
        raise InputError(f"{path}: only some lines begin with a value, expected all (`0 Sky`) or none (`Sky`)")
    names = {int(parts[0]): parts[1] for parts in words} if any(numbered) else dict(enumerate(lines))
    names = {value: normalized(name) for value, name in names.items()}
    if len(set(names.values())) < len(lines) or any(value >= IGNORED for value in names):
        option = f"; {IGNORED} means no class, unless data.init_args.values maps it" if IGNORED in names else ""
        raise InputError(
            f"{path}: expected each value (0 to {IGNORED - 1}) and each name once, got {listed(lines)}{option}"
        )
    return dict(sorted(names.items()))


def _held(images: Iterable[MaskedImage]) -> npt.NDArray[np.bool_]:
    """Which values the masks of good samples hold, (256,)."""
    held = np.zeros(NUM_VALUES, dtype=np.bool_)
    for image in images:
        held |= (image.value_counts > 0) & (not image.problems)
    return held
