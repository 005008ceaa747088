"""Pictures and pages about a run."""

from visiontasks.report.content import Explained, GradCams, Previous, RunContent, Score, Scored
from visiontasks.report.page import run_page
from visiontasks.report.pictures import Picture, draw_grid, grid, worst_and_random

__all__ = [
    "Explained",
    "GradCams",
    "Picture",
    "Previous",
    "RunContent",
    "Score",
    "Scored",
    "draw_grid",
    "grid",
    "run_page",
    "worst_and_random",
]
