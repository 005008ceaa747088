"""Rows, names, masks and pictures of predictions."""

import csv
import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visiontasks.data.pipeline.reader import read_mask
from visiontasks.errors import InputError
from visiontasks.outputs import ClassScores, Detections, Output, SemanticMask
from visiontasks.predict.files import (
    FreeNames,
    check_format,
    line_of,
    row_file,
    rows_of,
    save_drawn,
)
from visiontasks.predict.predictor import Prediction
from visiontasks.report.single import save_picture

NAMES = ("cat", "dog", "owl")
CLASSES = ClassScores(np.float32([0.75, 0.25, 0]))


def prediction(output: Output | None, *, top: int | None = 2, error: str | None = None) -> Prediction:
    return Prediction("a.jpg", (3, 4), output, NAMES, top, error)


def boxes(*rows: list[float], probability: list[list[float]] | None = None, size: tuple[int, int] = (3, 4)) -> Output:
    classes = None if probability is None else np.array(probability, np.float32)
    return Detections(size, np.array(rows, np.float32), classes)


def test_a_classified_image_is_a_row_with_its_classes() -> None:
    assert rows_of(prediction(CLASSES), None) == [
        {"image": "a.jpg", "predicted": "cat", "probability": 0.75, "class_2": "dog", "probability_2": 0.25}
    ]


def test_each_box_is_a_row_with_its_classes_in_pixels() -> None:
    both = boxes([-1, 1.006, 2, 3.5], [1, 1, 2, 2], probability=[[0.75, 0.25, 0], [0.25, 0.75, 0]])
    assert rows_of(prediction(both, top=1), None) == [
        {"image": "a.jpg", "predicted": "cat", "probability": 0.75, "x1": 0, "y1": 1.01, "x2": 2, "y2": 3},
        {"image": "a.jpg", "predicted": "dog", "probability": 0.75, "x1": 1, "y1": 1, "x2": 2, "y2": 2},
    ]


def test_a_mask_is_named_and_an_error_is_alone() -> None:
    mask = SemanticMask(np.zeros((3, 4), np.uint8))
    assert rows_of(prediction(mask), "p_masks/a.png") == [{"image": "a.jpg", "mask": "p_masks/a.png"}]
    assert rows_of(prediction(None, error="damaged"), None) == [{"image": "a.jpg", "error": "damaged"}]


def test_csv_rows_are_in_the_file_before_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "p.csv"
    with row_file(path, ["image", "predicted", "error"]) as rows:
        rows.write({"image": 'a,"b".jpg', "predicted": "cat"})
        assert path.read_text() == 'image,predicted,error\n"a,""b"".jpg",cat,\n'
        rows.write({"image": "bytes \udcff.jpg", "error": "two\nlines"})
    assert b"bytes \xff.jpg" in path.read_bytes()
    with path.open(newline="", errors="surrogateescape") as file:
        assert [row["error"] for row in csv.DictReader(file)] == ["", "two\nlines"]


@pytest.mark.parametrize("name", ["q.csv", "q.json"])
def test_a_users_own_file_of_a_similar_name_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.tmp").write_text("mine")
    with row_file(tmp_path / name, ["image"]) as rows:
        rows.write({"image": "a.png"})
    with pytest.raises(KeyError), row_file(tmp_path / "broken.json", ["image"]):
        raise KeyError
    assert (tmp_path / f"{name}.tmp").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, f"{name}.tmp"]


def test_a_file_or_class_named_like_a_formula_is_a_text_and_a_number_is_not(tmp_path: Path) -> None:
    with row_file(tmp_path / "p.csv", ["image", "predicted", "x1"]) as rows:
        rows.write({"image": "=HYPERLINK(1).png", "predicted": "@SUM(1)", "x1": -0.3})
    assert (tmp_path / "p.csv").read_text() == "image,predicted,x1\n'=HYPERLINK(1).png,'@SUM(1),-0.3\n"


