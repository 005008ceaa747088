"""How far what an exported file says is from what the run's own evaluation says of the same images."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from visiontasks.data import collate
from visiontasks.data.pipeline.geometry import LETTERBOX_GREY, Float32Array, place
from visiontasks.data.pipeline.reader import UInt8Array
from visiontasks.errors import InputError
from visiontasks.export.graph import Answer, Runner
from visiontasks.export.samples import Sample
from visiontasks.ops.boxes import iou
from visiontasks.ops.resampling import resize, sides
from visiontasks.predict.inputs import Preprocessing, preprocessing_of
from visiontasks.recipe.trained import Trained
from visiontasks.tasks import SegmentationTask

TIE = 1e-3
"""Two classes whose probabilities differ by no more are equally probable: which one is first says nothing."""
MOST_DIFFERENCE = 0.01
"""Of a probability, between the evaluation and a file that passes."""
MOST_GREY = 1
LEAST_IOU = 0.99
MOST_BOX_SHIFT = 1.0
"""Pixels of the network's image by which a side of a box may differ instead: of tiny boxes the IoU is small at once."""

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Truth:
    """What the run's evaluation says of one image.

    Args:
        answer: As `Deployed` gives it, without the dimension of the batch.
        margin: By how much the most probable class leads, of each object or pixel; None where there are no classes.
        unit: Pixels of the original image for each one of the network's.
    """

    answer: Answer
    margin: Float32Array | None
    unit: float


@dataclass
class Agreement:
    """What a comparison has found so far.

    Attributes:
        images: How many were compared.
        answers: Images, objects or pixels that have a class.
        flips: Those with another class than the evaluation gives them, and a lead above `TIE`.
        ties: Those with another class, and a lead of no more.
        probability: The largest difference of a probability; None where none is given out.
        box_px: The largest difference of a box's side, in pixels of the network's image; None without boxes.
        box_iou: The smallest IoU; None without boxes.
        worst: The image that is farthest off.
    """

    images: int = 0
    answers: int = 0
    flips: int = 0
    ties: int = 0
    probability: float | None = None
    box_px: float | None = None
    box_iou: float | None = None
    worst: str = ""
    _faults: list[str] = field(default_factory=list, repr=False)

    @torch.no_grad()
    def add(self, name: str, found: Answer, truth: Truth) -> None:
        """Compare what is said of one image, without the dimension of the batch."""
        if set(found) != set(truth.answer):
            raise InputError(f"the file answers {', '.join(found)}, expected {', '.join(truth.answer)}")
        self.images += 1
        moved = self._compare_classes(name, found, truth)
        if "probability" in found:
            self._compare_probability(name, found["probability"], truth.answer["probability"])
        if "box" in found:
            self._compare_box(name, found["box"], truth, moved)

    def heed(self, other: "Agreement") -> None:
        """Take over the faults of a comparison whose figures do not count."""
        self._faults += other._faults

    @property
    def passed(self) -> bool:
        """Whether there was no fault."""
        return not self._faults

    def check(self, what: str) -> None:
        """Refuse a file that does not agree.

        Args:
            what: The file.

        Raises:
            InputError: If a class is another one, or a number too far off.
        """
        if self._faults:
            more = f" (and {len(self._faults) - 1} more)" if len(self._faults) > 1 else ""
            raise InputError(
                f"{what} does not say what the run's evaluation says, so nothing was written: {self._faults[0]}{more}; "
                f"compared on {self.images} images: {self.summary()}"
            )

    def summary(self) -> str:
        """The figures in one line."""
        parts = [f"{self.flips:,} of {self.answers:,} classes differ, {self.ties:,} ties"] if self.answers else []
        if self.probability is not None:
            parts.append(f"largest difference of a probability {self.probability:.2g}")
        if self.box_px is not None:
            parts.append(f"of a box {self.box_px:.2g} px, smallest IoU {self.box_iou:.4f}")
        return "; ".join(parts)

    def figures(self) -> dict[str, Any]:
        """The same for a file."""
        values = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return {name: value for name, value in values.items() if value is not None}

    def _compare_classes(self, name: str, found: Answer, truth: Truth) -> BoolArray:
        """Count other classes; which of them there are, of each object or pixel."""
        key = "mask" if "mask" in found else "probability"
        if truth.margin is None or key not in found:
            return np.zeros((), np.bool_)
        ours, theirs = (each[key] if key == "mask" else each[key].argmax(-1) for each in (found, truth.answer))
        if ours.shape != theirs.shape:
            raise InputError(f"the file gives a {key} of shape {ours.shape}, expected {theirs.shape} ({name})")
        moved = np.asarray(ours != theirs)
        flips = moved & ~(truth.margin <= TIE)
        self.answers += moved.size
        self.flips += int(flips.sum())
        self.ties += int((moved & ~flips).sum())
        if flips.any():
            self._fault(name, f"{int(flips.sum())} of {moved.size} classes differ in {name}")
        return moved

    def _compare_probability(self, name: str, found: Float32Array, expected: Float32Array) -> None:
        difference = _largest(found - expected)
        if self.probability is None or difference > self.probability:
            self.probability, self.worst = difference, name
        if not difference <= MOST_DIFFERENCE:
            self._fault(name, f"a probability differs by {difference:.3g} in {name}")

    def _compare_box(self, name: str, found: Answer | Any, truth: Truth, moved: BoolArray) -> None:
        """Boxes; not those of classes that tie, each of which has its own."""
        expected = truth.answer["box"]
        shift = np.abs(found - expected).max(-1) / truth.unit
        overlap = iou(*(torch.from_numpy(np.ascontiguousarray(b)).reshape(-1, 4) for b in (found, expected))).numpy()
        overlap = np.where(shift == 0, 1, overlap.reshape(shift.shape))  # of an empty box too
        counts = ~np.broadcast_to(moved, shift.shape)
        bad = counts & ~((overlap >= LEAST_IOU) | (shift <= MOST_BOX_SHIFT))
        worst = _largest(shift[counts]) if counts.any() else 0.0
        if self.box_px is None or worst > self.box_px:
            self.box_px, self.worst = worst, name
        self.box_iou = min(1.0 if self.box_iou is None else self.box_iou, *overlap[counts].ravel().tolist(), 1.0)
        if bad.any():
            self._fault(name, f"a box differs by {worst:.3g} px of the network's image in {name}")

    def _fault(self, name: str, fault: str) -> None:
        self.worst = name
        self._faults.append(fault)


