"""Where downloads come from and go to, and those that do not happen, answered in time."""

import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from torchvision.datasets import CIFAR10, MNIST, OxfordIIITPet
from torchvision.datasets.voc import DATASET_YEAR_DICT

from visiontasks import downloads
from visiontasks.downloads import DOWNLOADS, Download, unreachable
from visiontasks.errors import InputError, MissingFileError


class Answer(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(404)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as service:
        threading.Thread(target=service.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{service.server_port}/data.tar.gz"
        service.shutdown()


def test_a_server_that_answers_is_reachable(server: str) -> None:
    assert unreachable([server]) is None
    assert unreachable(["http://127.0.0.1:1/x", server]) is None


def test_a_name_server_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hang(*args: object, **kwargs: object) -> None:
        released.wait(5)
        raise OSError

    monkeypatch.setattr(downloads, "_PATIENCE_S", 0.3)
    monkeypatch.setattr("urllib.request.urlopen", hang)
    start = time.monotonic()
    assert unreachable(["https://example.org/data.tar.gz"]) == "no answer in 0.3 s"
    assert time.monotonic() - start < 1
    released.set()


def made(*urls: str) -> Download:
    return Download("X", urls, (("a/x*", "b"), ("c",)), "a/x and b, or c")


@pytest.mark.parametrize(("there", "found"), [("a/x.gz b", True), ("c", True), ("a/x.gz", False), ("b a/y", False)])
def test_data_is_there_when_every_path_of_a_layout_is(there: str, found: bool, tmp_path: Path) -> None:
    for path in there.split():
        (tmp_path / path).mkdir(parents=True)
    assert made().is_in(tmp_path) is found


def test_data_that_is_there_is_not_fetched(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    made("https://example.org/x.tgz").provide(tmp_path, pytest.fail, allowed=True)


def test_what_may_not_be_downloaded_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError) as caught:
        made().check(tmp_path, allowed=False)
    assert str(caught.value) == (
        f"no X in {tmp_path}/: run with --data.init_args.download true (--data.download true), or point "
        "--data.init_args.root at it (a/x and b, or c)"
    )


def test_without_network_there_is_no_attempt_and_three_ways_out(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError) as caught:
        made("https://example.org/x.tgz").provide(tmp_path, pytest.fail, allowed=True)
    message = str(caught.value)
    assert message.startswith(f"no X in {tmp_path}/, and it cannot be downloaded from https://example.org/x.tgz (")
    for way_out in (f"put the files into {tmp_path}/ (a/x and b, or c)", "--data.init_args.root", "digits_resnet"):
        assert way_out in message


@pytest.mark.parametrize("error", [OSError("reset"), RuntimeError("File not found or corrupted.")])
def test_a_download_that_breaks_off_is_explained(server: str, tmp_path: Path, error: Exception) -> None:
    def fetch() -> None:
        raise error

    with pytest.raises(InputError, match=rf"the download of X into .* failed \({error}\); try again, or put the files"):
        made(server).provide(tmp_path, fetch, allowed=True)


def test_the_addresses_are_those_that_torchvision_downloads_from() -> None:
    assert DOWNLOADS["CIFAR10"].urls == (CIFAR10.url,)
    assert DOWNLOADS["MNIST"].urls == tuple(MNIST.mirrors)
    assert DOWNLOADS["OxfordPets"].urls == (OxfordIIITPet._RESOURCES[0][0],)
    # torchvision 0.26 has the former address of the same server
    now = DATASET_YEAR_DICT["2012"]["url"].replace("http://host.robots", "https://thor.robots")
    assert DOWNLOADS["VOCSegmentation"].urls == (now,)
