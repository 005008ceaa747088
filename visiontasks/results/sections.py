"""What the task shows of a measured split in the report, report_<split>.json: written whole and read again."""

import json
from collections.abc import Sequence
from pathlib import Path

from visiontasks.errors import InputError
from visiontasks.runs.checkpoint import write_text
from visiontasks.tasks.report_sections import ReportSection


def sections_name(split: str, other_data: str = "") -> str:
    """The file's name; `other_data` names data other than the run's own, "_<folder>"."""
    return f"report_{split}{other_data}.json"


def write_sections(path: Path, sections: Sequence[ReportSection]) -> None:
    """Write sections, or remove those of an earlier measurement where there are none."""
    if sections:
        write_text(path, json.dumps([each.to_json() for each in sections], allow_nan=False) + "\n")
    else:
        path.unlink(missing_ok=True)


def read_sections(path: Path) -> list[ReportSection]:
    """Read what `write_sections` wrote; nothing without the file.

    Raises:
        InputError: If it has something else.
    """
    if not path.is_file():
        return []
    try:
        return [ReportSection.from_json(entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path} does not hold sections of a report ({error}): visiontasks evaluate {path.parent} writes it again"
        ) from error
