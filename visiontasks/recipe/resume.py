"""Checks that a run is resumed or measured by the recipe that it was trained by."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.utilities import rank_zero_only

from visiontasks.errors import InputError
from visiontasks.recipe.cli import RecipeCLI
from visiontasks.recipe.files import modernized
from visiontasks.runs.checkpoint import is_resumable, read_checkpoint
from visiontasks.runs.folder import LAST, RECIPE, RESULT, interrupted_run
from visiontasks.runs.provenance import Provenance, versions

# What decides where and how fast a training runs, not what comes out.
FREE = (
    "data.init_args.root",
    "data.init_args.num_workers",
    "data.init_args.download",
    "data.init_args.cache_images_gb",
    "finetune.cache_features",
    "finetune.cache_size_gb",
    "trainer.accelerator",
    "trainer.devices",  # the number of processes is compared instead
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.logger",
    "trainer.max_time",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.num_sanity_val_steps",
    "trainer.profiler",
)
# What an evaluation does not use.
UNMEASURED = ("model.init_args.weights", "model.init_args.optimizer", "model.init_args.schedule")
MEASURED = ("model", "data.init_args.image_size", "data.init_args.resize")
MOST_SHOWN = 3


def find_interrupted(name: str) -> tuple[Path, Path | None]:
    """The run to go on with, and its checkpoint.

    Args:
        name: A run's folder, a folder of runs (the newest is taken), or one of a run's checkpoints.

    Returns:
        The run's folder; the checkpoint, None if the run ended before its first one.

    Raises:
        MissingFileError: If there is no such run.
    """
    run = interrupted_run(name)
    if Path(name).is_file():
        return run, Path(name)
    if (run / RESULT).is_file():
        raise InputError(
            f"--resume {run}: the run is finished, {run / RESULT} has its result; evaluate measures it again. "
            f"{_more(run)}"
        )
    return run, run / LAST if (run / LAST).is_file() else None


def read_interrupted(checkpoint: Path) -> dict[str, Any]:
    """Read the checkpoint that a training goes on from.

    Raises:
        MissingFileError: If it is missing.
        InputError: If it cannot be read, or has no state of the optimizer.
    """
    state = read_checkpoint(checkpoint)
    if not is_resumable(state):
        raise InputError(
            f"--resume {checkpoint}: the run is finished, and this file has its weights without the optimizer. "
            f"{_more(checkpoint.parent.parent)}"
        )
    return state


def check_resumable(cli: RecipeCLI, provenance: Provenance | None, run: Path) -> None:
    """Check that recipe, overrides and processes are those of the run, so that the result is the same.

    Args:
        cli: What would go on.
        provenance: Of one of the run's checkpoints; None if it has none yet.
        run: The run's folder.

    Raises:
        InputError: If keys that decide what comes out differ.
    """
    recipe = provenance.recipe if provenance else (run / RECIPE).read_text(encoding="utf-8")
    found = [
        f"{key} was {was!r:.60} and is {now!r:.60}"
        for key, was, now in differences(modernized(yaml.safe_load(recipe)), yaml.safe_load(cli.dump()))
        if not key.startswith(FREE)
    ]
    if found:
        longer = any(each.startswith(("trainer.max_epochs", "trainer.max_steps")) for each in found)
        raise InputError(
            f"--resume {run}: the recipe is not the run's ({_listed(found)}); go on with the run's own: visiontasks "
            f"finetune {run / RECIPE} --resume {run}, or begin a new run without --resume"
            f"{f'. {_more(run)}' if longer else ''}"
        )
    if provenance is None:
        return
    if provenance.processes not in (None, cli.trainer.world_size):
        raise InputError(
            f"--resume {run}: the run had {provenance.processes} process(es) of {cli.datamodule.batch_size} images a "
            f"step, now there are {cli.trainer.world_size}: set trainer.devices and num_nodes as they were"
        )
    for package, was, now in differences(provenance.versions or versions(), versions()):
        rank_zero_only(print)(f"note: the run began with {package} {was}, this is {now}: the last digits may differ")


def check_measurable(dump: str, provenance: Provenance, path: Path) -> None:
    """Check that what is measured is what was trained.

    Args:
        dump: The recipe that would be measured by, resolved.
        provenance: Of the run.
        path: Its checkpoint.

    Raises:
        InputError: If the network or its input differs.
    """
    trained = modernized(yaml.safe_load(provenance.recipe))
    found = [
        f"{key} was {was!r:.60} in the training and is {now!r:.60}"
        for key, was, now in differences(trained, yaml.safe_load(dump), of_both=True)  # not new options' defaults
        if key.startswith(MEASURED) and not key.startswith(UNMEASURED)
    ]
    if found:
        raise InputError(f"{path} contradicts the recipe: {_listed(found)}; leave out the override, or train anew")


def differences(was: Any, now: Any, key: str = "", *, of_both: bool = False) -> Iterator[tuple[str, Any, Any]]:
    """Keys of nested mappings whose values differ, with both values.

    Args:
        was: A mapping, or a value.
        now: The same.
        key: Of the two.
        of_both: Leave out keys that one of them does not have; otherwise its value is None.
    """
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for name in dict.fromkeys([*was, *now]):
            if not of_both or (name in was and name in now):
                path = f"{key}.{name}" if key else str(name)
                yield from differences(was.get(name), now.get(name), path, of_both=of_both)
    elif was != now:
        yield key, was, now


def _more(run: Path) -> str:
    """How to train a run for more epochs than its recipe has."""
    return (
        "Its learning rates depend on trainer.max_epochs, so more epochs are a new run, which can start from its "
        f"weights: visiontasks finetune {run / RECIPE} --init_from {run} --trainer.max_epochs <more>"
    )


def _listed(found: list[str]) -> str:
    more = len(found) - MOST_SHOWN
    return "; ".join(found[:MOST_SHOWN]) + (f"; and {more} more" if more > 0 else "")
