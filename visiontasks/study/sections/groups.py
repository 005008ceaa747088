"""What a random split claims where images belong together."""

from collections.abc import Mapping
from typing import Any

from visiontasks.report import html


def section(content: Mapping[str, Any]) -> str:
    """A row for each way to group the images, and what follows."""
    studies = content["studies"]
    most = max(studies, key=lambda each: float(each["claimed"]["value"]))
    rows = [
        [
            each["groups"],
            f"{each['number']:,}",
            f"{each['smallest']} to {each['largest']}",
            _share(each["random"]),
            _share(each["whole"]),
            f"{each['claimed']['value']:+.3f} ({each['claimed']['low']:+.3f} to {each['claimed']['high']:+.3f})",
        ]
        for each in studies
    ]
    header = ["groups by", "groups", "images of one", "random split", "whole groups", "overestimated by"]
    advice = (
        f"A random split says {most['random']['value']:.2f}, one that divides no group {most['whole']['value']:.2f}: "
        f"train with data.groups: {most['groups']}."
        if most["claimed"]["low"] > 0
        else "That a random split claims too much is not shown: the interval of the difference holds 0."
    )
    return html.section(
        "Do images belong together?",
        html.paragraph(
            f"Frames of a film or pictures of a patient are alike: a network that was trained on some of them "
            f"recognizes the others. Here a linear head judges {most['n']:,} images that it has not seen, once with "
            "others of their groups among those that it was fitted on, as a random split would do, and once without. "
            "Where the model will meet new groups, the second number is what it will reach."
        ),
        html.table(header, rows),
        html.paragraph(advice),
    )


def _share(share: Mapping[str, float]) -> str:
    return f"{html.percent(share['value'])} ({html.percent(share['low'])} to {html.percent(share['high'])})"
