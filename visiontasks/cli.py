"""The commands. Parses what is light here, so that a wrong name is answered at once; the rest loads on use."""

import argparse
import errno
import gc
import logging
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from visiontasks import __version__
from visiontasks.downloads import DOWNLOADS
from visiontasks.errors import BadSamplesError, InputError, Stopped, printable
from visiontasks.machine import keep_freed_memory
from visiontasks.recipe import class_name, find_recipe, init_arg, list_recipes, read_recipe

EXIT_PROBLEMS = 1
EXIT_USER_ERROR = 2
EXIT_SIGNAL = 128  # and the signal's number, as shells have it
ERROR_LINES = 5
EXPLANATIONS = ("grad-cam", "occlusion", "filters", "feature-maps")
PROBLEM_KINDS = ("bad", "labels", "duplicates", "near-duplicates")
# what the machine refuses; any other OSError is a fault of the program and keeps its traceback
REFUSALS = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EMFILE,
}

EXPECTED_WARNINGS = (
    r"\s*Dump of a value that does not round-trip: a tuple",  # albumentations takes the list that it becomes
    r".*isinstance\(treespec, LeafSpec\).*",  # lightning 2.6.6 with torch 2.15
    r".*Experiment logs directory .* exists and is not empty",  # it holds recipe.yaml
    r".*does not have many workers",  # the data chooses them from the cores
    r".*The number of training batches .* is smaller than the logging interval",  # logged per epoch
    r".*recommended to use .*sync_dist=True",  # metrics are computed over all processes already
    r"Checkpoint directory .* exists and is not empty",  # a resumed run's
    r"You're resuming from a checkpoint that ended before the epoch ended",  # the data knows where to go on
    r".*module\(s\) in eval mode at the start of training",  # what is frozen is
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Arguments without the program's name; None for those of the process.

    Returns:
        The exit status: 0, 1 for data with problems, 2 for what the user can mend, 143 or 130 after SIGTERM or SIGINT.
    """
    arguments, overrides = _parser().parse_known_args(argv)
    status: int | None = None
    try:
        if overrides and not arguments.takes_overrides:
            raise InputError(f"visiontasks {arguments.command} does not take {' '.join(overrides)}")
        status = arguments.command_function(arguments, overrides)
        sys.stdout.flush()
    except BadSamplesError as error:
        return _fail(str(error), most_lines=None)
    except InputError as error:
        return _fail(str(error))
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        return _fail(f"{error.filename2 or error.filename or 'a file'}: {error.strerror}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_SIGNAL + signal.SIGINT
    except Stopped as stopped:
        if stopped.message:
            print(stopped.message, file=sys.stderr)
        return EXIT_SIGNAL + stopped.signum
    return status or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("visiontasks", description="Fine-tune pretrained vision models from recipes.")
    parser.add_argument("--version", action="version", version=f"visiontasks {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    listing = commands.add_parser("recipes", help="list the recipes")
    listing.set_defaults(command_function=_recipes, takes_overrides=False)

    training = commands.add_parser(
        "finetune",
        help="train a recipe",
        allow_abbrev=False,
        usage="visiontasks finetune RECIPE [--resume RUN] [--section.key value ...]",
        description="Train a recipe and measure it on the test split.",
        epilog="Any key of the recipe can be overridden: --trainer.max_epochs 3 --data.root photos --model.backbone "
        "resnet50.a1_in1k. --print_config prints all keys with their values.",
    )
    training.add_argument("recipe", metavar="RECIPE", help="name of a shipped recipe, or path of a .yaml file")
    training.add_argument(
        "--resume", metavar="RUN", help="go on with an interrupted run, to the same result: its folder, or a checkpoint"
    )
    training.set_defaults(command_function=_finetune, takes_overrides=True)

    evaluation = commands.add_parser(
        "evaluate",
        help="measure a run on its test split",
        allow_abbrev=False,
        usage="visiontasks evaluate RUN [--split test|val] [--section.key value ...]",
        description="Measure the best weights of a run; --data.root FOLDER measures on other images.",
    )
    evaluation.add_argument("run", metavar="RUN", help="folder of a run, or of several, of which the newest is taken")
    evaluation.add_argument("--split", choices=("test", "val"), default="test", help="default: test")
    evaluation.set_defaults(command_function=_evaluate, takes_overrides=True)

    reporting = commands.add_parser(
        "report",
        help="write a run's report.html again",
        allow_abbrev=False,
        usage="visiontasks report RUN [--section.key value ...]",
        description="Write report.html from what lies in a run's folder, also of one that did not finish. Pictures "
        "need the data: --data.root FOLDER says where it is now.",
    )
    reporting.add_argument("run", metavar="RUN", help="folder of a run, or of several, of which the newest is taken")
    reporting.set_defaults(command_function=_report, takes_overrides=True)

    comparing = commands.add_parser(
        "compare",
        help="show runs side by side",
        allow_abbrev=False,
        usage="visiontasks compare RUN RUN ...",
        description="Metrics, recipe keys that differ, times and versions, and McNemar's exact test of each two runs "
        "that were measured on the same samples.",
    )
    comparing.add_argument("runs", metavar="RUN", nargs="+", help="folder of a finished run, or of several: the newest")
    comparing.set_defaults(command_function=_compare, takes_overrides=False)

    _add_predict(commands)
    _add_explain(commands)

    checking = commands.add_parser(
        "check-data",
        help="find what is wrong with the images of a recipe",
        allow_abbrev=False,
        usage="visiontasks check-data RECIPE [--ignore KIND ...] [--json FILE] [--section.key value ...]",
        description="Decode all images and masks of all splits, and list those that cannot be used, those that are in "
        "two splits, exactly or nearly, and those with two labels. Exit status: 0 without problems, 1 with, 2 if they "
        "cannot be looked at.",
    )
    checking.add_argument("recipe", metavar="RECIPE", help="name of a shipped recipe, or path of a .yaml file")
    checking.add_argument(
        "--ignore",
        metavar="KIND",
        choices=PROBLEM_KINDS,
        action="append",
        default=[],
        help=f"list problems of this kind ({', '.join(PROBLEM_KINDS)}) without counting them; may be repeated",
    )
    checking.add_argument("--json", metavar="FILE", type=Path, help="write everything to a file too")
    checking.set_defaults(command_function=_check_data, takes_overrides=True)

    exporting = commands.add_parser(
        "export",
        help="write a run for other programs",
        allow_abbrev=False,
        usage="visiontasks export RUN DIR [--format folder|onnx|torch-export] [--images FOLDER] [--push-to-hub NAME]",
        description="Write a run's network: as a folder that timm loads, with three images and what is said of them; "
        "or as one graph from pixels of any size to answers, which is compared with the run on 100 images at least.",
    )
    exporting.add_argument("run", metavar="RUN", help="folder of a run, or of several, of which the newest is taken")
    exporting.add_argument("folder", metavar="DIR", type=Path, help="where to; must not be there yet, or be empty")
    exporting.add_argument(
        "--format", choices=("folder", "onnx", "torch-export"), default="folder", help="default: folder"
    )
    exporting.add_argument(
        "--images", metavar="FOLDER", type=Path, help="images to check on; default: those that the run was tested on"
    )
    exporting.add_argument(
        "--push-to-hub", metavar="NAME", help="put it on the Hugging Face hub too: model, or owner/model; made private"
    )
    exporting.set_defaults(command_function=_export, takes_overrides=False)

    costs = commands.add_parser(
        "summary",
        help="what a network costs, layer by layer",
        allow_abbrev=False,
        usage="visiontasks summary BACKBONE [--image-size N|HxW] [--in-chans C] [--head HEAD --num-classes K] "
        "[--no-classifier] [--depth N] [--format table|csv|json]",
        description="For each layer: output, activations, weights and biases, multiply-adds, receptive field, stride; "
        "and in all, with the memory of a training. Needs no weights and no images.",
    )
    costs.add_argument("backbone", metavar="BACKBONE", help="a timm name such as resnet50, or local-dir:FOLDER")
    costs.add_argument("--image-size", metavar="N|HxW", help="in pixels; default: what the network was trained with")
    costs.add_argument("--in-chans", metavar="C", type=_count, help="channels of the image; default: the network's own")
    costs.add_argument(
        "--head", metavar="HEAD", help="put a head of visiontasks.heads on the backbone: LinearHead, FCNHead, ..."
    )
    costs.add_argument(
        "--num-classes", metavar="K", type=_count, help="of the head, or of the network's own classifier"
    )
    costs.add_argument(
        "--classifier",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="without a head: the whole network with its classifier (default), or the backbone alone",
    )
    costs.add_argument("--depth", metavar="N", type=_count, help="sum up what lies deeper than N levels of modules")
    costs.add_argument("--format", choices=("table", "csv", "json"), default="table", help="default: table")
    costs.set_defaults(command_function=_summary, takes_overrides=False)
    return parser


def _add_predict(commands: Any) -> None:
    predicting = commands.add_parser(
        "predict",
        help="predict new images",
        allow_abbrev=False,
        usage="visiontasks predict RUN [RUN ...] IMAGE|FOLDER|GLOB ... [--out FILE] [--draw FOLDER] [option ...]",
        description="Say what one run, or the average of several, predicts for images. The first argument is a run; so "
        "are those behind it that are run folders, up to the first that is not. Folders are searched at any depth. The "
        "exit status is 1 if not one image could be predicted.",
    )
    predicting.add_argument("inputs", nargs="+", metavar="RUN ... IMAGE ...", help="run folders, then images")
    predicting.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help=".csv, written as images are predicted, or .json; masks go into a folder beside it. Without it: lines",
    )
    predicting.add_argument("--draw", metavar="FOLDER", type=Path, help="write each picture with its prediction drawn")
    predicting.add_argument("--top", metavar="N", type=_count, default=5, help="how many classes to name; default: 5")
    predicting.add_argument(
        "--tta", choices=("flip", "tencrop"), help="average over the mirror image too, or over ten crops"
    )
    predicting.add_argument("--device", default="auto", help="cpu, cuda:0 or the like; default: a GPU if there is one")
    predicting.add_argument("--batch-size", metavar="N", type=_count, help="images at once; default: the recipe's")
    predicting.set_defaults(command_function=_predict, takes_overrides=True)


def _add_explain(commands: Any) -> None:
    explaining = commands.add_parser(
        "explain",
        help="show what a run looks at in an image",
        allow_abbrev=False,
        usage="visiontasks explain RUN IMAGE [--class NAME] [--method METHOD ...] [--out FOLDER]",
        description="Write pictures of what speaks for a class: Grad-CAM, and how much covering a part takes from its "
        "probability; and of the first filters and the feature maps.",
    )
    explaining.add_argument("run", metavar="RUN", help="folder of a run, or of several, of which the newest is taken")
    explaining.add_argument("image", metavar="IMAGE", help="an image file")
    explaining.add_argument("--class", dest="class_name", metavar="NAME", help="default: the most probable one")
    explaining.add_argument(
        "--method",
        choices=EXPLANATIONS,
        action="append",
        default=[],
        help=f"{', '.join(EXPLANATIONS)}; may be repeated; default: all",
    )
    explaining.add_argument("--out", metavar="FOLDER", type=Path, help="default: explain/<image> in the run's folder")
    explaining.add_argument("--device", default="auto", help="cpu, cuda:0 or the like; default: a GPU if there is one")
    explaining.set_defaults(command_function=_explain, takes_overrides=False)


def _recipes(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    from visiontasks.printing import print_recipes

    print_recipes(list_recipes())


def _finetune(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    recipe = find_recipe(arguments.recipe)
    content = read_recipe(recipe)
    if not {"--help", "--print_config"} & set(overrides):
        _check_downloads(content, overrides)
    keep_freed_memory()
    from lightning.pytorch.utilities import rank_zero_only

    from visiontasks.printing import print_result
    from visiontasks.run import finetune

    _ready()
    run_dir, result = finetune(recipe, overrides, resume=arguments.resume)
    chosen_on_it = " (the data has no test split; the best epoch was chosen on this one)"
    title = f"{result['recipe']}: {result['split']} split{chosen_on_it if result['split'] == 'val' else ''}"
    rank_zero_only(print_result)(result, title=title, run_dir=run_dir)


def _check_downloads(content: dict[str, Any], overrides: Sequence[str]) -> None:
    """Say what is neither here nor to be downloaded before the slow imports."""
    _check_data_download(content, overrides)
    backbone, weights = (init_arg(content, overrides, "model", name) for name in ("backbone", "weights"))
    if isinstance(backbone, str) and weights == "hub":
        from visiontasks.backbones import check_weights

        check_weights(backbone)


def _check_data_download(content: dict[str, Any], overrides: Sequence[str]) -> None:
    download = DOWNLOADS.get(class_name(content, overrides, "data"))
    root, allowed = (init_arg(content, overrides, "data", name) for name in ("root", "download"))
    if download and isinstance(root, str) and allowed in (True, "true"):
        download.check(Path(root), allowed=True)


def _evaluate(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    from visiontasks.printing import print_result
    from visiontasks.runs import find_run

    run_dir = find_run(arguments.run)
    keep_freed_memory()
    from lightning.pytorch.utilities import rank_zero_only

    from visiontasks.run import evaluate

    _ready()
    result = evaluate(run_dir, overrides, split=arguments.split)
    title = " ".join([f"{run_dir}: {arguments.split} split", *overrides])
    rank_zero_only(print_result)(result, title=title)


def _report(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    keep_freed_memory()
    from visiontasks.reporting import report

    _ready()
    print(f"report: {report(arguments.run, overrides)}")


def _compare(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    from visiontasks.compare import compare
    from visiontasks.printing import print_comparison

    _ready()
    print_comparison(compare(arguments.runs))


def _predict(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    unknown = [argument for argument in rest if argument.startswith("-")]
    if unknown:
        raise InputError(f"visiontasks predict does not take {' '.join(unknown)}")
    from visiontasks.runs import split_runs

    runs, names = split_runs([*arguments.inputs, *rest])  # rest: images behind an option
    keep_freed_memory()
    from visiontasks.predict import predict

    _ready()
    good = predict(
        runs,
        names,
        out=arguments.out,
        draw=arguments.draw,
        top=arguments.top,
        tta=arguments.tta,
        device=arguments.device,
        batch_size=arguments.batch_size,
    )
    return 0 if good else EXIT_PROBLEMS


def _explain(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    from visiontasks.runs import find_run

    run = find_run(arguments.run)
    keep_freed_memory()
    from visiontasks.explanations import explain
    from visiontasks.printing import print_explanation

    _ready()
    explanation = explain(
        run,
        arguments.image,
        out=arguments.out,
        class_name=arguments.class_name,
        methods=arguments.method,
        device=arguments.device,
    )
    print_explanation(explanation.probabilities, explanation.explained, explanation.files, explanation.refused)


def _check_data(arguments: argparse.Namespace, overrides: Sequence[str]) -> int:
    recipe = find_recipe(arguments.recipe)
    _check_data_download(read_recipe(recipe), overrides)
    from visiontasks.check_data import check_data

    _ready()
    good = check_data(recipe, overrides, ignored=arguments.ignore, json_file=arguments.json)
    return 0 if good else EXIT_PROBLEMS


def _summary(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    image_size = None if arguments.image_size is None else _size(arguments.image_size)
    from visiontasks.printing import terminal_width
    from visiontasks.summary import summarize_backbone, to_csv, to_json, to_table

    _ready()
    summary = summarize_backbone(
        arguments.backbone,
        image_size=image_size,
        in_chans=arguments.in_chans,
        head=arguments.head,
        num_classes=arguments.num_classes,
        classifier=arguments.classifier,
        depth=arguments.depth,
    )
    name = " with ".join(filter(None, [arguments.backbone, arguments.head]))
    if arguments.format == "table":
        image = "x".join(map(str, summary.image))
        print(to_table(summary, title=f"{name} on an image of {image}", width=terminal_width()))
    else:
        print(to_csv(summary) if arguments.format == "csv" else to_json(summary, name=name), end="")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def _size(text: str) -> tuple[int, int]:
    """Height and width from 224 or 240x320."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise InputError(f"--image-size {text}: expected pixels such as 224, or height and width such as 240x320")
    return int(sides[0]), int(sides[-1])


def _export(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    from visiontasks.runs import find_run

    run_dir = find_run(arguments.run)
    keep_freed_memory()
    from visiontasks.export import export
    from visiontasks.printing import print_exported

    _ready()
    made = export(
        run_dir, arguments.folder, form=arguments.format, images=arguments.images, hub_name=arguments.push_to_hub
    )
    print_exported(made.folder, made.files, made.checked, made.address)


def _ready() -> None:
    """Everything is imported: collect garbage from now on, and leave only warnings that the user can act on."""
    gc.enable()
    for message in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message)
    logging.getLogger("lightning").setLevel(logging.WARNING)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _fail(message: str, most_lines: int | None = ERROR_LINES) -> int:
    lines = [printable(line) for line in message.strip().splitlines() if line.strip()]
    print("\n".join(["error: " + lines[0], *lines[1:most_lines]]), file=sys.stderr)
    return EXIT_USER_ERROR
