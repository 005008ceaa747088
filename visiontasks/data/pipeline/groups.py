"""Which images belong together, such as the frames of a film, the pictures of a patient or the views of a place.

`data.init_args.groups` names what they have in common. No group is in two of the splits that are made here.
"""

import csv
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import numpy as np

from visiontasks.cores import available_cores
from visiontasks.data.pipeline.duplicates import LEAST_SIDE_PX, THUMBNAIL_PX, near_groups, thumbnail_and_hash
from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.reader import UInt8Array, read_image, taken_at
from visiontasks.data.pipeline.sources import Int64Array
from visiontasks.errors import InputError, MissingFileError

KEY = "data.init_args.groups"
FORMS = (
    "folder, near, time, time:MINUTES, TABLE.csv:COLUMN, or a pattern of file names with a group, such as '(.+)_\\d+'"
)
PAUSE_MINUTES = 10.0
"""Between two groups of `time`."""
FILE_COLUMNS = ("file", "path", "image", "filename", "file_name", "image_path", "image_id", "id")
"""What the column of files is called in a table, in any case; the first of these that is there."""

_TABLE = re.compile(r"(?P<file>.+\.(?:csv|tsv)):(?P<column>.+)", re.IGNORECASE)
_TIME = re.compile(r"time(?::(?P<minutes>\d+(?:\.\d+)?))?")
_READERS = 16


def check_groups(groups: str | None) -> str | None:
    """What `data.init_args.groups` names, checked before any file is read.

    Raises:
        InputError: If it has none of the forms.
    """
    if groups in (None, "folder", "near") or _TIME.fullmatch(groups) or _TABLE.fullmatch(groups):
        return groups
    try:
        has_group = re.compile(groups).groups > 0
    except re.error as error:
        raise InputError(f"{KEY}: {groups!r} is no pattern ({error}); expected {FORMS}") from error
    if not has_group:
        raise InputError(f"{KEY}: {groups!r}, expected {FORMS}")
    return groups


def group_names(groups: str, paths: Sequence[str], root: Path) -> list[str]:
    """The group of each image.

    - `folder`: the name of the folder that the file lies in.
    - `near`: near duplicates, also by way of others; named by the first file.
    - `time`, `time:MINUTES`: taken by the EXIF time with no longer pause between them; 10 minutes by default.
    - `TABLE.csv:COLUMN`: the cell of the image's row, which a column `file` finds by path from root on, or by name.
    - a pattern: what its groups match in the file's name, or in its path from root on if the pattern has a `/`.

    Args:
        groups: One of these.
        paths: The files, (n,).
        root: The dataset's folder.

    Raises:
        MissingFileError: If the table is missing.
        InputError: If images have no group, with their names, or the table has no such column.
    """
    below = [_below(path, root) for path in paths]
    if groups == "folder":
        return [Path(path).parent.name for path in paths]
    if groups == "near":
        return [below[first] for first in near_files(paths)]
    if found := _TIME.fullmatch(groups):
        return _by_time(paths, below, float(found["minutes"] or PAUSE_MINUTES))
    if found := _TABLE.fullmatch(groups):
        return _by_table(_table_path(found["file"], root), found["column"], below)
    return _by_pattern(groups, below)


def numbered(names: Sequence[Hashable]) -> Int64Array:
    """A number for each group, in the order in which they appear, (n,)."""
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int64)


def near_files(paths: Sequence[str]) -> Int64Array:
    """For each file the row of the first of its near duplicates, see `near_groups`, (n,); files are decoded."""
    return _near_files(tuple((path, *_stamp(path)) for path in paths))


@lru_cache(maxsize=8)  # a study opens the same files again for each of its trainings
def _near_files(stamps: tuple[tuple[str, int, int], ...]) -> Int64Array:
    with ThreadPoolExecutor(available_cores()) as pool:
        seen = list(pool.map(_recognized, (path for path, _, _ in stamps)))
    thumbnails = np.stack([thumbnail for thumbnail, _ in seen])
    return near_groups(np.array([number for _, number in seen], dtype=np.uint64), thumbnails)


def _stamp(path: str) -> tuple[int, int]:
    """Size and time of a file; zeros for a missing one, which is reported with all others."""
    try:
        status = Path(path).stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _recognized(path: str) -> tuple[UInt8Array, int]:
    """Thumbnail and hash; a hash of 0, which is not compared, for a small image and for one that cannot be read."""
    try:
        image = read_image(path)
    except InputError:  # reported with all others
        image = np.zeros((0, 0, 3), dtype=np.uint8)
    if min(image.shape[:2]) < LEAST_SIDE_PX:
        return np.zeros((THUMBNAIL_PX, THUMBNAIL_PX), dtype=np.uint8), 0
    return thumbnail_and_hash(image)


