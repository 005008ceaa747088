"""Boxes with a class each, any number of them for each image."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import albumentations as A
import cv2
import numpy as np
import numpy.typing as npt
import torch
from albumentations.augmentations.dropout.transforms import BaseDropout
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from visiontasks.data.pipeline.alignment import refuse
from visiontasks.data.pipeline.sources import Int64Array, Sample, Source, annotation
from visiontasks.data.pipeline.target import Batch, Target
from visiontasks.data.targets.base import check_class_names, check_labels
from visiontasks.library_internals import replace_box_transform
from visiontasks.outputs import Detections, Output
from visiontasks.outputs.geometry import Float32Array, Geometry, Size

MIN_VISIBLE = 0.1
"""A box of which a transform or crop leaves less than this share of the area is lost."""

Boxes = npt.NDArray[np.floating[Any]]
Matrix = npt.NDArray[np.float64]

_WHOLE_PIXELS = "it moves boxes by whole pixels; use Affine or Perspective"
_REPEATING_BORDERS = (cv2.BORDER_REFLECT, cv2.BORDER_WRAP, cv2.BORDER_REFLECT_101)


@dataclass(frozen=True)
class BoxesTarget(Target):
    """A sample has `boxes` float32 (N, 4), xyxy in pixels, and `labels` int64 (N,); N may be 0.

    A batch has lists of them, the boxes in pixels of its images. In training a box is cut to the image, and NaN where
    too little of it is left; its label stays, since the object is still the image's class.
    """

    name = "box"
    plural = "boxes"
    unit = "objects"
    strong_imbalance = 10
    inputs = ("bboxes",)
    refused: ClassVar[Mapping[str, str]] = {
        "ElasticTransform": _WHOLE_PIXELS,
        "GridDistortion": _WHOLE_PIXELS,
        "GridElasticDeform": _WHOLE_PIXELS,
        "OpticalDistortion": _WHOLE_PIXELS,
        "PiecewiseAffine": _WHOLE_PIXELS,
        "ThinPlateSpline": _WHOLE_PIXELS,
        "RandomGridShuffle": "it cuts objects into parts that no box encloses",
        "ConstrainedCoarseDropout": "it chooses objects by classes, which are not passed to it; use CoarseDropout",
        "Morphological": "it grows or shrinks objects, whose truth stays as it is",
        "GlassBlur": "it moves the image by up to several pixels, and not its boxes; use GaussianBlur or Defocus",
    }
    counts_by_decoding = False

    def compose_options(self) -> dict[str, Any]:
        """Which boxes a transform loses."""
        params = A.BboxParams("pascal_voc", label_fields=["rows"], min_visibility=MIN_VISIBLE, clip=True)
        return {"bbox_params": params}

    def align(self, transform: Any) -> None:
        """Let boxes pass dropouts unchanged, and move them with the image where albumentations is half a pixel off."""
        border_mode = getattr(transform, "border_mode", None)
        if border_mode in _REPEATING_BORDERS:
            reason = "it repeats objects in the border, and their boxes; use border_mode: 0 (constant) or 1 (replicate)"
            refuse(f"{type(transform).__name__} with border_mode: {border_mode}", self, reason)
        move: Callable[..., Boxes] | None = None
        if isinstance(transform, BaseDropout | A.PixelDropout):
            move = _unchanged
        elif isinstance(transform, A.Affine):
            move = partial(_move_affine, transform.apply_to_bboxes)
        elif isinstance(transform, A.Perspective):
            move = partial(_move_perspective, transform.apply_to_bboxes, keep_size=transform.keep_size)
        if move is not None:
            replace_box_transform(transform, move)

    def augment(self, pipeline: Any, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Transform image and boxes; lost boxes are NaN."""
        boxes: Float32Array = sample["boxes"]
        rows = np.flatnonzero(np.isfinite(boxes).all(1))
        moved = pipeline(image=sample["image"], bboxes=boxes[rows], rows=rows)
        found = np.full_like(boxes, np.nan)
        found[np.asarray(moved["rows"], dtype=np.int64)] = np.reshape(moved["bboxes"], (-1, 4))
        return {"image": np.asarray(moved["image"]), "boxes": found}

    def place(self, sample: dict[str, Any], geometry: Geometry, *, training: bool) -> dict[str, Any]:
        """Move the boxes to the resized image; in training they are cut to it."""
        boxes = geometry.boxes(sample["boxes"])
        return {**sample, "boxes": _cut(boxes, geometry.target) if training else boxes}

    def collate(self, samples: Sequence[Mapping[str, Any]], *, training: bool) -> Batch:
        """Give the lists `boxes`, float32 (N_i, 4), and `labels`, int64 (N_i,)."""
        return {key: [torch.from_numpy(sample[key]) for sample in samples] for key in ("boxes", "labels")}

    def count(self, source: Source, num_classes: int) -> Int64Array:
        """Objects of each class, (K,)."""
        return np.bincount(_labels(source), minlength=num_classes)

    def check_sources(self, sources: Mapping[str, Source], class_names: Sequence[str]) -> None:
        """Check that labels are those of the classes, of which one is enough: its boxes are to be found."""
        check_class_names(class_names, least=1)
        check_labels({split: _labels(source) for split, source in sources.items()}, class_names)

    def truth(self, sample: Sample) -> Output | None:
        """Its boxes with their classes."""
        height, width = sample["image"].shape[:2]
        return Detections((height, width), sample["boxes"], labels=np.asarray(sample["labels"], np.int64))

    def names(self, sample: Mapping[str, Any], class_names: Sequence[str]) -> list[str]:
        """The classes of its objects, each once; none where there is one class only."""
        labels = dict.fromkeys(np.asarray(sample["labels"]).tolist())
        return [class_names[k] for k in labels] if len(class_names) > 1 else []

    def most_objects(self, source: Source) -> int:
        """Objects in the image that has most of them."""
        return max((len(annotation(source, index)["labels"]) for index in range(len(source))), default=0)

    def pack(self, batch: Batch, most_objects: int) -> dict[str, Tensor]:
        """Give `boxes` float32 (B, M, 4) and `labels` int64 (B, M), M = `most_objects`, padded with NaN and -1."""
        padded = {}
        for key, padding in (("boxes", torch.nan), ("labels", -1)):
            values: list[Tensor] = batch[key]
            room = values[0].new_empty(most_objects, *values[0].shape[1:])  # one more row, from which the length comes
            padded[key] = pad_sequence([*values, room], batch_first=True, padding_value=padding)[:-1]
        return padded

    def unpack(self, rows: Mapping[str, Tensor]) -> Batch:
        """Give the lists without their padding."""
        counts = (rows["labels"] >= 0).sum(1).tolist()
        return {key: [row[:n] for row, n in zip(rows[key], counts, strict=True)] for key in ("boxes", "labels")}


