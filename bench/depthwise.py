r"""Training steps in bfloat16 on a CPU: with visiontasks.ops.depthwise, with torch's own gradients, and in float32.

    python bench/run.py depthwise
    ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 python bench/run.py depthwise --batch-size 4 --steps 1 \
        --name emulated                                       as on a processor that has to emulate bfloat16

Networks with random weights, made images of 224 px, batches of 32, channels_last, AdamW; all of the network is trained,
BatchNorm normalizes by its running statistics. The three in turns, in one process; the median step of each round.
"""

import argparse
import time
from collections.abc import Sequence
from contextlib import nullcontext
from statistics import median
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import nn

from bench import results
from bench.work import BATCH_SIZE, IMAGE_SIZE
from visiontasks.ops.quick_gradients import QuickGradients
from visiontasks.training.machine import keep_freed_memory

NETWORKS = ("mobilenetv2_100", "mobilenetv3_large_100", "efficientnet_b0", "convnext_tiny", "resnet18")


class Steps:
    """A network with what a step of its training needs."""

    def __init__(self, name: str, batch_size: int) -> None:
        self.network: nn.Module = timm.create_model(name, num_classes=3).to(memory_format=torch.channels_last).eval()
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-4)
        image = torch.randn(batch_size, 3, IMAGE_SIZE, IMAGE_SIZE)
        self.image = image.contiguous(memory_format=torch.channels_last)
        self.label = torch.randint(3, (batch_size,))

    def seconds(self, count: int, mode: Any, *, bfloat16: bool = True) -> float:
        """The median of some steps."""
        times = []
        for _ in range(count):
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16), mode():
                logits = self.network(self.image)
            F.cross_entropy(logits.float(), self.label).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            times.append(time.perf_counter() - start)
        return median(times)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        "depthwise", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--name", default="depthwise")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    torch.manual_seed(0)
    for name in options.networks:
        steps, ratios, factors = Steps(name, options.batch_size), [], []
        steps.seconds(1, QuickGradients)
        for turn in range(options.rounds):
            ours, torchs = steps.seconds(options.steps, QuickGradients), steps.seconds(options.steps, nullcontext)
            float32 = steps.seconds(options.steps, nullcontext, bfloat16=False)
            ratios.append(torchs / ours)
            factors.append(torchs / float32)
            row = {"round": str(turn + 1), "network": name, "step_s": f"{ours:.3f}", "torch_step_s": f"{torchs:.3f}"}
            results.append(results.FOLDER / f"{options.name}.csv", row | results.circumstances())
            row = {
                "round": str(turn + 1),
                "network": name,
                "float32_step_s": f"{float32:.3f}",
                "factor": f"{factors[-1]:.2f}",
            }
            results.append(results.FOLDER / f"{options.name}_float32.csv", row | results.circumstances())
        print(
            f"{name}: {ours:.2f} s a step, {torchs:.2f} s with torch's gradients: {median(ratios):.2f} x; float32 "
            f"{float32:.2f} s: bfloat16 with torch's gradients takes {median(factors):.2f} times as long",
            flush=True,
        )
