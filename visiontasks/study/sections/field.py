"""What to expect of photographs from where a network is used."""

from collections.abc import Mapping
from typing import Any

from visiontasks.report import html


def section(content: Mapping[str, Any]) -> str:
    """The accuracy to expect, and what differs from the validation images."""
    forecast, errors = content["forecast"], [[file, error] for file, error in content["errors"].items()]
    differences = [
        [
            each["name"],
            f"{each['clean']:.3g}",
            f"{each['field']:.3g}",
            f"{html.percent(each['higher'], 0)} ({html.percent(each['low'], 0)} to {html.percent(each['high'], 0)})",
            _p_value(each["p"]),
        ]
        for each in content["differences"]
    ]
    shares = [
        [
            each["name"],
            html.percent(each["clean"]),
            f"{html.percent(each['field'])} ({html.percent(each['low'])} to {html.percent(each['high'])})",
        ]
        for each in content["shares"]
    ]
    found = "differ from" if content["differs"] else "show no difference from"
    return html.section(
        "What to expect in the field?",
        html.paragraph(
            f"Accuracy to expect on the {content['n']:,} photographs: {html.percent(forecast['accuracy'])} "
            f"({html.percent(forecast['low'])} to {html.percent(forecast['high'])}). On {content['compared']:,} "
            f"validation images it is {html.percent(content['accuracy'])} ({html.percent(content['low'])} to "
            f"{html.percent(content['high'])})."
        ),
        html.paragraph(
            f"The photographs {found} the validation images. Of each measure the table has the medians, how often a "
            "photograph has more of it than a validation image (50 % where nothing differs), and the probability of "
            "such a difference by chance; below 0.05 it is hardly chance, for all measures together."
        ),
        html.table(["measure", "validation", "photographs", "more in photographs", "by chance?"], differences),
        f"<h3 class='after'>predicted classes: {_p_value(content['p_classes'])}</h3>",
        html.table(["class", "validation", "photographs"], shares),
        html.paragraph(
            "The forecast is made without labels, from how sure the network is, how far the photographs are from its "
            "training images, and whether the nearest of these have the predicted class: on validation images that "
            f"were made worse in {forecast['ways']} ways, such forecasts are {100 * forecast['error']:.1f} points off "
            "in the mean. It holds for photographs of the classes that the network knows; label some to be sure.",
            "pale",
        ),
        html.folded("images that could not be read", html.table(["image", "error"], errors)) if errors else "",
    )


def _p_value(p: float) -> str:
    return f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"
