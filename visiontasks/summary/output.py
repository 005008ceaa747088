"""A summary as a table for the terminal, as CSV or as JSON."""

import io
import json
import textwrap
from collections.abc import Callable, Sequence
from math import isinf
from typing import Any

from visiontasks.csv_tables import CSVWriter
from visiontasks.summary.costs import Layer, Pair, Summary
from visiontasks.units import in_units

NOTE = """\
Output without the batch. Activations: values that take memory of their own (not what works in place, views, or dropout,
which is off). Multiply-adds: of convolutions, dense layers and matrix products (attention), for one image; biases,
sums, pools, normalization and activation functions are left out. Field: receptive field in pixels, padding included,
the largest over all paths; "all" after global pooling, dense layers on a map and squeeze-and-excitation; "-" where it
differs between positions or is not followed (windows, attention, upsampling)."""
GAPS = ("  ", " ")
ELLIPSIS = ".."
SHORTEST_NAME = 12
NAME, TYPE, BYTES = "layer", "type", "bytes"

Column = tuple[str, Callable[[Layer], str]]


def to_table(summary: Summary, *, title: str, width: int) -> str:
    """Rows, totals and what they mean, in lines of at most `width` where the names are not longer than that.

    Bytes and types go first where there is little room, then the last digits of the larger figures.

    Args:
        summary: From `summarize`.
        title: The first line.
        width: Characters.
    """
    columns, gap = _fitting(summary.layers, width)
    rows = [[name for name, _ in columns], *([cell(layer) for _, cell in columns] for layer in summary.layers)]
    room = width - sum(len(gap) + max(map(len, column)) for column in [*zip(*rows, strict=True)][1:])
    rows = [[_shortened(row[0], room), *row[1:]] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [gap.join(_aligned(row, widths, columns)).rstrip() for row in rows]
    parts = [title, "", *lines, "", *_totals(summary, width), "", *_misfits(summary.layers, width)]
    return "\n".join([*parts, *textwrap.wrap(NOTE, min(width, 120))])


def to_csv(summary: Summary) -> str:
    """One line for each layer, with a header; exact figures, empty where a value is unknown."""
    text = io.StringIO()
    writer = CSVWriter(text)
    writer.write(_record(summary.layers[0]))
    for layer in summary.layers:
        record = _record(layer)
        record["output"] = _shape(layer.output)
        for name in ("receptive_field", "stride"):
            record[name] = "x".join(map(str, record[name])) if record[name] else ""
        writer.write(record.values())
    return text.getvalue()


def to_json(summary: Summary, *, name: str) -> str:
    """Layers, totals and memory; a receptive field of the whole image is "all", and null where it is not known."""
    names = ("activations", "weights", "biases", "parameters", "multiply_adds", "product_outputs")
    content = {
        "network": name,
        "image": summary.image,
        "totals": {name: getattr(summary, name) for name in names},
        "memory_bytes": summary.memory(),
        "layers": [_record(layer) for layer in summary.layers],
    }
    return json.dumps(content, indent=2)


def _record(layer: Layer) -> dict[str, Any]:
    field = layer.receptive_field
    return {
        "layer": layer.name,
        "type": layer.type,
        "output": layer.output,
        "activations": layer.activations,
        "activation_bytes": layer.activation_bytes,
        "weights": layer.weights,
        "biases": layer.biases,
        "multiply_adds": layer.multiply_adds,
        "receptive_field": field and tuple("all" if isinf(size) else _whole(size) for size in field),
        "stride": layer.stride and tuple(map(_whole, layer.stride)),
        "does_not_fit": layer.misfit,
    }


def _columns(units: bool) -> list[Column]:
    count = in_units if units else "{:,}".format
    return [
        (NAME, lambda layer: layer.name or "(itself)"),
        (TYPE, lambda layer: layer.type),
        ("output", lambda layer: _shape(layer.output)),
        ("acts" if units else "activations", lambda layer: count(layer.activations)),
        (BYTES, lambda layer: in_units(layer.activation_bytes, "B")),
        ("weights", lambda layer: f"{layer.weights:,}"),
        ("biases", lambda layer: f"{layer.biases:,}"),
        ("mult-adds" if units else "multiply-adds", lambda layer: count(layer.multiply_adds)),
        ("field", lambda layer: _pair(layer.receptive_field)),
        ("stride", lambda layer: _pair(layer.stride)),
    ]


def _fitting(layers: Sequence[Layer], width: int) -> tuple[list[Column], str]:
    """The most columns that fit, and the gap between them."""
    columns, gap = _columns(units=False), GAPS[0]
    for left_out, units in (((), False), ((BYTES,), False), ((BYTES, TYPE), False), ((BYTES, TYPE), True)):
        for gap in GAPS:
            columns = [column for column in _columns(units) if column[0] not in left_out]
            taken = [max(len(name), *(len(cell(layer)) for layer in layers)) for name, cell in columns]
            if sum(taken) + len(gap) * (len(taken) - 1) <= width:
                return columns, gap
    return columns, gap


def _aligned(row: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> list[str]:
    left = (NAME, TYPE, "output")
    return [
        cell.ljust(width) if name in left else cell.rjust(width)
        for cell, width, (name, _) in zip(row, widths, columns, strict=True)
    ]


def _shortened(name: str, room: int) -> str:
    """A name without its middle, where it is too long."""
    room = max(room, SHORTEST_NAME)
    length = room - len(ELLIPSIS)
    return name if len(name) <= room else f"{name[: length // 2]}{ELLIPSIS}{name[len(name) - length + length // 2 :]}"


def _totals(summary: Summary, width: int) -> list[str]:
    memory = {name: in_units(size, "B") for name, size in summary.memory().items()}
    entries = {
        "activations": f"{summary.activations:,} with the image ({memory['forward']} in float32); convolutions, dense "
        f"layers and matrix products give {summary.product_outputs:,} of them",
        "parameters": f"{summary.parameters:,}: {summary.weights:,} weights and {summary.biases:,} biases",
        "multiply-adds": f"{summary.multiply_adds:,} ({in_units(summary.multiply_adds)})",
        "memory": f"for each image {memory['forward']} forward, {memory['forward_backward']} forward and backward (all "
        f"activations stored, and a gradient for each); parameters {memory['parameters']}, with gradients and the "
        f"optimizer's state {memory['training_sgd']} with SGD, {memory['training_sgd_momentum']} with momentum, "
        f"{memory['training_adam']} with Adam",
    }
    lines = []
    for name, text in entries.items():
        lines += textwrap.wrap(f"{name:<15}{text}", min(width, 120), subsequent_indent=15 * " ")
    return lines


def _misfits(layers: Sequence[Layer], width: int) -> list[str]:
    found = [layer for layer in layers if layer.misfit]
    if not found:
        return []
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    text = f"PyTorch rounds down in {found[0].name}{more}: {found[0].misfit}."
    return [*textwrap.wrap(text, min(width, 120)), ""]


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "-"


def _pair(pair: Pair | None) -> str:
    """One number where both axes have the same."""
    if pair is None:
        return "-"
    shown = ["all" if isinf(value) else f"{_whole(value):g}" for value in pair]
    return shown[0] if shown[0] == shown[1] else "x".join(shown)


def _whole(value: float) -> float:
    return int(value) if value == int(value) else value
