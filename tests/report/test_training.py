"""What a report tells of the training."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from visiontasks.report import RunContent
from visiontasks.report.training import curves_section

MakeRun = Callable[[], RunContent]
LOSSES = (0.5, 0.25, 0.75)


@pytest.mark.parametrize(("chosen", "epoch"), [({"epoch": 2}, 2), ({"epoch": 3}, 3), ({}, 1)])
def test_of_equal_epochs_the_one_whose_weights_were_kept_is_marked(
    chosen: dict[str, int], epoch: int, made_runs: dict[str, MakeRun]
) -> None:
    history = [
        {"epoch": i, "step": 10 * i, "seconds": 1.0, "val/top1": 1.0, "val/loss": loss}
        for i, loss in enumerate(LOSSES, 1)
    ]
    content = next(iter(made_runs.values()))()
    result = {**content.result, "chosen_by": {"monitor": "val/top1", "value": 1.0, **chosen}}
    page = curves_section(replace(content, history=history, result=result))
    assert f"marks epoch {epoch}, the best by val/top1 (of equal ones, that with the lowest val/loss)" in page
