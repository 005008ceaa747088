"""Tables whose rows stay whole at every width."""

from visiontasks.commands.tables import table

ROWS = [{"name": "a_long_name", "kind": "first", "size": "7"}, {"name": "b", "kind": "", "size": "1,234"}]
LAYOUTS = (("name", "kind", "size"), ("name", "size"))


def test_columns_are_as_wide_as_their_longest_cell_and_figures_aligned_right() -> None:
    assert table(ROWS, LAYOUTS, 100, right=["size"]) == [
        "name         kind    size",
        "a_long_name  first      7",
        "b            -      1,234",
    ]


def test_gaps_become_narrower_before_a_column_is_left_out() -> None:
    assert table(ROWS, LAYOUTS, 24, right=["size"]) == [
        "name        kind   size",
        "a_long_name first     7",
        "b           -     1,234",
    ]
    assert table(ROWS, LAYOUTS, 22, right=["size"]) == [
        "name          size",
        "a_long_name      7",
        "b            1,234",
    ]


def test_where_nothing_fits_names_stay_whole() -> None:
    assert table(ROWS, LAYOUTS, 5)[1] == "a_long_name 7"


def test_every_row_splits_into_as_many_words_as_the_header() -> None:
    assert {len(line.split()) for line in table(ROWS, LAYOUTS, 100)} == {3}


def test_a_table_without_rows_is_its_header() -> None:
    assert table([], LAYOUTS, 100) == ["name  kind  size"]
