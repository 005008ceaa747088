"""Masks and boxes lie on their augmented image: every geometric transform of albumentations, or a refusal by name."""

import inspect
from typing import Any

import albumentations as A
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from visiontasks.data.pipeline.transforms import Augmentation
from visiontasks.data.targets import TARGETS, BoxesTarget, LabelTarget, MaskTarget, TargetName
from visiontasks.errors import InputError

Float64Array = npt.NDArray[np.float64]

pytestmark = pytest.mark.filterwarnings("ignore:(This augmenter is|ShiftScaleRotate is|(Time|Frequency).* is)")

HEIGHT, WIDTH = 151, 181
MOST_PX = 0.15
SEEDS = 24

# Each class of albumentations that may move pixels, with the options to try; the target that needs it is in the name.
GEOMETRIC: dict[str, list[dict[str, Any]]] = {
    "Affine": [
        {"scale": (0.7, 1.4), "rotate": (-40, 40), "shear": (-10, 10), "translate_percent": (-0.1, 0.1)},
        {"scale": (0.7, 1.4), "rotate": (-40, 40), "interpolation": cv2.INTER_NEAREST},
        {"scale": (0.7, 1.4), "rotate": (-40, 40), "fit_output": True},
        {"rotate": (-40, 40), "rotate_method": "ellipse", "border_mode": cv2.BORDER_REPLICATE},
        {"translate_px": (3, 9), "fit_output": True},
    ],
    "AtLeastOneBBoxRandomCrop": [{"height": 111, "width": 123}],
    "BBoxSafeRandomCrop": [{}],
    "CenterCrop": [{"height": 111, "width": 133}, {"height": 160, "width": 120, "pad_if_needed": True}],
    "CoarseDropout": [{}],
    "ConstrainedCoarseDropout": [{"mask_indices": [1]}],
    "Crop": [{"x_min": 11, "y_min": 12, "x_max": 150, "y_max": 141}],
    "CropAndPad": [{"px": (-9, 9)}, {"percent": (-0.1, 0.1), "keep_size": False}],
    "CropNonEmptyMaskIfExists": [{"height": 111, "width": 123}],
    "D4": [{}],
    "ElasticTransform": [{"alpha": 200, "sigma": 10}],
    "Erasing": [{}],
    "FrequencyMasking": [{}],
    "GridDistortion": [{}, {"normalized": False}],
    "GridDropout": [{}],
    "GridElasticDeform": [{"num_grid_xy": (4, 4), "magnitude": 6}],
    "HorizontalFlip": [{}],
    "LongestMaxSize": [{"max_size": 97}, {"max_size_hw": (97, None)}, {"max_size": 260}],
    "MaskDropout": [{}],
    "Morphological": [{}],
    "NoOp": [{}],
    "OpticalDistortion": [{"distort_limit": (-0.3, 0.3)}, {"mode": "fisheye", "distort_limit": (-0.3, 0.3)}],
    "Pad": [{"padding": 7}],
    "PadIfNeeded": [
        {"min_height": 170, "min_width": 190, "position": "random"},
        {"min_height": None, "min_width": None, "pad_height_divisor": 32, "pad_width_divisor": 32},
    ],
    "Perspective": [
        {},
        {"scale": (0.2, 0.2)},
        {"keep_size": False},
        {"fit_output": True},
        {"scale": (0.2, 0.2), "fit_output": True, "keep_size": False},
    ],
    "PiecewiseAffine": [{}],
    "PixelDropout": [{"dropout_prob": 0.3, "mask_drop_value": 3}],
    "RandomCrop": [{"height": 111, "width": 123}, {"height": 160, "width": 120, "pad_if_needed": True}],
    "RandomCropFromBorders": [{}],
    "RandomGridShuffle": [{}],
    "RandomResizedCrop": [{"size": (97, 143), "scale": (0.5, 1)}],
    "RandomRotate90": [{}],
    "RandomScale": [
        {"scale_limit": (-0.45, 0.8)},
        {"scale_limit": (-0.45, 0.8), "interpolation": cv2.INTER_NEAREST},
        {"scale_limit": (-0.45, 0.8), "interpolation": cv2.INTER_AREA},
        {"scale_limit": (-0.45, 0), "area_for_downscale": "image"},
    ],
    "RandomSizedBBoxSafeCrop": [{"height": 97, "width": 143}],
    "RandomSizedCrop": [{"min_max_height": (100, 140), "size": (97, 143)}],
    "Resize": [{"height": 97, "width": 143}, {"height": 231, "width": 260}],
    "Rotate": [{}, {"limit": (-40, 40), "crop_border": True}],
    "SafeRotate": [{}, {"limit": (90, 90)}],
    "ShiftScaleRotate": [{}],
    "SmallestMaxSize": [{"max_size": 97}, {"max_size_hw": (97, 143)}],
    "SquareSymmetry": [{}],
    "ThinPlateSpline": [{}],
    "TimeMasking": [{}],
    "TimeReverse": [{}],
    "Transpose": [{}],
    "VerticalFlip": [{}],
    "XYMasking": [{"num_masks_x": 2, "num_masks_y": 2, "mask_x_length": 9, "mask_y_length": 9}],
}
VOLUMES = {"CenterCrop3D", "CoarseDropout3D", "CubicSymmetry", "Pad3D", "PadIfNeeded3D", "RandomCrop3D"}
METADATA = {"Mosaic", "OverlayElements", "RandomCropNearBBox"}
REFUSED: dict[TargetName, set[str]] = {
    "label": set(),
    "box": {
        *("ElasticTransform", "GridDistortion", "GridElasticDeform", "OpticalDistortion", "PiecewiseAffine"),
        *("ThinPlateSpline", "RandomGridShuffle", "ConstrainedCoarseDropout", "Morphological"),
        *("MaskDropout", "CropNonEmptyMaskIfExists"),
    },
    "mask": {"Morphological", "AtLeastOneBBoxRandomCrop", "BBoxSafeRandomCrop", "RandomSizedBBoxSafeCrop"},
}
DROPOUTS = {
    *("CoarseDropout", "Erasing", "FrequencyMasking", "GridDropout", "PixelDropout", "TimeMasking", "XYMasking"),
    *("ConstrainedCoarseDropout", "MaskDropout", "RandomGridShuffle"),
}
SLOW = {"PiecewiseAffine"}  # a loop over all pixels in Python


