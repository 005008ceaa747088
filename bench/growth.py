"""Time per image and memory as the data grows: ResNet-20 on n images of CIFAR-10 in class folders, or on photographs.

    python bench/run.py growth --data FOLDER           FOLDER/{train,test}/<class>/, 50,000 and 10,000 images
    python bench/run.py growth --data FOLDER --photos  made of FOLDER's: photographs of 12 megapixels at 224 px
    python bench/run.py growth --data FOLDER --start   what a training's start does with the files, alone

Where FOLDER has too few images, mirrored and brighter copies of them are made. Of photographs no more than 200 are made
for each split, and linked as often as it takes. Two epochs with n training images and n/5 to validate; the second one's
time counts, the first starts the workers. What is neither of the epochs (imports, listing and looking into every file,
the last measurement) stands apart; processor time is that of the whole job. With --start: wall and processor time of
listing and checking the files, of the search for copies across splits, and of the fingerprint with its content check,
by which the feature cache knows the data; files in the page cache.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from bench import results
from bench.processes import measure
from visiontasks.data import ImageFolder
from visiontasks.data.audit.overview import copies_across_splits
from visiontasks.data.pipeline.sources import fingerprint

SIZES = (1_000, 10_000, 100_000)
PHOTO_SIZES = (200, 1_000, 5_000)
BATCH_SIZE = 100
TEST_SHARE = 5
CIFAR_PX, PHOTO_PX = 32, 224
WIDTH, HEIGHT = 4000, 3000
DISTINCT = 200
RECIPE = """
seed_everything: 0
trainer: {max_epochs: 2}
model:
  class_path: ClassificationTask
  init_args:
    backbone: resnet20_cifar
    weights: none
    optimizer: {class_path: SGD, init_args: {lr: 0.1, momentum: 0.9}}
data:
  class_path: ImageFolder
  init_args:
    root: photos
    image_size: 32
    batch_size: 100
    augment:
      - {class_path: HorizontalFlip}
finetune: {freeze_epochs: 0}
"""


def fill(source: Path, target: Path, count: int) -> None:
    """Link the images of each class, as many of each; where they are too few, add changed copies.

    Args:
        source: Folder with <class>/.
        target: Gets the same with links and copies.
        count: Of all classes together.
    """
    classes = sorted(path for path in source.iterdir() if path.is_dir())
    for folder in classes:
        (target / folder.name).mkdir(parents=True)
        files = sorted(folder.iterdir())
        if not files:
            sys.exit(f"error: {folder} has no images")
        for i in range(count // len(classes)):
            turn, file = i // len(files), files[i % len(files)]
            if turn == 0:
                (target / folder.name / file.name).symlink_to(file.resolve())
            else:
                cv2.imwrite(str(target / folder.name / f"{turn}_{file.name}"), changed(cv2.imread(str(file)), turn))


def changed(image: np.ndarray, turn: int) -> np.ndarray:
    """An image of other pixels: mirrored at every other turn, and brighter from turn to turn."""
    mirrored = cv2.flip(image, 1) if turn % 2 else image
    return cv2.add(mirrored, np.full_like(mirrored, 8 * (turn // 2)))


def fill_photographs(source: Path, target: Path, count: int) -> None:
    """Enlarge images to photographs of 12 megapixels, and link each as often as it takes.

    Args:
        source: Folder with <class>/.
        target: Gets the same with JPEGs and hard links.
        count: Of all classes together.
    """
    fill(source, target / "small", min(count, DISTINCT))
    small = sorted((target / "small").glob("*/*"))
    for i in range(count):
        file = small[i % len(small)]
        first = target / file.parent.name / f"{file.stem}.jpg"
        if i < len(small):
            first.parent.mkdir(exist_ok=True)
            large = cv2.resize(cv2.imread(str(file)), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(first), large, [cv2.IMWRITE_JPEG_QUALITY, 90])
            file.unlink()
        else:
            os.link(first, first.with_stem(f"{i}_{first.stem}"))
    for folder in (target / "small").iterdir():
        folder.rmdir()
    (target / "small").rmdir()


def one_size(data: Path, size: int, folder: Path, *, photographs: bool) -> results.Row:
    """Train with so many images; what it took."""
    make = fill_photographs if photographs else fill
    make(data / "train", folder / "photos/train", size)
    make(data / "test", folder / "photos/val", size // TEST_SHARE)
    (folder / "growth.yaml").write_text(RECIPE)
    circumstances = results.circumstances()
    image_size = PHOTO_PX if photographs else CIFAR_PX
    command = [sys.executable, "-m", "visiontasks", "finetune", "growth.yaml", "--data.image_size", image_size]
    usage = measure(
        command, cwd=folder, log=folder / "output.txt", environment={"VISIONTASKS_CACHE": str(folder / "features")}
    )
    epochs = results.epochs_of_run(next(folder.glob("runs/growth/*/metrics.csv")), batch_size=BATCH_SIZE)
    return {
        "what": "photographs" if photographs else "CIFAR-10",
        "images": str(size),
        "epoch_ms_per_image": f"{1e3 * epochs[1].seconds / size:.4f}",
        "other_s": f"{usage.wall_s - sum(epoch.seconds for epoch in epochs):.2f}",
        "wall_s": f"{usage.wall_s:.2f}",
        "cpu_s": f"{usage.cpu_s:.2f}",
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
        f"{row['what']}, {int(row['images']):,} images: {float(row['epoch_ms_per_image']):.2f} ms per image and epoch, "
        f"{float(row['other_s']):.1f} s beside the epochs, {float(row['cpu_s']):.1f} s of processor time, "
        f"{float(row['pss_mib']):.0f} MiB"
    )


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        "growth", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with train/<class>/ and test/<class>/")
    parser.add_argument("--sizes", type=int, nargs="+", help="training images")
    parser.add_argument("--photos", action="store_true", help="photographs of 12 megapixels in place of the images")
    parser.add_argument("--name", default="growth")
    parser.add_argument("--start", action="store_true", help="the start alone, of all images")
    options = parser.parse_args(arguments)
    if options.start:
        for name, wall_s, cpu_s in start_times(options.data):
            print(f"{name}: {wall_s:.2f} s, {cpu_s:.2f} s of processor time", flush=True)
        return
    for size in options.sizes or (PHOTO_SIZES if options.photos else SIZES):
        with tempfile.TemporaryDirectory(prefix="visiontasks-bench-") as scratch:
            row = one_size(options.data, size, Path(scratch), photographs=options.photos)
        results.append(results.FOLDER / f"{options.name}.csv", row)
        print(line(row), flush=True)