def _labels(source: Source) -> Int64Array:
    """Classes of all objects of a source."""
    labels = [annotation(source, index)["labels"] for index in range(len(source))]
    return np.concatenate([*labels, np.zeros(0, dtype=np.int64)])


def _cut(boxes: Float32Array, size: Size) -> Float32Array:
    """Cut boxes (N, 4) to an image's height and width; NaN where too little of one is left."""
    inside = boxes.clip(0, np.array([size[1], size[0]] * 2, dtype=np.float32))
    area, left = ((b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (boxes, inside))
    return np.where((left >= MIN_VISIBLE * area)[:, None] & (left > 0)[:, None], inside, np.float32(np.nan))


def _unchanged(boxes: Boxes, **_: Any) -> Boxes:
    return boxes


def _move_affine(move: Callable[..., Boxes], boxes: Boxes, *, matrix: Matrix, **params: Any) -> Boxes:
    """Move boxes by the image's matrix, where SafeRotate and `fit_output` have another one for boxes.

    The image's counts from the centre of the first pixel, boxes count from its corner.
    """
    params["bbox_matrix"] = _translation(0.5, 0.5) @ matrix @ _translation(-0.5, -0.5)
    return move(boxes, **params)


def _move_perspective(
    move: Callable[..., Boxes], boxes: Boxes, *, keep_size: bool, matrix: Matrix, **params: Any
) -> Boxes:
    """Move boxes by the image's matrix, which counts from the centre of the first pixel."""
    height, width = params["shape"][:2]
    x, y = (0.5 * params["max_width"] / width, 0.5 * params["max_height"] / height) if keep_size else (0.5, 0.5)
    params["matrix_bbox"] = _translation(x, y) @ matrix @ _translation(-0.5, -0.5)  # scaled to the size by `move`
    return move(boxes, **params)


def _translation(x: float, y: float) -> Matrix:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], dtype=np.float64)
