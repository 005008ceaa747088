"""The run as a whole in a report: result, training, where the time went, data, recipe and versions."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from visiontasks.report.charts import Line, line_chart
from visiontasks.report.content import Row, RunContent
from visiontasks.report.html import (
    Markup,
    bar,
    escaped,
    folded,
    number,
    paragraph,
    percent,
    section,
    shortened,
    table,
)

_INTERVALS = (
    "The interval shows how far a value can be trusted with this many images: of 100 such intervals about 95 contain "
    "the value that all images of this kind would give."
)
_SPLITS = ("train", "val", "test")
_MOST_NAMES, _MOST_TEXT = 30, 100_000


def header(content: RunContent) -> str:
    """Name, place and warnings."""
    result = content.result
    facts = [
        result.get("task") or str(content.option("model", "class_path") or "").rpartition(".")[2],
        str(content.option("model", "init_args", "backbone") or ""),
        str(content.option("data", "class_path") or "").rpartition(".")[2],
        f"seed {result['seed']}" if "seed" in result else "",
        f"finished {result['finished']}" if "finished" in result else "",
    ]
    notes = [f'<div class="note">{escaped(note)}</div>' for note in content.notes]
    about = " · ".join(fact for fact in facts if fact)
    title = f"<h1>{escaped(shortened(content.name))}</h1>"
    return "\n".join([title, paragraph(about, "pale"), paragraph(content.run, "pale"), *notes])


def result_section(content: RunContent) -> str:
    """The metric that matters, in words, and all the others."""
    metrics: Mapping[str, Any] = content.result.get("metrics") or {}
    if content.headline is None:
        return ""
    name = content.headline
    entry = metrics[name]
    value = percent(entry["value"]) if entry.get("in_percent") else number(entry["value"], 3)
    counted = f"{entry['count']:,} of {entry['n']:,}" if "count" in entry else f"n = {entry['n']:,}"
    sentence = str(entry.get("headline") or f"is {name} on the {{split}} split").replace("{split}", content.split)
    words = escaped(f"{sentence}: {counted}{_interval_text(entry)}")
    hero = f'<div class="hero"><b>{value}</b><span>{words}</span></div>'
    has_intervals = any(each.get("interval95") for each in metrics.values())
    rows = [
        (
            Markup(f"{escaped(metric)}{_meaning(each)}"),
            each["value"],
            *([_interval(each)] if has_intervals else []),
            Markup(f"{each['count']:,}&nbsp;/&nbsp;{each['n']:,}" if "count" in each else f"{each['n']:,}"),
        )
        for metric, each in metrics.items()
    ]
    samples = content.result.get("samples") or {}
    evaluated = (
        f"{samples['evaluated']:,} of the {samples['of']:,} samples of the split were evaluated." if samples else ""
    )
    return section(
        "Result",
        hero,
        table(["metric", "value", *(["95 % interval"] if has_intervals else []), "n"], rows),
        paragraph(f"{evaluated} {_INTERVALS if has_intervals else ''}", "pale"),
    )


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
        line_chart("Validation", quality, **options),
        line_chart("Learning rate at the start of the epoch", rates, is_log=True, **options),
    ]
    legend = "; ".join(f"{i}: {text}" for i, (_, _, text) in enumerate(phases, start=1))
    monitor = (content.result.get("chosen_by") or {}).get("monitor")
    mark = f" The dashed line is epoch {chosen:g}, chosen by {monitor}." if chosen and monitor else ""
    return section(
        "Training",
        f'<div class="cards">{"".join(charts)}</div>',
        paragraph(f"{f'Phases: {legend}.' if legend else ''}{mark}"),
        paragraph("The learning rate of what is frozen in a phase moves nothing.", "pale") if len(phases) > 1 else "",
    )


def time_section(content: RunContent) -> str:
    """Where the seconds went."""
    parts: Mapping[str, float] = content.result.get("time") or {}
    whole = float(content.result.get("wall_s") or sum(parts.values()))
    if not parts or whole <= 0:
        return ""
    named = {content.time_names.get(part, part): float(seconds) for part, seconds in parts.items()}
    named["before and after the training"] = max(0.0, whole - sum(named.values()))
    rows = [
        (name, Markup(f"{seconds:,.1f} s"), Markup(percent(seconds / whole, 0)), bar(seconds / whole))
        for name, seconds in named.items()
    ]
    return section(
        "Where the time went",
        paragraph(
            f"{whole:,.1f} s in all, of which {float(content.result.get('fit_s') or whole):,.1f} s to the end of "
            "the training."
        ),
        table(["part", "seconds", "share", ""], rows),
    )


def data_section(content: RunContent) -> str:
    """Counts of the data."""
    data: Mapping[str, Any] = content.result.get("data") or {}
    if not data:
        return ""
    skipped = data.get("skipped") or {}
    splits = sorted(data["splits"].items(), key=lambda entry: _SPLITS.index(entry[0]))
    rows = [(split, count, skipped.get(split, 0)) for split, count in splits]
    names = ", ".join(shortened(name, 60) for name in content.class_names)
    number_of = f"{len(content.class_names)} class{'es' * (len(content.class_names) != 1)}"
    listing = paragraph(f"{number_of}: {names}")
    return section(
        "Data",
        table(["split", "samples", "left out"], rows),
        listing if len(content.class_names) <= _MOST_NAMES else folded(number_of, listing),
    )


def recipe_section(content: RunContent) -> str:
    """What was trained how, and on what machine."""
    rows = [(name, str(value)) for name, value in _settings(content) if value not in (None, "", [])]
    versions = content.result.get("versions") or {}
    text = content.recipe_text
    if len(text) > _MOST_TEXT:
        text = f"{text[:_MOST_TEXT]}\n... (the rest is in recipe.yaml)"
    return section(
        "Recipe",
        table(["setting", "value"], rows) if rows else "",
        folded("recipe.yaml, whole", f"<pre>{escaped(text)}</pre>") if text else "",
        folded("Versions", table(["package", "version"], [(name, str(v)) for name, v in versions.items()]))
        if versions
        else "",
    )


def _quality(content: RunContent) -> list[str]:
    """Columns of the validation metrics of which more is better."""
    metrics: Mapping[str, Any] = content.result.get("metrics") or {}
    lower = {name.rpartition("/")[2] for name, entry in metrics.items() if entry.get("lower_is_better")}
    lower |= {"loss", "n", *content.lower_is_better}
    return [name for name in _names(content.history) if name.startswith("val/") and name[4:] not in lower]


def _meaning(entry: Mapping[str, Any]) -> str:
    """What a metric is, below its name."""
    meaning = entry.get("meaning")
    return f'<div class="pale">{escaped(meaning)}</div>' if meaning else ""


def _interval(entry: Mapping[str, Any]) -> Markup:
    low_high = entry.get("interval95")
    return Markup(f"{low_high[0]:.4f} – {low_high[1]:.4f}" if low_high else "")  # noqa: RUF001  an en dash is meant


def _interval_text(entry: Mapping[str, Any]) -> str:
    if not entry.get("interval95"):
        return ""
    low, high = (percent(bound) if entry.get("in_percent") else number(bound, 3) for bound in entry["interval95"])
    return f", 95 % interval {low} to {high}"


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
        epochs = f"epoch {first}" if first == last else f"epochs {first} to {last}"
        found.append((first, last, f"{epochs}, {what}, {phase['wall_s']:,.1f} s"))
    return found


def _chosen_epoch(content: RunContent, points: Sequence[tuple[float, Row]]) -> float | None:
    """Where the weights come from that were measured."""
    chosen: Mapping[str, Any] = content.result.get("chosen_by") or {}
    if chosen.get("value") is None:
        return None
    monitor, value = chosen["monitor"], chosen["value"]
    return next((x for x, row in points if monitor in row and abs(row[monitor] - value) < 1e-6), None)


def _settings(content: RunContent) -> Iterator[tuple[str, Any]]:
    model, data = ("model", "init_args"), ("data", "init_args")
    yield "backbone", content.option(*model, "backbone")
    yield "weights", content.option(*model, "weights")
    for key in ("head", "class_head", "box_head", "optimizer", "schedule"):
        yield key.replace("_", " "), _class(content.option(*model, key))
    yield "epochs", content.option("trainer", "max_epochs")
    yield "finetune", _listed(content.option("finetune"), ("freeze_epochs", "unfreeze", "train_batchnorm"))
    yield "data", _class(content.option("data"), ("root",))
    yield "image size", content.option(*data, "image_size")
    yield "resize", content.option(*data, "resize")
    yield "batch size", content.option(*data, "batch_size")
    augment = content.option(*data, "augment")
    yield "augment", ", ".join(_class(each, ()) for each in (augment if isinstance(augment, list) else []))
    yield "precision", content.result.get("precision") or content.option("trainer", "precision")
    hardware = content.result.get("hardware") or {}
    yield "machine", ", ".join([*hardware.get("gpus", []), *map(str, filter(None, [hardware.get("platform")]))])


def _class(value: Any, shown: Sequence[str] = ("lr", "momentum", "weight_decay", "warmup_epochs")) -> str:
    """A class of the recipe by its short name, with some of its arguments."""
    if not isinstance(value, Mapping):
        return "" if value is None else str(value).rpartition(".")[2]
    arguments = _listed(value.get("init_args"), shown)
    return f"{str(value.get('class_path', '')).rpartition('.')[2]}{f' ({arguments})' if arguments else ''}"


def _listed(values: Any, shown: Sequence[str]) -> str:
    known = values if isinstance(values, Mapping) else {}
    return ", ".join(f"{key} {known[key]}" for key in shown if known.get(key) is not None)
