"""Which column of a table of labels is what."""

from typing import Any

import pytest

from visiontasks.data.formats.label_columns import Columns, Wanted, find_columns
from visiontasks.errors import InputError


def columns(header: str, *rows: str, several: bool = False, **wanted: Any) -> Columns:
    cells = [row.split(",") for row in rows]
    return find_columns(header.split(","), cells, Wanted(several=several, **wanted), file="t.csv")


def test_image_and_class_are_found_by_their_names() -> None:
    found = columns("id,breed,split", "a,cat,train", "b,dog,test")
    assert found == Columns(path=0, labels=(1,), is_hot=False, split=2)


def test_a_path_comes_before_an_id() -> None:
    assert columns("id,path,label", "1,a.png,cat").path == 1


def test_what_is_not_used_is_named() -> None:
    assert columns("file,label,age,weight", "a,cat,3,0.5").unused == ("age", "weight")


def test_columns_of_one_and_zero_are_labels() -> None:
    found = columns("image,cat,dog,age", "a,1,0,5", "b,0,,7", several=True)
    assert (found.labels, found.is_hot, found.unused) == ((1, 2), True, ("age",))


def test_one_column_of_numbers_is_a_class_and_no_column_of_a_label() -> None:
    assert columns("id,label", "a,0", "b,1") == Columns(path=0, labels=(1,), is_hot=False)


@pytest.mark.parametrize(
    ("header", "cell", "separator"),
    [("label", "cat|dog", "|"), ("label", "cat;dog", ";"), ("label", "big cat", ""), ("tags", "cat dog", " ")],
)
def test_the_separator_is_what_cells_have(header: str, cell: str, separator: str) -> None:
    assert columns(f"file,{header}", f"a,{cell}", "b,cat", several=True).separator == separator
    assert columns(f"file,{header}", f"a,{cell}", "b,cat").separator == ""  # one class for each image


def test_names_that_are_given_decide() -> None:
    assert columns("id,photo,label,kind", "1,a,x,y", path="photo", labels=("kind",)) == Columns(
        path=1, labels=(3,), is_hot=False, unused=("id", "label")
    )
    with pytest.raises(InputError, match=r"label_columns: t.csv has no column sort; it has 'id', 'label'"):
        columns("id,label", "1,x", labels=("sort",))


def test_what_is_not_clear_is_refused_with_the_option() -> None:
    with pytest.raises(InputError, match="--data.path_column COLUMN"):
        columns("a,b", "1,2")
    with pytest.raises(InputError, match=r"which of its columns are labels .*--data.label_columns"):
        columns("id,age,height", "1,30,1.8", "2,40,1.7")
