"""Runs with boxes, end to end through the commands: results, pictures, bad samples."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from visiontasks.commands.evaluate import evaluate
from visiontasks.commands.finetune import finetune
from visiontasks.commands.main import main

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*TensorBoardLogger"),
    pytest.mark.filterwarnings("ignore:.*sync_dist=True"),
]

WriteScenes = Callable[..., None]
SHORT = ["--trainer.max_epochs", "1", "--finetune.freeze_epochs", "0", "--data.image_size", "32"]
SHORT += ["--data.batch_size", "4", "--data.num_workers", "0", "--trainer.precision", "32-true"]
SMALL = ["--model.backbone", "resnet20_cifar", "--model.weights", "none"]


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(recipe: str, *overrides: str) -> tuple[Path, dict[str, Any]]:
    path = Path(__file__).parents[2] / "recipes" / f"{recipe}.yaml"
    return finetune(path, [*SMALL, *SHORT, *overrides])


def test_a_run_with_boxes_has_metrics_intervals_and_pictures(in_tmp: Path, write_scenes: WriteScenes) -> None:
    write_scenes(Path("scenes"), "VOCBoxes")
    run_dir, result = train("folder_localize", "--data.root", "scenes")
    names = {"iou", "iou50", "iou75", "top1", "localization_error_top1"}
    assert set(result["metrics"]) >= {f"test/{name}" for name in names}
    iou = result["metrics"]["test/iou"]
    low, high = iou["interval95"]
    assert low <= iou["value"] <= high
    assert result["metrics"]["test/iou50"]["count"] <= iou["n"] == result["data"]["splits"]["test"]
    assert (run_dir / "predictions_test.png").stat().st_size > 1000
    assert evaluate(run_dir, [])["metrics"] == result["metrics"]


def test_bad_samples_are_listed_or_skipped_and_counted(
    in_tmp: Path, write_scenes: WriteScenes, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scenes(Path("scenes"), "VOCBoxes")
    bad = sorted(Path("scenes/annotations").glob("*.xml"))[:8]
    for file in bad:
        file.write_text(file.read_text().replace("<xmax>30", "<xmax>?30"))  # many boxes beyond images are misread
    folder = [*SMALL, *SHORT, "--data.root", "scenes"]
    assert main(["finetune", "folder_localize", *folder]) == 2
    headline, *problems, more, last = capsys.readouterr().err.splitlines()
    assert "8 problem(s) in 8 of 24 samples" in headline
    assert len(problems) == 5
    assert len({str(file) for file in bad if str(file) in " ".join(problems)}) == 5
    assert more == "... and 3 more of this kind"
    assert last == (
        "8 problem(s): fix them, or leave these samples out: --data.on_bad_sample skip; visiontasks check-data lists "
        "all of them"
    )
    assert not list(Path("runs").glob("*/*"))
    _, result = train("folder_localize", "--data.root", "scenes", "--data.on_bad_sample", "skip")
    assert sum(result["data"]["skipped"].values()) == 8
    assert sum(result["data"]["splits"].values()) == 16
