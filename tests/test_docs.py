"""The pages: their links lead somewhere, and the commands in them are commands."""

import re
from pathlib import Path

import pytest

from visiontasks.commands.arguments import parsers
from visiontasks.data.formats.recognized import EXPORT_FORMATS
from visiontasks.recipe import recipes_dir

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
COMMAND = re.compile(r"^ {4}(?:\.venv/bin/|srun .*?\.venv/bin/)?visiontasks +(\S+)(.*)$", re.MULTILINE)
RECIPE = re.compile(r"RECIPE=(\w+)|visiontasks finetune (\w+)|-m visiontasks finetune (\w+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_pages_exist(page: Path) -> None:
    _, subcommands = parsers()
    found = [name for name, _ in COMMAND.findall(page.read_text(encoding="utf-8"))]
    assert [name for name in found if name not in subcommands and not name.startswith("-")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_recipes_of_pages_exist(page: Path) -> None:
    names = {name for found in RECIPE.findall(page.read_text(encoding="utf-8")) for name in found if name}
    shipped = {path.stem for path in recipes_dir().glob("*.yaml")}
    folders = {
        "my_images",
        "my_export",
        "my_boxes",
        "my_masks",
        "three_breeds",
        "runs",
        "RECIPE",
        "photos",
    }  # of the reader
    assert names - shipped - folders == set()


def test_the_readme_is_a_screen_and_a_half() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 110


def test_the_page_on_data_has_every_format_of_boxes_by_its_title_and_name() -> None:
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    titles = {"cvat": "CVAT"}  # its title has the kind of export as well
    rows = [f"| {titles.get(each.name, each.title)} (`{each.name}`) |" for each in EXPORT_FORMATS]
    assert [row for row in rows if row not in page] == []
