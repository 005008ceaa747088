"""docs/networks.md is what the command counts, and its statements on differences from published totals are true."""

from typing import Any

import pytest
import timm
import torch
from torch import nn

from bench.networks import NETWORKS, PAGE, Published, page, row
from visiontasks.summary import Summary, summarize, summarize_backbone

LONG = ("resnet101", "resnet152")


def marked(network: Published) -> Any:
    return pytest.param(network, id=network.name, marks=[pytest.mark.slow] if network.name in LONG else [])


@pytest.mark.parametrize("network", [marked(network) for network in NETWORKS])
def test_each_line_of_the_page_is_what_is_counted(network: Published) -> None:
    assert row(network) in PAGE.read_text(encoding="utf-8").splitlines()


@pytest.mark.slow
def test_the_page_is_what_its_script_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def multiply_adds_of(summary: Summary, layer_type: str) -> int:
    return sum(layer.multiply_adds for layer in summary.layers if layer.type == layer_type)


def test_lenet_differs_from_its_paper_by_c3_the_pools_and_the_output() -> None:
    summary = summarize_backbone("lenet5")
    assert summary.parameters == 60_000 + 900 + 850 - 44
    biases = 4_704 + 1_600 + 120 + 84
    assert summary.multiply_adds == 340_908 - biases - (5_880 + 2_000) + 900 * 100


def test_alexnets_convolutions_have_666_million_multiply_adds() -> None:
    assert round(multiply_adds_of(summarize_backbone("alexnet"), "Conv2d") / 1e6) == 666


def test_vgg16s_15_3_billion_are_without_its_dense_layers() -> None:
    summary = summarize_backbone("vgg16")
    convolutions = sum(layer.multiply_adds for layer in summary.layers if layer.name.startswith("features."))
    assert f"{convolutions / 1e9:.2f}" == "15.35"


def with_biases_and_5x5(net: Any) -> nn.Module:
    """GoogLeNet as its paper describes it."""
    for name, module in [*net.named_modules()]:
        if name.endswith("branch3.1"):
            module.conv = nn.Conv2d(module.conv.in_channels, module.conv.out_channels, 5, padding=2)
    for module in net.modules():
        if hasattr(module, "bn"):
            module.bn = nn.Identity()
            module.conv.bias = nn.Parameter(torch.zeros(module.conv.out_channels))
    return net


def test_googlenet_as_in_its_paper_has_7_0_million_parameters_and_1_58_billion_multiply_adds() -> None:
    with torch.device("meta"):
        summary = summarize(with_biases_and_5x5(timm.create_model("googlenet")), (3, 224, 224))
    assert summary.parameters == 6_998_552
    assert f"{summary.multiply_adds / 1e9:.2f}" == "1.58"


def stored_for_backward(net: nn.Module, image: tuple[int, int, int]) -> float:
    """Bytes that autograd keeps for each image of a batch of two, beside parameters and running statistics."""
    own = {tensor.untyped_storage()._cdata for tensor in net.state_dict().values()}
    stored: dict[int, Any] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            stored[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        net.train()(torch.zeros(2, *image, device="meta"))
    return sum(storage.nbytes() for storage in stored.values()) / 2


@pytest.mark.parametrize(
    ("name", "ratio"), [("vgg16", "1.20"), ("resnet50", "0.95"), ("convnext_tiny", "0.93"), ("alexnet", "2.20")]
)
def test_memory_of_autograd_is_as_on_the_page(name: str, ratio: str) -> None:
    with torch.device("meta"):
        net = timm.create_model(name)
    image = (3, 227, 227) if name == "alexnet" else (3, 224, 224)
    stored, forward = stored_for_backward(net, image), summarize(net, image).memory()["forward"]
    assert f"{stored / forward:.2f}" == ratio


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("resnet50", "3.86"),
        pytest.param("resnet101", "7.57", marks=pytest.mark.slow),
        pytest.param("resnet152", "11.28", marks=pytest.mark.slow),
    ],
)
def test_deep_resnets_with_their_papers_strides_have_less_multiply_adds(name: str, billions: str) -> None:
    with torch.device("meta"):
        net: Any = timm.create_model(name)
    for stage in (net.layer2, net.layer3, net.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    assert f"{summarize(net, (3, 224, 224)).multiply_adds / 1e9:.2f}" == billions


def test_resnet34_without_weights_in_its_shortcuts_has_3_64_billion_multiply_adds() -> None:
    summary = summarize_backbone("resnet34")
    shortcuts = sum(layer.multiply_adds for layer in summary.layers if "downsample" in layer.name)
    assert f"{(summary.multiply_adds - shortcuts) / 1e9:.2f}" == "3.64"
