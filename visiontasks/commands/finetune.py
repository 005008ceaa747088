"""A run: train a recipe, measure it, write what came out to its folder."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from math import isnan
from pathlib import Path
from platform import machine, platform
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from visiontasks.data import sample_name
from visiontasks.data.pipeline.shared_memory import IN_MAIN_PROCESS, LoadingProcessError, describe_lost_worker
from visiontasks.errors import DivergenceError, InputError, Stopped
from visiontasks.library_internals import is_compile_error, trained_epochs
from visiontasks.ops.metrics import mean_interval, wilson_interval
from visiontasks.recipe.checks import check_optimizer, is_out_of_memory
from visiontasks.recipe.cli import RecipeCLI, versions
from visiontasks.recipe.finished import open_run
from visiontasks.recipe.resume import check_resumable, find_interrupted
from visiontasks.results.confusion import confusion_name, write_confusion
from visiontasks.results.examples import choose_examples
from visiontasks.results.pictures import draw_predictions
from visiontasks.results.report import write_report
from visiontasks.results.samples import read_samples, table_name, write_samples
from visiontasks.runs.checkpoint import read_checkpoint, write_text
from visiontasks.runs.folder import BEST, LAST, RECIPE, RESULT, new_run_dir, recipe_name
from visiontasks.tasks.base import Split
from visiontasks.training.head import load_head
from visiontasks.training.interruptions import Interruptions
from visiontasks.training.processes import supervise_processes
from visiontasks.training.progress import History
from visiontasks.training.trackers import log_picture

# of Lightning about keys of the trainer, found during training; a fault of the program could not cause them
KNOWN_COMPLAINTS = ("`val_check_interval`", "Early stopping conditioned on metric")
DENSE_GRADIENTS = "does not support dense gradients"  # of SparseAdam, in its first step
SHARES = (
    "top1",
    "top5",
    "top1_error",
    "top5_error",
    "iou50",
    "iou75",
    "localization_error_top1",
    "localization_error_top5",
)
"""Metrics that are a share of n samples."""


def finetune(
    recipe: Path, overrides: Sequence[str], *, runs: Path = Path("runs"), resume: str | None = None
) -> tuple[Path, dict[str, Any]]:
    """Train a recipe, measure the best epoch's weights on the test split, write the run folder.

    SIGTERM and SIGINT end a training between two steps, when all is saved.

    Args:
        recipe: A recipe's file.
        overrides: `--key value` pairs.
        runs: Folder of all runs.
        resume: A run that was interrupted, or a checkpoint of it, to go on with; recipe and overrides must be its own.

    Returns:
        The run folder and the content of its result.json.

    Raises:
        InputError: If the recipe cannot be trained as it stands.
        Stopped: If a signal ended it.
    """
    start = time.monotonic()
    first = rank_zero_only.rank == 0  # type: ignore[attr-defined]  # set outside of the function
    checkpoint, state = None, None
    if resume:
        run_dir, checkpoint = find_interrupted(resume)
        state = read_checkpoint(checkpoint) if checkpoint else None
        rank_zero_only(print)(_resuming(run_dir, state), flush=True)
    else:
        run_dir = new_run_dir(runs, recipe_name(recipe)) if first else runs  # others are told once they are connected
    with Interruptions() as interruptions:
        try:
            cli = RecipeCLI(
                ["--config", str(recipe), *overrides],
                run_dir=run_dir,
                interruptions=interruptions,
                first_step=state["global_step"] if state else None,
            )
            if resume:
                check_resumable(cli, state, run_dir)
            else:
                _load_head(cli)
            _prepare(cli)
            with _user_errors(cli, run_dir):
                cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=checkpoint, weights_only=True)
            return _conclude(cli, recipe, run_dir, start=start, resumed_at=state["global_step"] if state else None)
        except BaseException as error:
            if first and not resume and not (run_dir / RECIPE).is_file():  # it did not begin
                shutil.rmtree(run_dir, ignore_errors=True)
            stopped = _stop_behind(error)
            if stopped is None:
                raise
            if first:
                stopped.message = _stopped(stopped.signum, run_dir)
            raise stopped from None


def _stop_behind(error: BaseException) -> Stopped | None:
    """The stop that an error came behind: Lightning fails to put away loaders that a stop found half made."""
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, Stopped):
        behind = behind.__context__
    return behind


def _stopped(signum: int, run_dir: Path) -> str:
    hint = _to_go_on(run_dir)
    return f"stopped by {signal.Signals(signum).name}{f'; {hint}' if hint else ' before anything was to be saved'}"


def _to_go_on(run_dir: Path) -> str:
    """How a run that has a checkpoint is resumed."""
    has_checkpoint = (run_dir / LAST).is_file()
    return f"to go on:\nvisiontasks finetune {run_dir / RECIPE} --resume {run_dir}" if has_checkpoint else ""


def _resuming(run_dir: Path, state: Mapping[str, Any] | None) -> str:
    if state is None:
        return f"{run_dir} has no checkpoint yet: training from the start"
    return f"resuming {run_dir} after {trained_epochs(state)} epochs, {state['global_step']} steps"


def _conclude(
    cli: RecipeCLI, recipe: Path, run_dir: Path, *, start: float, resumed_at: int | None
) -> tuple[Path, dict[str, Any]]:
    """Measure what was trained, and write the result."""
    run_dir = Path(cli.trainer.strategy.broadcast(str(run_dir)))  # other processes began at another second
    fit_s = time.monotonic() - start
    if not cli.trainer.fast_dev_run:  # type: ignore[attr-defined]  # set outside of its class
        _load_best(cli, run_dir)
    split: Split = "test" if "test" in cli.datamodule.split_sizes else "val"
    measured = _measure(cli, split)
    result = {
        "recipe": recipe_name(recipe),
        "task": type(cli.model).__name__,
        "seed": cli.config["seed_everything"],
        "split": split,
        **measured,
        "resumed_at_step": resumed_at,
        "chosen_by": {"monitor": cli.model.monitor, "value": _best_value(cli)},
        "wall_s": round(time.monotonic() - start, 2),
        "fit_s": round(fit_s, 2),
        "phases": _phases(cli),
        "time": {part: round(seconds, 2) for part, seconds in cli.time_spent.total.items()},
        "precision": cli.trainer.precision,
        "data": {
            "splits": cli.datamodule.split_sizes,
            "skipped": cli.datamodule.skipped,
            "classes": list(cli.datamodule.class_names),
        },
        "versions": versions(),
        "hardware": _hardware(),
        "finished": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    rank_zero_only(write_text)(run_dir / RESULT, json.dumps(result, indent=2) + "\n")
    _show(cli, run_dir, split, measured)
    picture = (run_dir / table_name(split)).with_suffix(".png")
    rank_zero_only(log_picture)(cli.trainer.loggers, picture.stem, picture, step=cli.trainer.global_step)
    return run_dir, result


def evaluate(run: Path, overrides: Sequence[str], *, split: Split = "test") -> dict[str, Any]:
    """Measure a run's best weights on a split, and write predictions, pictures and report into the run's folder.

    Args:
        run: A run folder.
        overrides: `--key value` pairs, for instance another `--data.root`.
        split: "test" or "val".

    Returns:
        `metrics` and `class_metrics` as in result.json.

    Raises:
        InputError: If the checkpoint cannot be read, or the data has not the classes it was trained on.
    """
    cli = open_run(run, overrides, split=split)
    measured = _measure(cli, split)
    if os.access(run, os.W_OK):
        _show(cli, run, split, measured, other_data=cli.other_data)
    else:
        rank_zero_info(f"nothing is written to {run}: the folder may not be written")
    return measured


def _load_head(cli: RecipeCLI) -> None:
    options = cli.config["model"]["init_args"]
    note = "" if options.get("classifier") else load_head(cli.model, options["weights"], cli.datamodule.class_names)
    if note:
        rank_zero_only(print)(note, flush=True)


def _prepare(cli: RecipeCLI) -> None:
    """Refuse what would be meaningless, and tell the task what only the data knows."""
    freezes = cli.finetune.freeze_epochs or cli.finetune.unfreeze == "never"
    options = cli.config["model"]["init_args"]
    if options["weights"] == "none" and not options.get("classifier") and freezes:
        raise InputError(
            "model.init_args.weights is none, so the backbone is random, but finetune freezes it: set "
            "finetune.freeze_epochs to 0 and finetune.unfreeze to all, or give weights"
        )
    cli.model.check_class_names(cli.datamodule.class_names)
    check_optimizer(cli.model)
    if cli.model.needs_class_counts:
        cli.datamodule.prepare_data()
        cli.datamodule.setup("fit")  # refuses a class without a training pixel, which has no weight
        cli.model.balance(cli.datamodule.class_counts)


@contextmanager
def _user_errors(cli: RecipeCLI, run_dir: Path | None = None) -> Iterator[None]:
    """Turn what only the trainer or the device finds wrong with a recipe into the error that is shown."""
    try:
        with supervise_processes(cli.trainer, lambda: _to_go_on(run_dir) if run_dir else ""):
            yield
    except SystemExit as end:  # how Lightning ends on Ctrl-C
        if cli.trainer.interrupted:
            raise KeyboardInterrupt from end
        raise
    except DivergenceError as error:
        raise InputError(_diverged(cli, error, run_dir)) from error
    except MisconfigurationException as error:
        raise InputError(f"trainer: {error}") from error
    except (MemoryError, RuntimeError, ValueError) as error:
        message = _explain(cli, error, run_dir)
        if not message:
            raise
        raise InputError(message) from error


def _explain(cli: RecipeCLI, error: Exception, run_dir: Path | None) -> str:
    """The message for an error that the user can do something about; empty for any other."""
    message = str(error).strip()
    lost = message if isinstance(error, LoadingProcessError) else describe_lost_worker(error)
    if lost:
        hint = _to_go_on(run_dir) if run_dir else ""
        return f"{lost}\n{hint} {IN_MAIN_PROCESS}" if hint else lost
    if is_out_of_memory(error):
        size = "x".join(map(str, cli.datamodule.image_size))
        return (
            f"out of memory with data.init_args.batch_size {cli.datamodule.batch_size} and image_size {size}: make "
            f"one of them smaller ({message.partition(chr(10))[0]})"
        )
    if cli.model.is_compiled and is_compile_error(error):
        cause = message.partition("\n")[0]
        return f"trainer.compile: torch cannot compile here, set it to false ({cause})"
    if DENSE_GRADIENTS in message:
        return f"model.init_args.optimizer: {message}"
    return f"trainer: {message}" if message.startswith(KNOWN_COMPLAINTS) else ""


def _diverged(cli: RecipeCLI, error: DivergenceError, run_dir: Path | None) -> str:
    names = [sample_name(cli.datamodule.source("train"), index) for index in error.indices]
    saved = (
        f"{run_dir / LAST} is the last good state" if run_dir and (run_dir / LAST).is_file() else "nothing was saved"
    )
    samples = [f"samples of the batch: {', '.join(names)}"] if names else []
    return "\n".join(
        [
            str(error),
            *samples,
            f"{saved}. Lower model.init_args.optimizer.init_args.lr, clip gradients (trainer.gradient_clip_val: 1.0), "
            "or look at these samples (visiontasks check-data)",
        ]
    )


def _load_best(cli: RecipeCLI, run_dir: Path) -> None:
    """Give the model the weights of the best epoch."""
    if not (run_dir / BEST).is_file():
        raise InputError(
            "the training ended before a validation, so there is no best epoch to measure: raise trainer.max_epochs, "
            "max_steps or max_time, or validate more often (trainer.val_check_interval)"
        )
    cli.model.load_state_dict(read_checkpoint(run_dir / BEST)["state_dict"])


def _measure(cli: RecipeCLI, split: Split) -> dict[str, Any]:
    """Metrics with their number of samples, and metrics of each class by its name."""
    run = cli.trainer.test if split == "test" else cli.trainer.validate
    with _user_errors(cli):
        values = dict(run(cli.model, datamodule=cli.datamodule, verbose=False)[0])
    samples = _count_evaluated(cli, split)
    n = round(values.pop(f"{split}/n"))
    by_class = {
        f"{split}/{name}": dict(zip(cli.datamodule.class_names, map(_number, value.tolist()), strict=True))
        for name, value in cli.model.compute_metrics(split).items()
        if value.ndim == 1
    }
    metrics = {name: _entry(name, value, n) for name, value in values.items()}
    score_metric = f"{split}/{cli.model.score_metric}"
    if score_metric in metrics:
        scores = cli.model.sample_table(split)["score"]
        interval = mean_interval(scores[~scores.isnan()].tolist())
        metrics[score_metric] |= {"interval95": list(interval)} if interval else {}
    return {"samples": samples, "metrics": metrics, "class_metrics": by_class}


def _count_evaluated(cli: RecipeCLI, split: Split) -> dict[str, int]:
    """How many of the split's samples were evaluated: each once, unless the recipe limits the batches."""
    index = cli.model.sample_table(split)["index"]
    size = cli.datamodule.split_sizes[split]
    limit = cli.trainer.limit_test_batches if split == "test" else cli.trainer.limit_val_batches
    is_limited = not (isinstance(limit, float) and limit == 1)
    evaluated, once = len(index), len(set(index.tolist()))
    if evaluated != once or (evaluated != size and not is_limited):
        raise InputError(
            f"{once} of the {size} samples of the {split} split were evaluated, {evaluated - once} repeatedly, so the "
            f"metrics are not the split's: the loaders of {type(cli.datamodule).__name__} must give each sample once"
        )
    return {"evaluated": evaluated, "of": size}