def _below(path: str, root: Path) -> str:
    return Path(path).relative_to(root).as_posix() if Path(path).is_relative_to(root) else Path(path).as_posix()


def _by_pattern(pattern: str, below: Sequence[str]) -> list[str]:
    whole = "/" in pattern
    matches = [re.search(pattern, path if whole else Path(path).name) for path in below]
    _refuse(
        [path for path, match in zip(below, matches, strict=True) if match is None or not any(match.groups())],
        len(below),
        f"pattern '{pattern}' matches nothing in the {'path' if whole else 'name'} of",
        "widen the pattern, or rename the files",
    )
    return [" ".join(part for part in match.groups() if part) for match in matches if match]


def _by_time(paths: Sequence[str], below: Sequence[str], minutes: float) -> list[str]:
    with ThreadPoolExecutor(_READERS) as pool:
        times = list(pool.map(_taken_at, paths))
    _refuse(
        [path for path, time in zip(below, times, strict=True) if time is None],
        len(below),
        "time, but no EXIF time (DateTimeOriginal) is in",
        "group by folder or by file names, or write a table",
    )
    known = np.array([time.timestamp() for time in times if time])
    order = np.argsort(known, kind="stable")
    begins = np.diff(known[order], prepend=-np.inf) > 60 * minutes
    first = np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
    of_row = np.empty(len(order), dtype=np.int64)
    of_row[order] = order[first]
    return [f"{times[row]:%Y-%m-%d %H:%M:%S}" for row in of_row.tolist()]


def _taken_at(path: str) -> datetime | None:
    try:
        return taken_at(path)
    except InputError:  # reported with all others
        return None


def _table_path(file: str, root: Path) -> Path:
    path = next((each for each in (Path(file), root / file) if each.is_file()), None)
    if path is None:
        raise MissingFileError(f"{KEY}: no file {file}, here or in {root}/")
    return path


def _by_table(table: Path, column: str, below: Sequence[str]) -> list[str]:
    rows = _read_table(table)
    header = [cell.strip() for cell in rows[0]] if rows else []
    plain = [name.casefold() for name in header]
    files = next((plain.index(name) for name in FILE_COLUMNS if name in plain), None)
    if column not in header or files is None:
        wanted = column if column not in header else f"of files ({', '.join(FILE_COLUMNS)})"
        raise InputError(f"{KEY}: {table} has no column {wanted}, only {listed(header) or 'nothing'}")
    at = header.index(column)
    cells: dict[str, set[str]] = {}
    for row in rows[1:]:
        if len(row) > max(files, at) and row[at].strip():
            cells.setdefault(Path(row[files].strip()).as_posix(), set()).add(row[at].strip())
    found = [_cells(cells, path) for path in below]
    where = f"{table}:{column}"
    _refuse(
        [path for path, values in zip(below, found, strict=True) if not values],
        len(below),
        f"{where} has no cell for",
        "add rows, with paths from the data's root on or file names",
    )
    _refuse(
        [path for path, values in zip(below, found, strict=True) if len(values) > 1],
        len(below),
        f"{where} has several cells for",
        "write paths from the data's root on, and each file once",
    )
    return [next(iter(values)) for values in found]


def _cells(cells: Mapping[str, set[str]], path: str) -> set[str]:
    """What a table has for a file, by its path, name, or name without suffix."""
    file = Path(path)
    return next((cells[name] for name in (path, file.name, file.stem) if name in cells), set())


def _read_table(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        delimiter = max(",;\t", key=text.partition("\n")[0].count)
        return [row for row in csv.reader(text.splitlines(), delimiter=delimiter) if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{KEY}: {path} is not a CSV table ({error})") from error


def _refuse(files: Sequence[str], total: int, what: str, fix: str) -> None:
    if files:
        raise InputError(f"{KEY}: {what} {len(files)} of {total} images: {listed(list(files))}; {fix}")


def groups_across(splits: Mapping[str, Iterable[str]]) -> dict[str, dict[str, int]]:
    """Groups that stand in several splits: how many images of each are where.

    Args:
        splits: The group of each image of a split.
    """
    counts = {split: Counter(names) for split, names in splits.items()}
    every = dict.fromkeys(name for count in counts.values() for name in count)
    places = {name: {split: count[name] for split, count in counts.items() if name in count} for name in every}
    return {name: where for name, where in places.items() if len(where) > 1}
