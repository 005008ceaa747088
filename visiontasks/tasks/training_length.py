"""How many optimizer steps a training has, by which its schedule is built."""

from math import ceil, inf

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler

from visiontasks.errors import InputError
from visiontasks.library_internals import setup_training_data
from visiontasks.tasks.schedules import Schedule, Step


def training_length(trainer: Trainer, schedule: Schedule) -> tuple[int, int]:
    """Optimizer steps in an epoch and in the whole training.

    Raises:
        InputError: If the training has no end, or epochs of several lengths, which the schedule cannot follow.
    """
    setup_training_data(trainer)  # num_training_batches is known only then
    num_steps = trainer.estimated_stepping_batches
    if not 0 <= num_steps < inf:
        raise InputError("the schedule needs the training's length: set trainer.max_epochs or trainer.max_steps")
    batches = trainer.num_training_batches
    if batches == inf:
        return int(num_steps), int(num_steps)
    steps = [ceil(batches / factor) for factor in _accumulated_batches(trainer)]
    if len(set(steps)) > 1 and (getattr(schedule, "warmup_epochs", False) or isinstance(schedule, Step)):
        raise InputError(
            f"trainer.callbacks: GradientAccumulationScheduler gives epochs of {min(steps)} to {max(steps)} steps, "
            "which a schedule with warmup_epochs or milestones cannot follow: use trainer.accumulate_grad_batches, "
            "or a schedule without them (OneCycle, or Cosine with warmup_epochs: 0)"
        )
    total = int(num_steps) if trainer.max_epochs == -1 else sum(steps)
    return steps[0], total if trainer.max_steps == -1 else min(total, trainer.max_steps)


def _accumulated_batches(trainer: Trainer) -> list[int]:
    """Batches whose gradients make a step, for each epoch (for each change where the training has no last epoch).

    Lightning's `estimated_stepping_batches` takes the first epoch's for all.
    """
    epochs = range(max(1, trainer.max_epochs or 1))
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set outside of its class
    for callback in callbacks:
        if isinstance(callback, GradientAccumulationScheduler):
            open_end = trainer.max_epochs == -1
            return [callback.get_accumulate_grad_batches(at) for at in (callback.epochs if open_end else epochs)]
    return [trainer.accumulate_grad_batches] * len(epochs)
