"""Losses, metrics and predictions by hand, every way to train, and that eight images are learned by heart."""

from collections.abc import Callable
from functools import partial
from math import inf, log, nan
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch.optim import SGD, AdamW

from visiontasks.errors import InputError
from visiontasks.finetuning.schedule import FinetuneSchedule
from visiontasks.heads import BoxHead, MLPHead
from visiontasks.outputs import CORNERS
from visiontasks.outputs.geometry import box_units
from visiontasks.tasks import Cosine, LocalizationTask, Task
from visiontasks.tasks.localization import LocalizationHead

Batch = dict[str, Any]
MakeBatch = Callable[..., Batch]
Fit = Callable[..., Trainer]
Saves = Callable[..., Callback]
Predicted = Callable[..., dict[str, Tensor]]

pytestmark = pytest.mark.filterwarnings("ignore:Found .* in eval mode at the start of training:UserWarning")

START = [0.25, 0.25, 0.75, 0.75]  # BoxHead's first box
NO_BOX = [nan] * 4
SIDE_PX = 8


class Given(nn.Module):
    """The first rows of these values, one for each image, as the output of a head."""

    def __init__(self, in_features: int, num_outputs: int, values: Any) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.tensor(values))

    def forward(self, feature: Tensor) -> Tensor:
        return self.values[: len(feature)]


def given(values: Any) -> Any:
    return partial(Given, values=values)


def make_task(num_classes: int, **options: Any) -> LocalizationTask:
    torch.manual_seed(0)
    return LocalizationTask(**{"backbone": "resnet20_cifar", "weights": "none", "num_classes": num_classes} | options)


def with_boxes(batch: Batch, boxes: Any, labels: Any = None) -> Batch:
    """A batch with boxes in 0..1, (B, 4) or (B, N, 4), and their labels; a row labelled -1 is left out."""
    size = len(batch["index"])
    label = (batch["label"] if labels is None else torch.tensor(labels)).reshape(size, -1)
    box = torch.as_tensor(boxes, dtype=torch.float32).reshape(size, -1, 4) * box_units(batch["geometry"]).unsqueeze(1)
    label = label.expand(box.shape[:2])
    rows = {"boxes": [b[k >= 0] for b, k in zip(box, label, strict=True)], "labels": [k[k >= 0] for k in label]}
    return {name: value for name, value in batch.items() if name != "label"} | rows


def in_px(boxes: Any) -> Any:
    """Boxes in 0..1 in pixels of the images of `make_batch`."""
    return (SIDE_PX * torch.tensor(boxes)).tolist()


def measure(task: LocalizationTask, *batches: Batch) -> dict[str, float]:
    task.eval()
    for i, batch in enumerate(batches):
        task.validation_step(batch, i)
    return {name: value.item() for name, value in task.compute_metrics("val").items()}


@pytest.mark.parametrize("num_objects", [1, 3])
@pytest.mark.parametrize("num_classes", [2, 7])
def test_the_first_class_loss_is_ln_k_and_the_first_box_the_middle_of_the_image(
    num_classes: int, num_objects: int, make_batch: MakeBatch
) -> None:
    task = make_task(num_classes, num_objects=num_objects)
    batch = with_boxes(make_batch(5, num_classes), [[START] * num_objects] * 5, [[1] * num_objects] * 5)
    assert task.training_loss(batch).item() == pytest.approx(log(num_classes), abs=1e-5)
    found = measure(task, batch)
    assert found["loss"] == pytest.approx(log(num_classes), abs=1e-5)
    assert (found["iou"], found["n"]) == pytest.approx((1, 5 * num_objects))


