"""One class for each image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.sources import Int64Array, Source
from visiontasks.data.pipeline.target import Batch
from visiontasks.data.targets.base import ImageTarget, check_class_names, check_labels
from visiontasks.errors import InputError


@dataclass(frozen=True)
class LabelTarget(ImageTarget):
    """A sample has a `label`, a class index; a batch `label` int64 (B,)."""

    name = "label"
    plural = "labels"

    def collate(self, samples: Sequence[Mapping[str, Any]], *, training: bool) -> Batch:
        """Give `label`, int64 (B,)."""
        return {"label": torch.tensor([sample["label"] for sample in samples])}

    def count(self, source: Source, num_classes: int) -> Int64Array:
        """Images of each class, (K,)."""
        return np.bincount(source.labels, minlength=num_classes)

    def check_sources(self, sources: Mapping[str, Source], class_names: Sequence[str]) -> None:
        """Check that there are 2 classes or more, labels are theirs, and each has a training image."""
        check_class_names(class_names, least=2)
        check_labels({split: source.labels for split, source in sources.items()}, class_names)
        if "train" not in sources:
            return
        counts = self.count(sources["train"], len(class_names))
        empty = [name for name, count in zip(class_names, counts, strict=True) if count == 0]
        if empty:
            raise InputError(
                f"data.init_args.root: no training images of {listed(empty)}; add some or remove the class"
            )

    def names(self, sample: Mapping[str, Any], class_names: Sequence[str]) -> list[str]:
        """Its class."""
        return [class_names[int(sample["label"])]]
