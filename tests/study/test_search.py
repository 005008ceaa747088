"""What a search varies."""

import pytest

from visiontasks.errors import InputError
from visiontasks.study.search import FAILED, FINISHED, STOPPED_EARLY, Trial, Varied, best_trial, parse_varied


def test_a_range_is_searched_by_its_logarithm_from_a_ratio_of_ten_on() -> None:
    assert parse_varied("model.optimizer.lr=1e-4..1e-1") == Varied("model.optimizer.lr", 1e-4, 1e-1)
    assert parse_varied("model.optimizer.lr=1e-4..1e-1").is_log
    assert not parse_varied("model.head.dropout=0..0.5").is_log
    assert not parse_varied("model.head.dropout=0.2..0.5").is_log


def test_whole_ends_make_whole_numbers_and_commas_choices() -> None:
    assert parse_varied("--finetune.freeze_epochs=1..5") == Varied("finetune.freeze_epochs", 1, 5, is_whole=True)
    assert parse_varied("data.batch_size = 16, 32").choices == ("16", "32")
    assert parse_varied("data.batch_size=16,32").name == "batch_size"


@pytest.mark.parametrize(
    "text", ["lr", "lr=1..2", "model.lr=", "model.lr=1", "model.lr=1,1", "model.lr=2..1", "model.lr=a..b", "a.b=0..inf"]
)
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"--vary .*expected"):
        parse_varied(text)


def test_the_best_is_of_the_trials_that_finished() -> None:
    trials = [
        Trial(1, {}, 0.8, FINISHED),
        Trial(2, {}, 0.9, STOPPED_EARLY),
        Trial(3, {}, None, FAILED),
        Trial(4, {}, 0.7, FINISHED),
        Trial(5, {}, 0.8, FINISHED),
    ]
    assert best_trial(trials, lower_is_better=False) is trials[0]
    assert best_trial(trials, lower_is_better=True) is trials[3]
    assert best_trial(trials[1:3], lower_is_better=True) is None
