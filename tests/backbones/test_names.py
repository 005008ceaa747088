import json
from pathlib import Path

import pytest

from visiontasks.backbones import check_name, create_pyramid, create_vector
from visiontasks.errors import InputError, MissingFileError


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("resnet81", "resnet18"),
        ("resnet20_cifa", "resnet20_cifar"),
        ("googlnet", "googlenet"),
        ("lenet", "lenet5"),
        ("resnet18.a1_in1", "resnet18.a1_in1k"),
        ("resnet20_cifar.vt_cifar", "resnet20_cifar.vt_cifar10"),
    ],
)
def test_wrong_name_is_answered_with_the_nearest_right_one(wrong: str, right: str) -> None:
    with pytest.raises(InputError) as error:
        create_vector(wrong, weights="none")
    assert repr(wrong) in str(error.value)
    assert "model.init_args.backbone" in str(error.value)
    assert right in str(error.value).split("did you mean ")[1].split("?")[0].split(", ")


def test_wrong_tag_is_answered_with_the_tags_there_are() -> None:
    with pytest.raises(InputError, match=r"tags of resnet18: resnet18\.a1_in1k, "):
        create_pyramid("resnet18.nothing_like_it", weights="none")


@pytest.mark.parametrize("name", ["", "qqqqqqqqqqqq", "hf-hub:timm/resnet18.a1_in1k", "../resnet18", "a/b"])
def test_name_like_no_other_is_refused_too(name: str) -> None:
    with pytest.raises(InputError, match="unknown backbone"):
        check_name(name)


@pytest.mark.parametrize("name", ["resnet18", "resnet18.a1_in1k", "lenet5", "resnet20_cifar.vt_cifar10"])
def test_known_name_passes(name: str) -> None:
    check_name(name)


def test_folder_without_config_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no .*config\.json: expected a timm local-dir folder"):
        check_name(f"local-dir:{tmp_path}")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "holds a list, expected a JSON object"),
        ("{}", "has no 'architecture'"),
        (json.dumps({"architecture": "resnet81"}), "unknown backbone"),
    ],
)
def test_folder_with_a_broken_config_is_refused(config: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(InputError, match=message):
        check_name(f"local-dir:{tmp_path}")
