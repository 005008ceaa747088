"""What a report is made of: plain values that whoever has the run's files fills in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiontasks.report.pictures import Picture
from visiontasks.tasks.report_sections import ReportSection

Row = Mapping[str, float]


@dataclass(frozen=True)
class Score:
    """What the score of a sample is.

    Args:
        name: As `IoU`.
        measures: Whether it measures how good a prediction is; that of a true class's probability does not.
    """

    name: str = "score"
    measures: bool = False


@dataclass(frozen=True)
class Scored:
    """The samples of the split that the result is about, n of them; None for what the task does not predict.

    Args:
        score: Of each sample; NaN where there was no truth.
        label: Index of the true class.
        predicted: Index of the predicted class, -1 for none.
        probability: The network's probability of the predicted class, 0..1.
    """

    score: Sequence[float]
    label: Sequence[int] | None = None
    predicted: Sequence[int] | None = None
    probability: Sequence[float] | None = None

    @property
    def known(self) -> list[float]:
        """The scores that there are."""
        return [score for score in self.score if not isnan(score)]


@dataclass(frozen=True, eq=False)
class GradCams:
    """Heat maps of the regions that a network's classes depend on.

    Args:
        samples: Of each a picture and the same under the heat map of its predicted class, uint8 (H, W, 3).
        filters: The first layer's, uint8 (H, W, 3), and what they are; None for a network that begins with others.
        note: Why maps are missing.
    """

    samples: Sequence[tuple[Picture, NDArray[np.uint8]]] = ()
    filters: tuple[NDArray[np.uint8], str] | None = None
    note: str = ""


@dataclass(frozen=True, eq=False)
class Explained:
    """An image that somebody had explained.

    Args:
        name: The image's.
        pictures: uint8 (H, W, 3), by what they show.
    """

    name: str
    pictures: Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class Previous:
    """The last finished run of the same recipe before a run, compared with it.

    Args:
        run: Its folder.
        metrics: Values by name.
        tests: Whether the difference could be chance, in sentences.
        recipe: Keys that differ, with the value of the previous run and of this one.
    """

    run: str
    metrics: Mapping[str, float]
    tests: Sequence[str] = ()
    recipe: Sequence[tuple[str, str, str]] = ()


@dataclass(frozen=True)
class RunContent:
    """One run.

    Args:
        name: The recipe's name.
        run: The run's folder.
        split: What was measured.
        result: The content of result.json; empty for a training that did not finish.
        recipe: The resolved recipe.
        recipe_text: The text of the file.
        history: Rows of metrics.csv.
        class_names: By class index.
        scored: What was measured of each sample; None if that is unknown.
        pixels: Of masks the pixels by true (row) and predicted class, (K, K); None if they were not counted.
        sections: What the task shows besides.
        score: What the scores are.
        pictures: Sections of drawn samples by title.
        training: Samples of the first training batch as the network gets them.
        previous: The run before; None if it is the first.
        grad_cams: None for a task without classes of images.
        explained: Images that were explained, the newest first.
        notes: What the reader has to know first.
        weights: Where the backbone's weights came from.
        time_names: What the parts of `result["time"]` are called.
        lower_is_better: Metrics, without their split, of which less is better.
    """

    name: str
    run: str
    split: str
    result: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    recipe_text: str = ""
    history: Sequence[Row] = ()
    class_names: Sequence[str] = ()
    scored: Scored | None = None
    pixels: Sequence[Sequence[int]] | None = None
    sections: Sequence[ReportSection] = ()
    score: Score = Score()
    pictures: Mapping[str, Sequence[Picture]] = field(default_factory=dict)
    training: Sequence[Picture] = ()
    previous: Previous | None = None
    grad_cams: GradCams | None = None
    explained: Sequence[Explained] = ()
    notes: Sequence[str] = ()
    weights: str = ""
    time_names: Mapping[str, str] = field(default_factory=dict)
    lower_is_better: frozenset[str] = frozenset()

    def option(self, *keys: str) -> Any:
        """A value of the recipe, such as `option("model", "init_args", "backbone")`; None where it is missing."""
        value: Any = self.recipe
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    @property
    def headline(self) -> str | None:
        """The metric that the run is known by, as `test/top1`; None before anything was measured."""
        metrics = self.result.get("metrics") or {}
        monitor = str((self.result.get("chosen_by") or {}).get("monitor", ""))
        named = f"{self.split}/{self.result.get('headline') or monitor.rpartition('/')[2]}"
        return next((name for name in [named, *metrics] if name in metrics), None)
