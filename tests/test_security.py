"""Attacks by a recipe, a weight file or a dataset that a stranger made: none may run code, read or write elsewhere."""

import hashlib
import io
import json
import os
import pickle
import shutil
import struct
import sys
import tarfile
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import yaml
from jsonargparse import Namespace
from PIL import Image
from torchvision.datasets import CIFAR10 as OfficialFiles
from torchvision.datasets.utils import extract_archive

import visiontasks.backbones
from visiontasks import downloads
from visiontasks.commands.outcome import print_result
from visiontasks.data import CIFAR10, COCOBoxes, CSVBoxes, OxfordPets, VOCBoxes, VOCSegmentation
from visiontasks.data.formats.annotations import path_inside
from visiontasks.downloads import DOWNLOADS, Download
from visiontasks.errors import BadSamplesError, InputError
from visiontasks.recipe import find_recipe, read_recipe
from visiontasks.recipe.classes import check_classes

Refused = Callable[[str], str]
WriteScenes = Callable[..., None]

ATTACK = """
from typing import Any
from torch.optim import SGD
from lightning.pytorch import Callback

ran = []

def function(*args, **kwargs) -> SGD:
    ran.append("function")
    return SGD(args[0], lr=1.0)

def image(image, **kwargs):
    ran.append("image")
    return image

class Foreign:
    def __init__(self, *args, **kwargs):
        ran.append("class")

    def __call__(self, image, **kwargs):
        return image

class Harmless(Callback):
    def __init__(self, anything: Any = None):
        self.anything = anything
"""


