"""The command `finetune`: trains a recipe, measures it and writes the run folder."""

import argparse
import json
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from platform import machine, platform
from typing import Any

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only

from visiontasks.commands.outcome import print_finished
from visiontasks.data.audit.class_counts import class_counts
from visiontasks.errors import InputError, Stopped
from visiontasks.library_internals import trained_epochs
from visiontasks.recipe import find_recipe, read_recipe
from visiontasks.recipe.checks import check_columns, check_optimizer
from visiontasks.recipe.cli import RecipeCLI
from visiontasks.recipe.init_from import weights_note
from visiontasks.recipe.record import Record
from visiontasks.recipe.resume import check_resumable, find_interrupted, read_interrupted
from visiontasks.recipe.scaling import fitted, quick_overrides
from visiontasks.recipe.user_errors import how_to_go_on, user_errors
from visiontasks.results.measure import measure, write_measured
from visiontasks.results.report import read_history
from visiontasks.results.samples import table_name
from visiontasks.runs.checkpoint import drop_training_state, read_checkpoint, write_text
from visiontasks.runs.folder import (
    BEST,
    LAST,
    METRICS,
    QUICK,
    RECIPE,
    RESULT,
    existing_folder,
    make_run_dir,
    new_run_dir,
    recipe_name,
    remove_run_dir,
)
from visiontasks.runs.provenance import ENTRY, Provenance, versions
from visiontasks.tasks.arguments import restore_calibration
from visiontasks.tasks.base import Split
from visiontasks.training.interruptions import Interruptions
from visiontasks.training.progress import History
from visiontasks.training.threads import choose_threads, restore_threads
from visiontasks.training.trackers import log_picture
from visiontasks.units import counted


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Train and print."""
    if not arguments.resume:
        _note(choose_threads())
    train(arguments, overrides)


def train(
    arguments: argparse.Namespace,
    overrides: Sequence[str],
    *,
    prepare: Callable[[RecipeCLI], None] | None = None,
) -> Path:
    """Train and print; the run's folder. See `finetune`."""
    recipe, verbose, quick = find_recipe(arguments.recipe), arguments.verbose, arguments.quick
    place = {"name": arguments.name, "folder": arguments.out, "resume": arguments.resume}
    run_dir, result = finetune(recipe, overrides, quick=quick, verbose=verbose, prepare=prepare, **place)
    history = read_history(run_dir / METRICS)
    rank_zero_only(print_finished)(result, run_dir, history=history, quick=quick, verbose=verbose)
    return run_dir


def finetune(
    recipe: Path,
    overrides: Sequence[str],
    *,
    runs: Path = Path("runs"),
    name: str | None = None,
    folder: Path | None = None,
    quick: bool = False,
    resume: str | None = None,
    verbose: bool = False,
    prepare: Callable[[RecipeCLI], None] | None = None,
    measures: bool = True,
) -> tuple[Path, dict[str, Any]]:
    """Train a recipe, measure the best epoch's weights on the test split, write the run folder.

    SIGTERM and SIGINT end a training between two steps, when all is saved.

    Args:
        recipe: A recipe's file.
        overrides: `--key value` pairs.
        runs: Folder of all runs.
        name: In place of the recipe's name in the run's path.
        folder: The run's folder itself, in place of runs/<name>/<start time>.
        quick: Only show whether everything works: one epoch on a few images.
        resume: A run that was interrupted, or a checkpoint of it, to go on with; recipe and overrides must be its own.
        verbose: Print machine, learning rates, cache and shares of time too.
        prepare: Is called with task, data and trainer before the training.
        measures: Whether the best epoch is measured; else the test split is not read, and there is no result.json.

    Returns:
        The run folder and the content of its result.json; without a measurement `chosen_by` alone.

    Raises:
        InputError: If the recipe cannot be trained.
        Stopped: If a signal ended it.
    """
    start = time.monotonic()
    first = rank_zero_only.rank == 0  # type: ignore[attr-defined]  # set outside of the function
    checkpoint, state, provenance = None, None, None
    content = read_recipe(recipe)
    overrides, notes = fitted(content, quick_overrides(content, overrides) if quick else overrides)
    name = f"{name or recipe_name(recipe)}{QUICK if quick else ''}"
    there = existing_folder(folder or runs / name)
    if resume:
        run_dir, checkpoint = find_interrupted(resume)
        state = read_interrupted(checkpoint) if checkpoint else None
        provenance = Provenance.from_dict(state[ENTRY], checkpoint) if state and checkpoint else None
        rank_zero_only(print)(_resuming(run_dir, state), flush=True)
        _note(restore_threads(provenance.threads if provenance else None))
    else:
        run_dir = _new_run_dir(runs, name, folder) if first else runs  # others get it once they are connected
    if "--print_config" not in overrides:
        rank_zero_only(print)("".join(f"note: {note}\n" for note in notes), end="", flush=True)
    with Interruptions() as interruptions:
        try:
            cli = RecipeCLI(
                ["--config", str(recipe), *overrides],
                run_dir=run_dir,
                interruptions=interruptions,
                first_step=state["global_step"] if state else None,
                verbose=verbose,
            )
            if resume:
                check_resumable(cli, provenance, run_dir)
            if state is None:
                _fill_head(cli)
            _prepare(cli, quick=quick)
            if prepare is not None:
                prepare(cli)
            with cli.progress:
                with user_errors(cli, run_dir):
                    cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=checkpoint, weights_only=True)
                resumed_at = state["global_step"] if state else None
                return _conclude(cli, name, run_dir, start=start, resumed_at=resumed_at, measures=measures)
        except BaseException as error:
            if first and not resume and not (run_dir / RECIPE).is_file():  # it did not begin
                remove_run_dir(run_dir, there)
            stopped = _stop_before(error)
            if stopped is None:
                raise
            if first:
                stopped.message = _stopped(stopped.signum, run_dir)
                stopped.folder = run_dir if (run_dir / LAST).is_file() else None
            raise stopped from None


