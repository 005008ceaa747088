"""A task that adds nothing to classification."""

from visiontasks.tasks import ClassificationTask


class PlainTask(ClassificationTask):
    """Classification under another name."""
