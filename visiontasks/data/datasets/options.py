"""Checks of arguments that several datasets take."""

from collections.abc import Sequence

from visiontasks.class_names import normalized
from visiontasks.data.pipeline.files import listed
from visiontasks.errors import InputError


def check_choice(key: str, value: object, choices: Sequence[object]) -> None:
    """Check that an argument is one of its choices.

    Raises:
        InputError: If it is not.
    """
    if value not in choices:
        raise InputError(
            f"data.init_args.{key}: {value!r}, expected one of {', '.join(str(each) for each in choices if each)}"
        )


def check_classes(classes: Sequence[str] | None) -> None:
    """Check that `classes`, where given, names each class once.

    Raises:
        InputError: If it does not.
    """
    if classes and len(set(map(normalized, classes))) < len(classes):
        raise InputError(f"data.init_args.classes: {listed(list(classes))}, expected each name once")
