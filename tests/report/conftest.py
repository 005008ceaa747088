"""Made runs to report on: a classifier of any number of classes, boxes, masks."""

from collections.abc import Callable
from math import nan
from typing import Any

import numpy as np
import pytest

from visiontasks.outputs import Detections, SemanticMask
from visiontasks.report import Explained, GradCams, Picture, RunContent, Score, Scored
from visiontasks.tasks.metrics import FACTS

HOSTILE = "<script>alert(1)</script>"


def history(epochs: int) -> list[dict[str, float]]:
    return [
        {
            "epoch": float(e),
            "step": 10.0 * e,
            "seconds": 1.5,
            "lr/head": 0.05 / e,
            "lr/backbone.layer1": 0.005 / e,
            "lr/backbone.layer2": 0.005 / e,
            "train/loss": 2.0 / e,
            "val/loss": 2.2 / e,
            "val/top1": 1 - 0.5 / e,
            "val/n": 60.0,
        }
        for e in range(1, epochs + 1)
    ]


def result(**changes: Any) -> dict[str, Any]:
    return {
        "recipe": "made",
        "task": "ClassificationTask",
        "seed": 0,
        "split": "test",
        "samples": {"evaluated": 200, "of": 200},
        "metrics": {
            "test/top1": entry("top1", value=0.9, n=200, count=180, interval95=[0.8506, 0.9343]),
            "test/loss": {"value": 0.31, "n": 200},
        },
        "class_metrics": {},
        "chosen_by": {"monitor": "val/top1", "value": 0.9},
        "wall_s": 50.0,
        "fit_s": 45.0,
        "phases": [
            {"epochs": [1, 2], "trained_stages": 0, "wall_s": 3.0},
            {"epochs": [3, 5], "trained_stages": 2, "wall_s": 15.0, "image_side": 160},
            {"epochs": [6, 8], "trained_stages": 2, "wall_s": 25.0},
        ],
        "time": {"steps": 30.0, "data": 5.0, "validation": 8.0, "checkpoints": 1.0, "other": 1.0},
        "data": {"splits": {"train": 800, "val": 60, "test": 200}, "skipped": {"train": 3}, "classes": []},
        "versions": {"torch": "2.15.0"},
        "hardware": {"platform": "Linux", "gpus": [], "threads": 2, "machine": "x86_64"},
        "finished": "2026-11-21T17:01:23+00:00",
        **changes,
    }


def entry(name: str, **values: Any) -> dict[str, Any]:
    """A metric in result.json."""
    return {**values, **FACTS[name].to_json()}


def recipe() -> dict[str, Any]:
    optimizer = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.05, "momentum": 0.9}}
    augment = [{"class_path": "albumentations.HorizontalFlip", "init_args": {"p": 0.5}}]
    return {
        "trainer": {"max_epochs": 8},
        "model": {
            "class_path": "visiontasks.ClassificationTask",
            "init_args": {"backbone": "resnet18.a1_in1k", "weights": "hub", "optimizer": optimizer},
        },
        "data": {
            "class_path": "visiontasks.Digits",
            "init_args": {"image_size": 32, "batch_size": 7, "augment": augment},
        },
        "finetune": {"freeze_epochs": 2, "unfreeze": "all"},
    }


