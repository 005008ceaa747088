"""Smaller images in the first epochs that train everything: which epoch has which size, and who refuses it."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import timm
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from visiontasks.backbones import create_vector
from visiontasks.data import DataModule, DigitScenes, Source
from visiontasks.data.pipeline.sources import ArraySource
from visiontasks.errors import InputError
from visiontasks.finetuning.image_sizes import ImageSizes, scaled, stretched
from visiontasks.finetuning.plan import Phase
from visiontasks.finetuning.schedule import FinetuneSchedule
from visiontasks.tasks import LocalizationTask, SegmentationTask, Task

pytestmark = pytest.mark.filterwarnings("ignore:Found .* in eval mode at the start of training:UserWarning")

QUIET: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
QUIET |= {"enable_checkpointing": False, "num_sanity_val_steps": 0, "accelerator": "cpu"}


class Noise(DataModule):
    """17 images of noise to train on, 4 batches of 4, and 5 to validate, of two classes in turns."""

    class_names = ["even", "odd"]  # noqa: RUF012 (never changed)

    def __init__(self, side_px: int = 8, **options: Any) -> None:
        super().__init__(image_size=side_px, batch_size=4, seed=0, **options)
        self.shape = side_px, side_px, 3

    def load_sources(self) -> dict[str, Source]:
        rng = np.random.default_rng(0)
        images = {"train": 17, "val": 5}
        return {
            split: ArraySource(rng.integers(0, 256, (size, *self.shape), np.uint8), np.arange(size) % 2)
            for split, size in images.items()
        }


@pytest.mark.parametrize(
    ("sides", "epochs", "expected"),
    [
        ([160, 160, 224], 3, [160, 160, 224]),
        ([160, 224], 4, [160, 160, 224, 224]),
        ([160, 224], 5, [160, 160, 224, 224, 224]),
        ([160, 160, 224], 7, [160, 160, 160, 160, 224, 224, 224]),
        ([128, 160, 224], 7, [128, 128, 160, 160, 224, 224, 224]),
        ([128, 160, 224], 2, [160, 224]),
        ([128, 160, 224], 1, [224]),
        ([224], 3, [224, 224, 224]),
    ],
)
def test_sizes_are_stretched_over_the_epochs_and_the_last_has_the_full_one(
    sides: list[int], epochs: int, expected: list[int]
) -> None:
    assert stretched(sides, epochs) == expected


@pytest.mark.parametrize("epochs", range(1, 30))
def test_sizes_never_shrink_and_have_as_many_epochs_each_but_for_one(epochs: int) -> None:
    found = stretched([128, 160, 192, 224], epochs)
    assert found == sorted(found)
    assert found[-1] == 224
    counts = [found.count(side) for side in (128, 160, 192, 224)]
    assert max(counts) - min(counts) <= 1


def test_oblong_images_keep_their_proportions() -> None:
    assert scaled((240, 320), 160) == (160, 213)  # 213.3
    assert scaled((320, 240), 90) == (120, 90)
    assert scaled((224, 224), 160) == (160, 160)


@pytest.mark.parametrize("sides", [[], [0, 224], [224, 160]])
def test_sizes_that_are_not_pixels_from_small_to_large_are_refused(sides: list[int]) -> None:
    with pytest.raises(InputError, match=r"finetune.image_sizes: .*, expected pixels from small to large"):
        FinetuneSchedule(image_sizes=sides)


def begun(
    sides: list[int],
    trains_all: Callable[[int], bool] = lambda epoch: True,
    backbone: nn.Module | None = None,
    **given: Any,
) -> ImageSizes:
    """The sizes of a training on 8x8 pixels."""
    options = {"max_epochs": 6, "max_steps": -1, "fast_dev_run": False, "datamodule": Noise(), **given}
    trainer: Any = SimpleNamespace(**options)
    sizes = ImageSizes(sides)
    sizes.begin(trainer, backbone or nn.Identity(), trains_all)
    return sizes


def test_epochs_before_the_whole_backbone_is_trained_have_the_full_size() -> None:
    data = Noise()
    sizes = begun([4, 8], lambda epoch: epoch >= 2, datamodule=data)
    assert [sizes.side(epoch) for epoch in range(7)] == [None, None, 4, 4, None, None, None]
    assert [*data.train_sizes] == [(8, 8), (8, 8), (4, 4), (4, 4), (8, 8), (8, 8)]
    sizes.end()
    assert [*data.train_sizes] == []


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"trains_all": lambda epoch: False}, "epochs that train the whole backbone, of which there is none"),
        ({"max_epochs": -1, "max_steps": 100}, "the last epoch must be known"),
        ({"max_epochs": None}, "the last epoch must be known"),
        ({"max_steps": 100}, "the last epoch must be known"),
        ({"datamodule": None}, "requires a DataModule of visiontasks.data"),
        ({"datamodule": Noise(16)}, "ends with 8, but the images have 16x16 px .* end it with 16"),
    ],
)
def test_a_training_without_a_last_epoch_at_full_size_is_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=f"finetune.image_sizes .*{reason}"):
        begun([4, 8], **given)


def test_one_batch_to_try_a_training_has_the_full_size() -> None:
    assert begun([4, 8], fast_dev_run=1, max_epochs=1).side(0) is None


@pytest.mark.parametrize(
    ("name", "sides", "reason"),
    [
        ("test_vit", [120, 160], r"120x120 px \(not a multiple of its patches of 16x16 px\)"),
        ("lenet5", [4, 32], r"4x4 px \(.*[Kk]ernel size"),  # of its first convolution: 5x5
    ],
)
def test_a_network_that_cannot_take_a_size_is_refused_with_the_reason(name: str, sides: list[int], reason: str) -> None:
    backbone = create_vector(name, weights="none")
    with pytest.raises(InputError, match=f"finetune.image_sizes: the backbone cannot take images of {reason}"):
        begun(sides, backbone=backbone, datamodule=Noise(sides[-1]))


def test_a_vision_transformer_takes_other_sizes_while_it_is_trained_with_them_alone() -> None:
    vit = timm.create_model("test_vit", pretrained=False, num_classes=0, dynamic_img_size=False)
    sizes = begun([128, 160], backbone=vit, datamodule=Noise(160))
    assert vit(torch.zeros(1, 3, 128, 128)).shape == (1, 64)
    sizes.end()
    with pytest.raises(AssertionError, match="128"):
        vit(torch.zeros(1, 3, 128, 128))


class Backbone(nn.Module):
    """Two stages; mean colours."""

    def __init__(self) -> None:
        super().__init__()
        self.stage1 = nn.Conv2d(3, 4, 1)
        self.stage2 = nn.Conv2d(4, 4, 1)
        self.feature_info = [{"module": "stage1"}, {"module": "stage2"}]

    def forward(self, image: Tensor) -> Tensor:
        found: Tensor = self.stage2(self.stage1(image)).mean((2, 3))
        return found


class Noting(LightningModule):
    """Notes rows and images of all batches: `train` by epoch, and sizes of `val`."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.head = nn.Linear(4, 2)
        self.train_images: dict[int, list[tuple[list[int], Tensor]]] = {}
        self.val_sizes: set[tuple[int, ...]] = set()

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        noted = (batch["index"].tolist(), batch["image"])
        self.train_images.setdefault(self.current_epoch, []).append(noted)
        logits: Tensor = self.head(self.backbone(batch["image"].float()))
        return logits.square().mean()

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.val_sizes.add(tuple(batch["image"].shape[2:]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)

    def sizes(self) -> list[set[tuple[int, ...]]]:
        """Height and width of the training images by epoch."""
        return [{tuple(image.shape[2:]) for _, image in batches} for _, batches in sorted(self.train_images.items())]


def fitted(data: DataModule, schedule: FinetuneSchedule, epochs: int = 4, **options: Any) -> Noting:
    module = Noting()
    Trainer(max_epochs=epochs, callbacks=[schedule], **QUIET, **options).fit(module, datamodule=data)
    return module


def test_a_training_sees_small_images_in_the_first_full_epochs_alone() -> None:
    schedule = FinetuneSchedule(1, image_sizes=[4, 4, 8])
    data = Noise()
    module = fitted(data, schedule)
    assert module.sizes() == [{(8, 8)}, {(4, 4)}, {(4, 4)}, {(8, 8)}]
    assert module.val_sizes == {(8, 8)}
    assert schedule.phases(2, 4) == [Phase(0, 1, 0), Phase(1, 3, 2, 4), Phase(3, 4, 2)]
    assert [schedule.image_side(epoch) for epoch in range(5)] == [None, 4, 4, None, None]
    assert list(data.train_sizes) == []  # a later use of the data is not of this training


def test_order_and_augmentation_are_those_of_the_full_images() -> None:
    import albumentations as A

    def trained(sizes: list[int] | None) -> Noting:
        data = Noise(augment=[A.HorizontalFlip(p=0.5), A.GaussNoise(p=1)])
        return fitted(data, FinetuneSchedule(0, image_sizes=sizes), epochs=2)

    small, full = trained([4, 8]), trained(None)
    for epoch, shrinks in ((0, True), (1, False)):
        for (rows, image), (expected_rows, expected) in zip(
            small.train_images[epoch], full.train_images[epoch], strict=True
        ):
            assert rows == expected_rows
            if shrinks:  # the mean of each four pixels, halves rounded up
                expected = ((expected.int().unfold(2, 2, 2).unfold(3, 2, 2).sum((4, 5)) + 2) // 4).byte()
            np.testing.assert_array_equal(image.numpy(), expected.numpy())


def test_with_stages_small_images_begin_once_all_are_trained() -> None:
    schedule = FinetuneSchedule(1, unfreeze="stages", image_sizes=[4, 8])
    module = fitted(Noise(), schedule, epochs=5)
    assert module.sizes() == [{(8, 8)}, {(8, 8)}, {(4, 4)}, {(8, 8)}, {(8, 8)}]


class BatchSizes(Callback):
    """Height and width of the images and masks of each training batch."""

    def __init__(self) -> None:
        self.images: list[tuple[int, ...]] = []
        self.masks: list[tuple[int, ...]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.images.append(tuple(batch["image"].shape[2:]))
        self.masks += [tuple(batch["mask"].shape[1:])] if "mask" in batch else []


@pytest.mark.parametrize("target", ["box", "mask"])
def test_boxes_and_masks_are_trained_on_smaller_images_too(target: Any) -> None:
    make: type[Task] = LocalizationTask if target == "box" else SegmentationTask
    seen = BatchSizes()
    task = make("resnet20_cifar", weights="none", num_classes=11, image_size=(32, 48))
    data = DigitScenes(target=target, scenes_per_digit=1, image_size=(32, 48), batch_size=4, num_workers=0)
    schedule = FinetuneSchedule(0, image_sizes=[20, 32])
    limits = {"max_epochs": 2, "limit_train_batches": 1, "limit_val_batches": 1}
    Trainer(callbacks=[schedule, seen], **limits, **QUIET).fit(task, datamodule=data)
    assert seen.images == [(20, 30), (32, 48)]
    assert seen.masks == ([(20, 30), (32, 48)] if target == "mask" else [])
