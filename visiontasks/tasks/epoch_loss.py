"""The mean loss of a training epoch over all processes: checked to be finite, and carried through checkpoints."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule
from torch import Tensor

from visiontasks.errors import DivergenceError
from visiontasks.tasks.metrics.classification import MeanLoss


def check_finite(loss: Tensor, task: LightningModule, rows: Tensor) -> None:
    """Check a batch's loss, in all processes.

    Args:
        loss: Of this process, a scalar.
        task: In training.
        rows: Of the batch's samples, (B,).

    Raises:
        DivergenceError: If it is infinite or no number in any process.
    """
    finite = torch.isfinite(loss).all()
    if dist.is_available() and dist.is_initialized():
        everywhere = finite.int()
        dist.all_reduce(everywhere, dist.ReduceOp.MIN)
        finite = everywhere.bool()
    if finite:
        return
    groups = task.trainer.optimizers[0].param_groups
    rates = {str(group.get("name", i)): group["lr"] for i, group in enumerate(groups)}
    raise DivergenceError(
        f"the loss is {float(loss)} in epoch {task.current_epoch + 1}, step {task.global_step + 1}, before the "
        f"optimizer's step; learning rates: {', '.join(f'{name} {rate:.3g}' for name, rate in rates.items())}",
        rows.tolist(),
    )


def loss_so_far(loss: MeanLoss) -> list[list[float]]:
    """The total and the count of each process, so that they are summed in the same order again."""
    so_far = [torch.stack([loss.total, loss.count])]
    if dist.is_available() and dist.is_initialized():
        own = so_far[0]
        so_far = [torch.zeros_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(so_far, own)
    return [values.tolist() for values in so_far]


def restore_loss(loss: MeanLoss, parts: Sequence[Sequence[float]], rank: int) -> None:
    """Take up a process's part of what `loss_so_far` gave."""
    loss.reset()
    if rank < len(parts):
        loss.update(*parts[rank])
