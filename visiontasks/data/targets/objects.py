"""Any number of objects in an image, all of which are to be found; regions of crowds are ignored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import albumentations as A
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.reader import UInt8Array
from visiontasks.data.pipeline.sources import Int64Array, Sample, Source, annotation
from visiontasks.data.pipeline.target import Batch
from visiontasks.data.targets.boxes import MIN_VISIBLE, BoxesTarget
from visiontasks.errors import InputError
from visiontasks.outputs import Output
from visiontasks.outputs.found_objects import FoundObjects
from visiontasks.outputs.geometry import Float32Array, Geometry

_KEYS = ("boxes", "labels", "crowd")


@dataclass(frozen=True)
class ObjectsTarget(BoxesTarget):
    """A sample has `boxes`, `labels` and `crowd`, bool (N,): regions of several objects, and objects not to be counted.

    A batch has lists of them; N may be 0. In training boxes are in pixels of its images, and a box is cut to the image
    by each transform that moves it, and by the resize. What is left of it is the box; where that is less than
    `MIN_VISIBLE` of its area before the cut, the object is dropped with its label, and becomes background: the image
    does not show it, and a detector is not to find it. Crowds follow the same rule, and so does what the tiles of a
    Mosaic leave, which has the objects of all its images. In evaluation boxes are those of the original image, at which
    predictions are measured, and nothing is cut or dropped.
    """

    name = "box list"
    plural = "boxes"
    can_be_combined = True

    def combine(self, pipeline: Any, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Lay images into one, with the objects of all of them.

        albumentations' boxes lie on their pixels, but it keeps the slivers that a tile leaves, which are dropped here.
        """
        counts = [len(sample["boxes"]) for sample in samples]
        rows = np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1])
        tiles = [
            {"image": sample["image"], "bboxes": sample["boxes"], "rows": own}
            for sample, own in zip(samples, rows, strict=True)
        ]
        moved = pipeline(**tiles[0], mosaic_metadata=tiles[1:])
        boxes = np.reshape(moved["bboxes"], (-1, 4)).astype(np.float32)
        found = np.asarray(moved["rows"], dtype=np.int64)
        (mosaic,) = pipeline.transforms
        whole = np.concatenate([_areas(sample["boxes"]) * _tile_scale(mosaic, sample["image"]) for sample in samples])
        kept = _areas(boxes) >= MIN_VISIBLE * whole[found]
        labels, crowd = (np.concatenate([sample[key] for sample in samples]) for key in ("labels", "crowd"))
        found = found[kept]
        return {"image": moved["image"], "boxes": boxes[kept], "labels": labels[found], "crowd": crowd[found]}

    def augment(self, pipeline: Any, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Transform image and boxes; lost objects are dropped."""
        moved = super().augment(pipeline, sample)
        found = _without_lost({"boxes": moved["boxes"], "labels": sample["labels"], "crowd": sample["crowd"]})
        return {"image": moved["image"], **found}

    def place(self, sample: dict[str, Any], geometry: Geometry, *, training: bool) -> dict[str, Any]:
        """In training move the boxes to the resized image, cut them to it, and drop lost objects."""
        return _without_lost(super().place(sample, geometry, training=True)) if training else sample

    def collate(self, samples: Sequence[Mapping[str, Any]], *, training: bool) -> Batch:
        """Give the lists `boxes`, float32 (N_i, 4), `labels`, int64 (N_i,), and `crowd`, bool (N_i,)."""
        return {key: [torch.from_numpy(sample[key]) for sample in samples] for key in _KEYS}

    def count(self, source: Source, num_classes: int) -> Int64Array:
        """Objects of each class without crowds, (K,)."""
        return np.bincount(_labels(source), minlength=num_classes)

    def check_sources(self, sources: Mapping[str, Source], class_names: Sequence[str]) -> None:
        """Check labels and their number, and that each class that validation or test has is in training."""
        super().check_sources(sources, class_names)
        if "train" not in sources:
            return
        counts = {split: self.count(source, len(class_names)) for split, source in sources.items()}
        if not counts["train"].any():
            crowds = " that is no crowd" if self.most_objects(sources["train"]) else ""
            raise InputError(
                f"data.init_args.root: no object{crowds} in the {len(sources['train'])} training images, expected at "
                "least one: annotate some, or look whether the annotations are those of these images"
            )
        if not counts.get("val", counts["train"]).any():
            raise InputError(
                f"data.init_args.root: no object in the {len(sources['val'])} validation images, by which the best "
                "epoch is chosen: annotate some, or let the split be made of the training images"
            )
        for split, of_split in counts.items():
            untaught = np.flatnonzero((counts["train"] == 0) & (of_split > 0)).tolist()
            if untaught:
                names = listed([f"{class_names[label]} ({of_split[label]:,})" for label in untaught])
                raise InputError(
                    f"data.init_args.root: the {split} split has objects of classes without a training object: "
                    f"{names}; add training images of them, or remove these objects"
                )

    def truth(self, sample: Sample) -> Output | None:
        """Its objects without crowds."""
        size, there = (sample["image"].shape[0], sample["image"].shape[1]), ~sample["crowd"]
        boxes, labels = sample["boxes"][there], sample["labels"][there]
        return FoundObjects(size, boxes, np.ones(len(labels), np.float32), labels)

    def pack(self, batch: Batch, most_objects: int) -> dict[str, Tensor]:
        """Give what `BoxesTarget` does, and `crowd` bool (B, M), padded with False."""
        crowds: list[Tensor] = batch["crowd"]
        room = torch.zeros(most_objects, dtype=torch.bool)  # one more row, from which the length comes
        padded = pad_sequence([*crowds, room], batch_first=True)[:-1]
        return {**super().pack(batch, most_objects), "crowd": padded}

    def unpack(self, rows: Mapping[str, Tensor]) -> Batch:
        """Give the lists without their padding."""
        found = super().unpack(rows)
        return {**found, "crowd": [row[: len(of)] for row, of in zip(rows["crowd"], found["labels"], strict=True)]}


def _areas(boxes: Float32Array) -> Float32Array:
    """Of boxes (N, 4), in square pixels, (N,)."""
    areas: Float32Array = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return areas


def _tile_scale(mosaic: A.Mosaic, image: UInt8Array) -> float:
    """How many times its area an image has in its tile, before the tile is cut."""
    shares = [tile / own for tile, own in zip(mosaic.cell_shape, image.shape[:2], strict=True)]
    return float((max if mosaic.fit_mode == "cover" else min)(shares) ** 2)


def _without_lost(sample: dict[str, Any]) -> dict[str, Any]:
    """A sample without the objects whose box is NaN."""
    there = np.isfinite(sample["boxes"]).all(1)
    return {**sample, **{key: sample[key][there] for key in _KEYS}}


def _labels(source: Source) -> Int64Array:
    """Classes of all objects of a source that are no crowds."""
    found = [annotation(source, index) for index in range(len(source))]
    return np.concatenate([*(each["labels"][~each["crowd"]] for each in found), np.zeros(0, dtype=np.int64)])
