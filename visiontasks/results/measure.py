"""Measures a run on a split, and writes what a measurement leaves in its folder."""

from math import isnan
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from visiontasks.errors import InputError
from visiontasks.recipe.cli import RecipeCLI
from visiontasks.recipe.user_errors import user_errors
from visiontasks.results.baseline import measure_baseline
from visiontasks.results.confusion import confusion_name, write_confusion
from visiontasks.results.examples import choose_examples
from visiontasks.results.matches import matches_name, write_matches
from visiontasks.results.pictures import draw_predictions
from visiontasks.results.report import with_training, write_report
from visiontasks.results.samples import read_samples, table_name, write_samples
from visiontasks.results.sections import sections_name, write_sections
from visiontasks.tasks.base import Split


def measure(cli: RecipeCLI, split: Split) -> dict[str, Any]:
    """Measure a task on a split of its data.

    Args:
        cli: Has task, data and trainer.
        split: Of the data.

    Returns:
        `samples`, `headline`, `score`, `metrics`, `class_metrics` by class name, `calibration` and `baseline`, as in
        result.json. `calibration` is left out where the task has none; `baseline` is left out in other processes than
        the first, and where the task has none.

    Raises:
        InputError: If the data or the trainer does not allow it, or a sample was not evaluated once.
    """
    run = cli.trainer.test if split == "test" else cli.trainer.validate
    with user_errors(cli):
        run(cli.model, datamodule=cli.datamodule, verbose=False)
    task, names = cli.model, cli.datamodule.class_names
    values = task.measured(split)
    baseline = rank_zero_only(measure_baseline)(cli, split)
    calibration = task.measured_calibration(split)
    return {
        "samples": _count_evaluated(cli, split),
        "headline": task.monitor.rpartition("/")[2],
        "score": {"name": task.score_name, "measures": task.score_measures},
        "metrics": {f"{split}/{each.name}": each.to_json() for each in values if not each.by_class},
        "class_metrics": {
            f"{split}/{each.name}": dict(zip(names, map(_number, each.by_class), strict=True))
            for each in values
            if each.by_class
        },
        **({"calibration": calibration} if calibration else {}),
        **({"baseline": baseline} if baseline else {}),
    }


@rank_zero_only
def write_measured(
    cli: RecipeCLI, run_dir: Path, split: Split, measured: dict[str, Any], *, other_data: str = ""
) -> None:
    """Write what was just measured: tables of samples and matches, confusion matrix, pictures, the report.

    Args:
        cli: Has task and data.
        run_dir: The run's folder.
        split: Of the data.
        measured: Of `measure`.
        other_data: Behind the names of files about other data than the run's own.
    """
    table = run_dir / table_name(split, other_data)
    write_samples(table, cli.model.sample_table(split), cli.datamodule, split)
    counts = cli.model.compute_metrics(split).get("confusion")
    if counts is not None:
        write_confusion(run_dir / confusion_name(split, other_data), counts, cli.datamodule.class_names)
    names = cli.datamodule.class_names
    write_sections(run_dir / sections_name(split, other_data), cli.model.report_sections(split, names))
    write_matches(run_dir / matches_name(split, other_data), cli.model.match_rows(split, names))
    samples, rows = read_samples(table), cli.model.sample_table(split)["index"].tolist()
    drawn = draw_predictions(cli.model, cli.datamodule, split, samples, rows, table.with_suffix(".png"))
    examples = choose_examples(cli.model, cli.datamodule, split, samples, drawn)
    if not other_data:
        examples = with_training(examples, cli.datamodule, run_dir)
    write_report(run_dir, split, samples, examples, measured=measured, other_data=other_data)


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
    """None in place of NaN, which JSON does not know."""
    return None if isnan(value) else value
