"""Every shipped recipe: it says how to run it, its names exist, and it trains on made data in its source's format."""

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from timm.models import get_pretrained_cfg
from torch import Tensor

from visiontasks.backbones import check_name
from visiontasks.data import CIFAR10
from visiontasks.data.datasets import mnist
from visiontasks.downloads import DOWNLOADS
from visiontasks.recipe import describe, read_recipe, recipes_dir
from visiontasks.recipe.cli import RecipeCLI
from visiontasks.tasks import ClassificationTask
from visiontasks.training.precision import resolve_precision

RECIPES = sorted(recipes_dir().glob("*.yaml"))
each_recipe = pytest.mark.parametrize("path", RECIPES, ids=[path.stem for path in RECIPES])

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*TensorBoardLogger"),
    pytest.mark.filterwarnings("ignore:.*sync_dist=True"),
]


def write_table(root: Path) -> None:
    """A table of two labels for each image of class folders but the first, which has none."""
    first, *others = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    rows = [f"{path},{path.partition('/')[0]}|pet" for path in others]
    (root / "labels.csv").write_text("\n".join(["path,labels", f"{first},", *rows]))


@pytest.fixture
def offline(
    tmp_path: Path,
    class_folders: Callable[..., Path],
    write_scenes: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Path], list[str]]:
    """Overrides that give a recipe random weights and made data in the layout of its source."""

    def overrides(path: Path) -> list[str]:
        recipe = describe(path)
        backbone = narrow_vgg(tmp_path / "vgg") if recipe.backbone.startswith("vgg") else recipe.backbone
        return ["--model.backbone", backbone, "--model.weights", "none", *made_data(recipe.data)]

    def made_data(source: str) -> list[str]:
        if source in ("Digits", "DigitGroups", "DigitScenes"):  # lie inside scikit-learn
            return []
        if source == "MNIST":
            for name, n in (("train-images-idx3", 40), ("train-labels-idx1", 40), ("t10k-images-idx3", 10)):
                monkeypatch.setitem(mnist.MD5, f"{name}-ubyte", write_idx(tmp_path, f"{name}-ubyte", n))
            monkeypatch.setitem(mnist.MD5, "t10k-labels-idx1-ubyte", write_idx(tmp_path, "t10k-labels-idx1-ubyte", 10))
        elif source == "CIFAR10":
            classes = CIFAR10().class_names
            folders = {f"{split}/{name}": n for split, n in (("train", 4), ("test", 1)) for name in classes}
            class_folders(tmp_path, folders, size=(32, 32))
        elif source == "ImageFolder":
            class_folders(tmp_path, {"cat": 8, "dog": 8, "bird": 8})
        elif source == "TableLabels":
            write_table(class_folders(tmp_path, {"cat": 8, "dog": 8, "bird": 8}))
        elif source in ("DetectionFolder", "VOCBoxes", "MaskFolder", "OxfordPets", "VOCSegmentation"):
            write_scenes(tmp_path, "VOCBoxes" if source == "DetectionFolder" else source)
        else:
            pytest.fail(f"no made data for {source}: add some here")
        download = ["--data.download", "false"] if source in DOWNLOADS else []
        return ["--data.root", str(tmp_path), *download]

    return overrides


def narrow_vgg(folder: Path) -> str:
    """VGG-16 with 64 instead of 4096 channels in fc6, which would make 134 M parameters and a test of 10 s."""
    folder.mkdir()
    cfg = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "input_size": (3, 224, 224), "num_classes": 1000}
    config = {"architecture": "vgg16_bn", "model_args": {"mlp_ratio": 1 / 64}, "pretrained_cfg": cfg}
    (folder / "config.json").write_text(json.dumps(config))
    return f"local-dir:{folder}"


