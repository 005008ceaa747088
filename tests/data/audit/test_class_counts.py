"""Counts of the classes by split."""

from typing import Any

import pytest

from tests.results.test_pictures import Made
from visiontasks.data.audit import class_counts as counting
from visiontasks.data.audit.class_counts import class_counts


def made(target: str) -> Any:
    data = Made(target)
    data.setup()
    return data


def test_images_are_counted_by_their_label() -> None:
    data = made("label")
    found = class_counts(data)
    assert found["unit"] == "images"
    assert found["splits"]["test"] == [data.source("test").labels.tolist().count(k) for k in range(3)]
    assert "sampled" not in found


def test_pixels_are_counted_of_evenly_chosen_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    data = made("mask")
    whole = class_counts(data)
    assert whole["unit"] == "pixels"
    assert sum(whole["splits"]["test"]) <= 30 * 16 * 20
    assert "sampled" not in whole
    monkeypatch.setattr(counting, "MOST_DECODED", 3)
    some = class_counts(data)
    assert some["sampled"] == {"test": 3}
    expected = sum(data.target.decoded_counts(data.source("test")[row]) for row in (0, 14, 29))
    assert some["splits"]["test"] == expected[:3].tolist()
