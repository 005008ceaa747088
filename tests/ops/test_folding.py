"""A BatchNorm layer that is folded into its convolution has the same gradients; all others stay as they are."""

from collections.abc import Callable
from unittest.mock import patch

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visiontasks.ops.folding import find_norms, trains_kept_norms
from visiontasks.ops.quick_gradients import QuickGradients

IMAGE = torch.linspace(-1, 1, 2 * 3 * 9 * 9).view(2, 3, 9, 9)


class Net(nn.Module):
    """`flow` maps an image to an output by the modules of the network."""

    def __init__(self, flow: Callable[["Net", Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(3, 4, 3, stride=2), statistics(nn.BatchNorm2d(4))
        self.next, self.last = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), statistics(nn.BatchNorm2d(4))
        self.flow = flow

    def forward(self, image: Tensor) -> Tensor:
        return self.flow(self, image)


def statistics(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """A layer as after a training."""
    for values in (norm.weight.data, norm.running_var, norm.running_mean):
        assert values is not None
        values.uniform_(0.5, 2.0)
    return norm.eval()


def folded_layers(network: nn.Module, image: Tensor) -> int:
    return len(find_norms(network, network, image))


def outcome(network: nn.Module, image: Tensor, *, fold: bool) -> tuple[Tensor, dict[str, Tensor], int]:
    """Output, gradients by name, and how many BatchNorm layers were run."""
    norms = find_norms(network, network, image[:1]) if fold else {}
    network.zero_grad()
    with patch.object(torch, "batch_norm", wraps=torch.batch_norm) as layer, QuickGradients(norms):
        out = network(image)
    out.square().sum().backward()
    gradients = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    return out.detach(), gradients, layer.call_count


def chain(net: Net, image: Tensor) -> Tensor:
    return net.last(net.next(net.norm(net.conv(image)).relu_()))


@pytest.mark.parametrize("name", ["chain", "test_efficientnet", "test_resnet"])
def test_outputs_and_gradients_are_those_of_the_layers(name: str) -> None:
    network = Net(chain) if name == "chain" else timm.create_model(name, pretrained=False, num_classes=2).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            statistics(module)
    network.double()
    image = IMAGE.double() if name == "chain" else torch.randn(2, 3, 33, 33, dtype=torch.float64)
    expected, expected_gradients, layers = outcome(network, image, fold=False)
    found, gradients, runs = outcome(network, image, fold=True)
    assert layers > 1
    assert runs == 0
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert gradients.keys() == expected_gradients.keys()
    for key, gradient in expected_gradients.items():
        torch.testing.assert_close(gradients[key], gradient, rtol=1e-8, atol=1e-8 * float(gradient.abs().max()))


@pytest.mark.parametrize(
    "flow",
    [
        lambda net, image: net.norm(net.conv(image).relu()),
        lambda net, image: (found := net.conv(image)) + net.norm(found),
        lambda net, image: net.norm(found := net.conv(image)) * found.mean(),
        lambda net, image: torch.cat([net.norm(found := net.conv(image)), found]),
        lambda net, image: net.norm(net.conv(image)) + net.norm(net.conv(image + 1)),
        lambda net, image: net.norm(net.conv(image)) + net.last(net.conv(image + 1)),
        lambda net, image: net.norm(found := net.conv(image)) + net.last(found),
        lambda net, image: net.norm(net.conv(image)) + net.norm(net.next(net.conv(image))),
        lambda net, image: net.norm(F.conv2d(input=image, weight=net.conv.weight)),
        lambda net, image: net.norm(F.conv2d(image, net.conv.weight * 2)),
    ],
)
def test_a_layer_that_does_not_alone_follow_a_convolution_stays(flow: Callable[[Net, Tensor], Tensor]) -> None:
    network = Net(flow)
    (expected, gradients, layers), (found, again, runs) = (outcome(network, IMAGE, fold=fold) for fold in (False, True))
    assert runs == layers
    assert found.equal(expected)
    assert all(gradient.equal(gradients[name]) for name, gradient in again.items())


def test_layers_that_learn_their_statistics_and_frozen_ones_stay() -> None:
    network = Net(chain)
    network.norm.train()
    network.last.requires_grad_(False)
    network.next.requires_grad_(False)
    assert outcome(network, IMAGE, fold=True)[2] == 1  # a gradient goes through the last one
    network.norm.eval()
    network.conv.requires_grad_(False)
    assert outcome(network, IMAGE, fold=True)[2] == 0  # the first one's own
    network.norm.requires_grad_(False)
    with QuickGradients(find_norms(network, network, IMAGE)):
        assert network(IMAGE).equal(chain(network, IMAGE))


def test_finding_them_changes_nothing() -> None:
    network = Net(lambda net, image: F.dropout(chain(net, image), training=net.training)).train()
    network.last.eval()
    before, random = {key: value.clone() for key, value in network.state_dict().items()}, torch.get_rng_state()
    assert folded_layers(network, IMAGE) == 2
    assert all(value.equal(before[key]) for key, value in network.state_dict().items())
    assert torch.get_rng_state().equal(random)
    assert (network.norm.training, network.last.training) == (True, False)


def test_a_network_that_runs_otherwise_than_when_it_was_tested_is_an_error() -> None:
    network = Net(lambda net, image: net.norm(net.conv(image)) if len(image) == 1 else net.conv(image))
    norms = find_norms(network, network, IMAGE[:1])
    with pytest.raises(RuntimeError, match="a BatchNorm layer did not follow its convolution"), QuickGradients(norms):
        network(IMAGE)


def test_the_map_before_the_layer_is_not_kept() -> None:
    def maps(network: nn.Module, *, fold: bool) -> int:
        kept: list[Tensor] = []
        norms = find_norms(network, network, IMAGE) if fold else {}
        with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda _: None), QuickGradients(norms):
            network(IMAGE)
        return len({tensor.data_ptr() for tensor in kept if tensor.shape == (2, 4, 4, 4)})

    assert maps(Net(chain), fold=False) == 3  # before each layer, and behind ReLU
    assert maps(Net(chain), fold=True) == 1


def test_layers_are_looked_for_only_where_a_step_trains_one_that_keeps_its_statistics() -> None:
    network = Net(chain).train()
    assert not trains_kept_norms(network)  # they learn them
    network.last.eval()
    assert trains_kept_norms(network)
    with torch.no_grad():
        assert not trains_kept_norms(network)
    network.last.requires_grad_(False)
    assert not trains_kept_norms(network)
    network.requires_grad_(True).eval()
    assert not trains_kept_norms(network)