@pytest.fixture
def attack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module that notes in `ran` what of it is run; it and the tests' own files lie in the working folder."""
    (tmp_path / "attack.py").write_text(ATTACK)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "attack", raising=False)
    import attack

    yield attack
    sys.modules.pop("attack", None)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """The file that a pickle of `Payload` makes when it is unpickled."""
    return tmp_path / "was_here"


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def write_recipe(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    recipe = read_recipe(find_recipe("digits_lenet"))
    recipe["trainer"] = {"fast_dev_run": True}
    edit(recipe)
    path.write_text(yaml.safe_dump(recipe))


def logger(**arguments: Any) -> dict[str, Any]:
    return {"class_path": "TensorBoardLogger", "init_args": {"save_dir": "logs"}, **arguments}


FOREIGN = {"class_path": "attack.Foreign"}
CALLBACK = "lightning.pytorch.callbacks.LambdaCallback"


# What a recipe could name at a key, and what its refusal says.
NAMED: dict[str, tuple[str, Any, str]] = {
    "optimizer, function": ("model.init_args.optimizer", "attack.function", "is a function or similar"),
    "optimizer, os.system": ("model.init_args.optimizer", "os.system", "a function that returns <class 'Optimizer'>"),
    "optimizer, subprocess.call": ("model.init_args.optimizer", "subprocess.call", "a function that returns"),
    "optimizer, class": ("model.init_args.optimizer", FOREIGN, "a subclass of <class 'Optimizer'>"),
    "head, function": ("model.init_args.head", "os.system", "a function that returns <class 'Module'>"),
    "head, class": ("model.init_args.head", FOREIGN, "a subclass of <class 'Module'>"),
    "schedule, function": ("model.init_args.schedule", "os.system", "a subclass of Schedule"),
    "schedule, class": ("model.init_args.schedule", FOREIGN, "a subclass of Schedule"),
    "task": ("model.class_path", "attack.Foreign", "a subclass of Task"),
    "data": ("data.class_path", "attack.Foreign", "a subclass of DataModule"),
    "transform": ("data.init_args.augment", [FOREIGN], "a subclass of Base"),
    "callback": ("trainer.callbacks", [FOREIGN], "a subclass of Callback"),
    "logger": ("trainer.logger", FOREIGN, "trainer.logger: expected"),
    "strategy": ("trainer.strategy", FOREIGN, "trainer.strategy: expected"),
    "profiler": ("trainer.profiler", FOREIGN, "trainer.profiler: expected"),
    "plugin": ("trainer.plugins", [FOREIGN], "trainer.plugins: "),
    # where an argument may be anything, jsonargparse makes any class and takes any function
    "argument, class": (
        "trainer.callbacks",
        [{"class_path": "attack.Harmless", "init_args": {"anything": FOREIGN}}],
        "trainer.callbacks.init_args.anything.class_path: attack.Foreign is not a class that a recipe may name",
    ),
    "argument, list of classes": (
        "trainer.callbacks",
        [{"class_path": "attack.Harmless", "init_args": {"anything": [{"a": FOREIGN}]}}],
        "attack.Foreign is not a class that",
    ),
    "argument, subprocess.Popen": (
        "trainer.callbacks",
        [{"class_path": "attack.Harmless", "init_args": {"anything": {"class_path": "subprocess.Popen"}}}],
        "subprocess.Popen is not a class that",
    ),
    "keyword of a logger": (
        "trainer.logger",
        logger(dict_kwargs={"comment": FOREIGN}),
        "is not a class that a recipe may name",
    ),
    "function of a callback": (
        "trainer.callbacks",
        [{"class_path": CALLBACK, "init_args": {"setup": "attack.function"}}],
        "trainer.callbacks.init_args.setup: attack.function is a function or similar",
    ),
    "function of a transform": (
        "data.init_args.augment",
        [{"class_path": "Lambda", "init_args": {"image": "attack.image"}}],
        "data.init_args.augment.init_args.image: attack.image is a function or similar",
    ),
    "callable of a transform": (
        "data.init_args.augment",
        [{"class_path": "Lambda", "init_args": {"image": FOREIGN}}],
        "attack.Foreign is not a class that",
    ),
}


@pytest.mark.filterwarnings("ignore:\\s*Importing '.*' is not allowed:DeprecationWarning")  # with jsonargparse 4.53
@pytest.mark.parametrize("name", NAMED)
def test_a_recipe_runs_nothing_but_classes_of_the_kinds_that_it_is_made_of(
    name: str, attack: Any, refused: Refused
) -> None:
    key, value, expected = NAMED[name]

    def edit(recipe: dict[str, Any]) -> None:
        *sections, last = key.split(".")
        for section in sections:
            recipe = recipe[section]
        recipe[last] = value

    write_recipe(Path("recipe.yaml"), edit)
    assert expected in refused("finetune recipe.yaml")
    assert attack.ran == []


def test_a_class_of_the_users_own_that_is_on_the_path_is_taken(attack: Any) -> None:
    check_classes(Namespace(trainer=Namespace(callbacks=[Namespace(class_path="attack.Harmless")])))


@pytest.mark.parametrize(
    "line",
    [
        "!!python/object/apply:os.system ['touch was_here']",
        "!!python/object/new:os.system ['touch was_here']",
        "!!python/name:os.system",
        "!!python/module:attack",
    ],
)
def test_tags_in_a_recipe_are_refused(line: str, attack: Any, marker: Path, refused: Refused) -> None:
    content = find_recipe("digits_lenet").read_text()
    Path("recipe.yaml").write_text(content.replace("seed_everything: 0", f"seed_everything: {line}"))
    assert "could not determine a constructor for the tag" in refused("finetune recipe.yaml")
    assert not marker.exists()


@pytest.mark.parametrize(
    "bomb",
    [
        "a0: &a0 [1]\n" + "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(30)),
        "a: &a [*a]\n",
        f"a: {'[' * 5000}{']' * 5000}\n",
    ],
    ids=["doubled", "in itself", "deep"],
)
def test_aliases_in_a_recipe_cannot_grow_without_bounds(bomb: str, attack: Any, refused: Refused) -> None:
    Path("recipe.yaml").write_text(bomb + find_recipe("digits_lenet").read_text())
    assert "more values in each other than a recipe has" in refused("finetune recipe.yaml")


def test_a_recipe_reads_no_environment(attack: Any, refused: Refused) -> None:
    write_recipe(Path("recipe.yaml"), lambda recipe: recipe["model"]["init_args"].update(backbone="${HOME}"))
    assert "unknown backbone '${HOME}'" in refused("finetune recipe.yaml")


def test_another_recipe_that_a_recipe_names_is_not_silently_left_out(attack: Any, refused: Refused) -> None:
    write_recipe(Path("recipe.yaml"), lambda recipe: recipe.update(config="more.yaml"))
    assert "config is not a section, and the file that it names would not be read" in refused("finetune recipe.yaml")


def test_a_section_in_another_file_is_checked_like_one_in_the_recipe(attack: Any, refused: Refused) -> None:
    Path("trainer.yaml").write_text(
        yaml.safe_dump({"callbacks": [{"class_path": CALLBACK, "init_args": {"setup": "attack.function"}}]})
    )
    write_recipe(Path("recipe.yaml"), lambda recipe: recipe.update(trainer="trainer.yaml"))
    assert "attack.function is a function or similar" in refused("finetune recipe.yaml")
    assert attack.ran == []


def write_pickle(path: Path, payload: Payload) -> Path:
    """A checkpoint as torch writes it, or a bare pickle if the name says so."""
    if "bare" in path.name:
        path.write_bytes(pickle.dumps(payload, protocol=2))
    else:
        torch.save({"state_dict": {"a": payload}, "visiontasks": {"class_names": payload}}, path)
    return path


@pytest.mark.parametrize("file", ["made.pth", "made.ckpt", "made.bin", "bare.pth", "bare.tar"])
def test_a_pickle_among_weights_is_not_run(file: str, tmp_path: Path, marker: Path, refused: Refused) -> None:
    path = write_pickle(tmp_path / file, Payload(marker))
    said = refused(f"finetune digits_lenet --model.weights {path}")
    assert f"cannot read {path}" in said
    assert "it holds posix.system)" in said
    assert "weights_only" not in said
    assert not marker.exists()


@pytest.mark.parametrize("file", ["made.ckpt", "bare.ckpt"])
def test_a_pickle_to_start_from_is_not_run(file: str, tmp_path: Path, marker: Path, refused: Refused) -> None:
    path = write_pickle(tmp_path / file, Payload(marker))
    said = refused(f"finetune digits_localize --init_from {path}")
    assert f"init_from: {path} cannot be read" in said
    assert not marker.exists()


@pytest.mark.parametrize("file", ["made.ckpt", "bare.ckpt"])
def test_a_pickle_as_a_runs_checkpoint_is_not_run(file: str, tmp_path: Path, marker: Path, refused: Refused) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    shutil.copy(find_recipe("digits_lenet"), tmp_path / "run" / "recipe.yaml")
    path = tmp_path / "run" / "checkpoints" / "best.ckpt"
    write_pickle(tmp_path / file, Payload(marker)).rename(path)
    assert f"{path} cannot be read" in refused(f"evaluate {tmp_path / 'run'}")
    assert not marker.exists()


def tensor_header(**entry: Any) -> bytes:
    header = json.dumps({"a": entry}).encode()
    return struct.pack("<Q", len(header)) + header


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 2**60) + b"{}",
        tensor_header(dtype="F32", shape=[2**40], data_offsets=[0, 2**42]),
        tensor_header(dtype="F32", shape=[2**62, 2**62], data_offsets=[0, 0]),
        struct.pack("<Q", 200_000) + b"[" * 200_000,
    ],
    ids=["long header", "large tensor", "overflow", "deep header"],
)
def test_a_safetensors_file_that_lies_about_its_size_is_refused(
    content: bytes, tmp_path: Path, refused: Refused
) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    said = refused(f"finetune digits_lenet --model.weights {tmp_path}/a.safetensors")
    assert "not a safetensors file (Error while deserializing header: " in said


