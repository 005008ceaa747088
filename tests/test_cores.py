"""Cores are those of affinity and container."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from visiontasks.cores import available_cores, busy_cores, free_threads, prepare_threads

V2 = {"proc/self/cgroup": "0::/user.slice/app.scope\n"}
V1 = {"proc/self/cgroup": "12:cpuset:/\n4:cpu,cpuacct:/docker/f00\n1:name=systemd:/\n"}


@pytest.fixture(autouse=True)
def _on_64_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 64),  # no control groups, as on other systems
        (V2 | {"sys/fs/cgroup/user.slice/app.scope/cpu.max": "max 100000\n"}, 64),
        (V2 | {"sys/fs/cgroup/user.slice/app.scope/cpu.max": "200000 100000\n"}, 2),
        (V2 | {"sys/fs/cgroup/user.slice/cpu.max": "150000 100000\n"}, 2),  # of the group around it; 1.5 cores
        (V2 | {"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),  # inside of a container
        (V2 | {"sys/fs/cgroup/cpu.max": "9000000 100000\n"}, 64),
        (V2 | {"sys/fs/cgroup/cpu.max": "nonsense"}, 64),
        (V1 | {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 64),
        (V1 | {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 4),
    ],
)
def test_cores_are_limited_by_the_quota_of_a_container(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    assert available_cores(write(tmp_path, files)) == cores


def test_a_quota_of_2_on_64_cores_starts_2_threads(tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    prepare_threads(environment, write(tmp_path, V2 | {"sys/fs/cgroup/cpu.max": "200000 100000\n"}))
    assert environment == {"OMP_NUM_THREADS": "2"}


def test_without_a_quota_the_number_of_threads_stays_that_of_the_libraries(tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    prepare_threads(environment, tmp_path)
    assert environment == {}


def test_what_the_environment_sets_is_kept(tmp_path: Path) -> None:
    environment = {"OMP_NUM_THREADS": "7"}
    prepare_threads(environment, write(tmp_path, V2 | {"sys/fs/cgroup/cpu.max": "200000 100000\n"}))
    assert environment == {"OMP_NUM_THREADS": "7"}


# user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice, in hundredths of a second
STAT = """cpu  0 0 0 0 0 0 0 0 0 0
cpu0 {0} 0 50 9999 777 0 10 0 55 0
cpu1 0 {1} 0 9999 0 0 0 5 0 0
cpu2 {2} 0 0 0 0 0 0 0 0 0
intr 1
"""


def test_busy_cores_are_those_that_other_programs_used_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, own = [100.0], [3.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(os, "times", lambda: SimpleNamespace(user=own[0], system=1.0))
    monkeypatch.setattr(os, "sysconf", lambda _: 100)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    prepare_threads({}, write(tmp_path, {"proc/stat": STAT.format(1000, 2000, 0)}))
    clock[0] += 0.5
    assert busy_cores(tmp_path) is None  # too short
    clock[0], own[0] = 104.0, 6.0
    write(tmp_path, {"proc/stat": STAT.format(1300, 2400, 999)})  # 3 and 4 s in 4 s, of which 3 s are ours
    assert busy_cores(tmp_path) == 1.0
    own[0] = 99.0  # it is counted a tick later
    assert busy_cores(tmp_path) == 0.0
    assert busy_cores(tmp_path / "elsewhere") is None
    prepare_threads({}, tmp_path / "elsewhere")
    assert busy_cores(tmp_path) is None


@pytest.mark.parametrize(
    ("busy", "cores", "threads"),
    [(0.0, 2, 2), (0.4, 2, 2), (0.5, 2, 1), (1.0, 2, 1), (15.0, 2, 1), (1.0, 16, 15), (0.0, 1, 1), (3.2, 4, 1)],
)
def test_a_core_that_others_use_gets_no_thread(busy: float, cores: int, threads: int) -> None:
    assert free_threads(busy, cores) == threads
