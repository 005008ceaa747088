"""Time, data and recipe of a run, in a report, and the command that reproduces it."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from visiontasks.report.content import RunContent
from visiontasks.report.html import (
    Markup,
    bar,
    command,
    escaped,
    folded,
    paragraph,
    percent,
    section,
    shortened,
    table,
)

_SPLITS = ("train", "val", "test")
_MOST_NAMES, _MOST_TEXT = 30, 100_000


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
        table(["part", "seconds", "share", ""], rows),
        paragraph(
            f"{whole:,.1f} s in all, {float(content.result.get('fit_s') or whole):,.1f} s of them until the end of the "
            "training.",
            "pale",
        ),
    )


def data_section(content: RunContent) -> str:
    """Counts of the data: samples of each split, and what each class has in it."""
    data: Mapping[str, Any] = content.result.get("data") or {}
    if not data:
        return ""
    skipped = data.get("skipped") or {}
    splits = sorted(data["splits"], key=_SPLITS.index)
    rows: list[list[object]] = [["images", *(data["splits"][split] for split in splits)]]
    if any(skipped.values()):
        rows.append(["left out", *(skipped.get(split, 0) for split in splits)])
    number_of = f"{len(content.class_names)} class{'es' * (len(content.class_names) != 1)}"
    counts = _class_rows(content, splits)
    names = paragraph(f"{number_of}: {', '.join(shortened(name, 60) for name in content.class_names)}")
    few = len(content.class_names) <= _MOST_NAMES
    if counts:
        unit, classes = counts
        by_class = table(["class", *splits], classes)
        listing = f"<h3>{unit}</h3>{by_class}" if few else folded(f"{number_of}: {unit}", by_class)
    else:
        listing = names if few else folded(number_of, names)
    return section("Data", table(["split", *splits], rows), listing)


def recipe_section(content: RunContent) -> str:
    """What was trained how and on what machine, and how to repeat it."""
    rows = [(name, str(value)) for name, value in _settings(content) if value not in (None, "", [])]
    versions = content.result.get("versions") or {}
    text = content.recipe_text
    if len(text) > _MOST_TEXT:
        text = f"{text[:_MOST_TEXT]}\n... (the rest is in recipe.yaml)"
    return section(
        "Recipe",
        *(_reproduction(content) if content.recipe else ()),
        table(["setting", "value"], rows) if rows else "",
        folded("recipe.yaml, whole", f"<pre>{escaped(text)}</pre>") if text else "",
        folded("Versions", table(["package", "version"], [(name, str(v)) for name, v in versions.items()]))
        if versions
        else "",
    )


def _class_rows(content: RunContent, splits: Sequence[str]) -> tuple[str, list[list[object]]] | None:
    """What is counted, and of each class its count, or its share of the pixels, in each split."""
    counted: Mapping[str, Any] = (content.result.get("data") or {}).get("class_counts") or {}
    by_split, unit = counted.get("splits") or {}, str(counted.get("unit", "images"))
    known = [split for split in splits if len(by_split.get(split, [])) == len(content.class_names)]
    if not known or not content.class_names:
        return None
    in_percent = unit == "pixels"
    totals = {split: sum(by_split[split]) or 1 for split in known}
    rows: list[list[object]] = [
        [
            name,
            *(
                ""
                if split not in known
                else Markup(percent(by_split[split][k] / totals[split]))
                if in_percent
                else by_split[split][k]
                for split in splits
            ),
        ]
        for k, name in enumerate(content.class_names)
    ]
    sampled = counted.get("sampled") or {}
    of = "".join(f", {split}: of {count:,} images" for split, count in sampled.items() if split in known)
    return (
        f"Share of labelled pixels{escaped(of)}" if in_percent else f"{escaped(unit.capitalize())} of each class",
        rows,
    )


def _reproduction(content: RunContent) -> list[str]:
    """The command that trains the same again."""
    version = (content.result.get("versions") or {}).get("visiontasks")
    seed = content.result.get("seed", content.option("seed_everything"))
    by = [f"visiontasks {version}"] if version else []
    by += [f"seed {seed}"] if seed is not None else []
    exact = "The same data, versions and kind of machine give the same numbers" + (
        f" ({', '.join(by)})." if by else "."
    )
    return [
        "<h3>Train it again</h3>",
        command(f"visiontasks finetune {shlex.quote(f'{content.run}/recipe.yaml')}"),
        paragraph(exact, "pale"),
    ]


def _settings(content: RunContent) -> Iterator[tuple[str, Any]]:
    model, data = ("model", "init_args"), ("data", "init_args")
    yield "backbone", content.option(*model, "backbone")
    yield "weights", content.weights or content.option(*model, "weights")
    for key in ("head", "class_head", "box_head", "optimizer", "schedule"):
        yield key.replace("_", " "), _class(content.option(*model, key))
    yield "epochs", content.option("trainer", "max_epochs")
    yield (
        "finetune",
        _listed(content.option("finetune"), ("freeze_epochs", "unfreeze", "train_batchnorm", "image_sizes")),
    )
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
