"""Pascal VOC 2012 in its official layout, with made files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visiontasks.data import VOCSegmentation, sample_name
from visiontasks.data.audit.overview import overview, untaught_classes
from visiontasks.errors import InputError, MissingFileError

VALUES = [[0, 20, 255], [15, 0, 0]]
EXPECTED_COUNTS = {0: 3, 15: 1, 20: 1}  # of one mask


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """A root with 10 train and 3 val images of 3x2 pixels, whose masks have a palette."""
    base = tmp_path / "VOCdevkit/VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (base / folder).mkdir(parents=True)
    for split, stems in (("train", [f"2007_{i}" for i in range(10)]), ("val", ["2008_a", "2008_b", "2008_c"])):
        (base / f"ImageSets/Segmentation/{split}.txt").write_text("\n".join(stems) + "\n")
        for stem in stems:
            Image.new("RGB", (3, 2)).save(base / f"JPEGImages/{stem}.jpg")
            mask = Image.fromarray(np.array(VALUES, np.uint8))
            mask.putpalette([channel for value in range(256) for channel in (value // 2, 128, 255 - value)])
            mask.save(base / f"SegmentationClass/{stem}.png")
    return tmp_path


def opened(root: Path, **options: Any) -> VOCSegmentation:
    data = VOCSegmentation(str(root), **options)
    data.prepare_data()
    data.setup()
    return data


def test_the_official_val_split_is_the_test_split_and_val_is_split_off_train(voc: Path) -> None:
    data = opened(voc, val_fraction=0.2)
    assert data.split_sizes == {"train": 8, "val": 2, "test": 3}
    names = {
        split: [sample_name(data.source(split), row) for row in range(size)] for split, size in data.split_sizes.items()
    }
    assert names["test"] == ["2008_a.jpg", "2008_b.jpg", "2008_c.jpg"]
    assert sorted(names["train"] + names["val"]) == [f"2007_{i}.jpg" for i in range(10)]
    other = opened(voc, val_fraction=0.2, seed=1)
    assert [sample_name(other.source("val"), row) for row in range(2)] == names["val"]


def test_masks_are_palette_indices_of_21_classes_with_ignored_borders(voc: Path) -> None:
    data = opened(voc)
    assert (data.num_classes, data.class_names[0], data.class_names[20]) == (21, "background", "tvmonitor")
    assert data.class_names[1:] == sorted(data.class_names[1:])
    assert data.source("test")[2]["mask"].tolist() == VALUES
    assert {value: n // 9 for value, n in enumerate(data.class_counts) if n} == EXPECTED_COUNTS


def test_a_training_is_told_which_classes_it_cannot_learn(voc: Path) -> None:
    data = opened(voc)
    names = data.class_names
    empty = [name for label, name in enumerate(names) if label not in (0, 15, 20)]
    assert untaught_classes(data) == empty
    assert overview(data)[1].startswith("warning: no training pixels of aeroplane, bicycle, bird, ")
    mask = voc / "VOCdevkit/VOC2012/SegmentationClass/2007_3.png"
    Image.fromarray(np.array([range(11), range(10, 21)], np.uint8)).save(mask)
    assert untaught_classes(opened(voc, val_fraction=0.1)) == []


def test_missing_files_are_named_with_and_without_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingFileError, match=r"no Pascal VOC 2012 in .*: run with --data.init_args.download true"):
        opened(tmp_path)
    monkeypatch.setattr("visiontasks.downloads.unreachable", lambda urls: "no network")
    with pytest.raises(MissingFileError, match=r"cannot be downloaded from https://thor.* \(no network\); put"):
        opened(tmp_path, download=True)


@pytest.mark.parametrize("missing", ["ImageSets/Segmentation/val.txt", "ImageSets/Segmentation/train.txt"])
def test_incomplete_files_are_named(voc: Path, missing: str) -> None:
    (voc / "VOCdevkit/VOC2012" / missing).unlink()
    with pytest.raises(InputError, match=r"VOCdevkit/VOC2012: Pascal VOC's files are incomplete \(.*\); unpack"):
        opened(voc)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"resize": "crop"}, "resize: crop, which would leave"), ({"val_fraction": 1.0}, "val_fraction: 1.0, expected")],
)
def test_values_out_of_range_are_refused(options: Any, message: str) -> None:
    with pytest.raises(InputError, match=rf"data\.init_args\.{message}"):
        VOCSegmentation(**options)
