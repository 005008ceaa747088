import pytest
import timm
import torch
from timm.models import get_pretrained_cfg, is_model_pretrained

from visiontasks.backbones import create_pyramid, create_vector
from visiontasks.backbones.shipped import PRETRAINED_FOLDER, shipped_file

SHIPPED = sorted(path.name.removesuffix(".safetensors") for path in PRETRAINED_FOLDER.glob("*.safetensors"))


def test_path_is_inside_the_package() -> None:
    assert shipped_file("net.tag") == str(PRETRAINED_FOLDER / "net.tag.safetensors")
    assert PRETRAINED_FOLDER.parent.name == "backbones"


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_file_belongs_to_a_tag(name: str) -> None:
    assert is_model_pretrained(name)
    assert get_pretrained_cfg(name).file == shipped_file(name)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_file_fills_both_views_and_timms_classifier(name: str) -> None:
    classifier = timm.create_model(name, pretrained=True).eval()
    vector = create_vector(name, weights="hub").eval()
    pyramid = create_pyramid(name, weights="hub").eval()
    channels, size, _ = classifier.pretrained_cfg["input_size"]
    image = torch.rand(2, channels, size, size)
    with torch.no_grad():
        features = classifier.forward_features(image)
        torch.testing.assert_close(vector(image), classifier.forward_head(features, pre_logits=True))
        torch.testing.assert_close(pyramid(image)[-1], features)
        assert classifier(image).shape == (2, get_pretrained_cfg(name).num_classes)
