"""The parts of a page: every text is escaped, numbers stand on the right, nothing may be fetched."""

from html.parser import HTMLParser

import pytest

from visiontasks.report.html import (
    Markup,
    bar,
    escaped,
    folded,
    legend,
    number,
    page,
    paragraph,
    percent,
    section,
    shortened,
    table,
)

HOSTILE = "<script>alert('1')</script>\"&\x00\x1b[2J\udcff"


class Tags(HTMLParser):
    def __init__(self, content: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.text = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    "made",
    [
        escaped(HOSTILE),
        page(HOSTILE, []),
        section(HOSTILE, paragraph(HOSTILE)),
        table([HOSTILE], [[HOSTILE]]),
        folded(HOSTILE, escaped(HOSTILE)),
        legend([("#fff", HOSTILE)]),
        f'<img alt="{escaped(HOSTILE)}">',
    ],
)
def test_a_hostile_name_stays_text(made: str) -> None:
    parsed = Tags(made)
    assert "script" not in parsed.names
    assert "alert" in parsed.text or 'alt="' in made
    made.encode()  # lone surrogates of a file's name cannot be written
    assert not any(character in made for character in "\x00\x1b")


def test_escaping_spells_out_what_cannot_be_printed() -> None:
    assert escaped("a<b>\x07'\"é猫\udcff") == "a&lt;b&gt;\\x07&#x27;&quot;é猫\\udcff"
    assert escaped("two\nlines") == "two\nlines"


def test_a_page_forbids_fetching_and_scripts() -> None:
    made = page("title", ["<p>one</p>", "", "<p>two</p>"])
    assert made.startswith("<!doctype html>")
    assert "Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\"" in made
    assert "http" not in made.replace("http-equiv", "")
    assert "<p>one</p>\n<p>two</p>" in made


def test_a_table_puts_numbers_on_the_right_and_knows_what_is_missing() -> None:
    made = table(["name", "value", "n", ""], [["a", 0.25, 1234, bar(0.5)], ["b", None, 2, Markup("<b>x</b>")]])
    assert '<th class="name">name</th><th class="number">value</th><th class="number">n</th><th></th>' in made
    assert '<td class="number">0.2500</td><td class="number">1,234</td>' in made
    assert '<td class="number">\u2013</td>' in made
    assert "<td><b>x</b></td>" in made
    assert 'style="width:50.0%"' in made


@pytest.mark.parametrize(("share", "width"), [(-1.0, 0), (2.0, 100), (float("nan"), 0), (None, 0), (0.125, 12.5)])
def test_a_bar_is_a_share_of_its_track(share: float | None, width: float) -> None:
    assert f'style="width:{width:.1f}%"' in bar(share)


def test_an_empty_section_is_left_out() -> None:
    assert section("title", "", "") == ""


def test_a_long_name_loses_its_middle() -> None:
    assert shortened("abcdefghij", 5) == "ab…ij"
    assert len(shortened("x" * 1000)) == 200
    assert shortened("abc", 3) == "abc"


def test_numbers_as_text() -> None:
    assert (number(0.12345), number(None), number(float("nan")), percent(0.9861)) == (
        "0.1235",
        "\u2013",
        "\u2013",
        "98.6 %",
    )
