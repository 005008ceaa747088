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
from visiontasks.errors import BadSamplesError, InputError, Stopped
from visiontasks.machine import keep_freed_memory
from visiontasks.recipe import class_name, find_recipe, init_arg, list_recipes, read_recipe

EXIT_PROBLEMS = 1
EXIT_USER_ERROR = 2
EXIT_SIGNAL = 128  # and the signal's number, as shells have it
ERROR_LINES = 5
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
    return parser


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


def _check_data(arguments: argparse.Namespace, overrides: Sequence[str]) -> int:
    recipe = find_recipe(arguments.recipe)
    _check_data_download(read_recipe(recipe), overrides)
    from visiontasks.check_data import check_data

    _ready()
    good = check_data(recipe, overrides, ignored=arguments.ignore, json_file=arguments.json)
    return 0 if good else EXIT_PROBLEMS


def _ready() -> None:
    """Everything is imported: collect garbage from now on, and leave only warnings that the user can act on."""
    gc.enable()
    for message in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message)
    logging.getLogger("lightning").setLevel(logging.WARNING)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _fail(message: str, most_lines: int | None = ERROR_LINES) -> int:
    lines = [_printable(line) for line in message.strip().splitlines() if line.strip()]
    print("\n".join(["error: " + lines[0], *lines[1:most_lines]]), file=sys.stderr)
    return EXIT_USER_ERROR


def _printable(line: str) -> str:
    """A line without what a file's or a class's name could do to a terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)
