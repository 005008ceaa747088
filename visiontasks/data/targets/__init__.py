"""What a sample is annotated with: each target augments, places, collates, counts and checks itself."""

from typing import Literal, cast

from visiontasks.data.pipeline.target import Target as Target
from visiontasks.data.targets.boxes import BoxesTarget
from visiontasks.data.targets.label import LabelTarget
from visiontasks.data.targets.labels import LabelsTarget
from visiontasks.data.targets.mask import MaskTarget
from visiontasks.errors import InputError

__all__ = [
    "TARGETS",
    "BoxesTarget",
    "LabelTarget",
    "LabelsTarget",
    "MaskTarget",
    "Target",
    "TargetName",
    "named_target",
]

TargetName = Literal["label", "box", "mask"]
TARGETS: dict[TargetName, Target] = {"label": LabelTarget(), "box": BoxesTarget(), "mask": MaskTarget()}
"""By the name that a recipe gives them."""


def named_target(name: TargetName) -> Target:
    """A target by its name in a recipe.

    Raises:
        InputError: If it is unknown.
    """
    if name not in TARGETS:
        raise InputError(f"data.init_args.target: {name!r}, expected one of {', '.join(cast(list[str], [*TARGETS]))}")
    return TARGETS[name]
