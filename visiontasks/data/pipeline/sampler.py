"""Which samples make a batch: a pure function of (seed, epoch, rank), and where in it to start."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler, SequentialSampler

Key = tuple[int | None, int]
"""(epoch, index): what training asks the dataset for, so that every worker knows the epoch; None asks for no image."""

_ORDER_STREAM = 1  # keeps the order's random stream apart from those of the samples


def epoch_order(size: int, *, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """The order in which an epoch visits its samples: a permutation of range(size), (size,)."""
    return np.random.default_rng([seed, epoch, 0, _ORDER_STREAM]).permutation(size)


class TrainBatchSampler(Sampler[list[Key]]):
    """Shuffled batches of full size; what is left over at the end of an epoch is dropped (others each epoch).

    A global batch is the next `world_size * batch_size` entries of the epoch's order, and rank r takes every
    world_size-th of it from r on, so the samples of a step do not depend on how many processes share it.

    Each `iter()` asks `position` at once where to start. So a loader with workers, persistent or not, draws
    the epoch that is current when its iterator is made, however many iterators were made before and left
    unused.

    Args:
        size: Number of samples.
        batch_size: Samples per batch and process.
        seed: Seed of the order.
        rank: This process.
        world_size: Number of processes.
        position: Gives (epoch, batches of it that are done). By default epochs are counted from 0, one for each
            iterator that is drawn from (with workers, a DataLoader makes one that it never uses).
        same_order: Take epoch 0's order in every epoch (to overfit a few batches).
        augmented_as: The epoch as which an epoch's samples are augmented, None where their images are not needed; by
            default itself.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        position: Callable[[], tuple[int, int]] | None = None,
        same_order: bool = False,
        augmented_as: Callable[[int], int | None] | None = None,
    ) -> None:
        self.size = size
        self.global_batch_size = batch_size * world_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.position = position
        self.same_order = same_order
        self.augmented_as = augmented_as
        self._whole = size - size % self.global_batch_size
        self._next_epoch = 0

    def __len__(self) -> int:
        """Batches of a whole epoch, also of a resumed one: Lightning itself counts those that are done."""
        return self.size // self.global_batch_size

    def __iter__(self) -> Iterator[list[Key]]:
        # Not in the generator itself, which runs only when a batch is asked for.
        epoch, done = self.position() if self.position else (self._next_epoch, 0)
        return self._batches(epoch, done)

    def _batches(self, epoch: int, done: int) -> Iterator[list[Key]]:
        self._next_epoch = epoch + 1
        seen_as = self.augmented_as(epoch) if self.augmented_as else epoch
        order = epoch_order(self.size, seed=self.seed, epoch=0 if self.same_order else epoch)
        for start in range(done * self.global_batch_size, self._whole, self.global_batch_size):
            rows = order[start + self.rank : start + self.global_batch_size : self.world_size]
            yield [(seen_as, int(row)) for row in rows]


def eval_batch_size(size: int, batch_size: int, world_size: int) -> int:
    """The batch size of an evaluation: smaller where some of the processes would have no batch."""
    return min(batch_size, max(1, size // world_size))


class EvalSampler(SequentialSampler):
    """Every sample once over all processes, in order and never padded, in the batches that one process would make.

    A network's output for a sample can depend in its last digits on the batch that it comes in, so with other batches
    for another number of processes the metrics would differ there.

    A SequentialSampler, so that Lightning leaves it in place when it is told to overfit some batches.

    Args:
        size: Number of samples.
        batch_size: Samples in a batch, see `eval_batch_size`.
        rank: This process; it takes batches rank, rank + world_size, ...
        world_size: Number of processes.
        with_images: Whether images are needed, asked at each beginning; by default they are.
        most: Samples that are taken, evenly over their order, by all processes together; all by default.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        with_images: Callable[[], bool] | None = None,
        most: int | None = None,
    ) -> None:
        number = size if most is None else min(most, size)
        chosen = [row * size // number for row in range(number)]
        starts = range(rank * batch_size, number, world_size * batch_size)
        self.rows = [row for start in starts for row in chosen[start : start + batch_size]]
        self.with_images = with_images
        super().__init__(self.rows)

    def __iter__(self) -> Iterator[Any]:
        if self.with_images is None or self.with_images():
            return iter(self.rows)
        return iter([(None, row) for row in self.rows])
