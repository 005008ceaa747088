"""report.html: everything about a run, in one file that needs nothing else."""

from visiontasks.report.classes import calibration_section, class_section, confusion_section, score_section
from visiontasks.report.content import RunContent
from visiontasks.report.examples import MOST_BYTES, examples_sections
from visiontasks.report.grad_cam import explained_section, grad_cam_section
from visiontasks.report.html import page
from visiontasks.report.overview import (
    curves_section,
    data_section,
    header,
    recipe_section,
    result_section,
    time_section,
)


def run_page(content: RunContent) -> str:
    """The report of a run as a whole HTML document, which fetches nothing and runs no script."""
    pictures = [*examples_sections(content), grad_cam_section(content)]
    left = MOST_BYTES - sum(map(len, pictures))
    return page(
        content.name,
        [
            header(content),
            result_section(content),
            curves_section(content),
            score_section(content),
            *pictures,
            explained_section(content, left),
            confusion_section(content),
            class_section(content),
            calibration_section(content),
            time_section(content),
            data_section(content),
            recipe_section(content),
        ],
    )
