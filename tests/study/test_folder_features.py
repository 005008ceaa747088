"""Features of image files without labels."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from visiontasks.backbones import create_vector
from visiontasks.data import ImageFolder
from visiontasks.predict.inputs import Preprocessing
from visiontasks.study import folder_features as module
from visiontasks.study.extractors import Extractor, pretrained
from visiontasks.study.features import image_features
from visiontasks.study.folder_features import folder_features

SQUARE = Preprocessing((32, 32), "crop")


@pytest.fixture
def network() -> Extractor:
    return pretrained(create_vector("resnet20_cifar.vt_cifar10", weights="hub"))


@pytest.fixture
def files(tmp_path: Path, class_folders: Callable[..., Path]) -> list[str]:
    root = class_folders(tmp_path / "images", {"train/cat": 3, "train/dog": 3, "val/cat": 1, "val/dog": 1})
    return sorted(map(str, root.rglob("*.png")))


def test_they_are_those_of_labelled_images(files: list[str], network: Extractor, tmp_path: Path) -> None:
    data = ImageFolder(str(tmp_path / "images"), image_size=32, num_workers=0)
    data.setup()
    labelled = image_features(data, network)
    found = folder_features(files, SQUARE, network)
    order = [found.files.index(file) for file in labelled.files]
    assert np.allclose(found.vectors[order], labelled.vectors, atol=1e-5)
    assert labelled.hashes is not None
    assert np.array_equal(found.hashes[order], labelled.hashes)
    assert found.sizes.tolist() == [[32, 40]] * 8


def test_large_jpegs_are_decoded_as_evaluations_do(network: Extractor, tmp_path: Path) -> None:
    """Ten times the size: an evaluation decodes a quarter of it, other pixels than the whole image gives."""
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / "large" / split / name).mkdir(parents=True)
            noise = np.random.default_rng(len(name + split)).integers(0, 256, (320, 320, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "large" / split / name / "a.jpg")
    data = ImageFolder(str(tmp_path / "large"), image_size=32, num_workers=0)
    data.setup()
    image = next(iter(data.val_dataloader()))["image"]
    with torch.inference_mode():
        expected = network.vectors(image).numpy()
    assert np.allclose(image_features(data, network, splits=("val",)).vectors, expected, atol=1e-5)


def test_unreadable_files_keep_their_error_and_their_place(files: list[str], network: Extractor) -> None:
    Path(files[1]).write_bytes(b"")
    Path(files[3]).unlink()
    found = folder_features(files, SQUARE, network)
    assert found.files == [files[0], files[2], *files[4:]]
    assert list(found.errors) == [files[1], files[3]]
    assert "empty" in found.errors[files[1]]
    assert len(found) == len(found.vectors) == 6


def test_many_are_computed_once_but_for_those_that_cannot_be_read(
    files: list[str], network: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEAST_CACHED", 8)
    Path(files[2]).write_bytes(b"no image")
    first = folder_features(files, SQUARE, network)
    calls: list[int] = []
    network.backbone.register_forward_hook(lambda *_: calls.append(1))
    second = folder_features(files, SQUARE, network)
    assert not calls
    assert np.array_equal(first.vectors, second.vectors)
    assert first.errors == second.errors
    assert list(second.errors) == [files[2]]
    Image.new("RGB", (40, 40)).save(files[2])
    assert len(folder_features(files, SQUARE, network)) == 8
    assert calls


def test_of_no_readable_file_nothing_is_left(network: Extractor) -> None:
    found = folder_features(["none.png"], SQUARE, network)
    assert len(found) == 0
    assert list(found.errors) == ["none.png"]
