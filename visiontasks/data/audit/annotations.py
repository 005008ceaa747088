"""The annotations of a split without its images: how often classes occur, and where boxes lie."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from visiontasks.cores import available_cores
from visiontasks.data.base import DataModule
from visiontasks.data.pipeline.reader import upright_size
from visiontasks.data.pipeline.sources import Int64Array, Source, Subset, annotation, sample_path

MOST_DECODED = 200
"""Training masks that are decoded to find how frequent classes are, evenly over the split: about a second."""


class SplitAnnotations:
    """What the samples of a split are annotated with, read where it is asked for.

    Args:
        data: After `setup()`.
        split: Of the data.
        rows: Which of its samples; None for all.
        most_decoded: Where classes are counted by decoding, that is done for so many samples, evenly over them; None
            for all.
    """

    def __init__(
        self, data: DataModule, split: str, *, rows: Sequence[int] | None = None, most_decoded: int | None = None
    ) -> None:
        whole = data.source(split)
        self.data = data
        self.source: Source = whole if rows is None else Subset(whole, np.array(rows, dtype=np.int64))
        self.is_whole_training = split == "train" and rows is None
        self.most_decoded = most_decoded

    def __len__(self) -> int:
        return len(self.source)

    @property
    def is_sampled(self) -> bool:
        """Whether `class_counts` counts a part of the samples."""
        most = self.most_decoded
        return self.data.counts_by_decoding and most is not None and len(self.source) > most

    def class_counts(self) -> Int64Array:
        """Images, objects or pixels (`target.unit`) of each class, (K,)."""
        if self.is_whole_training and not self.data.counts_by_decoding:
            return np.array(self.data.class_counts, dtype=np.int64)  # which some data has counted already
        source = self.source
        if self.is_sampled and self.most_decoded is not None:
            source = Subset(source, np.linspace(0, len(source) - 1, self.most_decoded).astype(np.int64))
        return self.data.count_classes(source)

    def unit_boxes(self) -> npt.NDArray[np.float64]:
        """The boxes of all samples, xyxy divided by the image's width and height, (N, 4).

        Raises:
            InputError: If an image's header cannot be read.
        """
        with ThreadPoolExecutor(available_cores()) as pool:
            found = list(pool.map(self._unit_boxes, range(len(self.source))))
        boxes: npt.NDArray[np.float64] = np.concatenate([*found, np.zeros((0, 4))])
        finite: npt.NDArray[np.float64] = boxes[np.isfinite(boxes).all(1)]
        return finite

    def _unit_boxes(self, row: int) -> npt.NDArray[np.float64]:
        path = sample_path(self.source, row)
        height, width = upright_size(path) if path else self.source[row]["image"].shape[:2]
        boxes: npt.NDArray[np.float64] = annotation(self.source, row)["boxes"].astype(np.float64)
        return boxes / np.array([width, height] * 2, dtype=np.float64)
