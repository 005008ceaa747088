"""What a trace counts, against numbers worked out by hand, published ones, and PyTorch's own counter."""

from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import visiontasks.backbones
from visiontasks.errors import InputError
from visiontasks.summary import Layer, Summary, summarize

assert visiontasks.backbones  # registers the networks

MAIN_LAYERS = ("Conv2d", "Linear", "MaxPool2d")


def on_meta(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers).to("meta")


def network(name: str, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model(name, **options)


def only(summary: Summary) -> Layer:
    (layer,) = summary.layers
    return layer


def test_ten_5x5_filters_on_32x32x3_have_760_parameters() -> None:
    layer = only(summarize(on_meta(nn.Conv2d(3, 10, 5, padding=2)), (3, 32, 32)))
    assert layer.output == (10, 32, 32)
    assert (layer.weights, layer.biases, layer.parameters) == (750, 10, 760)
    assert layer.activations == 10_240
    assert layer.activation_bytes == 40_960
    assert layer.multiply_adds == 750 * 32 * 32


def test_alexnet_has_the_maps_of_its_paper() -> None:
    layers = [layer for layer in summarize(network("alexnet"), (3, 227, 227)).layers if layer.type in MAIN_LAYERS]
    assert [layer.output for layer in layers] == [
        (96, 55, 55),
        (96, 27, 27),
        (256, 27, 27),
        (256, 13, 13),
        (384, 13, 13),
        (384, 13, 13),
        (256, 13, 13),
        (256, 6, 6),
        (4096,),
        (4096,),
        (1000,),
    ]
    assert layers[0].parameters == 34_944
    # 11; pool + 2 * 4; conv + 4 * 8; pool + 2 * 8; three convolutions + 2 * 16 each; pool + 2 * 16
    assert [layer.receptive_field for layer in layers[:8]] == [(s, s) for s in (11, 19, 51, 67, 99, 131, 163, 195)]
    assert [layer.stride for layer in layers[:8]] == [(s, s) for s in (4, 8, 8, 16, 16, 16, 16, 32)]
    assert all(layer.receptive_field == (torch.inf, torch.inf) for layer in layers[8:])


def test_vgg16_has_its_weights_activations_and_multiply_adds() -> None:
    summary = summarize(network("vgg16"), (3, 224, 224))
    assert [layer.weights for layer in summary.layers if layer.weights] == [
        1_728,
        36_864,
        73_728,
        147_456,
        294_912,
        589_824,
        589_824,
        1_179_648,
        *[2_359_296] * 5,
        102_760_448,
        16_777_216,
        4_096_000,
    ]
    assert summary.parameters == 138_357_544
    # the image, the outputs of convolutions, pools and dense layers (ReLU works in place): 15,237,608; and timm's
    # global pool of the 1x1 map behind fc7
    assert summary.activations == 15_237_608 + 4_096
    assert round(summary.memory()["forward"] / 1e6) == 61
    assert round(summary.multiply_adds / 1e9, 1) == 15.5
    assert summary.layers[-3].receptive_field == (
        404,
        404,
    )  # 212 after the last pool, and fc6 spans 7 positions at a distance of 32


def test_resnet50_has_4_1_billion_multiply_adds() -> None:
    summary = summarize(network("resnet50"), (3, 224, 224))
    assert round(summary.multiply_adds / 1e9, 1) == 4.1
    assert summary.parameters == 25_557_032
    assert round(summary.product_outputs / 1e6, 1) == 11.1  # what Radosavovic et al. 2020 call activations


def test_the_largest_path_of_a_resnet_decides_its_receptive_field() -> None:
    layers = {layer.name: layer for layer in summarize(network("resnet50"), (3, 224, 224), depth=1).layers}
    # stem 7, pool 11; then each 3x3 convolution adds 2 strides: 3 of 4; 1 of 4 and 3 of 8; 1 of 8 and 5 of 16; ...
    assert [layers[f"layer{i}"].receptive_field for i in (1, 2, 3, 4)] == [(s, s) for s in (35, 91, 267, 427)]
    assert [layers[f"layer{i}"].stride for i in (1, 2, 3, 4)] == [(s, s) for s in (4, 8, 16, 32)]


def test_resnet50_with_the_papers_strides_has_a_field_of_483_pixels() -> None:
    """Araujo et al. 2019; the paper strides in a block's first 1x1 convolution, torchvision and timm in the 3x3."""
    resnet: Any = network("resnet50")
    for stage in (resnet.layer2, resnet.layer3, resnet.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    summary = summarize(resnet, (3, 224, 224), depth=1)
    assert summary.layers[-3].receptive_field == (483, 483)
    assert round(summary.multiply_adds / 1e9, 2) == 3.86  # the paper: 3.8


def test_three_3x3_convolutions_have_the_field_of_a_7x7_with_27_instead_of_49_weights() -> None:
    channels = 5
    small = on_meta(*[nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(3)])
    large = on_meta(nn.Conv2d(channels, channels, 7, padding=3, bias=False))
    of_small, of_large = (summarize(net, (channels, 16, 16)) for net in (small, large))
    assert of_small.layers[-1].receptive_field == of_large.layers[-1].receptive_field == (7, 7)
    assert (of_small.weights, of_large.weights) == (27 * channels**2, 49 * channels**2)


def test_two_5x5_convolutions_see_9x9() -> None:
    summary = summarize(on_meta(nn.Conv2d(1, 2, 5), nn.Conv2d(2, 2, 5)), (1, 20, 20))
    assert summary.layers[-1].receptive_field == (9, 9)


def test_a_dense_layer_of_1000_on_640x480x3_has_922_million_parameters() -> None:
    with torch.device("meta"):
        net = nn.Sequential(nn.Flatten(), nn.Linear(640 * 480 * 3, 1000))
    summary = summarize(net, (3, 480, 640))
    assert summary.parameters == 921_601_000
    assert summary.multiply_adds == 921_600_000


def test_oblong_filters_have_two_receptive_fields() -> None:
    layer = only(summarize(on_meta(nn.Conv2d(1, 1, (1, 7), stride=(2, 1), padding=(0, 3))), (1, 8, 9)))
    assert layer.output == (1, 4, 9)
    assert (layer.receptive_field, layer.stride) == ((1, 7), (2, 1))


def test_groups_divide_the_multiply_adds() -> None:
    layer = only(summarize(on_meta(nn.Conv2d(4, 8, 3, padding=1, groups=2)), (4, 5, 5)))
    assert layer.weights == 8 * 2 * 9
    assert layer.multiply_adds == 8 * 2 * 9 * 25


def test_a_transposed_convolution_uses_its_weights_at_each_position_of_its_input() -> None:
    layer = only(summarize(on_meta(nn.ConvTranspose2d(2, 3, 2, stride=2)), (2, 4, 4)))
    assert layer.output == (3, 8, 8)
    assert layer.multiply_adds == 2 * 3 * 4 * 16
    assert layer.receptive_field is None


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x.flatten(2).transpose(1, 2)).chunk(3, -1)
        return F.scaled_dot_product_attention(query, key, value)


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_both_matrix_products_of_attention_count(device: str) -> None:
    dense, attention = summarize(Attention(8).to(device), (8, 3, 2)).layers
    assert dense.multiply_adds == 6 * 8 * 24
    assert attention.multiply_adds == 2 * 6 * 6 * 8
    assert (attention.type, attention.name) == ("Attention", "")


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.conv(self.conv(x)))


