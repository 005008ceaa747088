"""Heads: what turns a backbone's output into logits, boxes or masks. Plain torch modules, no trainer."""

from visiontasks.heads.linear import LinearHead
from visiontasks.heads.mlp import MLPHead

__all__ = ["LinearHead", "MLPHead"]
