"""How the training of a run went, in a report: losses, metrics and learning rates by epoch."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from math import inf
from typing import Any

from visiontasks.report.charts import Line, line_chart
from visiontasks.report.content import Row, RunContent
from visiontasks.report.html import paragraph, section


def curves_section(content: RunContent) -> str:
    """How the training went: losses, metrics and learning rates by epoch."""
    points = _by_epoch(content.history)
    if not points:
        return ""
    phases = _phases(content)
    bands = [(first - 1.0, float(last)) for first, last, _ in phases]
    chosen = _chosen_epoch(content, points)
    options: Any = {"x_name": "epoch", "bands": bands, "mark": chosen}
    losses = _lines(points, ["train/loss", "val/loss"])
    quality = _lines(points, _quality(content))
    rates = _merged(_lines(points, [name for name in _names(content.history) if name.startswith("lr/")]))
    charts = [
        line_chart("Loss", losses, **options),
        line_chart("Validation metrics", quality, **options),
        line_chart("Learning rate at the start of the epoch", rates, is_log=True, **options),
    ]
    legend = "; ".join(f"{i}: {text}" for i, (_, _, text) in enumerate(phases, start=1))
    facts = [f"Phases: {legend}."] if legend else []
    if chosen is not None:
        monitor = content.result["chosen_by"]["monitor"]
        facts.append(
            f"The dashed line marks epoch {chosen:g}, the best by {monitor} (of equal ones, that with the lowest "
            "val/loss), whose weights were measured."
        )
    gap = _gap(content, points)
    return section(
        "Training",
        f'<div class="cards">{"".join(charts)}</div>',
        paragraph(" ".join(facts)) if facts else "",
        paragraph(gap) if gap else "",
        paragraph("Frozen layers do not change, whatever their learning rate.", "pale") if len(phases) > 1 else "",
    )


def _gap(content: RunContent, points: Sequence[tuple[float, Row]]) -> str:
    """Why the training loss lies above the validation loss, where it does at the end."""
    last: dict[str, float] = {}
    for _, row in points:
        last |= {name: row[name] for name in ("train/loss", "val/loss") if name in row}
    if len(last) < 2 or not last["train/loss"] > last["val/loss"]:
        return ""
    model, data = ("model", "init_args"), ("data", "init_args")
    reasons = {
        "training images are augmented": content.option(*data, "augment"),
        "label smoothing raises the training loss": content.option(*model, "label_smoothing"),
        "mixup blends training images": content.option(*model, "mixup_alpha"),
        "CutMix blends training images": content.option(*model, "cutmix_alpha"),
        "class weights count in the training loss only": content.option(*model, "class_weights"),
    }
    found = [reason for reason, is_given in reasons.items() if is_given]
    found += ["dropout, if the network has it, is active in training only", "it is averaged while the weights improve"]
    return (
        f"The training loss lies above the validation loss. That is normal: {', '.join(found[:-1])}, and {found[-1]}."
    )


def _quality(content: RunContent) -> list[str]:
    """Columns of the validation metrics of which more is better."""
    metrics: Mapping[str, Any] = content.result.get("metrics") or {}
    lower = {name.rpartition("/")[2] for name, entry in metrics.items() if entry.get("lower_is_better")}
    lower |= {"loss", "n", *content.lower_is_better}
    return [name for name in _names(content.history) if name.startswith("val/") and name[4:] not in lower]


def _names(history: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in history for name in row))


def _by_epoch(history: Sequence[Row]) -> list[tuple[float, Row]]:
    """Rows with where they lie: at the end of an epoch, or by their steps inside of one."""
    points = []
    before = 0.0
    for epoch, rows in groupby(history, key=lambda row: row.get("epoch", 0.0)):
        of_epoch = list(rows)
        steps = (of_epoch[-1].get("step", 0.0) - before) or 1.0
        points += [(epoch - 1 + (row.get("step", 0.0) - before) / steps, row) for row in of_epoch[:-1]]
        points.append((epoch, of_epoch[-1]))
        before = of_epoch[-1].get("step", 0.0)
    return points


def _lines(points: Sequence[tuple[float, Row]], names: Sequence[str]) -> list[Line]:
    return [
        Line(name.removeprefix("lr/"), [(x, row[name]) for x, row in points if name in row])
        for name in names
        if any(name in row for _, row in points)
    ]


def _merged(lines: Sequence[Line]) -> list[Line]:
    """One curve for all that lie on each other."""
    groups: dict[tuple[tuple[float, float], ...], list[str]] = {}
    for line in lines:
        groups.setdefault(tuple(line.points), []).append(line.name)
    return [
        Line(names[0] if len(names) == 1 else f"{names[0]} to {names[-1]} ({len(names)})", points)
        for points, names in groups.items()
    ]


def _phases(content: RunContent) -> list[tuple[int, int, str]]:
    """First and last epoch of each phase, and what was trained in it."""
    found = []
    for phase in content.result.get("phases") or []:
        first, last = phase["epochs"]
        stages = phase["trained_stages"]
        what = f"head and the {stages} deepest stages of the backbone" if stages else "head only, backbone frozen"
        what += f", images of {phase['image_side']} px" if "image_side" in phase else ""
        epochs = f"epoch {first}" if first == last else f"epochs {first} to {last}"
        found.append((first, last, f"{epochs}, {what}, {phase['wall_s']:,.1f} s"))
    return found


def _chosen_epoch(content: RunContent, points: Sequence[tuple[float, Row]]) -> float | None:
    """Where the weights come from that were measured."""
    chosen: Mapping[str, Any] = content.result.get("chosen_by") or {}
    if chosen.get("value") is None:
        return None
    monitor, value, epoch = chosen["monitor"], chosen["value"], chosen.get("epoch")
    found = [(x, row) for x, row in points if monitor in row and abs(row[monitor] - value) < 1e-6]
    if epoch is not None:  # several epochs may have the value; older runs have no number, and took the first
        of_epoch = [(x, row) for x, row in found if row.get("epoch") == epoch]
        found = sorted(of_epoch, key=lambda point: point[1].get("val/loss", inf))
    return found[0][0] if found else None
