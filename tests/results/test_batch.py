"""The first batch as pictures: the pixels that training gets, beside the originals."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import visiontasks
from tests.results.test_pictures import Made
from visiontasks.data import ImageFolder
from visiontasks.data.pipeline.sampler import epoch_order
from visiontasks.errors import InputError, MissingFileError
from visiontasks.results.batch import batch_pictures


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, class_folders: Callable[..., Path]) -> Path:
    folders = {f"{split}/{name}": 6 for split in ("train", "val", "test") for name in ("cat", "dog")}
    return class_folders(tmp_path_factory.mktemp("photos"), folders)


def data(root: Path) -> ImageFolder:
    from albumentations import HorizontalFlip, RandomBrightnessContrast

    augment = [HorizontalFlip(p=0.5), RandomBrightnessContrast(p=1.0)]
    made = ImageFolder(root=str(root), image_size=24, batch_size=4, num_workers=0, augment=augment, seed=3)
    made.prepare_data()
    made.setup()
    return made


def test_training_pictures_are_the_first_batch_of_epoch_1_to_the_pixel(photos: Path) -> None:
    made = data(photos)
    batch = made.batch("train", [(0, int(row)) for row in epoch_order(12, seed=3, epoch=0)[:4]])
    shown = batch_pictures(made, "train", count=4)
    assert all(
        np.array_equal(picture.image, image.permute(1, 2, 0).numpy())
        for picture, image in zip(shown, batch["image"], strict=True)
    )
    assert [picture.true_label for picture in shown] == [made.class_names[int(k)] for k in batch["label"]]
    assert all(picture.name.endswith(".png") for picture in shown)


def test_originals_are_as_large_as_their_files(photos: Path) -> None:
    (first, *_) = batch_pictures(data(photos), "train", count=2, with_originals=True)
    assert first.image.shape == (24, 24, 3)
    assert first.original is not None
    assert first.original.image.shape == (32, 40, 3)


def test_fewer_images_than_wanted_are_all_shown(photos: Path) -> None:
    assert len(batch_pictures(data(photos), "val", count=50)) == 12


@pytest.mark.parametrize("target", ["box", "mask"])
def test_annotations_have_the_size_of_the_networks_input(target: str) -> None:
    made = Made(target)
    made.setup()
    for picture in batch_pictures(made, "test", count=3, with_originals=True):
        assert picture.truth is not None
        assert picture.truth.image_size == picture.image.shape[:2] == (16, 24)
        assert picture.original is not None
        assert picture.original.truth is not None
        assert picture.original.truth.image_size == (16, 20)


def test_show_batch_draws_an_image_of_a_datamodule(photos: Path) -> None:
    two, four = (visiontasks.show_batch(data(photos), count=count) for count in (2, 4))
    assert two.mode == "RGB"
    assert two.width * two.height < four.width * four.height
    assert visiontasks.show_batch(data(photos), count=2).tobytes() == two.tobytes()


def test_show_batch_takes_a_folder_of_images_or_a_recipe(photos: Path) -> None:
    assert visiontasks.show_batch(str(photos), count=2).mode == "RGB"
    assert visiontasks.show_batch("digits_lenet", ["--data.image_size", "24"], count=1).mode == "RGB"
    with pytest.raises(MissingFileError, match="nowhere"):
        visiontasks.show_batch(photos / "nowhere")


def test_a_count_below_one_is_refused(photos: Path) -> None:
    with pytest.raises(InputError, match="expected at least 1"):
        visiontasks.show_batch(data(photos), count=0)
