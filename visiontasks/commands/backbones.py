"""The command `backbones`: what can be fine-tuned, what it costs, and whether its weights are here.

Without a pattern it imports nothing heavy: the figures of the selection are in backbones.csv, which
`visiontasks backbones NAME ... --format csv` writes, without the last column.
"""

import argparse
import csv
import io
import json
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visiontasks.caches import has_download
from visiontasks.commands.printing import PIPE_WIDTH, terminal_width
from visiontasks.commands.tables import table
from visiontasks.csv_tables import CSVWriter
from visiontasks.units import in_units

SELECTION = Path(__file__).with_name("backbones.csv")
MOST_BUILT = 30
"""Networks that are built at most, which takes 0.2 to 2 s each."""
PLACES = {"": "none", "package": "shipped", "local-dir": "here"}
LAYOUTS = (
    ("backbone", "params", "mult-adds", "image", "stages", "strides", "weights"),
    ("backbone", "params", "mult-adds", "image", "stages", "weights"),
    ("backbone", "params", "mult-adds", "image", "weights"),
    ("backbone", "params", "mult-adds", "weights"),
)
FIGURES = ("params", "mult-adds", "image", "stages")
NOTES = (
    "mult-adds: for one image of this size, which the weights were trained with; stages: for finetune.last_stages",
    "weights: shipped in the package, here (downloaded before), download (on first use), none (only random ones)",
)


@dataclass(frozen=True)
class Backbone:
    """A row.

    Args:
        name: As in `model.init_args.backbone`.
        parameters: With the classifier; None if unknown, as all figures.
        multiply_adds: For one image.
        image: Shape (C, H, W).
        stages: For `finetune.last_stages`.
        strides: Of its feature maps.
        source: Of its weights, see `visiontasks.summary.backbones.Facts`.
    """

    name: str
    parameters: int | None
    multiply_adds: int | None
    image: tuple[int, ...] | None
    stages: int | None
    strides: tuple[int, ...]
    source: str

    @property
    def weights(self) -> str:
        """Where they are: shipped, here, download or none."""
        return PLACES.get(self.source) or ("here" if has_download(self.source) else "download")

    def record(self) -> dict[str, Any]:
        """Exact values by name."""
        return {**vars(self), "weights": self.weights}


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Print the table of the selection, or of what matches."""
    found = _matching(arguments.patterns) if arguments.patterns else read_selection()
    if arguments.format == "csv":
        print(_to_csv(found), end="")
    elif arguments.format == "json":
        print(json.dumps([backbone.record() for backbone in found], indent=2))
    else:
        print("\n".join(_to_table(found, is_selection=not arguments.patterns)))


def read_selection() -> list[Backbone]:
    """Backbones for a computer without a GPU, and a few larger ones, in the order of their multiply-adds."""
    with SELECTION.open(newline="", encoding="utf-8") as file:
        return [
            Backbone(
                row["name"],
                int(row["parameters"]),
                int(row["multiply_adds"]),
                tuple(map(int, row["image"].split("x"))),
                int(row["stages"]),
                tuple(map(int, row["strides"].split())),
                row["source"],
            )
            for row in csv.DictReader(file)
        ]


def _matching(patterns: Sequence[str]) -> list[Backbone]:
    """Backbones by pattern, with figures where few networks have to be built for them."""
    from visiontasks.summary.backbones import figures, find_backbones

    facts = find_backbones(patterns)
    networks = len({each.same_network for each in facts})
    is_built = networks <= MOST_BUILT
    if is_built and networks > 1 and sys.stderr.isatty():
        print(f"building {networks} networks without weights for their figures ...", file=sys.stderr)
    rows = []
    for each in facts:
        known = figures(each) if is_built else None
        if known is None:
            rows.append(Backbone(each.name, None, None, each.image, None, (), each.source))
        else:
            rows.append(Backbone(each.name, *known, each.source))
    return rows


def _to_table(found: Sequence[Backbone], *, is_selection: bool) -> list[str]:
    width = terminal_width()
    rows = table([_cells(backbone) for backbone in found], LAYOUTS, width, right=FIGURES)
    if width >= PIPE_WIDTH:
        return rows
    notes = list(NOTES)
    if is_selection:
        notes.append("all of timm: visiontasks backbones '*'; some: visiontasks backbones 'mobilenet*' vit_tiny")
    elif all(backbone.parameters is None for backbone in found):
        notes.append(f"{len(found):,} names; figures are computed for up to {MOST_BUILT} networks: narrow the pattern")
    return [*rows, "", *(line for note in notes for line in textwrap.wrap(note, min(width, 120)))]


def _cells(backbone: Backbone) -> dict[str, str]:
    _, height, width = backbone.image or (0, 0, 0)
    return {
        "backbone": backbone.name,
        "params": _count(backbone.parameters),
        "mult-adds": _count(backbone.multiply_adds),
        "image": "" if not height else str(width) if height == width else f"{height}x{width}",
        "stages": str(backbone.stages or ""),
        "strides": ",".join(map(str, backbone.strides)),
        "weights": backbone.weights,
    }


def _count(number: int | None) -> str:
    return "" if number is None else in_units(number).replace(" ", "")


def _to_csv(found: Sequence[Backbone]) -> str:
    """One line for each, with a header; exact figures, empty where one is unknown."""
    text = io.StringIO()
    writer = CSVWriter(text)
    writer.write(found[0].record())
    for backbone in found:
        image, strides = "x".join(map(str, backbone.image or ())), " ".join(map(str, backbone.strides))
        writer.write({**backbone.record(), "image": image, "strides": strides}.values())
    return text.getvalue()
