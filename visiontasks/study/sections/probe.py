"""Which backbone suits the images."""

from collections.abc import Mapping
from typing import Any

from visiontasks.report import html


def section(content: Mapping[str, Any]) -> str:
    """A table of the backbones, the best first."""
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


def _p_value(p: float) -> str:
    return f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"
