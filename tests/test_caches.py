"""Where downloads lie: the same places as those of the libraries that make them."""

from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from visiontasks.caches import folder_size, has_download, hub_folder, own_folder, torch_folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's cache without variables that name other folders."""
    for name in ("VISIONTASKS_CACHE", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TORCH_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_folders_are_those_of_the_libraries(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_folder() == home / "visiontasks"
    assert hub_folder() == home / "huggingface" / "hub"
    assert str(torch_folder()) == f"{torch.hub.get_dir()}/checkpoints"  # type: ignore[no-untyped-call]
    monkeypatch.setenv("HF_HOME", str(home / "a"))
    assert hub_folder() == home / "a" / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(home / "b"))
    assert hub_folder() == home / "b"
    monkeypatch.setenv("TORCH_HOME", str(home / "c"))
    assert str(torch_folder()) == f"{torch.hub.get_dir()}/checkpoints"  # type: ignore[no-untyped-call]
    monkeypatch.setenv("VISIONTASKS_CACHE", str(home / "d"))
    assert own_folder() == home / "d"


def test_the_hubs_folder_is_that_of_this_process() -> None:
    assert str(hub_folder()) == constants.HF_HUB_CACHE


def test_a_download_counts_with_its_weights_only(home: Path) -> None:
    snapshot = home / "huggingface" / "hub" / "models--timm--resnet18.a1_in1k" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert not has_download("timm/resnet18.a1_in1k")
    (snapshot / "model.safetensors").write_bytes(b"x")
    assert has_download("timm/resnet18.a1_in1k")
    assert has_download("timm/resnet18.a1_in1k@main")
    assert not has_download("timm/resnet18")


def test_a_download_by_its_address(home: Path) -> None:
    address = "https://example.org/models/lenet-abc.pth?download=1"
    assert not has_download(address)
    torch_folder().mkdir(parents=True)
    (torch_folder() / "lenet-abc.pth").write_bytes(b"x")
    assert has_download(address)


def test_a_folders_size_is_that_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one").write_bytes(bytes(3))
    (tmp_path / "a" / "b" / "two").write_bytes(bytes(40))
    (tmp_path / "a" / "link").symlink_to(tmp_path / "a" / "one")
    assert folder_size(tmp_path / "a") == 43
    assert folder_size(tmp_path / "nowhere") == 0
