"""How far an exported file's predictions are from those of the run's own evaluation for the same images."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from visiontasks.data.pipeline.reader import UInt8Array
from visiontasks.errors import InputError
from visiontasks.export.graph import Answer, Runner
from visiontasks.export.samples import Sample
from visiontasks.ops.resampling import resize, sides
from visiontasks.outputs import Output
from visiontasks.outputs.geometry import LETTERBOX_GREY, Size, place
from visiontasks.predict.inputs import Preprocessing, preprocessing_of
from visiontasks.recipe.open_run import FinishedRun
from visiontasks.units import counted

MOST_GREY = 1
SMALLEST = "box_iou"
"""The figure of which the smallest counts, not the largest."""
_TEXTS = {
    "probability": "largest difference of a probability {:.2g}",
    "box_px": "of a box {:.2g} px",
    SMALLEST: "smallest IoU {:.4f}",
}
_COUNTED = ("mask_share", "unpaired_objects")
"""Figures that the counts of classes show already."""


@dataclass(frozen=True, eq=False)
class Reference:
    """The prediction of the run's evaluation for one image.

    Args:
        output: The prediction.
        unit: Pixels of the original image for each one of the network's.
    """

    output: Output
    unit: float


@dataclass
class Agreement:
    """What a comparison has found so far.

    Attributes:
        images: How many were compared.
        answers: Images, objects or pixels that have a class.
        flips: Those with another class than the evaluation predicts, and a lead above `visiontasks.outputs.base.TIE`.
        ties: Those with another class, and a lead of no more.
        largest: The largest difference of each figure, see `Difference`; of box_iou the smallest.
        worst: The image that is farthest off.
        faults: What is too far off, in words.
    """

    images: int = 0
    answers: int = 0
    flips: int = 0
    ties: int = 0
    largest: dict[str, float] = field(default_factory=dict)
    worst: str = ""
    faults: list[str] = field(default_factory=list)

    def add(self, name: str, found: Output, reference: Reference) -> None:
        """Compare the predictions of one image."""
        difference = found.difference(reference.output, unit=reference.unit)
        self.images += 1
        self.answers += difference.classes
        self.flips += difference.flips
        self.ties += difference.ties
        for figure, value in difference.figures.items():
            known = self.largest.get(figure)
            if known is None or (value < known if figure == SMALLEST else value > known):
                self.largest[figure] = value
                self.worst = name
        if difference.faults:
            self.worst = name
            self.faults += [f"{fault} in {name}" for fault in difference.faults]

    @property
    def passed(self) -> bool:
        """Whether there was no fault."""
        return not self.faults

    def check(self, what: str) -> None:
        """Refuse a file that does not agree.

        Args:
            what: The file.

        Raises:
            InputError: If a class is another one, or a number too far off.
        """
        if self.faults:
            more = f" (and {len(self.faults) - 1} more)" if len(self.faults) > 1 else ""
            raise InputError(
                f"{what} does not predict what the run's evaluation predicts, so nothing was written: {self.faults[0]}"
                f"{more}; compared on {counted(self.images, 'image')}: {self.summary()}"
            )

    def summary(self) -> str:
        """The figures in one line."""
        parts = [f"{self.flips:,} of {self.answers:,} classes differ, {self.ties:,} ties"] if self.answers else []
        parts += [text.format(self.largest[figure]) for figure, text in _TEXTS.items() if figure in self.largest]
        others = {name: value for name, value in self.largest.items() if name not in (*_TEXTS, *_COUNTED)}
        parts += [f"largest difference of {name} {value:.2g}" for name, value in others.items()]
        return "; ".join(parts)

    def figures(self) -> dict[str, Any]:
        """The same for a file."""
        counts = {name: getattr(self, name) for name in ("images", "answers", "flips", "ties")}
        return {**counts, **self.largest, "worst": self.worst}


@torch.no_grad()
def evaluate(trained: FinishedRun, image: UInt8Array, *, as_graph: bool = False, size: Size | None = None) -> Reference:
    """Predict an image (H, W, 3), RGB uint8, as a run's evaluation does.

    Args:
        trained: The run.
        image: The image.
        as_graph: Resize it as a graph does. Where a value lies between two grey levels OpenCV takes either, by the
            order in which it sums, and a grey level more moves single pixels of a mask.
        size: Height and width of an image that was decoded smaller; None for its own.
    """
    height, width = size or image.shape[:2]
    geometry = place((height, width), trained.image_size, trained.resize)
    pixels = geometry.image(image)
    if as_graph and trained.resize != "keep":
        alone = torch.from_numpy(np.ascontiguousarray(image))[None]
        resized = resize(alone, *sides(alone, trained.image_size, trained.resize), padding=LETTERBOX_GREY)[0]
        of_graph = resized.permute(1, 2, 0).contiguous().numpy()
        off = int(np.abs(of_graph.astype(int) - pixels).max())
        if off > MOST_GREY:
            raise InputError(f"an image of {width}x{height} pixels is resized otherwise by a graph: {off} grey levels")
        pixels = of_graph
    batch = {
        "image": torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None],
        "geometry": torch.from_numpy(geometry.row())[None],
    }
    (output,) = trained.task.predict(batch)
    return Reference(output, max(height / geometry.scaled[0], width / geometry.scaled[1]))


def compare(trained: FinishedRun, run: Runner, images: Iterable[Sample]) -> tuple[Agreement, Agreement]:
    """Compare a file with a run's evaluation, image by image; the first one also cut, and as two of a batch.

    Masks are compared on images resized as the graph does it, which may differ from the evaluation's by one grey level.

    Args:
        trained: The run.
        run: The file.
        images: Of any sizes.

    Returns:
        On the same pixels, decoded in full. And end to end on the files of which the evaluation and `predict` decode
        fewer pixels: their prediction against the file's on a full decode, which a user of the file makes. The second
        has faults that are none of the file.
    """
    agreement, end_to_end = Agreement(), Agreement()
    as_graph = trained.task.outputs.is_of_pixels
    preprocessing = preprocessing_of(trained, trained.image_size)
    for position, sample in enumerate(images):
        image, decoded = _decoded(sample, preprocessing)
        found, reference = predict(trained, run, image), evaluate(trained, image, as_graph=as_graph)
        agreement.add(sample.name, found, reference)
        if decoded is not image:
            full_size = (image.shape[0], image.shape[1])
            end_to_end.add(sample.name, found, evaluate(trained, decoded, as_graph=as_graph, size=full_size))
        if position == 0:
            both, aside = run(np.stack([image, image])), Agreement()
            aside.add(f"{sample.name} in a batch", _output(trained, both, 1, image), reference)
            cut = np.ascontiguousarray(image[: image.shape[0] // 2 + 1, : image.shape[1] // 3 + 1])
            of_cut = evaluate(trained, cut, as_graph=as_graph)
            aside.add(f"a part of {sample.name}", predict(trained, run, cut), of_cut)
            agreement.faults += aside.faults
    return agreement, end_to_end


def predict(trained: FinishedRun, run: Runner, image: UInt8Array) -> Output:
    """The prediction of a file for one image (H, W, 3)."""
    return _output(trained, run(image[None]), 0, image)


def _output(trained: FinishedRun, answer: Answer, position: int, image: UInt8Array) -> Output:
    values = {name: each[position] for name, each in answer.items()}
    return trained.task.outputs.from_graph(values, (image.shape[0], image.shape[1]))


def _decoded(sample: Sample, preprocessing: Preprocessing) -> tuple[UInt8Array, UInt8Array]:
    """An image decoded in full, and as `predict` decodes it, which is the same array where that is in full too."""
    if sample.file is None:
        image = sample.read()
        return image, image
    decoded, size = preprocessing.read(sample.file)
    return (decoded if decoded.shape[:2] == size else sample.read()), decoded
