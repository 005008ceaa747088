"""Which backbones a pattern finds, and what is known of each with and without building it."""

from pathlib import Path

import pytest
import timm

import visiontasks.backbones
from visiontasks.backbones import save_local_dir
from visiontasks.errors import InputError, MissingFileError
from visiontasks.summary import backbones
from visiontasks.summary.backbones import Facts, Figures, figures, find_backbones

assert visiontasks.backbones  # registers the networks


def names(*patterns: str) -> list[str]:
    return [each.name for each in find_backbones(patterns)]


def test_a_text_matches_parts_of_names_and_a_glob_whole_ones() -> None:
    assert {"lenet5", "googlenet.tv_in1k", "mobilenetv2_100.ra_in1k"} <= set(names("LeNet"))
    assert names("lenet*") == ["lenet5"]
    assert all(name.startswith("resnet18.") for name in names("resnet18.*"))


def test_a_whole_name_matches_itself_alone_and_each_name_is_found_once_in_the_order_of_the_patterns() -> None:
    assert names("lenet5") == ["lenet5"]
    found = names("resnet18.tv_in1k", "resnet18.*", "lenet5")
    assert found[0] == "resnet18.tv_in1k"
    assert found[-1] == "lenet5"
    assert len(found) == len(set(found))


def test_nothing_found_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(InputError, match="no backbone matches 'resnt18'; did you mean resnet18"):
        find_backbones(["lenet5", "resnt18"])


def test_what_is_known_without_building_is_image_and_source_of_the_weights() -> None:
    shipped, hub, page, bare = find_backbones(
        ["resnet20_cifar.vt_cifar10", "resnet18.a1_in1k", "googlenet.tv_in1k", "lenet5"]
    )
    assert (shipped.image, shipped.source) == ((3, 32, 32), "package")
    assert (hub.image, hub.source) == ((3, 224, 224), "timm/resnet18.a1_in1k")
    assert page.source.startswith("https://download.pytorch.org/models/googlenet-")
    assert (bare.image, bare.source) == ((1, 32, 32), "")


def test_networks_are_the_same_where_only_the_weights_differ() -> None:
    a1, a2, a3 = (each.same_network for each in find_backbones([f"resnet18.a{i}_in1k" for i in (1, 2, 3)]))
    assert a1 == a2
    assert a1 != a3  # trained with 160 pixels instead of 224


def test_figures_are_those_of_the_paper() -> None:
    """LeNet-5: 61,706 parameters; 117,600 + 240,000 + 48,000 + 10,080 + 840 multiply-adds."""
    (lenet,) = find_backbones(["lenet5"])
    assert figures(lenet) == Figures(61_706, 416_520, (1, 32, 32), 3, (1, 2, 4))


def test_a_network_is_built_once_for_all_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    monkeypatch.setattr(backbones, "_FIGURES", {})
    monkeypatch.setattr(backbones, "_compute", built.append)
    for each in find_backbones(["resnet18.a1_in1k", "resnet18.a2_in1k", "lenet5"]):
        figures(each)
    assert built == ["resnet18.a1_in1k", "lenet5"]


def test_a_local_folder_is_a_backbone_too(tmp_path: Path) -> None:
    save_local_dir(timm.create_model("lenet5", in_chans=3), tmp_path / "net")
    (found,) = find_backbones([f"local-dir:{tmp_path / 'net'}"])
    assert (found.image, found.source) == (None, "local-dir")
    known = figures(found)
    assert known is not None
    assert (known.image, known.parameters) == ((3, 32, 32), 61_706 + 2 * 25 * 6)  # two more channels of 5x5, six times
    with pytest.raises(MissingFileError, match=r"no .*config\.json"):
        find_backbones([f"local-dir:{tmp_path / 'nothing'}"])


def test_what_cannot_be_built_has_no_figures(tmp_path: Path) -> None:
    assert figures(Facts("no_such_network", None, "", (tmp_path,))) is None
