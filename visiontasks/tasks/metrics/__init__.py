"""Metrics over a whole split, exact with any batch size and number of processes."""

from visiontasks.tasks.metrics.boxes import BoxMetrics
from visiontasks.tasks.metrics.classification import LOSS, ClassificationMetrics
from visiontasks.tasks.metrics.masks import MaskMetrics
from visiontasks.tasks.metrics.values import MetricFacts, MetricValue

FACTS = {**BoxMetrics.facts, **MaskMetrics.facts, **ClassificationMetrics.facts, "loss": LOSS}
"""Of all metrics of this package, for results that were written without them."""

__all__ = ["FACTS", "BoxMetrics", "ClassificationMetrics", "MaskMetrics", "MetricFacts", "MetricValue"]
