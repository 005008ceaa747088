"""What more images would bring."""

from collections.abc import Mapping
from typing import Any

from visiontasks.report import html
from visiontasks.report.charts import Line, line_chart


def section(content: Mapping[str, Any]) -> str:
    """The learning curve with its continuation, and what each class gains."""
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
