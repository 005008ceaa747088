"""The command `backbones`: what can be fine-tuned, what it costs, and whether its weights are here.

Without a pattern, or with whole names of the selection, it imports nothing heavy: the figures of the selection are in
backbones.csv. To write them again, without the last column, which depends on the machine:

    python -c "from visiontasks.commands.backbones import *; print(to_csv(computed(read_selection())))" | cut -d, -f1-7
"""

import argparse
import csv
import io
import json
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visiontasks.caches import has_download
from visiontasks.commands.printing import PIPE_WIDTH, terminal_width
from visiontasks.commands.tables import table
from visiontasks.csv_tables import CSVWriter
from visiontasks.units import in_units

if TYPE_CHECKING:
    from visiontasks.summary.backbones import Facts

SELECTION = Path(__file__).with_name("backbones.csv")
MOST_BUILT = 30
"""Networks that are built at most, which takes 0.2 to 2 s each."""
PLACES = {"": "none", "package": "shipped", "local-dir": "here"}
LAYOUTS = (
    ("backbone", "params", "size", "mult-adds", "image", "stages", "strides", "weights"),
    ("backbone", "params", "size", "mult-adds", "image", "stages", "weights"),
    ("backbone", "params", "mult-adds", "image", "stages", "weights"),
    ("backbone", "params", "mult-adds", "image", "weights"),
    ("backbone", "params", "mult-adds", "weights"),
)
FIGURES = ("params", "size", "mult-adds", "image", "stages")
NOTES = (
    "size: of the weights in float32; mult-adds: for one image of this size, which the weights were trained with; "
    "stages: for finetune.last_stages",
    "weights: shipped in the package, here (downloaded before), online (downloaded on first use), none (only random)",
)
HOW_TO_SEE_MORE = "all of timm: visiontasks backbones '*'; some: visiontasks backbones 'mobilenet*' vit_tiny"


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
    parameters: int | None = None
    multiply_adds: int | None = None
    image: tuple[int, ...] | None = None
    stages: int | None = None
    strides: tuple[int, ...] = ()
    source: str = ""

    @property
    def weights(self) -> str:
        """Where they are: shipped, here, online or none."""
        return PLACES.get(self.source) or ("here" if has_download(self.source) else "online")

    def record(self) -> dict[str, Any]:
        """Exact values by name."""
        return {**vars(self), "weights": self.weights}


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Print the table of the selection, or of what matches."""
    found, note = _matching(arguments.patterns) if arguments.patterns else (read_selection(), HOW_TO_SEE_MORE)
    if arguments.format == "csv":
        print(to_csv(found), end="")
    elif arguments.format == "json":
        print(json.dumps([backbone.record() for backbone in found], indent=2))
    else:
        print("\n".join(_to_table(found, note)))


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


def _matching(patterns: Sequence[str]) -> tuple[list[Backbone], str]:
    """Backbones by pattern, and a note where more match than are built for their figures."""
    known = {backbone.name: backbone for backbone in read_selection()}
    if all(pattern in known for pattern in patterns):
        return [known[name] for name in dict.fromkeys(patterns)], ""

    from visiontasks.summary.backbones import find_backbones

    facts = find_backbones(patterns)
    networks = len({each.same_network for each in facts if each.name not in known})
    if networks > MOST_BUILT:
        rows = [known.get(each.name, Backbone(each.name, image=each.image, source=each.source)) for each in facts]
        return rows, f"{len(rows):,} names; figures are computed for {MOST_BUILT} at most: narrow the pattern"
    if networks > 1 and sys.stderr.isatty():
        print(f"building {networks} networks without weights for their figures ...", file=sys.stderr)
    return [known.get(each.name) or _computed(each) for each in facts], ""


def computed(backbones: Sequence[Backbone]) -> list[Backbone]:
    """Their rows by building their networks, whatever the table has."""
    from visiontasks.summary.backbones import find_backbones

    return [_computed(each) for each in find_backbones([backbone.name for backbone in backbones])]


def _computed(facts: "Facts") -> Backbone:
    from visiontasks.summary.backbones import figures

    costs = figures(facts)
    found = Backbone(facts.name, *costs) if costs else Backbone(facts.name, image=facts.image)
    return replace(found, source=facts.source)


def _to_table(found: Sequence[Backbone], note: str) -> list[str]:
    width = terminal_width()
    rows = table([_cells(backbone) for backbone in found], LAYOUTS, width, right=FIGURES)
    if width >= PIPE_WIDTH:
        return rows
    notes = [*NOTES, *filter(None, [note])]
    return [*rows, "", *(line for note in notes for line in textwrap.wrap(note, min(width, 120)))]


def _cells(backbone: Backbone) -> dict[str, str]:
    _, height, width = backbone.image or (0, 0, 0)
    return {
        "backbone": backbone.name,
        "params": _count(backbone.parameters),
        "size": _count(4 * backbone.parameters, "B") if backbone.parameters else "",
        "mult-adds": _count(backbone.multiply_adds),
        "image": "" if not height else str(width) if height == width else f"{height}x{width}",
        "stages": str(backbone.stages or ""),
        "strides": ",".join(map(str, backbone.strides)),
        "weights": backbone.weights,
    }


def _count(number: int | None, of: str = "") -> str:
    return "" if number is None else in_units(number, of).replace(" ", "")


def to_csv(found: Sequence[Backbone]) -> str:
    """One line for each, with a header; exact figures, empty where one is unknown."""
    text = io.StringIO()
    writer = CSVWriter(text)
    writer.write(found[0].record())
    for backbone in found:
        image, strides = "x".join(map(str, backbone.image or ())), " ".join(map(str, backbone.strides))
        writer.write({**backbone.record(), "image": image, "strides": strides}.values())
    return text.getvalue()
