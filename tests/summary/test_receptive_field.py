"""Receptive fields against an experiment: which rows of the image reach a position, found by a NaN in each row."""

from collections.abc import Callable
from math import inf

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import visiontasks.backbones
from visiontasks.summary import summarize

assert visiontasks.backbones  # registers the networks


class Does(nn.Module):
    """A network that is one function of the image and some layers."""

    def __init__(self, function: Callable[..., Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.function = function
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.function(x, *self.layers)


def conv(kernel_size: int, **options: int) -> nn.Conv2d:
    return nn.Conv2d(2, 2, kernel_size, **options)


def field_of(net: nn.Module, size: int = 12) -> tuple[float, float | None] | None:
    """Vertical receptive field and stride of a network's output."""
    layer = summarize(net, (2, size, size)).layers[-1]
    assert layer.name == "", "the last row is the network itself"
    return layer.receptive_field and (layer.receptive_field[0], layer.stride and layer.stride[0])


@torch.no_grad()
def rows_in_field(net: nn.Module, shape: tuple[int, int, int], position: int) -> int:
    """From the first to the last row of the image that a row of the output depends on."""
    channels, height, width = shape
    images = torch.ones(height, channels, height, width, dtype=torch.float64)
    images[torch.arange(height), :, torch.arange(height)] = torch.nan
    rows = net.double().eval()(images)[:, :, position].isnan().flatten(1).any(1).nonzero().flatten()
    return int(rows.max() - rows.min()) + 1


def branches(x: Tensor, small: nn.Module, large: nn.Module, narrow: nn.Module) -> Tensor:
    return torch.cat([small(x), large(x), F.max_pool2d(narrow(x), 3, 1, 1)], 1)


def focus(x: Tensor, after: nn.Module) -> Tensor:
    """Every second pixel, four times: the image with half the size."""
    parts = [x[:, :1, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    return after(torch.cat([*parts[:1], *parts[-1:]], 1))


def channels_last(x: Tensor, first: nn.Module, dense: nn.Module) -> Tensor:
    return F.gelu(dense(first(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2) + x


def kernels(x: Tensor, first: nn.Module, second: nn.Module) -> Tensor:
    return (torch.stack([first(x), second(x)], 1) * 0.5).sum(1)


EXPERIMENTS = {
    "branches": (Does(branches, conv(1), conv(5, padding=2), conv(3, padding=1)), 5, 1),
    "pad": (Does(lambda x, c: c(F.pad(x, (2, 1, 2, 1))), conv(4)), 4, 1),
    "stride": (Does(lambda x, c, d: d(c(x)), conv(3, stride=2, padding=1), conv(3, padding=1)), 7, 2),
    "dilation": (Does(lambda x, c: c(x), conv(3, dilation=2, padding=2)), 5, 1),
    "average pool": (Does(lambda x, c: F.avg_pool2d(c(x), 2), conv(3, padding=1)), 4, 2),
    "focus": (Does(focus, conv(3, padding=1)), 6, 2),
    "shift": (Does(lambda x: x[:, :, 1:] + x[:, :, :-1]), 2, 1),
    "channels last": (Does(channels_last, conv(7, padding=3), nn.Linear(2, 2)), 7, 1),
    "flat and back": (Does(lambda x, c: c(x).flatten(2).transpose(1, 2).mT.reshape(x.shape), conv(3, padding=1)), 3, 1),
    "response norm": (Does(lambda x, c, n: n(c(x)), conv(3, padding=1), nn.LocalResponseNorm(2)), 3, 1),
    "halves": (Does(lambda x, c: torch.cat([x[:, :1], c(x).chunk(2, 1)[1]], 1), conv(5, padding=2)), 5, 1),
    "selective kernels": (Does(kernels, conv(3, padding=1), conv(3, padding=2, dilation=2)), 5, 1),
    "adaptive pool": (Does(lambda x: F.adaptive_avg_pool2d(x, 4)), 3, 3),
    "in place": (Does(lambda x, c, d: c(x).add_(d(x)).relu_(), conv(1), conv(3, padding=1)), 3, 1),
}


@pytest.mark.parametrize("case", EXPERIMENTS)
def test_the_receptive_field_is_what_an_experiment_finds(case: str) -> None:
    net, field, stride = EXPERIMENTS[case]
    assert field_of(net.float()) == (field, stride)
    size = 12
    middle = round((size - field) / 2 / stride)
    assert max(rows_in_field(net, (2, size, size), middle + i) for i in (-1, 0, 1)) == field


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "out_index", "field", "stride", "height"), [("resnet18", 1, 43, 4, 64), ("googlenet", 2, 59, 8, 96)]
)
def test_networks_with_branches_see_what_an_experiment_finds(
    name: str, out_index: int, field: int, stride: int, height: int
) -> None:
    net = timm.create_model(name, features_only=True, out_indices=[out_index])
    layer = summarize(net, (3, height, 32)).layers[-1]
    assert (layer.receptive_field, layer.stride) == ((field, field), (stride, stride))
    positions = [height // 2 // stride + i for i in (-1, 0, 1)]
    whole = nn.Sequential(net, Does(lambda maps: maps[0]))
    assert max(rows_in_field(whole, (3, height, 32), position) for position in positions) == field


def gated(x: Tensor, c: nn.Module) -> Tensor:
    return x * c(x.mean((2, 3), keepdim=True)).sigmoid()


@pytest.mark.parametrize(
    ("net", "stride"),
    [
        (Does(lambda x, c: c(F.avg_pool2d(x, 2)).mean((2, 3)), conv(3)), None),
        (Does(lambda x, d: d(x.flatten(1)), nn.Linear(288, 3)), None),
        (Does(gated, conv(1)), 1),
        (Does(lambda x, n: n(x), nn.GroupNorm(1, 2)), 1),
        (Does(lambda x, d: x + d(x.flatten(2)).view(x.shape), nn.Linear(144, 144)), 1),
    ],
    ids=["global pool", "dense", "squeeze and excitation", "group norm", "mixer"],
)
def test_operators_that_mix_all_positions_have_the_whole_image(net: nn.Module, stride: int | None) -> None:
    assert field_of(net) == (inf, stride)


def test_batch_and_layer_norm_over_channels_mix_no_positions() -> None:
    net = Does(lambda x, b, n: n(b(x).permute(0, 2, 3, 1)), nn.BatchNorm2d(2), nn.LayerNorm(2))
    assert field_of(net) == (1, 1)


def written_in_part(x: Tensor, c: nn.Module) -> Tensor:
    joined = x.new_zeros(x.shape)
    joined[:, :1] = c(x)[:, :1]
    return joined + x


@pytest.mark.parametrize(
    "net",
    [
        Does(lambda x, c: F.interpolate(c(x), scale_factor=2.0), conv(3)),
        Does(lambda x: x.roll(1, 2)),
        Does(lambda x: x.view(1, 2, 3, 4, 12).transpose(2, 3)),
        Does(lambda x: F.avg_pool2d(x, 2) + x[:, :, :6, :6]),
        Does(written_in_part, conv(3, padding=1)),
    ],
    ids=["upsampling", "roll", "windows", "different strides", "written in part"],
)
def test_where_it_differs_or_is_not_followed_there_is_no_receptive_field(net: nn.Module) -> None:
    assert field_of(net) is None
