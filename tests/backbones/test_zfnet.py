from collections.abc import Callable

import timm
import torch
from torch import nn


def test_parameters_by_layer() -> None:
    with torch.device("meta"):
        model = timm.create_model("zfnet")
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    by_hand = [
        96 * 3 * 49 + 96,
        256 * 96 * 25 + 256,
        384 * 256 * 9 + 384,
        384 * 384 * 9 + 384,
        256 * 384 * 9 + 256,
        9216 * 4096 + 4096,
        4096 * 4096 + 4096,
        4096 * 1000 + 1000,
    ]
    assert [sum(p.numel() for p in m.parameters()) for m in layers] == by_hand
    assert sum(by_hand) == 62_357_608


def test_first_layer_is_7x7_with_stride_2() -> None:
    with torch.device("meta"):
        first = timm.create_model("zfnet").features[0]
    assert (first.kernel_size, first.stride) == ((7, 7), (2, 2))


def test_maps_at_224_pixels_are_those_of_figure_3() -> None:
    with torch.device("meta"):
        features = timm.create_model("zfnet").features
        sizes, x = [], torch.zeros(1, 3, 224, 224)
        for layer in features:
            x = layer(x)
            if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
                sizes.append(x.shape[-1])
    assert sizes == [110, 55, 26, 13, 13, 13, 13, 6]


def test_pool_is_the_identity_at_the_papers_size(built: Callable[[str], nn.Module]) -> None:
    model = built("zfnet")
    with torch.no_grad():
        features = model.forward_features(torch.rand(1, 3, 224, 224))
    assert torch.equal(model.pool(features), features)
