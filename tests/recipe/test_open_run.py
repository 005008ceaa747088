"""A finished run is opened without its data and predicts as it did; what is wrong is named."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from visiontasks.backbones import Normalization
from visiontasks.errors import InputError, MissingFileError
from visiontasks.heads import MLPHead
from visiontasks.recipe.open_run import open_run
from visiontasks.tasks import ClassificationTask, LocalizationTask, SegmentationTask

SavedRun = Callable[..., Path]
Predicted = Callable[..., dict[str, Any]]
CLASSES = ["cat", "dog", "owl"]


def randomized(task: Any) -> Any:
    """Weights and running statistics that no construction gives."""
    generator = torch.Generator().manual_seed(3)
    for values in task.state_dict().values():
        if values.is_floating_point():
            values.copy_(0.1 + 0.1 * torch.rand(values.shape, generator=generator))
    return task.eval()


def images(side_px: int = 32) -> dict[str, Any]:
    shape = (2, 3, side_px, side_px)
    image = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return {"image": image, "geometry": torch.tensor([[20, 30, 32, 32, 32, 32, 0, 0]] * 2)}


def altered(run: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A run whose checkpoint is another one."""
    path = run / "checkpoints" / "best.ckpt"
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    return run


@pytest.fixture
def classifier(saved_run: SavedRun, tmp_path: Path) -> Path:
    options = {"backbone": "lenet5", "in_chans": 3}
    task = randomized(ClassificationTask(**options, weights="none", num_classes=3))
    return saved_run(tmp_path / "runs" / "pets" / "2026-01-02", task, options, CLASSES)


def test_everything_that_prediction_needs_comes_from_the_checkpoint(classifier: Path) -> None:
    (classifier / "recipe.yaml").write_text("what stands here does not matter")
    trained = open_run(classifier)
    assert trained.folder == classifier
    assert trained.class_names == ("cat", "dog", "owl")
    assert (trained.image_size, trained.resize) == ((32, 32), "squash")
    assert trained.recipe["data"]["init_args"] == {"batch_size": 4}
    assert trained.normalization == Normalization((pytest.approx(0.1307),) * 3, (pytest.approx(0.3081),) * 3)
    assert not trained.task.training
    assert {p.dtype for p in trained.task.parameters()} == {torch.float32}


def test_of_a_folder_of_runs_the_newest_is_read(classifier: Path) -> None:
    shutil.copytree(classifier, classifier.with_name("2026-01-01"))
    assert open_run(str(classifier.parent)).folder == classifier


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (ClassificationTask, {"backbone": "resnet20_cifar"}),
        (ClassificationTask, {"backbone": "lenet5", "in_chans": 1}),
        (ClassificationTask, {"backbone": "resnet20_cifar", "class_weights": "balanced", "label_smoothing": 0.1}),
        (LocalizationTask, {"backbone": "resnet20_cifar", "box_grid": 2}),
        (LocalizationTask, {"backbone": "resnet20_cifar", "box_grid": 0, "class_weight": 0.0}),
        (LocalizationTask, {"backbone": "resnet20_cifar", "box_grid": 0, "num_objects": 2}),
        (LocalizationTask, {"backbone": "resnet20_cifar", "box_grid": 0, "per_class_boxes": True}),
        (SegmentationTask, {"backbone": "resnet20_cifar"}),
        (SegmentationTask, {"backbone": "resnet20_cifar", "window": 16}),
    ],
    ids=str,
)
def test_the_network_predicts_what_the_trained_one_predicted(
    kind: Any, options: dict[str, Any], saved_run: SavedRun, predicted: Predicted, tmp_path: Path
) -> None:
    task = randomized(kind(**options, weights="none", num_classes=3))
    trained = open_run(saved_run(tmp_path / "run", task, options, CLASSES))
    expected, found = predicted(task, images()), predicted(trained.task, images())
    assert type(trained.task) is kind
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert all(np.array_equal(one, other) for one, other in zip(found[name], values, strict=True))


def test_boxes_on_a_frozen_class_head_need_no_other_run(
    saved_run: SavedRun, predicted: Predicted, tmp_path: Path
) -> None:
    options = {"backbone": "lenet5", "in_chans": 3, "freeze_classes": True, "box_grid": 0, "class_weight": 0.0}
    task = randomized(LocalizationTask(**options, weights="none", num_classes=3))
    run = saved_run(tmp_path / "boxes", task, options, CLASSES)
    found, expected = predicted(open_run(run).task, images()), predicted(task, images())
    assert found["probability"].equal(expected["probability"])
    assert found["boxes"].equal(expected["boxes"])


def test_without_the_folder_backbone_the_recipes_network_is_made_with_the_mean_and_std_of_the_training(
    saved_run: SavedRun, predicted: Predicted, tmp_path: Path
) -> None:
    options = {"backbone": "resnet20_cifar"}
    task = randomized(ClassificationTask(**options, weights="none", num_classes=3))
    task.mean.fill_(51.0)
    task.std.fill_(25.5)
    run = saved_run(tmp_path / "run", task, options, CLASSES)
    shutil.rmtree(run / "backbone")
    trained = open_run(run)
    assert trained.task.mean.flatten().tolist() == pytest.approx([51.0] * 3)
    found, expected = predicted(trained.task, images()), predicted(task, images())
    torch.testing.assert_close(found["probability"], expected["probability"])