def test_json_gets_its_name_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text("before")
    with row_file(path, ["image", "probability", "error"]) as rows:
        rows.write({"image": "ü \udcff.jpg", "probability": 0.5})
        assert path.read_text() == "before"
        rows.write({"image": "b.jpg", "error": "damaged"})
    assert json.loads(path.read_text()) == [
        {"image": "ü \udcff.jpg", "probability": 0.5, "error": None},
        {"image": "b.jpg", "probability": None, "error": "damaged"},
    ]
    with suppress(KeyboardInterrupt), row_file(path, ["image"]) as rows:
        rows.write({"image": "c.jpg"})
        raise KeyboardInterrupt
    assert len(json.loads(path.read_text())) == 2
    with row_file(path, ["image"]):
        pass
    assert json.loads(path.read_text()) == []
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.json"]


def test_other_formats_are_refused(tmp_path: Path) -> None:
    check_format(Path("a.CSV"))
    (tmp_path / "folder.csv").mkdir()
    for path in (Path("a.xlsx"), Path("a"), tmp_path / "folder.csv"):
        with pytest.raises(InputError, match=f"--out {path}: expected a file that ends in .csv or .json"):
            check_format(path)


def test_no_two_files_get_one_name(tmp_path: Path) -> None:
    names = FreeNames(tmp_path / "out", ".png")
    below = ["a.jpg", "a.png", "A.jpg", "a_2.jpg", "deep/a.jpg", "a.b.jpg", "no suffix"]
    paths = [names.path(Path(name)).relative_to(tmp_path / "out").as_posix() for name in below]
    assert paths == ["a.png", "a_2.png", "A_3.png", "a_2_2.png", "deep/a.png", "a.b.png", "no suffix.png"]
    assert (tmp_path / "out" / "deep").is_dir()


def test_a_mask_is_a_png_of_class_indices_with_the_colours_of_the_classes(tmp_path: Path) -> None:
    mask = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    save_picture(SemanticMask(mask).png(["background", "cat", "dog"]), tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png"), mask)
    with Image.open(tmp_path / "m.png") as image:
        assert image.mode == "P"
        colours = np.asarray(image.convert("RGB"))
    assert colours[0, 0].tolist() == [0, 0, 0]
    assert len({tuple(colour) for colour in colours[0].tolist()}) == 3


def test_a_prediction_is_drawn_into_the_whole_picture(tmp_path: Path) -> None:
    Image.new("RGB", (300, 260), (90, 90, 90)).save(tmp_path / "a.png")
    box = boxes([30, 60, 200, 190], probability=[[0.75, 0.25, 0]], size=(260, 300))
    save_drawn(Prediction(str(tmp_path / "a.png"), (260, 300), box, NAMES), tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        drawn = np.asarray(image).astype(int)
    assert drawn.shape[1] == 300
    assert 260 < drawn.shape[0] < 300  # a line of text below
    assert np.abs(drawn[60, 100] - [255, 160, 0]).max() < 60  # the upper edge of the box
    assert np.abs(drawn[120, 100] - 90).max() < 10


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (prediction(CLASSES), "a.jpg   cat 0.750  dog 0.250"),
        (prediction(boxes([1, 2, 3.4, 3], probability=[[0.75, 0.25, 0]]), top=1), "a.jpg   cat 0.750  box 1 2 3 3"),
        (prediction(boxes([1, 2, 3, 3], [1, 2, 3, 3])), "a.jpg   box 1 2 3 3  box 1 2 3 3"),
        (prediction(SemanticMask(np.array([[1, 1, 0, 1]], np.uint8))), "a.jpg   dog 75.0%  cat 25.0%"),
        (prediction(None, error="damaged"), "a.jpg   error: damaged"),
    ],
)
def test_a_line_for_the_terminal(given: Prediction, expected: str) -> None:
    assert line_of(given, width=6) == expected