def local_dir(folder: Path, *, top: dict[str, Any], cfg: dict[str, Any]) -> str:
    """A folder of lenet5 with things in its config.json."""
    folder.mkdir()
    safetensors.torch.save_file(timm.create_model("lenet5", in_chans=1).state_dict(), folder / "model.safetensors")
    known = {"mean": [0.5], "std": [0.5], "input_size": [1, 32, 32], "num_classes": 10}
    (folder / "config.json").write_text(json.dumps({"architecture": "lenet5", "pretrained_cfg": known | cfg} | top))
    return str(folder)


@pytest.mark.parametrize(
    ("top", "cfg", "expected"),
    [
        ({"architecture": "os.system"}, {}, "unknown backbone"),
        ({"model_args": {"checkpoint_path": "made.pth"}}, {}, "unexpected keyword argument 'checkpoint_path'"),
        ({"model_args": ["x"]}, {}, "timm cannot build"),
        ({"pretrained_cfg": "x"}, {}, "timm cannot build"),
        ({}, {"mean": "abc"}, "the mean of"),
        ({}, {"std": [0.0]}, "the std of"),
        ({}, {"std": [float("nan")]}, "the std of"),
    ],
)
def test_a_weight_folder_cannot_name_anything_to_run(
    top: dict[str, Any], cfg: dict[str, Any], expected: str, attack: Any, marker: Path, refused: Refused
) -> None:
    write_pickle(Path("made.pth"), Payload(marker))
    folder = local_dir(Path("folder"), top=top, cfg=cfg)
    assert expected in refused(f"finetune digits_lenet --model.weights {folder}")
    assert not marker.exists()


