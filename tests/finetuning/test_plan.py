"""A training's phases in words."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from visiontasks.finetuning.plan import Phase, describe_phase, is_slower, network_name, peak_learning_rates

STAGES: Any = [SimpleNamespace(name=f"stage{number}") for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("phase", "slower", "line"),
    [
        (Phase(0, 3, 0), True, "epochs 1-3: the head, on frozen resnet18 features"),
        (Phase(3, 10, 3), True, "epochs 4-10: head and backbone, backbone at a lower learning rate"),
        (Phase(3, 10, 3), False, "epochs 4-10: head and backbone"),
        (Phase(3, 7, 3, 160), False, "epochs 4-7: head and backbone on images of 160 px"),
        (Phase(3, 4, 2), False, "epoch 4: head and stage2, stage3 of resnet18, the rest frozen"),
        (
            Phase(3, 5, 1),
            True,
            "epochs 4-5: head and stage3 of resnet18, the rest frozen, backbone at a lower learning rate",
        ),
    ],
)
def test_a_phase_is_a_line(phase: Phase, slower: bool, line: str) -> None:
    assert describe_phase(phase, STAGES, network="resnet18", is_slower=slower) == line


@pytest.mark.parametrize(
    ("rates", "slower"),
    [
        ({"head": 0.1, "backbone.stem": 0.001, "backbone.stage3": 0.01}, True),
        ({"head": 0.1, "backbone.stem": 0.01, "backbone.stage3": 0.1}, False),
        ({"head": 0.1, "backbone": 0.1}, False),
        ({"head": 0.01, "backbone": 0.1}, False),
        ({"head": 0.1}, False),
        ({"backbone": 0.1}, False),
    ],
)
def test_a_backbone_is_slower_if_all_of_it_is(rates: dict[str, float], slower: bool) -> None:
    assert is_slower(rates, "backbone") is slower


def test_learning_rates_are_the_peaks_by_group() -> None:
    def group(**values: Any) -> dict[str, Any]:
        return {"params": [nn.Parameter(torch.zeros(1))], **values}

    groups = [
        group(lr=0.5, name="head", max_lr=2.0),
        group(lr=0.5, name="head.no_decay", max_lr=2.0),
        group(lr=0.25, name="stage", initial_lr=1.0),
        group(lr=0.125),
    ]
    optimizer = torch.optim.SGD(groups)
    assert peak_learning_rates([optimizer]) == {"head": 2.0, "stage": 1.0, "group 3": 0.125}


def test_a_network_has_timms_name_or_none() -> None:
    network = nn.Linear(1, 1)
    assert network_name(network) == "backbone"
    network.pretrained_cfg = {"architecture": "resnet18", "tag": "a1_in1k"}  # type: ignore[assignment]
    assert network_name(network) == "resnet18"
