"""Weights of the classes in a loss: given, or balanced once the data's counts are known."""

from collections.abc import Sequence
from math import inf
from typing import Literal

import torch
from torch import Tensor, nn

from visiontasks.errors import InputError

ClassWeightOption = Literal["balanced", "sqrt_balanced"] | list[float] | None
EXPONENTS = {"balanced": 1.0, "sqrt_balanced": 0.5}


class ClassWeights(nn.Module):
    """A weight for each class, on the task's device.

    Args:
        option: A weight above 0 for each class; "balanced" gives n / (K n_k), and "sqrt_balanced" its square root, once
            `balance` gets the counts n_k (the command line calls it); None weights them alike.
        num_classes: K.

    Raises:
        InputError: If the weights are not K numbers above 0.
    """

    key = "class_weights"
    """Of the task that has them."""

    def __init__(self, option: ClassWeightOption, num_classes: int) -> None:
        super().__init__()
        self.exponent = EXPONENTS.get(option) if isinstance(option, str) else None
        self.unbalanced = self.exponent is not None
        weights = torch.ones(num_classes)
        if option is not None and not self.unbalanced:
            known = not isinstance(option, str) and len(option) == num_classes
            if not known or not all(0 < float(weight) < inf for weight in option):
                raise InputError(
                    f'model.init_args.{self.key} must be "balanced", "sqrt_balanced" or {num_classes} values above '
                    f"0, one for each class, got {option!r}"
                )
            weights = torch.tensor([float(weight) for weight in option])
        self.weight = weights  # no buffer, which would be rounded where the task becomes bfloat16
        self.register_buffer("like", torch.empty(0), persistent=False)
        self.like: Tensor  # on the task's device

    def balance(self, class_counts: Sequence[int], num_samples: int = 0) -> None:
        """Weight each class by n / (K n_k), which makes the mean weight of the samples 1, or by its square root.

        Args:
            class_counts: n_k, training samples (of masks: pixels) of each class, K numbers above 0.
            num_samples: Of the training split, which weights of labels need.

        Raises:
            InputError: If the counts are not above 0.
        """
        counts = torch.tensor(class_counts, dtype=torch.float64)
        if counts.shape != self.weight.shape or not bool((counts > 0).all()):
            raise InputError(
                f"balanced class weights need {len(self.weight)} counts above 0, got {list(class_counts)}: remove "
                "classes that the training data has not, or set model.init_args.{self.key} to a list"
            )
        balanced = self.ratios(counts, num_samples)
        self.weight = (balanced ** (self.exponent or 1.0)).to(self.weight)
        self.unbalanced = False

    def ratios(self, counts: Tensor, num_samples: int) -> Tensor:
        """The balanced weights, (K,)."""
        return counts.sum() / (len(counts) * counts)

    def forward(self) -> Tensor:
        """The weights, (K,), float32, on the task's device."""
        self.weight = self.weight.to(self.like.device)
        return self.weight


class PositiveWeights(ClassWeights):
    """A weight for the images that have a label: "balanced" gives (n - n_k) / n_k, so that both kinds weigh alike.

    An image whose label is unknown counts as one without it there.
    """

    key = "positive_weights"

    def ratios(self, counts: Tensor, num_samples: int) -> Tensor:
        """See `ClassWeights.ratios`.

        Raises:
            InputError: If not every label is missing from a sample.
        """
        if bool((counts >= num_samples).any()):
            raise InputError(f"balanced positive weights need more samples than counts, got {num_samples}")
        return (num_samples - counts) / counts
