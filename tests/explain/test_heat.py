"""Maps over a picture lie at the places of the network's input that they are about."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from visiontasks.explain.heat import CUT_OFF, grad_cam_overlay, overlay_heat
from visiontasks.outputs.geometry import place
from visiontasks.tasks import ClassificationTask

GREY = np.full((4, 8, 3), 100, np.uint8)


def hot(row: int, column: int, size: tuple[int, int] = (4, 4)) -> np.ndarray:
    heat = np.zeros(size, np.float32)
    heat[row, column] = 1
    return heat


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("squash", (1, slice(4, 6))), ("crop", (1, slice(4, 5))), ("letterbox", (slice(0, 2), slice(4, 6)))],
)
def test_a_hot_spot_lies_where_it_is_in_the_input(policy: str, expected: tuple[object, object]) -> None:
    # squash: column 2 of 4 is columns 4-5 of 8. crop: the middle four columns, 2 to 5. letterbox: rows 1 and 2 of 4
    # are the image, each two of its rows.
    found = place((4, 8), (4, 4), policy).original_heat(hot(1, 2))  # type: ignore[arg-type]
    assert found.shape == (4, 8)
    hottest = np.nan_to_num(found) == np.nanmax(found)
    region = np.zeros((4, 8), bool)
    region[expected] = True  # type: ignore[index]
    assert hottest.any()
    assert not (hottest & ~region).any()


def test_what_a_crop_cuts_off_is_unknown_and_dark() -> None:
    geometry = place((4, 8), (4, 4), "crop")
    assert np.isnan(geometry.original_heat(hot(0, 0))).tolist() == [[True] * 2 + [False] * 4 + [True] * 2] * 4
    drawn = overlay_heat(GREY, hot(0, 0), geometry)
    assert (drawn[:, :2] == round(CUT_OFF * 100)).all()


def test_a_map_of_any_size_is_stretched_over_the_picture() -> None:
    found = place((4, 8), (4, 4), "squash").original_heat(np.array([[0.0, 1.0]], np.float32))
    assert (np.diff(found, axis=1) >= 0).all()
    assert (found[0, 0], found[0, 7]) == (0, 1)


def test_red_is_the_most_and_blue_nothing() -> None:
    drawn = overlay_heat(GREY, np.array([[-5.0, -5.0, 0.0, 7.0]], np.float32), place((4, 8), (4, 4), "squash")).astype(
        int
    )
    assert drawn.shape == (4, 8, 3)
    assert drawn[0, 7, 0] > drawn[0, 7, 2] + 20
    assert (drawn[:, 0] == drawn[:, 3]).all()  # below 0 is nothing, too


def test_a_map_without_any_heat_is_blue_all_over() -> None:
    drawn = overlay_heat(GREY, np.zeros((2, 2), np.float32), place((4, 8), (4, 4), "squash"))
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 1


def test_the_overlay_of_grad_cam_has_the_size_of_the_picture_and_explains_the_most_probable_class(
    predicted: Callable[..., dict[str, torch.Tensor]],
) -> None:
    task = ClassificationTask("resnet20_cifar", weights="none", num_classes=3).eval()
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    drawn = [grad_cam_overlay(task, image, size=(32, 32), resize="crop", class_index=k) for k in (None, 0, 1, 2)]
    assert {each.shape for each in drawn} == {(50, 70, 3)}
    assert {each.dtype for each in drawn} == {np.dtype(np.uint8)}
    pixels = torch.from_numpy(place((50, 70), (32, 32), "crop").image(image).copy()).permute(2, 0, 1)[None]
    best = int(predicted(task, {"image": pixels})["probability"].argmax())
    assert np.array_equal(drawn[0], drawn[1 + best])
