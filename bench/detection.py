r"""Detection: training steps and predictions of our three heads, of torchvision's detectors, and of the backbone alone.

    python bench/run.py detection                       untrained weights; speed does not depend on them
    python bench/run.py detection --rounds 1 --steps 1  a quick look
    ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 python bench/run.py detection --name detection_avx2
                                                        as on a processor without AVX-512

MobileNetV2, images of 320 x 320 px in memory, batches of 8, three objects in each image, 6 classes, AdamW; all of the
network is trained, BatchNorm normalizes by its running statistics. All take turns in one process (A B C A B C ...); the
median over the rounds of the median step, by the clock and of the processor (all threads), by which a busy machine
tells more. The table names the instructions that torch uses, the limit that is set to oneDNN's, and torch's version.
Ours are DetectionTask as the recipes folder_detect, folder_detect_retinanet and folder_detect_fasterrcnn have it, with
what `precision: auto` gives here; `fcos_float32` in float32. torchvision's are FasterRCNN and RetinaNet on the same
backbone's maps with torchvision's own FeaturePyramidNetwork (256 channels) in float32, as their documentation has it,
with anchors for small images; detections below 0.05 are left out there, below 0.01 here. `backbone` is the pyramid view
alone, forward, and forward and backward, in our precision: what a detector cannot exceed.
"""

import argparse
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool, LastLevelP6P7

from bench import results
from visiontasks.backbones import create_pyramid
from visiontasks.heads import FasterRCNNHead, FCOSHead, RetinaNetHead
from visiontasks.tasks import DetectionTask
from visiontasks.training.machine import keep_freed_memory
from visiontasks.training.precision import BFLOAT16, resolve_precision

BACKBONE, SIZE, BATCH, CLASSES, OBJECTS = "mobilenetv2_100", 320, 8, 6, 3
HEADS = {"fcos": FCOSHead, "retinanet": RetinaNetHead, "fasterrcnn": FasterRCNNHead, "fcos_float32": FCOSHead}
PEERS = ("torchvision_retinanet", "torchvision_fasterrcnn")
TARGETS = (  # program, phase, how many times as fast as the other it has to be
    ("fcos", "train", 8.0, "torchvision_fasterrcnn"),
    ("fcos", "train", 4.0, "torchvision_retinanet"),
    ("fcos", "predict", 5.0, "torchvision_retinanet"),
    ("fcos", "train", 0.5, "backbone"),
    ("fcos", "predict", 0.5, "backbone"),
    ("fasterrcnn", "train", 1.5, "torchvision_fasterrcnn"),
)
PHASES = ("train", "predict")


class Ours:
    """A task, stepped as a trainer does it."""

    def __init__(self, head: Any, *, bfloat16: bool) -> None:
        self.task = DetectionTask(BACKBONE, weights="none", num_classes=CLASSES, head=head)
        self.task.backbone.eval()
        self.optimizer = torch.optim.AdamW(self.task.parameters(), lr=1e-4)
        self.autocast = partial(torch.autocast, "cpu", torch.bfloat16, enabled=bfloat16)
        self.batch = made_batch()

    def train(self) -> None:
        self.task.head.train()
        with self.autocast():
            loss = self.task.training_loss(dict(self.batch))
        step(loss, self.optimizer)

    @torch.inference_mode()
    def predict(self) -> None:
        self.task.eval()
        with self.autocast():
            list(self.task.predict({name: self.batch[name] for name in ("image", "geometry")}))


