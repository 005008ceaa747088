"""What is learned from validation images about probabilities: chosen once, stored, and measured by hand elsewhere."""

import math
from math import log

import pytest
import torch

from visiontasks.errors import InputError
from visiontasks.tasks.calibration import Calibration, calibration_section


def plain(*probability: float) -> Calibration:
    return Calibration(1.0, torch.tensor(probability))


def test_the_limit_of_a_set_is_the_probability_that_the_promised_share_reaches() -> None:
    """Of 9 images a coverage of 0.8 needs ceil(10 * 0.8) = 8, whose 8th largest probability is the 2nd smallest."""
    known = plain(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    assert known.least_probability(0.8) == pytest.approx(0.2)
    assert known.least_probability(0.9) == pytest.approx(0.1)
    with pytest.raises(InputError, match=r"0\.95 needs at least 19 validation images, the run has 9"):
        known.least_probability(0.95)


def test_what_is_fitted_comes_back_from_json() -> None:
    logits = torch.tensor([[2.0, 0.0]]).expand(8, 2)
    known = Calibration.fit(logits, torch.tensor([0, 0, 0, 1] * 2))
    assert known is not None
    assert known.n == 8
    again = Calibration.from_json(known.to_json())
    assert again.temperature == known.temperature
    assert torch.equal(again.probability, known.probability)
    assert known.probability.tolist() == sorted(known.probability.tolist())


def test_images_without_a_finite_output_are_left_out() -> None:
    logits = torch.tensor([[1.0, 0.0], [math.nan, 0.0]])
    known = Calibration.fit(logits, torch.tensor([0, 1]))
    assert known is not None
    assert known.n == 1
    assert Calibration.fit(logits[1:], torch.tensor([1])) is None


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"temperature": 1.0},
        {"temperature": "warm", "true_class_probability": [1.0]},
        {"temperature": -1, "true_class_probability": []},
    ],
)
def test_a_damaged_entry_is_one_message(entry: dict[str, object]) -> None:
    with pytest.raises(InputError, match="stored calibration"):
        Calibration.from_json(entry)


def test_calibration_error_log_loss_and_sets_are_those_by_hand() -> None:
    """Four images with 0.75 and 0.25, three of them right: perfectly calibrated at T = 1, and too sure at T = 1/2.

    At T = 1/2 the probabilities are 9 / 10 and 1 / 10. The limit 0.2 lets both classes in at T = 1 and one at T = 1/2.
    """
    logits, label = torch.tensor([[0.75, 0.25]]).log().expand(4, 2), torch.tensor([0, 0, 0, 1])
    known = Calibration(0.5, torch.linspace(0.2, 0.9, 9))
    found = known.measured(logits, label, "test")
    assert (found["n"], found["fitted_on"], found["temperature"]) == (4, 9, 0.5)
    assert found["before"]["ece"] == pytest.approx(0, abs=1e-7)
    assert found["after"]["ece"] == pytest.approx(0.9 - 0.75, abs=1e-6)
    assert found["before"]["log_loss"] == pytest.approx(-(3 * log(0.75) + log(0.25)) / 4)
    assert found["after"]["log_loss"] == pytest.approx(-(3 * log(0.9) + log(0.1)) / 4)
    (sets,) = found["sets"]  # 9 images suffice for 0.9 alone
    assert (sets["promised"], sets["count"], sets["n"], sets["value"], sets["mean_size"]) == (0.9, 3, 4, 0.75, 1)
    wide = Calibration(1.0, torch.linspace(0.2, 0.9, 9)).measured(logits, label, "test")["sets"][0]
    assert (wide["count"], wide["mean_size"]) == (4, 2)


def test_a_set_is_never_empty() -> None:
    """The limit 0.9 that no class reaches leaves the most probable one."""
    sets = Calibration(1.0, torch.full((9,), 0.9)).measured(torch.zeros(2, 4), torch.tensor([0, 3]), "test")["sets"]
    assert (sets[0]["mean_size"], sets[0]["count"]) == (1, 1)


def test_the_report_warns_where_the_validation_images_are_measured_themselves() -> None:
    known = plain(*[0.5] * 19)
    texts = [
        calibration_section(known.measured(torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64), split))
        for split in ("val", "test")
    ]
    assert [("too good" in section.text) for section in texts] == [True, False]
    assert len(texts[0].parts) == 2
