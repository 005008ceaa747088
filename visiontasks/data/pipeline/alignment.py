"""Keeps masks and boxes aligned with their augmented image, where albumentations 2.0.8 does not: corrected or refused.

Each entry was measured, see tests/data/pipeline/test_alignment.py: aligned is what lies within 0.15 px of its image.
"""

from typing import Any, NoReturn, get_args

import albumentations as A
import cv2
from albumentations.core.composition import BaseCompose
from albumentations.core.transforms_interface import BasicTransform

from visiontasks.data.pipeline.target import Target
from visiontasks.errors import InputError

_NEEDS = {  # which albumentations does not declare in `targets_as_params`
    "AtLeastOneBBoxRandomCrop": "bboxes",
    "BBoxSafeRandomCrop": "bboxes",
    "RandomSizedBBoxSafeCrop": "bboxes",
    "ConstrainedCoarseDropout": "mask",
    "CropNonEmptyMaskIfExists": "mask",
}
_SPELLED = {"bboxes": "boxes", "mask": "masks"}
NEAREST = {cv2.INTER_NEAREST, cv2.INTER_NEAREST_EXACT}


def align(transform: BasicTransform | BaseCompose, target: Target) -> None:
    """Make a transform move a target by what it moves the image, in place; nested transforms are not visited.

    Nearest pixels are taken at pixel centres (INTER_NEAREST_EXACT; INTER_NEAREST is half a pixel off where OpenCV
    resizes, and right where it warps).

    Raises:
        InputError: If the transform cannot be aligned, or needs what the samples do not have.
    """
    name = type(transform).__name__
    if name in target.refused:
        refuse(name, target, target.refused[name])
    if isinstance(transform, A.Mosaic) and target.can_be_combined:
        return  # the augmentation itself gives it the other samples
    _check_needs(transform, target)
    if not target.inputs:
        return
    _take_nearest_at_centres(transform)
    if isinstance(transform, A.Downscale) and NEAREST & {*transform.interpolation_pair.values()}:
        way_out = "add interpolation_pair: {downscale: 3, upscale: 1} (INTER_AREA, INTER_LINEAR)"
        refuse(f"{name} by nearest pixels", target, f"it moves the image by more than a pixel; {way_out}")
    target.align(transform)


def refuse(what: str, target: Target, reason: str) -> NoReturn:
    """Refuse a transform for a target.

    Raises:
        InputError: Always.
    """
    way_out = "" if ";" in reason else "; remove it"
    raise InputError(f"data.init_args.augment: {what} is refused for {target.plural}: {reason}{way_out}")


def _check_needs(transform: BasicTransform | BaseCompose, target: Target) -> None:
    name = type(transform).__name__
    passed = ("image", *target.inputs)
    missing = [_SPELLED[key] for key in (_NEEDS.get(name, "image"),) if key not in passed]
    if isinstance(transform, A.Transform3D):
        missing = ["volumes"]
    elif isinstance(transform, BasicTransform):
        missing += [key for key in transform.targets_as_params if key not in passed]
    if missing:
        refuse(name, target, f"it needs {', '.join(missing)}, which the samples do not have")


def _take_nearest_at_centres(transform: BasicTransform | BaseCompose) -> None:
    """Replace INTER_NEAREST wherever a transform accepts INTER_NEAREST_EXACT, which warps do not."""
    schema: Any = getattr(transform, "InitSchema", None)
    fields = schema.model_fields if schema is not None else {}
    for key in ("interpolation", "mask_interpolation"):
        accepted = get_args(fields[key].annotation) if key in fields else ()
        if cv2.INTER_NEAREST_EXACT in accepted and getattr(transform, key, None) == cv2.INTER_NEAREST:
            setattr(transform, key, cv2.INTER_NEAREST_EXACT)