class Peer:
    """A detector of torchvision."""

    def __init__(self, name: str) -> None:
        is_two_stages = name.endswith("fasterrcnn")
        body = _Body((1, 2, 3, 4) if is_two_stages else (2, 3, 4), is_two_stages)
        size: dict[str, Any] = {"min_size": SIZE, "max_size": SIZE, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        sides, ratios = (16, 32, 64, 128, 256), ((0.5, 1.0, 2.0),) * 5
        if is_two_stages:
            anchors = AnchorGenerator(tuple((side,) for side in sides), ratios)
            self.model: nn.Module = FasterRCNN(body, num_classes=CLASSES + 1, rpn_anchor_generator=anchors, **size)
        else:
            octaves = tuple((side, int(side * 2 ** (1 / 3)), int(side * 2 ** (2 / 3))) for side in sides)
            anchors = AnchorGenerator(octaves, ratios)
            self.model = RetinaNet(body, num_classes=CLASSES, anchor_generator=anchors, **size)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        batch = made_batch()
        self.images = [image / 255 for image in batch["image"]]
        offset = 1 if is_two_stages else 0
        rows = zip(batch["boxes"], batch["labels"], strict=True)
        self.targets = [{"boxes": boxes, "labels": labels + offset} for boxes, labels in rows]

    def train(self) -> None:
        self.model.train()
        losses: dict[str, Tensor] = self.model(self.images, self.targets)
        step(torch.stack([*losses.values()]).sum(), self.optimizer)

    @torch.inference_mode()
    def predict(self) -> None:
        self.model.eval()(self.images)


class Alone:
    """The backbone's pyramid view without a head."""

    def __init__(self, *, bfloat16: bool) -> None:
        self.ours = Ours(partial(FCOSHead, width=1), bfloat16=bfloat16)
        self.optimizer = torch.optim.AdamW(self.ours.task.backbone.parameters(), lr=1e-4)

    def train(self) -> None:
        with self.ours.autocast():
            features = self.ours.task.image_features(self.ours.batch["image"])
        step(torch.stack([each.float().mean() for each in features]).sum(), self.optimizer)

    @torch.inference_mode()
    def predict(self) -> None:
        with self.ours.autocast():
            self.ours.task.image_features(self.ours.batch["image"])


class _Body(nn.Module):
    """A backbone as torchvision's detectors take it, its BatchNorm frozen."""

    def __init__(self, out_indices: Sequence[int], is_two_stages: bool) -> None:
        super().__init__()
        self.body = create_pyramid(BACKBONE, weights="none", out_indices=out_indices)
        channels = list(self.body.feature_info.channels())  # type: ignore[operator, union-attr]
        self.out_channels = 256
        extra = LastLevelMaxPool() if is_two_stages else LastLevelP6P7(256, 256)
        self.fpn = FeaturePyramidNetwork(channels, 256, extra)

    def train(self, mode: bool = True) -> "_Body":
        super().train(mode)
        self.body.eval()
        return self

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        maps = OrderedDict((str(i), each) for i, each in enumerate(self.body(image)))
        found: dict[str, Tensor] = self.fpn(maps)
        return found


def made_batch() -> dict[str, Any]:
    """Noise with boxes, as a batch of training; its images are their own originals."""
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(BATCH, OBJECTS, 2, generator=generator) * SIZE / 2
    boxes = torch.cat([low, low + SIZE / 4], 2)
    image = torch.randint(256, (BATCH, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)
    return {
        "image": image.contiguous(memory_format=torch.channels_last),
        "index": torch.arange(BATCH),
        "geometry": torch.tensor([SIZE] * 6 + [0, 0]).expand(BATCH, 8),
        "boxes": list(boxes),
        "labels": list(torch.randint(CLASSES, (BATCH, OBJECTS), generator=generator)),
        "crowd": list(torch.zeros(BATCH, OBJECTS, dtype=torch.bool)),
    }


def step(loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Backward, the optimizer's step, and no gradients any more."""
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def seconds(work: Callable[[], None], count: int) -> tuple[float, float]:
    """The median time of some calls, by the clock and of the processor."""
    times = []
    for _ in range(count):
        start, used = time.perf_counter(), time.process_time()
        work()
        times.append((time.perf_counter() - start, time.process_time() - used))
    by_clock, of_processor = zip(*times, strict=True)
    return median(by_clock), median(of_processor)


def measured(program: Any, steps: int) -> results.Row:
    """Images per second by the clock, and milliseconds of the processor for each image, by phase."""
    row = {}
    for phase in PHASES:
        by_clock, of_processor = seconds(getattr(program, phase), steps)
        row |= {phase: f"{BATCH / by_clock:.3f}", f"{phase}_cpu_ms": f"{1000 * of_processor / BATCH:.2f}"}
    return row


def instructions() -> results.Row:
    """The instructions that torch chose, and the limit that was set to oneDNN's."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "default")
    return {"instructions": torch.backends.cpu.get_cpu_capability(), "onednn_max_isa": limit}


def table(rows: Sequence[results.Row]) -> list[str]:
    """The lines to print: medians over the rounds, shares of the backbone, and whether the targets are met."""
    first, rounds = rows[0], len({row["round"] for row in rows})
    lines = [
        f"{first['instructions']} (oneDNN's limit: {first['onednn_max_isa']}), torch {first['torch']}, torchvision "
        f"{first['torchvision']}, {first['cpu']}, {first['cores']} cores, OMP_NUM_THREADS {first['threads']}, load "
        f"{first['load']} to {rows[-1]['load']}; ours in {first['precision']}; medians of {rounds} round(s)",
        "images per second; in brackets the share of the backbone; processor time of an image",
    ]
    for name in results.programs(rows):
        texts = [
            f"{phase} {results.medians(rows, phase)[name]:7.2f} ({ratios(rows, phase, name, 'backbone')[0]:5.2f}) "
            f"{results.medians(rows, f'{phase}_cpu_ms')[name]:7.1f} ms"
            for phase in PHASES
        ]
        lines.append(f"{name:24} {'  '.join(texts)}")
    for name, phase, wanted, peer in TARGETS:
        by_clock, of_processor = ratios(rows, phase, name, peer)
        verdict = "met" if by_clock >= wanted else "missed"
        lines.append(
            f"{verdict}: {name}, {phase}: {by_clock:.2f} x {peer}, of processor time {of_processor:.2f} x; target "
            f">= {wanted:g}"
        )
    return lines


def ratios(rows: Sequence[results.Row], phase: str, name: str, peer: str) -> tuple[float, float]:
    """How many times as fast one program is as another in the same round, by the clock and in processor time."""
    found: dict[str, dict[str, results.Row]] = {}
    for row in rows:
        found.setdefault(row["round"], {})[row["program"]] = row
    pairs = [(of_round[name], of_round[peer]) for of_round in found.values()]
    return (
        median(float(ours[phase]) / float(theirs[phase]) for ours, theirs in pairs),
        median(float(theirs[f"{phase}_cpu_ms"]) / float(ours[f"{phase}_cpu_ms"]) for ours, theirs in pairs),
    )


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        "detection", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--name", default="detection")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    torch.manual_seed(0)
    bfloat16 = resolve_precision("auto", "cpu") == BFLOAT16
    programs: dict[str, Any] = {"backbone": Alone(bfloat16=bfloat16)}
    for name, head in HEADS.items():
        programs[name] = Ours(head, bfloat16=bfloat16 and not name.endswith("float32"))
    programs |= {name: Peer(name) for name in PEERS}
    for program in programs.values():  # the first step is slower
        program.train()
        program.predict()
    about = {"precision": "bfloat16" if bfloat16 else "float32", **instructions()}
    rows = []
    for turn in range(options.rounds):
        for name, program in programs.items():
            own = {"round": str(turn + 1), "program": name, **measured(program, options.steps)}
            rows.append(own | about | results.circumstances())
            results.append(results.FOLDER / f"{options.name}.csv", rows[-1])
    print("\n".join(table(rows)))
