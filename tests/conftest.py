"""What every test gets: fixed seeds and threads, no network, real data only from VISIONTASKS_DATA."""

import os

# Before the first import of these libraries: timm's downloads then fail at once instead of after 47 s of
# retries, and matplotlib needs no display. The tests' child processes inherit both.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"

import ipaddress
import random
import shlex
import socket
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

LONG_TIERS = ("realdata", "slow", "soak", "gpu")
LONG_TIMEOUT_S = 1800
COLOURS = ((200, 60, 60), (60, 200, 60), (60, 60, 200), (200, 200, 60), (60, 200, 200), (200, 60, 200))
# Sums depend on the number of threads, xdist gives each worker one core, and a process that has used several threads
# cannot be forked: OpenMP would wait in the child for threads that it does not have.
NUM_THREADS = 1

PLACES = {  # of images, masks and box files
    "VOCBoxes": ("images", None, "annotations"),
    "MaskFolder": ("images", "masks", None),
    "OxfordPets": ("images", "annotations/trimaps", "annotations/xmls"),
    "VOCSegmentation": ("JPEGImages", "SegmentationClass", None),
}
ROOTS = {"OxfordPets": "oxford-iiit-pet", "VOCSegmentation": "VOCdevkit/VOC2012"}
BOX = "<bndbox><xmin>8</xmin><ymin>6</ymin><xmax>30</xmax><ymax>25</ymax></bndbox>"


class NetworkBlockedError(OSError):
    """A test asked for a machine other than this one."""


