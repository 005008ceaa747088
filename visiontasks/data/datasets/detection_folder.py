"""The user's own images with any number of objects, as whichever annotation tool exported them."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from visiontasks.class_names import normalized
from visiontasks.data.datasets.annotated import AnnotatedData
from visiontasks.data.datasets.boxes import BoxSource
from visiontasks.data.datasets.class_split import divide_by_classes
from visiontasks.data.datasets.options import check_choice
from visiontasks.data.formats.annotations import AnnotatedImage, image_problems, natural_classes
from visiontasks.data.formats.box_reading import Reading
from visiontasks.data.formats.export_folder import ExportFolder
from visiontasks.data.formats.recognized import read_export
from visiontasks.data.pipeline.problems import Problem
from visiontasks.data.pipeline.sources import Annotation, Int64Array, Source
from visiontasks.data.targets.objects import ObjectsTarget
from visiontasks.errors import InputError
from visiontasks.outputs.geometry import Float32Array
from visiontasks.units import counted

Format = Literal["coco", "voc", "yolo", "csv", "openimages", "labelme", "cvat", "labelstudio", "via", "createml"]
BoolArray = npt.NDArray[np.bool_]


class ObjectSource(BoxSource):
    """Image files with the classes and boxes of any number of objects, some of them crowds.

    Args:
        paths: Image files, n.
        labels: Class indices of each image's objects, n arrays (N_i,).
        boxes: Their boxes, xyxy in pixels, n arrays (N_i, 4).
        crowds: Which of them are to be ignored, n arrays (N_i,).
        max_16bit: Largest value of 16-bit images, as for `read_image`.
    """

    def __init__(
        self,
        paths: Sequence[str],
        labels: Iterable[Int64Array],
        boxes: Iterable[Float32Array],
        crowds: Iterable[BoolArray],
        *,
        max_16bit: int | None = None,
    ) -> None:
        super().__init__(paths, labels, boxes, max_16bit=max_16bit)
        self.crowds = np.concatenate([*crowds, np.zeros(0, dtype=np.bool_)])
        self.labels = np.full(len(self), -1, dtype=np.int64)  # an image of several objects has no class of its own

    def annotation(self, index: int) -> Annotation:
        """What a sample has beside its image, which is not decoded."""
        rows = slice(self.ends[index], self.ends[index + 1])
        return {**super().annotation(index), "crowd": self.crowds[rows].copy()}


class DetectionFolder(AnnotatedData):
    """Images with annotations as COCO, VOC, YOLO, CSV, Open Images, LabelMe, CVAT, Label Studio, VIA or Create ML.

    The format is found out by the files; `notes` has which it is and what it was recognized by. Images and annotations
    may lie in any subfolders. Splits are those of the export: folders or files called train, valid, test or the like,
    or its own lists. What is missing of validation and test is split off the training images so that each part has its
    share of each class, and of the images without an object.

    Images without any object belong to the dataset. Crowds (COCO's iscrowd, VOC's difficult, Open Images' group of) are
    regions to ignore, see `ObjectsTarget`. An object that is written twice is taken once. Classes are those of the
    export, also where no image has one; of formats without a list of them those of the training images, class2 before
    class10. Boxes are cut to the image.

    See `AnnotatedData` for what is wrong with an image and its boxes.

    Args:
        root: The folder of the export.
        format: Which annotations are read, where the folder has several kinds.
        **kwargs: Arguments of `AnnotatedData`.

    Raises:
        InputError: If a value is out of range, or a class is named twice.
    """

    def __init__(self, root: str, *, format: Format | None = None, **kwargs: Any) -> None:
        super().__init__(root, target=ObjectsTarget(), **kwargs)
        check_choice("format", format, (None, *get_args(Format)))
        self.format: Format | None = format
        self._twice: list[str] = []

    def read_annotations(self) -> tuple[dict[str, list[AnnotatedImage]], list[str]]:
        """Find out the format and read it.

        Raises:
            MissingFileError: If there are no annotations or no images.
            InputError: If there are annotations in several formats, or some cannot be read, or nothing is annotated.
        """
        self.hidden.clear()
        export = read_export(ExportFolder(self.root, self.hidden), self.format)
        self.reading = Reading(self.box_format or export.reading.format, self.box_unit or export.reading.unit)
        splits = export.splits()
        self._read_notes = export.all_notes()
        train = splits.get("train", [])
        if train and not any(image.boxes or image.problems for image in train):
            raise InputError(
                f"data.init_args.root: no object in the {len(train)} training images of {self.root}/, expected at "
                f"least one ({self._read_notes[0]})"
            )
        return splits, export.class_names or natural_classes(splits)

    def load_sources(self) -> dict[str, Source]:
        """Check the images of each split and take their objects.

        Raises:
            BadSamplesError: If samples are bad, and not to be skipped; with all of them.
            InputError: As for `AnnotatedData`.
        """
        self._twice = []
        sources = super().load_sources()
        if self._twice:
            self.notes.append(
                f"{len(self._twice):,} object(s) are written twice and taken once (such as {self._twice[0]})"
            )
        return sources

    def _problems(self, image: AnnotatedImage) -> list[Problem]:
        return image_problems(image, self.reading, may_be_empty=True)

    def _divided_rows(self, images: Sequence[AnnotatedImage], test_fraction: float) -> dict[str, Int64Array]:
        classes = [image.classes for image in images]
        shares = {"train": 1 - self.val_fraction - test_fraction, "val": self.val_fraction}
        shares |= {"test": test_fraction} if test_fraction > 0 else {}
        rows = divide_by_classes(classes, shares, seed=self.split_seed)
        if any(len(of_split) == 0 for of_split in rows.values()):
            self._usable([images])  # what is wrong with these few comes first
            raise InputError(
                f"data.init_args.root: {self.root}/ has too few images of each class to be split into "
                f"{', '.join(shares)}; add images, or make the splits yourself, in folders of these names: "
                f"{counted(len(images), 'image')} of {counted(len(frozenset().union(*classes)), 'class', 'classes')}, "
                "each of which needs a training image"
            )
        return rows

    def _source(self, images: Sequence[AnnotatedImage], names: Sequence[str]) -> ObjectSource:
        label_of = {normalized(name): label for label, name in enumerate(names)}
        labels: list[Int64Array] = []
        boxes: list[Float32Array] = []
        crowds: list[BoolArray] = []
        for image in images:
            assert image.upright is not None  # else it is a bad sample
            rows = self._rows_once(image)
            height, width = image.upright
            corners = self.reading.xyxy(np.array(image.boxes, dtype=np.float64).reshape(-1, 4), image.upright)[rows]
            labels.append(np.array([label_of[image.names[row]] for row in rows], dtype=np.int64))
            boxes.append(corners.clip(0, [width, height, width, height]).astype(np.float32))
            crowds.append(np.array([image.crowds[row] for row in rows], dtype=np.bool_))
        return ObjectSource([image.path for image in images], labels, boxes, crowds, max_16bit=self.max_16bit)

    def _rows_once(self, image: AnnotatedImage) -> list[int]:
        """Rows of an image's objects without those that are the same as one before."""
        found: dict[tuple[object, ...], int] = {}
        for row, (name, box, crowd) in enumerate(zip(image.names, image.boxes, image.crowds, strict=True)):
            if found.setdefault((name, *box, crowd), row) != row:
                self._twice.append(image.places[row])
        return list(found.values())
