"""Counts the tests of what is refused, and of what must not matter, as rows of docs/reliability.md.

    python bench/refusals.py

Runs the test files, and puts each test into the first row one of whose words its name has; a test in no row is an
error, so that the table cannot lose any. Exit status 1 if a test fails. A test with parameters is as many cases.
"""

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
FILES = (
    "tests/test_security.py",
    "tests/test_wrong_inputs.py",
    "tests/data/test_workers.py",
    "tests/test_divergence.py",
)
KEPT = "training since the last save"
ROWS = (  # what it is, words of which a test's name has one, what was lost
    ("a loss or weight that is no number", ("no_number", "mean_loss"), KEPT),
    (
        "other numbers of workers, persistent or new",
        ("workers", "augmented_anew", "another_seed"),
        "nothing: equal batches",
    ),
    ("an altered or unverified download", ("altered", "verified"), "nothing"),
    ("a malicious pickle as weights, run or init_from", ("pickle",), "nothing"),
    (
        "weights that lie about their size, or name other sources",
        ("safetensors", "weight_folder"),
        "nothing",
    ),
    (
        "XML entities, paths or archives that leave their folder",
        ("entities", "leave_the_root", "below_the_root", "names_only", "archive"),
        "nothing",
    ),
    ("names that act on a terminal", ("terminal", "markup"), "nothing"),
    (
        "YAML tags, aliases of aliases, environment, other files",
        ("tags", "aliases", "environment", "another_recipe", "section"),
        "nothing",
    ),
    ("a recipe names a function or a class of a foreign kind", ("kinds_that", "users_own"), "nothing"),
    (
        "wrong keys, types, ranges, names, files, weights, contradictions",
        ("wrong_input", "cannot_start", "missing_weights"),
        "nothing",
    ),
    ("folders that cannot be written, full disks", ("folder", "disk", "grow", "file_system"), KEPT),
)


def row_of(test: str) -> str:
    """The row that a test belongs to.

    Raises:
        ValueError: If it belongs to none.
    """
    name = test.partition("[")[0]
    for title, words, _ in ROWS:
        if any(word in name for word in words):
            return title
    raise ValueError(f"{name} is in no row of {Path(__file__).name}: add a word of its name to one")


def table(cases: Iterable[tuple[str, bool]]) -> str:
    """The rows, from the tests' names and whether they passed."""
    tried: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    for test, is_passed in cases:
        tried[row_of(test)] += 1
        passed[row_of(test)] += is_passed
    lines = ["| fault | cases | refused or harmless | what was lost |", "|---|---|---|---|"]
    lines += [f"| {title} | {tried[title]} | {passed[title]} | {lost} |" for title, _, lost in ROWS]
    return "\n".join(lines)


def run() -> int:
    """Run the tests and print the table."""
    with tempfile.TemporaryDirectory(prefix="visiontasks-") as scratch:
        report = Path(scratch) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "not soak and not gpu", f"--junit-xml={report}", *FILES]
        status = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False).returncode
        found = ElementTree.parse(report).iter("testcase")
        cases = [
            (str(case.get("name")), case.find("failure") is None and case.find("error") is None)
            for case in found
            if case.find("skipped") is None
        ]
    print(table(cases))
    return int(status != 0)


if __name__ == "__main__":
    sys.exit(run())
