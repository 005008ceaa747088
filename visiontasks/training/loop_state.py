"""Where a training stands: what Lightning 2.6.6 saves of its loops wrongly or not at all.

The private names of its loops that saving and resuming need are here. Each was found by resuming from every save of a
training and comparing the end bit by bit (tests/training/test_loop_state.py).
"""

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from torch import Tensor

from visiontasks.errors import InputError

STATE = "loop_state"
"""The checkpoint's entry."""


def prepare(trainer: Trainer) -> None:
    """Let a checkpoint be loaded as what it is, with trainer.max_steps too.

    With max_steps, even one that is never reached, the fit loop takes every checkpoint for one from within an epoch,
    and counts the epoch that follows one from the end of an epoch without training it.
    """
    trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]


def is_resumable_validation(trainer: Trainer) -> bool:
    """Whether a training that is saved before this validation goes on with it.

    Not between batches whose gradients belong together: a step is saved whole. And not behind the last step (max_steps,
    early stopping, max_time), where a resumed loop has nothing left to do and would leave the validation out.
    """
    return not trainer.fit_loop._should_accumulate() and not trainer.fit_loop.done


def save(trainer: Trainer, checkpoint: dict[str, Any], moment: str) -> None:
    """Correct a checkpoint's loops, and add what is missing.

    Args:
        trainer: Is training.
        checkpoint: About to be written.
        moment: "between batches", "before validation", or any other.
    """
    loops = checkpoint["loops"]["fit_loop"]
    if moment == "between batches" and not trainer.fit_loop._should_accumulate():
        loops["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1  # Lightning counts the last one again
    if moment == "before validation":
        progress = loops["epoch_loop.val_loop.batch_progress"]
        done = progress["total"]["completed"] - progress["current"]["completed"]
        progress["total"] |= {"ready": done + 1, "started": done + 1, "processed": done, "completed": done}
        progress["current"] |= dict.fromkeys(progress["current"], 0)
        progress["is_last_batch"] = False
    # where a validation between batches whose gradients belong together saves the best weights
    is_within_step = moment != "between batches" and trainer.fit_loop._should_accumulate()
    checkpoint[STATE] = {
        "gradients": _gradients(trainer) if is_within_step else {},
        "should_stop": trainer.should_stop,
        "metrics": dict(trainer.callback_metrics),
        "since_validation_s": time.monotonic() - getattr(trainer, "_last_val_time", time.monotonic()),
    }


def load(trainer: Trainer, checkpoint: dict[str, Any]) -> None:
    """Stop again what early stopping or a time limit had stopped, before the loop looks for something to do.

    Raises:
        InputError: If several processes have gathered gradients, of which the checkpoint holds none.
    """
    state = checkpoint.get(STATE, {})
    if state.get("gradients", {}) is None:
        raise InputError(
            "this checkpoint was saved within a step of trainer.accumulate_grad_batches, whose gradients in several "
            "processes it does not hold: resume the run's last.ckpt (--resume RUN)"
        )
    trainer.should_stop = trainer.should_stop or state.get("should_stop", False)


def resume(trainer: Trainer, module: LightningModule, state: dict[str, Any]) -> None:
    """Restore what Lightning resets between loading and training.

    Args:
        trainer: Has restored all else, and is about to train.
        module: Is trained.
        state: The checkpoint's entry.
    """
    device = trainer.strategy.root_device
    # of an earlier validation; whoever monitors one needs it in an epoch without validation too
    trainer.callback_metrics.update({name: value.to(device) for name, value in state["metrics"].items()})
    for name, gradient in state["gradients"].items():
        module.get_parameter(name).grad = gradient.to(device)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set outside of its class
        if isinstance(callback, GradientAccumulationScheduler):  # else waits for the start of an epoch
            callback.on_train_epoch_start(trainer, module)
    # of a validation by the clock (val_check_interval 00:01:00:00), which one that was interrupted is due by
    trainer._last_val_time = time.monotonic() - state["since_validation_s"]  # type: ignore[attr-defined]


def _gradients(trainer: Trainer) -> dict[str, Tensor] | None:
    """Gradients gathered so far, by parameter; None with several processes, where each has its own."""
    if trainer.world_size > 1:
        return None
    parameters = trainer.lightning_module.named_parameters()
    return {name: parameter.grad for name, parameter in parameters if parameter.grad is not None}
