"""A run of detection, end to end through the commands: result, evaluate, predict, report, compare, explain, export."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visiontasks import Predictor
from visiontasks.commands.evaluate import evaluate
from visiontasks.commands.finetune import finetune
from visiontasks.commands.main import main

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*TensorBoardLogger"),
    pytest.mark.filterwarnings("ignore:.*sync_dist=True"),
]
RECIPE = Path(__file__).parents[2] / "recipes" / "folder_detect.yaml"
OPTIONS = {
    "model.backbone": "resnet20_cifar",
    "model.weights": "none",
    "model.head.init_args.width": "8",
    "finetune.freeze_epochs": "0",
    "trainer.max_epochs": "3",
    "trainer.precision": "32-true",
    "data.root": "squares",
    "data.image_size": "64",
    "data.batch_size": "4",
    "data.num_workers": "0",
}


def write_squares(root: Path, count: int) -> None:
    """Images of two sizes with up to two squares, red or blue, as COCO json with gaps between the ids."""
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    annotations: list[dict[str, Any]] = []
    images = []
    for i in range(count):
        height, width = (48, 64) if i % 3 else (64, 56)
        pixels = rng.integers(60, 100, (height, width, 3)).astype(np.uint8)
        images.append({"id": i, "file_name": f"{i}.png", "height": height, "width": width})
        for _ in range(i % 3):
            side, label = int(rng.integers(14, 24)), int(rng.integers(0, 2))
            x, y = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
            pixels[y : y + side, x : x + side] = [(230, 40, 40), (40, 40, 230)][label]
            box = {"bbox": [x, y, side, side], "area": side**2, "iscrowd": 0}
            annotations.append({"id": len(annotations) + 1, "image_id": i, "category_id": [3, 7][label], **box})
        Image.fromarray(pixels).save(root / "images" / f"{i}.png")
    categories = [{"id": 3, "name": "red"}, {"id": 7, "name": "blue"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("objects"))
        write_squares(Path("squares"), 36)
        yield finetune(RECIPE, [part for key, value in OPTIONS.items() for part in (f"--{key}", value)])


def rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_result_has_average_precision_with_its_interval(run: tuple[Path, dict[str, Any]]) -> None:
    result = run[1]
    entry = result["metrics"]["test/map"]
    low, high = entry["interval95"]
    assert 0 <= low <= entry["value"] <= high
    assert result["headline"] == "map"
    assert set(result["class_metrics"]["test/class_map"]) == {"red", "blue"}
    assert result["baseline"]["metrics"]["test/map"] == 0
    assert result["score"] == {"name": "F1", "measures": True}


def test_evaluate_measures_the_same_again(run: tuple[Path, dict[str, Any]]) -> None:
    assert evaluate(run[0], [])["metrics"] == run[1]["metrics"]
    table = rows(str(run[0] / "predictions_test.csv"))
    assert list(table[0]) == ["sample", "score", "missed", "invented"]
    assert (run[0] / "predictions_test.png").stat().st_size > 1000


def test_predict_writes_a_row_for_each_object_above_the_threshold(run: tuple[Path, dict[str, Any]]) -> None:
    """The run's own threshold is that of its validation."""
    folder = str(run[0])
    assert main(["predict", folder, "squares/images", "--out", "own.csv", "--draw", "drawn"]) == 0
    assert len(list(Path("drawn").glob("*.jpg"))) == 36
    assert main(["predict", folder, "squares/images", "--out", "all.csv", "--threshold", "0.02"]) == 0
    own, every = ([row for row in rows(name) if row["class"]] for name in ("own.csv", "all.csv"))
    threshold = run[1]["metrics"]["test/threshold"]["value"]
    assert all(float(row["score"]) >= threshold - 1e-5 for row in own)
    assert len(own) < len(every)
    assert {row["image"] for row in rows("own.csv")} == {f"squares/images/{i}.png" for i in range(36)}
    assert main(["predict", folder, "squares/images", "--out", "none.json", "--threshold", "1"]) == 0
    assert [row["class"] for row in json.loads(Path("none.json").read_text())] == [None] * 36


