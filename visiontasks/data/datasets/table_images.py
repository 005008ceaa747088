"""The user's own images with their labels in a table: one class for each image, or any number of labels."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from visiontasks.class_names import normalized
from visiontasks.data.base import DataModule
from visiontasks.data.datasets.class_split import divide_by_classes
from visiontasks.data.datasets.options import check_choice, check_classes
from visiontasks.data.formats.label_columns import Wanted, numbers_among
from visiontasks.data.formats.label_tables import LabelledImage, LabelTable, chosen_tables, read_label_tables
from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.groups import check_groups
from visiontasks.data.pipeline.problems import OnBadSample, Problem, file_problems, usable_samples
from visiontasks.data.pipeline.sources import Annotation, FileSource, Int64Array, Source, check_fractions
from visiontasks.data.targets import LabelsTarget, LabelTarget, Target
from visiontasks.errors import InputError
from visiontasks.outputs.geometry import Float32Array

_UNKNOWN_SHOWN = 3


class LabelledFiles(FileSource):
    """Image files with any number of labels each.

    Args:
        paths: Image files.
        hot: 1, 0 or NaN for each label, float32 (n, K).
        max_16bit: As for `FileSource`.
    """

    def __init__(self, paths: Sequence[str], hot: Float32Array, *, max_16bit: int | None = None) -> None:
        first = np.where((hot == 1).any(1), (hot == 1).argmax(1), -1)
        super().__init__(paths, first, max_16bit=max_16bit)
        self.hot = hot

    def annotation(self, index: int) -> Annotation:
        """What a sample has beside its image, which is not decoded."""
        return {"labels_hot": self.hot[index].copy()}


class TableData(DataModule):
    """Images below a folder, with their labels in a table there; see `TableImages` and `TableLabels`.

    The table is CSV or TSV (commas, semicolons, tabs or bars), or Parquet, with a line of column names. Its image is a
    path from the folder on, a whole path, or a name with or without suffix that one image below the folder has. A
    column split (or set, subset: train, val, test; or is_valid: 1, 0) gives the splits, and so do tables named like
    them; what is missing of validation and test is split off the training images. `notes` tell how it was read.

    All that is wrong is reported together: images that are missing, ambiguous, unreadable, or in two lines; cells that
    are no labels; lines with too few or too many cells.

    Args:
        root: The folder of the images.
        table: The table's file; by default the only one there, or those named like splits.
        path_column: Name of the column of the image; by default found by its name.
        label_columns: Names of the columns of labels; by default found by their names and values.
        val_fraction: Share of all training images that is split off for validation, where it is missing.
        test_fraction: Share split off for test, where validation and test are missing; 0.0 leaves none. 1.0 is for
            evaluation: where there are no splits all images are the test split.
        split_seed: Decides which images are split off; apart from `seed`, so that runs share their test set.
        groups: What images have in common that are never divided between splits made here: `folder`, `near`, `time`,
            `time:MINUTES`, `TABLE.csv:COLUMN` or a pattern, see `visiontasks.data.pipeline.groups.group_names`.
        classes: Names of the labels in their order, for a table to evaluate on that has only some of them.
        on_bad_sample: `error` refuses a table with bad images, with a list of them; `skip` leaves them out and counts
            them in `skipped`.
        **kwargs: Arguments of `DataModule`.

    Raises:
        InputError: If a value is out of range.
    """

    several = False
    """Whether an image may have any number of labels."""

    def __init__(
        self,
        root: str,
        *,
        target: Target,
        table: str | None = None,
        path_column: str = "",
        label_columns: list[str] | None = None,
        separator: str = "",
        val_fraction: float = 0.2,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        groups: str | None = None,
        classes: list[str] | None = None,
        on_bad_sample: OnBadSample = "error",
        **kwargs: Any,
    ) -> None:
        super().__init__(target=target, **kwargs)
        check_fractions(val_fraction, test_fraction)
        check_classes(classes)
        check_choice("on_bad_sample", on_bad_sample, get_args(OnBadSample))
        self.root = Path(root)
        self.table = table
        self.wanted = Wanted(path_column, tuple(label_columns or ()), separator, self.several)
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed
        self.groups = check_groups(groups)
        self.classes = classes
        self.on_bad_sample: OnBadSample = on_bad_sample

    @property
    def class_names(self) -> list[str]:
        """`classes`, or those of the table.

        Raises:
            MissingFileError: If folder or table are not there.
            InputError: If the table cannot be read.
        """
        return [*map(normalized, self.classes)] if self.classes else list(self._read.names)

    def load_sources(self) -> dict[str, Source]:
        """Read the table, check all that it names, and divide the images.

        Raises:
            MissingFileError: If folder or table are not there.
            BadSamplesError: If images are bad, and not to be skipped; with all of them.
            InputError: If the table cannot be read, or no image is left.
        """
        images = self._read.images
        self.notes = list(self._read.notes)
        for image in images:
            surplus = sorted(image.names - {*self.class_names})
            if surplus:
                what = f"{listed(surplus)} is not among data.init_args.classes"
                image.problems.append(Problem(image.place, what, "name it there, or remove the line"))
        problems = [[*image.problems] for image in images]
        there = [row for row, image in enumerate(images) if image.path]
        of_files = file_problems([images[row].path for row in there], decode=self._decodes, max_16bit=self.max_16bit)
        for row, found in zip(there, of_files, strict=True):
            problems[row] += found
        usable = usable_samples(problems, root=self.root, on_bad_sample=self.on_bad_sample)
        return {split: self._kept(rows, images, usable, split) for split, rows in self._splits(images).items()}

    @property
    def _decodes(self) -> bool:
        return self.on_bad_sample == "skip"

    @cached_property
    def _read(self) -> LabelTable:
        tables = chosen_tables(self.root, self.table)
        found = read_label_tables(self.root, tables, self.wanted)
        if not found.images:
            raise InputError(f"{listed([str(path) for path in tables])} has no line of an image")
        numbers = numbers_among(found.names)
        if numbers:
            raise InputError(
                f"{next(iter(tables))}: the labels are numbers such as {listed(numbers[:_UNKNOWN_SHOWN])}, expected "
                "classes: name the columns of classes, --data.label_columns '[COLUMN, ...]'"
            )
        return found

    def _splits(self, images: Sequence[LabelledImage]) -> dict[str, Int64Array]:
        """Rows of each split."""
        given = {split: np.array(rows) for split in ("train", "val", "test") if (rows := _rows(images, split))}
        free = np.array(_rows(images, ""), dtype=np.int64)
        if self.test_fraction == 1:
            return {split: rows for split, rows in given.items() if split != "train"} or {
                "test": np.sort(np.concatenate([free, *given.values()]))
            }
        training = np.sort(np.concatenate([free, given.get("train", free[:0])]))
        if ("val" in given and self.fold is None) or not len(training):
            return {**given, "train": training} if len(training) else given  # lines without a split are trained on
        test_fraction = 0.0 if "test" in given else self.test_fraction
        trained = [images[row] for row in training]
        made = self.divided_rows(
            [image.path or image.place for image in trained],
            [frozenset(image.names) for image in trained],
            test_fraction=test_fraction,
            everywhere=False,
            has_val="val" in given,
        )
        made = self._divided(trained, test_fraction) if made is None else made
        self._split_off = {split for split in made if split != "train"}
        return {**given, **{split: training[rows] for split, rows in made.items()}}

    def _divided(self, images: Sequence[LabelledImage], test_fraction: float) -> dict[str, Int64Array]:
        """Rows of each part, with the same shares of labels."""
        shares = {"train": 1 - self.val_fraction - test_fraction, "val": self.val_fraction}
        shares |= {"test": test_fraction} if test_fraction else {}
        return divide_by_classes([frozenset(image.names) for image in images], shares, seed=self.split_seed)

    def _kept(
        self, rows: Int64Array, images: Sequence[LabelledImage], usable: npt.NDArray[np.bool_], split: str
    ) -> Source:
        kept = rows[usable[rows]]
        if len(rows) and not len(kept):
            raise InputError(
                f"data.init_args.on_bad_sample: skip, but all {len(rows)} image(s) of the {split} split are bad; set "
                "it to error to have them listed"
            )
        if self.on_bad_sample == "skip":
            self.skipped[split] = len(rows) - len(kept)
        return self._source([images[row] for row in kept])

    @abstractmethod
    def _source(self, images: Sequence[LabelledImage]) -> Source:
        """The samples of images without problems."""

    def _label_of(self) -> Mapping[str, int]:
        return {name: label for label, name in enumerate(self.class_names)}


class TableImages(TableData):
    """Images with one class each, which a table names in one column, or by 1 in one of several.

    Args:
        root: The folder of the images.
        **kwargs: Arguments of `TableData`.
    """

    def __init__(
        self, root: str, *, image_size: int | tuple[int, int] = 224, batch_size: int = 32, **kwargs: Any
    ) -> None:
        super().__init__(root, target=LabelTarget(), image_size=image_size, batch_size=batch_size, **kwargs)

    def _source(self, images: Sequence[LabelledImage]) -> Source:
        label_of = self._label_of()
        labels = np.array([label_of[next(iter(image.names))] for image in images], dtype=np.int64)
        return FileSource([image.path for image in images], labels, max_16bit=self.max_16bit)


class TableLabels(TableData):
    """Images with any number of labels each, for `MultiLabelTask`.

    Labels are in one column, with | ; or , between them (blanks, where it is called tags or labels), one in each of
    several lines of an image; or each has a column of its own with 1 or 0, and nothing where it is not known.

    Args:
        root: The folder of the images.
        separator: Between labels in a cell; by default found by what the cells have.
        **kwargs: Arguments of `TableData`.
    """

    several = True

    def __init__(
        self,
        root: str,
        *,
        separator: str = "",
        image_size: int | tuple[int, int] = 224,
        batch_size: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            root, target=LabelsTarget(), separator=separator, image_size=image_size, batch_size=batch_size, **kwargs
        )

    def _source(self, images: Sequence[LabelledImage]) -> Source:
        label_of = self._label_of()
        hot = np.zeros((len(images), len(label_of)), np.float32)
        for row, image in enumerate(images):
            for name in image.unknown & label_of.keys():
                hot[row, label_of[name]] = np.nan
            for name in image.names:
                hot[row, label_of[name]] = 1
        return LabelledFiles([image.path for image in images], hot, max_16bit=self.max_16bit)


def _rows(images: Sequence[LabelledImage], split: str) -> list[int]:
    return [row for row, image in enumerate(images) if image.split == split]
