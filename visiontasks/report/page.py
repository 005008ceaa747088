"""report.html: everything about a run, in one file that needs nothing else."""

from visiontasks.report.classes import calibration_section, class_section, confusion_section, score_section
from visiontasks.report.content import RunContent
from visiontasks.report.details import data_section, recipe_section, time_section
from visiontasks.report.examples import MOST_BYTES, examples_sections, training_section
from visiontasks.report.grad_cam import explained_section, grad_cam_section
from visiontasks.report.html import columns, page
from visiontasks.report.overview import header, result_section
from visiontasks.report.sections import task_section
from visiontasks.report.thresholds import threshold_section
from visiontasks.report.training import curves_section

_MOST_BESIDE = 15
"""Classes whose confusion matrix leaves room for a table beside it."""


def run_page(content: RunContent) -> str:
    """The report of a run as a whole HTML document, which fetches nothing and runs no script."""
    examples, training, grad_cams = examples_sections(content), training_section(content), grad_cam_section(content)
    confusion = [confusion_section(content), class_section(content)]
    left = MOST_BYTES - sum(map(len, [*examples, training, grad_cams]))
    return page(
        content.name,
        [
            header(content),
            result_section(content),
            curves_section(content),
            score_section(content),
            *examples,
            grad_cams,
            explained_section(content, left),
            *(confusion if len(content.class_names) > _MOST_BESIDE else [columns(*confusion)]),
            *map(task_section, content.sections),
            threshold_section(content),
            calibration_section(content),
            training,
            columns(data_section(content), time_section(content)),
            recipe_section(content),
        ],
    )