@torch.no_grad()
def evaluate(trained: Trained, image: UInt8Array, *, as_graph: bool = False) -> Truth:
    """What a run's evaluation says of an image (H, W, 3), RGB uint8.

    Args:
        trained: The run.
        image: The image.
        as_graph: Resize it as a graph does. Where a value lies between two grey levels OpenCV takes either, by the
            order in which it sums, and a grey level more moves single pixels of a mask.
    """
    height, width = image.shape[:2]
    placement = place((height, width), trained.image_size, trained.resize)
    shown = placement.image(image)
    if as_graph and trained.resize != "keep":
        alone = torch.from_numpy(np.ascontiguousarray(image))[None]
        resized = resize(alone, *sides(alone, trained.image_size, trained.resize), padding=LETTERBOX_GREY)[0]
        shown = resized.permute(1, 2, 0).contiguous().numpy()
        off = int(np.abs(shown.astype(int) - placement.image(image)).max())
        if off > MOST_GREY:
            raise InputError(f"an image of {width}x{height} pixels is resized otherwise by a graph: {off} grey levels")
    batch = collate([{"image": shown, "geometry": placement.row()}])
    unit = max(height / placement.scaled[0], width / placement.scaled[1])
    if isinstance(trained.task, SegmentationTask):
        probability = next(iter(trained.task.original_logits(batch))).softmax(0)
        return Truth({"mask": trained.task.predict(batch)["masks"][0].numpy()}, _lead(probability, dim=0), unit)
    said = {name: values[0] for name, values in trained.task.predict(batch).items()}
    margin = _lead(said["probability"], dim=-1) if "probability" in said else None
    answer = {name: values.numpy() for name, values in said.items()}
    if "box" in answer:
        limit = np.array([width, height, width, height], np.float32)
        answer["box"] = placement.original_boxes(answer["box"] * placement.unit).clip(0, limit)
    return Truth(answer, margin, unit)


def compare(trained: Trained, run: Runner, images: Iterable[Sample]) -> tuple[Agreement, Agreement]:
    """Compare a file with a run's evaluation, image by image; the first one also cut, and as two of a batch.

    Masks are compared on images resized as the graph does it, which may differ from the evaluation's by one grey level.

    Args:
        trained: The run.
        run: The file.
        images: Of any sizes.

    Returns:
        On the same pixels, decoded in full. And end to end on the files of which the evaluation and `predict` decode
        fewer pixels: their answer against the file's on a full decode, which a user of the file makes. The second
        has faults that are none of the file.
    """
    agreement, end_to_end = Agreement(), Agreement()
    has_masks = isinstance(trained.task, SegmentationTask)
    preprocessing = preprocessing_of(trained, trained.image_size)
    for position, sample in enumerate(images):
        image, seen = _decoded(sample, preprocessing)
        found, truth = first(run(image[None])), evaluate(trained, image, as_graph=has_masks)
        agreement.add(sample.name, found, truth)
        if seen is not image:
            end_to_end.add(sample.name, found, evaluate(trained, seen, as_graph=has_masks))
        if position == 0:
            both = run(np.stack([image, image]))
            aside = Agreement()
            aside.add(f"{sample.name} in a batch", {name: values[1] for name, values in both.items()}, truth)
            cut = np.ascontiguousarray(image[: image.shape[0] // 2 + 1, : image.shape[1] // 3 + 1])
            aside.add(f"a part of {sample.name}", first(run(cut[None])), evaluate(trained, cut, as_graph=has_masks))
            agreement.heed(aside)
    return agreement, end_to_end


def first(answer: Answer) -> Answer:
    """Of what a file says of several images what it says of the first."""
    return {name: values[0] for name, values in answer.items()}


def _decoded(sample: Sample, preprocessing: Preprocessing) -> tuple[UInt8Array, UInt8Array]:
    """An image decoded in full, and as `predict` decodes it, which is the same array where that is in full too."""
    if sample.file is None:
        image = sample.read()
        return image, image
    seen, size = preprocessing.read(sample.file)
    return (seen if seen.shape[:2] == size else sample.read()), seen


def _lead(probability: torch.Tensor, *, dim: int) -> Float32Array:
    """By how much the most probable class is more probable than the second."""
    most, second = probability.topk(2, dim=dim).values.unbind(dim)
    return np.asarray((most - second).numpy(), np.float32)


def _largest(difference: npt.NDArray[Any]) -> float:
    """Largest absolute value; infinite where one is no number, so that it is never within a limit."""
    value = float(np.abs(difference).max(initial=0.0))
    return value if isfinite(value) else inf
