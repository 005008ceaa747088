"""What a run predicts of old classes after others were added."""

from collections.abc import Mapping
from typing import Any

from visiontasks.report import html


def section(content: Mapping[str, Any]) -> str:
    """Each class on the validation images, before and after."""
    rows = [
        [
            each["name"],
            each["n"],
            None if each["is_new"] else each["before"],
            each["after"],
            f"{html.percent(each['low'])} to {html.percent(each['high'])}",
            "new" if each["is_new"] else f"p = {each['p']:.2g}",
        ]
        for each in content["classes"]
    ]
    errors = [[file, error] for file, error in content["errors"].items()]
    fallen = ", ".join(content["fallen"])
    test = content["test"]
    return html.section(
        "Classes that were added",
        html.paragraph(
            f"{html.percent(content['right'] / content['n'])} ({html.percent(content['low'])} to "
            f"{html.percent(content['high'])}) of {content['n']:,} validation images are predicted right. The network "
            f"is as it was, only its last layer was fitted anew, on {content['trained']:,} training images."
        ),
        html.paragraph(
            f"On {test['n']:,} test images: {html.percent(test['value'])} ({html.percent(test['interval95'][0])} to "
            f"{html.percent(test['interval95'][1])})."
        )
        if test
        else "",
        html.paragraph(f"Predicted worse than before by more than chance: {fallen}.", "note") if fallen else "",
        html.table(["class", "images", "right before", "right now", "95 % interval", "lost by chance?"], rows),
        html.folded("images that could not be read", html.table(["image", "error"], errors)) if errors else "",
    )
