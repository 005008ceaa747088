"""The state of a training's loops: what Lightning 2.6.6 saves wrongly or not at all.

Each case was found by resuming from every save of a training and comparing the end bit by bit
(tests/training/test_loop_state.py).
"""

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from torch import Tensor

from visiontasks.errors import InputError
from visiontasks.library_internals import (
    is_accumulating,
    is_training_done,
    restart_validation,
    set_validation_time,
    uncount_last_step,
    validation_time,
)

STATE = "loop_state"
"""The checkpoint's entry."""


def is_resumable_validation(trainer: Trainer) -> bool:
    """Whether a training that is saved before this validation resumes with it.

    Not between batches of one accumulated step, which is saved whole. And not after the last step (max_steps, early
    stopping, max_time), where a resumed loop has nothing left to do and would leave the validation out.
    """
    return not is_accumulating(trainer) and not is_training_done(trainer)


def save(trainer: Trainer, checkpoint: dict[str, Any], moment: str) -> None:
    """Correct the loops' state in a checkpoint, and add what is missing.

    Args:
        trainer: The running trainer.
        checkpoint: Not yet written.
        moment: "between batches", "before validation", or any other.
    """
    if moment == "between batches" and not is_accumulating(trainer):
        uncount_last_step(checkpoint)
    if moment == "before validation":
        restart_validation(checkpoint)
    # the best weights are saved by a validation between batches of one accumulated step
    is_within_step = moment != "between batches" and is_accumulating(trainer)
    last = validation_time(trainer)
    checkpoint[STATE] = {
        "gradients": _gradients(trainer) if is_within_step else {},
        "should_stop": trainer.should_stop,
        "metrics": dict(trainer.callback_metrics),
        "since_validation_s": 0.0 if last is None else time.monotonic() - last,
    }


def load(trainer: Trainer, checkpoint: dict[str, Any]) -> None:
    """Stop a training again that early stopping or a time limit had stopped, before its loop starts.

    Raises:
        InputError: If the checkpoint does not have the accumulated gradients of several processes.
    """
    state = checkpoint.get(STATE, {})
    if state.get("gradients", {}) is None:
        raise InputError(
            "this checkpoint was saved within a step of trainer.accumulate_grad_batches, and the accumulated "
            "gradients of several processes are not in it: resume the run's last.ckpt (--resume RUN)"
        )
    trainer.should_stop = trainer.should_stop or state.get("should_stop", False)


def resume(trainer: Trainer, module: LightningModule, state: dict[str, Any]) -> None:
    """Restore what Lightning resets between loading and training.

    Args:
        trainer: Has restored everything else, and is about to train.
        module: Is trained.
        state: The checkpoint's entry.
    """
    device = trainer.strategy.root_device
    # from an earlier validation; a callback that monitors one needs it in an epoch without validation too
    trainer.callback_metrics.update({name: value.to(device) for name, value in state["metrics"].items()})
    for name, gradient in state["gradients"].items():
        module.get_parameter(name).grad = gradient.to(device)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set outside of its class
        if isinstance(callback, GradientAccumulationScheduler):  # which otherwise acts at the start of an epoch only
            callback.on_train_epoch_start(trainer, module)
    # of validations by the clock (val_check_interval 00:01:00:00), so that an interrupted one is due again
    set_validation_time(trainer, time.monotonic() - state["since_validation_s"])


def _gradients(trainer: Trainer) -> dict[str, Tensor] | None:
    """Gradients accumulated so far, by parameter; None with several processes, each of which has its own."""
    if trainer.world_size > 1:
        return None
    parameters = trainer.lightning_module.named_parameters()
    return {name: parameter.grad for name, parameter in parameters if parameter.grad is not None}