def test_a_sample_without_a_box_is_trained_by_its_class_only(make_batch: MakeBatch) -> None:
    task = make_task(
        2,
        box_head=given([[[0.0, 0.0, 0.5, 0.5]], [[0.0, 0.0, 1.0, 1.0]]]),
        class_head=given([[log(0.75), log(0.25)]] * 2),
        box_loss={"l2": 1.0, "giou": 0.5},
        class_weight=2.0,
    )
    # squared errors 0, 0, 1/4, 1/4; the box covers a quarter of the true one, which is the enclosing one
    box_loss = 0.125 + 0.5 * 0.75
    batch = with_boxes(make_batch(2, 2), [[0, 0, 1, 1], NO_BOX], [0, 1])
    expected = box_loss + 2 * (-log(0.75) - log(0.25)) / 2
    assert task.training_loss(batch).item() == pytest.approx(expected)
    smooth = make_task(2, class_head=given([[log(0.75), log(0.25)]] * 2), label_smoothing=0.2)
    smooth_loss = smooth.training_loss(with_boxes(make_batch(2, 2), [NO_BOX] * 2))
    # targets (0.9, 0.1) and (0.1, 0.9)
    assert smooth_loss.item() == pytest.approx(-(log(0.75) + log(0.25)) / 2)
    skewed = make_task(2, class_head=given([[log(0.75), log(0.25)]] * 2), label_smoothing=0.2)
    skewed_loss = skewed.training_loss(with_boxes(make_batch(2, 2), [NO_BOX] * 2, [0, 0]))
    assert skewed_loss.item() == pytest.approx(-(0.9 * log(0.75) + 0.1 * log(0.25)))


@pytest.mark.parametrize("options", [{}, {"class_weight": 0.0}, {"num_objects": 2}, {"per_class_boxes": True}], ids=str)
def test_a_batch_without_any_box_has_a_finite_loss_and_gradient(options: Any, make_batch: MakeBatch) -> None:
    task = make_task(3, **options)
    rows = options.get("num_objects", 1)
    batch = with_boxes(make_batch(2, 3), [[NO_BOX] * rows] * 2, [[-1 if rows > 1 else 0] * rows] * 2)
    loss = task.training_loss(batch)
    loss.backward()
    has_class_loss = not options or "per_class_boxes" in options
    assert loss.item() == pytest.approx(log(3) if has_class_loss else 0)
    for name, parameter in task.named_parameters():
        assert parameter.grad is not None, name  # or DDP and FinetuneSchedule would complain
        assert parameter.grad.isfinite().all(), name
        assert not name.startswith("head.boxes") or not parameter.grad.any(), name


def test_metrics_and_scores_by_hand(make_batch: MakeBatch) -> None:
    task = make_task(
        3,
        box_head=given([[[0.0, 0.0, 0.5, 1.0]], [[0.0, 0.0, 1.0, 0.8]], [[0.5, 0.5, 1.0, 1.0]]]),
        class_head=given([[2.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.0, 0.0, 2.0]]),
        box_loss={"l2": 1.0},
        class_weight=0.5,
    )
    # the second one's true box reaches out of the image on the left, and is as large as what is predicted: 0.8 / 1.2;
    # the third one is hit exactly
    batch = with_boxes(make_batch(3, 3), [[0, 0, 1, 1], [-0.2, 0, 1, 1], [0.5, 0.5, 1, 1]], [0, 0, 2])
    found = measure(task, {key: values[:2] for key, values in batch.items()})
    logits = task.head.classes.values.detach()
    class_losses = [-logits[i].log_softmax(0)[label].item() for i, label in enumerate([0, 0])]
    expected = {"iou": (0.5 + 0.8 / 1.2) / 2, "iou50": 1.0, "iou75": 0.0, "top1": 0.5, "localization_error_top1": 0.5}
    expected |= {"loss": (0.0625 + 0.02) / 2 + 0.5 * sum(class_losses) / 2, "n": 2}
    assert found == pytest.approx(expected)
    task.on_validation_epoch_start()
    found = measure(task, batch)
    assert (found["iou"], found["iou75"]) == pytest.approx(((0.5 + 0.8 / 1.2 + 1) / 3, 1 / 3))
    table = task.sample_table("val")
    index, score = table["index"], table["score"]
    assert index.tolist() == [0, 1, 2]
    assert score.tolist() == pytest.approx([0.5, 0.8 / 1.2, 1])


