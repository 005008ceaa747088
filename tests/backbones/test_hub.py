import hashlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants

from visiontasks.backbones import create_vector, hub, save_weights
from visiontasks.errors import InputError, MissingFileError

TIMM_NAME = "test_resnet.r160_in1k"  # timm's own tiny network for tests


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def answering() -> Iterator[tuple[str, list[int]]]:
    """A server on this machine that answers every request with the status in the list."""
    status = [200]

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status[0])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/some/file.pth", status
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("name", [TIMM_NAME, "googlenet", "resnet18"])
def test_without_network_the_error_names_what_where_and_three_ways_out(name: str, tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(MissingFileError) as error:
        create_vector(name, weights="hub")
    assert time.monotonic() - start < 5
    message = str(error.value)
    assert message.startswith(f"no weights for {name}: not in {tmp_path}")
    assert message.count("\n  - ") == 3
    assert len(message.splitlines()) <= 5
    assert "model.init_args.weights" in message
    assert "digits_resnet" in message


def test_name_lookup_that_hangs_does_not_hold_the_error_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "PROBE_SECONDS", 0.1)
    monkeypatch.setattr(hub, "_probe", lambda _: time.sleep(5))
    start = time.monotonic()
    with pytest.raises(MissingFileError, match="did not answer within"):
        hub.find_weights("resnet18.a1_in1k")
    assert time.monotonic() - start < 2


def test_offline_mode_is_not_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MissingFileError, match="HF_HUB_OFFLINE is set"):
        hub.find_weights("resnet18.a1_in1k")


@pytest.mark.parametrize("status", [200, 301, 403, 404, 500])
def test_server_that_answers_is_reachable(status: int, answering: tuple[str, list[int]]) -> None:
    url, statuses = answering
    statuses[0] = status
    assert hub._unreachable(url) == ""


@pytest.mark.parametrize("status", [502, 503, 504])
def test_gateway_that_gets_no_answer_is_not(status: int, answering: tuple[str, list[int]]) -> None:
    url, statuses = answering
    statuses[0] = status
    assert str(status) in hub._unreachable(url)


def test_reachable_hub_leaves_the_download_to_timm(
    answering: tuple[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", answering[0])
    assert hub.find_weights("resnet18.a1_in1k") is None


def test_download_that_breaks_off_is_a_missing_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_unreachable", lambda _: "")
    with pytest.raises(MissingFileError, match=r"no weights for googlenet: .*not downloadable \(URLError"):
        create_vector("googlenet", weights="hub")


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_file_in_the_hub_cache_is_used_without_asking(file: str, tmp_path: Path) -> None:
    source = timm.create_model(TIMM_NAME)
    repo = tmp_path / "hf" / "models--timm--test_resnet.r160_in1k"
    snapshot = repo / "snapshots" / "0123456789abcdef"
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("0123456789abcdef")
    path = snapshot / file
    save_weights(source, path) if path.suffix == ".safetensors" else torch.save(source.state_dict(), path)
    backbone = create_vector(TIMM_NAME, weights="hub")
    assert torch.equal(backbone.conv1[0].weight, source.conv1[0].weight)


def test_file_in_torchs_cache_is_used_without_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "check_digest", lambda _: None)  # of made weights it is another
    source = timm.create_model("googlenet")
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(source.state_dict(), folder / "googlenet-1378be20.pth")
    backbone = create_vector("googlenet", weights="hub")
    assert torch.equal(backbone.conv1.conv.weight, source.conv1.conv.weight)


def test_shipped_file_is_found_without_asking() -> None:
    path = hub.find_weights("resnet20_cifar.vt_cifar10")
    assert path is not None
    assert path.name == "resnet20_cifar.vt_cifar10.safetensors"


def test_file_in_the_hub_cache_that_was_altered_is_refused(tmp_path: Path) -> None:
    repo = tmp_path / "hf" / "models--timm--test_resnet.r160_in1k"
    snapshot = repo / "snapshots" / "0123456789abcdef"
    for folder in (snapshot, repo / "refs", repo / "blobs"):
        folder.mkdir(parents=True)
    (repo / "refs" / "main").write_text("0123456789abcdef")
    save_weights(timm.create_model(TIMM_NAME), tmp_path / "model.safetensors")
    content = bytearray((tmp_path / "model.safetensors").read_bytes())
    blob = repo / "blobs" / hashlib.sha256(content).hexdigest()
    (snapshot / "model.safetensors").symlink_to(blob)
    blob.write_bytes(content)
    create_vector(TIMM_NAME, weights="hub")
    content[-1] ^= 1
    blob.write_bytes(content)
    with pytest.raises(InputError, match=f"was altered: its SHA-256 is .*, expected {blob.name}; remove {blob}"):
        create_vector(TIMM_NAME, weights="hub")


def test_file_in_torchs_cache_that_was_altered_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "googlenet-1378be20.pth").write_bytes(b"other weights")
    with pytest.raises(InputError, match=r"googlenet-1378be20\.pth is damaged or was altered"):
        create_vector("googlenet", weights="hub")


def test_what_timm_has_downloaded_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(name: str, *_: object) -> torch.nn.Module:
        path = tmp_path / "torch" / "hub" / "checkpoints" / "googlenet-1378be20.pth"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"other weights")
        return torch.nn.Identity()

    monkeypatch.setattr(hub, "_unreachable", lambda _: "")
    monkeypatch.setattr("visiontasks.backbones.weights._create_pretrained", download)
    with pytest.raises(InputError, match=r"googlenet-1378be20\.pth is damaged or was altered"):
        create_vector("googlenet", weights="hub")
