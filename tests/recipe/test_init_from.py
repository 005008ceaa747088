"""A training that starts from an earlier run: what fits is loaded and printed, rows of classes go by their names."""

import json
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader

from visiontasks.commands.evaluate import evaluate
from visiontasks.commands.finetune import finetune
from visiontasks.commands.main import main
from visiontasks.errors import InputError, MissingFileError
from visiontasks.finetuning.schedule import FinetuneSchedule
from visiontasks.heads import FCNHead, LinearHead, MLPHead
from visiontasks.recipe import find_recipe
from visiontasks.recipe.init_from import read_start, weights_note
from visiontasks.tasks import ClassificationTask, LocalizationTask, SegmentationTask

Batch = dict[str, Any]
SavedRun = Callable[..., Path]
Predicted = Callable[..., dict[str, Tensor]]

CLASSES = ["cat", "dog", "owl"]
OTHERS = ["owl", "emu", "cat", "bee"]
RESNET = {"backbone": "resnet20_cifar"}

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*TensorBoardLogger"),
    pytest.mark.filterwarnings("ignore:.*sync_dist=True"),
    pytest.mark.filterwarnings("ignore:.*Experiment logs directory"),
    pytest.mark.filterwarnings("ignore:Found .* in eval mode at the start of training:UserWarning"),
]


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


def trained(head: Any = LinearHead, num_classes: int = 3, kind: Any = ClassificationTask, **options: Any) -> Any:
    torch.manual_seed(1)
    heads = {} if head is None else {"head": head}
    task = kind(**RESNET, weights="none", num_classes=num_classes, **heads, **options)
    for parameter in task.parameters():
        nn.init.normal_(parameter, std=0.1)
    return task.eval()


def started(run: Path, class_names: Sequence[str] = CLASSES, kind: Any = LocalizationTask, **options: Any) -> Any:
    """A new task that starts from a run, and the line about it."""
    start = read_start(str(run))
    torch.manual_seed(0)
    defaults = {**RESNET, "weights": str(start.path), "optimizer": partial(SGD, lr=0.1, weight_decay=0.1)}
    task = kind(**defaults | {"num_classes": len(class_names)} | options)
    return task, start.fill_head(task, class_names)


def frozen(run: Path, **options: Any) -> Any:
    return started(run, **{"class_weight": 0.0, "freeze_classes": True} | options)[0]


@pytest.fixture
def write_run(saved_run: SavedRun, tmp_path: Path) -> Callable[..., Path]:
    """`write_run(task)`: a task as a finished run of the classes cat, dog and owl."""
    return lambda task, name="run", classes=CLASSES: saved_run(tmp_path / name, task, RESNET, classes)


@pytest.fixture
def batch() -> Batch:
    image = torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(4))
    label, index = torch.tensor([0, 1, 2, 0]), torch.arange(4)
    objects = {"boxes": [8 * torch.tensor([[0.1, 0.2, 0.6, 0.9]])] * 4, "labels": list(label.split(1))}
    return {"image": image, "index": index, "geometry": torch.tensor([[8] * 6 + [0, 0]] * 4), "label": label, **objects}


def fit(task: Any, batches: list[Batch], schedule: FinetuneSchedule, *, val: Any = None, epochs: int = 1) -> Trainer:
    silent: Any = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = Trainer(max_epochs=epochs, callbacks=[schedule], enable_checkpointing=False, **silent)
    trainer.fit(task, *(DataLoader(part, batch_size=None) for part in (batches, val or batches[:1])))
    return trainer


@pytest.mark.parametrize("where", ["run", "recipe", "file"])
def test_backbone_and_class_head_are_those_of_the_run(
    where: str, batch: Batch, write_run: Callable[..., Path], predicted: Predicted, tmp_path: Path
) -> None:
    classifier = trained()
    write_run(trained(num_classes=2), "pets/2026-01-01", ["cat", "dog"])
    run = write_run(classifier, "pets/2026-01-02")
    given = {"run": run, "recipe": tmp_path / "pets", "file": run / "checkpoints" / "best.ckpt"}[where]
    task, note = started(given)
    assert predicted(task.eval(), batch)["probability"].squeeze(1).equal(predicted(classifier, batch)["probability"])
    assert not task.head.freeze_classes
    tensors = len(classifier.backbone.state_dict())
    assert f"loaded {tensors} tensors of the backbone and 2 of 6 of the head; the same 3 classes" in note
    assert "head.boxes.coordinates.hidden.0.weight is not in the run" in note


