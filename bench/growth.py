"""Time per image and memory as the data grows: ResNet-20 on the first n images of CIFAR-10 in class folders.

    python bench/run.py growth --data FOLDER          FOLDER/{train,test}/<class>/, 50,000 and 10,000 images
    python bench/run.py growth --data FOLDER --start  of any size: what a training's start does with the files, alone

Two epochs with n training images and n/5 to validate; the second one's time counts, the first starts the workers. What
is neither of the epochs (imports, listing and looking into every file, the last measurement) stands apart. With
--start: wall and processor time of listing and checking the files, of the search for copies across splits, and of the
fingerprint with its content check, by which the feature cache knows the data; files in the page cache.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench import results
from bench.processes import measure
from visiontasks.data import ImageFolder
from visiontasks.data.audit.overview import copies_across_splits
from visiontasks.data.pipeline.sources import fingerprint

SIZES = (1_000, 10_000, 50_000)
BATCH_SIZE = 100
TEST_SHARE = 5
RECIPE = f"""
seed_everything: 0
trainer: {{max_epochs: 2}}
model:
  class_path: ClassificationTask
  init_args:
    backbone: resnet20_cifar
    weights: none
    optimizer: {{class_path: SGD, init_args: {{lr: 0.1, momentum: 0.9}}}}
data:
  class_path: ImageFolder
  init_args:
    root: photos
    image_size: 32
    batch_size: {BATCH_SIZE}
    augment:
      - {{class_path: HorizontalFlip}}
finetune: {{freeze_epochs: 0}}
"""


def link_first(source: Path, target: Path, count: int) -> None:
    """Link the first images of each class, as many of each.

    Args:
        source: Folder with <class>/.
        target: Gets the same with links.
        count: Of all classes together.
    """
    classes = sorted(path for path in source.iterdir() if path.is_dir())
    for folder in classes:
        (target / folder.name).mkdir(parents=True)
        files = sorted(folder.iterdir())[: count // len(classes)]
        if len(files) < count // len(classes):
            sys.exit(f"error: {folder} has {len(files)} images, expected at least {count // len(classes)}")
        for file in files:
            (target / folder.name / file.name).symlink_to(file.resolve())


def one_size(data: Path, size: int, folder: Path) -> results.Row:
    """Train with so many images; what it took."""
    link_first(data / "train", folder / "photos/train", size)
    link_first(data / "test", folder / "photos/val", size // TEST_SHARE)
    (folder / "growth.yaml").write_text(RECIPE)
    circumstances = results.circumstances()
    command = [sys.executable, "-m", "visiontasks", "finetune", "growth.yaml"]
    usage = measure(
        command, cwd=folder, log=folder / "output.txt", environment={"VISIONTASKS_CACHE": str(folder / "features")}
    )
    epochs = results.epochs_of_run(next(folder.glob("runs/growth/*/metrics.csv")), batch_size=BATCH_SIZE)
    return {
        "images": str(size),
        "epoch_ms_per_image": f"{1e3 * epochs[1].seconds / size:.4f}",
        "other_s": f"{usage.wall_s - sum(epoch.seconds for epoch in epochs):.2f}",
        "wall_s": f"{usage.wall_s:.2f}",
        "pss_mib": f"{usage.pss_mib:.1f}",
        "rss_mib": f"{usage.rss_mib:.1f}",
    } | circumstances


def start_times(root: Path) -> Iterator[tuple[str, float, float]]:
    """Each part of a training's start, with its wall and processor time in seconds, when the files are cached."""
    data = ImageFolder(str(root), seed=0)
    data.setup()
    splits = list(data.split_sizes)
    parts: dict[str, Callable[[], object]] = {
        "listing and checking": lambda: ImageFolder(str(root), seed=0).setup(),
        "copies across splits": lambda: copies_across_splits(data),
        "fingerprint and content check": lambda: [fingerprint(data.source(split)) for split in splits],
    }
    for name, part in parts.items():
        part()  # brings the files into the page cache
        wall, cpu = time.perf_counter(), time.process_time()
        part()
        yield name, time.perf_counter() - wall, time.process_time() - cpu


def line(row: results.Row) -> str:
    """What is printed of a size."""
    return (
        f"{int(row['images']):,} images: {float(row['epoch_ms_per_image']):.2f} ms per image and epoch, "
        f"{float(row['other_s']):.1f} s beside the epochs, {float(row['pss_mib']):.0f} MiB"
    )


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        "growth", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with train/<class>/ and test/<class>/")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="training images")
    parser.add_argument("--name", default="growth")
    parser.add_argument("--start", action="store_true", help="the start alone, of all images")
    options = parser.parse_args(arguments)
    if options.start:
        for name, wall_s, cpu_s in start_times(options.data):
            print(f"{name}: {wall_s:.2f} s, {cpu_s:.2f} s of processor time", flush=True)
        return
    for size in options.sizes:
        with tempfile.TemporaryDirectory(prefix="visiontasks-bench-") as scratch:
            row = one_size(options.data, size, Path(scratch))
        results.append(results.FOLDER / f"{options.name}.csv", row)
        print(line(row), flush=True)
