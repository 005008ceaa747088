"""Keeps masks and boxes aligned with their augmented image, where albumentations 2.0.8 does not: corrected or refused.

Each entry was measured, see tests/data/test_alignment.py: aligned is what lies within 0.15 px of its image.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, get_args

import albumentations as A
import cv2
import numpy as np
import numpy.typing as npt
from albumentations.augmentations.dropout.transforms import BaseDropout
from albumentations.core.composition import BaseCompose
from albumentations.core.transforms_interface import BasicTransform

from visiontasks.errors import InputError
from visiontasks.library_internals import replace_box_transform
from visiontasks.ops.losses import IGNORED

Target = Literal["label", "box", "mask"]
"""What a dataset has beside images: a label, a label and boxes, or a mask."""

Boxes = npt.NDArray[np.floating[Any]]
Matrix = npt.NDArray[np.float64]

_DATA_NAMES = {"label": "labels", "box": "boxes", "mask": "masks"}
_PASSED = {"label": ("image",), "box": ("image", "bboxes"), "mask": ("image", "mask")}
"""What albumentations gets of a sample, in its words."""

_AVERAGES = "it averages class indices, which gives other classes"
_WHOLE_PIXELS = "it moves boxes by whole pixels; use Affine or Perspective"
_RESHAPES = "it grows or shrinks objects, whose truth stays as it is"
_SHIFTS = "it moves the image by up to several pixels, and not what belongs to it; use GaussianBlur or Defocus"
_REFUSED: dict[Target, dict[str, str]] = {
    "label": {},
    "box": {
        "ElasticTransform": _WHOLE_PIXELS,
        "GridDistortion": _WHOLE_PIXELS,
        "GridElasticDeform": _WHOLE_PIXELS,
        "OpticalDistortion": _WHOLE_PIXELS,
        "PiecewiseAffine": _WHOLE_PIXELS,
        "ThinPlateSpline": _WHOLE_PIXELS,
        "RandomGridShuffle": "it cuts objects into parts that no box encloses",
        "ConstrainedCoarseDropout": "it chooses objects by classes, which are not passed to it; use CoarseDropout",
        "Morphological": _RESHAPES,
        "GlassBlur": _SHIFTS,
    },
    "mask": {"Morphological": _RESHAPES, "GlassBlur": _SHIFTS},
}
_NEEDS: dict[str, Target] = {  # which albumentations does not declare in `targets_as_params`
    "AtLeastOneBBoxRandomCrop": "box",
    "BBoxSafeRandomCrop": "box",
    "RandomSizedBBoxSafeCrop": "box",
    "ConstrainedCoarseDropout": "mask",
    "CropNonEmptyMaskIfExists": "mask",
}
_NEAREST = {cv2.INTER_NEAREST, cv2.INTER_NEAREST_EXACT}
_REPEATING_BORDERS = (cv2.BORDER_REFLECT, cv2.BORDER_WRAP, cv2.BORDER_REFLECT_101)


def align(transform: BasicTransform | BaseCompose, target: Target) -> None:
    """Make a transform move masks and boxes by what it moves their image, in place; nested ones are not visited.

    Nearest pixels are taken at pixel centres (INTER_NEAREST_EXACT; INTER_NEAREST is half a pixel off where OpenCV
    resizes, and right where it warps), pixels of masks that a transform fills are ignored, and boxes pass through
    dropouts unchanged, since what hides an object does not move it.

    Raises:
        InputError: If the transform cannot be aligned, or needs what the samples do not have.
    """
    name = type(transform).__name__
    if name in _REFUSED[target]:
        _refuse(name, target, _REFUSED[target][name])
    _check_needs(transform, target)
    if target == "label":
        return
    _take_nearest_at_centres(transform)
    if isinstance(transform, A.Downscale) and _NEAREST & {*transform.interpolation_pair.values()}:
        way_out = "add interpolation_pair: {downscale: 3, upscale: 1} (INTER_AREA, INTER_LINEAR)"
        _refuse(f"{name} by nearest pixels", target, f"it moves the image by more than a pixel; {way_out}")
    if target == "mask":
        _keep_classes(transform)
    else:
        _correct_boxes(transform)


def _check_needs(transform: BasicTransform | BaseCompose, target: Target) -> None:
    name = type(transform).__name__
    needed = _NEEDS.get(name, target)
    missing = [_DATA_NAMES[needed]] if needed != target else []
    if isinstance(transform, A.Transform3D):
        missing = ["volumes"]
    elif isinstance(transform, BasicTransform):
        missing += [key for key in transform.targets_as_params if key not in _PASSED[target]]
    if missing:
        _refuse(name, target, f"it needs {', '.join(missing)}, which the samples do not have")


def _take_nearest_at_centres(transform: BasicTransform | BaseCompose) -> None:
    """Replace INTER_NEAREST wherever a transform accepts INTER_NEAREST_EXACT, which warps do not."""
    schema: Any = getattr(transform, "InitSchema", None)
    fields = schema.model_fields if schema is not None else {}
    for key in ("interpolation", "mask_interpolation"):
        accepted = get_args(fields[key].annotation) if key in fields else ()
        if cv2.INTER_NEAREST_EXACT in accepted and getattr(transform, key, None) == cv2.INTER_NEAREST:
            setattr(transform, key, cv2.INTER_NEAREST_EXACT)


def _keep_classes(transform: BasicTransform | BaseCompose) -> None:
    """Ignore filled pixels, and refuse what would average class indices to others."""
    name = type(transform).__name__
    if getattr(transform, "mask_interpolation", None) not in {None, *_NEAREST}:
        way_out = "remove mask_interpolation, then the nearest pixel is taken"
        _refuse(f"{name} with mask_interpolation: {transform.mask_interpolation}", "mask", f"{_AVERAGES}; {way_out}")
    if getattr(transform, "area_for_downscale", None) == "image_mask":
        _refuse(f"{name} with area_for_downscale: image_mask", "mask", f"{_AVERAGES}; use area_for_downscale: image")
    for key in ("fill_mask", "mask_drop_value"):
        if getattr(transform, key, None) is not None:
            setattr(transform, key, IGNORED)


def _correct_boxes(transform: BasicTransform | BaseCompose) -> None:
    """Let boxes pass dropouts unchanged, and move them with the image where albumentations is half a pixel off."""
    border_mode = getattr(transform, "border_mode", None)
    if border_mode in _REPEATING_BORDERS:
        reason = "it repeats objects in the border, and their boxes; use border_mode: 0 (constant) or 1 (replicate)"
        _refuse(f"{type(transform).__name__} with border_mode: {border_mode}", "box", reason)
    move: Callable[..., Boxes] | None = None
    if isinstance(transform, BaseDropout | A.PixelDropout):
        move = _unchanged
    elif isinstance(transform, A.Affine):
        move = partial(_move_affine, transform.apply_to_bboxes)
    elif isinstance(transform, A.Perspective):
        move = partial(_move_perspective, transform.apply_to_bboxes, keep_size=transform.keep_size)
    if move is not None:
        replace_box_transform(transform, move)


def _unchanged(boxes: Boxes, **_: Any) -> Boxes:
    return boxes


def _move_affine(move: Callable[..., Boxes], boxes: Boxes, *, matrix: Matrix, **params: Any) -> Boxes:
    """Move boxes by the image's matrix, where SafeRotate and `fit_output` have another one for boxes.

    The image's counts from the centre of the first pixel, boxes count from its corner.
    """
    params["bbox_matrix"] = _translation(0.5, 0.5) @ matrix @ _translation(-0.5, -0.5)
    return move(boxes, **params)


def _move_perspective(
    move: Callable[..., Boxes], boxes: Boxes, *, keep_size: bool, matrix: Matrix, **params: Any
) -> Boxes:
    """Move boxes by the image's matrix, which counts from the centre of the first pixel."""
    height, width = params["shape"][:2]
    x, y = (0.5 * params["max_width"] / width, 0.5 * params["max_height"] / height) if keep_size else (0.5, 0.5)
    params["matrix_bbox"] = _translation(x, y) @ matrix @ _translation(-0.5, -0.5)  # scaled to the size by `move`
    return move(boxes, **params)


def _translation(x: float, y: float) -> Matrix:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], dtype=np.float64)


def _refuse(what: str, target: Target, reason: str) -> None:
    way_out = "" if ";" in reason else "; remove it"
    raise InputError(f"data.init_args.augment: {what} is refused for {_DATA_NAMES[target]}: {reason}{way_out}")
