"""Reporting what is wrong with samples."""

from pathlib import Path

import pytest

from visiontasks.data.pipeline.problems import Problem, usable_samples
from visiontasks.errors import BadSamplesError

EMPTY = Problem("a.xml", "no object", "draw a box")
FLAT = Problem("a.xml", "a box without area", "draw it anew")
MISSING = Problem("c.jpg", "no such file", "copy it")
ROOT = Path("root")


def test_all_problems_stand_in_one_error_a_line_each() -> None:
    with pytest.raises(BadSamplesError) as raised:
        usable_samples([[EMPTY, FLAT], [], [MISSING]], root=ROOT, on_bad_sample="error")
    assert str(raised.value).splitlines() == [
        "data.init_args.root: 3 problem(s) in 2 of 3 samples of root/; fix them, or leave these samples out "
        "(data.init_args.on_bad_sample: skip):",
        "a.xml: no object; draw a box",
        "a.xml: a box without area; draw it anew",
        "c.jpg: no such file; copy it",
    ]


def test_samples_with_problems_can_be_skipped() -> None:
    usable = usable_samples([[EMPTY, FLAT], [], [MISSING]], root=ROOT, on_bad_sample="skip")
    assert usable.tolist() == [False, True, False]


def test_without_problems_all_samples_are_usable() -> None:
    assert usable_samples([[], []], root=ROOT, on_bad_sample="error").tolist() == [True, True]


def test_skipping_every_sample_is_an_error_that_does_not_offer_to_skip() -> None:
    with pytest.raises(BadSamplesError, match=r"1 problem\(s\) in 1 of 1 samples of root/; fix them:\nc.jpg"):
        usable_samples([[MISSING]], root=ROOT, on_bad_sample="skip")
