"""report_<split>.json: the task's sections written and read again, and what a damaged file is answered with."""

from pathlib import Path

import pytest

from visiontasks.errors import InputError
from visiontasks.results.sections import read_sections, sections_name, write_sections
from visiontasks.tasks.report_sections import CountMatrix, ReportSection, ShareCurves, StackedHistogram, ValueTable

SECTIONS = [
    ReportSection("Curves", "How.", [ShareCurves("a", "x", "y", {"cat": [[0.0, 1.0], [0.5, 0.25]]})]),
    ReportSection(
        "Counts",
        "What.",
        [
            StackedHistogram("b", "px", [1, 2, 4], {"found": [1, 0], "missed": [0, 2]}),
            CountMatrix(["cat", "none"], ["cat", "nothing"], [[1, 2], [3, 0]]),
            ValueTable(["class", "AP"], [["cat", None], ["dog", 0.5]], bar=1),
        ],
    ),
]


def test_sections_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / sections_name("test")
    assert path.name == "report_test.json"
    write_sections(path, SECTIONS)
    assert read_sections(path) == SECTIONS


def test_without_sections_those_of_an_earlier_measurement_go(tmp_path: Path) -> None:
    path = tmp_path / sections_name("val", "_street")
    write_sections(path, SECTIONS)
    write_sections(path, [])
    assert not path.exists()
    assert read_sections(path) == []


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[1]",
        "{}x",
        '[{"title": "a"}]',
        '[{"title": "a", "text": "b", "parts": [{"kind": "Pie"}]}]',
        '[{"title": "a", "text": "b", "parts": [{"kind": "CountMatrix", "rows": []}]}]',
    ],
)
def test_a_damaged_file_is_named_with_the_command_that_writes_it_again(content: str, tmp_path: Path) -> None:
    path = tmp_path / "report_test.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"report_test.json does not hold sections of a report") as caught:
        read_sections(path)
    assert f"visiontasks evaluate {tmp_path} writes it again" in str(caught.value)
