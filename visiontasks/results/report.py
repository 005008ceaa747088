"""report.html of a run: what its folder holds, gathered and written; also of a run that was interrupted."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

from timm.models import get_pretrained_cfg

from visiontasks.backbones.names import LOCAL_DIR
from visiontasks.csv_tables import read_csv
from visiontasks.data import DataModule, ImageFolder
from visiontasks.errors import InputError
from visiontasks.explain.stored import stored_explanations
from visiontasks.recipe import read_recipe
from visiontasks.recipe.measurement import training_data
from visiontasks.recipe.open_run import open_run
from visiontasks.report import RunContent, Scored, run_page
from visiontasks.results.batch import batch_pictures
from visiontasks.results.confusion import Confusion, confusion_name, read_confusion
from visiontasks.results.examples import Examples, choose_examples
from visiontasks.results.previous import compare_with_previous
from visiontasks.results.samples import Samples, read_samples, score_of, table_name
from visiontasks.results.sections import read_sections, sections_name
from visiontasks.runs.checkpoint import write_text
from visiontasks.runs.folder import BEST, METRICS, RECIPE, REPORT, RESULT, find_run, read_result
from visiontasks.tasks.metrics import FACTS, MetricFacts
from visiontasks.training.timing import NAMES

_MOST_REASON = 300


def report(name: str, overrides: Sequence[str]) -> Path:
    """Write a run's report again; only its folder is needed, and for pictures the data too.

    Args:
        name: A run folder, also of a run that did not finish; of a folder of runs the newest finished one is taken.
        overrides: `--key value` pairs, such as `--data.root` of data that was moved.

    Returns:
        The file.

    Raises:
        MissingFileError: If there is no run.
        InputError: If a file of the run cannot be read.
    """
    run = find_run(name, has_weights=False)
    split = str(_result(run).get("split", "test"))
    table = run / table_name(split)
    samples = read_samples(table) if table.is_file() else None
    examples = Examples()
    if samples is not None and (run / BEST).is_file():
        examples = _examples(run, overrides, split, samples)
    return write_report(run, split, samples, examples)


def write_report(
    run: Path,
    split: str,
    samples: Samples | None,
    examples: Examples,
    *,
    measured: Mapping[str, Any] | None = None,
    other_data: str = "",
) -> Path:
    """Gather the content of a run's report, and write the page, whole or not at all.

    Args:
        run: The run's folder.
        split: What was measured.
        samples: What was found of each sample; None if that is not known.
        examples: Pictures of it.
        measured: `samples`, `metrics` and `class_metrics` of a measurement, in place of those in result.json.
        other_data: Of which data but the run's own it is; such a report, and that of another split than the run's
            result is about, is a file of its own.

    Returns:
        The file: report.html, report_val.html, report_test_<folder>.html.
    """
    result = _result(run)
    is_own = not other_data and split == result.get("split", split)
    table = run / confusion_name(split, other_data)
    confusion = read_confusion(table) if table.is_file() else None
    content = _content(run, split, {**result, **(measured or {})}, samples, confusion, examples)
    content = replace(content, sections=read_sections(run / sections_name(split, other_data)))
    if not other_data:
        warnings = [f"{line[:1].upper()}{line[1:]}." for line in (result.get("data") or {}).get("warnings") or []]
        content = replace(content, notes=[*content.notes, *warnings])
    if is_own:
        content = replace(content, previous=compare_with_previous(run, result, samples))
    path = run / (REPORT if is_own else f"{Path(REPORT).stem}_{split}{other_data}.html")
    write_text(path, run_page(content))
    return path


def _result(run: Path) -> dict[str, Any]:
    """The content of result.json; nothing for a run that did not finish."""
    return read_result(run) if (run / RESULT).is_file() else {}


def _examples(run: Path, overrides: Sequence[str], split: str, samples: Samples) -> Examples:
    """Pictures, if the data is where it was; nothing is downloaded for them."""
    try:
        trained = open_run(run)
        data = trained.data(overrides, split=split)
        data.cache_images_gb = 0
        if isinstance(data, ImageFolder):
            data.skip_decodes = False
        data.setup("test")
        examples = choose_examples(trained.task, data, split, samples)
        return with_training(examples, data, run)
    except InputError as error:
        return Examples(notes=[f"Pictures are left out, because the data cannot be read: {_reason(error)}"])


def with_training(examples: Examples, data: DataModule, run: Path) -> Examples:
    """Add the first training batch, augmented by the run's recipe, or a note why it is left out.

    Args:
        examples: Pictures of the measured split.
        data: Of the run, after `setup()`; measurements make it without augmentation.
        run: The run's folder.
    """
    if not data.split_sizes.get("train"):
        return examples
    own = data.augmentation
    try:
        data.augmentation = own or training_data(run).augmentation
        return replace(examples, training=batch_pictures(data, "train"))
    except InputError as error:
        return replace(examples, notes=[*examples.notes, f"The training batch is left out: {_reason(error)}"])
    finally:
        data.augmentation = own


def _reason(error: InputError) -> str:
    return str(error).strip().partition("\n")[0][:_MOST_REASON]


def _content(
    run: Path,
    split: str,
    result: Mapping[str, Any],
    samples: Samples | None,
    confusion: Confusion | None,
    examples: Examples,
) -> RunContent:
    recipe = read_recipe(run / RECIPE)
    history = read_history(run / METRICS)
    names = confusion.class_names if confusion else _class_names(result, samples)
    return RunContent(
        name=str(result.get("recipe") or run.parent.name),
        run=str(run),
        split=split,
        result=_with_facts(result),
        recipe=recipe,
        recipe_text=(run / RECIPE).read_text(encoding="utf-8"),
        history=history,
        class_names=names,
        scored=_scored(samples, names) if samples else None,
        pixels=confusion.counts if confusion else None,
        score=score_of(result),
        pictures=examples.pictures,
        training=examples.training,
        grad_cams=examples.grad_cams,
        explained=stored_explanations(run),
        weights=weights_of(recipe),
        notes=[*_notes(run, split, result, recipe, history, samples), *examples.notes],
        time_names={str(part): name for part, name in NAMES.items()},
        lower_is_better=frozenset(name for name, fact in FACTS.items() if fact.lower_is_better),
    )


def weights_of(recipe: Mapping[str, Any]) -> str:
    """Where a recipe's backbone got its weights, in words."""
    options = (recipe.get("model") or {}).get("init_args") or {}
    backbone, weights = str(options.get("backbone", "")), str(options.get("weights", ""))
    if recipe.get("init_from"):
        return f"of the run {recipe['init_from']} (init_from), with its head as far as it fits"
    if weights == "none":
        return "none: random at the start"
    if weights != "hub":
        return weights
    if backbone.startswith(LOCAL_DIR):
        return f"of the folder {backbone.removeprefix(LOCAL_DIR)}"
    shipped = getattr(get_pretrained_cfg(backbone), "file", None)
    return "shipped with visiontasks" if shipped else "hub: downloaded by timm"


