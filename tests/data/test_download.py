"""Downloads that do not happen, answered in time."""

import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from visiontasks.data import download
from visiontasks.data.download import fetch_dataset, unreachable
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

    monkeypatch.setattr(download, "_PATIENCE_S", 0.3)
    monkeypatch.setattr("urllib.request.urlopen", hang)
    start = time.monotonic()
    assert unreachable(["https://example.org/data.tar.gz"]) == "no answer in 0.3 s"
    assert time.monotonic() - start < 1
    released.set()


def test_without_network_there_is_no_attempt_and_three_ways_out(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError) as caught:
        fetch_dataset(pytest.fail, name="X", root=tmp_path, urls=["https://example.org/x.tgz"], layout="x/")
    message = str(caught.value)
    assert message.startswith(f"no X in {tmp_path}/, and it cannot be downloaded from https://example.org/x.tgz (")
    for way_out in (f"put the files into {tmp_path}/ (x/)", "--data.init_args.root", "digits_resnet"):
        assert way_out in message


@pytest.mark.parametrize("error", [OSError("reset"), RuntimeError("File not found or corrupted.")])
def test_a_download_that_breaks_off_is_explained(server: str, tmp_path: Path, error: Exception) -> None:
    def fetch() -> None:
        raise error

    with pytest.raises(InputError, match=rf"the download of X into .* failed \({error}\); try again, or put the files"):
        fetch_dataset(fetch, name="X", root=tmp_path, urls=[server], layout="x/")