def test_a_sample_without_a_true_box_has_no_score(make_batch: MakeBatch) -> None:
    task = make_task(2)
    found = measure(task, with_boxes(make_batch(2, 2), [START, NO_BOX]))
    assert (found["iou"], found["n"]) == pytest.approx((1, 2))
    assert task.sample_table("val")["score"].isnan().tolist() == [False, True]


def test_the_table_of_samples_has_the_class_and_its_box(make_batch: MakeBatch) -> None:
    good, bad = [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.5, 0.5]
    logits = [[log(0.75), log(0.25)], [log(0.1), log(0.9)]]
    task = make_task(2, per_class_boxes=True, box_head=given([[good, bad]] * 2), class_head=given(logits))
    measure(task, with_boxes(make_batch(2, 2), [good, good], [0, 0]))
    table = task.sample_table("val")
    assert torch.stack([table[name] for name in CORNERS], 1).tolist() == in_px([good, bad])
    assert table["predicted"].tolist() == [0, 1]
    assert table["probability"].tolist() == pytest.approx([0.75, 0.9])
    assert table["score"].tolist() == [1, 0.25]


@pytest.mark.parametrize(
    ("options", "columns"),
    [
        ({"num_classes": 1}, ["index", "label", "score", *CORNERS]),
        ({"num_classes": 3, "class_weight": 0.0}, ["index", "label", "score", *CORNERS]),
        ({"num_classes": 3, "num_objects": 2}, ["index", "score"]),
    ],
    ids=str,
)
def test_the_table_of_samples_leaves_out_what_the_task_does_not_predict(
    options: Any, columns: list[str], make_batch: MakeBatch
) -> None:
    task = make_task(**options)
    boxes = [[START, NO_BOX]] * 2 if "num_objects" in options else [START] * 2
    measure(task, with_boxes(make_batch(2, 2), boxes, [[0, -1]] * 2 if "num_objects" in options else [0, 0]))
    assert list(task.sample_table("val")) == columns


def test_numbers_that_diverged_are_wrong_and_not_unknown(make_batch: MakeBatch) -> None:
    task = make_task(2, box_head=given([[NO_BOX]] * 2), class_head=given([[nan, 0.0]] * 2))
    found = measure(task, with_boxes(make_batch(2, 2), [START, START], [0, 1]))
    assert (found["iou"], found["top1"], found["localization_error_top1"], found["n"]) == (0, 0, 1, 2)


@pytest.mark.parametrize("options", [{"num_classes": 3, "class_weight": 0.0}, {"num_classes": 1}], ids=str)
def test_boxes_alone_need_no_classes_and_predict_none(
    options: Any, make_batch: MakeBatch, fit: Fit, predicted: Predicted
) -> None:
    task = make_task(**options, optimizer=partial(SGD, lr=0.0))
    batch = with_boxes(make_batch(4, 1), [START] * 4)
    unlabelled = {name: value for name, value in batch.items() if name != "labels"}
    assert task.head.classes is None
    assert task.training_loss(unlabelled).item() == pytest.approx(0, abs=1e-6)
    assert measure(task, batch).keys() == {"iou", "iou50", "iou75", "loss", "n"}
    assert predicted(task, unlabelled).keys() == {"boxes"}
    trainer = fit(task, [batch], FinetuneSchedule(unfreeze="never"), val=[batch])
    assert trainer.callback_metrics["val/iou"] == pytest.approx(1)


