"""Going on from a finished classification run: everything is loaded or refused, and what is to stay stays."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.optim import SGD

from visiontasks.backbones import save_config
from visiontasks.errors import InputError, MissingFileError
from visiontasks.finetune.schedule import FinetuneSchedule
from visiontasks.heads import LinearHead, MLPHead
from visiontasks.tasks import ClassificationTask, LocalizationTask

Batch = dict[str, Any]
MakeBatch = Callable[..., Batch]
Fit = Callable[..., Trainer]

CLASSES = ["cat", "dog", "owl"]

pytestmark = pytest.mark.filterwarnings("ignore:Found .* in eval mode at the start of training:UserWarning")


class NormedHead(nn.Module):
    """Running statistics and dropout, both of which differ in train mode."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(in_features)
        self.dropout = nn.Dropout(0.5)
        self.linear = nn.Linear(in_features, num_classes)

    def forward(self, feature: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.dropout(self.norm(feature)))
        return logits


def trained(head: Any = LinearHead, num_classes: int = 3) -> ClassificationTask:
    torch.manual_seed(1)
    task = ClassificationTask("resnet20_cifar", weights="none", num_classes=num_classes, head=head)
    for parameter in task.parameters():
        nn.init.normal_(parameter, std=0.1)
    return task


def write_run(folder: Path, task: Any, class_names: list[str] = CLASSES) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "recipe.yaml").write_text("")
    content = {"state_dict": task.state_dict(), "visiontasks": {"class_names": class_names}}
    torch.save(content, folder / "checkpoints" / "best.ckpt")
    return folder


def localize(run: Path, **options: Any) -> LocalizationTask:
    torch.manual_seed(0)
    defaults = {"backbone": "resnet20_cifar", "weights": "none", "num_classes": 3, "classifier": str(run)}
    return LocalizationTask(**defaults | {"optimizer": partial(SGD, lr=0.1, weight_decay=0.1)} | options)


@pytest.fixture
def batch(make_batch: MakeBatch) -> Batch:
    batch = make_batch(4, 3)  # of 8 px
    return batch | {"boxes": [torch.tensor([[0.8, 1.6, 4.8, 7.2]])] * 4, "labels": list(batch["label"][:, None])}


@pytest.mark.parametrize("where", ["run", "recipe", "file"])
def test_backbone_and_class_head_are_those_of_the_run(where: str, batch: Batch, tmp_path: Path) -> None:
    classifier = trained().eval()
    write_run(tmp_path / "pets" / "2026-01-01", trained(num_classes=2))
    run = write_run(tmp_path / "pets" / "2026-01-02", classifier)
    given = {"run": run, "recipe": tmp_path / "pets", "file": run / "checkpoints" / "best.ckpt"}[where]
    task = localize(given).eval()
    assert task.predict(batch)["probability"].equal(classifier.predict(batch)["probability"])
    assert not task.head.freeze_classes


def test_mean_and_std_are_those_that_the_run_was_trained_with(tmp_path: Path) -> None:
    classifier = trained()
    run = write_run(tmp_path / "run", classifier)
    assert localize(run).mean.flatten().tolist() != [25.5, 51.0, 76.5]
    classifier.backbone.pretrained_cfg["mean"] = (0.1, 0.2, 0.3)
    save_config(classifier.backbone, run / "backbone")
    assert localize(run).mean.flatten().tolist() == pytest.approx([25.5, 51.0, 76.5])
    with pytest.raises(InputError, match="is of resnet20_cifar, but model.init_args.backbone is resnet32_cifar"):
        localize(run, backbone="resnet32_cifar")


def test_a_box_head_alone_leaves_the_classifier_as_it_is(batch: Batch, fit: Fit, tmp_path: Path) -> None:
    classifier = trained(NormedHead).eval()
    run = write_run(tmp_path / "run", classifier)
    task = localize(run, class_head=NormedHead, class_weight=0.0)
    before = task.state_dict()
    before = {name: tensor.clone() for name, tensor in before.items()}
    trainer = fit(task, [batch] * 3, FinetuneSchedule(unfreeze="never"), val=[batch], epochs=2)
    changed = {name for name, tensor in task.state_dict().items() if not tensor.equal(before[name])}
    assert {name.rpartition(".")[0] for name in changed} == {
        "head.boxes.coordinates.hidden.0",
        "head.boxes.coordinates.classifier.linear",
    }
    assert not any(module.training for module in task.train().head.classes.modules())
    assert task.head.boxes.training
    smaller = batch | {"boxes": [boxes / 2 for boxes in batch["boxes"]]}
    assert trainer.callback_metrics["val/loss"] < 0.9 * task.eval().training_loss(smaller)
    expected = classifier.predict(batch)["probability"]
    assert task.predict(batch)["probability"].equal(expected)
    top1 = (expected.argmax(1) == batch["label"]).float().mean()
    assert trainer.callback_metrics["val/top1"] == top1


