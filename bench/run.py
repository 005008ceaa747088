"""Fine-tuning with visiontasks beside plain Lightning, fastai and a raw loop: the same work, measured side by side.

    make bench                                                         made images, untrained weights: that it runs
    make bench ARGS="--data FOLDER --weights WEIGHTS --name mine"      FOLDER/{train,test}/<class>/, a timm local-dir
    python bench/run.py --table --name mine                            the table of bench/results/mine.csv again
    python bench/run.py detection|decode|depthwise|predict|commands|startup|neighbour|...   the others; each has --help

What is equal: images, the test split, 224 px, batches of 32, 3 epochs with the backbone frozen and 3 with all of it
trained, an evaluation of all test images behind each epoch, the weights and their mean and std, the Python and the
torch. Every program is a process of its own that begins cold; the programs take turns (A B C D A B C D ...).

What differs, because each program is written as its documentation teaches:
- visiontasks: the command line with the recipe folder_resnet. AdamW, label smoothing, BatchNorm statistics kept;
  afterwards it measures the best epoch's weights once more, draws predictions and writes its run folder, all within its
  wall time. Test images are given to it as val/, so that they are evaluated each epoch. What earlier runs have kept of
  a frozen backbone's features is out of its reach.
- plain Lightning (peer_lightning.py): fp32, Adam, BackboneFinetuning at its defaults, BatchNorm learns. 300 images are
  10 batches there; the others drop the last, incomplete one, so speed is compared in images/s.
- fastai (peer_fastai.py): fp32, one-cycle in each phase, its head with a hidden layer, `aug_transforms` on top of the
  random crops; evaluated on the image's middle after its own resize. `fastai_flip` is the same without
  `aug_transforms`, so with the same augmentation as the first two.
- raw loop (peer_raw.py): the images lie in memory, decoded, resized and normalized, without augmentation; precision,
  layout and the allocator's setting are visiontasks'. `raw_bf16` and `raw_fp32` are the same in bf16 and fp32, whatever
  visiontasks chose.
- `visiontasks_sizes` is visiontasks with `--finetune.image_sizes [160,160,224]`, of the three full epochs.

Accuracy is that of the last epoch. An epoch's time includes its evaluation; images/s is the number of training images
divided by that time, over all full epochs.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from bench import results
from bench.processes import Usage, measure
from bench.work import BATCH_SIZE, FROZEN_EPOCHS, FULL_EPOCHS, Epoch, make_images, read_epochs

HERE = Path(__file__).parent
DEFAULT_PROGRAMS = ("visiontasks", "lightning", "fastai", "raw")
OTHER_MEASUREMENTS = (
    "decode",
    "depthwise",
    "predict",
    "commands",
    "growth",
    "gpu",
    "detection_metrics",
    "detection",
    "annotations",
    "startup",
    "neighbour",
)
PRECISION = "32-true"  # Lightning's name of its default
SIZES = "[160, 160, 224]"


def visiontasks(photos: Path, weights: Path, folder: Path, *overrides: str) -> tuple[Usage, list[Epoch], str]:
    """Train with the command line, as a user does who has never done it before."""
    options = {
        "--data.root": photos,
        "--model.backbone": f"local-dir:{weights}",
        "--data.batch_size": BATCH_SIZE,
        "--trainer.max_epochs": FROZEN_EPOCHS + FULL_EPOCHS,
        "--finetune.freeze_epochs": FROZEN_EPOCHS,
    }
    arguments = [str(part) for option in options.items() for part in option]
    command = [sys.executable, "-m", "visiontasks", "finetune", "folder_resnet", *arguments, *overrides]
    usage = measure(command, cwd=folder, log=folder / "output.txt", environment=no_features(folder))
    run = next(folder.glob("runs/folder_resnet/*/"))
    return usage, results.epochs_of_run(run / "metrics.csv"), precision_of_run(run)


def no_features(folder: Path) -> dict[str, str]:
    """Environment in which visiontasks finds no features that an earlier run has kept."""
    return {"VISIONTASKS_CACHE": str(folder / "features")}


def precision_of_run(run: Path) -> str:
    """The precision that a run's resolved recipe names."""
    precision = yaml.safe_load((run / "recipe.yaml").read_text())["trainer"]["precision"]
    return PRECISION if precision is None else str(precision)


def peer(name: str, photos: Path, weights: Path, folder: Path, *options: str) -> tuple[Usage, list[Epoch], str]:
    """Train with one of the scripts beside this one."""
    command = [sys.executable, HERE / f"peer_{name}.py", photos, weights, folder / "times.json", *options]
    usage = measure(command, cwd=folder, log=folder / "output.txt")
    epochs, facts = read_epochs(folder / "times.json")
    return usage, epochs, facts["precision"]