def test_the_box_of_the_true_class_is_trained_and_that_of_the_predicted_class_counts(
    make_batch: MakeBatch, predicted: Predicted
) -> None:
    good, bad = [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.5, 0.5]
    task = make_task(
        2,
        per_class_boxes=True,
        box_head=given([[good, bad], [good, bad]]),
        class_head=given([[1.0, 0.0], [0.0, 1.0]]),
        box_loss={"l2": 1.0},
    )
    batch = with_boxes(make_batch(2, 2), [good, good], [0, 0])
    task.training_loss(batch).backward()
    task.head.boxes.values.grad = None
    found = measure(task, batch)
    assert (found["iou"], found["top1"], found["localization_error_top1"]) == (0.625, 0.5, 0.5)
    class_loss = (-log(1 / (1 + 1 / torch.e)) - log(1 / (1 + torch.e))) / 2
    assert found["loss"] == pytest.approx(class_loss)  # of class 0 the boxes are good
    other = with_boxes(make_batch(2, 2), [good, [nan] * 4], [1, 1])
    loss = task.training_loss(other)
    loss.backward()
    assert task.head.boxes.values.grad.abs().sum(-1).gt(0).tolist() == [[False, True], [False, False]]
    outputs = predicted(task, batch)
    assert outputs["boxes"].tolist() == in_px([[good], [bad]])
    assert outputs["probability"][0, 0].tolist() == pytest.approx([1 / (1 + 1 / torch.e), 1 / (1 + torch.e)])


def test_each_of_five_guesses_has_the_box_of_its_own_class(make_batch: MakeBatch) -> None:
    good, bad = [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.1, 0.1]
    logits = [[5.0, 4.0, 3.0, 2.0, 1.0, 0.0]] * 3
    batch = with_boxes(make_batch(3, 6), [good] * 3, [1, 4, 5])
    boxes = [[bad, good, bad, bad, bad, good], [good, good, good, good, bad, good], [good] * 6]
    own = make_task(6, per_class_boxes=True, box_head=given(boxes), class_head=given(logits))
    found = measure(own, batch)  # the first is right; the second's box is bad; the third's class is the sixth guess
    assert found["localization_error_top5"] == pytest.approx(2 / 3)
    shared = make_task(6, box_head=given([[good]] * 3), class_head=given(logits))
    found = measure(shared, batch)
    assert found["localization_error_top5"] == pytest.approx(1 / 3)
    assert found["localization_error_top1"] == 1


def test_several_objects_are_matched_before_they_are_compared(make_batch: MakeBatch, predicted: Predicted) -> None:
    left, right, all_of_it = [0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]
    task = make_task(
        2,
        num_objects=2,
        box_head=given([[right, left], [left, all_of_it]]),
        class_head=given([[log(0.75), log(0.25), log(0.5), log(0.5)], [log(0.5), log(0.5), log(0.25), log(0.75)]]),
        box_loss={"l2": 1.0},
    )
    batch = with_boxes(make_batch(2, 2), [[left, right], [NO_BOX, right]], [[1, 0], [-1, 1]])
    # first image: crossed, both boxes exact, p 0.5 and 0.75. Second: `all_of_it` for right, p 0.75: a squared error of
    # 0.25 in one coordinate of four
    loss = 0.0625 / 3 - (log(0.5) + 2 * log(0.75)) / 3
    assert task.training_loss(batch).item() == pytest.approx(loss)
    found = measure(task, batch)
    assert (found["loss"], found["n"]) == pytest.approx((loss, 3))
    assert (found["iou"], found["iou75"]) == pytest.approx((2.5 / 3, 2 / 3))
    assert task.sample_table("val")["score"].tolist() == [1, 0.5]
    outputs = predicted(task, batch)
    assert outputs["boxes"].tolist() == in_px([[right, left], [left, all_of_it]])
    assert outputs["probability"].shape == (2, 2, 2)
    torch.testing.assert_close(outputs["probability"][1, 1], torch.tensor([0.25, 0.75]))


def test_several_objects_without_classes_are_matched_by_their_boxes(make_batch: MakeBatch) -> None:
    left, right = [0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]
    task = make_task(1, num_objects=2, box_head=given([[right, left]]))
    batch = with_boxes(make_batch(1, 1), [[left, NO_BOX]])
    assert task.training_loss(batch).item() == 0
    assert measure(task, batch)["iou"] == 1