def cases(target: TargetName, names: set[str]) -> list[Any]:
    return [
        pytest.param(name, options, id=f"{name}-{number}", marks=pytest.mark.slow if name in SLOW else ())
        for name in sorted(names - REFUSED[target])
        for number, options in enumerate(GEOMETRIC[name])
        # Nearest pixels of a small object are a fifth of a pixel off to either side, whatever the transform.
        if target == "mask" or options.get("interpolation") != cv2.INTER_NEAREST
    ]


def coverage(length: int, start: float, end: float) -> Float64Array:
    """The share of each of some pixels in a row that lies from start to end."""
    edges = np.arange(length + 1)
    return np.clip(np.minimum(edges[1:], end) - np.maximum(edges[:-1], start), 0, 1)


def picture(share: Float64Array) -> npt.NDArray[np.uint8]:
    return np.round(255 * share).astype(np.uint8)[..., None].repeat(3, 2)


def rectangle(x1: float, y1: float, x2: float, y2: float) -> Float64Array:
    return coverage(HEIGHT, y1, y2)[:, None] * coverage(WIDTH, x1, x2)[None]


def disk(x: float, y: float, radius: float) -> Float64Array:
    rows, columns = (np.mgrid[: 8 * HEIGHT, : 8 * WIDTH] + 0.5) / 8
    inside = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
    return np.asarray(inside.reshape(HEIGHT, 8, WIDTH, 8).mean((1, 3)))


