"""Classes that are added to a run against a training with all of them from the start.

python bench/study.py extend --backbone NAME digits=FOLDER

FOLDER has a folder for each class. Five times a fifth of the classes, one or more, is left out of a training, and added
by `study extend`; a training with all classes is what it is compared with, on the same test images. Times are of the
processor, of one process without others; features of old images are cached, as they are after any study of the run.
"""

import argparse
import time
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory

import numpy as np

from visiontasks import open_run
from visiontasks.commands.main import main
from visiontasks.data.pipeline.files import class_folders, image_files

ADDITIONS = 5


def prove(words: Sequence[str]) -> None:
    """A line for each addition."""
    parser = argparse.ArgumentParser(description=str(__doc__), formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--train", type=int, default=100, help="images of a class")
    parser.add_argument("--test", type=int, default=100, help="images of a class")
    parser.add_argument("--epochs", type=int, default=6)
    given = parser.parse_args(words)
    for name, _, folder in (each.partition("=") for each in given.data):
        with TemporaryDirectory() as scratch:
            _prove(name, Path(folder), Path(scratch), given)


def _prove(name: str, folder: Path, scratch: Path, given: argparse.Namespace) -> None:
    classes = class_folders(folder)
    _link(folder, scratch / "all", classes, given)
    options = [
        *("--backbone", given.backbone, "--image-size", str(given.image_size), "--workers", "0"),
        *("--epochs", str(given.epochs), "--trainer.precision", "32-true"),
    ]
    start = time.process_time()
    assert main(["finetune", str(scratch / "all"), "--out", str(scratch / "joint"), *options]) == 0
    joint_s, joint = time.process_time() - start, _top1(scratch / "joint", scratch / "all")
    off, shares = [], []
    for number in range(ADDITIONS):
        added = classes[number::ADDITIONS]
        base, new, out = (scratch / f"{kind}{number}" for kind in ("base", "new", "extended"))
        _link(folder, base, [each for each in classes if each not in added], given)
        _link(folder, new, added, given)
        assert main(["finetune", str(base), "--out", str(scratch / f"run{number}"), *options]) == 0
        assert main(["study", "similar", str(scratch / f"run{number}"), "--embeddings", str(scratch / "a.npz")]) == 0
        start = time.process_time()
        words = ["study", "extend", str(scratch / f"run{number}"), str(new / "train"), "--out", str(out)]
        status = main([*words, "--allow-fall"])
        assert status == 0
        seconds, found = time.process_time() - start, _top1(out, scratch / "all")
        off.append(100 * (found[0] - joint[0]))
        shares.append(seconds / joint_s)
        half = 196 * sqrt(sum(value * (1 - value) for value in (found[0], joint[0])) / found[1])
        print(
            f"{name} + {', '.join(added)}: test {100 * found[0]:.2f}, joint {100 * joint[0]:.2f}, n {found[1]:,}, "
            f"{off[-1]:+.2f} points (95 %, as if other images: {off[-1] - half:+.2f} to {off[-1] + half:+.2f}); "
            f"{seconds:.1f} of {joint_s:.1f} s",
            flush=True,
        )
    print(
        f"{name} in the mean: {mean(off):+.2f} points (sd {stdev(off):.2f}), within 1 point "
        f"{sum(each > -1 for each in off)} of {ADDITIONS}; time {mean(shares):.3f} of the joint training "
        f"(sd {stdev(shares):.3f})",
        flush=True,
    )


def _link(folder: Path, to: Path, classes: Sequence[str], given: argparse.Namespace) -> None:
    """Class folders of links, train/ and test/, the same images whatever the classes."""
    for name, files in zip(classes, image_files(folder / each for each in classes), strict=True):
        order = np.random.default_rng(0).permutation(len(files))
        ends = {"train": order[: given.train], "test": order[given.train : given.train + given.test]}
        for split, rows in ends.items():
            (to / split / name).mkdir(parents=True)
            for row in rows:
                (to / split / name / Path(files[row]).name).symlink_to(Path(files[row]).resolve())


def _top1(run: Path, folder: Path) -> tuple[float, int]:
    """Accuracy on the test images of all classes, and how many these are."""
    metrics = open_run(run).evaluate(folder, overrides={"data.num_workers": 0})
    return metrics["test/top1"], metrics.entries["test/top1"]["n"]
