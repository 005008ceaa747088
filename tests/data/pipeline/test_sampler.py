"""Order, batches and shares of processes."""

from itertools import chain

import pytest
from torch.utils.data import BatchSampler

from visiontasks.data.pipeline.sampler import EvalSampler, TrainBatchSampler, epoch_order, eval_batch_size


def test_order_is_a_permutation_that_depends_on_seed_and_epoch() -> None:
    orders = [tuple(epoch_order(50, seed=seed, epoch=epoch)) for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len(set(orders)) == 4
    assert tuple(epoch_order(50, seed=1, epoch=0)) == orders[2]


def test_batches_are_the_order_in_slices_and_the_rest_is_dropped() -> None:
    sampler = TrainBatchSampler(11, 3, seed=5)
    order = epoch_order(11, seed=5, epoch=0).tolist()
    assert len(sampler) == 3
    assert list(sampler) == [[(0, row) for row in order[start : start + 3]] for start in (0, 3, 6)]


def test_each_iterator_that_is_drawn_from_is_the_next_epoch() -> None:
    sampler = TrainBatchSampler(8, 4, seed=0)
    iter(sampler)
    first = next(iter(sampler))
    second = list(sampler)
    assert first == [(0, row) for row in epoch_order(8, seed=0, epoch=0)[:4]]
    assert [key for batch in second for key in batch] == [(1, row) for row in epoch_order(8, seed=0, epoch=1)]


def test_position_is_read_when_the_iterator_is_made() -> None:
    place = (3, 1)
    sampler = TrainBatchSampler(8, 2, seed=0, position=lambda: place)
    iterator = iter(sampler)
    place = (4, 0)
    order = epoch_order(8, seed=0, epoch=3).tolist()
    assert list(iterator) == [[(3, row) for row in order[start : start + 2]] for start in (2, 4, 6)]
    assert len(sampler) == 4


@pytest.mark.parametrize("world_size", [1, 2, 3, 6])
def test_a_global_batch_does_not_depend_on_who_shares_it(world_size: int) -> None:
    whole = list(TrainBatchSampler(20, 6, seed=0))
    ranks = [
        list(TrainBatchSampler(20, 6 // world_size, seed=0, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    assert [sorted(chain(*batches)) for batches in zip(*ranks, strict=True)] == [sorted(b) for b in whole]
    assert [batch[0] for batch in ranks[0]] == [batch[0] for batch in whole]


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_evaluation_is_partitioned_exactly(world_size: int) -> None:
    shares = [list(EvalSampler(21, 4, rank=rank, world_size=world_size)) for rank in range(world_size)]
    assert sorted(chain(*shares)) == list(range(21))
    # batches of 4, 4, 4, 4, 4 and 1
    assert [len(share) for share in shares] == {1: [21], 2: [12, 9], 3: [8, 8, 5]}[world_size]


@pytest.mark.parametrize("world_size", [1, 2, 3, 5, 6])
def test_evaluation_has_the_same_batches_with_any_number_of_processes(world_size: int) -> None:
    batches: list[list[int]] = []
    for rank in range(world_size):
        rows = EvalSampler(21, 4, rank=rank, world_size=world_size)
        batches += BatchSampler(rows, 4, drop_last=False)
    assert sorted(batches) == [list(range(start, min(start + 4, 21))) for start in range(0, 21, 4)]


@pytest.mark.parametrize(
    ("size", "world_size", "expected"), [(21, 1, 4), (21, 5, 4), (21, 6, 3), (5, 4, 1), (4, 4, 1), (3, 1, 3)]
)
def test_every_process_has_a_batch_to_evaluate(size: int, world_size: int, expected: int) -> None:
    batch_size = eval_batch_size(size, 4, world_size)
    assert batch_size == expected
    assert all(len(EvalSampler(size, batch_size, rank=rank, world_size=world_size)) for rank in range(world_size))


def test_length_of_a_share_is_its_number_of_samples() -> None:
    assert [len(EvalSampler(21, 4, rank=rank, world_size=2)) for rank in (0, 1)] == [12, 9]


def test_some_samples_are_taken_evenly_over_all() -> None:
    assert list(EvalSampler(20, 2, most=4)) == [0, 5, 10, 15]
    assert list(EvalSampler(7, 2, most=3)) == [0, 2, 4]
    assert list(EvalSampler(3, 2, most=16)) == [0, 1, 2]
    shares = [list(EvalSampler(20, 2, rank=rank, world_size=2, most=4)) for rank in range(2)]
    assert shares == [[0, 5], [10, 15]]
