"""The cost of a network, layer by layer, without weights or images: traced on tensors that have only shapes."""

from visiontasks.summary.costs import Layer, Summary
from visiontasks.summary.network import build_network, summarize_backbone
from visiontasks.summary.output import to_csv, to_json, to_table
from visiontasks.summary.trace import summarize

__all__ = ["Layer", "Summary", "build_network", "summarize", "summarize_backbone", "to_csv", "to_json", "to_table"]
