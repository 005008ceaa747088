"""The page of a folder of studies: one section for each that was made, from its JSON alone."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from visiontasks.regular_files import read_json
from visiontasks.report import html
from visiontasks.report.charts import Line, line_chart
from visiontasks.study.correcting import SCRIPT, correcting_section

PAGE = "index.html"
Content = Mapping[str, Any]


def save_study(folder: Path, name: str, content: Content) -> Path:
    """Write a study's JSON, and make the page of its folder again.

    Args:
        folder: Of all studies of a dataset.
        name: One of `SECTIONS`.
        content: What JSON can hold.

    Returns:
        The page's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    found = {each: read_json(folder / f"{each}.json") for each in SECTIONS if (folder / f"{each}.json").is_file()}
    sections = [f"<h1>{html.escaped(folder.name)}</h1>", *(SECTIONS[each](found[each]) for each in found)]
    page = folder / PAGE
    script = "".join(script for each, script in SCRIPTS.items() if each in found)
    page.write_text(html.page(f"Study of {folder.name}", sections, script=script), encoding="utf-8")
    return page


def _probe(content: Content) -> str:
    rows = [
        [
            each["name"],
            html.percent(each["accuracy"]),
            f"{html.percent(each['low'])} to {html.percent(each['high'])}",
            "the best" if i == 0 else _p_value(each["p"]),
            f"{each['image_ms']:.1f} ms",
            f"{each['parameters'] / 1e6:.1f} M",
            each["license"] or "not stated",
        ]
        for i, each in enumerate(content["probed"])
    ]
    header = ["backbone", "right", "95 % interval", "as good as the best?", "an image", "parameters", "license"]
    n = content["probed"][0]["n"]
    missing = [f"{name}: {why}" for name, why in content["missing"].items()]
    return html.section(
        "Which backbone?",
        html.paragraph(
            f"A linear head on the features of each frozen backbone judges {n:,} training and validation images, none "
            "of which it has seen. Full fine-tuning reaches more, mostly in the same order. McNemar's test asks "
            "whether a backbone's mistakes differ from those of the best by more than chance: below 0.05 they do."
        ),
        html.table(header, rows),
        html.folded("not tried", *map(html.paragraph, missing)) if missing else "",
        html.paragraph(
            "Licenses are those that timm states for the weights; where none is stated, look where they are from.",
            "pale",
        ),
    )


def _labels(content: Content) -> str:
    wrong = content["wrong"]
    head = f"{content['agreeing']:,} of {content['n']:,} labels are what heads that have not seen them predict."
    if wrong:
        head += (
            f" About {wrong['count']} labels are wrong ({wrong['low']} to {wrong['high']}): among the "
            f"{wrong['judged']:,} images that the heads are surest of, {wrong['disagreeing']} have another label than "
            "predicted; the others are taken to be labelled as well as these."
        )
    return html.section(
        "Which labels are wrong?",
        html.paragraph(head),
        correcting_section(content),
    )


def _amount(content: Content) -> str:
    points, forecasts = content["points"], content["forecasts"]
    now = points[-1]["accuracy"]
    sentences = [
        f"{each['images'] / points[-1]['images']:.0f} times the images: {now:.3f} → {each['accuracy']:.3f} "
        f"({each['low']:.3f} to {each['high']:.3f})."
        for each in forecasts
    ]
    gains = sorted(zip(forecasts[0]["gains"], content["class_names"], strict=True), reverse=True)
    rows = [[name, f"{gain:+.3f}"] for gain, name in gains]
    measured = Line("measured", [(each["images"], each["accuracy"]) for each in points])
    ahead = [(points[-1]["images"], now), *((each["images"], each["accuracy"]) for each in forecasts)]
    low = [(points[-1]["images"], now), *((each["images"], each["low"]) for each in forecasts)]
    high = [(points[-1]["images"], now), *((each["images"], each["high"]) for each in forecasts)]
    lines = [measured, Line("forecast", ahead), Line("lower bound", low), Line("upper bound", high)]
    return html.section(
        "How much data?",
        html.paragraph(" ".join(sentences)),
        html.columns(
            line_chart("accuracy by number of training images", lines, x_name="training images"),
            "<h3>gain of each class with twice the images</h3>" + html.table(["class", "accuracy"], rows),
        ),
        html.paragraph(
            "Of a linear head on frozen features. The bounds hold the accuracy in 95 of 100 cases, if more images are "
            "like those that are there.",
            "pale",
        ),
    )


def _p_value(p: float) -> str:
    return f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"


SECTIONS: dict[str, Callable[[Content], str]] = {"probe": _probe, "labels": _labels, "how-much-data": _amount}
"""By question, what makes a section of its JSON."""
SCRIPTS = {"labels": SCRIPT}
"""By question, what its section runs."""