def test_a_weight_folders_other_sources_are_not_read(attack: Any, marker: Path) -> None:
    file = str(write_pickle(Path("made.pth").absolute(), Payload(marker)))
    cfg = {"file": file, "url": f"file://{file}", "custom_load": True, "source": "timm", "hf_hub_id": "a/b"}
    folder = local_dir(Path("folder"), top={}, cfg=cfg)
    net = visiontasks.backbones.create_vector("lenet5", weights=folder, in_chans=1)
    own = safetensors.torch.load_file(f"{folder}/model.safetensors")
    assert all(torch.equal(tensor, own[name]) for name, tensor in net.state_dict().items())
    assert not marker.exists()


def test_an_altered_batch_of_cifar10_is_refused_before_it_is_unpickled(
    tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    def write(name: str) -> list[str]:
        good = pickle.dumps({"data": np.zeros((20, 3072), np.uint8), "labels": [i % 10 for i in range(20)]})
        (folder / name).write_bytes(good)
        return [name, hashlib.md5(good, usedforsecurity=False).hexdigest()]

    names = [f"data_batch_{i}" for i in range(1, 6)]
    monkeypatch.setattr(OfficialFiles, "train_list", [write(name) for name in names])
    monkeypatch.setattr(OfficialFiles, "test_list", [write("test_batch")])
    for name in (*names, "test_batch"):
        good = (folder / name).read_bytes()
        (folder / name).write_bytes(pickle.dumps(Payload(marker)))
        with pytest.raises(InputError, match="md5 is wrong"):
            CIFAR10(str(tmp_path)).setup()
        (folder / name).write_bytes(good)
    assert not marker.exists()


def one_problem(data: Any, n: int = 4) -> str:
    with pytest.raises(BadSamplesError) as raised:
        data.setup()
    headline, *lines, _ = str(raised.value).splitlines()
    assert f"1 of {n} samples" in headline
    return "\n".join(lines)


LAUGHS = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(10))


