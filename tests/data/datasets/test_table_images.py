"""Images with their labels in a table."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from visiontasks.data import TableImages, TableLabels
from visiontasks.data.pipeline.sources import sample_path
from visiontasks.errors import BadSamplesError, InputError, MissingFileError

NAN = float("nan")


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """`folder("labels.csv", lines, images=12)`: a table beside images/0.png, images/1.png, ..."""

    def make(name: str, *lines: str, images: int = 12) -> Path:
        (tmp_path / "images").mkdir(exist_ok=True)
        for i in range(images):
            Image.fromarray(np.full((8, 8, 3), 20 * i, np.uint8)).save(tmp_path / "images" / f"{i}.png")
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
        return tmp_path

    return make


def opened(kind: type[TableImages | TableLabels], root: Path, **options: Any) -> TableImages | TableLabels:
    data = kind(str(root), image_size=8, num_workers=0, **options)
    data.setup()
    return data


def labels_of(data: TableImages | TableLabels, split: str) -> list[list[str]]:
    source = data.source(split)
    return [data.target.names(source[row], data.class_names) for row in range(len(source))]


def test_names_without_suffix_and_semicolons_are_read_as_kaggle_has_them(folder: Callable[..., Path]) -> None:
    rows = [f"{i};{'cat' if i % 2 else 'dog'}" for i in range(12)]
    data = opened(TableImages, folder("train.csv", "id;label", *rows))
    assert data.class_names == ["cat", "dog"]
    assert sum(data.split_sizes.values()) == 12
    assert {split: sorted(map(tuple, labels_of(data, split))) for split in ("val", "test")} == {
        "val": [("cat",), ("dog",)],
        "test": [("cat",), ("dog",)],
    }
    assert data.notes == ["train.csv: images in column id, labels in column label"]
    sample = data.source("train")[0]
    assert sample["image"][0, 0, 0] == 20 * int(Path(sample_path(data.source("train"), 0)).stem)


def test_splits_are_as_the_column_has_them(folder: Callable[..., Path]) -> None:
    split = ["Training", "valid", "test"]
    rows = [f"images/{i}.png\t{'ab'[i // 3 % 2]}\t{split[i % 3]}" for i in range(12)]
    data = opened(TableImages, folder("labels.tsv", "path\tlabel\tsplit", *rows))
    assert data.split_sizes == {"train": 4, "val": 4, "test": 4}
    assert labels_of(data, "val") == [["a"], ["b"], ["a"], ["b"]]


def test_one_and_zero_in_columns_are_a_class_or_several_labels(folder: Callable[..., Path]) -> None:
    rows = [f"{i}.png,{i % 2},{1 - i % 2}" for i in range(12)]
    root = folder("labels.csv", "image,cat,dog", *rows)
    assert opened(TableImages, root, test_fraction=1.0).source("test").labels.tolist() == [1, 0] * 6
    rows[0], rows[1] = "0.png,1,1", "1.png,,0"
    data = opened(TableLabels, folder("labels.csv", "image,cat,dog", *rows), test_fraction=1.0)
    hot = [data.source("test")[row]["labels_hot"].tolist() for row in range(3)]
    assert hot == [[1, 1], pytest.approx([NAN, 0], nan_ok=True), [0, 1]]
    with pytest.raises(BadSamplesError, match=r"has labels cat, dog, expected one; correct the line, or train on sev"):
        opened(TableImages, root)


@pytest.mark.parametrize(
    "lines",
    [
        ['0,"cat, dog"', "1,", "2,dog"],
        ["0,cat", "0,dog", "1,", "2,dog"],  # a line for each label
        ["0,cat|dog", "1,", "2,dog"],
    ],
)
def test_several_labels_stand_in_one_cell_or_in_several_lines(folder: Callable[..., Path], lines: list[str]) -> None:
    root = folder("labels.csv", "id,label", *lines, images=3)
    data = opened(TableLabels, root, test_fraction=1.0)
    assert labels_of(data, "test") == [["cat", "dog"], [], ["dog"]]


def test_rare_labels_are_in_the_training_split(folder: Callable[..., Path]) -> None:
    rows = [f"{i},{'cat|rare' if i == 5 else 'cat' if i % 2 else 'dog'}" for i in range(12)]
    data = opened(TableLabels, folder("labels.csv", "id,label", *rows))
    assert ["cat", "rare"] in labels_of(data, "train")
    assert data.split_sizes == {"train": 8, "val": 2, "test": 2}


def test_all_that_is_wrong_is_said_at_once(folder: Callable[..., Path]) -> None:
    lines = ["0,cat", "99,dog", "1,dog", "1,cat", "2", ",cat", "3,dog"]
    root = folder("labels.csv", "id,label", *lines, images=5)
    (root / "images" / "3.png").write_bytes(b"no image")
    with pytest.raises(BadSamplesError) as caught:
        opened(TableImages, root)
    message = str(caught.value)
    for part in (
        "line 3: no image '99' below",
        "line 5: '1' is there twice, also in",
        "with other labels",
        "line 6: 1 cells, expected 2",
        "line 7: no image is named",
        "3.png",
    ):
        assert part in message
    data = TableImages(str(root), image_size=8, num_workers=0, on_bad_sample="skip", val_fraction=0.5, test_fraction=0)
    with pytest.raises(InputError):  # what is left is one image
        data.setup()


def test_a_name_that_two_images_have_is_ambiguous(folder: Callable[..., Path]) -> None:
    root = folder("labels.csv", "id,label", "0,cat", "1,dog", images=2)
    (root / "other").mkdir()
    (root / "images" / "0.png").rename(root / "other" / "0.png")
    Image.new("RGB", (8, 8)).save(root / "images" / "0.png")
    with pytest.raises(BadSamplesError, match=r"'0' may be images/0.png, other/0.png; write its path"):
        opened(TableImages, root)
    (root / "labels.csv").write_text("id,label\nother\\0.png,cat\n1,dog\n")
    assert opened(TableImages, root, test_fraction=1.0).split_sizes == {"test": 2}


def test_tables_named_like_splits_are_the_splits(folder: Callable[..., Path]) -> None:
    root = folder("train.csv", "id,label", *(f"{i},{'ab'[i % 2]}" for i in range(8)))
    folder("test.csv", "id,label", "8,a", "9,b")
    folder("sample_submission.csv", "id,label", "10,a")
    data = opened(TableImages, root)
    assert data.split_sizes == {"test": 2, "train": 6, "val": 2}
    folder("more.csv", "id,label", "11,a")
    with pytest.raises(InputError, match=r"several tables \(more.csv, test.csv, train.csv\): name one, --data.table"):
        opened(TableImages, root)
    assert opened(TableImages, root, table="train.csv", test_fraction=0.25).split_sizes["test"] == 2


def test_measurements_are_no_classes(folder: Callable[..., Path]) -> None:
    root = folder("labels.csv", "id,target", *(f"{i},{i + 0.5}" for i in range(12)))
    with pytest.raises(InputError, match=r"the labels are numbers such as 0.5, 1.5, 2.5, expected classes"):
        opened(TableImages, root)


def test_a_missing_folder_or_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no folder"):
        opened(TableImages, tmp_path / "none")
    with pytest.raises(MissingFileError, match=r"has no table \(.csv, .tsv, .parquet\)"):
        opened(TableImages, tmp_path)


def test_labels_to_evaluate_on_are_in_the_order_of_the_training(folder: Callable[..., Path]) -> None:
    root = folder("labels.csv", "id,label", "0,dog", "1,cat", images=2)
    data = opened(TableImages, root, classes=["cow", "dog", "cat"], test_fraction=1.0)
    assert data.source("test").labels.tolist() == [1, 2]
    with pytest.raises(BadSamplesError, match=r"cat is not among data.init_args.classes"):
        opened(TableImages, root, classes=["cow", "dog"], test_fraction=1.0)


def test_parquet_is_read_with_lists_of_labels(folder: Callable[..., Path]) -> None:
    root = folder("other.txt", images=3)
    table = pyarrow.table({"image": ["0.png", "1.png", "2.png"], "labels": [["cat", "dog"], [], ["dog"]]})
    pyarrow.parquet.write_table(table, root / "labels.parquet")
    data = opened(TableLabels, root, test_fraction=1.0)
    assert labels_of(data, "test") == [["cat", "dog"], [], ["dog"]]


def test_each_line_adds_its_label_to_those_of_its_image(folder: Callable[..., Path]) -> None:
    root = folder("labels.csv", "id,label", *(f"{i % 12},{'ab'[i % 2]}{i // 12}" for i in range(3000)))
    data = TableLabels(str(root), image_size=8, num_workers=0, test_fraction=1.0)
    assert len(data.class_names) == 500  # 250 lines of each image, each with its own label


def test_a_column_of_the_table_names_groups_that_no_split_divides(folder: Callable[..., Path]) -> None:
    """12 images of 6 patients, 3 of each class."""
    rows = [f"{i},{'cat' if i // 2 % 2 else 'dog'},p{i // 2}" for i in range(12)]
    root = folder("train.csv", "id,label,patient", *rows)
    for options in ({}, {"fold": "1/3"}):
        data = opened(TableImages, root, groups="train.csv:patient", label_columns=["label"], **options)
        sources = [data.source(split) for split in data.split_sizes]
        found = [{int(Path(sample_path(each, row)).stem) // 2 for row in range(len(each))} for each in sources]
        assert sum(map(len, found)) == len(set().union(*found)) == 6
        assert all(found)
        assert data.made_splits == {"val", "test"}
