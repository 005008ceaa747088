"""Reports in headless Chromium: they render at two widths, fetch nothing, and the console stays empty."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visiontasks.report import RunContent, run_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS_PX = (390, 1280)
KINDS = ["two_classes", "hundred_classes", "boxes", "masks", "killed"]
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"]
QUIET += ["--disable-background-networking", "--no-first-run", "--disable-component-update", "--disable-sync"]
QUIET += ["--host-resolver-rules=MAP * ~NOTFOUND"]  # what the browser itself would like to know
OF_THE_BROWSER = "not an origin"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium (Debian: apt-get install chromium)"),
]


def browse(page: Path, profile: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={profile}", *arguments, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)


def looked_at(page: Path, folder: Path) -> tuple[str, set[str], list[str]]:
    """The page's elements, what it asked the network for, and what the console said."""
    log = folder / "net.json"
    run = browse(page, folder / "profile", "--enable-logging=stderr", "--v=0", f"--log-net-log={log}", "--dump-dom")
    events: list[dict[str, Any]] = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    requests = {event["url"] for event in events if event.get("initiator", OF_THE_BROWSER) != OF_THE_BROWSER}
    return run.stdout, requests, re.findall(r"CONSOLE.*", run.stderr)


@pytest.fixture(params=KINDS)
def page(request: pytest.FixtureRequest, made_runs: dict[str, Callable[[], RunContent]], tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text(run_page(made_runs[request.param]()), encoding="utf-8")
    return path


def test_a_report_renders_without_fetching_or_complaining(page: Path, tmp_path: Path) -> None:
    elements, requests, said = looked_at(page, tmp_path)
    assert "</main>" in elements
    assert requests == set()
    assert said == []


def test_a_page_that_fetches_and_complains_would_be_noticed(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<img src='http://127.0.0.1:9/x.png'><script>console.error('boom')</script>")
    _, requests, said = looked_at(page, tmp_path)
    assert requests == {"http://127.0.0.1:9/x.png"}
    assert any("boom" in line for line in said)


@pytest.mark.parametrize("width", WIDTHS_PX)
def test_a_report_fits_the_width_of_its_window(width: int, page: Path, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    browse(page, tmp_path / "profile", f"--screenshot={picture}", f"--window-size={width},6000")
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("L"))
    assert pixels.shape[1] == width
    assert (pixels[:, -10:] == 255).all(), "something reaches to the right edge"
    assert (pixels < 128).sum() > 500, "there is no text"
