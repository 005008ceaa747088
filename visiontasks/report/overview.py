"""The result of a run in a report: name, warnings, metrics, baseline, and the run before."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from visiontasks.report.content import Previous, RunContent
from visiontasks.report.html import (
    Markup,
    columns,
    escaped,
    number,
    paragraph,
    percent,
    section,
    shortened,
    table,
)

_INTERVALS = (
    "The 95 % interval shows how precisely this many images determine a metric: with other images of the same kind, "
    "about 95 of 100 such intervals would contain the true value."
)
_ERROR = "_error"
"""At the end of the name of a metric that is 1 minus another."""
_LOCAL_DIR = "local-dir:"


def header(content: RunContent) -> str:
    """Name, place and warnings."""
    result = content.result
    backbone = str(content.option("model", "init_args", "backbone") or "")
    facts = [
        result.get("task") or str(content.option("model", "class_path") or "").rpartition(".")[2],
        Path(backbone).name if backbone.startswith(_LOCAL_DIR) else backbone,
        str(content.option("data", "class_path") or "").rpartition(".")[2],
        f"seed {result['seed']}" if "seed" in result else "",
        f"finished {_time(result['finished'])}" if "finished" in result else "",
    ]
    notes = [f'<div class="note">{escaped(note)}</div>' for note in content.notes]
    about = " · ".join(fact for fact in facts if fact)
    title = f"<h1>{escaped(shortened(content.name))}</h1>"
    return "\n".join([title, paragraph(about, "pale"), paragraph(content.run, "pale"), *notes])


def result_section(content: RunContent) -> str:
    """The metric that matters, in words, all the others, and the run before."""
    metrics: Mapping[str, Any] = content.result.get("metrics") or {}
    if content.headline is None:
        return ""
    name = content.headline
    entry = metrics[name]
    counted = f"{entry['count']:,} of {entry['n']:,}" if "count" in entry else f"n = {entry['n']:,}"
    sentence = str(entry.get("headline") or f"is {name} on the {{split}} split").replace("{split}", content.split)
    words = escaped(f"{sentence}: {counted}{_interval_text(entry)}")
    hero = f'<div class="hero"><b>{_value(entry, entry["value"])}</b><span>{words}</span></div>'
    return section("Result", hero, _baseline(content, entry), columns(_metrics(content), _previous(content)))


def _metrics(content: RunContent) -> str:
    """All metrics with their meanings; an error that is 1 minus another metric adds nothing, and is left out."""
    metrics: Mapping[str, Any] = content.result["metrics"]
    shown = {name: each for name, each in metrics.items() if name.removesuffix(_ERROR) not in metrics.keys() - {name}}
    baseline = (content.result.get("baseline") or {}).get("metrics") or {}
    has_intervals = any(each.get("interval95") for each in shown.values())
    rows = [
        (
            Markup(f"{escaped(metric)}{_meaning(each)}"),
            each["value"],
            *([_interval(each)] if has_intervals else []),
            *([baseline.get(metric, Markup(""))] if baseline else []),
            Markup(f"{each['count']:,}&nbsp;/&nbsp;{each['n']:,}" if "count" in each else f"{each['n']:,}"),
        )
        for metric, each in shown.items()
    ]
    optional = [*(["95 % interval"] if has_intervals else []), *(["baseline"] if baseline else [])]
    samples = content.result.get("samples") or {}
    evaluated = ""
    if samples and samples["evaluated"] == samples["of"]:
        evaluated = f"Measured on all {samples['of']:,} images of the {content.split} split."
    elif samples:
        evaluated = (
            f"Measured on {samples['evaluated']:,} of the {samples['of']:,} images of the {content.split} split."
        )
    return table(["metric", "value", *optional, "n"], rows) + paragraph(
        f"{evaluated} {_INTERVALS if has_intervals else ''}", "pale"
    )


def _baseline(content: RunContent, entry: Mapping[str, Any]) -> str:
    """What is reached without a network, in words, and whether the network is better."""
    baseline: Mapping[str, Any] = content.result.get("baseline") or {}
    value = (baseline.get("metrics") or {}).get(content.headline)
    if value is None:
        return ""
    meaning = str(baseline.get("meaning") or "")
    text = (
        f"Baseline, {baseline.get('name', 'chance level')}: {_value(entry, value)}{f' ({meaning})' if meaning else ''}."
    )
    gain = entry["value"] - value if not entry.get("lower_is_better") else value - entry["value"]
    if gain > 0:
        return paragraph(text)
    return f'<div class="note">{escaped(f"{text} This training does not beat it.")}</div>'


def _previous(content: RunContent) -> str:
    """The metrics of the run before, the differences, and whether they could be chance."""
    previous = content.previous
    metrics: Mapping[str, Any] = content.result.get("metrics") or {}
    names = [name for name in metrics if previous is not None and name in previous.metrics]
    names = [name for name in names if name.removesuffix(_ERROR) not in metrics.keys() - {name}]
    if previous is None or not names:
        return ""
    rows = [
        (name, previous.metrics[name], metrics[name]["value"], _signed(metrics[name]["value"] - previous.metrics[name]))
        for name in names
    ]
    return "".join(
        [
            "<h3>Compared with the previous run of this recipe</h3>",
            paragraph(previous.run, "pale"),
            table(["metric", "previous", "this run", "difference"], rows),
            *(paragraph(test) for test in previous.tests),
            _changes(previous),
        ]
    )


def _changes(previous: Previous) -> str:
    if not previous.recipe:
        return paragraph("Both have the same recipe.", "pale")
    return table(
        ["recipe key", "previous", "this run"], [tuple(shortened(text, 80) for text in row) for row in previous.recipe]
    )


def _signed(difference: float) -> Markup:
    return Markup(f'<span style="white-space:nowrap">{difference:+.4f}</span>')


def _value(entry: Mapping[str, Any], value: float) -> str:
    return percent(value) if entry.get("in_percent") else number(value, 3)


def _time(text: str) -> str:
    """A point in time to the minute; another text as it is."""
    try:
        return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M}"
    except ValueError:
        return text


def _meaning(entry: Mapping[str, Any]) -> str:
    """What a metric is, below its name."""
    meaning = entry.get("meaning")
    return f'<div class="pale">{escaped(meaning)}</div>' if meaning else ""


def _interval(entry: Mapping[str, Any]) -> Markup:
    low_high = entry.get("interval95")
    if not low_high:
        return Markup("")
    return Markup(f'<span style="white-space:nowrap">{low_high[0]:.4f} – {low_high[1]:.4f}</span>')  # noqa: RUF001


def _interval_text(entry: Mapping[str, Any]) -> str:
    if not entry.get("interval95"):
        return ""
    low, high = (percent(bound) if entry.get("in_percent") else number(bound, 3) for bound in entry["interval95"])
    return f", 95 % interval {low} to {high}"