def test_functions_and_sums_count_for_the_module_that_calls_them() -> None:
    *_, itself = summarize(Residual().to("meta"), (2, 4, 4)).layers
    assert itself.activations == 32 + 32  # the sum, and ReLU
    assert itself.receptive_field == (5, 5)


def test_a_module_called_twice_has_its_parameters_once_and_its_multiply_adds_twice() -> None:
    summary = summarize(Residual().to("meta"), (2, 4, 4))
    first, second, _ = summary.layers
    assert (first.parameters, second.parameters) == (38, 0)
    assert first.multiply_adds == second.multiply_adds == 36 * 16
    assert summary.parameters == 38


def test_what_works_in_place_or_looks_at_its_input_takes_no_memory() -> None:
    net = on_meta(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Dropout(), nn.Flatten(), nn.Linear(8, 3), nn.ReLU())
    summary = summarize(net, (1, 4, 4))
    assert [(layer.type, layer.activations) for layer in summary.layers] == [("Conv2d", 8), ("Linear", 3), ("ReLU", 3)]
    assert summary.activations == 16 + 8 + 3 + 3
    assert summary.product_outputs == 8 + 3


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Linear(4, 2)
        self.unused = nn.Linear(4, 5)
        self.scale = nn.Parameter(torch.ones(7))

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x.flatten(1))


