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

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium (Debian: apt-get install chromium)"),
]


def browse(page: Path, profile: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={profile}", *arguments, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)


def requested(log: Path) -> set[str]:
    """Everything that the browser asked for, by its own log of the network."""
    content: dict[str, Any] = json.loads(log.read_text())
    urls = {event["params"]["url"] for event in content["events"] if "url" in event.get("params", {})}
    return {url for url in urls if not url.startswith(("data:", "chrome:", "chrome-extension:"))}


@pytest.fixture(params=KINDS)
def page(request: pytest.FixtureRequest, made_runs: dict[str, Callable[[], RunContent]], tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text(run_page(made_runs[request.param]()), encoding="utf-8")
    return path


def test_a_report_renders_without_fetching_or_complaining(page: Path, tmp_path: Path) -> None:
    log = tmp_path / "net.json"
    logged = ["--enable-logging=stderr", "--v=0", f"--log-net-log={log}"]
    run = browse(page, tmp_path / "profile", *logged, "--dump-dom")
    assert "</main>" in run.stdout
    assert not re.findall(r".*CONSOLE.*", run.stderr)
    assert requested(log) <= {page.as_uri()}


@pytest.mark.parametrize("width", WIDTHS_PX)
def test_a_report_fits_the_width_of_its_window(width: int, page: Path, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    browse(page, tmp_path / "profile", f"--screenshot={picture}", f"--window-size={width},6000")
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("L"))
    assert pixels.shape[1] == width
    assert (pixels[:, -10:] == 255).all(), "something reaches to the right edge"
    assert (pixels < 128).sum() > 500, "there is no text"
