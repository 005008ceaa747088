"""CSV files of boxes as users have them, and the mistakes in them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from visiontasks.data import CSVBoxes
from visiontasks.data.datasets.boxes import BoxSource
from visiontasks.errors import BadSamplesError, InputError, MissingFileError

WriteImages = Callable[..., Path]
WriteCSV = Callable[..., Path]
HEADER = "path,label,x1,y1,x2,y2"


@pytest.fixture
def written(tmp_path: Path, write_images: WriteImages) -> WriteCSV:
    """`written(line, line, name="boxes.csv")`: a root with that file and six images 0.png, 1.png, ... of 8x6 pixels."""

    def write(*lines: str, name: str = "boxes.csv", encoding: str = "utf-8") -> Path:
        write_images(tmp_path, 6)
        (tmp_path / name).write_text("\r\n".join(lines), encoding=encoding)
        return tmp_path

    return write


def boxes(data: CSVBoxes, split: str) -> dict[str, list[float]]:
    data.setup()
    source: Any = data.source(split)
    assert isinstance(source, BoxSource)
    return {Path(path).name: box.tolist() for path, box in zip(source.paths, source.boxes, strict=True)}


def test_columns_may_be_in_any_order_beside_others(written: WriteCSV) -> None:
    root = written("split,y2,width,x2,y1,x1,label,path", 'train,4,8,5,1,0.5,"a, b",0.png', 'val,6,8,8,0,0,"a, b",1.png')
    data = CSVBoxes(str(root))
    assert boxes(data, "train") == {"0.png": [0.5, 1, 5, 4]}
    assert boxes(data, "val") == {"1.png": [0, 0, 8, 6]}
    assert data.class_names == ["a, b"]


def test_a_column_of_splits_is_not_passed_over(written: WriteCSV) -> None:
    root = written(f"Split,{HEADER}", "Train,0.png,cat,1,1,5,4", "TEST,1.png,cat,1,1,5,4", "val,2.png,cat,1,1,5,4")
    assert sorted(boxes(CSVBoxes(str(root)), "test")) == ["1.png"]
    root = written(f"Subset,{HEADER}", "train,0.png,cat,1,1,5,4", "test,1.png,cat,1,1,5,4")
    with pytest.raises(InputError, match=r"boxes\.csv: line 2 has Subset 'train': call the column split, or remove it"):
        CSVBoxes(str(root)).setup()


def test_a_file_from_a_spreadsheet_is_read(written: WriteCSV) -> None:
    root = written(
        f"split, {HEADER}", "train, 0.png, cat, 1, 1, 5, 4", "", "val,1.png,cat,1,1,5,4", encoding="utf-8-sig"
    )
    assert boxes(CSVBoxes(str(root)), "train") == {"0.png": [1, 1, 5, 4]}


def test_lines_of_one_path_are_objects_of_one_image(written: WriteCSV) -> None:
    root = written(f"split,{HEADER}", "train,0.png,cat,1,1,2,2", "val,1.png,cat,1,1,5,4", "train,./0.png,cat,0,0,4,4")
    assert boxes(CSVBoxes(str(root)), "train") == {"0.png": [0, 0, 4, 4]}
    assert boxes(CSVBoxes(str(root), multiple="first"), "train") == {"0.png": [1, 1, 2, 2]}


def test_each_split_may_have_a_file(written: WriteCSV) -> None:
    written(HEADER, "0.png,cat,1,1,5,4", "1.png,cat,1,1,5,4", name="a.csv")
    root = written(HEADER, "2.png,cat,0,0,8,6", name="b.csv")
    data = CSVBoxes(str(root), splits={"train": "a.csv", "test": "b.csv"})
    assert boxes(data, "test") == {"2.png": [0, 0, 8, 6]}
    assert data.split_sizes == {"train": 1, "test": 1, "val": 1}


def test_a_bad_number_names_its_line(written: WriteCSV) -> None:
    root = written(HEADER, *(f"{i}.png,cat,1,1,5,4" for i in range(5)), '5.png,cat,1,"1,5",5,4', "5.png,cat,1,1,5,4,4")
    with pytest.raises(BadSamplesError) as raised:
        CSVBoxes(str(root)).setup()
    assert str(raised.value).replace(f"{root}/", "").splitlines()[1:-1] == [
        "boxes.csv line 7: y1 is '1,5', expected a number; correct it, or remove the object",
        "boxes.csv line 8: more values than columns; put texts with commas in quotes, write decimals with a point",
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "boxes.csv: the first line is '', expected the columns path,label,x1,y1,x2,y2, each once"),
        (["path;label;x1;y1;x2;y2"], "the first line is 'path;label;x1;y1;x2;y2', expected"),
        (["path,label,x1,y1,x2,x2"], "the first line is 'path,label,x1,y1,x2,x2', expected"),
        ([HEADER + ",x1"], "expected the columns path,label,x1,y1,x2,y2, each once"),
        ([HEADER], "has no images for train"),
        (
            [HEADER, ",cat,1,1,5,4", "0.png,cat,1,1,5,4", ",cat,1,1,5,4"],
            "line 2 has no path, line 4 has no path; expected",
        ),
        (
            ["split," + HEADER, "Trainee,0.png,cat,1,1,5,4"],
            "line 2 has split 'Trainee'; expected .* train, val, test as split",
        ),
        ([HEADER, '0.png,"cat,1,1,5,4'], "cannot be read as CSV .*; save it"),
    ],
)
def test_a_broken_file_is_refused(written: WriteCSV, lines: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CSVBoxes(str(written(*lines))).setup()


def test_a_file_in_another_encoding_is_refused(written: WriteCSV) -> None:
    root = written(HEADER, "0.png,Bär,1,1,5,4", encoding="latin-1")
    with pytest.raises(InputError, match="cannot be read as CSV .*save it as CSV in UTF-8"):
        CSVBoxes(str(root)).setup()


def test_a_column_split_in_a_file_of_one_split_is_refused(written: WriteCSV) -> None:
    root = written(f"split,{HEADER}", "train,0.png,cat,1,1,5,4")
    with pytest.raises(InputError, match="has a column split; remove it, or give one file as data.init_args.csv"):
        CSVBoxes(str(root), splits={"test": "boxes.csv"}).setup()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no file .*/mine.csv: point --data.init_args.root"):
        CSVBoxes(str(tmp_path), csv="mine.csv").setup()


@pytest.mark.parametrize(("delimiter", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")])
def test_another_delimiter_is_named(written: WriteCSV, delimiter: str, name: str) -> None:
    root = written(HEADER.replace(",", delimiter), delimiter.join(["0.png", "cat", "1,5", "1", "5", "4"]))
    with pytest.raises(InputError, match=f"its columns are separated by {name}: save it with commas"):
        CSVBoxes(str(root)).setup()


def test_a_table_of_labels_is_named(written: WriteCSV) -> None:
    with pytest.raises(InputError, match="it has no boxes; where it lists labels, move the images into one folder"):
        CSVBoxes(str(written("image_id,label", "0.png,1"))).setup()


def test_windows_paths_and_names_of_splits_are_understood(written: WriteCSV, tmp_path: Path) -> None:
    root = written(f"split,{HEADER}", "Training,sub\\0.png,cat,1,1,5,4", "valid,1.png,cat,1,1,5,4")
    (root / "sub").mkdir()
    (root / "0.png").rename(root / "sub/0.png")
    data = CSVBoxes(str(root))
    assert boxes(data, "train") == {"0.png": [1, 1, 5, 4]}
    assert boxes(data, "val") == {"1.png": [1, 1, 5, 4]}


def test_labels_in_another_unicode_form_are_the_named_class(written: WriteCSV) -> None:
    names = ("cre\u0300me", "cr\u00e8me")
    root = written(HEADER, *(f"{i}.png,{names[i % 2]},1,1,5,4" for i in range(6)))
    data = CSVBoxes(str(root), classes=["cre\u0300me"])
    data.setup()
    assert data.split_sizes == {"train": 4, "val": 1, "test": 1}
    assert data.count_classes(data.source("train")).tolist() == [4]


def test_a_missing_file_names_the_format_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/0.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(MissingFileError, match=r"no file .*boxes\.csv.*0\.txt is in YOLO's format .*convert it"):
        CSVBoxes(str(tmp_path)).setup()
