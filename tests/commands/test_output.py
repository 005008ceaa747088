"""How a command ends where nobody reads what it prints, or the machine has no more memory: one line at most."""

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from visiontasks.commands.main import main
from visiontasks.commands.printing import print_comparison
from visiontasks.results.compare import Comparison

MODULE = [sys.executable, "-m", "visiontasks"]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """`command(error)`: `visiontasks recipes` raises it."""

    def replace(error: Exception) -> None:
        def fail(*_: Any) -> None:
            raise error

        monkeypatch.setattr("visiontasks.commands.recipes.run", fail)

    return replace


def test_an_output_that_nobody_reads_ends_a_command_as_sigpipe_does(
    command: Callable[[Exception], None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    assert main(["recipes"]) == 141
    assert capsys.readouterr().err == ""


# argparse passes over a failed write of its help
@pytest.mark.parametrize(("arguments", "status"), [(["recipes"], 141), (["--help"], 0), (["summary", "lenet5"], 141)])
def test_a_pipe_whose_reader_is_gone_gives_no_traceback(arguments: list[str], status: int, tmp_path: Path) -> None:
    with subprocess.Popen(
        [*MODULE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # before anything is written
        printed = process.stderr.read()
    assert (process.returncode, printed) == (status, b"")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-"])
def test_closed_streams_give_no_traceback(closed: str, tmp_path: Path) -> None:
    result = subprocess.run(
        f'"{sys.executable}" -m visiontasks recipes {closed}', shell=True, capture_output=True, check=True, cwd=tmp_path
    )
    assert result.stderr == b""


def test_a_table_that_nobody_reads_raises_the_error_of_the_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        encoding = "utf-8"

        def write(self, text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

        def flush(self) -> None:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr(sys, "stdout", Broken())
    with pytest.raises(BrokenPipeError):
        print_comparison(Comparison({"A": Path("a")}, [], [], [], [], []))


@pytest.mark.parametrize("error", [MemoryError(), ImportError("x.so: failed to map segment from shared object")])
def test_no_more_memory_is_one_line(
    error: Exception, command: Callable[[Exception], None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(error)
    assert main(["recipes"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: out of memory (")
    assert printed.count("\n") == 1


def test_a_fault_of_the_program_keeps_its_traceback(command: Callable[[Exception], None]) -> None:
    command(RuntimeError("a fault"))
    with pytest.raises(RuntimeError, match="a fault"):
        main(["recipes"])
