"""What the targets share: checks of class names and labels."""

from collections.abc import Mapping, Sequence

from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.sources import Int64Array
from visiontasks.errors import InputError


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
