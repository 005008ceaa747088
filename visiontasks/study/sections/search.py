"""The trials of a search: the best recipe, and the metric by trial and by each value."""

from collections.abc import Mapping
from math import log10
from typing import Any

from visiontasks.report import html
from visiontasks.report.charts import Line, line_chart

SHOWN = 20


def section(content: Mapping[str, Any]) -> str:
    """A picture of the trials, the best ones as a table, and the command that trains the best recipe."""
    monitor, lower = content["monitor"], content["lower_is_better"]
    trials = [each for each in content["trials"] if each["value"] is not None]
    ranked = sorted(trials, key=lambda each: float(each["value"]) * (1 if lower else -1))
    best, so_far = min if lower else max, list[tuple[int, float]]()
    for each in trials:
        if each["state"] == "finished":
            so_far.append((each["number"], best([each["value"], *(value for _, value in so_far)])))
    chart = line_chart(
        f"{monitor} of each trial",
        [
            Line("each trial", [(each["number"], each["value"]) for each in trials], is_joined=False),
            Line("best so far", so_far),
        ],
        x_name="trial",
    )
    rows = [
        [
            each["number"],
            html.number(each["value"]),
            *(_shown(each["values"].get(varied["key"])) for varied in content["varied"]),
            each["state"],
        ]
        for each in ranked[:SHOWN]
    ]
    header = ["trial", monitor, *(varied["name"] for varied in content["varied"]), ""]
    failed = sum(each["state"] == "failed" for each in content["trials"])
    return html.section(
        "Which settings?",
        html.paragraph(
            f"{len(content['trials'])} trials{f', {failed} of which failed' if failed else ''}, each a training that "
            f"{content['images']:,} validation images judge. Test images were not looked at. The best of many trials "
            "is better by chance too, so that the test of the best recipe will be a little worse than its line here."
        ),
        html.columns(chart, *(_by_value(varied, trials, monitor) for varied in content["varied"])),
        html.table(header, rows),
        html.command(f"visiontasks finetune {content['recipe']}"),
    )


def _by_value(varied: Mapping[str, Any], trials: list[Mapping[str, Any]], monitor: str) -> str:
    """The metric by the value of a key, where it is a number."""
    pairs = [(each["values"].get(varied["key"]), each["value"]) for each in trials]
    points = sorted((float(value), result) for value, result in pairs if isinstance(value, int | float))
    is_log = varied["is_log"] and all(value > 0 for value, _ in points)
    drawn = [(log10(value) if is_log else value, result) for value, result in points]
    name = f"power of ten of {varied['name']}" if is_log else varied["name"]
    return (
        line_chart(f"{monitor} by {varied['name']}", [Line("each trial", drawn, is_joined=False)], x_name=name)
        if drawn
        else ""
    )


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
