"""Uploads, against a server of this machine that answers as the hub does."""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

from visiontasks.errors import InputError
from visiontasks.export.hub import check_hub, push

TOKEN = "hf_stand_in"
Refused = Callable[..., str]
LFS = (".safetensors", ".png", ".onnx", ".pt2")  # of which the hub takes what is no text


class Hub(BaseHTTPRequestHandler):
    """Knows one user, Ann, and keeps what is committed; large files by the protocol of Git LFS."""

    files: dict[str, bytes]
    blobs: dict[str, bytes]
    requests: list[str]
    private: list[bool]
    refuses_writing = False
    takes_lfs = False

    def do_GET(self) -> None:
        self.requests.append(f"GET {self.path}")
        if not self._is_known():
            self._answer(401, {"error": "Invalid user token."})
        elif self.path == "/api/whoami-v2":
            self._answer(200, {"type": "user", "name": "ann", "orgs": []})
        else:
            self._answer(404, {"error": "not here"})

    def do_POST(self) -> None:
        self.requests.append(f"POST {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self._is_known():
            self._answer(401, {"error": "Invalid user token."})
        elif self.path == "/api/repos/create":
            if self.refuses_writing:
                self._answer(403, {"error": "You don't have the rights to create a model under this namespace"})
                return
            self.private.append(
                json.loads(body).get("private", json.loads(body).get("visibility")) in (True, "private")
            )
            self._answer(200, {"url": f"http://{self.headers['Host']}/ann/pets", "id": "ann/pets"})
        elif "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": self._mode(f["path"]), "shouldIgnore": False} for f in asked]
            self._answer(200, {"files": modes})
        elif self.path.endswith(".git/info/lfs/objects/batch"):
            where = f"http://{self.headers['Host']}/blobs"
            objects = [
                {**each, "actions": {"upload": {"href": f"{where}/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            self._answer(200, {"transfer": "basic", "objects": objects})
        elif "/commit/" in self.path:
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    self.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                elif entry["key"] == "lfsFile":
                    self.files[entry["value"]["path"]] = self.blobs[entry["value"]["oid"]]
            url = f"http://{self.headers['Host']}/ann/pets/commit/{'a' * 40}"
            self._answer(200, {"success": True, "commitUrl": url, "commitOid": "a" * 40, "hookOutput": ""})
        else:
            self._answer(200, {"errors": [], "warnings": []})

    def do_PUT(self) -> None:
        self.requests.append("PUT")
        self.blobs[self.path.rpartition("/")[2]] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, {})

    def log_message(self, *args: Any) -> None:
        pass

    def _is_known(self) -> bool:
        return bool(self.headers.get("Authorization") == f"Bearer {TOKEN}")

    def _mode(self, path: str) -> str:
        return "lfs" if self.takes_lfs and path.endswith(LFS) else "regular"

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status != 200:
            self.send_header("X-Error-Message", content["error"])
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """The stand-in, and a token that it takes."""

    class Fresh(Hub):
        files, blobs, requests, private = {}, {}, [], []

    server = ThreadingHTTPServer(("127.0.0.1", 0), Fresh)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    getattr(huggingface_hub, "close_session", lambda: None)()  # not in the oldest version that is supported
    yield Fresh
    server.shutdown()
    server.server_close()
    getattr(huggingface_hub, "close_session", lambda: None)()  # not in the oldest version that is supported


@pytest.fixture
def refused_export(make_run: Callable[..., Path], refused: Callable[[str], str], tmp_path: Path) -> Refused:
    """`refused_export("pets", is_written=False)`: the message, and whether the folder is there."""

    def export(name: str, *, is_written: bool) -> str:
        message = refused(f"export {make_run()} {tmp_path / 'out'} --push-to-hub {name}")
        assert (tmp_path / "out" / "README.md").is_file() == (tmp_path / "out").exists() == is_written
        return message

    return export


def test_a_name_without_an_owner_is_the_users_own(hub: type[Hub]) -> None:
    assert check_hub("pets") == "ann/pets"
    assert check_hub("zoo/pets") == "zoo/pets"


def test_all_files_are_uploaded_to_a_private_repository(hub: type[Hub], tmp_path: Path) -> None:
    (tmp_path / "check").mkdir()
    (tmp_path / "README.md").write_text("---\nlibrary_name: timm\n---\n# pets\n")
    (tmp_path / "check" / "1.png").write_bytes(b"\x89PNG\x00")
    assert push(tmp_path, "ann/pets").endswith("/ann/pets")
    assert hub.files == {"README.md": b"---\nlibrary_name: timm\n---\n# pets\n", "check/1.png": b"\x89PNG\x00"}
    assert hub.private == [True]


@pytest.mark.parametrize("name", ["a/b/c", "-pets", "pets--2", "", "my pets"])
def test_a_wrong_name_is_refused_before_anything_is_asked(name: str, hub: type[Hub]) -> None:
    with pytest.raises(InputError, match="--push-to-hub"):
        check_hub(name)
    assert hub.requests == []


@pytest.mark.slow
def test_the_command_puts_the_folder_that_it_wrote_on_the_hub(
    hub: type[Hub], make_run: Callable[..., Path], tmp_path: Path
) -> None:
    hub.takes_lfs = True
    command = f"export {make_run()} {tmp_path / 'out'} --push-to-hub pets"
    settings = {"HF_ENDPOINT": constants.ENDPOINT, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "visiontasks", *command.split()],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert f"on the hub: {constants.ENDPOINT}/ann/pets" in done.stdout
    folder = tmp_path / "out"
    written = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert hub.files == {name: path.read_bytes() for name, path in written.items()}
    assert b"\n# pets\n" in hub.files["README.md"]
    assert len(hub.files["model.safetensors"]) > 100_000
    assert hub.private == [True]


def test_without_a_token_the_message_explains_how_to_get_one(
    hub: type[Hub], refused_export: Refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    assert "no token: run `hf auth login`, or set HF_TOKEN" in refused_export("pets", is_written=False)


def test_a_token_that_the_hub_does_not_know_is_refused(
    hub: type[Hub], refused_export: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "refuses the token: give one that may write there" in refused_export("pets", is_written=False)


def test_a_token_that_may_not_write_is_refused_and_the_folder_stays(
    hub: type[Hub], refused_export: Refused, tmp_path: Path
) -> None:
    hub.refuses_writing = True
    message = refused_export("zoo/pets", is_written=True)
    assert "refuses the token: give one that may write there" in message
    assert f"is written all the same: hf upload zoo/pets {tmp_path / 'out'} puts it there" in message


def test_without_a_network_the_message_explains_what_to_do(
    hub: type[Hub], refused_export: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    assert "cannot be reached" in refused_export("pets", is_written=False)


def test_offline_mode_is_named(hub: type[Hub], refused_export: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    getattr(huggingface_hub, "close_session", lambda: None)()  # not in the oldest version that is supported
    assert "HF_HUB_OFFLINE is set" in refused_export("pets", is_written=False)