def test_images_of_no_object_one_and_two_are_trained_and_measured_together(make_batch: MakeBatch) -> None:
    left, right = [0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]
    logits = [[log(0.75), log(0.25)] * 2] * 3
    task = make_task(2, num_objects=2, box_head=given([[right, left]] * 3), class_head=given(logits))
    batch = with_boxes(make_batch(3, 2), [[NO_BOX] * 2, [left, NO_BOX], [left, right]], [[-1, -1], [0, -1], [0, 1]])
    assert [len(boxes) for boxes in batch["boxes"]] == [0, 1, 2]
    assert task.training_loss(batch).item() == pytest.approx(-(2 * log(0.75) + log(0.25)) / 3)
    found = measure(task, batch)
    assert (found["iou"], found["n"], found["top1"]) == pytest.approx((1, 3, 2 / 3))
    assert task.sample_table("val")["score"].isnan().tolist() == [True, False, False]


def test_an_image_without_an_object_teaches_a_task_of_one_nothing(make_batch: MakeBatch) -> None:
    batch = with_boxes(make_batch(2, 2), [START, NO_BOX], [1, -1])
    for task in (make_task(2), make_task(1)):
        found = measure(task, batch)
        assert (found["iou"], found["n"]) == pytest.approx((1, 1))


def test_another_number_of_boxes_than_the_task_has_is_refused(make_batch: MakeBatch) -> None:
    batch = with_boxes(make_batch(1, 2), [[START, START]], [[0, 1]])
    with pytest.raises(InputError, match="gives 2 boxes per image, but model.init_args.num_objects is 1: set it to 2"):
        make_task(2).training_loss(batch)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "at least 1 class, got num_classes=0"),
        ({"num_objects": 0}, "num_objects must be 1 or more, got 0"),
        ({"box_loss": {}}, "box_loss must give factors of 0 or more, one above 0"),
        ({"box_loss": {"l2": 0.0}}, "box_loss"),
        ({"box_loss": {"l2": -1.0, "giou": 2.0}}, "box_loss"),
        ({"box_loss": {"l1": 1.0}}, "to smooth_l1, l2, giou, diou, ciou; got {'l1': 1.0}"),
        ({"class_weight": -1.0}, "class_weight must be 0 or more, got -1.0"),
        ({"class_weight": inf}, "class_weight"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), got 1.0"),
        ({"per_class_boxes": True, "class_weight": 0.0}, "per_class_boxes needs classes to choose a box by"),
        ({"per_class_boxes": True, "num_classes": 1}, "per_class_boxes needs classes"),
        ({"per_class_boxes": True, "num_objects": 2}, "one object per image, but num_objects is 2"),
        ({"freeze_classes": True}, "freeze_classes keeps the class head as it is, but class_weight is 1.0: set it"),
        ({"freeze_classes": True, "class_weight": 0.0, "num_objects": 2}, "one class per image, but num_objects is 2"),
        ({"freeze_classes": True, "class_weight": 0.0, "num_classes": 1}, "needs data with 2 classes or more, got 1"),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_task(**{"num_classes": 3} | options)


def test_a_recipe_gives_loss_terms_and_heads_by_name() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--model", type=Task)
    config = parser.parse_string(
        """
        model:
          class_path: LocalizationTask
          init_args:
            backbone: resnet20_cifar
            weights: none
            num_classes: 3
            box_loss: {smooth_l1: 1.0, giou: 0.5}
            box_head: {class_path: BoxHead, init_args: {hidden_features: [16]}}
            class_head: {class_path: MLPHead, init_args: {hidden_features: [8], dropout: 0.1}}
        """
    )
    task = parser.instantiate_classes(config).model
    assert task.loss_terms == {"smooth_l1": 1.0, "giou": 0.5}
    assert task.head.boxes.coordinates.classifier.linear.weight.shape == (4, 16)
    assert isinstance(task.head.classes, MLPHead)


@pytest.mark.parametrize("options", [{}, {"per_class_boxes": True}, {"num_objects": 2}], ids=str)
def test_gradients_reach_backbone_and_both_heads(options: Any, make_batch: MakeBatch) -> None:
    task = make_task(3, **options)
    for last in (task.head.classes.linear, task.head.boxes.coordinates.classifier.linear):
        nn.init.normal_(last.weight, std=0.1)  # at zero nothing flows back
    rows = options.get("num_objects", 1)
    box = [[[0.1, 0.2, 0.3 + 0.1 * i, 0.9 - 0.2 * j] for j in range(rows)] for i in range(3)]
    batch = with_boxes(make_batch(3, 3, side_px=16), box, [[i] * rows for i in range(3)])
    task.training_loss(batch).backward()
    for name, parameter in task.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("num_objects", [1, 2])