def test_mean_and_std_are_those_that_the_run_was_trained_with(write_run: Callable[..., Path]) -> None:
    classifier = trained()
    assert started(write_run(classifier))[0].mean.flatten().tolist() != [25.5, 51.0, 76.5]
    classifier.backbone.pretrained_cfg["mean"] = (0.1, 0.2, 0.3)
    assert started(write_run(classifier, "other"))[0].mean.flatten().tolist() == pytest.approx([25.5, 51.0, 76.5])


def test_a_box_head_alone_leaves_the_classifier_as_it_is(
    batch: Batch, write_run: Callable[..., Path], predicted: Predicted
) -> None:
    classifier = trained(NormedHead)
    task = frozen(write_run(classifier), class_head=NormedHead)
    before = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    trainer = fit(task, [batch] * 3, FinetuneSchedule(unfreeze="never"), val=[batch], epochs=2)
    changed = {name for name, tensor in task.state_dict().items() if not tensor.equal(before[name])}
    assert {name.rpartition(".")[0] for name in changed} == {
        "head.boxes.coordinates.hidden.0",
        "head.boxes.coordinates.classifier.linear",
    }
    assert not any(module.training for module in task.train().head.classes.modules())
    assert task.head.boxes.training
    assert trainer.callback_metrics["val/loss"] < 0.9 * task.eval().training_loss(
        batch | {"boxes": [box / 2 for box in batch["boxes"]]}
    )
    expected = predicted(classifier, batch)["probability"]
    assert predicted(task, batch)["probability"].squeeze(1).equal(expected)
    top1 = (expected.argmax(1) == batch["label"]).float().mean()
    assert trainer.callback_metrics["val/top1"] == top1


def test_the_box_of_each_class_is_trained_on_a_fixed_classifier(batch: Batch, write_run: Callable[..., Path]) -> None:
    task = frozen(write_run(trained()), per_class_boxes=True)
    fit(task, [batch], FinetuneSchedule(unfreeze="never"))
    assert task.head.boxes.coordinates.classifier.linear.bias.view(3, 4).any(1).all()


def test_end_to_end_trains_the_class_head_and_then_the_backbone(batch: Batch, write_run: Callable[..., Path]) -> None:
    classifier = trained()
    task, _ = started(write_run(classifier))
    stem, linear = classifier.backbone.conv1.weight, classifier.head.linear.weight
    fit(task, [batch], FinetuneSchedule(unfreeze="never"))
    assert task.backbone.conv1.weight.equal(stem)
    assert not task.head.classes.linear.weight.equal(linear)
    fit(task, [batch], FinetuneSchedule(1), epochs=2)
    assert not task.backbone.conv1.weight.equal(stem)


def test_a_localization_run_starts_another_one_and_a_classification(
    batch: Batch, write_run: Callable[..., Path], predicted: Predicted
) -> None:
    first = trained(None, kind=LocalizationTask)
    run = write_run(first)
    second, note = started(run)
    assert "6 of 6 of the head; the same 3 classes" in note
    assert all(tensor.equal(first.state_dict()[name]) for name, tensor in second.state_dict().items())
    classes, note = started(run, kind=ClassificationTask)
    assert "2 of 2 of the head" in note
    assert "not loaded: unexpected tensor head.boxes.coordinates" in note
    assert predicted(classes.eval(), batch)["probability"].equal(predicted(first, batch)["probability"].squeeze(1))


def test_rows_of_shared_classes_are_taken_over_by_name(write_run: Callable[..., Path]) -> None:
    classifier = trained()
    classifier.head.linear.weight.data = torch.arange(3.0)[:, None].expand(3, 64).clone()
    classifier.head.linear.bias.data = torch.tensor([10.0, 20.0, 30.0])  # cat, dog, owl
    task, note = started(write_run(classifier), OTHERS, ClassificationTask)
    assert task.head.linear.weight[:, 0].tolist() == [2, 0, 0, 0]  # owl, emu (new), cat, bee (new): which start at 0
    assert task.head.linear.bias.tolist() == [30, 0, 10, 0]
    assert "2 of 2 of the head; classes taken over: owl, cat; new classes: emu, bee" in note


def test_the_order_of_the_classes_is_the_datas(
    batch: Batch, write_run: Callable[..., Path], predicted: Predicted
) -> None:
    classifier = trained(MLPHead)
    task, note = started(write_run(classifier), ["owl", "cat", "dog"], ClassificationTask, head=MLPHead)
    expected = predicted(classifier, batch)["probability"][:, [2, 0, 1]]
    torch.testing.assert_close(predicted(task.eval(), batch)["probability"], expected)
    assert "4 of 4 of the head; classes taken over: owl, cat, dog; new classes: none" in note


