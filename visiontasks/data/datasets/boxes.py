"""What datasets of images with boxes have in common: the checks, the choice of objects, and the splits."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import isfinite
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from visiontasks.class_names import normalized
from visiontasks.data.base import DataModule
from visiontasks.data.formats.annotations import AnnotatedImage, image_problems
from visiontasks.data.formats.box_reading import BoxFormat, BoxUnit, Reading, WrittenBoxes, misread
from visiontasks.data.formats.layouts import layout_hint
from visiontasks.data.pipeline.files import listed, natural_key
from visiontasks.data.pipeline.problems import OnBadSample, Problem, usable_samples
from visiontasks.data.pipeline.reader import read_image
from visiontasks.data.pipeline.sources import Annotation, Int64Array, Sample, Source, check_fractions, divide
from visiontasks.data.targets import BoxesTarget
from visiontasks.errors import InputError, MissingFileError
from visiontasks.outputs.geometry import Float32Array, Resize

Multiple = Literal["largest", "first", "refuse"]
"""Which objects of an image are taken where it has more than are asked for."""

_READERS = 16


class BoxSource:
    """Image files with the classes and boxes of any number of objects; images are decoded when they are asked for.

    Args:
        paths: Image files, n.
        labels: Class indices of each image's objects, n arrays (N_i,).
        boxes: Their boxes, xyxy in pixels, n arrays (N_i, 4).
        max_16bit: Largest value of 16-bit images, as for `read_image`.
    """

    def __init__(
        self,
        paths: Sequence[str],
        labels: Iterable[Int64Array],
        boxes: Iterable[Float32Array],
        *,
        max_16bit: int | None = None,
    ) -> None:
        labels = list(labels)
        self.paths = np.array(paths, dtype=np.str_)
        # One block of memory for all images: forked workers would copy lists by touching their reference counts.
        self.object_labels = np.concatenate([*labels, np.zeros(0, dtype=np.int64)])
        self.boxes = np.concatenate([*boxes, np.zeros((0, 4), dtype=np.float32)])
        self.ends = np.cumsum([0, *map(len, labels)])
        self.max_16bit = max_16bit
        self.labels = np.array([of_image[0] if len(of_image) else -1 for of_image in labels], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int, /) -> Sample:
        image = read_image(str(self.paths[index]), max_16bit=self.max_16bit)
        return {"image": image, **self.annotation(index)}

    def annotation(self, index: int) -> Annotation:
        """What a sample has beside its image, which is not decoded."""
        rows = slice(self.ends[index], self.ends[index + 1])
        return {"boxes": self.boxes[rows].copy(), "labels": self.object_labels[rows].copy()}


class BoxData(DataModule):
    """Images with boxes; a subclass gives `read_annotations()`.

    Boxes lie in the upright image, turned by its EXIF orientation. Each image's header is read and all that is
    wrong with files and annotations is reported together: an image or annotation that is missing or unreadable; an
    annotation without an object or for another image size; a box without area, with x1 > x2, y1 > y2 or a coordinate
    that is not a number, under a pixel wide or high, or that reaches beyond its image by more than half a pixel (which
    rounding explains).

    Where many boxes do not fit their images, but do in another format or unit, or lie far outside, all of them were
    written another way, also those that happen to fit: such a dataset is refused, with `on_bad_sample: skip` too.

    Splits are made as in `ImageFolder`: what is missing of validation and test is split off the training images,
    stratified by the class of each image's first object. Classes too rare to be in every part stay in train. Bad
    samples are left out only then, so that fixing one leaves the others where they were.

    Args:
        root: The folder.
        multiple: Which objects are taken where an image has more than `num_objects`: the `largest`, or the `first` as
            they are written; `refuse` makes such an image a bad sample.
        num_objects: Objects that are taken of each image, at most.
        on_bad_sample: `error` refuses a dataset with bad samples, with a list of them; `skip` leaves them out and
            counts them in `skipped`.
        val_fraction: Share of all training images that is split off for validation, where it is missing.
        test_fraction: Share split off for test, where validation and test are missing; 0.0 leaves none. 1.0 is for
            evaluation: where there are no splits all images are the test split, else train is not opened.
        split_seed: Decides which images are split off; apart from `seed`, so that runs share their test set.
        box_format: What a box's four numbers are: `xyxy` corners, `xywh` corner and size, `cxcywh` centre and size, or
            `yxyx` corners with y first; None for `own_format`.
        box_unit: `pixels`, or a share of the image's width and height: `fraction` (0..1) or `percent`; None for pixels,
            unless all boxes fill 0..100 in a corner of larger images, which is refused.
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
        multiple: Multiple = "largest",
        num_objects: int = 1,
        on_bad_sample: OnBadSample = "error",
        val_fraction: float = 0.2,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        box_format: BoxFormat | None = None,
        box_unit: BoxUnit | None = None,
        classes: list[str] | None = None,
        image_size: int | tuple[int, int] = 224,
        batch_size: int = 32,
        resize: Resize = "squash",
        **kwargs: Any,
    ) -> None:
        super().__init__(image_size=image_size, batch_size=batch_size, resize=resize, target=BoxesTarget(), **kwargs)
        check_fractions(val_fraction, test_fraction)
        for key, value, choices in (
            ("multiple", multiple, get_args(Multiple)),
            ("on_bad_sample", on_bad_sample, get_args(OnBadSample)),
            ("box_format", box_format, (None, *get_args(BoxFormat))),
            ("box_unit", box_unit, (None, *get_args(BoxUnit))),
        ):
            if value not in choices:
                raise InputError(f"data.init_args.{key}: {value!r}, expected one of {', '.join(filter(None, choices))}")
        if num_objects < 1:
            raise InputError(f"data.init_args.num_objects: {num_objects}, expected at least 1")
        if classes and len(set(map(normalized, classes))) < len(classes):
            raise InputError(f"data.init_args.classes: {listed(classes)}, expected each name once")
        self.root = Path(root)
        self.multiple: Multiple = multiple
        self.num_objects = num_objects
        self.on_bad_sample: OnBadSample = on_bad_sample
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed
        self.reading = Reading(box_format or self.own_format, box_unit or "pixels")
        self.box_unit = box_unit
        self.classes = classes
        self._annotations: tuple[dict[str, list[AnnotatedImage]], list[str]] | None = None
        self._class_names: list[str] = []

    @abstractmethod
    def read_annotations(self) -> tuple[dict[str, list[AnnotatedImage]], list[str]]:
        """The images of each split that the dataset has (`train` alone where it has none), and the classes in order."""

    @property
    def class_names(self) -> list[str]:
        """The annotations' classes (those of train, if it is there), or `classes`.

        Raises:
            InputError: If annotations are not as the class says.
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
        _check_listed_once(splits)
        self._check_known(splits, names)
        sources: dict[str, Source] = {}
        for (split, images), usable in zip(splits.items(), self._usable(list(splits.values())), strict=True):
            if not usable.any():
                raise InputError(
                    f"data.init_args.on_bad_sample: skip, but all {len(images)} image(s) of the {split} split are bad; "
                    "set it to error to have them listed"
                )
            if self.on_bad_sample == "skip":
                self.skipped[split] = int((~usable).sum())
            sources[split] = self._source([image for image, good in zip(images, usable, strict=True) if good], names)
        if "train" in sources:
            self._check_taught(sources["train"], names)
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
        if "train" not in splits or "val" in splits:
            return splits
        images = splits["train"]
        rows = self._divided_rows(images, 0.0 if "test" in splits else self.test_fraction)
        self._split_off = set(rows) - {"train"}
        return {**splits, **{split: [images[row] for row in rows[split]] for split in rows}}

    def _divided_rows(self, images: Sequence[AnnotatedImage], test_fraction: float) -> dict[str, Int64Array]:
        first = np.array([image.names[0] if image.names else "" for image in images], dtype=np.str_)
        labels, counts = np.unique(first, return_inverse=True, return_counts=True)[1:]
        rare = counts[labels] < (3 if test_fraction > 0 else 2)
        common = np.flatnonzero(~rare)
        if len(common) == 0:
            raise InputError(
                f"data.init_args.root: {self.root}/ has too few images of each class to be split into "
                f"{'train, val, test' if test_fraction > 0 else 'train, val'}; add images, or make the splits yourself"
            )
        rows = divide(labels[common], val_fraction=self.val_fraction, test_fraction=test_fraction, seed=self.split_seed)
        found = {split: common[rows[split]] for split in rows}
        found["train"] = np.sort(np.concatenate([found["train"], np.flatnonzero(rare)]))
        return found

    def _usable(self, splits: Sequence[Sequence[AnnotatedImage]]) -> list[npt.NDArray[np.bool_]]:
        """Which images of each split are good."""
        images = [image for split in splits for image in split]
        with ThreadPoolExecutor(_READERS) as pool:
            problems = list(pool.map(self._problems, images))
        self._check_reading(images)
        usable = usable_samples(problems, root=self.root, on_bad_sample=self.on_bad_sample)
        return np.split(usable, np.cumsum([len(split) for split in splits])[:-1])

    def _problems(self, image: AnnotatedImage) -> list[Problem]:
        found = image_problems(image, self.reading)
        if self.multiple == "refuse" and len(image.boxes) > self.num_objects:
            found.append(
                Problem(
                    image.annotation,
                    f"{len(image.boxes)} objects in {image.path}, expected at most {self.num_objects} with "
                    "data.init_args.multiple: refuse",
                    "remove the others, or set it to largest or first",
                )
            )
        return found

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

    def _check_known(self, splits: Mapping[str, Iterable[AnnotatedImage]], names: Sequence[str]) -> None:
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
            raise InputError(
                f"data.init_args.root: classes that {where} does not have: {unknown}; expected some of "
                f"{listed(list(names))}: {add}, or remove or rename these objects"
            )

    def _check_taught(self, train: Source, names: Sequence[str]) -> None:
        untaught = [name for name, count in zip(names, self.count_classes(train), strict=True) if count == 0]
        if untaught:
            raise InputError(
                f"data.init_args.root: no training object of {listed(untaught)}, with data.init_args.multiple: "
                f"{self.multiple} and num_objects: {self.num_objects}; add images, take more objects of each, or name "
                "only the classes that there are (data.init_args.classes)"
            )

    def _source(self, images: Sequence[AnnotatedImage], names: Sequence[str]) -> BoxSource:
        label_of = {normalized(name): label for label, name in enumerate(names)}
        labels: list[Int64Array] = []
        boxes: list[Float32Array] = []
        for image in images:
            assert image.upright is not None  # else it is a bad sample
            corners = self.reading.xyxy(np.array(image.boxes, dtype=np.float64), image.upright)
            taken = taken_order(corners, self.multiple)[: self.num_objects]
            labels.append(np.array([label_of[image.names[i]] for i in taken], dtype=np.int64))
            boxes.append(corners[taken].astype(np.float32))
        return BoxSource([image.path for image in images], labels, boxes, max_16bit=self.max_16bit)


def _check_listed_once(splits: Mapping[str, Iterable[AnnotatedImage]]) -> None:
    split_of: dict[str, str] = {}
    twice: list[str] = []
    for split, image in ((split, image) for split, images in splits.items() for image in images if image.path):
        if image.path in split_of:
            twice.append(f"{image.path} ({split_of[image.path]}, {split})")
        split_of[image.path] = split
    if twice:
        raise InputError(f"data.init_args.root: images listed twice: {listed(twice)}; list each once, in one split")


def taken_order(boxes: npt.NDArray[np.float64], multiple: Multiple) -> npt.NDArray[np.intp]:
    """Order in which objects are taken; of equally large ones the first comes first."""
    if multiple != "largest":
        return np.arange(len(boxes))
    return np.argsort(-(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), kind="stable")