def write_idx(root: Path, name: str, n: int) -> str:
    """Write one of MNIST's files with n images or labels; its md5."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    shape = (n, 28, 28) if "images" in name else (n,)
    values = np.random.default_rng(0).integers(0, 256, shape) if len(shape) == 3 else np.arange(n) % 10
    header = bytes((0, 0, 8, len(shape))) + np.array(shape, dtype=">u4").tobytes()
    content = header + values.astype(np.uint8).tobytes()
    (folder / name).write_bytes(content)
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@each_recipe
def test_recipe_says_how_it_is_run(path: Path) -> None:
    head = path.read_text().partition("\nseed_everything:")[0].splitlines()
    assert all(line.startswith("#") for line in head)
    assert any(line.split() == ["#", "make", "finetune", f"RECIPE={path.stem}"] for line in head) or any(
        line.startswith(f"#   make finetune RECIPE={path.stem} ARGS=") for line in head
    )


@each_recipe
def test_recipe_fixes_its_seed(path: Path) -> None:
    assert isinstance(read_recipe(path)["seed_everything"], int)


@each_recipe
def test_backbone_and_the_weights_that_the_recipe_wants_exist(path: Path) -> None:
    init_args = read_recipe(path)["model"]["init_args"]
    check_name(init_args["backbone"])
    if init_args["weights"] == "hub":
        cfg = get_pretrained_cfg(init_args["backbone"])
        assert cfg is not None
        assert cfg.has_weights
    else:
        assert init_args["weights"] == "none"


@each_recipe
def test_parsed_recipe_holds_every_value_of_the_file(path: Path, offline: Callable[[Path], list[str]]) -> None:
    content = read_recipe(path)
    resolved = yaml.safe_load(RecipeCLI(["--config", str(path), *offline(path)]).dump())
    for section, overridden in (("model", ("backbone", "weights")), ("data", ("root", "download"))):
        for key in overridden:
            content[section]["init_args"].pop(key, None)
    if content["trainer"].get("precision") == "auto":
        content["trainer"]["precision"] = resolve_precision("auto", "auto")
    assert missing(content, resolved) == []


def missing(part: Any, whole: Any, key: str = "") -> list[str]:
    """Keys of a recipe whose value a resolved recipe does not have; class names may have got their module."""
    if isinstance(part, dict):
        return [name for k in part for name in missing(part[k], (whole or {}).get(k), f"{key}.{k}")]
    if isinstance(part, list):
        return [name for i, item in enumerate(part) for name in missing(item, whole[i], f"{key}.{i}")]
    same = whole.rpartition(".")[2] == part if key.endswith("class_path") else whole == part
    return [] if same else [f"{key}: {part!r} became {whole!r}"]


@each_recipe
def test_recipe_fits_two_batches(path: Path, offline: Callable[[Path], list[str]], tmp_path: Path) -> None:
    init_args = read_recipe(path)["data"]["init_args"]
    is_large = np.max(init_args.get("image_size", 64)) > 64
    # A big network on small images in float32: bfloat16 is slow on most CPUs, and small recipes test it.
    small = ["--data.image_size", "32", "--trainer.precision", "32-true"] if is_large else []
    if init_args.get("resize") == "keep":
        small += ["--data.resize", "squash"]
    cli = RecipeCLI(
        [
            *("--config", str(path), *offline(path), *small),
            *("--finetune.freeze_epochs", "0", "--trainer.max_epochs", "1", "--trainer.check_val_every_n_epoch", "1"),
            *("--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1", "--trainer.logger", "false"),
            *("--trainer.enable_checkpointing", "false", "--data.batch_size", "4", "--data.num_workers", "0"),
        ]
    )
    if cli.model.needs_class_counts:
        cli.model.balance(cli.datamodule.class_counts)
    batches: list[dict[str, Tensor]] = []
    losses: list[float] = []
    training_loss = cli.model.training_loss

    def watched_loss(batch: dict[str, Tensor]) -> Tensor:
        loss = training_loss(batch)
        batches.append(batch)
        losses.append(loss.item())
        return loss

    cli.model.training_loss = watched_loss
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)

    if isinstance(cli.model, ClassificationTask):
        assert losses[0] == pytest.approx(math.log(cli.datamodule.num_classes), abs=1e-3)  # a head of zeros guesses
    assert losses[1] != losses[0]
    assert np.isfinite(losses).all()
    assert 0 <= float(cli.trainer.callback_metrics[cli.model.monitor]) <= 1
    training_loss(batches[0]).backward()
    assert [name for name, p in cli.model.named_parameters() if p.grad is None or not bool(p.grad.any())] == []
