"""A network with an injected output computes what the whole network does, or is refused."""

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from visiontasks.backbones import split_stages, stage_outputs
from visiontasks.errors import InputError
from visiontasks.finetuning.feature_injection import (
    FeatureInjection,
    _bit_sums,
    depends_on_place,
    find_placeholder,
)

IMAGE = torch.arange(3.0 * 2 * 4 * 4).view(3, 2, 4, 4) / 96


class Net(nn.Module):
    """Two convolutions; `between` maps (images, output of the first) to the input of the second."""

    def __init__(
        self,
        before: Callable[[Tensor], Tensor] = lambda image: image,
        between: Callable[[Tensor, Any], Tensor] = lambda image, output: output,
        first: nn.Module | None = None,
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.before = before
        self.first = (first or nn.Conv2d(2, 2, 1)).requires_grad_(False)
        self.between = between
        self.second = nn.Conv2d(2, 3, 1)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        image = self.before(image)
        return (self.second(self.between(image, self.first(image))).mean((2, 3)),)


class Both(nn.Module):
    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return image, image


def test_an_injected_output_gives_the_same_output_and_gradients() -> None:
    net = Net()
    (whole,) = net(IMAGE)
    whole.sum().backward()
    gradient = net.second.weight.grad
    net.zero_grad()
    injection = FeatureInjection(net.first)
    injection.injected = injection.compute_output(net, IMAGE)
    (entered,) = net(IMAGE[:0])
    entered.sum().backward()
    assert entered.equal(whole)
    assert gradient is not None
    assert gradient.equal(net.second.weight.grad)
    injection.close()
    assert net(IMAGE[:1])[0].shape == (1, 3)


def test_later_modules_are_not_run_to_compute_an_output() -> None:
    net = Net(between=lambda image, output: pytest.fail("was run"))
    assert FeatureInjection(net.first).compute_output(net, IMAGE).equal(net.first(IMAGE))


def test_a_recorded_output_survives_a_next_module_that_works_in_place() -> None:
    net = Net(between=lambda image, output: output.mul_(2))
    injection = FeatureInjection(net.first)
    net(IMAGE)
    injection.close()
    assert injection.output is not None
    assert injection.output.equal(net.first(IMAGE))
    assert len(find_placeholder(net, net.first, IMAGE)) == 0


def test_the_placeholder_is_no_image_or_one_where_the_network_needs_one() -> None:
    net = Net()
    assert find_placeholder(net, net.first, IMAGE).shape == (0, 2, 4, 4)
    net = Net(before=lambda image: image.reshape(len(image), 2, -1).view_as(image))  # -1 is anything with no image
    assert find_placeholder(net, net.first, IMAGE).equal(torch.zeros(1, 2, 4, 4))


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (Net(between=lambda image, output: output + image), "the modules after it need more than its output"),
        (Net(between=lambda image, output: output * len(image)), "the modules after it need more than its output"),
        (
            Net(first=Both(), between=lambda image, output: output[0]),
            "its output is not a tensor with a row for each image",
        ),
        (Net(before=nn.Conv2d(2, 2, 1)), "a trained part comes before it"),
    ],
    ids=["images", "their number", "two tensors", "trained before"],
)
def test_a_network_that_cannot_run_from_a_module_on_is_refused(net: Net, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        find_placeholder(net, net.first, IMAGE)
    assert not net.first._forward_hooks


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["mobilenetv2_050", "resnet10t", "densenet121", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"]
)
def test_networks_run_from_each_stage_on(name: str) -> None:
    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=0).eval()
    image = torch.randn(3, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    stages = split_stages(net)
    for number, stage in enumerate(stages[:-1], 1):
        for i, each in enumerate(stages):
            for parameter in each.parameters():
                parameter.requires_grad_(i >= number)
        assert len(find_placeholder(lambda image: (net(image),), stage_outputs(net)[stage.name], image)) <= 1


class EndOfBatch(nn.Module):
    """Adds to the last image of a batch, or to the middle one."""

    def __init__(self, row: int, amount: float) -> None:
        super().__init__()
        self.row, self.amount = row, amount

    def forward(self, image: Tensor) -> Tensor:
        added = torch.zeros_like(image)
        added[self.row, :, 0] = self.amount
        return image + added


@pytest.mark.parametrize("row", [-1, 0, 1])
def test_last_digits_that_depend_on_a_place_in_the_batch_are_found(row: int) -> None:
    net = Net(first=nn.Sequential(nn.Conv2d(2, 2, 1), EndOfBatch(row, 1e-6))).eval()
    assert depends_on_place(net, net.modules(), IMAGE)
    whole = Net(first=nn.Sequential(nn.Conv2d(2, 2, 1), EndOfBatch(row, 0.0))).eval()
    assert not depends_on_place(whole, whole.modules(), IMAGE)


def test_a_difference_that_is_rounded_away_in_this_batch_is_found_too() -> None:
    net = Net(between=lambda _, output: (1e4 + output).round(), first=EndOfBatch(-1, 1e-6)).eval()
    assert not depends_on_place(net, [], IMAGE)
    assert depends_on_place(net, net.modules(), IMAGE)
    assert all(not module._forward_hooks for module in net.modules())


def test_a_single_image_has_one_place() -> None:
    net = Net(first=EndOfBatch(-1, 1.0)).eval()
    assert not depends_on_place(net, net.modules(), IMAGE[:1])


@pytest.mark.parametrize(
    "output",
    [
        torch.arange(48.0).view(2, 4, 2, 3).contiguous(memory_format=torch.channels_last),
        torch.arange(6.0, dtype=torch.bfloat16).view(2, 3),  # 6 bytes a row
        torch.arange(24.0).view(2, 3, 4)[:, :, 1:],
        torch.arange(5.0)[1:].view(2, 2),  # starts at 4 bytes
        torch.arange(2.0)[:, None].expand(2, 4),
        torch.arange(2.0),
    ],
    ids=["channels last", "bfloat16", "slice", "offset", "expanded", "vector"],
)
def test_sums_of_bits_are_equal_for_equal_rows_alone(output: Tensor) -> None:
    again = torch.empty_like(output).copy_(output)
    assert _bit_sums(output).equal(_bit_sums(again))
    bits = again.view(torch.int16 if again.element_size() == 2 else torch.int32)
    bits[(-1,) * bits.ndim] += 1  # the last digit of one value
    first, second = _bit_sums(output) == _bit_sums(again)
    assert (first, second) == (True, False)


def test_maps_are_summed_without_a_copy() -> None:
    output = torch.ones(2, 4, 8, 8).contiguous(memory_format=torch.channels_last)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        _bit_sums(output)
    assert max(event.cpu_memory_usage for event in found.events()) < output.nbytes
