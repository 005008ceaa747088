import pytest
import torch

from visiontasks.errors import InputError
from visiontasks.heads import LinearHead


def test_logits_are_zero_at_the_start() -> None:
    assert LinearHead(5, 3)(torch.randn(1, 5)).equal(torch.zeros(1, 3))


def test_logits_by_hand() -> None:
    head = LinearHead(2, 3)
    with torch.no_grad():
        head.linear.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, -1.0]]))
        head.linear.bias.copy_(torch.tensor([0.0, 0.5, 1.0]))
    assert head(torch.tensor([[3.0, 4.0]])).tolist() == [[3.0, 4.5, 3.0]]


def test_the_first_step_moves_every_parameter() -> None:
    head = LinearHead(2, 2)
    torch.nn.functional.cross_entropy(head(torch.tensor([[1.0, 2.0]])), torch.tensor([0])).backward()
    # softmax minus target is (-1/2, 1/2), times the feature
    assert head.linear.weight.grad.tolist() == [[-0.5, -1.0], [0.5, 1.0]]
    assert head.linear.bias.grad.tolist() == [-0.5, 0.5]


def test_dropout_drops_features_in_training_only() -> None:
    head = LinearHead(1000, 1, dropout=0.25)
    torch.nn.init.ones_(head.linear.weight)
    feature = torch.ones(1, 1000, requires_grad=True)
    (by_feature,) = torch.autograd.grad(head(feature), feature)
    assert by_feature.unique().tolist() == pytest.approx([0, 4 / 3])
    assert by_feature.count_nonzero().item() == pytest.approx(750, abs=60)  # more than four standard deviations
    assert head.eval()(feature).item() == 1000


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_dropout_out_of_range_is_refused(dropout: float) -> None:
    with pytest.raises(InputError, match=r"head.init_args.dropout must be in \[0, 1\), got"):
        LinearHead(5, 3, dropout=dropout)
