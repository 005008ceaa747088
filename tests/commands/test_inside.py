"""Work inside of a process leaves it as it was, and messages name keywords."""

import logging
import os
import random
import warnings

import numpy as np
import pytest
import torch

from visiontasks.commands.inside import in_python, inside_python, python_words
from visiontasks.errors import InputError, MissingFileError


def random_numbers() -> tuple[float, ...]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002


def seed() -> None:
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)


def disturb() -> None:
    """What a training does, which ends in an error."""
    random_numbers()
    torch.manual_seed(9)
    os.environ.update(PL_GLOBAL_SEED="9", PL_SEED_WORKERS="1")
    warnings.warn("the loader does not have many workers", stacklevel=1)  # which a command does not show
    assert logging.getLogger("lightning.pytorch").level == logging.WARNING
    raise KeyError


def test_random_states_warnings_and_logs_are_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    monkeypatch.setenv("PL_SEED_WORKERS", "0")
    logger = logging.getLogger("lightning.pytorch")
    monkeypatch.setattr(logger, "level", logging.INFO)
    seed()
    expected = random_numbers()
    seed()
    filters = list(warnings.filters)
    with pytest.raises(KeyError), inside_python():
        disturb()
    assert random_numbers() == expected
    assert warnings.filters == filters
    assert logger.level == logging.INFO
    assert "PL_GLOBAL_SEED" not in os.environ
    assert os.environ["PL_SEED_WORKERS"] == "0"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("did you mean --batch-size or --lr?", "did you mean batch_size or lr?"),
        ("take --backbone a.b1 --image-size 32 (shipped)", 'take backbone="a.b1" image_size=32 (shipped)'),
        ("--lr 0.1: wrong", 'lr="0.1": wrong'),
        ("set --trainer.devices to 2, or --init_from", "set trainer.devices to 2, or init_from"),
        ("run visiontasks check-data x --json y, or --epochs", "run visiontasks check-data x --json y, or epochs"),
        ("`visiontasks predict RUN --out a.csv` and --out", "`visiontasks predict RUN --out a.csv` and out"),
        ("to go on:\nvisiontasks finetune r --resume r", "to go on:\nvisiontasks finetune r --resume r"),
        ("a -- b, x--y, ulimit -v", "a -- b, x--y, ulimit -v"),
    ],
)
def test_options_in_messages_are_keywords_but_for_commands(message: str, expected: str) -> None:
    assert in_python(message) == expected


def test_errors_keep_their_type_and_name_keywords() -> None:
    with pytest.raises(MissingFileError, match="^no x: data.root and batch_size, or device$"), python_words():
        raise MissingFileError("no x: data.init_args.root and data.init_args.batch_size, or --device")
    with pytest.raises(InputError, match="^a$"), python_words():
        raise InputError("a")
