"""Checks a recipe whose values are all of the right type before it is trained."""

import re
from collections.abc import Sequence
from inspect import signature
from math import isfinite
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import StochasticWeightAveraging

from visiontasks.backbones import input_size, size_error, size_fault
from visiontasks.data import DataModule
from visiontasks.data.pipeline.files import listed
from visiontasks.errors import InputError
from visiontasks.outputs import Output
from visiontasks.tasks import Task, parameter_groups
from visiontasks.units import counted

LARGEST_SEED = 2**32 - 1  # numpy's


def check_seed(seed: Any) -> None:
    """Refuse a seed that is out of range.

    Raises:
        InputError: If it is `true`, which would be another seed each time, or out of range.
    """
    if isinstance(seed, bool) or not 0 <= seed <= LARGEST_SEED:
        raise InputError(f"seed_everything: {seed}, expected 0 to {LARGEST_SEED}")


def check_mappings(args: Sequence[str]) -> None:
    """Refuse a mapping such as {255:1}, which YAML reads as one key, even as a sexagesimal number.

    Raises:
        InputError: If there is one.
    """
    for arg in args:
        mapping = arg.partition("=")[2] if arg.startswith("--") else arg
        if mapping.startswith("{") and re.search(r"[{,]\s*\d+:\d", mapping):
            spaced = re.sub(r"(?<=\d):(?=\d)", ": ", mapping)
            raise InputError(f"{mapping}: expected a space after each colon, as '{spaced}'")


def check_limits(trainer: Namespace) -> None:
    """Refuse numbers with which Lightning silently trains or measures nothing, or divides by zero.

    Args:
        trainer: The trainer's section.

    Raises:
        InputError: If there are any.
    """
    for key in ("limit_train_batches", "limit_val_batches", "limit_test_batches", "val_check_interval"):
        if isinstance(trainer[key], int | float) and trainer[key] <= 0:
            raise InputError(f"trainer.{key}: {trainer[key]}, expected more than 0")
    if trainer["max_epochs"] == 0 or trainer["max_steps"] == 0:
        raise InputError("trainer.max_epochs and trainer.max_steps must not be 0: nothing would be trained")
    if trainer["accumulate_grad_batches"] < 1:
        raise InputError(f"trainer.accumulate_grad_batches: {trainer['accumulate_grad_batches']}, expected at least 1")
    clip = trainer["gradient_clip_val"]
    if clip is not None and not clip >= 0:
        raise InputError(f"trainer.gradient_clip_val: {clip}, expected 0 or more")
    _check_epochs(trainer)


def check_callbacks(callbacks: Sequence[Callback]) -> None:
    """Refuse callbacks with which a run can neither be resumed nor measured at its best epoch.

    Raises:
        InputError: If there is one.
    """
    if any(isinstance(callback, StochasticWeightAveraging) for callback in callbacks):
        raise InputError(
            "trainer.callbacks: StochasticWeightAveraging, whose average is made when the training ends, while a run "
            "measures its best epoch, and which cannot be resumed within an epoch: use model.init_args.ema_decay"
        )


def check_task(task: Task) -> None:
    """Refuse a task that does not define what a run needs after the training.

    Raises:
        InputError: If `outputs` or `monitor` is missing, or the output has abstract methods.
    """
    name, outputs = type(task).__name__, getattr(task, "outputs", None)
    if not (isinstance(outputs, type) and issubclass(outputs, Output)):
        raise InputError(f"model.class_path: {name} defines no outputs, expected a class of visiontasks.outputs")
    missing = sorted(getattr(outputs, "__abstractmethods__", ()))
    if missing:
        raise InputError(
            f"model.class_path: {name}.outputs is {outputs.__name__}, which does not define {listed(missing)}"
        )
    if not isinstance(getattr(task, "monitor", None), str) or getattr(task, "monitor_mode", "") not in ("min", "max"):
        raise InputError(
            f"model.class_path: {name} defines no monitor such as val/top1, or no monitor_mode, min or max"
        )


def check_columns(task: Task) -> None:
    """Refuse to train a task whose samples a report could not show and `compare` could not compare.

    Raises:
        InputError: If it does not give what its output needs of each sample.
    """
    missing = [column for column in task.outputs.table_columns if column not in task.sample_columns]
    if missing:
        name = type(task).__name__
        raise InputError(
            f"model.class_path: {name}.outputs is {task.outputs.__name__}, of which reports and comparisons need "
            f"{listed(missing)} of each sample: name them in sample_columns and return them from {name}.update_metrics"
        )


def check_target(task: Task, data: DataModule) -> None:
    """Refuse data whose samples are not annotated with what a task is trained on.

    Raises:
        InputError: If they are not.
    """
    if not task.targets:
        return
    name, target, objects = type(data).__name__, data.target.name, getattr(data, "num_objects", None)
    several = f" of {objects} objects" if objects is not None and objects > 1 else ""
    if target not in task.targets or (target != task.targets[0] and several):
        raise InputError(
            f"data.class_path: {name} gives images with a {target}{several}, but model.class_path: "
            f"{type(task).__name__} is trained on a {task.targets[0]} each: take other data"
            f"{', set data.init_args.target' if 'target' in signature(type(data)).parameters else ''} or another task"
        )
    expected = getattr(task, "num_objects", objects)
    if objects not in (None, expected):
        raise InputError(
            f"the data gives {counted(objects, 'box', 'boxes')} per image, but model.init_args.num_objects is "
            f"{expected}: set it to {objects}"
        )


def check_image_size(task: Task, size: tuple[int, int]) -> None:
    """Try the network on an image of the data's size where it was not built for that.

    Args:
        task: Has the network.
        size: Height and width in pixels.

    Raises:
        InputError: If it takes no such images.
    """
    own = input_size(task.backbone)
    fault = size_fault(task.backbone, size) if size != own else ""
    if not fault:
        return
    if size_fault(task.backbone, own):
        task.backbone(torch.zeros(1, task.in_chans, *own))  # raises what is not for the size
    raise size_error(size, fault, own)


def check_optimizer(task: Task) -> None:
    """Make the optimizer once, so that its errors come before the training.

    Raises:
        InputError: If it cannot be made, or its learning rate is not finite, which torch does not check.
    """
    groups = parameter_groups(task, lr_scale=task.backbone_lr_scale)
    try:
        optimizer = task.optimizer_factory(groups)
    except (TypeError, ValueError) as error:
        raise InputError(f"model.init_args.optimizer: {error}") from error
    for group in optimizer.param_groups:
        strange = {key: value for key, value in group.items() if isinstance(value, float) and not isfinite(value)}
        if strange:
            raise InputError(f"model.init_args.optimizer.init_args: {strange}, expected finite numbers")


def _check_epochs(trainer: Namespace) -> None:
    every, epochs, least = (trainer[key] for key in ("check_val_every_n_epoch", "max_epochs", "min_epochs"))
    if epochs is None or epochs < 0:
        return
    if every is not None and not 1 <= every <= epochs:
        raise InputError(
            f"trainer.check_val_every_n_epoch: {every}, expected 1 to trainer.max_epochs ({epochs}): without a "
            "validation no epoch could be chosen"
        )
    if least is not None and least > epochs:
        raise InputError(f"trainer.min_epochs: {least}, expected at most trainer.max_epochs ({epochs})")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory is used up; torch has an error type of its own only for an accelerator's."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
