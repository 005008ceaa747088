"""Detections at the original size, the threshold, crowds, images without objects, cached features, graphs."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.optim import AdamW

from visiontasks.errors import InputError
from visiontasks.explain.methods import class_map
from visiontasks.heads import DetectionHead, FCOSHead
from visiontasks.heads.detection import Candidates, Objects
from visiontasks.ops.resampling import TensorGeometry, sides
from visiontasks.outputs.geometry import place
from visiontasks.tasks import Constant, DetectionTask

Fit = Callable[..., Trainer]
SIDE = 64


class Known(DetectionHead):
    """Proposes the same boxes in each image: one of class 0, one of class 1, one that both leave out."""

    def __init__(self, channels: Sequence[int], reductions: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.maps = [len(channels) - 1]
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Candidates:
        boxes = torch.tensor([[8.0, 8, 24, 40], [40, 0, 80, 16], [0, 0, 64, 64]])
        scores = torch.tensor([[0.9, 0], [0, 0.6], [0.001, 0.002]])
        count = len(features[0])
        return Candidates(boxes.expand(count, -1, -1), self.scale * scores.expand(count, -1, -1))

    def losses(
        self, features: Sequence[Tensor], size: tuple[int, int], objects: Sequence[Objects]
    ) -> dict[str, Tensor]:
        return {"classes": self.scale.square(), "boxes": 2 * self.scale}


def task(head: Any = Known, num_classes: int = 2, **options: Any) -> DetectionTask:
    torch.manual_seed(0)
    return DetectionTask("test_resnet", weights="none", num_classes=num_classes, head=head, **options)


def batch(
    boxes: Sequence[Sequence[Sequence[float]]], labels: Sequence[Sequence[int]], crowd: Any = None, size: Any = None
) -> dict[str, Any]:
    """A batch of evaluation: boxes in pixels of the originals, of which the sides are `size`."""
    count = len(boxes)
    height, width = size or (SIDE, SIDE)
    generator = torch.Generator().manual_seed(1)
    crowds = crowd or [[False] * len(each) for each in labels]
    return {
        "image": torch.randint(256, (count, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator),
        "index": torch.arange(count),
        "geometry": torch.tensor([height, width, SIDE, SIDE, SIDE, SIDE, 0, 0]).expand(count, 8),
        "boxes": [torch.tensor(each, dtype=torch.float32).view(-1, 4) for each in boxes],
        "labels": [torch.tensor(each, dtype=torch.int64) for each in labels],
        "crowd": [torch.tensor(each, dtype=torch.bool) for each in crowds],
    }


def test_boxes_are_moved_to_the_original_image_and_cut_to_it() -> None:
    model = task().eval()
    (found,) = model.predict(batch([[]], [[]], size=(128, 192)))
    assert found.size == (128, 192)
    assert found.boxes.tolist() == [[24, 16, 72, 80], [120, 0, 192, 32]]
    assert (found.labels.tolist(), found.num_classes) == ([0, 1], 2)
    assert found.scores.tolist() == pytest.approx([0.9, 0.6])
    assert found.threshold == 0.5


def test_the_least_score_is_far_below_what_others_cut() -> None:
    model = task().eval()
    model.head.scale.data.fill_(0.02)  # scores of 0.018 and 0.012
    (found,) = model.predict(batch([[]], [[]]))
    assert len(found.scores) == 2
    assert len(found.shown.scores) == 0


def test_metrics_are_measured_at_the_original_size() -> None:
    model = task().eval()
    model._evaluate("test", batch([[[24, 16, 72, 80], [120, 0, 192, 32]]], [[0, 1]], size=(128, 192)))
    values = model.compute_metrics("test")
    assert float(values["map"]) == pytest.approx(1)
    assert [float(values[name]) for name in ("precision", "recall", "threshold", "n")] == [1, 1, 0.5, 1]
    assert "map_large" not in values  # no object defines it


def test_samples_have_f1_and_numbers_of_missed_and_invented() -> None:
    model = task().eval()
    right = [[8.0, 8, 24, 40], [40, 0, 64, 16]]
    model._evaluate("test", batch([right, right[:1], []], [[0, 1], [0], []]))
    table = model.sample_table("test")
    assert table["score"].tolist() == pytest.approx([1, 2 / 3, 0])
    assert table["missed"].tolist() == [0, 0, 0]
    assert table["invented"].tolist() == [0, 1, 2]


def test_crowds_are_neither_missed_nor_are_detections_in_them_invented() -> None:
    model = task().eval()
    model._evaluate("test", batch([[[8, 8, 24, 40], [30, 0, 64, 20]]], [[0, 1]], [[False, True]]))
    assert model.sample_table("test")["score"].tolist() == [1]
    assert model.compute_metrics("test")["class_objects"].tolist() == [1, 0]


def test_intervals_come_from_the_images() -> None:
    model = task().eval()
    right = [[8.0, 8, 24, 40], [40, 0, 64, 16]]
    for _ in range(2):
        model._evaluate("test", batch([right[:1], right, right], [[0], [0, 1], [0, 1]]))
    values = {each.name: each for each in model.measured("test")}
    low, high = values["map"].interval or (0, 0)
    assert low < values["map"].value <= high
    assert values["class_map"].by_class == pytest.approx(model.compute_metrics("test")["class_map"].tolist())


@pytest.mark.parametrize("ema_decay", [0.0, 0.5])
def test_the_threshold_of_the_validation_is_stored_with_the_weights(fit: Fit, ema_decay: float, tmp_path: Any) -> None:
    model = task(schedule=Constant(), optimizer=partial(AdamW, lr=0.0), ema_decay=ema_decay)
    own = batch([[[8, 8, 24, 40]], []], [[0], []])  # the detection with 0.6 is wrong in both
    trainer = fit(model, [own], val=[own], epochs=2)
    path = tmp_path / "end.ckpt"
    trainer.save_checkpoint(path)
    stored = torch.load(path, weights_only=True)["state_dict"]["head.threshold"]
    assert float(stored) == pytest.approx(0.75)  # between 0.9 and 0.6
    other = task()
    other.head.load_state_dict({"threshold": stored, "scale": torch.ones(())})
    (found, _) = other.eval().predict(own)
    assert len(found.shown.scores) == 1


def test_the_loss_is_the_sum_of_the_heads() -> None:
    assert float(task().training_loss(batch([[]], [[]])).detach()) == 3


def test_cached_features_give_the_same_as_the_images() -> None:
    model = task(partial(FCOSHead, width=8)).train()
    model.backbone.requires_grad_(False).eval()
    own = batch([[[8, 8, 40, 40]], []], [[1], []])
    loss = model.training_loss(own)
    assert len(own["features"]) == len(model.head.maps)  # and no map that the head does not take
    del own["image"]
    model.head.load_state_dict(model.head.state_dict())
    assert torch.equal(model.training_loss(own), loss)


def test_images_without_objects_train_every_parameter_of_the_head() -> None:
    model = task(partial(FCOSHead, width=8)).train()
    model.training_loss(batch([[], []], [[], []])).backward()
    assert [name for name, p in model.head.named_parameters() if p.grad is None] == []


def test_a_graph_gives_what_is_shown() -> None:
    model = task(partial(FCOSHead, width=8), most_detections=5)
    for module in model.modules():  # so that scores and boxes differ
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    torch.nn.init.normal_(model.head.classes.weight, std=1.0, generator=torch.Generator().manual_seed(0))
    model(model.normalize(batch([[], []], [[], []])["image"]))
    model.eval().head.threshold.fill_(0.4)
    image = batch([[]], [[]])["image"]
    original = torch.zeros(1, 128, 192, 3, dtype=torch.uint8)
    rows, columns = sides(original, (SIDE, SIDE), "squash")
    with torch.no_grad():
        graph = model.graph_values(image, TensorGeometry(rows, columns, (128, 192), is_resized=True))
        row = torch.from_numpy(place((128, 192), (SIDE, SIDE), "squash").row())[None]
        (expected,) = model.predict({"image": image, "geometry": row})
    found = model.outputs.from_graph({name: value[0].numpy() for name, value in graph.items()}, (128, 192))
    assert graph["scores"].shape == (1, 5)
    assert 2 <= len(expected.shown.scores) <= 5
    assert found.boxes == pytest.approx(expected.shown.boxes, abs=1e-3)
    assert found.scores == pytest.approx(expected.shown.scores, abs=1e-6)
    assert found.labels.tolist() == expected.shown.labels.tolist()
    assert found.difference(expected).faults == []


def test_the_surest_detection_of_a_class_is_explained_by_the_map_that_it_depends_on() -> None:
    model = task(partial(FCOSHead, width=8)).eval()
    image = batch([[]], [[]])["image"]
    feature_map, score = model.class_evidence(image, 1)
    assert feature_map.shape[0] == 1
    with torch.no_grad():
        scores = model.head(model.image_features(image), (SIDE, SIDE)).scores
    assert float(score.detach()) == float(scores[0, :, 1].max())
    (gradient,) = torch.autograd.grad(score, feature_map)
    assert gradient.abs().sum() > 0
    assert class_map(model, image, 1).shape == feature_map.shape[-2:]


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match=r"model.init_args.most_detections must be 1 or more, got 0"):
        task(most_detections=0)
    with pytest.raises(InputError, match=r"model.init_args.num_classes must be 1 or more, got 0"):
        task(num_classes=0)


def test_four_images_are_learned_by_heart(fit: Fit) -> None:
    """Two classes of squares, none to two in an image; their average precision becomes 1."""
    truth = [[[8, 8, 24, 24]], [[32, 32, 60, 60], [4, 36, 20, 52]], [], [[30, 6, 58, 34]]]
    labels = [[0], [1, 0], [], [1]]
    own = batch(truth, labels)
    own["image"].fill_(40)
    for image, boxes, classes in zip(own["image"], truth, labels, strict=True):
        for (x1, y1, x2, y2), label in zip(boxes, classes, strict=True):
            image[label, y1:y2, x1:x2] = 230
    model = task(partial(FCOSHead, width=16), optimizer=partial(AdamW, lr=0.01), schedule=Constant())
    fit(model, [own] * 10, val=[own], epochs=6)
    assert float(model.compute_metrics("val")["map50"]) == pytest.approx(1)
