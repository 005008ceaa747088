"""Several labels by the commands: from a folder with a table to thresholds, predictions, a second look, and exports."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visiontasks.commands.main import main
from visiontasks.data import read_image

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Experiment logs directory"),
    pytest.mark.filterwarnings("ignore:.*TensorBoardLogger"),
]
OPTIONS = "--backbone test_resnet --weights none --epochs 1 --freeze-epochs 0 --image-size 24 --workers 0"


def write_images(root: Path, number: int = 24) -> Path:
    """Images of red, green or both on grey, with their labels in a table; every fourth has none."""
    (root / "photos").mkdir(parents=True)
    rows = ["id,tags"]
    for i in range(number):
        pixels = np.random.default_rng(i).integers(0, 90, (24, 24, 3), np.uint8)
        names = [name for k, name in enumerate(("red", "green")) if i >> k & 1]
        for name in names:
            pixels[..., ("red", "green").index(name)] += 150
        Image.fromarray(pixels).save(root / f"photos/{i}.png")
        rows.append(f"{i},{' '.join(names)}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short training, only to be read."""
    folder = tmp_path_factory.mktemp("labels")
    root = write_images(folder / "images")
    assert main(["finetune", str(root), "--out", str(folder / "run"), *OPTIONS.split()]) == 0
    return folder / "run"


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def result_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "result.json").read_text(encoding="utf-8"))
    return found


def test_a_folder_with_a_table_is_trained_on_and_measured(run_dir: Path) -> None:
    result = result_of(run_dir)
    assert (result["task"], result["headline"]) == ("MultiLabelTask", "map")
    assert result["metrics"]["test/map"]["n"] == 4
    assert set(result["class_metrics"]["test/class_map"]) == {"green", "red"}
    assert result["baseline"]["name"] == "the labels' frequencies"
    rows = rows_of(run_dir / "predictions_test.csv")
    assert [*rows[0]] == ["sample", "score", "missed", "invented"]
    page = (run_dir / "report.html").read_text(encoding="utf-8")
    assert "Labels that come together" in page
    assert "true: green, red" in page


def test_predict_names_what_reaches_its_threshold(run_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.csv"
    photos = str(run_dir.parent / "images" / "photos")
    assert main(["predict", str(run_dir), photos, "--out", str(out), "--top", "2"]) == 0
    rows = rows_of(out)
    thresholds = result_of(run_dir)["class_metrics"]["test/class_threshold"]
    for row in rows:
        probability = {row[f"class_{rank}"]: float(row[f"probability_{rank}"]) for rank in (1, 2)}
        clear = {name: p - thresholds[name] for name, p in probability.items() if abs(p - thresholds[name]) > 1e-5}
        names = set(filter(None, row["labels"].split("|")))
        assert {name for name, lead in clear.items() if lead > 0} <= names
        assert not names & {name for name, lead in clear.items() if lead < 0}
    assert len(rows) == 24
    assert main(["predict", str(run_dir), photos, "--out", str(out), "--threshold", "1"]) == 0
    assert {row["labels"] for row in rows_of(out)} == {""}


def test_a_run_is_measured_again_to_the_same_numbers(run_dir: Path) -> None:
    before = result_of(run_dir)["metrics"]
    assert main(["evaluate", str(run_dir)]) == 0
    assert json.loads((run_dir / "result.json").read_text())["metrics"] == before


def test_an_exported_folder_gives_the_same_labels(run_dir: Path, tmp_path: Path) -> None:
    assert main(["export", str(run_dir), str(tmp_path / "exported")]) == 0
    check = json.loads((tmp_path / "exported" / "check.json").read_text())
    (entry, *_) = check["images"]
    image = read_image(tmp_path / "exported" / entry["image"])
    program = torch.export.load(tmp_path / "exported" / "model.pt2").module()
    with torch.no_grad():
        answer = program(torch.from_numpy(image)[None])
    assert answer["probability"][0].tolist() == pytest.approx(entry["graph"]["probability"], abs=1e-5)
    assert answer["threshold"][0].tolist() == pytest.approx(entry["graph"]["threshold"], abs=1e-6)


def test_int8_is_refused_until_it_has_a_gate(run_dir: Path, refused: Any) -> None:
    assert "only classifications have a gate yet" in refused(f"export {run_dir} {run_dir}/../int8 --format int8")
