"""Which training images a network sees as most similar to an image: the nearest ones by the features of its backbone.

The distance is 1 minus the cosine of two feature vectors, 0 to 2, as in Deng et al., "ArcFace: Additive Angular Margin
Loss for Deep Face Recognition", 2019. How large it may be differs from network to network, so each is compared with the
distances from validation images to their own nearest training images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from visiontasks.data.pipeline.sources import Int64Array
from visiontasks.errors import InputError
from visiontasks.ops.metrics import wilson_interval
from visiontasks.outputs.base import Float32Array
from visiontasks.study.features import Features
from visiontasks.study.folder_features import FolderFeatures

COUNT = 8
MOST_COMPARED = 2000
"""Validation images, taken evenly, whose distances a query's is compared with."""
_ROWS = 512


@dataclass(frozen=True)
class Neighbour:
    """A training image.

    Args:
        name: Its file, or split and row.
        row: In the training split.
        label: Its class as annotated.
        distance: 1 minus the cosine of the features, 0 to 2.
    """

    name: str
    row: int
    label: str
    distance: float


@dataclass(frozen=True)
class Query:
    """An image, and the training images nearest to it.

    Args:
        name: Its file.
        predicted: The most probable class.
        probability: Of that class.
        neighbours: The nearest first.
        nearer: Validation images that are nearer to their own nearest training image than this one is.
    """

    name: str
    predicted: str
    probability: float
    neighbours: Sequence[Neighbour]
    nearer: int


@dataclass(frozen=True)
class SimilarStudy:
    """Nearest training images.

    Args:
        n: Training images that were searched.
        compared: Validation images that distances were compared with; 0 if there are none.
        queries: Images that could be read.
        errors: Why others could not be, by file.
    """

    n: int
    compared: int
    queries: Sequence[Query]
    errors: Mapping[str, str]

    def content(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    def share_nearer(self, query: Query) -> tuple[float, float, float]:
        """Share of the validation images that are nearer to theirs, with its 95 % interval; of one or more."""
        return query.nearer / self.compared, *wilson_interval(query.nearer, self.compared)


def study_similar(
    features: Features, images: FolderFeatures, probabilities: Float32Array, *, count: int = COUNT
) -> SimilarStudy:
    """Find the nearest training images of each image.

    Args:
        features: Of the training and validation images, by the run's backbone.
        images: Features of the images to search for, by the same.
        probabilities: That the run predicts for these, (n, K).
        count: How many neighbours.

    Raises:
        InputError: If the features are of different networks.
    """
    train, val = (features.select(features.splits == split) for split in ("train", "val"))
    if len(images) and images.vectors.shape[1] != features.vectors.shape[1]:
        raise InputError(
            f"features of {images.vectors.shape[1]} values and of {features.vectors.shape[1]} belong to different "
            "networks: compute both with the same run"
        )
    some = np.unique(np.linspace(0, len(val) - 1, min(len(val), MOST_COMPARED)).astype(np.int64))
    usual = nearest(val.vectors[some], train.vectors, 1)[1][:, 0]
    rows, distances = nearest(images.vectors, train.vectors, count)
    names, classes = train.names, train.class_names
    queries = [
        Query(
            name=file,
            predicted=classes[int(probability.argmax())],
            probability=float(probability.max()),
            neighbours=[
                Neighbour(names[row], int(train.rows[row]), classes[train.labels[row]], float(distance))
                for row, distance in zip(found, at, strict=True)
            ],
            nearer=int((usual < at[0]).sum()),
        )
        for file, probability, found, at in zip(images.files, probabilities, rows, distances, strict=True)
    ]
    return SimilarStudy(len(train), len(usual), queries, images.errors)


def nearest(queries: Float32Array, vectors: Float32Array, count: int) -> tuple[Int64Array, Float32Array]:
    """The nearest vectors of each query.

    Args:
        queries: (m, D).
        vectors: (n, D).
        count: How many of them; of fewer vectors all.

    Returns:
        Rows of `vectors`, the nearest first and the lower of equally near ones, and their distances, 1 - cosine, both
        (m, count).
    """
    count = min(count, len(vectors))
    rows = np.zeros((len(queries), count), dtype=np.int64)
    distances = np.zeros((len(queries), count), dtype=np.float32)
    if not len(queries):
        return rows, distances
    known = _normalized(vectors).T
    for start in range(0, len(queries), _ROWS):
        part = slice(start, start + _ROWS)
        found = np.maximum(1 - _normalized(queries[part]) @ known, 0)
        rows[part] = np.argsort(found, axis=1, kind="stable")[:, :count]
        distances[part] = np.take_along_axis(found, rows[part], 1)
    return rows, distances


def _normalized(vectors: Float32Array) -> Float32Array:
    """At length 1; a vector of zeros stays one."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length == 0, 1, length), dtype=np.float32)
