"""Reporting what is wrong with samples."""

from pathlib import Path

import pytest

from visiontasks.data.pipeline.problems import Problem, shortened, usable_samples
from visiontasks.errors import BadSamplesError

EMPTY = Problem("a.xml", "no object", "draw a box")
FLAT = Problem("a.xml", "a box without area", "draw it anew")
MISSING = Problem("c.jpg", "no such file", "copy it")
ROOT = Path("root")


def test_all_problems_stand_in_one_error_a_line_each_with_the_way_out_last() -> None:
    with pytest.raises(BadSamplesError) as raised:
        usable_samples([[EMPTY, FLAT], [], [MISSING]], root=ROOT, on_bad_sample="error", faults=["a class too many"])
    assert str(raised.value).splitlines() == [
        "data.init_args.root: 3 problem(s) in 2 of 3 samples of root/:",
        "a.xml: no object; draw a box",
        "a.xml: a box without area; draw it anew",
        "c.jpg: no such file; copy it",
        "a class too many",
        "3 problem(s): fix them, or leave these samples out: --data.init_args.on_bad_sample skip",
    ]


def test_many_problems_of_a_kind_are_five_lines_and_a_count() -> None:
    """Kinds differ in words, not in files, numbers and classes."""
    gone = [Problem(f"a/{i}.xml", f"no image {i}.* in a/", "copy it there") for i in range(302)]
    flat = [
        Problem(f"{i}.xml object 1", f"{name}'s box {i} 2 {i} 4 has no area", "draw it anew")
        for i, name in enumerate(("cat", "grey dog", "cow"))
    ]
    with pytest.raises(BadSamplesError) as raised:
        usable_samples([[problem] for problem in [gone[0], *flat, *gone[1:]]], root=ROOT, on_bad_sample="error")
    lines = str(raised.value).splitlines()
    assert len(lines) == 1 + 5 + 1 + 3 + 1
    assert lines[1] == "a/0.xml: no image 0.* in a/; copy it there"
    assert lines[6] == "... and 297 more of this kind"
    assert lines[7:10] == list(map(str, flat))
    assert lines[-1].startswith("305 problem(s): fix them; visiontasks check-data lists all of them")
    assert shortened([*flat, *gone[:5]]) == list(map(str, [*flat, *gone[:5]]))
    assert len(raised.value.problems) == 305


def test_samples_with_problems_can_be_skipped() -> None:
    usable = usable_samples([[EMPTY, FLAT], [], [MISSING]], root=ROOT, on_bad_sample="skip")
    assert usable.tolist() == [False, True, False]


def test_without_problems_all_samples_are_usable() -> None:
    assert usable_samples([[], []], root=ROOT, on_bad_sample="error").tolist() == [True, True]


def test_skipping_every_sample_is_an_error_that_does_not_offer_to_skip() -> None:
    with pytest.raises(BadSamplesError, match=r"1 of 1 samples of root/:\nc.jpg.*\n1 problem\(s\): fix them$"):
        usable_samples([[MISSING]], root=ROOT, on_bad_sample="skip")
