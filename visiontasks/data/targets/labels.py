"""Any number of labels for an image as a whole, some of which may be unknown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.sources import Int64Array, Source, annotation
from visiontasks.data.pipeline.target import Batch
from visiontasks.data.targets.base import ImageTarget, check_class_names
from visiontasks.errors import InputError
from visiontasks.outputs.geometry import Float32Array


@dataclass(frozen=True)
class LabelsTarget(ImageTarget):
    """A sample has `labels_hot` float32 (K,): 1 for a label that it has, 0 for one that it has not, NaN where unknown.

    A batch has `labels_hot` float32 (B, K).
    """

    name = "label list"
    plural = "any number of labels"

    def collate(self, samples: Sequence[Mapping[str, Any]], *, training: bool) -> Batch:
        """Give `labels_hot`, float32 (B, K)."""
        return {"labels_hot": torch.from_numpy(np.stack([sample["labels_hot"] for sample in samples]))}

    def count(self, source: Source, num_classes: int) -> Int64Array:
        """Images that have each label, (K,)."""
        return np.asarray((hot_labels(source, num_classes) == 1).sum(0), np.int64)

    def check_sources(self, sources: Mapping[str, Source], class_names: Sequence[str]) -> None:
        """Check that labels are 0, 1 or unknown, and that training has images with and without each."""
        check_class_names(class_names, least=1)
        for split, source in sources.items():
            hot = hot_labels(source, len(class_names))
            if not np.isin(hot[~np.isnan(hot)], (0, 1)).all():
                raise InputError(f"data.init_args.root: labels of the {split} split are not all 0, 1 or unknown")
            unlabelled = int(np.isnan(hot).all(1).sum())
            if unlabelled:
                raise InputError(
                    f"data.init_args.root: {unlabelled} image(s) of the {split} split without a known label; remove "
                    "them, or write 0 for labels that they have not"
                )
            if split == "train":
                _check_training(hot, class_names)

    def pack(self, batch: Batch, most_objects: int) -> dict[str, Tensor]:
        """See `Target.pack`."""
        return {"labels_hot": batch["labels_hot"]}

    def unpack(self, rows: Mapping[str, Tensor]) -> Batch:
        """The way back from `pack`."""
        return {"labels_hot": rows["labels_hot"]}

    def names(self, sample: Mapping[str, Any], class_names: Sequence[str]) -> list[str]:
        """The labels that it has."""
        return [name for name, hot in zip(class_names, sample["labels_hot"], strict=True) if hot == 1]


def hot_labels(source: Source, num_classes: int) -> Float32Array:
    """Labels of all samples of a source, (n, K)."""
    rows = [annotation(source, row)["labels_hot"] for row in range(len(source))]
    return np.stack(rows) if rows else np.zeros((0, num_classes), np.float32)


def _check_training(hot: Float32Array, class_names: Sequence[str]) -> None:
    for value, what in ((1, "with"), (0, "without")):
        lone = [name for name, there in zip(class_names, (hot == value).any(0), strict=True) if not there]
        if lone:
            raise InputError(
                f"data.init_args.root: no training image is known to be {what} {listed(lone)}, so nothing can be "
                "learned of it; add some, or remove the label"
            )
