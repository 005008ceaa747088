"""The page of a folder of studies: one section for each that was made, from its JSON alone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from visiontasks.regular_files import read_json
from visiontasks.report import html
from visiontasks.study.sections import SCRIPTS, SECTIONS

PAGE = "index.html"


def save_study(folder: Path, name: str, content: Mapping[str, Any], *, title: str = "") -> Path:
    """Write a study's JSON, and make the page of its folder again.

    Args:
        folder: Of all studies of a dataset.
        name: One of `SECTIONS`.
        content: What JSON can hold.
        title: Of the page; by default the folder's name.

    Returns:
        The page's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    found = {each: read_json(folder / f"{each}.json") for each in SECTIONS if (folder / f"{each}.json").is_file()}
    title = title or folder.resolve().name
    sections = [f"<h1>{html.escaped(title)}</h1>", *(SECTIONS[each](found[each]) for each in found)]
    page = folder / PAGE
    script = "".join(script for each, script in SCRIPTS.items() if each in found)
    page.write_text(html.page(f"Study of {title}", sections, script=script), encoding="utf-8")
    return page
