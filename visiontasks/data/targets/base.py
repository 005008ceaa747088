"""What the targets share: those that nothing moves with, and checks of class names and labels."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.sources import Int64Array
from visiontasks.data.pipeline.target import Target
from visiontasks.errors import InputError
from visiontasks.outputs.geometry import Geometry


class ImageTarget(Target):
    """What an image has as a whole, so that no transform and no resize changes it."""

    unit = "images"
    strong_imbalance = 10
    inputs: ClassVar[tuple[str, ...]] = ()
    refused: ClassVar[Mapping[str, str]] = {}
    counts_by_decoding = False

    def augment(self, pipeline: Any, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Transform the image alone."""
        return {"image": np.asarray(pipeline(image=sample["image"])["image"])}

    def place(self, sample: dict[str, Any], geometry: Geometry, *, training: bool) -> dict[str, Any]:
        """Leave the sample as it is."""
        return sample


def check_class_names(class_names: Sequence[str], *, least: int) -> None:
    """Check the number of classes, and that a terminal can print their names.

    Raises:
        InputError: If there are fewer than `least`, or a name has control characters.
    """
    unprintable = [name for name in class_names if not name.isprintable()]
    if unprintable:  # what they would do to a terminal is not for a dataset to decide
        raise InputError(
            f"data.init_args.root: class names with characters that cannot be printed: {listed(unprintable)!r}; "
            "expected letters, digits, spaces and signs: rename them"
        )
    if len(class_names) < least:
        names = listed(list(class_names))
        raise InputError(f"data.init_args.root: {len(class_names)} class(es) ({names}), expected at least 2")


def check_labels(labels_of_splits: Mapping[str, Int64Array], class_names: Sequence[str]) -> None:
    """Check that labels are indices of the classes.

    Args:
        labels_of_splits: All labels of each split, (n,).
        class_names: The classes, K.

    Raises:
        InputError: If a label is not in 0..K-1.
    """
    for split, labels in labels_of_splits.items():
        low, high = (int(labels.min()), int(labels.max())) if len(labels) else (0, 0)
        if low < 0 or high >= len(class_names):
            raise InputError(
                f"data.init_args.root: labels from {low} to {high} in the {split} split, expected 0 to "
                f"{len(class_names) - 1} for the {len(class_names)} classes ({listed(list(class_names))})"
            )
