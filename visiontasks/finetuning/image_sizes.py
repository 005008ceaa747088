"""Progressive image sizes: smaller images in the first epochs that train the whole network, full ones in the last.

Steps at 160 px take about half as long as at 224 px. After Howard's training of ImageNet in 18 minutes (fast.ai, 2018)
and Tan and Le, "EfficientNetV2: Smaller Models and Faster Training", 2021, section 4, who raise the regularization with
the size, which is left out here. Touvron et al., "Fixing the train-test resolution discrepancy", 2019, show that random
crops enlarge objects, so that training on smaller images than those of evaluation need not be worse.
"""

from collections.abc import Callable, Sequence
from typing import Any

from lightning.pytorch import Trainer
from torch import nn

from visiontasks.backbones import size_fault, vary_size
from visiontasks.errors import InputError
from visiontasks.outputs.geometry import Size

KEY = "finetune.image_sizes"


class ImageSizes:
    """Lets the data of a training make smaller images in the first epochs that train the whole backbone.

    The size of a training image is a function of its epoch alone. It is augmented at full size and then scaled with its
    annotation, so order and augmentation are those of a training at full size. Vision transformers resample their
    position embeddings.

    Args:
        sides: Shorter sides in pixels from small to large, the last that of the data's own `image_size`; see
            `stretched`. None for one size.

    Raises:
        InputError: If they are none, or not whole numbers of pixels from small to large.
    """

    def __init__(self, sides: Sequence[int] | None) -> None:
        if sides is not None and (not sides or min(sides) < 1 or list(sides) != sorted(sides)):
            raise InputError(
                f"{KEY}: {list(sides)}, expected pixels from small to large, such as [160, 224], the last of them "
                "data.init_args.image_size, or null for one size"
            )
        self.sides = sides
        self._by_epoch: list[int] = []
        self._data: Any = None
        self._fix_size: Callable[[], None] | None = None
        """Lets the backbone take its own size only again."""

    def begin(self, trainer: Trainer, backbone: nn.Module, trains_all: Callable[[int], bool]) -> None:
        """Set the sizes of a training before its loader is made.

        Args:
            trainer: About to train.
            backbone: Is tried on an image of each size.
            trains_all: Whether an epoch, counted from 0, trains the whole backbone.

        Raises:
            InputError: If no epoch does, the last one is not known, the data's images have another size, or the
                backbone cannot take one of the sizes.
        """
        self.end()
        self._by_epoch = []
        one_batch: bool = trainer.fast_dev_run  # type: ignore[attr-defined]  # set outside of its class
        if self.sides is None or one_batch:
            return
        by_epoch = _sides_by_epoch(self.sides, trainer, trains_all)
        data: Any = getattr(trainer, "datamodule", None)
        if not hasattr(data, "train_sizes"):
            raise InputError(f"{KEY} requires a DataModule of visiontasks.data, which makes the images: set it to null")
        full: Size = data.image_size
        if self.sides[-1] != min(full):
            raise InputError(
                f"{KEY} ends with {self.sides[-1]}, but the images have {full[0]}x{full[1]} px "
                f"(data.init_args.image_size): end it with {min(full)}, or set it to null for one size"
            )
        sizes = [scaled(full, side) for side in by_epoch]
        self._by_epoch, self._data = by_epoch, data
        data.train_sizes = sizes
        self._fix_size = vary_size(backbone)
        _check_backbone(backbone, set(sizes) - {full})

    def side(self, epoch: int) -> int | None:
        """Shorter side of the training images in an epoch of the training that began last; None for their full size."""
        side = self._by_epoch[epoch] if epoch < len(self._by_epoch) else None
        return None if side is None or side == self._by_epoch[-1] else side

    def end(self) -> None:
        """Leave data and backbone as they were."""
        if self._data is not None:
            self._data.train_sizes = ()
        if self._fix_size is not None:
            self._fix_size()
        self._data = self._fix_size = None


def stretched(sides: Sequence[int], epochs: int) -> list[int]:
    """The side of each epoch: all sides in turn for as many epochs each, later ones for one more where it is uneven.

    The last epoch has the last side, also where there are fewer epochs than sides.
    """
    return [sides[len(sides) - 1 - (epochs - 1 - epoch) * len(sides) // epochs] for epoch in range(epochs)]


def scaled(full: Size, side: int) -> Size:
    """Height and width with a shorter side in the proportions of `full`; halves are rounded up."""
    short = min(full)
    height, width = ((2 * each * side + short) // (2 * short) for each in full)
    return height, width


def _sides_by_epoch(sides: Sequence[int], trainer: Trainer, trains_all: Callable[[int], bool]) -> list[int]:
    epochs = trainer.max_epochs
    if epochs is None or epochs < 0 or trainer.max_steps != -1:
        raise InputError(
            f"{KEY} ends with an epoch at full size, so the last epoch must be known: set trainer.max_epochs, and no "
            f"trainer.max_steps, or {KEY} to null"
        )
    first = next((epoch for epoch in range(epochs) if trains_all(epoch)), None)
    if first is None:
        raise InputError(
            f"{KEY} is for epochs that train the whole backbone, of which there is none: set it to null, or change "
            "finetune.unfreeze, finetune.last_stages or trainer.max_epochs"
        )
    return [sides[-1]] * first + stretched(sides, epochs - first)


def _check_backbone(backbone: nn.Module, sizes: set[Size]) -> None:
    for height, width in sorted(sizes):
        if fault := size_fault(backbone, (height, width)):
            raise InputError(
                f"{KEY}: the backbone cannot take images of {height}x{width} px ({fault}): give other sizes, or null "
                "for one size"
            )
