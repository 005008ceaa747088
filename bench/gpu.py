"""Training speed on one GPU: ResNet-50, 224 px, bf16, batches of 256, visiontasks beside a raw loop.

    python bench/run.py gpu                           skipped where there is no GPU

Loading excluded: every step takes the same batch, which lies on the GPU; visiontasks still normalizes it, the raw
loop's is normalized before. Loading included: made JPEGs, random crops and flips, as many workers as cores but one; the
raw loop takes torchvision's PIL pipeline and normalizes on the GPU; visiontasks keeps up to a gigabyte of decoded
images, as it does by default. SGD, channels_last, cudnn.benchmark; no validation, no checkpoint. Each measurement
is a process of its own, in turns; the clock starts after the warm-up, the GPU idle.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from bench import results
from bench.processes import measure
from bench.work import MIN_SCALE, make_images

MEASUREMENTS = [(loading, program) for loading in ("excluded", "included") for program in ("visiontasks", "raw")]
NUM_CLASSES = 4
ORIGINALS = 64  # JPEGs of each class; the others are links to them
TARGET = 0.95  # of the raw loop, loading excluded
SGD = partial(torch.optim.SGD, lr=0.01, momentum=0.9)


class Clock:
    """Images per second behind the warm-up.

    Args:
        options: Of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.done = 0

    def step(self) -> bool:
        """Count a step; whether it was the last one."""
        self.done += 1
        if self.done == self.options.warmup:
            self.start = self._now()
        if self.done < self.options.warmup + self.options.steps:
            return False
        self.images_s = images_s(self.options.steps, self.options.batch_size, self._now() - self.start)
        return True

    def _now(self) -> float:
        if self.options.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def images_s(steps: int, batch_size: int, seconds: float) -> float:
    """Images per second."""
    return steps * batch_size / seconds


def made_batch(options: argparse.Namespace) -> dict[str, Tensor]:
    """A batch as visiontasks has it, on the device."""
    rng = torch.Generator().manual_seed(0)
    size = (options.batch_size, 3, options.image_size, options.image_size)
    image = torch.randint(0, 256, size, dtype=torch.uint8, generator=rng).contiguous(memory_format=torch.channels_last)
    label = torch.randint(0, NUM_CLASSES, (options.batch_size,), generator=rng)
    batch = {"image": image, "label": label, "index": torch.arange(options.batch_size)}
    return {name: tensor.to(options.device) for name, tensor in batch.items()}


