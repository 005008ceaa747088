"""A training has as many threads as cores are free, and the same number when it goes on."""

import os
from collections.abc import Iterator

import pytest
import torch

from visiontasks.training import threads
from visiontasks.training.threads import NAME, choose_threads, restore_threads


@pytest.fixture(autouse=True)
def _two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Of 2 cores, one of which other programs use."""
    for name in (NAME, *threads.RANKS):
        monkeypatch.setenv(name, "")  # so that it is as before afterwards
        monkeypatch.delenv(name)
    monkeypatch.setattr(threads, "available_cores", lambda: 2)
    monkeypatch.setattr(threads, "busy_cores", lambda: 0.96)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_beside_a_busy_program_a_training_has_a_thread_less_and_says_so() -> None:
    assert choose_threads() == (
        "other programs use 1.0 of 2 cores, so this training has 1 thread; OMP_NUM_THREADS=2 uses all, and rounds the "
        "last digits otherwise"
    )
    assert torch.get_num_threads() == 1
    assert os.environ[NAME] == "1"


@pytest.mark.parametrize("busy", [None, 0.1])
def test_alone_or_where_it_is_unknown_nothing_changes(busy: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "busy_cores", lambda: busy)
    assert choose_threads() == ""
    assert torch.get_num_threads() == 2
    assert NAME not in os.environ


@pytest.mark.parametrize("name", [NAME, *threads.RANKS])
def test_the_number_of_the_environment_and_of_other_ranks_is_kept(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert choose_threads() == ""
    assert torch.get_num_threads() == 2


def test_with_an_accelerator_the_load_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert choose_threads() == ""


def test_a_resumed_training_has_the_threads_that_it_began_with(monkeypatch: pytest.MonkeyPatch) -> None:
    assert restore_threads(None) == restore_threads(2) == ""
    assert torch.get_num_threads() == 2
    assert restore_threads(1) == ""
    assert (torch.get_num_threads(), os.environ[NAME]) == (1, "1")
    assert restore_threads(2) == (
        "the run began with 2 threads, this has 1 (OMP_NUM_THREADS): the last digits may differ"
    )
    assert torch.get_num_threads() == 1