def is_local(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode()
    if host is None or host in (
        "",
        "localhost",
        "localhost.localdomain",
        socket.gethostname(),
        socket.getfqdn(),
    ):
        return True
    try:
        address = ipaddress.ip_address(str(host).split("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def block_network() -> None:
    """Let sockets and name look-ups reach this machine only; at import time too, hence no fixture."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def check(host: object) -> None:
        if not is_local(host):
            raise NetworkBlockedError(f"tests have no network: connection to {host!r}")

    def local_connect(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            check(address[0])
        connect(self, address)

    def local_connect_ex(self: socket.socket, address: Any) -> int:
        if self.family != socket.AF_UNIX:
            check(address[0])
        return connect_ex(self, address)

    def local_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        check(host)
        return getaddrinfo(host, *args, **kwargs)

    socket.socket.connect = local_connect
    socket.socket.connect_ex = local_connect_ex
    socket.getaddrinfo = local_getaddrinfo


block_network()
torch.set_num_threads(NUM_THREADS)
os.environ["OMP_NUM_THREADS"] = str(NUM_THREADS)  # of processes that tests start: the load must not choose it


@cache
def data_folder() -> Path | None:
    named = os.environ.get("VISIONTASKS_DATA")
    if not named:
        return None
    if not Path(named).is_dir():
        raise pytest.UsageError(f"VISIONTASKS_DATA={named} is not a folder")
    return Path(named).resolve()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    without_data = pytest.mark.skip(reason="VISIONTASKS_DATA does not name a folder of archives")
    without_gpu = pytest.mark.skip(reason="no accelerator")
    for item in items:
        if "realdata" in item.keywords and data_folder() is None:
            item.add_marker(without_data)
        if "gpu" in item.keywords and not torch.cuda.is_available():
            item.add_marker(without_gpu)
        if item.get_closest_marker("timeout") is None and any(tier in item.keywords for tier in LONG_TIERS):
            item.add_marker(pytest.mark.timeout(LONG_TIMEOUT_S))


@pytest.fixture(scope="session", autouse=True)
def features_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Features of frozen backbones are kept in a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISIONTASKS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Every test starts from the same random state, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  libraries draw from the global state
    torch.manual_seed(0)


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which the test runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """`refused("finetune x")`: what a command says on stderr, which has to be short, with exit status 2."""
    from visiontasks.commands.main import ERROR_LINES, main

    def run(arguments: str) -> str:
        try:
            status: Any = main(shlex.split(arguments))
        except SystemExit as end:  # argparse
            status = end.code
        said = capsys.readouterr().err
        assert status == 2, said
        assert 1 <= len(said.strip().splitlines()) <= ERROR_LINES, said
        assert "Traceback" not in said
        assert "error: " in said
        return said

    return run


@pytest.fixture(scope="session")
def predicted() -> Callable[..., dict[str, Any]]:
    """`predicted(task, batch)["boxes"]`: the predictions of a batch, stacked; masks, which differ in size, listed.

    Images without a geometry are their own originals.
    """

    def predict(task: Any, batch: dict[str, Any]) -> dict[str, Any]:
        sizes = [*batch["image"].shape[-2:]] * 3
        batch = {"geometry": torch.tensor([[*sizes, 0, 0]] * len(batch["image"])), **batch}  # a copy gets the features
        with torch.no_grad():
            outputs = list(task.predict(batch))
        if outputs[0].mask is not None:
            return {name: [getattr(output, name) for output in outputs] for name in ("mask", "scores")}
        known = [name for name in ("boxes", "probability") if getattr(outputs[0], name, None) is not None]
        return {name: torch.from_numpy(np.stack([getattr(output, name) for output in outputs])) for name in known}

    return predict


@pytest.fixture(scope="session")
def class_folders() -> Callable[..., Path]:
    """`class_folders(root, {"train/cat": 4})`: noisy images under root, of one colour for each class name."""

    def write(root: Path, folders: dict[str, int], *, size: tuple[int, int] = (40, 32)) -> Path:
        names = sorted({Path(folder).name for folder in folders})
        for folder, number in folders.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            colour = np.array(COLOURS[names.index(Path(folder).name) % len(COLOURS)])
            for i in range(number):
                noise = np.random.default_rng(i).integers(-40, 40, (size[1], size[0], 3))
                pixels = np.clip(colour + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / folder / f"{i}.png")
        return root

    return write


@pytest.fixture(scope="session")
def write_scenes() -> Callable[..., None]:
    """`write_scenes(root, "VOCBoxes")`: 24 images of 40x32 with a mask or box each, in a source's layout, half cats."""

    def write(root: Path, source: str, n: int = 24) -> None:
        root = root / ROOTS.get(source, "")
        images, masks, boxes = (root / place if place else None for place in PLACES[source])
        rng = np.random.default_rng(0)
        stems = [f"{'cat' if i % 2 else 'dog'}_{i}" for i in range(n)]
        for stem in stems:
            assert images is not None
            images.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)).save(images / f"{stem}.jpg")
            if masks is not None:
                masks.mkdir(parents=True, exist_ok=True)
                mask = rng.integers(1, 4, (32, 40), dtype=np.uint8) - (source != "OxfordPets")
                Image.fromarray(mask).save(masks / f"{stem}.png")
            if boxes is not None:
                boxes.mkdir(parents=True, exist_ok=True)
                (boxes / f"{stem}.xml").write_text(
                    f"<annotation><object><name>{stem[:3]}</name>{BOX}</object></annotation>"
                )
        if source == "OxfordPets":
            lines = "".join(f"{stem} {1 + i % 2} 1 1\n" for i, stem in enumerate(stems))
            for split in ("trainval", "test"):
                (root / "annotations" / f"{split}.txt").write_text(lines)
        if source == "VOCSegmentation":
            listing = root / "ImageSets" / "Segmentation"
            listing.mkdir(parents=True)
            for split in ("train", "val"):
                (listing / f"{split}.txt").write_text("\n".join(stems))

    return write


@pytest.fixture(scope="session")
def saved_run() -> Callable[..., Path]:
    """`saved_run(folder, task, {"backbone": "lenet5"}, ["cat", "dog"])`: an untrained task as a run folder has it."""

    def save(
        folder: Path,
        task: Any,
        options: dict[str, Any],
        class_names: Sequence[str],
        *,
        image_size: tuple[int, int] = (32, 32),
        resize: str = "squash",
        data: str = "ImageFolder",
    ) -> Path:
        from visiontasks.backbones import save_config

        recipe = {
            "model": {
                "class_path": f"visiontasks.{type(task).__name__}",
                "init_args": {"weights": "hub", **options},
            },
            "data": {"class_path": f"visiontasks.{data}", "init_args": {"batch_size": 4}},
        }
        known = {
            "recipe": yaml.safe_dump(recipe),
            "class_names": list(class_names),
            "preprocessing": {
                "image_size": list(image_size),
                "resize": resize,
                "mean": (task.mean / 255).flatten().tolist(),
                "std": (task.std / 255).flatten().tolist(),
            },
        }
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        calibration = {"visiontasks_calibration": task.calibration.to_json()} if task.calibration else {}
        content = {"state_dict": task.state_dict(), "visiontasks": known, **calibration}
        torch.save(content, folder / "checkpoints" / "best.ckpt")
        save_config(task.backbone, folder / "backbone")
        return folder

    return save


@pytest.fixture(scope="session")
def unpacked() -> Iterator[Callable[[str], Path]]:
    """Unpacks an archive of VISIONTASKS_DATA once: `unpacked("mnist")` is its folder, to read only."""
    with tempfile.TemporaryDirectory(prefix="visiontasks-") as scratch:

        @cache
        def unpack(name: str) -> Path:
            root = data_folder()
            if root is None:
                pytest.skip("VISIONTASKS_DATA does not name a folder of archives")
            archives = [path for path in (root / f"{name}.tar", root / f"{name}.tar.gz") if path.is_file()]
            if not archives:
                pytest.skip(f"{root} holds no {name}.tar or {name}.tar.gz")
            with tarfile.open(archives[0]) as archive:
                archive.extractall(scratch, filter="data")
            return Path(scratch) / name

        yield unpack
