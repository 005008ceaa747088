"""Progressive image sizes: smaller images in the first epochs that train the whole network, full ones in the last.

An epoch at 160 px takes about half the time of one at 224 px. Howard trained so in the DAWNBench entry of fast.ai (2018);
Tan and Le, "EfficientNetV2: Smaller Models and Faster Training", 2021, section 4, raise the regularization with the
size, which is left out here; Touvron et al., "Fixing the train-test resolution discrepancy", 2019, show that random
crops enlarge objects, so that networks trained on smaller images than those of evaluation need not be worse.
"""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Trainer
from torch import nn

from visiontasks.backbones import size_fault
from visiontasks.errors import InputError
from visiontasks.outputs.geometry import Size

KEY = "finetune.image_sizes"


def check_sides(sides: Sequence[int]) -> None:
    """Check the option by itself.

    Raises:
        InputError: If it is empty, or not whole numbers of pixels from small to large.
    """
    if not sides or min(sides) < 1 or list(sides) != sorted(sides):
        raise InputError(
            f"{KEY}: {list(sides)}, expected pixels from small to large, the last as data.init_args.image_size, such as "
            "[160, 224]; null for one size"
        )


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


def epoch_sides(sides: Sequence[int], trainer: Trainer, *, first_epoch: int | None) -> list[int]:
    """The shorter side of training images in each epoch of a training.

    Args:
        sides: The option.
        trainer: About to train.
        first_epoch: The first epoch that trains the whole backbone; None if none does.

    Raises:
        InputError: If there is no such epoch, or its last one is not known.
    """
    if first_epoch is None:
        raise InputError(
            f"{KEY} is for epochs that train the whole backbone, of which there is none: set it to null, or change "
            "finetune.unfreeze, finetune.last_stages or trainer.max_epochs"
        )
    epochs = trainer.max_epochs
    if epochs is None or epochs < 0 or trainer.max_steps != -1:
        raise InputError(
            f"{KEY} ends with an epoch at full size, so the last epoch must be known: set trainer.max_epochs, and no "
            f"trainer.max_steps, or {KEY} to null"
        )
    return [sides[-1]] * first_epoch + stretched(sides, epochs - first_epoch)


def set_train_sizes(data: Any, sides: Sequence[int], backbone: nn.Module) -> None:
    """Let data make training images of a size for each epoch, once the network has been tried on each.

    Args:
        data: A `visiontasks.data.DataModule`.
        sides: Shorter side by epoch; the last is the data's own.
        backbone: Of the task.

    Raises:
        InputError: If the data cannot, or its own images are of another size, or the network cannot take one.
    """
    if not hasattr(data, "train_sizes"):
        raise InputError(f"{KEY} needs a DataModule of visiontasks.data, which makes the images: set it to null")
    full: Size = data.image_size
    if sides[-1] != min(full):
        raise InputError(
            f"{KEY} ends with {sides[-1]}, but the images have {full[0]}x{full[1]} px (data.init_args.image_size): end "
            f"it with {min(full)}, or set it to null for one size"
        )
    sizes = [scaled(full, side) for side in sides]
    for size in sorted(set(sizes) - {full}):
        if fault := size_fault(backbone, size):
            raise InputError(
                f"{KEY}: the backbone cannot take images of {size[0]}x{size[1]} px ({fault}): give other sizes, or null "
                "for one size"
            )
    data.train_sizes = sizes
