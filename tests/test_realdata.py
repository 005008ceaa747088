"""What a user gets on real images, end to end: the commands and the Python interface against stated accuracies."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest
import timm
import torch
from lightning.pytorch import Trainer

from visiontasks import CIFAR10, ClassificationTask, FinetuneSchedule, ImageFolder, load_exported
from visiontasks.commands.main import main
from visiontasks.export.graph import missing_packages

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def mobilenet() -> str:
    """MobileNetV2 with ImageNet weights: a timm local-dir folder beside the data."""
    folder = Path(os.environ["VISIONTASKS_DATA"]).resolve().parent / "weights" / "mobilenetv2_100_imagenet"
    if not folder.is_dir():
        pytest.skip(f"no {folder.name} in {folder.parent}")
    return f"local-dir:{folder}"


@pytest.fixture(scope="module")
def pets(unpacked: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three breeds of pets3 as class folders, in the official split: train/ and test/."""
    source, root = unpacked("pets3") / "oxford-iiit-pet", tmp_path_factory.mktemp("pets")
    for split, listing in (("train", "trainval"), ("test", "test")):
        for line in (source / "annotations" / f"{listing}.txt").read_text().splitlines():
            stem = line.split()[0]
            folder = root / split / stem.rpartition("_")[0]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{stem}.jpg").symlink_to(source / "images" / f"{stem}.jpg")
    return root


@pytest.fixture(scope="module")
def trained_on_pets(pets: Path, mobilenet: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the three breeds, made once for all formats."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        overrides = ["--data.root", str(pets), "--model.backbone", mobilenet, "--trainer.max_epochs", "4"]
        assert main(["finetune", "folder_resnet", *overrides]) == 0
    return folder / "runs" / "folder_resnet"


@pytest.fixture
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def result_of(recipe: str) -> dict[str, dict[str, float]]:
    (path,) = Path("runs", recipe).glob("*/result.json")
    metrics: dict[str, dict[str, float]] = json.loads(path.read_text())["metrics"]
    return metrics


def agreement(folder: str) -> dict[str, float]:
    found: dict[str, float] = json.loads((Path(folder) / "agreement.json").read_text())
    return found


def test_folder_recipe_with_overrides_tells_three_breeds_apart(
    pets: Path, mobilenet: str, in_empty_folder: Path
) -> None:
    overrides = ["--data.root", str(pets), "--model.backbone", mobilenet, "--model.weights", "hub"]
    assert main(["finetune", "folder_resnet", *overrides]) == 0
    top1 = result_of("folder_resnet")["test/top1"]
    assert top1["n"] == 298
    assert top1["value"] >= 0.95
    assert main(["predict", "runs/folder_resnet", str(pets / "test"), "--out", "new.csv", "--device", "cpu"]) == 0
    with Path("new.csv").open(newline="") as file:
        right = sum(Path(row["image"]).parent.name == row["predicted"] for row in csv.DictReader(file))
    # the training may have computed in bfloat16, which can turn an image on the edge between two classes
    assert abs(right - top1["count"]) <= 3


def test_five_lines_of_python_tell_three_breeds_apart(pets: Path, mobilenet: str, in_empty_folder: Path) -> None:
    L.seed_everything(0)
    data = ImageFolder(str(pets), batch_size=16)
    task = ClassificationTask(mobilenet, weights="hub", num_classes=data.num_classes, backbone_lr_scale=0.1)
    schedule = FinetuneSchedule(freeze_epochs=3, train_batchnorm=False)
    trainer = Trainer(max_epochs=6, callbacks=[schedule], logger=False, use_distributed_sampler=False)
    trainer.fit(task, data)
    metrics = trainer.test(task, data)[0]
    assert metrics["test/n"] == 298
    assert metrics["test/top1"] >= 0.95


@pytest.mark.parametrize("form", ["onnx", "torch-export", "folder"])
def test_an_export_says_of_photographs_what_the_run_says(
    form: str, trained_on_pets: Path, in_empty_folder: Path
) -> None:
    if form == "onnx":
        pytest.importorskip("onnxruntime", reason="onnx is not installed")
    assert main(["export", str(trained_on_pets), "out", "--format", form]) == 0
    if form == "folder":
        assert load_exported("out").class_names == ("Abyssinian", "american_bulldog", "Bengal")
        return
    found = agreement("out")
    assert (found["images"], found["flips"]) == (200, 0)
    assert found["probability"] < 2e-3  # photographs that are enlarged differ by a grey level in 1 % of the pixels


def test_lenet_learns_mnist_in_three_epochs(unpacked: Callable[[str], Path], in_empty_folder: Path) -> None:
    overrides = ["--data.root", str(unpacked("mnist")), "--data.download", "false", "--trainer.max_epochs", "3"]
    assert main(["finetune", "mnist_lenet", *overrides]) == 0
    top1 = result_of("mnist_lenet")["test/top1"]
    assert top1["n"] == 10_000
    assert top1["value"] >= 0.985


def test_folder_recipe_boxes_raccoons(unpacked: Callable[[str], Path], mobilenet: str, in_empty_folder: Path) -> None:
    data = ["--data.root", str(unpacked("raccoon")), "--data.splits", '{"train": "train.txt", "test": "val.txt"}']
    single = ["--data.multiple", "refuse", "--data.on_bad_sample", "skip"]
    epochs = ["--trainer.max_epochs", "10", "--finetune.freeze_epochs", "3"]
    assert main(["finetune", "folder_localize", *data, *single, *epochs, "--model.backbone", mobilenet]) == 0
    result = result_of("folder_localize")
    assert result["test/iou"]["n"] == 37
    assert result["test/iou"]["value"] >= 0.6  # 40 epochs: see the recipe's header
    if not missing_packages():
        assert main(["export", "runs/folder_localize", "out", "--format", "onnx"]) == 0
        assert agreement("out")["box_px"] < 0.2


def test_pets_recipe_segments_trimaps(unpacked: Callable[[str], Path], mobilenet: str, in_empty_folder: Path) -> None:
    data = ["--data.root", str(unpacked("pets3")), "--data.download", "false"]
    epochs = ["--trainer.max_epochs", "3"]
    assert main(["finetune", "pets_segment_unet_resnet", *data, *epochs, "--model.backbone", mobilenet]) == 0
    result = result_of("pets_segment_unet_resnet")
    assert result["test/miou"]["n"] == 298
    assert result["test/miou"]["value"] >= 0.6  # 12 epochs: see the recipe's header
    if not missing_packages():
        assert main(["export", "runs/pets_segment_unet_resnet", "out", "--format", "onnx"]) == 0
        assert agreement("out")["flips"] == 0


def test_shipped_weights_have_the_accuracy_their_recipe_states(unpacked: Callable[[str], Path]) -> None:
    data = CIFAR10(str(unpacked("cifar10-images")), image_size=32, batch_size=500)
    data.setup()
    net = timm.create_model("resnet20_cifar.vt_cifar10", pretrained=True).eval()
    mean, std = (255 * torch.tensor(net.pretrained_cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    correct = 0
    with torch.no_grad():
        for batch in data.test_dataloader():
            logits = net((batch["image"] - mean) / std)
            correct += int((logits.argmax(1) == batch["label"]).sum())
    assert correct >= 8500  # of 10,000; the recipe's header has the number measured with bf16
