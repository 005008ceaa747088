"""The views of a batch: which pixels they show, and where the image's content lies in them."""

import pytest
import torch

from visiontasks.outputs.geometry import Geometry
from visiontasks.predict.views import resized_for, views


def numbered(height: int, width: int) -> torch.Tensor:
    """(1, 3, H, W): each pixel is 10 * row + column."""
    pixels = (10 * torch.arange(height)[:, None] + torch.arange(width)).to(torch.uint8)
    return pixels.expand(1, 3, height, width)


def test_without_augmentation_the_batch_is_shown_in_a_dict_of_its_own() -> None:
    batch = {"image": numbered(2, 3)}
    (view,) = views(batch, None, (2, 3))
    assert view.batch["image"] is batch["image"]
    assert not view.mirrored
    view.batch["features"] = "of one network"
    assert "features" not in batch


def test_flip_mirrors_the_image_and_where_its_content_lies() -> None:
    batch = {"image": numbered(2, 4), "geometry": torch.tensor([[20, 30, 2, 3, 2, 4, 0, 1]])}
    plain, mirrored = views(batch, "flip", (2, 4))
    assert Geometry.of(plain.batch["geometry"][0]).content == (1, 0, 4, 2)
    assert mirrored.mirrored
    assert mirrored.batch["image"][0, 0].tolist() == [[3, 2, 1, 0], [13, 12, 11, 10]]
    geometry = Geometry.of(mirrored.batch["geometry"][0])
    assert geometry.content == (0, 0, 3, 2)
    assert geometry.size == (20, 30)


def test_ten_crops_are_the_corners_the_middle_and_their_mirror_images() -> None:
    shown = list(views({"image": numbered(4, 5)}, "tencrop", (2, 2)))
    assert [view.mirrored for view in shown] == [False, True] * 5
    first_pixels = [int(view.batch["image"][0, 0, 0, 0]) for view in shown]
    #                     top left, top right, bottom left, bottom right, middle: row 1, column 1
    assert first_pixels == [0, 1, 3, 4, 20, 21, 23, 24, 11, 12]
    assert {view.batch["image"].shape for view in shown} == {(1, 3, 2, 2)}


@pytest.mark.parametrize(("tta", "size"), [(None, (224, 224)), ("flip", (224, 224)), ("tencrop", (256, 256))])
def test_ten_crops_of_224_pixels_are_cut_from_256(tta: object, size: tuple[int, int]) -> None:
    assert resized_for((224, 224), tta) == size  # type: ignore[arg-type]


def test_the_larger_size_is_rounded_for_each_side() -> None:
    assert resized_for((32, 227), "tencrop") == (37, 259)  # 36.57 and 259.43
