"""From what the programs left to rows of a CSV file, and from that to medians, ratios and the README's table."""

import csv
import os
import re
from collections.abc import Iterable, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import processor, python_version
from statistics import mean, median

from bench.processes import Usage
from bench.work import BATCH_SIZE, FROZEN_EPOCHS, Epoch

FOLDER = Path(__file__).parent / "results"
OURS = "visiontasks"
NAMES = {
    "visiontasks": "visiontasks",
    "visiontasks_sizes": "visiontasks at 160, 160 and 224 px",
    "lightning": "plain Lightning",
    "fastai": "fastai `fine_tune`",
    "fastai_flip": "fastai, flips only",
    "raw": "raw loop, images in memory",
    "raw_bf16": "raw loop in bf16",
    "raw_fp32": "raw loop in fp32",
}
PACKAGES = ("visiontasks", "torch", "torchvision", "lightning", "timm", "fastai", "albumentations")
COLUMNS = {  # what is measured: title, format, unit
    "wall_s": ("whole process", "{:.0f}", " s"),
    "cpu_s": ("its processor time", "{:.0f}", " s"),
    "frozen_first_s": ("first frozen epoch", "{:.2f}", " s"),
    "frozen_later_s": ("later frozen epoch", "{:.2f}", " s"),
    "full_epoch_s": ("full epoch", "{:.1f}", " s"),
    "images_s": ("images/s, full", "{:.1f}", ""),
    "pss_mib": ("peak memory", "{:.0f}", " MiB"),
    "top1": ("test top-1", "{:.3f}", ""),
}
TARGETS = (  # column, peer, what the ratio to visiontasks' has to be: at least, or at most
    ("wall_s", "lightning", ">=", 3.0),
    ("wall_s", "fastai", ">=", 5.0),
    ("frozen_later_s", "lightning", ">=", 20.0),
    ("images_s", "raw", "<=", 1 / 0.9),
    ("pss_mib", "lightning", ">=", 1.0),
)
Row = dict[str, str]


def epochs_of_run(metrics_csv: Path, *, batch_size: int = BATCH_SIZE) -> list[Epoch]:
    """The epochs of a visiontasks run from its metrics.csv.

    Args:
        metrics_csv: The run's file, with columns step (counted over all epochs), seconds and val/top1.
        batch_size: Images in a step.
    """
    with metrics_csv.open() as file:
        rows = [row for row in csv.DictReader(file) if row["seconds"]]
    steps = [0, *(int(float(row["step"])) for row in rows)]
    return [
        Epoch(float(row["seconds"]), (step - before) * batch_size, float(row["val/top1"]))
        for row, before, step in zip(rows, steps, steps[1:], strict=False)
    ]


def measured(usage: Usage, epochs: Sequence[Epoch]) -> Row:
    """The measurements of a process, by column.

    Accuracy is that of the last epoch, so that no program chooses an epoch on the images it is measured on.

    Args:
        usage: Of the whole process.
        epochs: The frozen ones, then the others.
    """
    frozen, full = epochs[:FROZEN_EPOCHS], epochs[FROZEN_EPOCHS:]
    values = {
        "wall_s": usage.wall_s,
        "cpu_s": usage.cpu_s,
        "frozen_first_s": frozen[0].seconds,
        "frozen_later_s": median(epoch.seconds for epoch in frozen[1:]),
        "full_epoch_s": mean(epoch.seconds for epoch in full),  # of all: they may differ in their images' size
        "images_s": sum(epoch.images for epoch in full) / sum(epoch.seconds for epoch in full),
        "pss_mib": usage.pss_mib,
        "rss_mib": usage.rss_mib,
        "top1": epochs[-1].top1,
    }
    return {name: f"{value:.4f}" for name, value in values.items()} | {
        "epochs_s": " ".join(f"{epoch.seconds:.3f}" for epoch in epochs)
    }


def circumstances() -> Row:
    """Date, machine and versions."""
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    machine = {"date": date.today().isoformat(), "cpu": cpu_name(), "cores": str(os.cpu_count()), "load": load}
    machine["memory_gib"] = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f}"
    machine["threads"] = os.environ.get("OMP_NUM_THREADS", "default")
    return machine | {"python": python_version()} | {name: _version(name) for name in PACKAGES}


