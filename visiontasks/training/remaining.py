"""How long the rest of a run takes: by what was measured of each kind of work, and by stated ratios before."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

FORWARD = 1.0
"""Cost of an image through a frozen network; all other costs are in this unit."""
BACKWARD = 2.0
"""What it costs more to train all of the network: the gradients of activations and of weights."""
CACHED = 0.02
"""Cost of an image whose features are read from the cache: decided by the head, which is small."""
MEASURABLE = 0.5
"""Work that costs less is no measure of other work."""
LEAST_BATCHES, LEAST_S, ENOUGH_S = 4, 1.0, 60.0
"""What must be measured before a time is named: some batches and a second, or several and a minute."""
RECENT = 50
"""Batches of a kind that its speed is measured by: the last ones."""


@dataclass(frozen=True)
class Work:
    """Images that are still to be gone through.

    Args:
        part: What the time is counted to: "epochs 1-3", "test and report".
        kind: Work of one kind takes alike long for each image.
        images: How many.
        cost: Of an image, before one was measured, see `FORWARD`.
        passes: How often going through them is still to begin.
    """

    part: str
    kind: str
    images: float
    cost: float
    passes: int = 1


def training_cost(trained: float, *, is_read: bool) -> float:
    """Cost of a training image.

    Args:
        trained: Share of the backbone that is trained, 0..1.
        is_read: Whether the frozen part's output is in the cache.
    """
    if is_read:
        return CACHED * (1 - trained) + (FORWARD + BACKWARD) * trained
    return FORWARD + BACKWARD * trained


class Remaining:
    """Measures how long images of each kind take, and predicts the rest.

    The first batch of a pass takes longer than the others, since it waits for what lies between two passes: metrics,
    checkpoints, loading processes. That is measured once for each pass, and not for each batch. The first batch of all
    of a kind, for which a processor prepares its kernels and memory, is no measure of anything.

    Attributes:
        rest: What is still to be done, in order.
    """

    def __init__(self) -> None:
        self.rest: list[Work] = []
        self._costs: dict[str, float] = {}
        self._recent: dict[str, deque[tuple[float, float]]] = {}
        """Seconds and images of batches, by kind."""
        self._firsts: dict[str, list[tuple[float, float]]] = {}
        """The same of the first batches of passes."""
        self._passed: set[str] = set()
        """Kinds of which some work is done."""

    def begin(self, rest: Iterable[Work]) -> None:
        """Replace what is still to be done."""
        self.rest = list(rest)
        self._costs |= {work.kind: work.cost for work in self.rest}

    def done(self, kind: str, images: float, seconds: float | None, *, is_first: bool = False) -> None:
        """Count a batch.

        Args:
            kind: Of its work.
            images: How many it has.
            seconds: Since the batch before, of whatever kind; None for what is no measure.
            is_first: Whether it is the first one of a pass.
        """
        if seconds is not None:
            of_kind: Any = self._firsts.setdefault(kind, []) if is_first else self._recent_of(kind)
            of_kind.append((seconds, images))
        for i, work in enumerate(self.rest):
            if work.kind == kind and images > 0:
                taken = min(work.images, images)
                passes = work.passes - 1 if is_first else work.passes
                self.rest[i] = replace(work, images=work.images - taken, passes=max(0, passes))
                images -= taken
        self._passed |= {work.kind for work in self.rest if work.images <= 0}
        self.rest = [work for work in self.rest if work.images > 0]

    def drop(self, kind: str) -> None:
        """Forget what is left of the first work of a kind, which has ended early."""
        place = next((i for i, work in enumerate(self.rest) if work.kind == kind), None)
        if place is not None:
            del self.rest[place]

    @property
    def is_known(self) -> bool:
        """Whether enough was measured to name a time."""
        measured = [batch for kind in self._recent.keys() | self._firsts.keys() for batch in self._measured(kind)]
        seconds = sum(spent for spent, _ in measured)
        is_enough = (len(measured) >= LEAST_BATCHES and seconds >= LEAST_S) or (
            len(measured) > 1 and seconds >= ENOUGH_S
        )
        return is_enough and self.seconds() is not None

    def seconds(self, part: str | None = None) -> float | None:
        """What the rest takes, or a part of it; None where no measured work compares with it."""
        rest = [self._seconds(work) for work in self.rest if part is None or work.part == part]
        return None if None in rest else sum(filter(None, rest))

    @property
    def is_measured(self) -> bool:
        """Whether most of the rest is of kinds that were measured, and not compared with others by their cost."""
        rest = [(self._is_measured(work.kind), self._seconds(work) or 0) for work in self.rest]
        return 2 * sum(seconds for known, seconds in rest if known) >= sum(seconds for _, seconds in rest)

    @property
    def parts(self) -> list[str]:
        """What the rest consists of, in order."""
        return list(dict.fromkeys(work.part for work in self.rest))

    def _recent_of(self, kind: str) -> deque[tuple[float, float]]:
        return self._recent.setdefault(kind, deque(maxlen=RECENT))

    def _measured(self, kind: str) -> Sequence[tuple[float, float]]:
        """Batches that measure a kind: those behind the first of a pass, or where there are none, first ones."""
        return list(self._recent.get(kind, ())) or self._firsts.get(kind, [])[1:]

    def _is_measured(self, kind: str) -> bool:
        """Whether some batches of a kind were measured, or all of a pass that has fewer."""
        measured = self._measured(kind)
        return bool(measured) and (len(measured) >= LEAST_BATCHES or kind in self._passed)

    def _seconds(self, work: Work) -> float | None:
        of_image = self._of_image(work)
        return None if of_image is None else work.images * of_image + work.passes * self._of_pass(work.kind, of_image)

    def _of_image(self, work: Work) -> float | None:
        """Seconds of an image: measured, or by the ratio of the costs to what was measured."""
        if measured := self._measured(work.kind):
            return _total(measured, 0) / _total(measured, 1)
        compared = {
            kind: batches
            for kind, cost in self._costs.items()
            if cost >= MEASURABLE and (batches := self._measured(kind))
        }
        cost = sum(self._costs[kind] * _total(batches, 1) for kind, batches in compared.items())
        return work.cost * sum(_total(batches, 0) for batches in compared.values()) / cost if cost else None

    def _of_pass(self, kind: str, of_image: float) -> float:
        """Seconds that a pass takes before its first batch: the least that were seen, since others were held up."""
        return max(
            0.0, min((spent - images * of_image for spent, images in self._firsts.get(kind, [])[1:]), default=0.0)
        )


def _total(batches: Sequence[tuple[float, float]], place: int) -> float:
    return sum(batch[place] for batch in batches)


def duration(seconds: float) -> str:
    """A time as people say it: "8 s", "2 min 20 s", "14 min", "1 h 20 min", "2 days 4 h"."""
    if seconds < 59.5:
        return f"{max(1, round(seconds))} s"
    if seconds < 595:
        tens = round(seconds / 10) * 10
        rest = f" {tens % 60} s" if tens % 60 else ""
        return f"{tens // 60} min{rest}"
    if seconds < 3570:
        return f"{round(seconds / 60)} min"
    if seconds < 86_400:
        minutes = round(seconds / 600) * 10
        rest = f" {minutes % 60} min" if minutes % 60 else ""
        return f"{minutes // 60} h{rest}"
    hours = round(seconds / 3600)
    days = hours // 24
    return f"{days} day{'s' if days > 1 else ''}" + (f" {hours % 24} h" if hours % 24 else "")
