"""Cores are those of affinity and container."""

import os
from pathlib import Path

import pytest

from visiontasks.cores import available_cores, prepare_threads

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