def test_parameters_that_no_layer_holds_or_runs_count_for_the_module_around_them() -> None:
    used, itself = summarize(Unused(), (1, 2, 2)).layers
    assert (used.weights, used.biases) == (8, 2)
    assert (itself.weights, itself.biases) == (20 + 7, 5)


def test_memory_of_optimizers_is_gradients_and_their_state() -> None:
    memory = summarize(on_meta(nn.Conv2d(1, 1, 3, bias=False)), (1, 3, 3)).memory()
    assert memory == {
        "forward": 4 * 10,
        "forward_backward": 8 * 10,
        "parameters": 4 * 9,
        "training_sgd": 8 * 9,
        "training_sgd_momentum": 12 * 9,
        "training_adam": 16 * 9,
    }


NETWORKS = [
    ("resnet18", 64),
    ("googlenet", 64),
    ("convnext_atto", 64),
    pytest.param("mobilenetv3_small_050", 64, marks=pytest.mark.slow),
    pytest.param("vit_tiny_patch16_224", 224, marks=pytest.mark.slow),
    pytest.param("swin_tiny_patch4_window7_224", 224, marks=pytest.mark.slow),
    ("resnet20_cifar", 32),
]


@pytest.mark.parametrize(("name", "size"), NETWORKS)
def test_totals_are_those_of_torch_itself(name: str, size: int) -> None:
    net = network(name)
    summary = summarize(net, (3, size, size))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.eval()(torch.zeros(1, 3, size, size, device="meta"))
    assert 2 * summary.multiply_adds == counter.get_total_flops()
    assert summary.parameters == sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("depth", [1, 2])
def test_rows_of_every_depth_have_the_same_sums(depth: int) -> None:
    net = network("resnet18")
    whole, parts = summarize(net, (3, 64, 64)), summarize(net, (3, 64, 64), depth=depth)
    assert len(parts.layers) < len(whole.layers)
    for figure in ("activations", "weights", "biases", "multiply_adds", "product_outputs"):
        assert getattr(parts, figure) == getattr(whole, figure)


def test_real_tensors_give_what_meta_tensors_give() -> None:
    torch.manual_seed(0)
    real = timm.create_model("resnet20_cifar")
    assert summarize(real, (3, 32, 32)) == summarize(network("resnet20_cifar"), (3, 32, 32))


def test_the_network_stays_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.BatchNorm2d(1)).train()
    net[1].eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    summarize(net, (1, 5, 5))
    assert net.training
    assert not net[1].training
    assert not net[0]._forward_hooks
    assert not net[0]._forward_pre_hooks
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_a_filter_that_does_not_fit_is_reported_where_pytorch_rounds() -> None:
    layer = only(summarize(on_meta(nn.Conv2d(1, 1, 3, stride=3)), (1, 7, 7)))
    assert layer.output == (1, 2, 2)
    assert "does not fit 7" in layer.misfit


def test_an_image_that_the_network_cannot_take_is_one_error() -> None:
    # torch 2.11 begins with the other word
    with pytest.raises(InputError, match="an image of 1x2x2: RuntimeError: (Calculated padded|Given) input size"):
        summarize(on_meta(nn.Conv2d(1, 1, 3)), (1, 2, 2))
