"""The whole of bench/reliability.py: a hundred kills and more, and every training ends with the same bits."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "bench" / "reliability.py"


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_hundred_kills_change_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--kills", "105"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("| fault | tried | survived | what was lost |")
