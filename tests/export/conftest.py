"""Finished runs of tiny networks with random weights, as `finetune` leaves them, and images for them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

from visiontasks.backbones import save_config
from visiontasks.data.pipeline.reader import UInt8Array
from visiontasks.export.agreement import evaluate
from visiontasks.outputs import ClassScores, Detections, SemanticMask
from visiontasks.recipe.open_run import FinishedRun, open_run
from visiontasks.runs.checkpoint import write_checkpoint
from visiontasks.runs.folder import BACKBONE, BEST, RECIPE, RESULT
from visiontasks.tasks import ClassificationTask, DetectionTask, LocalizationTask, SegmentationTask, Task
from visiontasks.tasks.arguments import CALIBRATION
from visiontasks.tasks.calibration import Calibration

CLASSES = ["ant", "bee", "cow"]
KINDS: dict[str, type[Any]] = {
    "ClassificationTask": ClassificationTask,
    "DetectionTask": DetectionTask,
    "LocalizationTask": LocalizationTask,
    "SegmentationTask": SegmentationTask,
}
RESULT_OF_RUN = {
    "recipe": "made",
    "task": "ClassificationTask",
    "split": "test",
    "samples": {"evaluated": 40, "of": 40},
    "metrics": {"test/top1": {"value": 0.9, "n": 40, "count": 36, "interval95": [0.7696, 0.9604]}},
    "class_metrics": {},
    "chosen_by": {"monitor": "val/top1", "value": 0.8},
    "wall_s": 12.3,
    "data": {"splits": {"train": 100, "val": 20, "test": 40}, "skipped": {}, "classes": CLASSES},
    "versions": {"visiontasks": "0.1.0", "torch": "2.15.0"},
    "hardware": {"machine": "x86_64", "threads": 1, "gpus": []},
    "finished": "2026-11-21T17:25:28+00:00",
}


def lively(task: Task) -> Task:
    """Random weights also in what starts at zero, and running statistics, so that predictions differ by image."""
    for name, parameter in task.named_parameters():
        if name.startswith("head"):
            nn.init.normal_(parameter, std=0.3)
    for module in task.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return task


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Six soft images of different sizes in class folders."""
    root = tmp_path / "pictures"
    for i, (height, width) in enumerate([(40, 60), (61, 37), (90, 90), (33, 50), (48, 48), (70, 64)]):
        coarse = np.random.default_rng(i).integers(0, 256, (5, 6, 3), np.uint8)
        folder = root / "test" / CLASSES[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return root


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """`make_run("ClassificationTask", resize="crop", head=...)`: the folder of a finished run."""

    def make(
        kind: str = "ClassificationTask",
        *,
        backbone: str = "test_resnet",
        image_size: tuple[int, int] = (32, 48),
        resize: str = "crop",
        root: Path = Path("/nowhere/photos"),
        calibration: Calibration | None = None,
        **options: Any,
    ) -> Path:
        torch.manual_seed(0)
        options = {"backbone": backbone, "weights": "none", **options}
        given = {name: value for name, value in options.items() if not isinstance(value, dict)}
        heads = {name: _made(value) for name, value in options.items() if isinstance(value, dict)}
        task = lively(KINDS[kind](num_classes=len(CLASSES), **given, **heads))
        run = tmp_path / "runs" / "made" / "2026-11-21_17-24-33"
        recipe = {
            "seed_everything": 0,
            "trainer": {"max_epochs": 3},
            "model": {"class_path": f"visiontasks.{kind}", "init_args": options},
            "data": {
                "class_path": "visiontasks.ImageFolder",
                "init_args": {"root": str(root), "image_size": list(image_size), "resize": resize},
            },
            "finetune": {"freeze_epochs": 1, "unfreeze": "all"},
        }
        known = {
            "recipe": yaml.safe_dump(recipe),
            "versions": {},
            "preprocessing": {
                "image_size": list(image_size),
                "resize": resize,
                "mean": (task.mean / 255).flatten().tolist(),
                "std": (task.std / 255).flatten().tolist(),
                "in_chans": task.in_chans,
            },
            "class_names": CLASSES,
        }
        more = {CALIBRATION: calibration.to_json()} if calibration else {}
        write_checkpoint({"visiontasks": known, "state_dict": task.state_dict(), **more}, run / BEST)
        save_config(task.backbone, run / BACKBONE)
        (run / RECIPE).write_text(known["recipe"])
        (run / RESULT).write_text(json.dumps(RESULT_OF_RUN))
        return run

    return make


@pytest.fixture
def make_trained(make_run: Callable[..., Path]) -> Callable[..., FinishedRun]:
    """The same, loaded."""
    return lambda *args, **options: open_run(make_run(*args, **options))


@pytest.fixture
def answer() -> Callable[[FinishedRun, UInt8Array], dict[str, Any]]:
    """`answer(trained, image)`: the prediction of the run's evaluation, by the names of a graph's outputs."""

    def values(trained: FinishedRun, image: UInt8Array) -> dict[str, Any]:
        output = evaluate(trained, image).output
        if isinstance(output, SemanticMask):
            return {"mask": output.mask}
        if isinstance(output, ClassScores):
            return {"probability": output.probability}
        assert isinstance(output, Detections)
        found = {"box": output.cut} | ({} if output.probability is None else {"probability": output.probability})
        return {name: each[0] if output.is_single else each for name, each in found.items()}

    return values


@pytest.fixture
def photo() -> Callable[..., UInt8Array]:
    """`photo(40, 60)`: an image of that height and width, soft as photographs are."""

    def make(height: int, width: int, seed: int = 0) -> UInt8Array:
        coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
        return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))

    return make


def _made(head: dict[str, Any]) -> Callable[..., nn.Module]:
    from visiontasks import heads

    made: type[nn.Module] = getattr(heads, head["class_path"].rpartition(".")[2])
    return lambda *args: made(*args, **head.get("init_args", {}))
