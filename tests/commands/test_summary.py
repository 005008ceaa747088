"""`visiontasks summary` as a user types it."""

import json
import shlex
from collections.abc import Callable

import pytest

from visiontasks.commands.main import main


def test_the_table_shows_every_layer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "lenet5"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("lenet5 on an image of 1x32x32\n")
    assert "61,706" in printed


def test_json_and_csv_can_be_read_by_programs(capsys: pytest.CaptureFixture[str]) -> None:
    main(shlex.split("summary lenet5 --head LinearHead --num-classes 3 --image-size 32x40 --format json"))
    content = json.loads(capsys.readouterr().out)
    assert content["network"] == "lenet5 with LinearHead"
    assert content["image"] == [1, 32, 40]
    main(shlex.split("summary lenet5 --no-classifier --depth 1 --format csv"))
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()] == [
        "layer",
        "features",
        "pool",
        "hidden",
    ]


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ("lenet6", "did you mean lenet5"),
        ("local-dir:nowhere", "no nowhere/config.json"),
        ("lenet5 --image-size 0", "--image-size 0: expected pixels such as 224"),
        ("lenet5 --image-size 1x2x3", "expected pixels such as 224"),
        ("lenet5 --image-size 8", "--image-size 32x32 is its own"),
        ("lenet5 --depth 0", "expected a whole number above 0, got '0'"),
        ("lenet5 --head Linear --num-classes 2", "did you mean LinearHead?"),
        ("lenet5 --head LinearHead", "needs --num-classes"),
        ("lenet5 --formatt json", "does not take --formatt: did you mean --format?"),
    ],
)
def test_wrong_input_is_answered_in_one_message(refused: Callable[[str], str], arguments: str, answer: str) -> None:
    assert answer in refused(f"summary {arguments}")
