"""Images are decoded smaller only where nobody can notice."""

from itertools import product
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from visiontasks.data import ImageFolder
from visiontasks.data.pipeline.loader import SplitDataset
from visiontasks.data.pipeline.reduction import Reduction, reduction
from visiontasks.data.pipeline.sources import ArraySource, FileSource, Subset, reduced
from visiontasks.data.pipeline.transforms import Augmentation
from visiontasks.data.targets import LabelTarget
from visiontasks.outputs.geometry import Geometry, resize_image
from visiontasks.predict.inputs import Preprocessing, prepare


def times(*transforms: Any) -> float | None:
    found = reduction((224, 224), "crop", Augmentation(transforms, seed=0, target=LabelTarget()))
    return found and found.times


def test_twice_the_size_of_the_resize_is_left() -> None:
    least = reduction((224, 224), "crop", None)
    assert least == Reduction((224, 224), "crop", 2.0)
    assert least((3000, 4000)) == (448, 598)  # scaled to 224x299 before the crop
    assert Reduction((224, 224), "letterbox", 2.0)((3000, 4000)) == (336, 448)
    assert Reduction((100, 200), "squash", 1.5)((3000, 4000)) == (150, 300)


def test_images_that_keep_their_size_are_not_reduced() -> None:
    assert reduction((224, 224), "keep", None) is None


def test_what_is_zoomed_into_is_left_as_large_as_it_is_shown() -> None:
    assert times(A.HorizontalFlip(), A.OneOf([A.ColorJitter(), A.ToGray()])) == 2
    assert times(A.RandomResizedCrop(size=(224, 224), scale=(0.04, 1.0), ratio=(1.0, 1.0))) == pytest.approx(5)
    assert times(A.RandomResizedCrop(size=(224, 224), scale=(0.25, 1.0), ratio=(0.25, 1.0))) == pytest.approx(4)
    assert times(A.Affine(scale=(0.5, 3.0))) == pytest.approx(3)
    assert times(A.OneOf([A.Affine(scale=(1.0, 1.5))]), A.Affine(scale=(1.0, 2.0))) == pytest.approx(3)


@pytest.mark.parametrize(
    "transform",
    [A.RandomCrop(height=64, width=64), A.GaussianBlur(), A.Affine(translate_px=3), A.OneOf([A.GaussNoise()])],
)
def test_with_a_transform_that_counts_pixels_images_are_not_reduced(transform: Any) -> None:
    assert times(A.HorizontalFlip(), transform) is None


def test_only_labels_let_files_be_decoded_smaller() -> None:
    least = Reduction((8, 8), "crop", 2.0)
    files = FileSource(["a.jpg", "b.jpg"], np.array([0, 1]))
    subset = reduced(Subset(files, np.array([1])), least)
    assert isinstance(subset, Subset)
    assert isinstance(subset.source, FileSource)
    assert subset.source.least_size is least
    assert files.least_size is None
    arrays = ArraySource(np.zeros((1, 2, 2), np.uint8), np.array([0]))
    assert reduced(arrays, least) is arrays


def test_a_photograph_that_is_decoded_smaller_looks_the_same(tmp_path: Path) -> None:
    for split, name in product(("train", "val"), ("china", "flower")):
        folder = tmp_path / split / name
        folder.mkdir(parents=True)
        Image.fromarray(load_sample_image(f"{name}.jpg")).save(folder / "a.jpg", quality=95)  # 640x427
    data = ImageFolder(str(tmp_path), image_size=32, batch_size=1, augment=[A.HorizontalFlip(p=1.0)])
    data.setup()
    for split, row in product(("train", "val"), (0, 1)):
        source = data.dataset(split).source
        assert source[row]["image"].shape == (107, 160, 3)
        assert data.source(split)[row]["image"].shape == (427, 640, 3)
        whole = resize_image(data.source(split)[row]["image"], 32, "crop").astype(float)
        seen = data.dataset(split)[0, row]["image"][:, :: -1 if split == "train" else 1]
        assert np.abs(whole - seen).mean() < 1.5


def test_an_image_that_is_decoded_smaller_is_scaled_as_the_whole_one(tmp_path: Path) -> None:
    # 256 x 341 scales to 64 x 85.25, its half, 128 x 171, to 64 x 85.5, which would be rounded to 86
    (tmp_path / "cat").mkdir()
    Image.new("RGB", (341, 256), (90, 90, 90)).save(tmp_path / "cat" / "a.jpg")
    source = FileSource([str(tmp_path / "cat" / "a.jpg")], np.array([0]))
    source.least_size = reduction((64, 64), "crop", None)
    assert source[0]["image"].shape == (128, 171, 3)
    assert source[0]["full_size"] == (256, 341)
    dataset = SplitDataset(source, (64, 64), "crop", None, target=LabelTarget(), training=False)
    assert Geometry.of(dataset[0]["geometry"]).scaled == (64, 85)
    ((_, geometry),) = prepare(
        0, tmp_path / "cat" / "a.jpg", [Preprocessing((64, 64), "crop", source.least_size)]
    ).inputs
    assert geometry.row().tolist() == dataset[0]["geometry"].tolist()
