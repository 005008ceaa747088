import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from visiontasks.backbones.weight_files import read_weights
from visiontasks.errors import InputError, MissingFileError

TENSORS = {"conv.weight": torch.tensor([1.0, 2.0]), "fc.bias": torch.tensor([3.0])}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_reads_safetensors(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "a.safetensors")
    assert same(read_weights(tmp_path / "a.safetensors"), TENSORS)


def test_reads_the_model_of_a_folder(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "model.safetensors")
    assert same(read_weights(tmp_path), TENSORS)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt", ".tar"])
def test_reads_pickled_tensors(suffix: str, tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / f"a{suffix}")
    assert same(read_weights(tmp_path / f"a{suffix}"), TENSORS)


@pytest.mark.parametrize("key", ["state_dict", "model", "model_ema", "state_dict_ema"])
def test_finds_the_state_dict_in_a_checkpoint(key: str, tmp_path: Path) -> None:
    torch.save({key: TENSORS, "epoch": 3, "optimizer": {"lr": 0.1}}, tmp_path / "a.pth")
    assert same(read_weights(tmp_path / "a.pth"), TENSORS)


def test_prefers_the_moving_average(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(1)}, "state_dict_ema": TENSORS}, tmp_path / "a.pth")
    assert same(read_weights(tmp_path / "a.pth"), TENSORS)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_takes_wrappers_off(prefix: str, tmp_path: Path) -> None:
    torch.save({prefix + key: tensor for key, tensor in TENSORS.items()}, tmp_path / "a.pth")
    assert same(read_weights(tmp_path / "a.pth"), TENSORS)


def test_takes_only_the_backbone_of_a_run(tmp_path: Path) -> None:
    state = {f"backbone.{key}": tensor for key, tensor in TENSORS.items()} | {"head.weight": torch.ones(1)}
    torch.save({"state_dict": state, "epoch": 7, "pytorch-lightning_version": "2.6.6"}, tmp_path / "best.ckpt")
    assert same(read_weights(tmp_path / "best.ckpt"), TENSORS)


def test_missing_file_names_the_path_and_the_recipe_key(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no weight file .*nowhere\.pth: .*model\.init_args\.weights"):
        read_weights(tmp_path / "nowhere.pth")


def test_folder_without_a_model_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"model\.safetensors"):
        read_weights(tmp_path)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_truncated_file_is_refused_by_name(name: str, kept: int, tmp_path: Path) -> None:
    path = tmp_path / name
    save_file(TENSORS, path) if path.suffix == ".safetensors" else torch.save(TENSORS, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=f"cannot read .*{name}: truncated"):
        read_weights(path)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth", "a.ckpt"])
def test_text_is_refused_by_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("<html>404</html>\n" * 20)
    with pytest.raises(InputError, match=f"cannot read .*{name}"):
        read_weights(tmp_path / name)


@pytest.mark.parametrize("name", ["a.onnx", "a.npz", "a.jpg", "a"])
def test_other_kinds_of_files_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"1")
    with pytest.raises(InputError, match=r"no weight file: expected one of \.safetensors, \.pth"):
        read_weights(tmp_path / name)


class Malicious:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    torch.save({"state_dict": TENSORS, "extra": Malicious(tmp_path / "trace")}, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"cannot read .*a\.pth: .*never loaded because they can run code"):
        read_weights(tmp_path / "a.pth")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("content", [{}, [1, 2], {"a": 1}, torch.ones(2)])
def test_file_without_named_tensors_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"a\.pth holds no tensors"):
        read_weights(tmp_path / "a.pth")
