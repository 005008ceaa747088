"""The commands. What is light is looked at here, so that a wrong name is answered at once; the rest loads on use."""

import argparse
import errno
import gc
import io
import logging
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from visiontasks.commands.arguments import parser
from visiontasks.downloads import DOWNLOADS
from visiontasks.errors import BadSamplesError, InputError, Stopped, printable
from visiontasks.recipe import class_name, find_recipe, init_arg, init_from, list_recipes, read_recipe
from visiontasks.training.machine import (
    discard_output,
    is_out_of_memory,
    keep_freed_memory,
    open_streams,
    out_of_memory,
)

EXIT_PROBLEMS = 1
EXIT_USER_ERROR = 2
EXIT_SIGNAL = 128  # and the signal's number, as shells have it
EXIT_BROKEN_PIPE = EXIT_SIGNAL + 13  # SIGPIPE's, which not every system has
ERROR_LINES = 5
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
        The exit status: 0, 1 for data with problems, 2 for what the user can fix, 143 or 130 after SIGTERM or SIGINT,
        141 if nobody reads the output any more.
    """
    open_streams()
    try:
        return _run(argv)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        discard_output()
        return EXIT_BROKEN_PIPE
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return _fail(out_of_memory(error))


def _run(argv: Sequence[str] | None) -> int:
    """Run a command; what the machine or the user can cause becomes a message and a status."""
    status: int | None = None
    try:
        arguments, overrides = parser().parse_known_args(argv)
        if overrides and not arguments.takes_overrides:
            raise InputError(f"visiontasks {arguments.command} does not take {' '.join(overrides)}")
        status = COMMANDS[arguments.command](arguments, overrides)
        sys.stdout.flush()
    except BadSamplesError as error:
        return _fail(str(error), most_lines=None)
    except InputError as error:
        return _fail(str(error))
    except SystemExit:  # of --help, or wrong arguments
        sys.stdout.flush()
        raise
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


def _recipes(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    from visiontasks.commands.printing import print_recipes

    print_recipes(list_recipes())


def _finetune(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    recipe = find_recipe(arguments.recipe)
    content = read_recipe(recipe)
    if not {"--help", "--print_config"} & set(overrides):
        _check_downloads(content, overrides)
    keep_freed_memory()
    from lightning.pytorch.utilities import rank_zero_only

    from visiontasks.commands.finetune import finetune
    from visiontasks.commands.printing import print_result

    _ready()
    run_dir, result = finetune(recipe, overrides, resume=arguments.resume)
    chosen_on_it = " (the data has no test split; the best epoch was chosen on this one)"
    title = f"{result['recipe']}: {result['split']} split{chosen_on_it if result['split'] == 'val' else ''}"
    rank_zero_only(print_result)(result, title=title, run_dir=run_dir)


def _check_downloads(content: dict[str, Any], overrides: Sequence[str]) -> None:
    """Say what is neither here nor to be downloaded before the slow imports."""
    _check_data_download(content, overrides)
    backbone, weights = (init_arg(content, overrides, "model", name) for name in ("backbone", "weights"))
    if isinstance(backbone, str) and weights == "hub" and not init_from(content, overrides):
        from visiontasks.backbones import check_weights

        check_weights(backbone)


def _check_data_download(content: dict[str, Any], overrides: Sequence[str]) -> None:
    download = DOWNLOADS.get(class_name(content, overrides, "data"))
    root, allowed = (init_arg(content, overrides, "data", name) for name in ("root", "download"))
    if download and isinstance(root, str) and allowed in (True, "true"):
        download.check(Path(root), allowed=True)


def _evaluate(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    from visiontasks.commands.printing import print_result
    from visiontasks.runs.folder import find_run

    run_dir = find_run(arguments.run)
    keep_freed_memory()
    from lightning.pytorch.utilities import rank_zero_only

    from visiontasks.commands.finetune import evaluate

    _ready()
    result = evaluate(run_dir, overrides, split=arguments.split)
    title = " ".join([f"{run_dir}: {arguments.split} split", *overrides])
    rank_zero_only(print_result)(result, title=title)


def _report(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    keep_freed_memory()
    from visiontasks.results.report import report

    _ready()
    print(f"report: {report(arguments.run, overrides)}")


def _compare(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    from visiontasks.commands.printing import print_comparison
    from visiontasks.results.compare import compare

    _ready()
    print_comparison(compare(arguments.runs))


def _predict(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    unknown = [argument for argument in rest if argument.startswith("-")]
    if unknown:
        raise InputError(f"visiontasks predict does not take {' '.join(unknown)}")
    from visiontasks.runs.folder import split_runs

    runs, names = split_runs([*arguments.inputs, *rest])  # rest: images behind an option
    keep_freed_memory()
    from visiontasks.commands.predict import predict

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
    from visiontasks.runs.folder import find_run

    run = find_run(arguments.run)
    keep_freed_memory()
    from visiontasks.commands.explain import explain
    from visiontasks.commands.printing import print_explanation

    _ready()
    explanation = explain(
        run,
        arguments.image,
        out=arguments.out,
        class_name=arguments.class_name,
        methods=arguments.method,
        device=arguments.device,
    )
    print_explanation(
        explanation.probabilities,
        explanation.explained,
        explanation.files,
        explanation.refused,
        run=run if arguments.out is None else None,
    )


def _check_data(arguments: argparse.Namespace, overrides: Sequence[str]) -> int:
    recipe = find_recipe(arguments.recipe)
    _check_data_download(read_recipe(recipe), overrides)
    from visiontasks.commands.check_data import check_data

    _ready()
    good = check_data(recipe, overrides, ignored=arguments.ignore, json_file=arguments.json)
    return 0 if good else EXIT_PROBLEMS


def _summary(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    image_size = None if arguments.image_size is None else _size(arguments.image_size)
    from visiontasks.commands.printing import terminal_width
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


def _size(text: str) -> tuple[int, int]:
    """Height and width from 224 or 240x320."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise InputError(f"--image-size {text}: expected pixels such as 224, or height and width such as 240x320")
    return int(sides[0]), int(sides[-1])


def _export(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    from visiontasks.runs.folder import find_run

    run_dir = find_run(arguments.run)
    keep_freed_memory()
    from visiontasks.commands.printing import print_exported
    from visiontasks.export import export

    _ready()
    made = export(
        run_dir, arguments.folder, form=arguments.format, images=arguments.images, hub_name=arguments.push_to_hub
    )
    print_exported(made.folder, made.files, made.checked, made.address)


def _ready() -> None:
    """Everything is imported: collect garbage from now on, and leave only warnings that the user can act on."""
    gc.enable()
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files and classes that it cannot encode are spelled out
        sys.stdout.reconfigure(errors="backslashreplace")
    for message in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message)
    logging.getLogger("lightning").setLevel(logging.WARNING)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _fail(message: str, most_lines: int | None = ERROR_LINES) -> int:
    lines = [printable(line) for line in message.strip().splitlines() if line.strip()]
    print("\n".join(["error: " + lines[0], *lines[1:most_lines]]), file=sys.stderr)
    return EXIT_USER_ERROR


COMMANDS: dict[str, Callable[[argparse.Namespace, Sequence[str]], int | None]] = {
    "recipes": _recipes,
    "finetune": _finetune,
    "evaluate": _evaluate,
    "report": _report,
    "compare": _compare,
    "predict": _predict,
    "explain": _explain,
    "check-data": _check_data,
    "export": _export,
    "summary": _summary,
}