def test_predict_writes_the_same_objects_for_other_tools(
    run: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["predict", str(run[0]), "squares/images", "--threshold", "0.02"]
    assert main([*given, "--out", "rows.csv"]) == 0
    assert main([*given, "--out", "coco.json", "--format", "coco"]) == 0
    assert capsys.readouterr().err.endswith(" per second: coco.json, coco_images.json\n")
    assert main([*given, "--out", "yolo", "--format", "yolo"]) == 0
    assert capsys.readouterr().err.endswith(" per second: yolo/\n")
    found = [row for row in rows("rows.csv") if row["class"]]
    assert found
    meaning = json.loads(Path("coco_images.json").read_text())
    images = {image["id"]: image for image in meaning["images"]}
    names = {category["id"]: category["name"] for category in meaning["categories"]}
    for row, result in zip(found, json.loads(Path("coco.json").read_text()), strict=True):
        assert images[result["image_id"]]["file_name"] == row["image"]
        assert (names[result["category_id"]], result["score"]) == (row["class"], float(row["score"]))
        x, y, width, height = result["bbox"]
        corners = [float(row[name]) for name in ("x1", "y1", "x2", "y2")]
        assert [x, y, x + width, y + height] == pytest.approx(corners, abs=0.011)
    classes = Path("yolo/classes.txt").read_text().split()
    lines = [(i, line.split()) for i in range(36) for line in Path(f"yolo/{i}.txt").read_text().splitlines()]
    for row, (i, line) in zip(found, lines, strict=True):
        assert (f"squares/images/{i}.png", classes[int(line[0])]) == (row["image"], row["class"])
        centre = (float(row["x1"]) + float(row["x2"])) / 2
        width = next(image["width"] for image in images.values() if image["file_name"] == row["image"])
        assert float(line[1]) * width == pytest.approx(centre, abs=0.011)


def test_python_gets_boxes_of_one_network_and_of_several_views(run: tuple[Path, dict[str, Any]]) -> None:
    image = "squares/images/2.png"
    (plain,) = Predictor.load(run[0], threshold=0.02)(image)
    (flipped,) = Predictor.load(run[0], run[0], threshold=0.02, tta="flip")(image)
    for prediction in (plain, flipped):
        box = prediction.boxes[0]
        assert 0 <= box.x1 < box.x2 <= 64
        assert box.classes[0].name in ("red", "blue")
    assert plain.boxes[0].classes[0].probability != flipped.boxes[0].classes[0].probability


def test_options_that_do_not_fit_are_refused_in_one_line(
    run: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    for options, message in (
        (["--threshold", "2"], "--threshold: 2.0, expected 0 to 1"),
        (["--format", "yolo", "--out", "squares"], "--out squares is not empty, and labels in it could be overwritten"),
        (["--format", "coco"], "--format coco needs --out FILE.json"),
        (["--tta", "tencrop"], "a crop shows only a part of the image: use flip"),
    ):
        capsys.readouterr()
        assert main(["predict", str(run[0]), "squares/images", *options]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert message in line


def test_report_compare_and_explain(run: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(run[0])
    assert main(["report", folder]) == 0
    page = (run[0] / "report.html").read_text()
    assert "average precision" in page
    assert "detection with its score" in page
    for title in (
        "Precision and recall of each class",
        "Confusion matrix",
        "Errors by kind",
        "Found and missed objects",
    ):
        assert f"<h2>{title}" in page
    (run[0] / "report.html").unlink()
    assert main(["report", folder, "--data.root", "gone"]) == 0  # all but the pictures is in the run's folder
    assert "<h2>Errors by kind" in (run[0] / "report.html").read_text()
    assert main(["compare", folder, folder]) == 0
    assert "map of B higher by +0.0000" in capsys.readouterr().out
    assert main(["explain", folder, "squares/images/2.png", "--out", "why"]) == 0
    assert {path.stem for path in Path("why").iterdir()} == {"grad-cam", "occlusion", "filters", "feature-maps"}


@pytest.mark.parametrize("form", ["folder", "torch-export"])
def test_an_export_detects_the_same(run: tuple[Path, dict[str, Any]], form: str) -> None:
    many = Path("many")
    if not many.is_dir():
        many.mkdir()
        for i in range(100):
            (many / f"{i}.png").write_bytes(Path(f"squares/images/{i % 36}.png").read_bytes())
    assert main(["export", str(run[0]), f"out_{form}", "--format", form, "--images", "many"]) == 0
    if form == "torch-export":
        figures = json.loads(Path(f"out_{form}/agreement.json").read_text())
        assert (figures["images"], figures["flips"]) == (100, 0)
        assert figures["score"] < 0.01
        assert figures["box_px"] < 0.5
