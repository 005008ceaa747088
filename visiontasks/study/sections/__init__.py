"""The sections of the page of studies, each made from its JSON alone."""

from collections.abc import Callable, Mapping
from typing import Any

from visiontasks.study.sections import (
    extend,
    field,
    folds,
    groups,
    how_much_data,
    labels,
    next,
    probe,
    search,
    similar,
)

SECTIONS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "probe": probe.section,
    "labels": labels.section,
    "how-much-data": how_much_data.section,
    "groups": groups.section,
    "folds": folds.section,
    "search": search.section,
    "next": next.section,
    "similar": similar.section,
    "field": field.section,
    "extend": extend.section,
}
"""By question, in the order of the page."""
SCRIPTS = {"labels": labels.SCRIPT}
"""By question, what its section runs."""
