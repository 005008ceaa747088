"""How long the rest of a run takes: by what was measured of each kind of work, and by stated ratios before."""

from collections.abc import Iterable
from dataclasses import dataclass

FORWARD = 1.0
"""Cost of an image through a frozen network; all other costs are in this unit."""
BACKWARD = 2.0
"""What it costs more to train all of the network: the gradients of activations and of weights."""
CACHED = 0.02
"""Cost of an image whose features are read from the cache: decided by the head, which is small."""
MEASURABLE = 0.5
"""Work that costs less is no measure of other work."""
LEAST_BATCHES, LEAST_S, ENOUGH_S = 4, 1.0, 60.0
"""What must be measured before a time is named: some batches and a second, or a minute. The first batch, which
starts loading processes, is not counted."""


@dataclass(frozen=True)
class Work:
    """Images that are still to be gone through.

    Args:
        part: What the time is counted to: "epochs 1-3", "test and report".
        kind: Work of one kind takes alike long for each image.
        images: How many.
        cost: Of an image, before one was measured, see `FORWARD`.
    """

    part: str
    kind: str
    images: float
    cost: float


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

    Attributes:
        rest: What is still to be done, in order.
    """

    def __init__(self) -> None:
        self.rest: list[Work] = []
        self._measured: dict[str, tuple[float, float]] = {}
        """Seconds and images by kind."""
        self._costs: dict[str, float] = {}
        self._batches = 0

    def begin(self, rest: Iterable[Work]) -> None:
        """Replace what is still to be done."""
        self.rest = list(rest)
        self._costs |= {work.kind: work.cost for work in self.rest}

    def done(self, kind: str, images: float, seconds: float | None) -> None:
        """Count a batch; seconds is None for one that is no measure, such as the first."""
        if seconds is not None:
            before_s, before = self._measured.get(kind, (0.0, 0.0))
            self._measured[kind] = before_s + seconds, before + images
            self._batches += 1
        for i, work in enumerate(self.rest):
            if work.kind == kind and images > 0:
                taken = min(work.images, images)
                self.rest[i] = Work(work.part, kind, work.images - taken, work.cost)
                images -= taken
        self.rest = [work for work in self.rest if work.images > 0]

    def drop(self, kind: str) -> None:
        """Forget what is left of the first work of a kind, which has ended early."""
        place = next((i for i, work in enumerate(self.rest) if work.kind == kind), None)
        if place is not None:
            del self.rest[place]

    @property
    def is_known(self) -> bool:
        """Whether enough was measured to name a time."""
        seconds = sum(spent for spent, _ in self._measured.values())
        is_enough = (self._batches >= LEAST_BATCHES and seconds >= LEAST_S) or seconds >= ENOUGH_S
        return is_enough and self.seconds() is not None

    def seconds(self, part: str | None = None) -> float | None:
        """What the rest takes, or a part of it; None where no measured work compares with it."""
        total = 0.0
        for work in self.rest:
            if part is None or work.part == part:
                of_image = self._of_image(work)
                if of_image is None:
                    return None
                total += work.images * of_image
        return total

    @property
    def is_measured(self) -> bool:
        """Whether most of the rest is of kinds that were measured, and not compared with others by their cost."""
        rest = [(work.kind in self._measured, work.images * (self._of_image(work) or 0)) for work in self.rest]
        return 2 * sum(seconds for known, seconds in rest if known) >= sum(seconds for _, seconds in rest)

    @property
    def parts(self) -> list[str]:
        """What the rest consists of, in order."""
        return list(dict.fromkeys(work.part for work in self.rest))

    def _of_image(self, work: Work) -> float | None:
        """Seconds of an image: measured, or by the ratio of the costs to what was measured."""
        if work.kind in self._measured and self._measured[work.kind][1] > 0:
            seconds, images = self._measured[work.kind]
            return seconds / images
        compared = [kind for kind in self._measured if self._costs.get(kind, 0.0) >= MEASURABLE]
        cost = sum(self._costs[kind] * self._measured[kind][1] for kind in compared)
        if not cost:
            return None
        return work.cost * sum(self._measured[kind][0] for kind in compared) / cost


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
