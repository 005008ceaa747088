"""JSON and XML files of annotations, read so that a broken one is named with its line, and none can do harm."""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from visiontasks.errors import InputError
from visiontasks.regular_files import check_regular

_HEAD_BYTES = 4096


@dataclass(frozen=True)
class Broken:
    """The beginning of a file that cannot be parsed, by which it is recognized all the same."""

    text: str


def head(file: str) -> str:
    """The first characters of a text file; empty if it is not one."""
    with suppress(OSError, InputError):
        check_regular(file)
        with Path(file).open("rb") as stream:
            return stream.read(_HEAD_BYTES).decode("utf-8-sig", errors="ignore")
    return ""


def parsed_json(file: str) -> Any:
    """The content of a JSON file.

    Raises:
        InputError: If it cannot be parsed, with the line.
    """
    try:
        check_regular(file)
        return json.loads(Path(file).read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        what = f"{error.msg} at column {error.colno}"
        raise InputError(f"{file} line {error.lineno}: cannot be read as JSON ({what}); export it again") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: cannot be read as JSON ({error}); export it again") from error


def parsed_xml(file: str) -> Element:
    """The root of an XML file.

    Document types are refused, and with them entities, which can grow without bounds or name other files.

    Raises:
        InputError: If it cannot be parsed, with the line, or has a document type.
    """
    check_regular(file)
    parser = XMLParser(target=_WithoutDoctype())
    try:
        parser.feed(Path(file).read_bytes())
        root: Element = parser.close()
    except ParseError as error:
        line, column = error.position
        what = re.sub(r": line \d+, column \d+$", "", str(error))
        raise InputError(
            f"{file} line {line}: cannot be read as XML ({what} at column {column}); export it again"
        ) from error
    except (ValueError, LookupError, OSError) as error:
        raise InputError(f"{file}: cannot be read as XML ({error}); export it again") from error
    return root


def xml_root_name(file: str) -> str:
    """The name of an XML file's outermost element, by its beginning; empty where it has none."""
    match = re.search(r"<([A-Za-z_][\w.-]*)", re.sub(r"<!--.*?-->", "", head(file), flags=re.DOTALL))
    return match[1] if match else ""


class _WithoutDoctype(TreeBuilder):
    def doctype(self, name: str, pubid: str, system: str) -> None:
        raise InputError("a DOCTYPE is refused")