def train_visiontasks(options: argparse.Namespace) -> float:
    """The library in a Lightning trainer; images per second."""
    import lightning as L
    from albumentations import HorizontalFlip, RandomResizedCrop

    from visiontasks import ClassificationTask, FinetuneSchedule, ImageFolder

    clock = Clock(options)

    class Count(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
            clock.step()

    task = ClassificationTask(options.backbone, weights="none", num_classes=NUM_CLASSES, optimizer=SGD)
    trainer = L.Trainer(
        accelerator="gpu" if options.device == "cuda" else "cpu",
        devices=1,
        precision="bf16-mixed",
        benchmark=True,
        max_steps=options.warmup + options.steps,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[FinetuneSchedule(0), Count()],
    )
    if options.loading == "excluded":
        same = [made_batch(options)] * (options.warmup + options.steps)
        trainer.fit(task, DataLoader(same, batch_size=None))
    else:
        size = options.image_size
        augment = [RandomResizedCrop(size=(size, size), scale=(MIN_SCALE, 1.0)), HorizontalFlip()]
        data = ImageFolder(str(options.data), image_size=size, batch_size=options.batch_size, augment=augment)
        trainer.fit(task, data)
    return clock.images_s


def train_raw(options: argparse.Namespace) -> float:
    """A loop of plain PyTorch; images per second."""
    import timm

    torch.backends.cudnn.benchmark = True
    model = timm.create_model(options.backbone, num_classes=NUM_CLASSES)
    model = model.to(options.device, memory_format=torch.channels_last).train()
    optimizer = SGD(model.parameters())
    clock = Clock(options)
    for image, label in raw_batches(options):
        with torch.autocast(options.device, torch.bfloat16):
            loss = F.cross_entropy(model(image).float(), label)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if clock.step():
            break
    return clock.images_s


def raw_batches(options: argparse.Namespace) -> Iterator[tuple[Tensor, Tensor]]:
    """Normalized batches on the device, without end."""
    if options.loading == "excluded":
        batch = made_batch(options)
        image = normalized(batch["image"])
        while True:
            yield image, batch["label"]
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    crop = v2.RandomResizedCrop(options.image_size, scale=(MIN_SCALE, 1.0))
    data = ImageFolder(f"{options.data}/train", v2.Compose([crop, v2.RandomHorizontalFlip(), v2.PILToTensor()]))
    workers = max(1, min(16, len(os.sched_getaffinity(0)) - 1))
    loader = DataLoader(
        data,
        options.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        pin_memory=options.device == "cuda",
        persistent_workers=True,
    )
    while True:
        for image, label in loader:
            yield normalized(image.to(options.device, non_blocking=True)), label.to(options.device, non_blocking=True)


def normalized(image: Tensor) -> Tensor:
    """Float, about mean 0 and deviation 1, channels last."""
    return image.float().sub_(127.5).div_(63.75).contiguous(memory_format=torch.channels_last)


def make_photos(root: Path, count: int) -> None:
    """train/ with so many JPEGs, most of them links to others, and a small val/."""
    make_images(root, classes=NUM_CLASSES, train=ORIGINALS, test=1)
    (root / "test").rename(root / "val")
    for folder in sorted((root / "train").iterdir()):
        for i in range(ORIGINALS, count // NUM_CLASSES):
            (folder / f"{i}.jpg").symlink_to(folder / f"{i % ORIGINALS}.jpg")


def summary(rows: Sequence[results.Row]) -> str:
    """Medians of both programs and visiontasks' share of the raw loop, by loading."""
    lines = []
    for loading in ("excluded", "included"):
        own, raw = (
            {
                row["round"]: float(row["images_s"])
                for row in rows
                if (row["loading"], row["program"]) == (loading, name)
            }
            for name in ("visiontasks", "raw")
        )
        share = median(own[turn] / raw[turn] for turn in own)
        verdict = f", target {TARGET} {'met' if share >= TARGET else 'missed'}" if loading == "excluded" else ""
        lines.append(
            f"loading {loading}: visiontasks {median(own.values()):.0f}, raw loop {median(raw.values()):.0f} images/s: "
            f"{share:.3f} of it{verdict}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser("gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--name", default="gpu")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=256)
    parser.add_argument("--warmup", type=int, default=20, help="steps before the clock starts")
    parser.add_argument("--steps", type=int, default=60, help="steps that are measured")
    parser.add_argument("--images", type=int, default=8192, help="JPEGs, where loading is included")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: to try the script")
    parser.add_argument("--program", choices=("visiontasks", "raw"), help=argparse.SUPPRESS)
    parser.add_argument("--loading", choices=("excluded", "included"), help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("skipped: no GPU that torch can use on this machine")
    elif options.program:
        train = train_visiontasks if options.program == "visiontasks" else train_raw
        Path("speed.json").write_text(json.dumps({"images_s": train(options)}))
    else:
        all_measurements(options, list(arguments))


def all_measurements(options: argparse.Namespace, arguments: list[str]) -> None:
    rows: list[results.Row] = []
    device = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    with tempfile.TemporaryDirectory(prefix="visiontasks-bench-") as name:
        folder = Path(name)
        make_photos(folder / "photos", options.images)
        for turn in range(options.rounds):
            for loading, program in MEASUREMENTS:
                own = ["--program", program, "--loading", loading, "--data", str(folder / "photos")]
                command = [sys.executable, Path(__file__).with_name("run.py"), "gpu", *arguments, *own]
                measure(command, cwd=folder, log=folder / "output.txt")
                speed = json.loads((folder / "speed.json").read_text())["images_s"]
                row = {"round": str(turn + 1), "loading": loading, "program": program, "images_s": f"{speed:.1f}"}
                row |= {"device": device, "backbone": options.backbone, "batch_size": str(options.batch_size)}
                rows.append(row | results.circumstances())
                results.append(results.FOLDER / f"{options.name}.csv", rows[-1])
    print(summary(rows))