def one_process(
    name: str, photos: Path, weights: Path, folder: Path, precision: str, overrides: Sequence[str]
) -> tuple[results.Row, str]:
    """Run a program; the row of what was measured, and its precision.

    Args:
        name: One of `results.NAMES`.
        photos: Folder with train/ and val/.
        weights: A timm local-dir folder.
        folder: An empty one to run in.
        precision: That of visiontasks, for the raw loop.
        overrides: Of the recipe, for visiontasks.
    """
    folder.mkdir()
    circumstances = results.circumstances()  # the load before it starts
    if name.startswith(results.OURS):
        sizes = ["--finetune.image_sizes", SIZES] if name == "visiontasks_sizes" else []
        usage, epochs, precision = visiontasks(photos, weights, folder, *sizes, *overrides)
    else:
        given = {"raw": [precision], "raw_bf16": ["bf16-mixed"], "raw_fp32": [PRECISION], "fastai_flip": ["flip"]}
        options = given.get(name, [])
        usage, epochs, precision = peer(name.split("_")[0], photos, weights, folder, *options)
    return {**results.measured(usage, epochs), "precision": precision, **circumstances}, precision


def link_images(data: Path, scratch: Path) -> tuple[Path, str]:
    """The images as train/ and val/, which all programs read, and how many there are."""
    photos = scratch / "photos"
    photos.mkdir()
    counts = []
    for split, source in (("train", "train"), ("val", "test")):
        if not (data / source).is_dir():
            sys.exit(f"error: no folder {data / source}/: expected --data FOLDER with train/<class>/ and test/<class>/")
        (photos / split).symlink_to((data / source).resolve())
        counts.append(sum(path.is_file() for path in (data / source).rglob("*")))
    return photos, f"{counts[0]} training and {counts[1]} test images of {data.resolve().name}"


def make_weights(folder: Path) -> Path:
    """An untrained MobileNetV2 as a timm local-dir folder."""
    import timm
    from timm.models import save_for_hf

    save_for_hf(timm.create_model("mobilenetv2_100", pretrained=False), str(folder), safe_serialization=True)
    return folder


def finetune(options: argparse.Namespace) -> None:
    """All programs in turns, then the table."""
    path = results.FOLDER / f"{options.name}.csv"
    first = 1 + max((int(row["round"]) for row in results.read(path)), default=0) if path.exists() else 1
    with tempfile.TemporaryDirectory(prefix="visiontasks-bench-") as name:
        scratch = Path(name)
        if options.data is None:
            make_images(scratch / "made")
        photos, data = link_images(options.data or scratch / "made", scratch)
        weights = (options.weights or make_weights(scratch / "untrained")).resolve()
        precision = PRECISION
        for turn in range(first, first + options.rounds):
            for program in options.programs:
                row, used = one_process(
                    program, photos, weights, scratch / f"{program}{turn}", precision, options.overrides.split()
                )
                precision = used if program == results.OURS else precision
                about = {"round": str(turn), "program": program, "data": data, "weights": weights.name}
                about["overrides"] = options.overrides if program.startswith(results.OURS) else ""
                results.append(path, about | row)
                print(
                    f"round {turn} {program}: {row['wall_s']} s, epochs {row['epochs_s']}, top-1 {row['top1']}",
                    flush=True,
                )
    print_table(path)


def print_table(path: Path) -> None:
    rows = results.read(path)
    print("\n".join([results.table(rows), "", *results.targets(rows)]))


def main(arguments: Sequence[str] | None = None) -> None:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments and arguments[0] in OTHER_MEASUREMENTS:
        module = __import__(f"bench.{arguments[0]}", fromlist=["main"])
        module.main(arguments[1:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train/<class>/ and test/<class>/; default: made images")
    parser.add_argument("--weights", type=Path, help="timm local-dir folder of MobileNetV2; default: untrained")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--programs", nargs="+", choices=list(results.NAMES), default=DEFAULT_PROGRAMS)
    parser.add_argument("--name", default="finetune", help="of the CSV file in bench/results/; rounds are added to it")
    parser.add_argument("--overrides", default="", help='of the recipe, such as "--finetune.cached_views 1"')
    parser.add_argument("--table", action="store_true", help="print the table of that file and run nothing")
    options = parser.parse_args(arguments)
    if options.table:
        print_table(results.FOLDER / f"{options.name}.csv")
    else:
        finetune(options)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    signal.signal(
        signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum)
    )  # so that the program under way ends too
    main()
