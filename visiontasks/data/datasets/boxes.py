"""Images with boxes of which a fixed number is taken, the largest ones or the first."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from visiontasks.class_names import normalized
from visiontasks.data.datasets.annotated import AnnotatedData
from visiontasks.data.datasets.options import check_choice
from visiontasks.data.formats.annotations import AnnotatedImage, image_problems
from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.problems import Problem
from visiontasks.data.pipeline.reader import read_image
from visiontasks.data.pipeline.sources import Annotation, Int64Array, Sample, Source, divide
from visiontasks.data.targets import BoxesTarget
from visiontasks.errors import InputError
from visiontasks.outputs.geometry import Float32Array

Multiple = Literal["largest", "first", "refuse"]
"""Which objects of an image are taken where it has more than are asked for."""


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


class BoxData(AnnotatedData):
    """Images with boxes; a subclass gives `read_annotations()`.

    See `AnnotatedData` for what is wrong with an image and its boxes; an annotation without an object is wrong too.

    Splits are made as in `ImageFolder`: what is missing of validation and test is split off the training images,
    stratified by the class of each image's first object. Classes too rare to be in every part stay in train.

    Args:
        root: The folder.
        multiple: Which objects are taken where an image has more than `num_objects`: the `largest`, or the `first` as
            they are written; `refuse` makes such an image a bad sample.
        num_objects: Objects that are taken of each image, at most.
        **kwargs: Arguments of `AnnotatedData`.

    Raises:
        InputError: If a value is out of range, or a class is named twice.
    """

    def __init__(
        self,
        root: str,
        *,
        multiple: Multiple = "largest",
        num_objects: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, target=BoxesTarget(), **kwargs)
        check_choice("multiple", multiple, get_args(Multiple))
        if num_objects < 1:
            raise InputError(f"data.init_args.num_objects: {num_objects}, expected at least 1")
        self.multiple: Multiple = multiple
        self.num_objects = num_objects
        self._surplus: list[int] = []
        """Objects that are left out, of each image that has some."""

    def load_sources(self) -> dict[str, Source]:
        """Check the images of each split and take their objects.

        Raises:
            InputError: As for `AnnotatedData`, or if no object of a class is taken for training.
        """
        self._surplus = []
        sources = super().load_sources()
        if self._surplus:
            taken = self.multiple if self.num_objects == 1 else f"{self.num_objects} {self.multiple}"
            self.notes.append(
                f"{sum(self._surplus):,} box(es) of {len(self._surplus):,} image(s) are left out beyond the {taken} of "
                "each: the recipe folder_detect predicts all of them"
            )
        if "train" in sources:
            self._check_taught(sources["train"], self.class_names)
        return sources

    def _divided_rows(self, images: Sequence[AnnotatedImage], test_fraction: float) -> dict[str, Int64Array]:
        first = np.array([image.names[0] if image.names else "" for image in images], dtype=np.str_)
        labels, counts = np.unique(first, return_inverse=True, return_counts=True)[1:]
        parts = ["train", "val", "test"] if test_fraction > 0 else ["train", "val"]
        rare = counts[labels] < len(parts)
        common = np.flatnonzero(~rare)
        if len(common) == 0:
            raise InputError(
                f"data.init_args.root: {self.root}/ has too few images of each class to be split into "
                f"{', '.join(parts)}; add images, or make the splits yourself: a class needs {len(parts)}, none has "
                f"more than {max([0, *counts.tolist()])}"
            )
        rows = divide(labels[common], val_fraction=self.val_fraction, test_fraction=test_fraction, seed=self.split_seed)
        found = {split: common[rows[split]] for split in rows}
        found["train"] = np.sort(np.concatenate([found["train"], np.flatnonzero(rare)]))
        return found

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
            self._surplus += [len(corners) - len(taken)] if len(taken) < len(corners) else []
            labels.append(np.array([label_of[image.names[i]] for i in taken], dtype=np.int64))
            boxes.append(corners[taken].astype(np.float32))
        return BoxSource([image.path for image in images], labels, boxes, max_16bit=self.max_16bit)


def taken_order(boxes: npt.NDArray[np.float64], multiple: Multiple) -> npt.NDArray[np.intp]:
    """Order in which objects are taken; of equally large ones the first comes first."""
    if multiple != "largest":
        return np.arange(len(boxes))
    return np.argsort(-(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), kind="stable")
