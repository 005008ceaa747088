from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import nn

from visiontasks.backbones import create_vector, normalization


@pytest.fixture(scope="module")
def reference() -> nn.Module:
    torch.manual_seed(1)
    model = torchvision.models.googlenet(transform_input=False, aux_logits=False, init_weights=False).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # fresh statistics would hide a wrong eps
            nn.init.uniform_(module.running_var, 0.05, 1.5)
    return model


def test_parameters_without_auxiliary_heads_are_torchvisions(count: Callable[..., int]) -> None:
    assert count("googlenet") == 6_624_904


@pytest.mark.parametrize("size", [224, 97])
def test_outputs_are_torchvisions_with_torchvisions_weights(size: int, reference: nn.Module) -> None:
    model = timm.create_model("googlenet").eval()
    model.load_state_dict(reference.state_dict())
    image = torch.randn(1, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(model(image), reference(image), atol=1e-5, rtol=1e-5)


def test_loads_a_torchvision_file_that_holds_auxiliary_heads(tmp_path: Path) -> None:
    with_heads = torchvision.models.googlenet(transform_input=False, aux_logits=True, init_weights=False).eval()
    torch.save(with_heads.state_dict(), tmp_path / "googlenet.pth")
    model = create_vector("googlenet", weights=str(tmp_path / "googlenet.pth")).eval()
    with_heads.fc = nn.Identity()
    image = torch.randn(1, 3, 65, 65)
    with torch.no_grad():
        torch.testing.assert_close(model(image), with_heads(image), atol=1e-5, rtol=1e-5)


def test_normalization_equals_torchvisions_transform_input() -> None:
    """torchvision normalizes by ImageNet's mean and std, then maps that to what its weights want."""
    transform = torchvision.models.GoogLeNet(transform_input=True, init_weights=False)._transform_input
    pixels = torch.rand(2, 3, 4, 4)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    imagenet = (pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    norm = normalization(create_vector("googlenet", weights="none"))
    ours = (pixels - torch.tensor(norm.mean).view(3, 1, 1)) / torch.tensor(norm.std).view(3, 1, 1)
    torch.testing.assert_close(ours, transform(imagenet), atol=1e-6, rtol=1e-5)


def test_branch_called_5x5_in_the_paper_is_3x3() -> None:
    with torch.device("meta"):
        branch = timm.create_model("googlenet").inception4a.branch3
    assert branch[1].conv.kernel_size == (3, 3)


def test_channels_of_each_inception_are_those_of_table_1() -> None:
    with torch.device("meta"):
        model = timm.create_model("googlenet")
        x, channels = torch.zeros(1, 3, 224, 224), []
        for name, module in list(model.named_children())[:-2]:
            x = module(x)
            if name.startswith("inception"):
                channels.append(x.shape[1])
    assert channels == [256, 480, 512, 512, 512, 528, 832, 832, 1024]
