"""Reading and checking an export's annotations with every image's header: processor time and largest memory.

    python bench/run.py annotations                       COCO, Pascal VOC, YOLO and CSV: 20,000 images, 140,000 boxes
    python bench/run.py annotations --formats coco --images 5000
    python bench/run.py annotations --against ../main     another checkout, in turns with this one

Made images of 64x48 pixels in a temporary folder, all links to one file. What is measured is `DetectionFolder.setup()`
in a process of its own: files are listed, parsed, checked with all headers, divided and made sources. Processor time,
since the wall clock of a shared machine tells little; median of the rounds.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from bench import results

WIDTH, HEIGHT, BOXES = 64, 48, 7
CLASSES = ("ant", "bee", "cow", "dog", "eel")
MEASURED = """
import resource, sys
from visiontasks.data import DetectionFolder
before = resource.getrusage(resource.RUSAGE_SELF)
data = DetectionFolder(sys.argv[1], seed=0)
data.setup()
after = resource.getrusage(resource.RUSAGE_SELF)
seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
boxes = sum(int(data.count_classes(data.source(split)).sum()) for split in data.split_sizes)
print(seconds, after.ru_maxrss / 1024, sum(data.split_sizes.values()), boxes)
"""


def make_export(root: Path, form: str, images: int) -> None:
    """Write images and annotations in one format."""
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    Image.fromarray(rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)).save(root / "first.jpg")
    low = rng.integers(0, (WIDTH - 20, HEIGHT - 20), (images, BOXES, 2))
    boxes = np.concatenate([low, low + rng.integers(2, 20, (images, BOXES, 2))], 2)
    labels = rng.integers(0, len(CLASSES), (images, BOXES))
    for i in range(images):
        os.link(root / "first.jpg", root / "images" / f"{i}.jpg")
    (root / "first.jpg").unlink()
    {"coco": _coco, "voc": _voc, "yolo": _yolo, "csv": _csv}[form](root, boxes.tolist(), labels.tolist())


Boxes = Sequence[Sequence[Sequence[int]]]
Labels = Sequence[Sequence[int]]


def _objects(boxes: Boxes, labels: Labels) -> Iterator[tuple[int, int, Sequence[int]]]:
    for image, (of_image, classes) in enumerate(zip(boxes, labels, strict=True)):
        for box, label in zip(of_image, classes, strict=True):
            yield image, label, box


def _coco(root: Path, boxes: Boxes, labels: Labels) -> None:
    rows = [
        {"id": i, "image_id": image, "category_id": label, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0}
        for i, (image, label, (x1, y1, x2, y2)) in enumerate(_objects(boxes, labels))
    ]
    images = [{"id": i, "file_name": f"{i}.jpg", "width": WIDTH, "height": HEIGHT} for i in range(len(boxes))]
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES)]
    (root / "all.json").write_text(json.dumps({"images": images, "annotations": rows, "categories": categories}))


def _voc(root: Path, boxes: Boxes, labels: Labels) -> None:
    (root / "annotations").mkdir()
    corners = ("xmin", "ymin", "xmax", "ymax")
    for i, (of_image, classes) in enumerate(zip(boxes, labels, strict=True)):
        objects = "".join(
            f"<object><name>{CLASSES[label]}</name><bndbox>"
            + "".join(f"<{name}>{value}</{name}>" for name, value in zip(corners, box, strict=True))
            + "</bndbox></object>"
            for box, label in zip(of_image, classes, strict=True)
        )
        size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
        (root / "annotations" / f"{i}.xml").write_text(f"<annotation>{size}{objects}</annotation>")


def _yolo(root: Path, boxes: Boxes, labels: Labels) -> None:
    (root / "labels").mkdir()
    (root / "classes.txt").write_text("\n".join(CLASSES))
    for i, (of_image, classes) in enumerate(zip(boxes, labels, strict=True)):
        lines = [
            f"{label} {(x1 + x2) / 2 / WIDTH:.6f} {(y1 + y2) / 2 / HEIGHT:.6f} {(x2 - x1) / WIDTH:.6f} "
            f"{(y2 - y1) / HEIGHT:.6f}"
            for (x1, y1, x2, y2), label in zip(of_image, classes, strict=True)
        ]
        (root / "labels" / f"{i}.txt").write_text("\n".join(lines))


def _csv(root: Path, boxes: Boxes, labels: Labels) -> None:
    lines = [f"images/{i}.jpg,{','.join(map(str, box))},{CLASSES[label]}" for i, label, box in _objects(boxes, labels)]
    (root / "boxes.csv").write_text("\n".join(lines))


def measure(root: Path, checkout: Path) -> tuple[float, float, str, str]:
    """Processor seconds and largest MiB of one reading, and how many images and objects it found."""
    command = [sys.executable, "-c", MEASURED, str(root)]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=root)
    seconds, memory, images, boxes = done.stdout.split()
    return float(seconds), float(memory), images, boxes


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, add to bench/results/annotations.csv, and print."""
    parser = argparse.ArgumentParser(
        "annotations", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--formats", nargs="+", default=["coco", "voc", "yolo", "csv"])
    parser.add_argument("--against", type=Path, help="another checkout of visiontasks, measured in turns with this one")
    parser.add_argument("--name", default="annotations", help="of the CSV file in bench/results/")
    options = parser.parse_args(arguments)
    checkouts = {results.OURS: Path(__file__).resolve().parents[1]}
    checkouts |= {"against": options.against.resolve()} if options.against else {}
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for form in options.formats:
            make_export(Path(scratch) / form, form, options.images)
        for turn, form, (program, checkout) in product(range(options.rounds), options.formats, checkouts.items()):
            seconds, memory, images, boxes = measure(Path(scratch) / form, checkout)
            found.setdefault((form, program), []).append((seconds, memory))
            row = {"round": str(turn + 1), "program": program, "format": form, "images": images, "boxes": boxes}
            row |= {"cpu_s": f"{seconds:.2f}", "memory_mib": f"{memory:.0f}"}
            results.append(results.FOLDER / f"{options.name}.csv", row | results.circumstances())
    for (form, program), measured in found.items():
        seconds, memory = map(median, zip(*measured, strict=True))
        print(f"{form}, {program}: {seconds:.2f} s of a processor, {memory:.0f} MiB")


if __name__ == "__main__":
    main()
