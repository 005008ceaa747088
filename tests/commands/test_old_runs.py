"""Runs that an older version wrote: recipes with `classifier`, checkpoints with the entry of then."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from visiontasks.backbones import save_config
from visiontasks.commands.main import main
from visiontasks.recipe.open_run import open_run
from visiontasks.tasks import LocalizationTask

pytestmark = pytest.mark.filterwarnings("ignore:.*sync_dist=True")


def write_old_run(folder: Path, *, classifier: str | None, class_weight: float) -> Path:
    """Of the classes cat and dog, with all that a run folder had at 0.2.0."""
    torch.manual_seed(0)
    task = LocalizationTask(
        "resnet20_cifar",
        weights="none",
        num_classes=2,
        box_grid=2,
        class_weight=class_weight,
        freeze_classes=class_weight == 0 and classifier is not None,
    )
    for parameter in task.head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    options = {"backbone": "gone/away", "weights": "/gone/weights.pth", "box_grid": 2, "class_weight": class_weight}
    data = {"root": "scenes", "image_size": 32, "resize": "squash", "num_workers": 0, "batch_size": 4}
    recipe = yaml.safe_dump(
        {
            "seed_everything": 0,
            "trainer": {"max_epochs": 1, "precision": "32-true", "logger": None},
            "model": {"class_path": "visiontasks.LocalizationTask", "init_args": options | {"classifier": classifier}},
            "data": {"class_path": "visiontasks.data.VOCBoxes", "init_args": data},
            "finetune": {"freeze_epochs": 0, "unfreeze": "all"},
        }
    )
    entry: dict[str, Any] = {
        "recipe": recipe,
        "versions": {"visiontasks": "0.2.0"},
        "processes": 1,
        "preprocessing": {
            "image_size": [32, 32],
            "resize": "squash",
            "mean": (task.mean / 255).flatten().tolist(),
            "std": (task.std / 255).flatten().tolist(),
            "in_chans": 3,
        },
        "class_names": ["cat", "dog"],
    }
    (folder / "checkpoints").mkdir(parents=True)
    torch.save({"visiontasks": entry, "state_dict": task.state_dict()}, folder / "checkpoints" / "best.ckpt")
    (folder / "recipe.yaml").write_text(recipe)
    (folder / "metrics.csv").write_text("epoch,val/iou\n1,0.5\n")
    result = {"recipe": "old", "task": "LocalizationTask", "split": "test", "metrics": {}, "wall_s": 1.0, "fit_s": 1.0}
    result |= {
        "finished": "2026-11-20T10:00:00+00:00",
        "versions": entry["versions"],
        "hardware": {"gpus": [], "threads": 1},
        "seed": 0,
    }
    result |= {"samples": {"evaluated": 6, "of": 6}, "data": {"splits": {"test": 6}}, "precision": "32-true"}
    (folder / "result.json").write_text(json.dumps(result))
    save_config(task.backbone, folder / "backbone")
    return folder


@pytest.mark.parametrize(
    ("classifier", "class_weight", "frozen", "has_classes"),
    [
        (None, 1.0, False, True),
        (None, 0.0, False, False),
        ("gone/run", 0.0, True, True),
        ("gone/run", 0.5, False, True),
    ],
)
def test_its_recipe_is_read_in_todays_keys(
    classifier: str | None, class_weight: float, frozen: bool, has_classes: bool, tmp_path: Path
) -> None:
    opened = open_run(write_old_run(tmp_path, classifier=classifier, class_weight=class_weight))
    assert opened.recipe["init_from"] == classifier
    assert "classifier" not in opened.recipe["model"]["init_args"]
    assert opened.task.head.freeze_classes is frozen
    assert (opened.task.head.classes is not None) is has_classes


def test_every_command_takes_it(
    write_scenes: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_scenes(Path("scenes"), "VOCBoxes")
    run = str(write_old_run(Path("runs/old/2026-11-20"), classifier="gone/run", class_weight=0.0))
    image = str(next(Path("scenes").rglob("*.jpg")))
    for command in (
        ["evaluate", "runs/old"],
        ["report", run],
        ["compare", run, run],
        ["predict", run, image, "--out", "rows.csv"],
        ["explain", run, image, "--method", "grad-cam"],
        ["export", run, "exported"],
    ):
        assert main(command) == 0, capsys.readouterr().err
    with Path("rows.csv").open(newline="") as file:
        assert {"predicted", "probability"} <= next(csv.DictReader(file)).keys()
