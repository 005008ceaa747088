"""The parts that an HTML page is made of. Every text goes through `escaped`, since names come from data."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from math import isnan

LONGEST = 200  # characters of a name; the file system allows 255, and a class name any number

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c1e21; --pale: #5f6570; --line: #d9dce1; --soft: #f4f5f7;
  --bad: #b3142c; --note: #fff4d6; --track: #e8ebef; --bar: #3b6fb6; --band: #f1f4f8; --axis: #8a919c;
  --label: #3c4148; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181c; --ink: #e7e9ec; --pale: #a2a9b4; --line: #363b43; --soft: #22262c; --bad: #ff8091;
    --note: #40351a; --track: #30353d; --bar: #6d9fe0; --band: #1f242b; --axis: #79818d; --label: #c3c8d0; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1500px; margin: 0 auto; padding: 20px 24px 60px; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; padding-top: .9rem; border-top: 1px solid var(--line);
  overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
p { margin: .4rem 0; max-width: 85ch; }
.pale { color: var(--pale); font-size: .9rem; overflow-wrap: anywhere; }
.note { background: var(--note); border-left: 4px solid #d79b00; padding: .5rem .8rem; margin: .8rem 0;
  max-width: none; overflow-wrap: anywhere; }
.hero { display: flex; flex-wrap: wrap; align-items: baseline; gap: .2rem 1rem; margin: 1.2rem 0 .4rem; }
.hero b { font-size: 3rem; line-height: 1.1; white-space: nowrap; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 330px), 1fr)); gap: 22px 32px; }
.cards > div { min-width: 0; max-width: 620px; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 0 48px; }
.columns > * { min-width: 0; }
.wide { overflow-x: auto; max-width: 100%; }
.beside { display: flex; flex-wrap: wrap; gap: 20px 48px; align-items: flex-start; }
.beside > * { min-width: 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; margin: .3rem 0; }
th, td { padding: .22rem .9rem .22rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { color: var(--pale); font-weight: 600; }
td.number, th.number { text-align: right; white-space: nowrap; }
td .pale { font-size: .8rem; line-height: 1.3; max-width: 52ch; }
td.name { overflow-wrap: anywhere; min-width: 4.5rem; max-width: 30rem; }
.whole { white-space: nowrap; }
.bar { display: inline-block; width: 110px; height: .7em; background: var(--track); vertical-align: baseline; }
.bar i { display: block; height: 100%; background: var(--bar); }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem; margin: .2rem 0; padding: 0; list-style: none;
  font-size: .85rem; }
.legend li { overflow-wrap: anywhere; }
.legend i { display: inline-block; width: 1.1em; height: .7em; margin-right: .4em; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 16px; }
.pictures.pairs { grid-template-columns: repeat(auto-fill, minmax(min(100%, 400px), 1fr)); }
.pictures.large { grid-template-columns: repeat(auto-fill, minmax(min(100%, 220px), 1fr)); }
.pair { display: grid; grid-auto-flow: column; grid-auto-columns: minmax(0, 1fr); gap: 4px; align-items: end; }
.pair > span { min-width: 0; }
.pair small { display: block; color: var(--pale); overflow-wrap: anywhere; }
.filters img { width: auto; max-width: 100%; }
.explained { display: grid; grid-template-columns: repeat(4, 1fr); gap: 14px; align-items: start; }
h3.after { margin-top: 1.4rem; }
figure { margin: 0; font-size: .85rem; line-height: 1.35; break-inside: avoid; min-width: 0; }
img { width: 100%; height: auto; display: block; background: var(--soft); }
img.tiny { image-rendering: pixelated; }
figcaption { overflow-wrap: anywhere; padding-top: .2rem; }
.wrong { color: var(--bad); font-weight: 600; }
.zoom { display: block; position: relative; cursor: zoom-in; }
.zoom input { position: absolute; top: 0; opacity: 0; }
.zoom .view { display: block; }
.zoom .title { display: none; }
.zoom input:focus-visible + .view { outline: 3px solid var(--bar); outline-offset: 2px; }
.zoom input:checked + .view { position: fixed; inset: 0; z-index: 9; padding: 12px; background: var(--paper);
  display: flex; flex-direction: column; justify-content: center; gap: 8px; cursor: zoom-out; overflow: auto; }
.zoom input:checked + .view .title { display: block; text-align: center; font-size: 1rem; overflow-wrap: anywhere; }
.zoom input:checked + .view img { height: auto; max-height: 84vh; object-fit: contain; background: none; }
.zoom input:checked + .view > img { height: 84vh; }
svg { display: block; width: 100%; height: auto; }
svg.fixed { width: auto; max-width: none; }
svg text { font: 11px system-ui, "Segoe UI", Roboto, sans-serif; fill: var(--label); }
details { margin: .6rem 0; }
summary { cursor: pointer; font-weight: 600; }
pre { background: var(--soft); padding: .8rem; overflow-x: auto; font-size: .8rem; line-height: 1.4; }
pre.command { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .9rem; margin: .5rem 0; }
@media (max-width: 600px) {
  main { padding: 14px 14px 40px; }
  table { font-size: .82rem; }
  th, td { padding-right: .5rem; }
  .hero b { font-size: 2.4rem; }
  .bar { width: 60px; }
  .bounds { white-space: normal; }
  td .pale { min-width: 8rem; }
  .explained, .pictures, .pictures.large { grid-template-columns: 1fr 1fr; }
  .pictures.pairs { grid-template-columns: 1fr; }
  .zoom input:checked + .view .pair { grid-auto-flow: row; }
  .zoom input:checked + .view > img { height: auto; }
}
@media print {
  main { max-width: none; padding: 0; }
  h2 { break-after: avoid; }
  .wide { overflow: visible; }
  svg.fixed { max-width: 100%; height: auto; }
  pre { white-space: pre-wrap; }
  .bar i, svg, .note { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""

# nothing may be fetched and nothing run, whatever names in the data contain
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def escaped(text: object) -> str:
    """A text as HTML shows it, in an element or in an attribute's quotes; what cannot be printed is spelled out."""
    readable = "".join(c if c.isprintable() or c in " \n\t" else repr(c)[1:-1] for c in str(text))
    return escape(readable, quote=True)