def test_a_name_is_the_same_however_unicode_writes_it(write_run: Callable[..., Path]) -> None:
    run = write_run(trained(num_classes=2), classes=["café", "dog"])
    assert started(run, ["cafe\u0301", "dog"], ClassificationTask)[1].endswith("the same 2 classes")


def test_the_box_of_each_class_goes_with_its_class(write_run: Callable[..., Path]) -> None:
    first = trained(None, kind=LocalizationTask, per_class_boxes=True)
    first.head.boxes.coordinates.classifier.linear.bias.data = torch.arange(12.0)  # 4 of cat, 4 of dog, 4 of owl
    task, _ = started(write_run(first), OTHERS, per_class_boxes=True)
    bias = task.head.boxes.coordinates.classifier.linear.bias.view(4, 4).tolist()
    assert bias == [[8, 9, 10, 11], [0] * 4, [0, 1, 2, 3], [0] * 4]


def test_each_of_several_objects_has_its_classes(write_run: Callable[..., Path]) -> None:
    first = trained(None, kind=LocalizationTask, num_objects=2)
    first.head.classes.linear.bias.data = torch.tensor([10.0, 20.0, 30.0, 11.0, 21.0, 31.0])
    task, _ = started(write_run(first), OTHERS, num_objects=2)
    assert task.head.classes.linear.bias.tolist() == [30, 0, 10, 0, 31, 0, 11, 0]


def test_every_layer_with_classes_is_taken_over_and_a_width_of_k_is_no_class(write_run: Callable[..., Path]) -> None:
    """FCN scores several maps and upsamples each class by itself, K x K; the hidden width here is K, too."""
    head = partial(FCNHead, stride=2, hidden_channels=3)
    first = trained(head, kind=SegmentationTask)
    task, note = started(write_run(first), ["owl", "cat", "dog"], SegmentationTask, head=head)
    order = [2, 0, 1]
    for name, tensor in task.head.state_dict().items():
        expected = first.head.state_dict()[name]
        if name.startswith(("scores", "upsamplings")):
            expected = expected[order]
        if name.startswith("upsamplings"):
            expected = expected[:, order]
        assert tensor.equal(expected), name
    assert "not loaded" not in note


def test_what_does_not_fit_starts_anew_and_is_printed(write_run: Callable[..., Path]) -> None:
    run = write_run(trained(MLPHead))
    task, note = started(run, kind=ClassificationTask, head=partial(MLPHead, hidden_features=[7]))
    assert "1 of 4 of the head; the same 3 classes; not loaded: " in note
    assert "head.hidden.0.weight is (512, 64), expected (7, 64)" in note
    assert task.head.classifier.linear.bias.equal(trained(MLPHead).head.classifier.linear.bias)
    other, note = started(run, ["emu", "bee"], ClassificationTask, head=MLPHead)
    assert "classes taken over: none; new classes: emu, bee; not loaded: head.classifier.linear.weight has" in note
    assert not other.head.classifier.linear.bias.any()


def test_a_task_that_hides_its_head_is_refused_where_classes_differ(write_run: Callable[..., Path]) -> None:
    class Own(ClassificationTask):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.new_head = None

    run = write_run(trained())
    assert "2 of 2 of the head" in started(run, kind=Own)[1]
    with pytest.raises(InputError, match="init_from: .*other classes than the data, and Own does not set new_head"):
        started(run, ["owl", "cat", "dog"], kind=Own)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_names": [*CLASSES, "emu"]}, "does not fill the class head, .*: it has no class emu; give a run with"),
        (
            {"class_head": MLPHead},
            "head.classes.hidden.0.weight is not in the run.*; give .* this class_head",
        ),
    ],
    ids=["class", "head"],
)
def test_a_frozen_class_head_that_is_not_filled_is_refused(
    options: Any, message: str, write_run: Callable[..., Path]
) -> None:
    run = write_run(trained())
    with pytest.raises(InputError, match=f"(?s)init_from {run}.*{message}"):
        frozen(run, **options)


def test_what_is_not_a_run_is_refused(write_run: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="init_from: no run in .*nowhere"):
        read_start(str(tmp_path / "nowhere"))
    unfinished = write_run(trained(), "unfinished")
    (unfinished / "checkpoints" / "best.ckpt").unlink()
    with pytest.raises(MissingFileError, match="init_from: .*ended before the first validation"):
        read_start(str(unfinished))
    (unfinished / "preprocessing.json").touch()
    with pytest.raises(MissingFileError, match="init_from: .*unfinished is what `visiontasks export` made of a run"):
        read_start(str(unfinished))
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes(b"no zip")
    with pytest.raises(InputError, match="init_from: .*broken.ckpt cannot be read: truncated, altered"):
        read_start(str(broken))
    torch.save({"state_dict": {}}, broken)
    with pytest.raises(InputError, match="is not a visiontasks checkpoint: give a run that `finetune` made"):
        read_start(str(broken))
    boxes_alone = trained(None, kind=LocalizationTask, class_weight=0.0)
    with pytest.raises(InputError, match="head.classes.linear.weight is not in the run"):
        frozen(write_run(boxes_alone, "boxes"))