def cpu_name() -> str:
    """The processor's name as the system has it."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1].strip() if found else processor()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def append(path: Path, row: Row) -> None:
    """Add a row to a CSV file; what a process took is kept at once, whatever happens to the next.

    Raises:
        ValueError: If the file has other columns.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = read(path) if path.exists() else []
    if rows and list(rows[0]) != list(row):
        raise ValueError(f"{path} has the columns {', '.join(rows[0])}, expected {', '.join(row)}: give another --name")
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, row, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*rows, row])


def read(path: Path) -> list[Row]:
    """All rows of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def programs(rows: Iterable[Row]) -> list[str]:
    """The programs in the order in which they ran."""
    return list(dict.fromkeys(row["program"] for row in rows))


def medians(rows: Sequence[Row], column: str) -> dict[str, float]:
    """The median over the rounds, by program."""
    return {name: median(_by_round(rows, column, name).values()) for name in programs(rows)}


def ratios(rows: Sequence[Row], column: str) -> dict[str, float]:
    """Each program's value divided by visiontasks' of the same round: the median over the rounds both have.

    Rounds are compared with themselves because the load of a machine changes from one to the next. 0 of visiontasks
    gives inf.
    """
    ours = _by_round(rows, column, OURS)
    found: dict[str, float] = {}
    for name in programs(rows):
        values = _by_round(rows, column, name)
        pairs = [(values[turn], ours[turn]) for turn in values if turn in ours]
        if pairs:
            found[name] = median(value / own if own else float("inf") for value, own in pairs)
    return found


def _by_round(rows: Iterable[Row], column: str, program: str) -> dict[str, float]:
    return {row["round"]: float(row[column]) for row in rows if row["program"] == program}


def table(rows: Sequence[Row]) -> str:
    """The README's table: medians, and in brackets the ratio to visiontasks' in the same round."""
    titles = ["", *(title for title, _, _ in COLUMNS.values())]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for name in programs(rows):
        cells = [NAMES.get(name, name)]
        for column, (_, form, unit) in COLUMNS.items():
            cell = form.format(medians(rows, column)[name]) + unit
            if name != OURS and column != "top1" and name in ratios(rows, column):
                cell += f" ({ratios(rows, column)[name]:.2f} x)"
            cells.append(cell)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", footer(rows)])


def footer(rows: Sequence[Row]) -> str:
    """Of what and on what the table was measured."""
    first = rows[0]
    count = len({row["round"] for row in rows})
    overrides = "".join(f" visiontasks with {o};" for o in dict.fromkeys(row["overrides"] for row in rows) if o)
    versions = ", ".join(f"{name} {first[name]}" for name in ("python", *PACKAGES) if first.get(name))
    precisions = ", ".join(f"{name} {p}" for name, p in {row["program"]: row["precision"] for row in rows}.items())
    loads = sorted(float(row["load"]) for row in rows if row["load"])
    load = f"load average {loads[0]:.1f} to {loads[-1]:.1f} before each process, " if loads else ""
    return (
        f"Medians of {count} round(s) in turns; in brackets the ratio to visiontasks in the same round. "
        f"{first['data']}; {first['weights']};{overrides} {first['cpu']}, {first['cores']} cores, "
        f"{first['memory_gib']} GiB, {load}OMP_NUM_THREADS {first['threads']}; precision: {precisions}; {versions}; "
        f"{first['date']}."
    )


def targets(rows: Sequence[Row]) -> list[str]:
    """A line for each target of the speed work that the rows can tell of."""
    lines = []
    for column, peer, sign, wanted in TARGETS:
        ratio = ratios(rows, column).get(peer)
        if ratio is not None:
            met = ratio >= wanted if sign == ">=" else ratio <= wanted
            verdict = "met" if met else "missed"
            lines.append(f"{verdict}: {column} of {peer} is {ratio:.2f} x visiontasks', target {sign} {wanted:.2f}")
    accuracy = medians(rows, "top1")
    for peer in ("lightning", "fastai"):
        if {OURS, peer} <= accuracy.keys():
            points = 100 * (accuracy[OURS] - accuracy[peer])
            verdict = "met" if points >= -1 else "missed"
            lines.append(f"{verdict}: top-1 is {points:+.1f} points against {peer}, target >= -1")
    return lines
