from collections.abc import Callable

import timm
import torch


def test_parameters_are_those_of_the_paper_by_layer() -> None:
    model = timm.create_model("lenet5")
    layers = [m for m in model.modules() if hasattr(m, "weight")]
    assert [sum(p.numel() for p in m.parameters()) for m in layers] == [156, 2416, 48_120, 10_164, 850]


def test_parameters_with_ten_classes_are_61706(count: Callable[..., int]) -> None:
    assert count("lenet5") == 61_706


def test_maps_at_32_pixels_are_c1_c3_and_s4() -> None:
    maps = timm.create_model("lenet5", features_only=True)(torch.zeros(1, 1, 32, 32))
    assert [tuple(m.shape[1:]) for m in maps] == [(6, 28, 28), (16, 10, 10), (16, 5, 5)]


def test_takes_one_channel_by_default_and_three_on_request() -> None:
    assert timm.create_model("lenet5")(torch.zeros(1, 1, 28, 28)).shape == (1, 10)
    assert timm.create_model("lenet5", in_chans=3)(torch.zeros(1, 3, 28, 28)).shape == (1, 10)


def test_pool_is_the_identity_at_the_papers_size() -> None:
    model = timm.create_model("lenet5")
    features = model.forward_features(torch.rand(1, 1, 32, 32))
    assert torch.equal(model.pool(features), features)
