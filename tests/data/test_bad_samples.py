"""A file that goes bad after the checks ends the training with its name, whatever it is of and wherever it is read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from visiontasks.data import DataModule, ImageFolder, MaskFolder, OxfordPets, VOCBoxes, VOCSegmentation
from visiontasks.errors import InputError

SOURCES: dict[str, tuple[type[DataModule], dict[str, Any]]] = {
    "VOCBoxes": (VOCBoxes, {}),
    "MaskFolder": (MaskFolder, {}),
    "OxfordPets": (OxfordPets, {"target": "mask"}),
    "VOCSegmentation": (VOCSegmentation, {}),
}


@pytest.fixture
def opened(
    tmp_path: Path, class_folders: Callable[..., Path], write_scenes: Callable[..., None]
) -> Callable[..., DataModule]:
    """`opened("MaskFolder", workers=1)`: a source whose checks are done."""

    def open_data(source: str, workers: int) -> DataModule:
        options: dict[str, Any] = {"image_size": 32, "batch_size": 4, "num_workers": workers, "seed": 0}
        if source == "ImageFolder":
            class_folders(tmp_path, {f"{split}/{name}": 4 for split in ("train", "val") for name in ("cat", "dog")})
            data: DataModule = ImageFolder(str(tmp_path), **options)
        else:
            write_scenes(tmp_path, source)
            kind, more = SOURCES[source]
            data = kind(str(tmp_path), **options, **more)
        data.setup("fit")
        return data

    return open_data


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("source", "spoiled"),
    [
        ("ImageFolder", "train/*/*.png"),
        ("VOCBoxes", "**/*.jpg"),
        ("MaskFolder", "**/*.jpg"),
        ("MaskFolder", "**/*.png"),
        ("OxfordPets", "**/*.jpg"),
        ("OxfordPets", "**/*.png"),
        ("VOCSegmentation", "**/*.jpg"),
        ("VOCSegmentation", "**/*.png"),
    ],
)
def test_a_file_that_goes_bad_is_named(
    opened: Callable[..., DataModule], tmp_path: Path, source: str, spoiled: str, workers: int
) -> None:
    data = opened(source, workers)
    for path in tmp_path.glob(spoiled):
        path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError) as raised:
        list(data.train_dataloader())
    named = Path(str(raised.value).partition(": ")[0])
    assert named in set(tmp_path.glob(spoiled))
    assert "damaged, cannot be decoded" in str(raised.value)
