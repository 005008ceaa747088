"""The command `cache`: lists and removes what trainings have cached. Imports nothing heavy."""

import argparse
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from visiontasks.caches import FOLDER, folder_size, hub_folder
from visiontasks.commands.early import age_s
from visiontasks.commands.printing import PIPE_WIDTH, terminal_width
from visiontasks.commands.tables import table
from visiontasks.errors import printable
from visiontasks.finetuning.feature_folders import (
    FeatureFolder,
    features_folder,
    list_folders,
    locked,
    remove_folder,
)
from visiontasks.units import counted, in_units

LAYOUTS = (
    ("features", "size", "last_used", "state", "recipe", "backbone", "data", "root"),
    ("features", "size", "last_used", "state", "recipe", "backbone", "data"),
    ("features", "size", "last_used", "state", "recipe", "data"),
    ("features", "size", "last_used", "state"),
)
SHOWN = 8
"""Digits of a fingerprint."""


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """List the cache, or remove what no training uses."""
    least_s = age_s(arguments) or 0.0
    folders = [folder for folder in list_folders() if time.time() - folder.used >= least_s]
    print(printable_lines(_removed(folders) if arguments.clear else _listed(folders)))


def printable_lines(lines: Sequence[str]) -> str:
    """Lines with the control characters escaped that names of folders may hold."""
    return "\n".join(map(printable, lines))


def _listed(folders: Sequence[FeatureFolder]) -> list[str]:
    width = terminal_width()
    rows = table([_cells(folder) for folder in folders], LAYOUTS, width, right=["size"])
    if width >= PIPE_WIDTH:
        return rows
    total = sum(folder.size for folder in folders)
    where = f"{features_folder()} ({FOLDER} names another folder)"
    notes = [
        f"{in_units(total, 'B')} in {where}",
        "visiontasks cache --clear removes them; the next training computes them again",
    ]
    weights = sum(folder_size(folder / "blobs") for folder in hub_folder().glob("models--timm--*"))
    shared = [
        f"pretrained weights: {in_units(weights, 'B')} in {hub_folder()}, shared with other programs: hf cache rm"
    ]
    found = [*rows, "", *notes] if folders else [f"no cached features in {where}"]
    return [*found, *(shared if weights else [])]


def _cells(folder: FeatureFolder) -> Mapping[str, str]:
    about = folder.about
    return {
        "features": folder.path.name[:SHOWN],
        "size": in_units(folder.size, "B").replace(" ", ""),
        "last_used": f"{datetime.fromtimestamp(folder.used):%Y-%m-%dT%H:%M}",
        "state": "in_use" if folder.is_in_use else "free",
        "recipe": Path(about["run"]).parent.name if "run" in about else "",
        **{name: about.get(name, "") for name in ("backbone", "data", "root")},
    }


def _removed(folders: Sequence[FeatureFolder]) -> list[str]:
    """Remove folders; what a training uses stays."""
    if not folders:
        return [f"nothing to remove in {features_folder()}"]
    with locked(features_folder()):
        removed = {folder.path: remove_folder(folder.path) for folder in folders}
    left = [path for path in removed if path.exists()]
    folders_of = f"{counted(len(removed) - len(left), 'folder')} of {features_folder()}"
    lines = [f"removed {in_units(sum(removed.values()), 'B')} in {folders_of}"]
    return [*lines, *(f"a training uses {path.name[:SHOWN]}: not removed" for path in left)]
