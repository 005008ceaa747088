"""Detections as COCO's results and as YOLO's text files."""

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from visiontasks.errors import InputError
from visiontasks.outputs import ClassScores
from visiontasks.outputs.found_objects import FoundObjects
from visiontasks.predict.image_files import ImageFile
from visiontasks.predict.label_files import COCOResults, YOLOLabels, check_label_format, label_files
from visiontasks.predict.predictor import Prediction

NAMES = ("cat", "dog")


def predicted(name: str, *rows: tuple[list[float], float, int]) -> tuple[ImageFile, Prediction]:
    """Boxes, scores and classes found in an image of 50 x 100 pixels."""
    boxes = np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score, _ in rows], np.float32)
    output = FoundObjects((50, 100), boxes, scores, np.array([label for _, _, label in rows], np.int64), 2, 0.25)
    return _file(name), Prediction(f"photos/{name}", (50, 100), output, NAMES)


def unreadable(name: str) -> tuple[ImageFile, Prediction]:
    return _file(name), Prediction(f"photos/{name}", error="damaged")


def _file(name: str) -> ImageFile:
    return ImageFile(f"photos/{name}", Path(name))


DOG_AND_CAT = predicted("a.jpg", ([10, 5, 30, 45], 0.75, 1), ([0, 0, 100, 50], 0.5, 0), ([1, 1, 2, 2], 0.125, 0))


def test_coco_results_name_images_and_classes_beside_them(tmp_path: Path) -> None:
    out = tmp_path / "new" / "found.json"
    with COCOResults(out, NAMES) as files:
        for each in (DOG_AND_CAT, unreadable("b.jpg"), predicted("c.jpg"), predicted("d.jpg", ([1, 2, 4, 6], 0.25, 0))):
            files.add(*each)
        assert not out.exists()
    assert json.loads(out.read_text()) == [
        {"image_id": 1, "category_id": 2, "bbox": [10, 5, 20, 40], "score": 0.75},
        {"image_id": 1, "category_id": 1, "bbox": [0, 0, 100, 50], "score": 0.5},
        {"image_id": 3, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.25},
    ]
    assert json.loads((tmp_path / "new" / "found_images.json").read_text()) == {
        "images": [
            {"id": 1, "file_name": "photos/a.jpg", "width": 100, "height": 50},
            {"id": 2, "file_name": "photos/c.jpg", "width": 100, "height": 50},
            {"id": 3, "file_name": "photos/d.jpg", "width": 100, "height": 50},
        ],
        "annotations": [],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


def test_pycocotools_takes_the_results(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco").COCO
    with COCOResults(tmp_path / "found.json", NAMES) as files:
        files.add(*DOG_AND_CAT)
    results = coco(str(tmp_path / "found_images.json")).loadRes(str(tmp_path / "found.json"))
    assert [(each["area"], each["category_id"]) for each in results.loadAnns(results.getAnnIds(imgIds=[1]))] == [
        *((800, 2), (5000, 1))
    ]


def test_an_interruption_leaves_the_former_results(tmp_path: Path) -> None:
    (tmp_path / "found.json").write_text("before")
    with suppress(KeyboardInterrupt), COCOResults(tmp_path / "found.json", NAMES) as files:
        files.add(*DOG_AND_CAT)
        raise KeyboardInterrupt
    assert (tmp_path / "found.json").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]


def test_yolo_has_a_file_for_each_image_that_could_be_read(tmp_path: Path) -> None:
    with YOLOLabels(tmp_path / "found", NAMES) as files:
        for each in (DOG_AND_CAT, unreadable("b.jpg"), predicted("deep/c.jpg"), predicted("classes.png")):
            files.add(*each)
    texts = {
        path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*") if path.suffix == ".txt"
    }
    assert texts == {
        "found/classes.txt": "cat\ndog\n",
        "found/a.txt": "1 0.200000 0.500000 0.200000 0.800000 0.750000\n"
        "0 0.500000 0.500000 1.000000 1.000000 0.500000\n",
        "found/deep/c.txt": "",
        "found/classes_2.txt": "",
    }


def test_where_they_go_is_checked_first(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("0 0.5 0.5 1 1")
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.json").mkdir()
    check_label_format("coco", tmp_path / "x.JSON")
    for name in ("empty", "new", "v1.2"):
        check_label_format("yolo", tmp_path / name)
    for form, name, message in (
        ("coco", "x.csv", "x.csv: COCO's results are a file, expected one that ends in .json"),
        ("coco", "folder.json", "expected one that ends in .json"),
        ("yolo", "x.json", "x.json: YOLO's files go into a folder"),
        ("yolo", "full/a.txt", "a.txt: YOLO's files go into a folder"),
        ("yolo", "full", "full is not empty, and labels in it could be overwritten: name a new folder"),
    ):
        with pytest.raises(InputError, match=f"^--out .*{message}"):
            check_label_format(form, tmp_path / name)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="--format coco needs --out FILE.json"):
        check_label_format("coco", None)
    with pytest.raises(InputError, match="--format yolo needs --out FOLDER"):
        check_label_format("yolo", None)
    with pytest.raises(InputError, match="--format voc: expected coco or yolo"):
        check_label_format("voc", None)  # type: ignore[arg-type]


def test_what_has_no_boxes_with_scores_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--format yolo: takes any number of objects .* which this run does not pred"):
        label_files("yolo", tmp_path / "new", ClassScores, NAMES)
    assert not (tmp_path / "new").exists()