def _number(value: float) -> float | None:
    """None in place of NaN, which JSON has not."""
    return None if isnan(value) else value


@rank_zero_only
def _show(cli: RecipeCLI, run_dir: Path, split: Split, measured: dict[str, Any], *, other_data: str = "") -> None:
    """Write what was measured of each sample, pictures of some, and the report, which says all of it."""
    table = run_dir / table_name(split, other_data)
    write_samples(table, cli.model.sample_table(split), cli.datamodule, split)
    counts = cli.model.compute_metrics(split).get("confusion")
    if counts is not None:
        write_confusion(run_dir / confusion_name(split, other_data), counts, cli.datamodule.class_names)
    drawn = draw_predictions(cli.model, cli.datamodule, split, table.with_suffix(".png"))
    samples = read_samples(table)
    examples = choose_examples(cli.model, cli.datamodule, split, samples, drawn)
    write_report(run_dir, split, samples, examples, measured=measured, other_data=other_data)


def _entry(name: str, value: float, n: int) -> dict[str, Any]:
    entry: dict[str, Any] = {"value": value, "n": n}
    if name.rpartition("/")[2] in SHARES:
        count = round(value * n)
        entry |= {"value": count / n, "count": count, "interval95": list(wilson_interval(count, n))}
    return entry


def _best_value(cli: RecipeCLI) -> float | None:
    """Value of the monitored metric in the epoch whose weights are kept."""
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
        }
        for phase in phases
    ]


def _hardware() -> dict[str, Any]:
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"platform": platform(), "machine": machine(), "threads": torch.get_num_threads(), "gpus": gpus}
