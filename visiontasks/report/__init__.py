"""What a person looks at after a run."""

from visiontasks.report.pictures import Picture, draw_grid, worst_and_random

__all__ = ["Picture", "draw_grid", "worst_and_random"]
