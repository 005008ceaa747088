"""What a command sets for the machine, and that an import sets nothing."""

import errno
import gc
import os
import subprocess
import sys
from pathlib import Path
from platform import libc_ver
from types import SimpleNamespace
from typing import Any

import pytest

from visiontasks.training import machine

# Whether a freed block of 256 MB stays in the process: resident pages before, with it, and after.
RESIDENT = """
import ctypes
def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
before = resident_mb()
block = libc.malloc(256 * 2**20)
ctypes.memset(block, 1, 256 * 2**20)
libc.free(block)
print(resident_mb() - before > 200)
"""
only_glibc = pytest.mark.skipif(libc_ver()[0] != "glibc", reason="another allocator")


@pytest.fixture
def libc(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Calls of mallopt, which does nothing here, in a process that has set nothing up."""
    calls: list[tuple[int, int]] = []

    def mallopt(key: int, value: int) -> int:
        calls.append((key, value))
        return 1

    for name in (*machine.OWN_CHOICE, "GLIBC_TUNABLES", "LD_PRELOAD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(machine, "_keeps_memory", False)
    monkeypatch.setattr(machine, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=mallopt))
    return calls


def keeps_freed(first: str, **environment: str) -> bool:
    """Whether a fresh process keeps what it frees after some statements."""
    allowed = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", first + RESIDENT], env=allowed | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip() == "True"


@only_glibc
def test_a_command_keeps_freed_memory_and_an_import_does_not() -> None:
    assert not keeps_freed("import visiontasks, visiontasks.training.machine, visiontasks.commands.main")
    assert keeps_freed("from visiontasks.training.machine import keep_freed_memory; keep_freed_memory()")


def test_memory_is_never_mapped_nor_trimmed(libc: list[tuple[int, int]]) -> None:
    assert machine.allocator() == "default allocator"
    assert machine.keep_freed_memory()
    assert libc == [(-4, 0), (-1, -1)]  # M_MMAP_MAX, M_TRIM_THRESHOLD of malloc.h
    assert machine.allocator() == "allocator keeps memory"


def test_it_is_set_once(libc: list[tuple[int, int]]) -> None:
    assert machine.keep_freed_memory()
    assert machine.keep_freed_memory()
    assert len(libc) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MALLOC_TRIM_THRESHOLD_", "131072"),
        ("MALLOC_MMAP_MAX_", "65536"),
        ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"),
        ("LD_PRELOAD", "/usr/lib/libjemalloc.so.2"),
        ("LD_PRELOAD", "/usr/lib/libtcmalloc.so"),
        ("LD_PRELOAD", "/usr/lib/libmimalloc.so"),
    ],
)
def test_what_the_user_has_chosen_stays(
    libc: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert not machine.keep_freed_memory()
    assert libc == []


@pytest.mark.parametrize("system", ["", "musl"])
def test_another_system_is_left_alone(
    libc: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    monkeypatch.setattr(machine, "libc_ver", lambda: (system, ""))
    assert not machine.keep_freed_memory()
    assert libc == []


def test_a_refusal_is_not_called_success(libc: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=lambda *_: 0))
    assert not machine.keep_freed_memory()
    assert machine.allocator() == "default allocator"


@pytest.mark.parametrize("command", ["finetune nothing_like_it", "evaluate nowhere", "recipes"])
def test_a_command_that_does_not_come_to_torch_sets_nothing(
    libc: list[tuple[int, int]], capsys: pytest.CaptureFixture[str], command: str
) -> None:
    from visiontasks.commands.main import main

    main(command.split())
    assert libc == []


def test_finetune_sets_it_before_the_training(libc: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    from visiontasks.commands import finetune as run
    from visiontasks.commands.main import main

    def finetune(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "finetune", finetune)
    assert main(["finetune", "digits_lenet"]) == 130
    assert len(libc) == 2


def printed(program: str) -> tuple[str, int]:
    """What a fresh process prints, and its exit status."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout, done.returncode


def test_a_command_leaves_with_its_status_when_all_is_written_and_what_waits_for_the_exit_is_done() -> None:
    program = """
import atexit
from visiontasks.training.machine import leave
class Held:
    def __del__(self):
        print("destroyed")
held = Held()
atexit.register(print, "registered")
print("output", end=" ")
leave(3)
"""
    assert printed(program) == ("output registered\n", 3)


def test_a_thread_that_has_to_be_waited_for_is() -> None:
    program = """
import threading, time
from visiontasks.training.machine import leave
def work():
    time.sleep(0.1)
    print("worked")
threading.Thread(target=work).start()
leave(3)
"""
    assert printed(program) == ("worked\n", 3)


def test_no_garbage_is_collected_while_a_command_imports_and_then_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from visiontasks import __main__ as command
    from visiontasks.commands import finetune as run

    calls = []

    def finetune(*_: Any, **__: Any) -> Any:
        calls.append(gc.isenabled())
        raise KeyboardInterrupt

    def load(*_: Any) -> None:
        calls.append(gc.isenabled())

    monkeypatch.setattr(run, "finetune", finetune)
    monkeypatch.setattr("visiontasks.commands.early.check_downloads", load)
    monkeypatch.setattr(command, "leave", lambda status: calls.append(status))
    monkeypatch.setattr("sys.argv", ["visiontasks", "finetune", "digits_lenet"])
    command.run()
    assert calls == [False, True, 130]


CLOSED = """
import os, sys
os.close(1)
sys.stdout = None
from visiontasks.training.machine import open_streams
open_streams()
print("nowhere")
sys.stdout.flush()
with open(sys.argv[1], "w") as file:
    assert file.fileno() > 2
"""


def test_a_file_does_not_take_the_place_of_an_output_that_is_closed(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", CLOSED, str(tmp_path / "file")], check=True)
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("can't start new thread"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        RuntimeError("Unable to allocate 3 GiB for an array"),
    ],
)
def test_a_process_without_memory_is_recognized_also_as_the_cause_of_another_error(error: Exception) -> None:
    assert machine.is_out_of_memory(error)
    outer = ValueError("the loader failed")
    outer.__cause__ = error
    assert machine.is_out_of_memory(outer)


@pytest.mark.parametrize("error", [None, RuntimeError("shapes"), OSError(errno.EIO, "I/O error"), ImportError("no x")])
def test_other_errors_are_not_out_of_memory(error: Exception | None) -> None:
    assert not machine.is_out_of_memory(error)


def test_the_message_names_the_limit_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_address_space", lambda: 2_000_000_000)
    message = machine.out_of_memory(RuntimeError("std::bad_alloc\nmore"))
    assert message.startswith(
        "out of memory (std::bad_alloc): raise the limit of 2 GB of addresses (ulimit -v), or make"
    )
    monkeypatch.setattr(machine, "_address_space", lambda: None)
    assert machine.out_of_memory(MemoryError()).startswith("out of memory (MemoryError): end other programs, or make")


def test_a_process_that_goes_on_gets_the_defaults_back(
    libc: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    trimmed: list[int] = []
    system = machine.ctypes.CDLL(None)
    system.malloc_trim = trimmed.append
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: system)
    with machine.kept_memory():
        assert machine.allocator() == "allocator keeps memory"
    assert libc[2:] == [(machine.M_MMAP_MAX, 65536), (machine.M_TRIM_THRESHOLD, 131072)]
    assert trimmed == [0]
    assert machine.allocator() == "default allocator"


def test_what_a_command_set_stays_after_a_training_within_it(libc: list[tuple[int, int]]) -> None:
    machine.keep_freed_memory()
    with machine.kept_memory():
        pass
    assert len(libc) == 2
    assert machine.allocator() == "allocator keeps memory"
