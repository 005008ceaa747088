"""Losses, evaluation at the original size by known logits, every dense head, four images learned by heart."""

from collections.abc import Callable, Sequence
from functools import partial
from math import log, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch.optim import AdamW

from visiontasks.data import DataModule, Sample, Source
from visiontasks.data.targets import MaskTarget
from visiontasks.errors import InputError
from visiontasks.heads import DeconvHead, DeepLabV3Head, DenseHead, FCNHead, HourglassHead, UNetHead
from visiontasks.ops.losses import mask_loss
from visiontasks.outputs.geometry import Resize
from visiontasks.tasks import SegmentationTask, Task

Fit = Callable[..., Trainer]
Saves = Callable[..., Callback]
Predicted = Callable[..., dict[str, Any]]

HEADS: dict[str, Any] = {
    **{f"FCN-{stride}s": partial(FCNHead, stride=stride) for stride in (32, 16, 8)},
    "UNet": partial(UNetHead, finest_width=4),
    "Deconv": partial(DeconvHead, layers_per_level=1),
    "Hourglass": partial(HourglassHead, stack_width=16, num_poolings=2),
    "DeepLabV3": partial(DeepLabV3Head, branch_width=16),
}
each_head = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())


class Colours(nn.Module):
    """The image itself in place of a backbone."""

    def forward(self, image: Tensor) -> list[Tensor]:
        return [image]


class AsTheyAre(DenseHead):
    """The features themselves as logits; a shift of the classes to each side if there are to be several predictions."""

    def __init__(self, shifts: Sequence[int] = (0,)) -> None:
        super().__init__([3], [1])
        self.shifts = shifts

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        assert features[0].shape[-2:] == size
        return features[0]

    def forward_all(self, features: Sequence[Tensor], size: tuple[int, int]) -> list[Tensor]:
        return [features[0].roll(shift, 1) for shift in self.shifts]


class Images(DataModule):
    """Given images and masks of any size, the same in each split."""

    def __init__(self, samples: Sequence[tuple[Any, Any]], **options: Any) -> None:
        super().__init__(**{"target": MaskTarget(), "resize": "squash", "num_workers": 0, "seed": 0} | options)
        self.samples: list[Sample] = [{"image": image, "mask": mask} for image, mask in samples]

    @property
    def class_names(self) -> list[str]:
        return ["red", "green", "blue"]

    def load_sources(self) -> dict[str, Source]:
        return {split: Listed(self.samples) for split in ("train", "val", "test")}


