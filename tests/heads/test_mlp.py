from collections.abc import Sequence

import pytest
import torch
from torch import nn

from visiontasks.errors import InputError
from visiontasks.heads import MLPHead


def test_logits_are_zero_at_the_start_and_the_hidden_layers_are_not() -> None:
    head = MLPHead(5, 3, hidden_features=[7])
    assert head(torch.randn(1, 5)).equal(torch.zeros(1, 3))
    assert head.hidden(torch.randn(1, 5)).abs().sum() > 0


@pytest.mark.parametrize(
    ("hidden_features", "num_parameters"),
    [
        ((), 5 * 3 + 3),
        ((7,), (5 * 7 + 7) + (7 * 3 + 3)),
        ((7, 4), (5 * 7 + 7) + (7 * 4 + 4) + (4 * 3 + 3)),
    ],
)
def test_layers_have_the_given_widths(hidden_features: Sequence[int], num_parameters: int) -> None:
    head = MLPHead(5, 3, hidden_features=hidden_features)
    assert sum(p.numel() for p in head.parameters()) == num_parameters
    assert head(torch.randn(1, 5)).shape == (1, 3)


def test_logits_by_hand() -> None:
    head = MLPHead(1, 2, hidden_features=[2])
    with torch.no_grad():
        head.hidden[0].weight.copy_(torch.tensor([[2.0], [-1.0]]))
        head.hidden[0].bias.copy_(torch.tensor([1.0, 0.0]))
        head.classifier.linear.weight.copy_(torch.tensor([[1.0, 10.0], [-1.0, 10.0]]))
    # hidden relu(2 * 3 + 1), relu(-3)
    assert head(torch.tensor([[3.0]])).tolist() == [[7.0, -7.0]]


def test_every_parameter_learns_from_the_second_step_on() -> None:
    head = MLPHead(3, 2, hidden_features=[4, 4])
    nn.init.normal_(head.classifier.linear.weight)
    nn.functional.cross_entropy(head(torch.randn(8, 3)), torch.tensor([0, 1] * 4)).backward()
    assert all(p.grad.abs().sum() > 0 for p in head.parameters())


def test_dropout_comes_before_each_linear_layer_but_the_first() -> None:
    head = MLPHead(3, 2, hidden_features=[4, 4], dropout=0.5)
    kinds = [type(m) for m in head.modules() if isinstance(m, nn.Linear | nn.Dropout | nn.ReLU)]
    assert kinds == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert all(m.p == 0.5 for m in head.modules() if isinstance(m, nn.Dropout))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_features": [0]}, r"hidden_features must be 1 or more each, got \[0\]"),
        ({"dropout": 1.5}, "dropout must be in .*, got 1.5"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MLPHead(5, 3, **options)
