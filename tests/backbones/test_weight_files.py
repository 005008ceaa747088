import os
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from visiontasks.backbones.weight_files import read_weights, strip_prefix
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


def test_reads_a_checkpoint_of_timm_with_its_arguments(tmp_path: Path) -> None:
    arguments = Namespace(model="resnet18", lr=0.1, mean=(0.5, 0.5, 0.5), nested=Namespace(a=1), output=Path("out"))
    content = {"epoch": 3, "arch": "resnet18", "state_dict": {"a": torch.zeros(1)}, "state_dict_ema": TENSORS}
    torch.save({**content, "args": arguments, "version": 2, "metric": 75.2}, tmp_path / "model_best.pth.tar")
    assert same(read_weights(tmp_path / "model_best.pth.tar"), TENSORS)
    assert Namespace not in torch.serialization.get_safe_globals()  # elsewhere it stays refused


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("made",)


@pytest.mark.parametrize("hidden", [Code(), Namespace(lr=0.1, hidden=Code()), Namespace(hidden=[{"a": Code()}])])
def test_code_within_arguments_is_refused_and_not_run(
    hidden: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": TENSORS, "args": hidden}, tmp_path / "model_best.pth.tar")
    with pytest.raises(InputError, match=r"never loaded because they can run code .*save the tensors alone"):
        read_weights(tmp_path / "model_best.pth.tar")
    assert not (tmp_path / "made").exists()


PREFIXES = ("model.", "net.", "network.", "encoder.", "module.model.", "model._orig_mod.", "model.backbone.")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefix_of_a_module_around_the_network_is_taken_off(prefix: str) -> None:
    tensors = {prefix + key: tensor for key, tensor in TENSORS.items()} | {"loss.weight": torch.ones(5)}
    assert same(strip_prefix(tensors, TENSORS.keys(), Path("a.ckpt")), TENSORS)


def test_names_of_the_network_itself_stay() -> None:
    """conv.weight is in blocks.conv.weight too."""
    tensors = {"conv.weight": torch.ones(1), "blocks.conv.weight": torch.ones(1), "fc.bias": torch.ones(1)}
    assert same(strip_prefix(tensors, tensors.keys(), Path("a.pth")), tensors)


def test_another_format_is_left_to_timm() -> None:
    tensors = {"trunk.norm.weight": torch.ones(1), "trunk.layers.0.w": torch.ones(1)}
    assert same(strip_prefix(tensors, {"norm.weight", "blocks.0.weight", "head.weight"}, Path("a.pth")), tensors)


def test_two_networks_in_a_file_are_refused_by_their_prefixes() -> None:
    tensors = {f"{prefix}.{key}": tensor for prefix in ("student", "teacher") for key, tensor in TENSORS.items()}
    with pytest.raises(InputError, match=r"a\.ckpt holds 2 networks, student\., teacher\.: .*in a separate file"):
        strip_prefix(tensors, TENSORS.keys(), Path("a.ckpt"))


def test_missing_file_names_the_path_and_the_recipe_key(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no weight file .*nowhere\.pth: .*model\.init_args\.weights"):
        read_weights(tmp_path / "nowhere.pth")


def test_folder_without_a_model_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"model\.safetensors"):
        read_weights(tmp_path)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_truncated_file_is_refused_by_name(name: str, length: int, tmp_path: Path) -> None:
    path = tmp_path / name
    save_file(TENSORS, path) if path.suffix == ".safetensors" else torch.save(TENSORS, path)
    path.write_bytes(path.read_bytes()[:length])
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
    with pytest.raises(InputError, match=r"not a weight file: expected one of \.safetensors, \.pth"):
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