@pytest.mark.parametrize(
    "xml",
    [
        f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]><annotation><object><name>&l10;</name></object></annotation>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><filename>&x;</filename></annotation>',
        '<!DOCTYPE a SYSTEM "http://127.0.0.1:1/a.dtd"><annotation/>',
        '<!DOCTYPE a [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]><annotation/>',
    ],
    ids=["billion laughs", "external entity", "external type", "parameter entity"],
)
def test_entities_in_annotations_are_refused(xml: str, tmp_path: Path, write_scenes: WriteScenes) -> None:
    write_scenes(tmp_path, "VOCBoxes", n=8)
    (tmp_path / "annotations" / "cat_1.xml").write_text(xml)
    assert "a DOCTYPE is refused" in one_problem(VOCBoxes(str(tmp_path)), 8)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A root with 0.png to 3.png, and an image beside it that is none of its business."""
    root = tmp_path / "root"
    root.mkdir()
    for path in (*(root / f"{i}.png" for i in range(4)), tmp_path / "secret.png"):
        Image.new("RGB", (8, 6)).save(path)
    return root


LEADING_OUT = ["../secret.png", "x/../../secret.png", "{outside}/secret.png", "a" * 300, "nul\0.png", "./../secret.png"]


@pytest.mark.parametrize("written", LEADING_OUT, ids=ascii)
def test_a_path_in_csv_cannot_leave_the_root(written: str, dataset: Path) -> None:
    path = written.format(outside=dataset.parent)
    lines = [f"{name},cat,1,1,5,4" for name in ("0.png", "1.png", "2.png", path)]
    (dataset / "boxes.csv").write_text("\n".join(["path,label,x1,y1,x2,y2", *lines]))
    assert f"path {path!r:.100} is not a path below {dataset}/" in one_problem(CSVBoxes(str(dataset)))


@pytest.mark.parametrize("written", [*LEADING_OUT, "\ud800.png"], ids=ascii)
def test_a_file_name_in_coco_cannot_leave_the_root(written: str, dataset: Path) -> None:
    path = written.format(outside=dataset.parent).replace(
        "../secret", "../../../secret"
    )  # images/<split>/ is looked in
    names = ["0.png", "1.png", "2.png", path]
    instances = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [{"id": i, "image_id": i, "category_id": 1, "bbox": [1, 1, 4, 3]} for i in range(4)],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (dataset / "instances.json").write_text(json.dumps(instances))
    assert f"file_name {path!r:.100} is not a path below {dataset}/" in one_problem(COCOBoxes(str(dataset)))


@pytest.mark.parametrize("stem", ["../../../secret", "{outside}/secret", "{outside}/JPEGImages/secret"])
def test_a_listing_of_voc_cannot_leave_the_root(
    stem: str, tmp_path: Path, write_scenes: WriteScenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scenes(tmp_path, "VOCSegmentation")
    listing = tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt"
    listing.write_text(f"{listing.read_text()}\n{stem.format(outside=tmp_path)}")
    with pytest.raises(InputError, match=r"train\.txt leads out of JPEGImages/: .*secret\.jpg"):
        VOCSegmentation(str(tmp_path)).setup()


@pytest.mark.parametrize("stem", ["../../secret_1", "/secret_1"])
def test_a_listing_of_pets_cannot_leave_the_root(stem: str, tmp_path: Path, write_scenes: WriteScenes) -> None:
    write_scenes(tmp_path, "OxfordPets")
    listing = tmp_path / "oxford-iiit-pet/annotations/trainval.txt"
    listing.write_text(f"{listing.read_text()}{stem} 1 1 1\n")
    with pytest.raises(InputError, match=r"trainval\.txt: expected lines of stem"):
        OxfordPets(str(tmp_path)).setup()


def test_a_split_file_names_only_what_lies_in_the_folders(tmp_path: Path, write_scenes: WriteScenes) -> None:
    write_scenes(tmp_path, "VOCBoxes")
    (tmp_path / "train.txt").write_text("cat_1\n../../secret\n")
    with pytest.raises(InputError, match=r"train\.txt names files that are not there: \.\./\.\./secret"):
        VOCBoxes(str(tmp_path)).setup()


def test_paths_that_stay_below_the_root_are_followed_and_links_of_its_owner_too(dataset: Path) -> None:
    (dataset / "link.png").symlink_to(dataset.parent / "secret.png")
    for written, expected in (
        ("0.png", "0.png"),
        ("link.png", "link.png"),
        ("x/../0.png", "0.png"),
        (f"{dataset}/0.png", "0.png"),
        (f"../{dataset.name}/0.png", "0.png"),
    ):
        assert path_inside(dataset, dataset, written) == str(dataset / expected)
    assert path_inside(dataset, dataset / "annotations", "../0.png") == str(dataset / "0.png")
    assert path_inside(dataset, dataset, f"{dataset}2/0.png") is None


@pytest.mark.parametrize("name", ["\x1b[31mred", "a\rb", "a\u202eb", "a\x07b", "a\x00b"])
def test_class_names_that_a_terminal_would_act_on_are_refused(name: str, dataset: Path) -> None:
    lines = [f'{i}.png,"{name}",1,1,5,4' for i in range(4)]
    (dataset / "boxes.csv").write_bytes("\n".join(["path,label,x1,y1,x2,y2", *lines]).encode())
    with pytest.raises(InputError) as raised:
        CSVBoxes(str(dataset)).setup()
    assert "class names with characters that cannot be printed" in str(raised.value)
    assert str(raised.value).isprintable()


def test_class_names_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["[red]x[/red]", "[/]", "[link=http://x]y[/link]", ":smile:"]
    by_class = {"test/recall": dict.fromkeys(names, 0.5)}
    print_result({"samples": {"evaluated": 1, "of": 1}, "metrics": {}, "class_metrics": by_class}, title="[/] [bold]")
    printed = capsys.readouterr().out
    assert [name for name in (*names, "[/] [bold]") if name not in printed] == []


def test_names_of_files_in_an_error_do_nothing_to_the_terminal(attack: Any, refused: Refused) -> None:
    said = refused("finetune 'digits\x1b[2Jx.yaml'")
    assert "no recipe file digits\\x1b[2Jx.yaml" in said


def tar_with(path: Path, member: tarfile.TarInfo) -> Path:
    content = b"x" * member.size
    with tarfile.open(path, "w") as archive:
        archive.addfile(member, io.BytesIO(content))
    return path


def member(name: str, **attributes: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in {"size": 1 if not attributes else 0, **attributes}.items():
        setattr(info, key, value)
    return info


def extract_like_old_torchvision(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(folder)


def extract_before_python_3_11_4(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            downloads._checking(tarfile.TarFile.extract)(tar, member, str(folder))


@pytest.mark.filterwarnings("ignore:Python 3.14 will:DeprecationWarning")
@pytest.mark.parametrize("extract", [extract_like_old_torchvision, extract_archive, extract_before_python_3_11_4])
@pytest.mark.parametrize(
    "info",
    [
        member("../evil"),
        member("{outside}/evil"),
        member("link", type=tarfile.SYMTYPE, linkname="{outside}"),
        member("link", type=tarfile.SYMTYPE, linkname="../.."),
        member("pipe", type=tarfile.FIFOTYPE),
    ],
    ids=["up", "absolute", "absolute link", "link up", "pipe"],
)
def test_a_downloaded_archive_writes_into_its_folder_only(
    info: tarfile.TarInfo,
    extract: Callable[[Path, Path], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root, extract_before = tmp_path / "root", tarfile.TarFile.extract
    root.mkdir()
    info = copy(info)
    info.name, info.linkname = (text.format(outside=tmp_path) for text in (info.name, info.linkname))
    archive = tar_with(tmp_path / "a.tar", info)
    monkeypatch.setattr("visiontasks.downloads.unreachable", lambda _: None)
    download = Download("X", ("https://example.org/a.tar",), (("there",),), "there")
    before = sorted(path.name for path in tmp_path.iterdir())
    try:
        download.provide(root, lambda: extract(archive, root), allowed=True)
    except InputError as error:
        assert str(error).startswith(f"the download of X into {root}/ failed (")  # noqa: PT017  one of two outcomes
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert [path for path in root.rglob("*") if path.is_symlink() or path.is_fifo()] == []
    assert tarfile.TarFile.extract is extract_before
    assert getattr(tarfile.TarFile, "extraction_filter", None) is None


def test_every_download_is_verified_by_torchvision_with_an_md5() -> None:
    from torchvision.datasets import CIFAR10 as CIFAR10Files
    from torchvision.datasets import MNIST as MNISTFiles
    from torchvision.datasets import OxfordIIITPet
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    digests = {
        "CIFAR10": [CIFAR10Files.tgz_md5],
        "MNIST": [md5 for _, md5 in MNISTFiles.resources],
        "OxfordPets": [md5 for _, md5 in OxfordIIITPet._RESOURCES],
        "VOCSegmentation": [DATASET_YEAR_DICT["2012"]["md5"]],
    }
    assert digests.keys() == DOWNLOADS.keys()
    assert all(len(bytes.fromhex(md5)) == 16 for of_dataset in digests.values() for md5 in of_dataset)
