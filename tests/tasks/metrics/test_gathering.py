"""One, two and three processes measure the same to the last digit, also where some have no object or no image."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from bench.deaths import free_port
from visiontasks.tasks.metrics.average_precision import AveragePrecision


def metric_of(images: list[tuple[Any, Any]], rank: int, world: int) -> AveragePrecision:
    """The metric of one of several processes, which takes every `world`th image, a batch each."""
    metric = AveragePrecision(6)
    for index in range(rank, len(images), world):
        detected, truth = images[index]
        metric.update(torch.tensor([index]), [detected], [truth])
    return metric


def measure(scenes: list[Any], rank: int = 0, world: int = 1) -> list[Any]:
    """Values and intervals of each scene."""
    metrics = [metric_of(images, rank, world) for images in scenes]
    return [(metric.compute(), metric.intervals()) for metric in metrics]


def measure_in_three_and_in_two(rank: int, ports: dict[int, int], scenes: list[Any], folder: Path) -> None:
    torch.set_num_threads(1)
    for world, port in ports.items():
        if rank < world:
            dist.init_process_group("gloo", f"tcp://localhost:{port}", rank=rank, world_size=world)
            torch.save(measure(scenes, rank, world), folder / f"{world}_{rank}.pt")
            dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.timeout(600)  # three processes import torch
def test_one_two_and_three_processes_measure_the_same_to_the_last_digit(
    scene: Callable[[int], Any], tmp_path: Path
) -> None:
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    nothing = (empty | {"scores": torch.zeros(0)}, empty)
    scenes = [
        scene(0),
        scene(1)[:1],  # with two processes the second has no image
        [nothing, scene(2)[0], nothing],  # with three the first and the third have no object
        [nothing],
    ]
    arguments = ({3: free_port(), 2: free_port()}, scenes, tmp_path)
    mp.spawn(measure_in_three_and_in_two, arguments, nprocs=3)  # type: ignore[no-untyped-call]
    expected = measure(scenes)
    others = [torch.load(path, weights_only=False) for path in tmp_path.iterdir()]
    assert len(others) == 3 + 2
    assert [float(values["n"]) for values, _ in expected] == [len(scene(0)), 1, 3, 1]
    assert float(expected[0][0]["map"]) > 0
    for found in others:
        for (values, intervals), (wanted, wanted_intervals) in zip(found, expected, strict=True):
            assert intervals == wanted_intervals
            for name, value in values.items():
                torch.testing.assert_close(value, wanted[name], rtol=0, atol=0, equal_nan=True, msg=name)


def test_what_a_process_without_images_sends_is_of_the_type_of_the_others(scene: Callable[[int], Any]) -> None:
    sent: list[list[torch.Tensor]] = []
    for images in (scene(0), []):
        metric = metric_of(images, 0, 1)
        own: list[torch.Tensor] = []

        def gather(tensor: torch.Tensor, group: Any, own: list[torch.Tensor] = own) -> list[torch.Tensor]:
            own.append(tensor)
            return [tensor]

        metric.sync(dist_sync_fn=gather, distributed_available=lambda: True)
        sent.append(own)
    full, nothing = sent
    assert len(full) == len(nothing) == 3
    assert [(each.dtype, each.ndim) for each in full] == [(each.dtype, each.ndim) for each in nothing]
