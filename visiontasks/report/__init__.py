"""What a person looks at after a run."""

from visiontasks.report.content import Explained, Looks, RunContent, Score, Scored
from visiontasks.report.page import run_page
from visiontasks.report.pictures import Picture, draw_grid, worst_and_random

__all__ = [
    "Explained",
    "Looks",
    "Picture",
    "RunContent",
    "Score",
    "Scored",
    "draw_grid",
    "run_page",
    "worst_and_random",
]
