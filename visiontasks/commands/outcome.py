"""The end of a training or a measurement on the terminal: its metrics, what they are compared with, what comes next."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from visiontasks.commands.printing import unwrapped_console
from visiontasks.errors import printable
from visiontasks.results.baseline import baseline_value, beats_baseline, headline_name, likely_causes
from visiontasks.runs.folder import REPORT
from visiontasks.terminal import print_wrapped

MOST_CLASSES = 10
"""Classes whose metrics are shown at the end of a training; those of more are in the report and in result.json."""


def print_result(result: Mapping[str, Any], *, title: str) -> None:
    """Every metric with its interval, baseline and number of samples, and those of each class.

    Args:
        result: `samples`, `metrics`, `class_metrics` and perhaps `baseline` as in result.json.
        title: What was measured.
    """
    console = unwrapped_console()
    _print_metrics(console, result, title, list(result["metrics"]))
    _print_class_metrics(console, result)
    _print_calibration(result)
    _print_baseline(result, history=())


def print_finished(
    result: Mapping[str, Any],
    run_dir: Path,
    *,
    history: Sequence[Mapping[str, float]] = (),
    quick: bool = False,
    verbose: bool = False,
) -> None:
    """The end of a training: what matters of its metrics, where the report is and how images are predicted.

    Args:
        result: The content of result.json.
        run_dir: The run's folder.
        history: Rows of metrics.csv.
        quick: It only tried whether everything works.
        verbose: All metrics, also those of many classes.
    """
    console = unwrapped_console()
    is_val = result["split"] == "val"
    chosen_on_it = " (the data has no test split; the best epoch was chosen on this one)" if is_val else ""
    meaningless = "quick run, whose numbers mean nothing, " if quick else ""
    title = f"{result['recipe']}: {meaningless}{result['split']} split{chosen_on_it}"
    metrics: Mapping[str, Any] = result["metrics"]
    names = [name for name in metrics if verbose or not metrics[name].get("is_detail")]
    _print_metrics(console, result, title, names, quick=quick)
    by_class: Mapping[str, Mapping[str, Any]] = result["class_metrics"]
    if by_class and (verbose or len(next(iter(by_class.values()))) <= MOST_CLASSES):
        _print_class_metrics(console, result)
    if not quick:
        _print_calibration(result)
    _print_baseline(result, history=history, quick=quick)
    console.print()
    print_wrapped(map(printable, (headline(result), _weights_and_report(result, run_dir), predict_command(run_dir))))


def headline(result: Mapping[str, Any]) -> str:
    """The metric that the best epoch is chosen by, with its count, interval and baseline."""
    name = headline_name(result)
    entry = result["metrics"][name]
    found = [f"{entry['count']:,} of {entry['n']:,}"] if "count" in entry else [f"n = {entry['n']:,}"]
    if "interval95" in entry:
        found.append("95 % interval {:.3f} to {:.3f}".format(*entry["interval95"]))
    baseline = baseline_value(result, name)
    against = "" if baseline is None else f"; baseline {baseline:.3f}"
    return f"{result['headline']} {entry['value']:.4f} ({', '.join(found)}{against})"


def predict_command(run_dir: Path) -> str:
    """The command that predicts images by a run; its last word stands for what a user puts there."""
    return f"visiontasks predict {shlex.quote(str(run_dir))} IMAGE_OR_FOLDER"


def _weights_and_report(result: Mapping[str, Any], run_dir: Path) -> str:
    chosen, phases = result["chosen_by"], result["phases"]
    epochs = phases[-1]["epochs"][1] if phases else chosen["epoch"]
    weights = f"weights of epoch {chosen['epoch']} of {epochs}, best {chosen['monitor']}"
    report = (run_dir / REPORT).resolve()
    return f"{weights}; report: {report.as_uri()}" if report.is_file() else weights


def _print_metrics(
    console: Console, result: Mapping[str, Any], title: str, names: Sequence[str], *, quick: bool = False
) -> None:
    console.print(f"\n{title}", soft_wrap=True, markup=False)
    console.print(_metric_table(result, names))
    samples: dict[str, int] = result["samples"]
    if samples["evaluated"] != samples["of"]:
        how = ", taken evenly over the split" if quick else ""
        console.print(f"measured on {samples['evaluated']:,} of {samples['of']:,} samples{how}", markup=False)


def _metric_table(result: Mapping[str, Any], names: Sequence[str]) -> Table:
    """Values of metrics with intervals and counts, and with the baseline's where there is one."""
    has_baseline = bool(result.get("baseline"))
    columns = ["metric", "value", "95 % interval", *(["baseline"] if has_baseline else []), "n"]
    table = Table(*columns, box=None, pad_edge=False)
    for name in names:
        entry = result["metrics"][name]
        low_high = entry.get("interval95")
        interval = f"{low_high[0]:.4f} - {low_high[1]:.4f}" if low_high else ""
        count = f"{entry['count']:,} / {entry['n']:,}" if "count" in entry else f"{entry['n']:,}"
        baseline = baseline_value(result, name)
        of_baseline = ["" if baseline is None else f"{baseline:.4f}"] if has_baseline else []
        table.add_row(name, f"{entry['value']:.4f}", interval, *of_baseline, count)
    return table


def _print_class_metrics(console: Console, result: Mapping[str, Any]) -> None:
    class_metrics: Mapping[str, Any] = result["class_metrics"]
    if not class_metrics:
        return
    table = Table("class", *class_metrics, box=None, pad_edge=False)
    for name in next(iter(class_metrics.values())):
        values = [by_class[name] for by_class in class_metrics.values()]
        table.add_row(name, *("absent" if value is None else f"{value:.4f}" for value in values))
    console.print()
    console.print(table, markup=False)


def _print_calibration(result: Mapping[str, Any]) -> None:
    """What the temperature has changed, where there is one."""
    known = result.get("calibration")
    if known is None:
        return
    print_wrapped(
        [
            f"probabilities: expected calibration error {known['before']['ece']:.4f}, with the temperature "
            f"{known['temperature']:g} of {known['fitted_on']:,} validation images {known['after']['ece']:.4f} "
            f"(n = {known['n']:,})"
        ]
    )


def _print_baseline(result: Mapping[str, Any], *, history: Sequence[Mapping[str, float]], quick: bool = False) -> None:
    """What the baseline is, and a warning with likely causes where it was not beaten, but by a quick run."""
    if not result.get("baseline"):
        return
    lines = [f"baseline: {result['baseline']['name']}, {result['baseline']['meaning']}"]
    if not quick and not beats_baseline(result):
        lines.append(f"warning: {result['headline']} is not clearly better than the baseline. Likely causes:")
        lines += [f"- {cause}" for cause in likely_causes(result, history)]
    print_wrapped(map(printable, lines))
