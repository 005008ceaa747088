"""Labels that are corrected in a table, without a change of any file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from visiontasks.data import ImageFolder
from visiontasks.data.pipeline.sources import sample_path
from visiontasks.errors import BadSamplesError, InputError, MissingFileError

WriteImages = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path, write_images: WriteImages) -> Path:
    for name, number in {"train/cat": 3, "train/dog": 2, "val/cat": 1, "val/dog": 1, "test/dog": 2}.items():
        write_images(tmp_path / "images" / name, number)
    return tmp_path / "images"


def opened(root: Path, lines: str) -> ImageFolder:
    table = root.parent / "corrections.csv"
    table.write_text("file,label,correct\n" + lines, encoding="utf-8")
    data = ImageFolder(str(root), corrections=str(table))
    data.setup()
    return data


def files(data: ImageFolder, split: str) -> dict[str, str]:
    source = data.source(split)
    names = {sample_path(source, row).rpartition("/images/")[2]: int(source.labels[row]) for row in range(len(source))}
    return {name: data.class_names[label] for name, label in names.items()}


def test_a_corrected_label_is_the_only_change(root: Path) -> None:
    before = files(opened(root, ""), "train")
    first = next(name for name in before if "/cat/" in name)
    data = opened(root, f"{first},cat,dog\n")
    assert files(data, "train") == before | {first: "dog"}
    assert data.source("train")[list(before).index(first)]["label"] == 1
    assert data.notes == [f"{root.parent / 'corrections.csv'}: 1 labels corrected, 0 images left out"]


def test_an_empty_class_leaves_the_image_out(root: Path) -> None:
    before = files(opened(root, ""), "train")
    first = next(iter(before))
    assert files(opened(root, f'"{first}","cat",""\n'), "train") == {
        name: label for name, label in before.items() if name != first
    }


def test_splits_that_are_made_stay_as_they_are(tmp_path: Path, write_images: WriteImages) -> None:
    for name in ("cat", "dog"):
        write_images(tmp_path / "images" / name, 10)
    root = tmp_path / "images"
    before = {split: files(opened(root, ""), split) for split in ("train", "val", "test")}
    moved = next(iter(before["train"]))
    data = opened(root, f"{moved},cat,dog\n")
    assert {split: [*files(data, split)] for split in before} == {split: [*names] for split, names in before.items()}
    assert data.made_splits == {"val", "test"}


def test_all_corrections_that_do_not_fit_are_listed(root: Path) -> None:
    first = next(iter(files(opened(root, ""), "train")))
    with pytest.raises(BadSamplesError) as raised:
        opened(root, f"{first},dog,cat\nnowhere.png,cat,dog\n")
    assert str(raised.value).splitlines() == [
        "data.init_args.corrections: 2 of 2 corrections do not fit the images; fix or remove their lines",
        f"line 2: {first} is labelled cat, not dog",
        f"line 3: no image nowhere.png in {root}/",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,class\n", "begins with ['name', 'class'], expected file,label,correct"),
        ("", "begins with nothing, expected file,label,correct"),
        ("file,label,correct\na.png,cat\n", "line 2 has 2 cells, expected 3"),
        ("file,label,correct\na.png,cat,dog\na.png,cat,dog\n", "corrects a.png twice, in lines 2 and 3"),
    ],
)
def test_what_is_no_table_of_corrections_is_refused(root: Path, text: str, message: str) -> None:
    table = root.parent / "corrections.csv"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        ImageFolder(str(root), corrections=str(table)).setup()
    assert message in str(raised.value)


def test_an_unknown_class_and_a_missing_table_are_refused(root: Path) -> None:
    first = next(iter(files(opened(root, ""), "train")))
    with pytest.raises(BadSamplesError, match="no class 'bird'"):
        opened(root, f"{first},cat,bird\n")
    with pytest.raises(MissingFileError, match=r"corrections: no file nowhere\.csv"):
        ImageFolder(str(root), corrections="nowhere.csv").setup()


def test_corrected_labels_change_the_fingerprint(root: Path) -> None:
    plain = opened(root, "")
    first = next(iter(files(plain, "train")))
    assert plain.fingerprint("train") != opened(root, f"{first},cat,dog\n").fingerprint("train")
    assert plain.fingerprint("val") == opened(root, f"{first},cat,dog\n").fingerprint("val")
    assert np.array_equal(plain.source("train").labels, [0, 0, 0, 1, 1])
