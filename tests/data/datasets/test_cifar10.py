"""CIFAR-10 from class folders and from official files, made small."""

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10 as OfficialFiles

from visiontasks.data import CIFAR10
from visiontasks.errors import InputError, MissingFileError

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.fixture
def class_folders(tmp_path: Path) -> Path:
    """20 training and 2 test images a class; of class k every pixel is 20 k."""
    for split, number in (("train", 20), ("test", 2)):
        for label, name in enumerate(NAMES):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for i in range(number):
                Image.new("RGB", (32, 32), (20 * label,) * 3).save(folder / f"{i:04}.{'png' if i % 2 else 'jpg'}")
    return tmp_path


@pytest.fixture
def official_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The six batches with 20 images each, image i of class i % 10, and their md5 in torchvision's place."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    def write(name: str, content: dict[str, Any]) -> list[str]:
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return [name, hashlib.md5(data, usedforsecurity=False).hexdigest()]

    def batch(name: str) -> list[str]:
        labels = [i % 10 for i in range(20)]
        pixels = np.repeat(np.arange(20, dtype=np.uint8)[:, None], 3072, 1)
        pixels[:, 1] = 255  # red, row 0, column 1
        return write(name, {"data": pixels, "labels": labels})

    monkeypatch.setattr(OfficialFiles, "train_list", [batch(f"data_batch_{i}") for i in range(1, 6)])
    monkeypatch.setattr(OfficialFiles, "test_list", [batch("test_batch")])
    name, md5 = write("batches.meta", {"label_names": NAMES})
    monkeypatch.setattr(OfficialFiles, "meta", {"filename": name, "key": "label_names", "md5": md5})
    return tmp_path


def counts(data: CIFAR10) -> dict[str, list[int]]:
    data.prepare_data()
    data.setup("fit")
    return {split: np.bincount(data.source(split).labels).tolist() for split in data.split_sizes}


def test_class_folders_are_read_in_the_official_order(class_folders: Path) -> None:
    data = CIFAR10(str(class_folders))
    assert data.class_names == NAMES
    assert counts(data) == {"train": [18] * 10, "val": [2] * 10, "test": [2] * 10}
    for index in range(20):
        sample = data.source("test")[index]
        assert (sample["image"] == 20 * sample["label"]).all()


def test_official_files_are_read(official_files: Path) -> None:
    data = CIFAR10(str(official_files))
    assert counts(data) == {"train": [9] * 10, "val": [1] * 10, "test": [2] * 10}
    sample = data.source("test")[13]
    assert sample["label"] == 3
    assert sample["image"][0, 1].tolist() == [255, 13, 13]
    assert sample["image"].sum() == 3072 * 13 + 242


def test_damaged_official_files_are_refused_unread(official_files: Path) -> None:
    (official_files / "cifar-10-batches-py/data_batch_3").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(InputError, match=r"cifar-10-batches-py: .*md5 is wrong; remove the folder"):
        counts(CIFAR10(str(official_files)))


def test_missing_data_is_explained(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError) as caught:
        CIFAR10(str(tmp_path)).prepare_data()
    assert str(caught.value) == (
        f"no CIFAR-10 in {tmp_path}/: run with --data.init_args.download true (--data.download true), or point "
        "--data.init_args.root at it (cifar-10-batches-py/ of cifar-10-python.tar.gz, or images in "
        "{train,test}/<class>/)"
    )


def test_without_network_the_ways_out_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no CIFAR-10 in .* cannot be downloaded from https.*digits_resnet"):
        CIFAR10(str(tmp_path), download=True).prepare_data()


def test_data_that_is_there_is_not_downloaded(class_folders: Path) -> None:
    CIFAR10(str(class_folders), download=True).prepare_data()


def test_a_missing_class_folder_is_named(class_folders: Path) -> None:
    for path in (class_folders / "test/frog").iterdir():
        path.unlink()
    (class_folders / "test/frog").rmdir()
    with pytest.raises(MissingFileError, match=r"no folder .*/test/frog; expected"):
        counts(CIFAR10(str(class_folders)))


def test_images_of_another_size_are_refused(class_folders: Path) -> None:
    Image.new("RGB", (33, 32)).save(class_folders / "train/cat/0001.png")
    with pytest.raises(InputError, match=r"train/cat/0001\.png: 33x32 pixels, CIFAR-10 has 32x32"):
        counts(CIFAR10(str(class_folders)))


def test_a_truncated_image_is_named(class_folders: Path) -> None:
    path = class_folders / "train/cat/0000.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"train/cat/0000\.jpg: damaged"):
        counts(CIFAR10(str(class_folders)))


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_a_fraction_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(InputError, match="val_fraction"):
        CIFAR10(val_fraction=fraction)


@pytest.mark.realdata
def test_all_60000_images_are_read(unpacked: Callable[[str], Path]) -> None:
    data = CIFAR10(str(unpacked("cifar10-images")), batch_size=500)
    assert counts(data) == {"train": [4500] * 10, "val": [500] * 10, "test": [1000] * 10}
    means = np.mean([batch["image"].float().mean((0, 2, 3)).numpy() for batch in data.val_dataloader()], 0)
    # The training images' channel means in the literature are 125.3, 123.0, 113.9.
    np.testing.assert_allclose(means, [125.3, 123.0, 113.9], atol=2)
