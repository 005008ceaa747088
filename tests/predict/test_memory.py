"""Memory of a network, of layers whose bytes can be counted by hand."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from visiontasks.predict.memory import bytes_per_pixel

CPU = torch.device("cpu")


def test_what_lives_at_once_is_counted_and_not_what_is_freed() -> None:
    def predict(batch: dict[str, Any]) -> tuple[()]:
        values = batch["image"].float()  # 3 channels of 4 bytes: 12
        values = F.pad(values, (0, 0, 0, 0, 0, 5))  # 8 channels, 32, beside the 12
        for _ in range(3):
            values = values + 1  # 32 beside 32
        values.sum()
        return ()

    assert bytes_per_pixel(predict, CPU) == pytest.approx(64, abs=0.01)


def test_a_view_is_not_counted_again() -> None:
    def predict(batch: dict[str, Any]) -> tuple[()]:
        values = batch["image"].float()
        values.flip(1)[:, :1].add_(1)  # a copy, 12 beside 12; its part is none
        return ()

    assert bytes_per_pixel(predict, CPU) == pytest.approx(24, abs=0.01)
