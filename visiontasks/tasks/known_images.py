"""How far an image's features are from those of the training images, by which images of something else are noticed.

Yiyou Sun, Yifei Ming, Xiaojin Zhu and Yixuan Li, "Out-of-Distribution Detection With Deep Nearest Neighbors", 2022,
https://arxiv.org/abs/2204.06507: the distance of normalized features to those of the k-th nearest training image.
Deviations: cosine distance, which has the same order; k is 10 for any number of images; at most `MOST_KEPT` training
images are kept, of which a share suffices by the paper's section 4.3; and a p-value in place of a threshold.

It was chosen by measurement among three (docs/study.md), and its state is small enough for an exported graph: 5 MB with
1,280 features, and less with fewer training images. The Mahalanobis distance of Lee et al., 2018, takes 6.6 MB there,
growing with the square of the features.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from visiontasks.errors import InputError

NEIGHBOURS = 10
MOST_KEPT = 1000
"""Training images whose features are kept, evenly over them."""


@dataclass(frozen=True, eq=False)
class KnownImages:
    """What training images look like to a backbone, and how far validation images are from them.

    Args:
        vectors: Features of training images, each of norm 1, float32 (m, D).
        distances: Of the validation images, float32 (n,), in 0..2, ascending.
    """

    vectors: Tensor
    distances: Tensor

    @classmethod
    def fit(cls, train: Tensor, val: Tensor) -> Self:
        """Keep features of training images, and measure how far validation images are.

        Args:
            train: Features of training images, (m, D).
            val: Features of validation images, (n, D).
        """
        rows = torch.linspace(0, len(train) - 1, min(len(train), MOST_KEPT)).round().long()
        known = cls(F.normalize(train[rows].float(), dim=1), torch.empty(0))
        return cls(known.vectors, known.distance(val).sort().values)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Read what `to_tensors` gives.

        Raises:
            KeyError: If a tensor is missing.
        """
        return cls(tensors["vectors"], tensors["distances"])

    def to_tensors(self) -> dict[str, Tensor]:
        """Tensors for a file."""
        return {"vectors": self.vectors.contiguous(), "distances": self.distances.contiguous()}

    def distance(self, features: Tensor) -> Tensor:
        """Cosine distance to the 10th nearest training image, or to the farthest of fewer.

        Args:
            features: (B, D).

        Returns:
            (B,), in 0..2.
        """
        likeness = F.normalize(features.float(), dim=1) @ self.vectors.to(features.device).T
        return 1 - likeness.topk(min(NEIGHBOURS, len(self.vectors)), dim=1).values[:, -1]

    def p_known(self, features: Tensor) -> Tensor:
        """Share of the validation images, with each of these among them, that are at least as far.

        Args:
            features: (B, D).

        Returns:
            (B,), float32, in 1 / (n + 1)..1. Of images that are exchangeable with the validation images, a share of at
            most a has a value of at most a.
        """
        is_farther = self.distances.to(features.device) >= self.distance(features).unsqueeze(1)
        return (is_farther.sum(1) + 1).float() / (len(self.distances) + 1)

    def check(self, false_alarms: float) -> None:
        """Refuse a share of false alarms that the validation images are too few for, or that is none.

        Raises:
            InputError: With how many validation images it takes.
        """
        if not 0 < false_alarms < 1:
            raise InputError(f"{false_alarms:g}, expected above 0 and below 1, such as 0.05")
        least, n = ceil(1 / Fraction(str(false_alarms))) - 1, len(self.distances)
        if n < least:
            raise InputError(f"{false_alarms:g} needs at least {least:,} validation images, the run has {n:,}")