def centroid(weights: npt.NDArray[Any]) -> Float64Array:
    """Of pixels whose centres are at 0.5, 1.5, ...: (x, y)."""
    across, down = weights.sum(0, dtype=np.float64), weights.sum(1, dtype=np.float64)
    x, y = (np.average(np.arange(len(part)) + 0.5, weights=part) for part in (across, down))
    return np.array([x, y])


def augmented(name: str, options: dict[str, Any], sample: dict[str, Any], target: TargetName) -> list[dict[str, Any]]:
    augmentation = Augmentation([getattr(A, name)(**{"p": 1, **options})], seed=0, target=TARGETS[target])
    seeds = 3 if name in SLOW else SEEDS
    return [augmentation(sample, epoch=0, index=index) for index in range(seeds)]


def centre(box: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return (box[:2] + box[2:]) / 2


DISK = disk(88.5, 76.5, 30)


@pytest.mark.parametrize(("name", "options"), cases("mask", set(GEOMETRIC) - DROPOUTS))
def test_a_mask_lies_on_its_image(name: str, options: dict[str, Any]) -> None:
    sample = {"image": picture(DISK), "mask": (DISK >= 0.5).astype(np.uint8)}
    moved = augmented(name, options, sample, "mask")
    shifts = [centroid(one["mask"] == 1) - centroid(one["image"][..., 0]) for one in moved]
    assert np.sqrt(np.mean(np.square(shifts))) < MOST_PX
    assert np.abs(np.mean(shifts, axis=0)).max() < MOST_PX


@pytest.mark.parametrize(("name", "options"), cases("box", set(GEOMETRIC) - DROPOUTS))
def test_a_box_lies_on_its_image(name: str, options: dict[str, Any]) -> None:
    box = np.array(
        [64.3, 58.6, 76.7, 68.2], np.float32
    )  # small, so that its centre is the object's in a bent image too
    sample = {"image": picture(rectangle(*box)), "boxes": box[None]}
    moved = [one for one in augmented(name, options, sample, "box") if not np.isnan(one["boxes"]).any()]
    whole = [one for one in moved if not touches_border(one["image"][..., 0])]
    assert len(whole) > SEEDS / 3
    shifts = [centre(one["boxes"][0]) - centroid(one["image"][..., 0]) for one in whole]
    assert np.sqrt(np.mean(np.square(shifts))) < MOST_PX
    areas = [np.prod(one["boxes"][0, 2:] - one["boxes"][0, :2]) / (one["image"][..., 0].sum() / 255) for one in whole]
    assert min(areas) > (0.9 if options.get("rotate_method") == "ellipse" else 0.97)


def test_an_image_of_nearest_pixels_lies_on_its_box() -> None:
    box = np.array([64.3, 58.6, 76.7, 68.2], np.float32)
    options = {"scale_limit": (-0.45, 0.8), "interpolation": cv2.INTER_NEAREST}
    moved = augmented("RandomScale", options, {"image": picture(rectangle(*box)), "boxes": box[None]}, "box")
    shifts = [centre(one["boxes"][0]) - centroid(one["image"][..., 0]) for one in moved]
    assert np.abs(np.mean(shifts, axis=0)).max() < MOST_PX  # with INTER_NEAREST half a pixel


def touches_border(image: npt.NDArray[np.uint8]) -> bool:
    return bool(max(image[0].max(), image[-1].max(), image[:, 0].max(), image[:, -1].max()) > 0)


def test_every_transform_that_moves_pixels_is_tried_or_refused_for_all() -> None:
    classes = {name: getattr(A, name) for name in dir(A) if inspect.isclass(getattr(A, name))}
    moving = {name for name, kind in classes.items() if issubclass(kind, A.DualTransform)}
    own = {"DualTransform", "Transform3D", "Lambda"}  # base classes, and what a user writes
    assert moving - own == set(GEOMETRIC) | VOLUMES | METADATA


@pytest.mark.parametrize("target", ["box", "mask"])
@pytest.mark.parametrize("name", sorted({*REFUSED["box"], *REFUSED["mask"], "GlassBlur"}))
def test_what_cannot_be_aligned_is_refused_by_name(name: str, target: TargetName) -> None:
    transform = getattr(A, name)(**GEOMETRIC.get(name, [{}])[0])
    if name in REFUSED[target] or name == "GlassBlur":
        with pytest.raises(InputError, match=rf"data\.init_args\.augment: {name} is refused for .*: it "):
            Augmentation([A.OneOf([A.Sequential([transform])])], seed=0, target=TARGETS[target])
    else:
        Augmentation([transform], seed=0, target=TARGETS[target])


@pytest.mark.parametrize("target", ["label", "box", "mask"])
@pytest.mark.parametrize(
    ("transform", "needed"),
    [
        (A.Mosaic(), "mosaic_metadata"),
        (A.OverlayElements(), "overlay_metadata"),
        (A.RandomCropNearBBox(), "cropping_bbox"),
        (A.FDA(), "fda_metadata"),
        (A.HistogramMatching(), "hm_metadata"),
        (A.PixelDistributionAdaptation(), "pda_metadata"),
        (A.CenterCrop3D((1, 2, 3)), "volumes"),
        (A.CubicSymmetry(), "volumes"),
    ],
)
def test_what_needs_more_than_a_sample_has_is_refused(transform: Any, needed: str, target: TargetName) -> None:
    expected = (
        rf"augment: {type(transform).__name__} is refused for \w+: it needs {needed}, which the samples do not have"
    )
    with pytest.raises(InputError, match=expected):
        Augmentation([transform], seed=0, target=TARGETS[target])


@pytest.mark.parametrize(
    ("transform", "needed"),
    [
        (A.BBoxSafeRandomCrop(), "boxes"),
        (A.AtLeastOneBBoxRandomCrop(8, 8), "boxes"),
        (A.CropNonEmptyMaskIfExists(8, 8), "masks"),
        (A.ConstrainedCoarseDropout(mask_indices=[1]), "masks"),
        (A.MaskDropout(), "mask"),
    ],
)
def test_what_needs_another_target_is_refused(transform: Any, needed: str) -> None:
    with pytest.raises(InputError, match=rf"is refused for labels: it needs {needed}, which the samples do not have"):
        Augmentation([transform], seed=0, target=LabelTarget())


@pytest.mark.parametrize("scale", [0.6, 0.77, 1.3, 1.71])
@pytest.mark.parametrize(("width", "least"), [(2, 0.9), (4, 0.95), (8, 0.97), (16, 0.98)])
@pytest.mark.parametrize("transform", ["RandomScale", "Resize", "LongestMaxSize", "SmallestMaxSize"])
def test_bars_of_a_mask_cover_those_of_its_image(transform: str, width: int, least: float, scale: float) -> None:
    # With INTER_NEAREST bars of 2 pixels had an IoU of 0.59 with those of their own image.
    mask = np.zeros((320, 320), np.uint8)
    for start in range(7, 300, 37):
        mask[:, start : start + width] = 1
    size = round(320 * scale)
    options: dict[str, Any] = {"max_size": size}
    if transform == "RandomScale":
        options = {"scale_limit": (scale - 1, scale - 1)}
    elif transform == "Resize":
        options = {"height": size, "width": size}
    sample = {"image": picture(mask), "mask": mask}
    moved = augmented(transform, options, sample, "mask")[0]
    shown, masked = moved["image"][..., 0] >= 128, moved["mask"] == 1
    assert (shown & masked).sum() / (shown | masked).sum() > least


@pytest.mark.parametrize(("name", "options"), cases("mask", set(GEOMETRIC)))
def test_a_transformed_mask_has_its_own_classes_and_ignored_pixels_alone(name: str, options: dict[str, Any]) -> None:
    mask = np.random.default_rng(0).choice(np.array([1, 3, 9], np.uint8), (10, 12)).repeat(15, 0).repeat(15, 1)
    sample = {"image": np.full((150, 180, 3), 99, np.uint8), "mask": mask}
    for moved in augmented(name, options, sample, "mask")[:6]:
        assert set(np.unique(moved["mask"])) <= {1, 3, 9, 255}


@pytest.mark.parametrize(
    ("transform", "fault"),
    [
        (A.Resize(8, 8, mask_interpolation=cv2.INTER_LINEAR), "mask_interpolation: 1"),
        (A.Rotate(mask_interpolation=cv2.INTER_CUBIC), "mask_interpolation: 2"),
        (A.RandomScale(area_for_downscale="image_mask"), "area_for_downscale: image_mask"),
    ],
)
def test_class_indices_are_not_averaged(transform: Any, fault: str) -> None:
    expected = f"{type(transform).__name__} with {fault} is refused for masks: it averages class indices"
    with pytest.raises(InputError, match=expected):
        Augmentation([transform], seed=0, target=MaskTarget())
    Augmentation([transform], seed=0, target=BoxesTarget())


BOXES = np.array([[20.3, 30.6, 60.7, 80.2], [90.25, 15.5, 170.75, 140.125], [5.5, 5.25, 9.75, 12.5]], np.float32)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("CoarseDropout", {"num_holes_range": (5, 9), "hole_height_range": (0.2, 0.5), "hole_width_range": (0.2, 0.5)}),
        ("Erasing", {"scale": (0.2, 0.33)}),
        ("GridDropout", {"ratio": 0.9}),
        ("XYMasking", {"num_masks_x": 3, "num_masks_y": 3, "mask_x_length": 40, "mask_y_length": 40}),
        ("TimeMasking", {}),
        ("FrequencyMasking", {}),
        ("PixelDropout", {"dropout_prob": 0.99}),
    ],
)
def test_a_dropout_leaves_boxes_as_they_are(name: str, options: dict[str, Any]) -> None:
    image = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    moved = augmented(name, options, {"image": image, "boxes": BOXES}, "box")
    for one in moved:
        np.testing.assert_allclose(one["boxes"], BOXES, atol=1e-4)
    assert any((one["image"] != 200).any() for one in moved)


