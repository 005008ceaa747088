"""Decoding and augmenting photographs: visiontasks' loader beside torchvision's PIL pipeline, for the same output.

    python bench/run.py decode --data FOLDER          FOLDER/train/<class>/; default: made images

Training: a random crop of 35 to 100 % to 224 px and a flip. Evaluation: the shorter side to 224 px, the middle taken.
Both give uint8 batches (32, 3, 224, 224) of the same files. Images per second of one core's processor time, so that
other work on the machine counts little; one thread, files in the page cache, the two in turns, medians of the rounds.
Which instructions the processor has is in the table; half of a training image's time and more is libjpeg's.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate
from torchvision.datasets.folder import default_loader
from torchvision.transforms import v2

from bench import results
from bench.work import BATCH_SIZE, IMAGE_SIZE, MIN_SCALE, make_images
from visiontasks.data import ImageFolder
from visiontasks.data.pipeline.loader import collate
from visiontasks.data.pipeline.sources import sample_path

TARGETS = {"training": 2.5, "evaluation": 1.8}
Batches = Callable[[int], Tensor]  # gives the batch from an index on


def ours(root: Path, *, training: bool) -> tuple[Batches, list[str]]:
    """Batches of visiontasks, every image decoded anew, and the files that they show."""
    from albumentations import HorizontalFlip, RandomResizedCrop

    crop = RandomResizedCrop(size=(IMAGE_SIZE, IMAGE_SIZE), scale=(MIN_SCALE, 1.0))
    data = ImageFolder(str(root), image_size=IMAGE_SIZE, augment=[crop, HorizontalFlip()], seed=0, cache_images_gb=0.0)
    data.setup()
    split = "train" if training else "val"
    dataset, source = data.dataset(split), data.source(split)

    def batch(first: int) -> Tensor:
        image: Tensor = collate([dataset[i] for i in range(first, min(first + BATCH_SIZE, len(source)))])["image"]
        return image

    return batch, [sample_path(source, i) for i in range(len(source))]


def torchvisions(paths: Sequence[str], *, training: bool) -> Batches:
    """Batches of torchvision's PIL pipeline, of the same files."""
    change = (
        [v2.RandomResizedCrop(IMAGE_SIZE, scale=(MIN_SCALE, 1.0)), v2.RandomHorizontalFlip()]
        if training
        else [v2.Resize(IMAGE_SIZE), v2.CenterCrop(IMAGE_SIZE)]
    )
    transform = v2.Compose([*change, v2.PILToTensor()])

    def batch(first: int) -> Tensor:
        image: Tensor = default_collate([transform(default_loader(path)) for path in paths[first : first + BATCH_SIZE]])
        return image

    return batch


def images_per_cpu_second(batches: Batches, count: int) -> float:
    """Speed of one pass over all images."""
    start = time.process_time()
    for first in range(0, count, BATCH_SIZE):
        batches(first)
    return count / (time.process_time() - start)


def mean_difference(one: Batches, other: Batches, count: int) -> float:
    """Mean absolute difference of the pixels, 0..255."""
    firsts = range(0, count, BATCH_SIZE)
    return float(np.mean([float((one(i).float() - other(i).float()).abs().mean()) for i in firsts]))


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        "decode", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder with train/<class>/")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--name", default="decode")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="visiontasks-bench-") as scratch:
        if options.data is None:
            make_images(Path(scratch), train=40, test=1)
        photos = (options.data or Path(scratch)) / "train"
        root = Path(scratch) / "photos"
        root.mkdir()
        for split in ("train", "val"):
            (root / split).symlink_to(photos.resolve())
        for training in (True, False):
            what = "training" if training else "evaluation"
            own, paths = ours(root, training=training)
            theirs, count = torchvisions(paths, training=training), len(paths)
            difference = mean_difference(own, theirs, count)  # also brings the files into the page cache
            speeds: list[tuple[float, float]] = []
            for turn in range(options.rounds):
                speeds.append((images_per_cpu_second(own, count), images_per_cpu_second(theirs, count)))
                row = {"round": str(turn + 1), "what": what, "images": str(count)}
                row["instructions"] = torch.backends.cpu.get_cpu_capability()
                names = ("visiontasks_images_s", "torchvision_images_s")
                row |= {name: f"{speed:.1f}" for name, speed in zip(names, speeds[-1], strict=True)}
                results.append(results.FOLDER / f"{options.name}.csv", row | results.circumstances())
            print(line(what, speeds) + ("" if training else f"; pixels differ by {difference:.2f} of 255 on average"))


def line(what: str, speeds: Sequence[tuple[float, float]]) -> str:
    """What is printed of the speeds (visiontasks', torchvision's) of all rounds."""
    own, theirs = (median(column) for column in zip(*speeds, strict=True))
    ratio = median(a / b for a, b in speeds)
    target = TARGETS[what]
    verdict = "met" if ratio >= target else "missed"
    return (
        f"{what}: visiontasks {own:.0f}, torchvision {theirs:.0f} images/s per core: "
        f"{ratio:.2f} x, target {target} {verdict}"
    )