def test_eight_images_are_learned_by_heart(num_objects: int, make_batch: MakeBatch, fit: Fit) -> None:
    task = make_task(4, num_objects=num_objects, box_grid=0, optimizer=partial(AdamW, lr=1e-2), schedule=Cosine())
    corner, size = torch.rand(2, 8, num_objects, 2)
    box = torch.cat([corner / 2, corner / 2 + 0.2 + 0.3 * size], -1)
    label = torch.arange(8 * num_objects).view(8, num_objects) % 4
    batch = with_boxes(make_batch(8, 4), box, label.tolist())
    found = fit(task, [batch] * 60, val=[batch]).callback_metrics
    assert found["val/iou"] > 0.9
    assert found["val/top1"] == 1


class Recording(nn.Module):
    """Keeps what a box head gets."""

    def forward(self, feature: Tensor) -> Tensor:
        self.input = feature
        return feature.new_zeros(len(feature), 1, 4)


def test_the_box_head_gets_the_vector_and_the_map_averaged_to_a_grid() -> None:
    boxes = Recording()
    head = LocalizationHead(None, boxes, box_grid=2)
    feature_map = torch.arange(32.0).view(1, 2, 4, 4)  # the mean of its first quarter is (0 + 1 + 4 + 5) / 4
    head(torch.tensor([[7.0]]), feature_map)
    means = [2.5, 4.5, 10.5, 12.5]
    assert boxes.input.tolist() == [[7.0, *(m / 2 for m in means), *((m + 16) / 2 for m in means)]]
    LocalizationHead(None, boxes, box_grid=0)(torch.tensor([[7.0]]), feature_map)
    assert boxes.input.tolist() == [[7.0]]


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet"])
def test_a_backbone_without_a_map_is_refused_unless_boxes_come_from_the_vector(name: str) -> None:
    options: dict[str, Any] = {"weights": "none", "num_classes": 3}
    LocalizationTask(name, **options, box_grid=0)
    if name == "test_vit":
        with pytest.raises(InputError, match=r"not in a map .* set model\.init_args\.box_grid to 0"):
            LocalizationTask(name, **options)
    else:
        LocalizationTask(name, **options)


def test_losses_and_predictions_are_float32_under_bfloat16(
    make_batch: MakeBatch, fit: Fit, predicted: Predicted
) -> None:
    task = make_task(3)
    batch = with_boxes(make_batch(4, 3), [START] * 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert task.training_loss(batch).dtype == torch.float32
        assert {values.dtype for values in predicted(task, batch).values()} == {torch.float32}
    fit(task, [batch], precision="bf16-true")
    assert task.head.classes.linear.weight.dtype == torch.bfloat16


def test_a_checkpoint_loads_without_unpickling_and_gives_the_same_output(
    make_batch: MakeBatch, fit: Fit, saves: Saves, predicted: Predicted, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "box_head": partial(BoxHead, hidden_features=[8]),
        "per_class_boxes": True,
        "optimizer": partial(SGD, lr=0.1),
        "ema_decay": 0.9,
    }
    task, batch = make_task(3, **options), with_boxes(make_batch(4, 3), [[0.1, 0.2, 0.3, 0.4]] * 4)
    fit(task, [batch] * 2, saves(tmp_path, "epoch1"))
    loaded = make_task(3, **options)
    loaded.load_state_dict(torch.load(tmp_path / "epoch1.ckpt", weights_only=True)["state_dict"])
    expected, found = predicted(task.eval(), batch), predicted(loaded.eval(), batch)
    assert all(found[name].equal(expected[name]) for name in expected)
    assert not found["boxes"].equal(predicted(make_task(3, **options).eval(), batch)["boxes"])