class Listed:
    """Samples of a list."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples
        self.labels = np.zeros(len(samples), np.int64)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int, /) -> Sample:
        return {**self.samples[index]}


def make_task(num_classes: int = 3, **options: Any) -> SegmentationTask:
    torch.manual_seed(0)
    return SegmentationTask(**{"backbone": "test_resnet", "weights": "none", "num_classes": num_classes} | options)


def colour_task(shifts: Sequence[int] = (0,), **options: Any) -> SegmentationTask:
    """Its logits of red, green and blue are the values of these channels, 0..255."""
    task = make_task(**options)
    task.backbone, task.head = Colours(), AsTheyAre(shifts)
    task.mean.zero_()
    task.std.fill_(1)
    return task.eval()


def painted(mask: Any) -> tuple[Any, Any]:
    """An image whose pixels are red, green or blue by the classes of a mask, random where it is ignored."""
    mask = np.array(mask, np.uint8)
    image = np.random.default_rng(0).integers(0, 256, (*mask.shape, 3), np.uint8)
    for label in range(3):
        image[mask == label] = 200 * np.eye(3, dtype=np.uint8)[label]
    return image, mask


def blocks(height: int, width: int) -> Any:
    """Three stripes, a rectangle and some ignored pixels."""
    mask = np.zeros((height, width), np.uint8)
    mask[:, width // 3 :] = 1
    mask[height // 2 :, 2 * width // 3 :] = 2
    mask[: height // 4, : width // 4] = 255
    return mask


def training_batch(size: int = 2, *, height: int = 37, width: int = 53, num_classes: int = 3) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(256, (size, 3, height, width), dtype=torch.uint8, generator=generator)
    mask = torch.randint(num_classes, (size, height, width), generator=generator)
    mask[:, :5] = 255
    return {"image": image, "mask": mask, "index": torch.arange(size)}


def evaluation_batch(samples: Sequence[tuple[Any, Any]], resize: Resize, size: tuple[int, int]) -> dict[str, Any]:
    data = Images(samples, resize=resize, image_size=size)
    data.setup()
    dataset = data.dataset("val")
    return dataset.collate([dataset[row] for row in range(len(dataset))])


def measure(task: SegmentationTask, batch: dict[str, Any]) -> dict[str, Any]:
    with torch.no_grad():
        task.eval().validation_step(batch, 0)
    return {name: value.tolist() for name, value in task.compute_metrics("val").items()}


def test_the_first_loss_of_fcn_is_ln_k() -> None:
    assert make_task(5, head=HEADS["FCN-8s"]).training_loss(training_batch(num_classes=5)).item() == pytest.approx(
        log(5)
    )


def test_the_loss_is_the_weighted_sum_of_its_terms_with_class_weights() -> None:
    terms: Any = {"cross_entropy": 1.0, "dice": 0.5, "focal": 2.0}
    task = colour_task(loss=terms, class_weights=[1.0, 2.0, 5.0])
    task.std.fill_(100)
    batch = training_batch()
    logits = batch["image"].float() / 100
    expected = mask_loss(logits, batch["mask"], terms, class_weight=torch.tensor([1.0, 2.0, 5.0]))
    torch.testing.assert_close(task.training_loss(batch), expected)
    assert expected != mask_loss(logits, batch["mask"], terms)


def test_cross_entropy_by_hand() -> None:
    task = colour_task()
    task.std.fill_(255)
    image = torch.zeros(1, 3, 1, 2, dtype=torch.uint8)
    image[0, 1, 0, 0] = 255  # logits 0 1 0, and an ignored pixel
    batch = {"image": image, "mask": torch.tensor([[[1, 255]]])}
    assert task.training_loss(batch).item() == pytest.approx(-log(torch.e / (torch.e + 2)))


def test_several_predictions_are_trained_by_the_mean_of_their_losses() -> None:
    batch = training_batch()
    losses = []
    for shifts in ((0,), (1,), (0, 1)):
        task = colour_task(shifts)
        task.std.fill_(100)
        losses.append(task.training_loss(batch).item())
    assert losses[0] != losses[1]
    assert losses[2] == pytest.approx((losses[0] + losses[1]) / 2)


def test_each_stack_of_an_hourglass_is_trained() -> None:
    task = make_task(head=partial(HourglassHead, stack_width=8, num_poolings=1, num_stacks=3))
    task.training_loss(training_batch()).backward()
    for score in task.head.scores:
        assert score.weight.grad.abs().sum() > 0


@each_head
@pytest.mark.parametrize(("size", "height", "width"), [(2, 37, 53), (1, 64, 33)])
def test_every_head_trains_all_of_the_network_at_odd_sizes(head: Any, size: int, height: int, width: int) -> None:
    task = make_task(head=head).train()
    for name, parameter in task.head.named_parameters():
        if name.startswith("scores"):
            nn.init.normal_(parameter, std=0.1)  # FCN's are zero, and nothing flows back
    loss = task.training_loss(training_batch(size, height=height, width=width))
    loss.backward()
    assert loss.isfinite()
    for name, parameter in task.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    for part in (task.head, *task.backbone.children()):
        gradients = [parameter.grad.abs().sum() for parameter in part.parameters()]
        assert not gradients or sum(gradients) > 0


@each_head
def test_logits_have_the_size_of_the_image(head: Any) -> None:
    task = make_task(head=head).eval()
    assert task(torch.zeros(1, 3, 45, 71)).shape == (1, 3, 45, 71)


def test_a_pyramid_of_three_maps_at_full_resolution_will_do() -> None:
    task = make_task(backbone="resnet20_cifar", head=HEADS["UNet"])
    task.training_loss(training_batch(1, height=9, width=13)).backward()
    assert all(parameter.grad is not None for parameter in task.parameters())


def test_a_letterboxed_image_is_predicted_exactly_and_no_padding_leaks(predicted: Predicted) -> None:
    task = colour_task()
    tiny = torch.tensor([[200.0, 0, 0], [0, 200, 0], [0, 0, 200], [0, 200, 0]])  # a column of four colours
    image = torch.full((1, 3, 8, 8), 255)
    image[:, :, :, 2:4] = tiny.T[None, :, :, None].repeat_interleave(2, 2).to(image.dtype)
    batch = {"image": image.byte(), "geometry": torch.tensor([[4, 1, 8, 2, 8, 8, 0, 2]])}
    found = predicted(task, batch)
    (logits,), (mask,) = found["scores"], found["mask"]
    assert logits.dtype == torch.float32
    assert logits[:, :, 0].T.tolist() == tiny.tolist()
    assert (mask.tolist(), mask.dtype) == ([[0], [1], [2], [1]], np.uint8)


@pytest.mark.parametrize("resize", ["squash", "letterbox", "keep"])
@pytest.mark.parametrize("height_width", [(30, 60), (60, 30), (24, 36), (61, 47), (12, 12)])
def test_coarse_shapes_are_predicted_exactly_at_any_original_size(
    resize: Resize, height_width: tuple[int, int], predicted: Predicted
) -> None:
    mask = np.zeros(height_width, np.uint8)
    half = tuple(length // 2 for length in height_width)
    mask[: half[0], half[1] :] = 1
    mask[half[0] :] = 2
    batch = evaluation_batch([painted(mask)], resize, (48, 48))
    (found,) = predicted(colour_task(), batch)["mask"]
    assert found.shape == height_width
    # at an odd length the middle of the image is within a pixel
    assert (found != mask).mean() <= (0 if sum(height_width) % 2 == 0 else 0.02)


def test_metrics_and_scores_at_the_original_sizes_by_hand() -> None:
    good = painted([[0, 0, 0, 0]] * 2)
    bad = painted([[2, 2, 2, 2]] * 4)[0], np.array([[2, 2, 0, 0]] * 3 + [[255] * 4], np.uint8)
    unlabelled = good[0], np.full((2, 4), 255, np.uint8)
    task = colour_task()
    task.std.fill_(100)
    found = measure(task, evaluation_batch([good, bad, unlabelled], "squash", (8, 8)))
    # 8 pixels of class 0 and 6 of class 2 are right, 6 of class 0 are called 2; there is no class 1
    assert found["class_iou"] == pytest.approx([8 / 14, nan, 6 / 12], nan_ok=True)
    assert found["miou"] == pytest.approx((8 / 14 + 6 / 12) / 2)
    assert found["pixel_accuracy"] == pytest.approx(14 / 20)
    right, wrong = (-torch.tensor([2.0, 0, 0]).log_softmax(0)[label].item() for label in (0, 1))
    assert found["loss"] == pytest.approx((right + (right + wrong) / 2 + 0) / 3)
    assert found["n"] == 3
    table = task.sample_table("val")
    index, score = table["index"], table["score"]
    assert index.tolist() == [0, 1, 2]
    assert score[:2].tolist() == pytest.approx([1, (0 + 6 / 12) / 2])
    assert score[2].isnan()


def test_the_measured_loss_is_plain_cross_entropy_whatever_is_trained() -> None:
    batch = evaluation_batch([painted(blocks(12, 20))], "squash", (12, 20))
    plain = measure(colour_task(), batch)["loss"]
    assert measure(colour_task(loss={"dice": 3.0}, class_weights=[1.0, 9.0, 1.0]), batch)["loss"] == plain


def test_logits_that_diverged_are_wrong_and_not_unknown() -> None:
    batch = evaluation_batch([painted(blocks(12, 20))], "squash", (12, 20))
    task = colour_task()
    task.std.fill_(nan)
    found = measure(task, batch)
    assert (found["miou"], found["pixel_accuracy"]) == (0, 0)


@pytest.mark.parametrize("size", [(20, 30), (32, 32), (64, 33), (97, 41)])
def test_windows_give_the_prediction_of_the_whole_image_for_a_pointwise_network(
    size: tuple[int, int], predicted: Predicted
) -> None:
    batch = evaluation_batch([painted(blocks(*size))], "keep", (8, 8))
    whole, windows = (predicted(colour_task(window=window), batch)["scores"] for window in (None, (16, 32)))
    torch.testing.assert_close(windows[0], whole[0], atol=1e-3, rtol=0)  # of 200
    square = colour_task(window=16, window_overlap=0.0)
    assert square.window == (16, 16)
    assert measure(square, batch)["miou"] == 1


def test_kept_images_of_different_sizes_are_trained_on_crops_and_measured_as_they_are(fit: Fit) -> None:
    import albumentations as A

    samples = [painted(blocks(*size)) for size in ((24, 40), (33, 21), (9, 50), (64, 64))]
    crop = A.RandomCrop(16, 20, pad_if_needed=True)
    data = Images(samples, resize="keep", image_size=(16, 20), batch_size=2, augment=[crop])
    task = make_task(head=HEADS["UNet"], window=(16, 20))
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(task, data)
    assert trainer.callback_metrics["val/n"] == 4
    outputs: Any = trainer.predict(task, data)
    shapes = [output.mask.shape for (output,) in outputs]
    assert shapes == [(24, 40), (33, 21), (9, 50), (64, 64)]


@pytest.mark.parametrize("head", [HEADS["UNet"], HEADS["FCN-8s"]], ids=["UNet", "FCN-8s"])
def test_four_images_are_learned_by_heart(head: Any, fit: Fit) -> None:
    generator = np.random.default_rng(0)
    samples = []
    for i in range(4):
        mask = np.roll(blocks(24, 32), 5 * i, axis=i % 2)
        samples.append((generator.integers(0, 256, (24, 32, 3), np.uint8), mask))
    data = Images(samples, image_size=(24, 32), batch_size=4)
    data.setup()
    train, val = next(iter(data.train_dataloader())), next(iter(data.val_dataloader()))
    task = make_task(head=head, optimizer=partial(AdamW, lr=2e-2))
    found = fit(task, [train] * 50, val=[val]).callback_metrics
    assert found["val/miou"] > 0.95


def test_predictions_under_bfloat16_are_measured_in_float32(fit: Fit, predicted: Predicted) -> None:
    task = make_task(head=HEADS["UNet"], window=24)
    batch = training_batch(2, height=32, width=32)
    val = evaluation_batch([painted(blocks(32, 32))], "squash", (32, 32))
    with torch.autocast("cpu", torch.bfloat16):
        assert task.training_loss(batch).dtype == torch.float32
        assert {logits.dtype for logits in predicted(task.eval(), val)["scores"]} == {torch.float32}
    found = fit(task.train(), [batch], val=[val], precision="bf16-true").callback_metrics
    assert found["val/miou"].isfinite()


def test_balanced_weights_come_from_the_pixels_of_the_data(fit: Fit) -> None:
    data = Images([painted([[0, 0, 0, 1]]), painted([[0, 1, 2, 255]])], image_size=(1, 4))
    task = make_task(class_weights="balanced")
    assert task.needs_class_counts
    with pytest.raises(InputError, match='weights that are "balanced" need the counts: call task.balance'):
        fit(task, [training_batch()])
    task.balance(data.class_counts)
    assert task.class_weights().tolist() == pytest.approx([7 / 12, 7 / 6, 7 / 3])


def test_a_checkpoint_gives_the_same_masks(fit: Fit, saves: Saves, predicted: Predicted, tmp_path: Path) -> None:
    batch = training_batch(2, height=32, width=32)
    val = evaluation_batch([painted(blocks(40, 33))], "letterbox", (32, 32))
    task = make_task(head=HEADS["Hourglass"], class_weights=[1.0, 2.0, 3.0])
    fit(task, [batch], saves(tmp_path, "step1"), val=[val])
    state = torch.load(tmp_path / "step1.ckpt", weights_only=True)["state_dict"]
    other = make_task(head=HEADS["Hourglass"])
    other.load_state_dict(state)
    expected, found = (predicted(one.eval(), val)["scores"][0] for one in (task, other))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 1}, "segmentation needs 2 to 255 classes, got num_classes=1"),
        ({"num_classes": 256}, "got num_classes=256"),
        ({"loss": {}}, r"model\.init_args\.loss must give factors of 0 or more, one above 0, to cross_entropy, dice"),
        ({"loss": {"dice": 0.0}}, "one above 0"),
        ({"loss": {"dice": -1.0, "focal": 2.0}}, "factors of 0 or more"),
        ({"loss": {"dice": nan}}, "factors of 0 or more"),
        ({"loss": {"lovasz": 1.0}}, r"to cross_entropy, dice, focal; got \{'lovasz': 1\.0\}"),
        ({"class_weights": [1.0, 2.0]}, "3 values above 0"),
        ({"window": 0}, r"window must be 1 or more pixels, got \(0, 0\)"),
        ({"window": (32, -1)}, "window must be 1 or more pixels"),
        ({"window_overlap": 1.0}, r"window_overlap must be in \[0, 1\), got 1\.0"),
        ({"head": partial(FCNHead, stride=7)}, "the head's stride is 7, but the backbone's maps have the strides 2, 4"),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_task(**{"num_classes": 3} | options)


def parsed(text: str) -> Any:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--model", type=Task)
    options = "{backbone: test_resnet, weights: none, num_classes: 3, " + text + "}"
    config = parser.parse_string(f"model: {{class_path: SegmentationTask, init_args: {options}}}")
    return parser.instantiate_classes(config).model


@pytest.mark.parametrize("name", ["FCNHead", "UNetHead", "DeconvHead", "HourglassHead", "DeepLabV3Head"])
def test_a_recipe_names_its_head(name: str) -> None:
    assert type(parsed(f"head: {{class_path: {name}}}").head).__name__ == name


def test_a_recipe_gives_loss_terms_windows_and_the_heads_values() -> None:
    task = parsed(
        "loss: {cross_entropy: 1.0, dice: 0.5}, window: [32, 48], class_weights: balanced, "
        "head: {class_path: FCNHead, init_args: {stride: 16}}"
    )
    assert task.loss_terms == {"cross_entropy": 1.0, "dice": 0.5}
    assert task.window == (32, 48)
    assert task.needs_class_counts
    assert len(task.head.scores) == 2
    assert parsed("window: 64").window == (64, 64)


def test_a_wrong_loss_term_in_a_recipe_is_named() -> None:
    with pytest.raises(InputError, match=r"to cross_entropy, dice, focal; got \{'crossentropy': 1\.0\}"):
        parsed("loss: {crossentropy: 1.0}")


def test_a_grey_network_gets_the_mean_of_the_colours() -> None:
    task = make_task(in_chans=1, head=HEADS["UNet"])
    task.training_loss(training_batch()).backward()
    assert next(task.backbone.parameters()).shape[1] == 1


@pytest.mark.parametrize("size", [(32, 48), (50, 37), (70, 90)], ids=str)
def test_a_vision_transformer_is_evaluated_at_the_images_own_size_in_windows(
    size: tuple[int, int], predicted: Predicted
) -> None:
    task = SegmentationTask("vit_tiny_patch16_224", weights="none", num_classes=3, image_size=(32, 48)).eval()
    assert task.window == (32, 48)
    height, width = size
    batch = {
        "image": torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8),
        "geometry": torch.tensor([[height, width] * 3 + [0, 0]]),
    }
    (logits,) = predicted(task, batch)["scores"]
    assert logits.shape == (3, height, width)
    with torch.no_grad():
        if size == task.window:  # one window: the network's own output, to the last bit
            assert torch.equal(logits, task(task.normalize(batch["image"]))[0])


def test_a_convolutional_network_gets_whole_images() -> None:
    assert SegmentationTask("resnet20_cifar", weights="none", num_classes=3, image_size=(32, 48)).window is None


def test_a_window_that_the_backbone_cannot_take_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"init_args.window: .*take windows of 64x64 px \(it was built for 32x32\): le"
    ):
        SegmentationTask("vit_tiny_patch16_224", weights="none", num_classes=3, image_size=32, window=64)
