"""The command `explain` as a user types it."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from visiontasks.commands.arguments import EXPLANATIONS
from visiontasks.commands.explain import Method
from visiontasks.commands.main import main
from visiontasks.tasks import ClassificationTask, LocalizationTask, SegmentationTask

Refused = Callable[[str], str]
CLASSES = ["cat", "dog", "owl"]


@pytest.fixture
def runs(saved_run: Callable[..., Path], in_tmp: Path) -> Path:
    resnet = {"backbone": "resnet20_cifar"}
    options: dict[str, Any] = {"weights": "none", "num_classes": 3}
    task: Any = ClassificationTask(**resnet, **options)
    task.head.linear.bias.data[1] = 5  # a dog
    saved_run(in_tmp / "runs" / "classify", task, resnet, CLASSES, resize="crop")
    saved_run(in_tmp / "runs" / "mask", SegmentationTask(**resnet, **options), resnet, CLASSES)
    boxes = {**resnet, "class_weight": 0.0, "box_grid": 0}
    saved_run(in_tmp / "runs" / "box", LocalizationTask(**boxes, **options), boxes, CLASSES)
    vit = {"backbone": "test_vit"}
    task = ClassificationTask(**vit, **options)
    saved_run(in_tmp / "runs" / "vit", task, vit, CLASSES, image_size=(160, 160))
    pixels = np.random.default_rng(0).integers(0, 256, (90, 150, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(in_tmp / "a.jpg")
    return in_tmp / "runs"


def explain(arguments: str) -> int:
    return main(["explain", *shlex.split(arguments)])


def test_the_command_knows_the_methods_that_there_are() -> None:
    assert get_args(Method) == EXPLANATIONS


def test_four_pictures_are_written_into_the_run_and_named(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("runs/classify a.jpg") == 0
    folder = Path("runs/classify/explain/a")
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{method}.png" for method in EXPLANATIONS)
    for method in ("grad-cam", "occlusion"):
        with Image.open(folder / f"{method}.png") as image:
            assert image.size == (150, 90)  # the photograph's own
            pixels = np.asarray(image).astype(int)
        assert pixels[:, :25].mean() < 60 < pixels[:, 40:110].mean()  # a crop does not see the first 30 columns
    classes, explained, *files, last = capsys.readouterr().out.splitlines()
    assert last == "to see them in report.html: visiontasks report runs/classify"
    assert classes.startswith("dog 0.")
    assert explained == "explained: dog"
    assert [line.split() for line in files] == [[method, str(folder / f"{method}.png")] for method in EXPLANATIONS]


def test_a_class_and_a_method_can_be_chosen(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("runs/classify a.jpg --class owl --method grad-cam --out here") == 0
    assert [path.name for path in Path("here").iterdir()] == ["grad-cam.png"]
    assert "explained: owl\n" in capsys.readouterr().out


@pytest.mark.parametrize(("run", "missing"), [("mask", 2), ("box", 2), ("vit", 2)])
def test_what_a_run_has_not_is_left_out_and_said(
    run: str, missing: int, runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert explain(f"runs/{run} a.jpg --out here") == 0
    assert len(list(Path("here").iterdir())) == 4 - missing
    refused = [line for line in capsys.readouterr().out.splitlines() if " none: " in line]
    assert len(refused) == missing
    assert refused[0].startswith("grad-cam")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("runs/none a.jpg", "no run in runs/none"),
        ("runs/classify b.jpg", "b.jpg: no such image file"),
        ("runs/classify a.jpg --class dgo", "--class dgo: runs/classify has no such class; did you mean dog"),
        ("runs/classify a.jpg --class 7", "has no such class; expected one of cat, dog, owl"),
        ("runs/classify a.jpg --method lime", "invalid choice: 'lime'"),
        ("runs/mask a.jpg --method occlusion", "SegmentationTask of this run does not classify whole images"),
        ("runs/vit a.jpg --method grad-cam", "VisionTransformer ends in features of shape"),
        ("runs/classify a.jpg b.jpg", "visiontasks explain does not take b.jpg"),
    ],
)
def test_a_wrong_command_is_refused_before_anything_is_written(
    arguments: str, message: str, runs: Path, refused: Refused
) -> None:
    assert message in refused(f"explain {arguments}")
    assert not list(Path().rglob("*.png"))