def image(seed: int, height: int = 200, width: int = 300) -> Any:
    """A photograph's size and smoothness, so that its JPEG has about a photograph's bytes."""
    small = np.random.default_rng(seed).integers(0, 256, (height // 20 + 1, width // 20 + 1, 3))
    return np.kron(small, np.ones((20, 20, 1)))[:height, :width].astype(np.uint8)


def classifier(num_classes: int, number: int = 200, pictures: int = 24) -> RunContent:
    generator = np.random.default_rng(0)
    label = (np.arange(number) % num_classes).tolist()
    predicted = [k if generator.random() < 0.9 else int(generator.integers(num_classes)) for k in label]
    probability = generator.uniform(0.4, 1, number).tolist()
    names = [HOSTILE, 'a name with & and "quotes"', *(f"class number {k}" for k in range(2, num_classes))][:num_classes]
    shown = [
        Picture(
            image(k),
            name=f"{HOSTILE}_{k}.jpg",
            true_label=names[0],
            predicted_label=names[1],
            probability=0.99 - k / 100,
        )
        for k in range(pictures)
    ]
    return RunContent(
        name="made",
        run="runs/made/2026",
        split="test",
        result=result(),
        recipe=recipe(),
        recipe_text=f"# {HOSTILE}\nseed_everything: 0\n",
        history=history(8),
        class_names=names,
        scored=Scored(probability, label, predicted, probability),
        score=Score("probability"),
        pictures={"The most confident mistakes": shown},
        grad_cams=GradCams([(picture, 255 - picture.image) for picture in shown[:6]], (image(0), "64 filters of 7x7")),
        explained=[Explained(HOSTILE, {f"Grad-CAM of {HOSTILE}": image(1), "feature maps": image(2, 1200, 1000)})],
        time_names={"steps": "forward and backward"},
    )


def boxes() -> RunContent:
    generator = np.random.default_rng(0)
    score = [*generator.uniform(0, 1, 49).tolist(), nan]
    shown = [
        Picture(
            image(k),
            name=f"{k}.jpg",
            score=score[k],
            truth=Detections((200, 300), np.float32([[30, 20, 180, 160]])),
            prediction=Detections((200, 300), np.float32([[60, 40, 210, 180]])),
        )
        for k in range(12)
    ]
    metrics = {"test/iou": entry("iou", value=0.5, n=49, interval95=[0.42, 0.58])}
    return RunContent(
        name="boxes",
        run="runs/boxes/2026",
        split="test",
        result=result(task="LocalizationTask", metrics=metrics, headline="iou"),
        history=history(3),
        class_names=["ant", "bee"],
        scored=Scored(score, [k % 2 for k in range(50)]),
        score=Score("IoU", measures=True),
        pictures={"The 12 worst of the test split": shown},
    )


def masks() -> RunContent:
    names = ["background", "road", HOSTILE]
    grid = np.add.outer(np.arange(60), np.arange(80))
    shown = [
        Picture(
            image(k, 60, 80),
            name=f"{k}.png",
            score=0.5,
            truth=SemanticMask((grid // 30 % 3).astype(np.uint8)),
            prediction=SemanticMask(np.where(grid % 50 < 3, 255, grid // 40 % 3).astype(np.uint8)),
        )
        for k in range(4)
    ]
    metrics = {name: entry(name[5:], value=0.61, n=20) for name in ("test/miou", "test/pixel_accuracy")}
    class_iou = {"background": 0.9, "road": 0.32, HOSTILE: None}
    return RunContent(
        name="masks",
        run="runs/masks/2026",
        split="test",
        result=result(
            task="SegmentationTask", metrics=metrics, class_metrics={"test/class_iou": class_iou}, headline="miou"
        ),
        history=history(3),
        class_names=names,
        scored=Scored(np.linspace(0.1, 0.9, 20).tolist()),
        pixels=[[90_000, 5_000, 0], [2_000, 3_000, 0], [0, 0, 0]],
        score=Score("IoU", measures=True),
        pictures={"The 4 worst of the test split": shown},
    )


@pytest.fixture(scope="session")
def made_runs() -> dict[str, Callable[[], RunContent]]:
    """Contents by name, made when they are asked for."""
    return {
        "two_classes": lambda: classifier(2),
        "ten_classes": lambda: classifier(10),
        "hundred_classes": lambda: classifier(100, number=5000),
        "boxes": boxes,
        "masks": masks,
        "killed": lambda: RunContent(
            name="made", run="runs/made/2026", split="test", history=history(3), notes=["This report is partial"]
        ),
        "nothing": lambda: RunContent(name="made", run="runs/made/2026", split="test"),
    }
