"""What datasets of images with boxes have in common: reading, the checks, and the splits."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import isfinite
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from visiontasks.class_names import normalized
from visiontasks.data.base import DataModule
from visiontasks.data.datasets.options import check_choice, check_classes
from visiontasks.data.formats.annotations import AnnotatedImage
from visiontasks.data.formats.box_reading import BoxFormat, BoxUnit, Reading, WrittenBoxes, misread
from visiontasks.data.formats.layouts import layout_hint
from visiontasks.data.pipeline.files import listed, natural_key
from visiontasks.data.pipeline.groups import check_groups
from visiontasks.data.pipeline.problems import OnBadSample, Problem, no_sample_left, usable_samples
from visiontasks.data.pipeline.sources import Int64Array, Source, check_fractions
from visiontasks.data.pipeline.target import Target
from visiontasks.errors import InputError, MissingFileError
from visiontasks.outputs.geometry import Resize

_READERS = 16


class AnnotatedData(DataModule):
    """Images with boxes; a subclass reads the annotations, divides them, and makes the sources.

    Boxes lie in the upright image, turned by its EXIF orientation. Each image's header is read and all that is
    wrong with files and annotations is reported together: an image or annotation that is missing or unreadable; an
    annotation for another image size; a box without area, with x1 > x2, y1 > y2 or a coordinate that is not a number,
    under a pixel wide or high, or that reaches beyond its image by more than half a pixel (which rounding explains).

    Where many boxes do not fit their images, but do in another format or unit, or lie far outside, all of them were
    written another way, also those that happen to fit: such a dataset is refused, with `on_bad_sample: skip` too.

    What is missing of validation and test is split off the training images. Bad samples are left out only then, so that
    fixing one leaves the others where they were.

    Args:
        root: The folder.
        target: What the samples are annotated with.
        on_bad_sample: `error` refuses a dataset with bad samples, with a list of them; `skip` leaves them out and
            counts them in `skipped`.
        val_fraction: Share of all training images that is split off for validation, where it is missing.
        test_fraction: Share split off for test, where validation and test are missing; 0.0 leaves none. 1.0 is for
            evaluation: where there are no splits all images are the test split, else train is not opened.
        split_seed: Decides which images are split off; apart from `seed`, so that runs share their test set.
        groups: What images have in common that are never divided between splits made here: `folder`, `near`, `time`,
            `time:MINUTES`, `TABLE.csv:COLUMN` or a pattern, see `visiontasks.data.pipeline.groups.group_names`.
        box_format: What a box's four numbers are: `xyxy` corners, `xywh` corner and size, `cxcywh` centre and size, or
            `yxyx` corners with y first; None for what the annotation format means.
        box_unit: `pixels`, or a share of the image's width and height: `fraction` (0..1) or `percent`; None for what
            the annotation format means. Pixels that fill 0..100 in a corner of larger images are refused.
        classes: Names of the classes in the order of the labels, for data to evaluate on that has only some of them. By
            default those of the training annotations.
        **kwargs: Arguments of `DataModule`.

    Raises:
        InputError: If a value is out of range, or a class is named twice.
    """

    own_format: BoxFormat = "xyxy"
    """What the annotation format itself means by a box's four numbers."""

    def __init__(
        self,
        root: str,
        *,
        target: Target,
        on_bad_sample: OnBadSample = "error",
        val_fraction: float = 0.2,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        groups: str | None = None,
        box_format: BoxFormat | None = None,
        box_unit: BoxUnit | None = None,
        classes: list[str] | None = None,
        image_size: int | tuple[int, int] = 224,
        batch_size: int = 32,
        resize: Resize = "squash",
        **kwargs: Any,
    ) -> None:
        super().__init__(image_size=image_size, batch_size=batch_size, resize=resize, target=target, **kwargs)
        check_fractions(val_fraction, test_fraction)
        for key, value, choices in (
            ("on_bad_sample", on_bad_sample, get_args(OnBadSample)),
            ("box_format", box_format, (None, *get_args(BoxFormat))),
            ("box_unit", box_unit, (None, *get_args(BoxUnit))),
        ):
            check_choice(key, value, choices)
        check_classes(classes)
        self.root = Path(root)
        self.on_bad_sample: OnBadSample = on_bad_sample
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed
        self.groups = check_groups(groups)
        self.reading = Reading(box_format or self.own_format, box_unit or "pixels")
        self.box_format = box_format
        self.box_unit = box_unit
        self.classes = classes
        self._annotations: tuple[dict[str, list[AnnotatedImage]], list[str]] | None = None
        self._class_names: list[str] = []
        self._read_notes: list[str] = []
        """How annotations are read, by `read_annotations`."""

    @abstractmethod
    def read_annotations(self) -> tuple[dict[str, list[AnnotatedImage]], list[str]]:
        """The images of each split that the dataset has (`train` alone where it has none), and the classes in order."""

    @abstractmethod
    def _problems(self, image: AnnotatedImage) -> list[Problem]:
        """All that is wrong with an image."""

    @abstractmethod
    def _divided_rows(self, images: Sequence[AnnotatedImage], test_fraction: float) -> dict[str, Int64Array]:
        """Which images are train, val and, unless `test_fraction` is 0, test."""

    @abstractmethod
    def _source(self, images: Sequence[AnnotatedImage], names: Sequence[str]) -> Source:
        """The source of a split's good images."""

    @property
    def class_names(self) -> list[str]:
        """The annotations' classes (those of train, if it is there), or `classes`.

        Raises:
            InputError: If annotations are not what the class reads.
        """
        if not self._class_names:
            self._class_names = list(self.classes or self._read()[1])
        if not self._class_names:  # then each sample has a problem
            self._usable(list(self._read()[0].values()))
        return list(self._class_names)

    def load_sources(self) -> dict[str, Source]:
        """Check the images of each split and take their objects.

        Raises:
            BadSamplesError: If samples are bad, and not to be skipped; with all of them.
            InputError: If the boxes are in another format or unit than they are read, or a split has an image that is
                in another split too, or a class that is missing in train.
        """
        splits, names = self._split_images(), self.class_names
        faults = [*_listed_twice(splits), *self._unknown_classes(splits, names)]
        sources: dict[str, Source] = {}
        for (split, images), usable in zip(splits.items(), self._usable(list(splits.values()), faults), strict=True):
            if not usable.any():
                raise no_sample_left(split, len(images))
            if self.on_bad_sample == "skip":
                self.skipped[split] = int((~usable).sum())
            sources[split] = self._source([image for image, good in zip(images, usable, strict=True) if good], names)
        self.notes = list(self._read_notes)
        self._annotations = None  # of a large dataset they take more memory than the sources
        return sources

    def _read(self) -> tuple[dict[str, list[AnnotatedImage]], list[str]]:
        if self._annotations is None:
            if not self.root.is_dir():
                raise MissingFileError(
                    f"no folder {self.root}/: point --data.init_args.root at your images and annotations"
                )
            splits, names = self.read_annotations()
            empty = [split for split in splits or ["train"] if not splits.get(split)]
            if empty:
                raise InputError(
                    f"data.init_args.root: {self.root}/ has no images for {listed(empty)}{layout_hint(self.root)}"
                )
            self._annotations = splits, names
        return self._annotations

    def _split_images(self) -> dict[str, list[AnnotatedImage]]:
        splits = self._read()[0]
        if self.test_fraction == 1:
            others = {split: images for split, images in splits.items() if split != "train"}
            return others or {"test": splits["train"]}
        if "train" not in splits or ("val" in splits and self.fold is None):
            return splits
        images, test_fraction = splits["train"], 0.0 if "test" in splits else self.test_fraction
        rows = self.divided_rows(
            [image.path or image.annotation for image in images],
            [image.classes for image in images],
            test_fraction=test_fraction,
            everywhere=False,
            has_val="val" in splits,
        )
        rows = self._divided_rows(images, test_fraction) if rows is None else rows
        self._split_off = set(rows) - {"train"}
        return {**splits, **{split: [images[row] for row in rows[split]] for split in rows}}

    def _usable(
        self, splits: Sequence[Sequence[AnnotatedImage]], faults: Sequence[str] = ()
    ) -> list[npt.NDArray[np.bool_]]:
        """Which images of each split are good; `faults` of the whole dataset are reported with theirs."""
        images = [image for split in splits for image in split]
        with ThreadPoolExecutor(_READERS) as pool:
            problems = list(pool.map(self._problems, images))
        self._check_reading(images)
        usable = usable_samples(problems, root=self.root, on_bad_sample=self.on_bad_sample, faults=faults)
        if faults:
            raise InputError("\n".join(faults))
        return np.split(usable, np.cumsum([len(split) for split in splits])[:-1])

    def _check_reading(self, images: Sequence[AnnotatedImage]) -> None:
        # an image of another size than the annotation's is a problem of its own
        comparable = [image for image in images if image.upright and image.size in (None, image.upright)]
        rows = [
            (box, image.upright, place, image.path)
            for image in comparable
            for box, place in zip(image.boxes, image.places, strict=True)
            if all(map(isfinite, box))
        ]
        if not rows:
            return
        numbers, sizes, places, paths = zip(*rows, strict=True)
        boxes = WrittenBoxes(np.array(numbers, dtype=np.float64), np.array(sizes, dtype=np.int64), places, paths)
        unit_given, skips = self.box_unit is not None, self.on_bad_sample == "skip"
        fault = misread(boxes, self.reading, unit_given=unit_given, skips=skips)
        if fault:
            raise InputError(fault)

    def _unknown_classes(self, splits: Mapping[str, Iterable[AnnotatedImage]], names: Sequence[str]) -> Iterator[str]:
        known = set(map(normalized, names))
        places: dict[str, list[str]] = {}
        for image in (image for images in splits.values() for image in images):
            for name, place in zip(image.names, image.places, strict=True):
                if name not in known:
                    places.setdefault(name, []).append(place)
        if places:
            where = "data.init_args.classes" if self.classes else "the train split"
            add = f"add them to {where}" if self.classes else "add training images of them"
            unknown = "; ".join(f"{name} ({listed(places[name])})" for name in sorted(places, key=natural_key))
            yield (
                f"data.init_args.root: classes that {where} does not have: {unknown}; expected some of "
                f"{listed(list(names))}: {add}, or remove or rename these objects"
            )


def _listed_twice(splits: Mapping[str, Iterable[AnnotatedImage]]) -> Iterator[str]:
    split_of: dict[str, str] = {}
    twice: list[str] = []
    for split, image in ((split, image) for split, images in splits.items() for image in images if image.path):
        if image.path in split_of:
            twice.append(f"{image.path} ({split_of[image.path]}, {split})")
        split_of[image.path] = split
    if twice:
        yield f"data.init_args.root: images listed twice: {listed(twice)}; list each once, in one split"