def test_the_box_of_each_class_is_trained_on_a_fixed_classifier(batch: Batch, fit: Fit, tmp_path: Path) -> None:
    task = localize(write_run(tmp_path / "run", trained()), class_weight=0.0, per_class_boxes=True)
    fit(task, [batch], FinetuneSchedule(unfreeze="never"))
    assert task.head.boxes.coordinates.classifier.linear.bias.view(3, 4).any(1).all()


def test_end_to_end_trains_the_class_head_and_then_the_backbone(batch: Batch, fit: Fit, tmp_path: Path) -> None:
    classifier = trained()
    task = localize(write_run(tmp_path / "run", classifier))
    stem, linear = classifier.backbone.conv1.weight, classifier.head.linear.weight
    fit(task, [batch], FinetuneSchedule(unfreeze="never"))
    assert task.backbone.conv1.weight.equal(stem)
    assert not task.head.classes.linear.weight.equal(linear)
    fit(task, [batch], FinetuneSchedule(1), epochs=2)
    assert not task.backbone.conv1.weight.equal(stem)


def test_a_localization_run_is_a_classifier_too(batch: Batch, tmp_path: Path) -> None:
    first = localize(write_run(tmp_path / "first", trained())).eval()
    second = localize(write_run(tmp_path / "second", first)).eval()
    assert second.predict(batch)["probability"].equal(first.predict(batch)["probability"])


def test_the_data_must_have_the_classes_of_the_run_in_their_order(tmp_path: Path) -> None:
    task = localize(write_run(tmp_path / "run", trained()))
    task.check_class_names(CLASSES)
    with pytest.raises(InputError, match="trained on the classes cat, dog, owl, but the data has dog, cat, owl"):
        task.check_class_names(["dog", "cat", "owl"])
    LocalizationTask("resnet20_cifar", weights="none", num_classes=2).check_class_names(["any", "two"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 4}, r"tells 3 classes apart \(cat, dog, owl\), but the data has 4: give a run"),
        ({"num_classes": 1}, "but the data has 1"),
        (
            {"class_head": MLPHead},
            "fit the head .*hidden.0.weight is missing.*: set model.init_args.class_head",
        ),
        ({"backbone": "resnet32_cifar"}, "does not fit the backbone .*layer1.3.conv1.weight is missing"),
        ({"in_chans": 1}, r"backbone .*conv1.weight is \(16, 3, 3, 3\) and should be \(16, 1, 3, 3\)"),
    ],
    ids=str,
)
def test_a_run_that_does_not_fit_is_refused_by_name(options: Any, message: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", trained())
    with pytest.raises(InputError, match=f"(?s)model.init_args.classifier {run}.*{message}"):
        localize(run, **options)


def test_what_is_no_classification_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="model.init_args.classifier: no run in .*nowhere"):
        localize(tmp_path / "nowhere")
    unfinished = write_run(tmp_path / "unfinished", trained())
    (unfinished / "checkpoints" / "best.ckpt").unlink()
    with pytest.raises(MissingFileError, match="ended before the first validation"):
        localize(unfinished)
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes(b"no zip")
    with pytest.raises(InputError, match="classifier .*broken.ckpt cannot be read: truncated, altered"):
        localize(broken)
    torch.save({"state_dict": {}}, broken)
    with pytest.raises(InputError, match="is no checkpoint of visiontasks: give a run that `finetune` made"):
        localize(broken)
    boxes_alone = LocalizationTask("resnet20_cifar", weights="none", num_classes=3, class_weight=0.0)
    with pytest.raises(InputError, match=r"has no tensors head.classes.\*: give a run of ClassificationTask"):
        localize(write_run(tmp_path / "boxes", boxes_alone))
