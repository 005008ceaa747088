"""How good the recipe is by folds, and how far its result depends on the seed."""

from collections.abc import Mapping
from typing import Any

from visiontasks.report import html


def section(content: Mapping[str, Any]) -> str:
    """A table for the folds and one for the seeds, as far as they were trained."""
    parts = []
    if folds := content.get("folds"):
        times = f", divided {folds['repeats']} times" if folds["repeats"] > 1 else ""
        parts += [
            html.paragraph(
                f"{folds['images']:,} images in {folds['folds']} folds{times}: for each fold a network was trained on "
                "the others and tested on it. The interval is that of the mean for other images of the same kind; it "
                "is wider than the spread of the folds alone would make it, since their networks share most of their "
                "training images (Nadeau and Bengio, 2003)."
            ),
            _table(folds),
        ]
    if seeds := content.get("seeds"):
        numbers = ", ".join(map(str, seeds["seeds"]))
        parts += [
            html.paragraph(
                f"The same images with the seeds {numbers}. The spread tells which differences between two trainings "
                "are chance; it says nothing of other images."
            ),
            _table(seeds),
            html.command(seeds["header"]),
        ]
    return html.section("How good is it?", *parts)


def _table(study: Mapping[str, Any]) -> str:
    rows = [
        [
            each["name"],
            html.number(each["mean"]),
            "" if each["low"] is None else f"{html.number(each['low'])} to {html.number(each['high'])}",
            html.number(each["deviation"]),
            ", ".join(html.number(value) for value in each["values"]),
            f"{each['n']:,}",
        ]
        for each in study["metrics"]
    ]
    return html.table(["metric", "mean", "95 % interval", "standard deviation", "of each training", "n"], rows)