def test_a_backbone_that_lay_elsewhere_is_named_when_it_is_gone(classifier: Path) -> None:
    shutil.rmtree(classifier / "backbone")

    def move(content: dict[str, Any]) -> None:
        recipe = yaml.safe_load(content["visiontasks"]["recipe"])
        recipe["model"]["init_args"]["backbone"] = "local-dir:/gone/weights"
        content["visiontasks"]["recipe"] = yaml.safe_dump(recipe)

    with pytest.raises(InputError, match="/gone/weights"):
        open_run(altered(classifier, move))


def test_a_run_that_is_not_there_or_has_no_checkpoint_is_named(classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no run in .*nowhere"):
        open_run(tmp_path / "nowhere")
    (classifier / "checkpoints" / "best.ckpt").unlink()
    with pytest.raises(MissingFileError, match="best.ckpt: its training ended before the first validation"):
        open_run(classifier)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda content: content.pop("visiontasks"),
            "is not a visiontasks checkpoint: give a run that `finetune` made",
        ),
        (
            lambda content: content["visiontasks"].pop("preprocessing"),
            "has no preprocessing in its entry visiontasks: another version .* wrote it",
        ),
        (lambda content: content["visiontasks"].pop("class_names"), "has no class_names in its entry"),
        (lambda content: content["visiontasks"].update(recipe="- no mapping"), "cannot be read"),
        (lambda content: content["visiontasks"].update(recipe="model: {"), "cannot be read"),
        (lambda content: content["visiontasks"]["preprocessing"].update(resize="stretch"), "resizes .* by 'stretch'"),
        (lambda content: content["visiontasks"]["preprocessing"].update(image_size=[32]), r"image_size \[32\]"),
        (lambda content: content["state_dict"].pop("head.linear.weight"), "do not fit .*head.linear.weight"),
        (lambda content: content["visiontasks"]["class_names"].append("emu"), "do not fit .*size mismatch"),
        (
            lambda content: content["visiontasks"]["preprocessing"].pop("mean"),
            r"entry visiontasks cannot be read \(Key",
        ),
        (lambda content: content.update(visiontasks=["recipe"]), "has no recipe, class_names, preprocessing in its"),
    ],
    ids=["foreign", "preprocessing", "classes", "list", "yaml", "resize", "size", "weights", "class", "mean", "entry"],
)
def test_a_checkpoint_that_cannot_be_used_is_refused_by_name(
    change: Callable[[dict[str, Any]], None], message: str, classifier: Path
) -> None:
    with pytest.raises(InputError, match=f"(?s)best.ckpt.*{message}|{message}.*best.ckpt"):
        open_run(altered(classifier, change))


@pytest.mark.filterwarnings("ignore:(?s).*Importing .* is not allowed")
@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"class_path": "os.system", "init_args": {"command": "true"}}, "os.system"),
        ({"class_path": "visiontasks.ImageFolder", "init_args": {"root": "x"}}, "ImageFolder"),
        ({"class_path": "visiontasks.NoTask", "init_args": {}}, "NoTask"),
        ({"class_path": "visiontasks.ClassificationTask", "init_args": {"backbone": "lenet5", "hed": 1}}, "hed"),
        ({"class_path": "visiontasks.ClassificationTask", "init_args": {"backbone": "lenet6"}}, "lenet6"),
        (
            {
                "class_path": "visiontasks.ClassificationTask",
                "init_args": {"backbone": "lenet5", "head": {"class_path": "subprocess.Popen", "init_args": {}}},
            },
            "Popen",
        ),
    ],
    ids=["function", "data", "unknown", "key", "backbone", "head"],
)
def test_a_recipe_that_names_something_else_is_refused_and_nothing_of_it_is_run(
    section: dict[str, Any], message: str, classifier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.system", lambda *_: pytest.fail("was run"))
    shutil.rmtree(classifier / "backbone")

    def rewrite(content: dict[str, Any]) -> None:
        content["visiontasks"]["recipe"] = yaml.safe_dump({"model": section, "data": {"init_args": {}}})

    with pytest.raises(InputError, match=message):
        open_run(altered(classifier, rewrite))


def test_a_head_of_the_recipe_is_made(saved_run: SavedRun, tmp_path: Path) -> None:
    head = {"class_path": "visiontasks.heads.MLPHead", "init_args": {"hidden_features": [7]}}
    task = randomized(ClassificationTask("lenet5", weights="none", num_classes=3, head=lambda d, k: MLPHead(d, k, [7])))
    run = saved_run(tmp_path / "run", task, {"backbone": "lenet5", "head": head}, CLASSES)
    assert open_run(run).task.head.hidden[0].out_features == 7  # type: ignore[union-attr, index]