def read_history(path: Path) -> list[dict[str, float]]:
    """Rows of metrics.csv with the numbers that there are; none without the file.

    Raises:
        InputError: If it contains something else than numbers.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        try:
            header, *rows = read_csv(file)
            return [{n: float(value) for n, value in zip(header, row, strict=True) if value} for row in rows if row]
        except (TypeError, ValueError, csv.Error) as error:
            raise InputError(f"{path} cannot be read: {error}; expected numbers below a line of names") from error


def _class_names(result: Mapping[str, Any], samples: Samples | None) -> list[str]:
    """Names by class index; those of the table alone if the training did not come to write them."""
    known = list((result.get("data") or {}).get("classes") or [])
    in_table = {name for column in (samples.label, samples.predicted) for name in column or []} if samples else set()
    return known + sorted(in_table - {"", *known})


def _scored(samples: Samples, names: Sequence[str]) -> Scored:
    places = {name: k for k, name in enumerate(names)}
    return Scored(
        samples.score,
        label=None if samples.label is None else [places[name] for name in samples.label],
        predicted=None if samples.predicted is None else [places.get(name, -1) for name in samples.predicted],
        probability=samples.probability,
    )


def _with_facts(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result with what its metrics mean, also one that an older version wrote without."""
    metrics = {
        name: {**FACTS.get(name.rpartition("/")[2], MetricFacts()).to_json(), **entry}
        for name, entry in (result.get("metrics") or {}).items()
    }
    return {**result, "metrics": metrics} if metrics else dict(result)


def _notes(
    run: Path,
    split: str,
    result: Mapping[str, Any],
    recipe: Mapping[str, Any],
    history: Sequence[Mapping[str, float]],
    samples: Samples | None,
) -> list[str]:
    """What is unusual about a run."""
    notes = []
    if not (run / RESULT).is_file():
        done = int(max((row.get("epoch", 0) for row in history if isfinite(row.get("seconds", 0))), default=0))
        of = (recipe.get("trainer") or {}).get("max_epochs")
        notes.append(
            f"This report is partial: the training did not finish. {done} of {of} epochs are done. To go on: "
            f"visiontasks finetune {run / RECIPE} --resume {run}"
        )
    if split == "val":
        notes.append(
            "This is about the validation split, on which the best epoch was chosen: its values are a little too good."
        )
    evaluated = (result.get("samples") or {}).get("evaluated")
    if samples is not None and evaluated is not None and evaluated != len(samples):
        notes.append(
            f"{table_name(split)} is of another measurement, of {len(samples):,} samples, than the result, of "
            f"{evaluated:,}: classes, probabilities and pictures are about the former."
        )
    if samples is None and result:
        notes.append(f"{table_name(split)} is missing, so classes and samples are left out: visiontasks evaluate {run}")
    return notes