def test_weights_of_a_run_load_its_backbone_only_and_the_line_names_init_from(write_run: Callable[..., Path]) -> None:
    run = write_run(trained())
    for named in (run, run / "checkpoints" / "best.ckpt"):
        note = weights_note(str(named))
        assert note == f"model.weights {named}: only the backbone is loaded; --init_from {named} loads its head too"
    for other in ("none", "hub", "weights.pth", "of_another_program.ckpt"):
        assert weights_note(other) == ""


DIGITS = ["--data.num_workers", "0", "--trainer.limit_train_batches", "2", "--trainer.max_epochs", "2"]


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def weights_of(run: Path, name: str = "best") -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True)["state_dict"]
    return state


def test_another_backbone_than_the_runs_is_refused_with_both_names(
    in_tmp: Path, capsys: pytest.CaptureFixture[str], write_run: Callable[..., Path]
) -> None:
    run = write_run(trained())
    options = ["--init_from", str(run), "--model.backbone", "resnet32_cifar", "--model.in_chans", "3"]
    assert main(["finetune", "digits_lenet", *DIGITS, *options]) == 2
    error = capsys.readouterr().err
    assert "init_from" in error
    assert "is of resnet20_cifar, but --model.backbone is resnet32_cifar" in error


SHORT = ["--trainer.max_epochs", "1", "--finetune.freeze_epochs", "0", "--data.image_size", "32"]
SHORT += ["--data.batch_size", "4", "--data.num_workers", "0", "--trainer.precision", "32-true"]
SMALL = ["--model.backbone", "resnet20_cifar", "--model.weights", "none"]
PETS = ["--data", "OxfordPets", "--data.root", "."]


def train(recipe: str, *overrides: str) -> tuple[Path, dict[str, Any]]:
    return finetune(find_recipe(recipe), [*SMALL, *SHORT, *overrides])


def test_boxes_are_trained_on_a_classifier_that_stays_as_it_is(
    in_tmp: Path, write_scenes: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    write_scenes(Path(), "OxfordPets")
    classifier, _ = train("folder_resnet", *PETS, "--data.target", "label", "--model.label_smoothing", "0")
    capsys.readouterr()
    alone = ["--init_from", str(classifier), "--model.class_weight", "0", "--finetune.unfreeze", "never"]
    boxes = [*PETS, "--data.target", "box", *alone, "--model.freeze_classes", "true"]
    run_dir, result = train("folder_localize", *boxes)
    assert f"init_from {classifier}/checkpoints/best.ckpt: loaded" in capsys.readouterr().out
    states = [weights_of(run) for run in (classifier, run_dir)]
    for name, tensor in states[0].items():
        assert tensor.equal(states[1][name.replace("head.", "head.classes.")]), name
    shutil.rmtree(classifier)
    assert evaluate(run_dir, [])["metrics"] == result["metrics"]
    assert json.loads((run_dir / "result.json").read_text())["phases"] == [
        {"epochs": [1, 1], "trained_stages": 0, "wall_s": result["phases"][0]["wall_s"]}
    ]


def test_a_frozen_class_head_of_other_classes_is_refused(
    in_tmp: Path, write_scenes: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    write_scenes(Path("pets"), "OxfordPets")
    pets = ["--data", "OxfordPets", "--data.root", "pets"]
    classifier, _ = train("folder_resnet", *pets, "--model.label_smoothing", "0")
    write_scenes(Path("other"), "VOCBoxes")
    for file in Path("other/annotations").glob("*.xml"):
        file.write_text(file.read_text().replace("cat", "cow"))
    folder = [*SMALL, *SHORT, "--data.root", "other", "--model.class_weight", "0", "--model.freeze_classes", "true"]
    assert main(["finetune", "folder_localize", *folder, "--init_from", str(classifier)]) == 2
    assert "does not fill the class head" in (error := capsys.readouterr().err)
    assert "it has no class cow" in error
    assert main(["finetune", "folder_localize", *folder]) == 2
    assert "freeze_classes keeps a class head that was trained before: name its run, --init_from" in (
        capsys.readouterr().err
    )