def shortened(text: str, length: int = LONGEST) -> str:
    """A text without its middle, if it is longer."""
    return text if len(text) <= length else f"{text[: length - length // 2 - 1]}…{text[len(text) - length // 2 :]}"


def page(title: str, sections: Iterable[str], *, script: str = "") -> str:
    """A whole document.

    Args:
        title: Text.
        sections: HTML; empty ones are left out.
        script: JavaScript of our own, the only one that the page may run.
    """
    policy, tag = POLICY, ""
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy, tag = f"{POLICY}; script-src 'sha256-{digest}'", f"\n<script>{script}</script>"
    body = "\n".join(section for section in sections if section)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{escaped(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{body}
</main>{tag}
</body>
</html>
"""


def section(title: str, *parts: str) -> str:
    """A part of the page under a heading; empty if all of its parts are.

    Args:
        title: Text.
        parts: HTML.
    """
    content = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{escaped(title)}</h2>\n{content}\n</section>" if content else ""


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of text; `kind` is one of the style's classes."""
    return f'<p class="{kind}">{escaped(text)}</p>' if kind else f"<p>{escaped(text)}</p>"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table that scrolls by itself where it is too wide.

    Args:
        header: Texts of the columns.
        rows: Of each row a cell for each column: a number, or None for one that is not known, is on the right; a
            text on the left; a `Markup` as it is.
    """
    body = [[_cell(value) for value in row] for row in rows]
    kinds = [cells[0][0] for cells in zip(*body, strict=True)] or ["" for _ in header]
    head = "".join(f"<th{_kind(k)}>{escaped(name)}</th>" for name, k in zip(header, kinds, strict=True))
    lines = "\n".join(f"<tr>{''.join(f'<td{_kind(k)}>{text}</td>' for k, text in cells)}</tr>" for cells in body)
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>'


class Markup(str):
    """HTML that is made already, not text."""

    __slots__ = ()


def bar(share: float | None) -> Markup:
    """A share 0..1 as a bar in a table."""
    width = 0.0 if share is None or isnan(share) else 100 * min(1.0, max(0.0, share))
    return Markup(f'<span class="bar"><i style="width:{width:.1f}%"></i></span>')


def folded(title: str, *parts: str) -> str:
    """Parts that open on a click, without a script.

    Args:
        title: Text.
        parts: HTML.
    """
    return f"<details><summary>{escaped(title)}</summary>\n{''.join(parts)}\n</details>"


def zoomable(inner: str, title: str) -> str:
    """Pictures that fill the window on a click, and go back on the next, without a script.

    Args:
        inner: HTML of phrasing elements, such as images and spans.
        title: Text, shown below the enlarged pictures, such as their file's name.
    """
    name = escaped(shortened(title))
    return (
        f'<label class="zoom"><input type="checkbox" aria-label="enlarge {name}"><span class="view">{inner}'
        f'<span class="title">{name}</span></span></label>'
    )


def columns(*parts: str) -> str:
    """Parts beside each other where the window is wide enough; empty ones are left out."""
    filled = [part for part in parts if part]
    return f'<div class="columns">{"".join(f"<div>{part}</div>" for part in filled)}</div>' if filled else ""


def command(text: str) -> str:
    """A command to copy."""
    return f'<pre class="command">{escaped(text)}</pre>'


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """Names with their colours.

    Args:
        entries: A CSS colour, and a text.
    """
    items = "".join(f'<li><i style="background:{colour}"></i>{escaped(name)}</li>' for colour, name in entries)
    return f'<ul class="legend">{items}</ul>'


def number(value: float | None, digits: int = 4) -> str:
    """A number as text; a dash for one that is not known."""
    return "–" if value is None or isnan(value) else f"{value:.{digits}f}"  # noqa: RUF001  an en dash is meant


def percent(value: float, digits: int = 1) -> str:
    """A share 0..1 in per cent."""
    return f"{100 * value:.{digits}f} %"


def certainty(probability: float) -> str:
    """A probability 0..1 in per cent; only a certainty is 100 %."""
    return percent(probability) if probability == 1 else f"{min(99.9, 100 * probability):.1f} %"


def _kind(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _cell(value: object) -> tuple[str, str]:
    """The kind of a cell, and what it holds."""
    if isinstance(value, Markup):
        return "", value
    if value is None or isinstance(value, float):
        return "number", number(value)
    if isinstance(value, int):
        return "number", f"{value:,}"
    return "name", escaped(shortened(str(value)))