def test_boxes_are_moved_behind_a_dropout() -> None:
    transforms = [A.HorizontalFlip(p=1), A.Erasing(scale=(0.2, 0.33), p=1), A.HorizontalFlip(p=1), A.Pad(7)]
    image = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    moved = Augmentation(transforms, seed=0, target=BoxesTarget())({"image": image, "boxes": BOXES}, epoch=0, index=0)
    np.testing.assert_allclose(moved["boxes"], BOXES + 7, atol=1e-4)


@pytest.mark.parametrize("border_mode", [cv2.BORDER_REFLECT, cv2.BORDER_WRAP, cv2.BORDER_REFLECT_101])
@pytest.mark.parametrize("name", ["Affine", "Pad", "PadIfNeeded", "Perspective", "Rotate", "SafeRotate", "CropAndPad"])
def test_borders_that_repeat_objects_are_refused_for_boxes(name: str, border_mode: int) -> None:
    # A reflecting border gives each box several times, and the last of them was taken, which is a mirror image's.
    transform = getattr(A, name)(**GEOMETRIC[name][0], border_mode=border_mode)
    with pytest.raises(InputError, match=f"{name} with border_mode: {border_mode} is refused for boxes: it repeats"):
        Augmentation([transform], seed=0, target=BoxesTarget())
    Augmentation([transform], seed=0, target=MaskTarget())


@pytest.mark.parametrize("target", ["box", "mask"])
def test_downscaling_by_nearest_pixels_is_refused_with_the_way_out(target: TargetName) -> None:
    with pytest.raises(InputError, match=r"Downscale by nearest .*add interpolation_pair: {downscale: 3, upscale: 1}"):
        Augmentation([A.HorizontalFlip(), A.Downscale()], seed=0, target=TARGETS[target])
    smooth = A.Downscale(interpolation_pair={"downscale": 3, "upscale": 1})
    Augmentation([A.HorizontalFlip(), smooth], seed=0, target=TARGETS[target])
    Augmentation([A.Downscale()], seed=0, target=LabelTarget())