def _note(text: str) -> None:
    """Print a note, if there is one."""
    if text:
        rank_zero_only(print)(f"note: {text}", flush=True)


def _new_run_dir(runs: Path, name: str, folder: Path | None) -> Path:
    return make_run_dir(folder) if folder else new_run_dir(runs, name)


def _stop_before(error: BaseException) -> Stopped | None:
    """The stop that an error followed: Lightning fails to shut down loaders that are half made."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, Stopped):
        cause = cause.__context__
    return cause


def _stopped(signum: int, run_dir: Path) -> str:
    hint = how_to_go_on(run_dir)
    return f"stopped by {signal.Signals(signum).name}{f'; {hint}' if hint else ' before anything was to be saved'}"


def _resuming(run_dir: Path, state: Mapping[str, Any] | None) -> str:
    if state is None:
        return f"{run_dir} has no checkpoint yet: training from the start"
    return (
        f"resuming {run_dir} after {counted(trained_epochs(state), 'epoch')}, {counted(state['global_step'], 'step')}"
    )


def _conclude(
    cli: RecipeCLI, name: str, run_dir: Path, *, start: float, resumed_at: int | None, measures: bool
) -> tuple[Path, dict[str, Any]]:
    """Measure what was trained, and write the result."""
    if not measures:
        return run_dir, {"chosen_by": {"monitor": cli.model.monitor, "value": _best_value(cli)}}
    run_dir = Path(cli.trainer.strategy.broadcast(str(run_dir)))  # other processes began at another second
    fit_s = time.monotonic() - start
    is_fast: bool | int = cli.trainer.fast_dev_run  # type: ignore[attr-defined]  # set outside of its class
    epoch = cli.trainer.current_epoch if is_fast else _load_best(cli, run_dir)
    split: Split = "test" if "test" in cli.datamodule.split_sizes else "val"
    measured = measure(cli, split)
    result = {
        "recipe": name,
        "task": type(cli.model).__name__,
        "seed": cli.config["seed_everything"],
        "split": split,
        **measured,
        "resumed_at_step": resumed_at,
        "chosen_by": {"monitor": cli.model.monitor, "value": _best_value(cli), "epoch": epoch},
        "wall_s": round(time.monotonic() - start, 2),
        "fit_s": round(fit_s, 2),
        "phases": _phases(cli),
        "time": {part: round(seconds, 2) for part, seconds in cli.time_spent.total.items()},
        "precision": cli.trainer.precision,
        "data": {
            "splits": cli.datamodule.split_sizes,
            "skipped": cli.datamodule.skipped,
            "classes": list(cli.datamodule.class_names),
            "class_counts": class_counts(cli.datamodule),
            "warnings": _warnings(cli),
        },
        "versions": versions(),
        "hardware": _hardware(),
        "finished": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    rank_zero_only(write_text)(run_dir / RESULT, json.dumps(result, indent=2) + "\n")
    write_measured(cli, run_dir, split, measured)
    if not cli.trainer.fast_dev_run:  # type: ignore[attr-defined]  # set outside of its class
        rank_zero_only(drop_training_state)(run_dir / BEST)
    picture = (run_dir / table_name(split)).with_suffix(".png")
    rank_zero_only(log_picture)(cli.trainer.loggers, picture.stem, picture, step=cli.trainer.global_step)
    return run_dir, result


def _fill_head(cli: RecipeCLI) -> None:
    """Load the head of the run that the training starts from."""
    if cli.start is not None:
        note = cli.start.fill_head(cli.model, cli.datamodule.class_names)
    else:
        note = weights_note(cli.config["model"]["init_args"]["weights"])
    if note:
        rank_zero_only(print)(note, flush=True)


def _prepare(cli: RecipeCLI, *, quick: bool) -> None:
    """Refuse what cannot be trained well, balance class weights, and spread what a quick run measures."""
    if quick and isinstance(limit := cli.trainer.limit_test_batches, int):
        cli.datamodule.batches_spread = limit
    freezes = cli.finetune.freeze_epochs or cli.finetune.unfreeze == "never"
    options = cli.config["model"]["init_args"]
    is_new = cli.config["init_from"] is None
    if options["weights"] == "none" and is_new and freezes:
        raise InputError(
            "model.init_args.weights is none, so the backbone is random, but finetune freezes it: set "
            "finetune.freeze_epochs to 0 and finetune.unfreeze to all, or give weights or init_from"
        )
    if is_new and options.get("freeze_classes"):
        raise InputError(
            "model.init_args.freeze_classes keeps a class head that was trained before: name its run, --init_from RUN, "
            "or set it to false, which predicts boxes alone where class_weight is 0"
        )
    check_columns(cli.model)
    check_optimizer(cli.model)
    if cli.model.needs_class_counts:
        cli.datamodule.prepare_data()
        cli.datamodule.setup("fit")  # refuses a class without a training pixel, which has no weight
        cli.model.balance(cli.datamodule.class_counts, cli.datamodule.split_sizes["train"])


def _load_best(cli: RecipeCLI, run_dir: Path) -> int:
    """Load the weights of the best epoch, and give its number, counted from 1."""
    if not (run_dir / BEST).is_file():
        raise InputError(
            "the training ended before a validation, so there is no best epoch to measure: raise trainer.max_epochs, "
            "max_steps or max_time, or validate more often (trainer.val_check_interval)"
        )
    best = read_checkpoint(run_dir / BEST)
    cli.model.load_state_dict(best["state_dict"])
    restore_calibration(cli.model, best)
    return int(best["epoch"]) + 1


def _best_value(cli: RecipeCLI) -> float | None:
    """Value of the monitored metric in the epoch whose weights are stored."""
    for callback in cli.trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_score is not None:
            return float(callback.best_model_score)
    return None


def _phases(cli: RecipeCLI) -> list[dict[str, Any]]:
    """What was trained when, and how long it took."""
    lines = next(callback for callback in cli.trainer.callbacks if isinstance(callback, History))  # type: ignore[attr-defined]
    phases = cli.finetune.phases(cli.finetune.num_stages, len(lines.epoch_s))
    return [
        {
            "epochs": [phase.first_epoch + 1, phase.end_epoch],
            "trained_stages": phase.num_stages,
            "wall_s": round(sum(lines.epoch_s[phase.first_epoch : phase.end_epoch]), 2),
            **({} if phase.image_side is None else {"image_side": phase.image_side}),
        }
        for phase in phases
    ]


def _warnings(cli: RecipeCLI) -> list[str]:
    """What was found wrong with the data at the start."""
    return next(callback.warnings for callback in cli.trainer.callbacks if isinstance(callback, Record))  # type: ignore[attr-defined]


def _hardware() -> dict[str, Any]:
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"platform": platform(), "machine": machine(), "threads": torch.get_num_threads(), "gpus": gpus}
