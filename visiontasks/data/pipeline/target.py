"""The interface of what a sample is annotated with; labels, boxes and masks implement it in `visiontasks.data.targets`.

It stands here because the pipeline augments, places and collates by it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from torch import Tensor

from visiontasks.data.pipeline.sources import Int64Array, Sample, Source
from visiontasks.outputs import Output
from visiontasks.outputs.geometry import Geometry, Resize, Size

Batch = dict[str, Any]


class Target(Protocol):
    """What a sample is annotated with beside its image.

    Implementations inherit from it: a method with a body here is for a target that needs nothing of it. They are frozen
    values without parameters, which compare and print by their class. Their methods have exactly these types, since
    jsonargparse takes a class for another protocol's if it returns a narrower one.
    """

    name: ClassVar[str]
    """As recipes and tasks spell it."""
    plural: ClassVar[str]
    """As messages spell it."""
    unit: ClassVar[str]
    """What the counts of classes are counts of: images, objects or pixels."""
    strong_imbalance: ClassVar[int]
    """A largest class with so many times the smallest is worth a note."""
    inputs: ClassVar[tuple[str, ...]]
    """Albumentations' names of what moves with the image; empty if nothing does."""
    refused: ClassVar[Mapping[str, str]]
    """Transforms that cannot be aligned with the image, by name, and why."""
    counts_by_decoding: ClassVar[bool]
    """Whether counting classes takes the decoding of each sample."""
    can_be_combined: ClassVar[bool] = False
    """Whether one image may be made of several samples, see `combine`."""

    def compose_options(self) -> dict[str, Any]:
        """Further arguments of `albumentations.Compose`."""
        return {}

    def align(self, transform: Any) -> None:
        """Make a transform move the target by what it moves the image, in place.

        Raises:
            InputError: If that is impossible.
        """
        return

    def augment(self, pipeline: Any, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Send a sample through an albumentations pipeline.

        Returns:
            The sample's image and annotation, transformed; other keys are left out.
        """
        ...

    def combine(self, pipeline: Any, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Make one sample of several, where `can_be_combined`.

        Args:
            pipeline: An albumentations pipeline of a Mosaic alone.
            samples: At least one; the first is the sample that is augmented.

        Raises:
            TypeError: If the target cannot be combined.
        """
        raise TypeError(f"{self.plural} of several images cannot be combined")

    def place(self, sample: dict[str, Any], geometry: Geometry, *, training: bool) -> dict[str, Any]:
        """Bring a sample's annotation to the batch's image; in evaluation nothing is cut or dropped."""
        ...

    def collate(self, samples: Sequence[Mapping[str, Any]], *, training: bool) -> Batch:
        """The target's own entries of a batch of placed samples."""
        ...

    def count(self, source: Source, num_classes: int) -> Int64Array:
        """Images, objects or pixels (`unit`) of each class in a source, (K,)."""
        ...

    def decoded_counts(self, sample: Mapping[str, Any]) -> Int64Array | None:
        """How often each class index occurs in a sample; None where classes are counted without decoding."""
        return None

    def check_options(self, *, resize: Resize) -> None:
        """Check options of the DataModule.

        Raises:
            InputError: If the target does not allow them.
        """
        return

    def check_sources(self, sources: Mapping[str, Source], class_names: Sequence[str]) -> None:
        """Check number and range of the classes, and that training has each, as far as that takes no decoding.

        Raises:
            InputError: If they are not what training or evaluation needs.
        """
        ...

    def sample_bytes(self, size: Size, *, training: bool) -> int:
        """Bytes of the target in a batch, for each sample of this height and width, at least."""
        return 0

    def truth(self, sample: Sample) -> Output | None:
        """A source's sample as an output, drawn beside the prediction; None where nothing is drawn."""
        return None

    def names(self, sample: Mapping[str, Any], class_names: Sequence[str]) -> list[str]:
        """Names of the classes that a sample is annotated with as a whole, to be written below its picture."""
        return []

    def most_objects(self, source: Source) -> int:
        """Objects in the image of a source that has most of them, which `pack` has to leave room for."""
        return 0

    def pack(self, batch: Batch, most_objects: int) -> dict[str, Tensor]:
        """The target's entries of a batch as tensors whose rows all have one size, for the feature store.

        Raises:
            TypeError: If the batch has a list, whose parts differ in size.
        """
        value = batch[self.name]
        if not isinstance(value, Tensor):
            raise TypeError(f"{self.plural} of evaluation differ in size and cannot be packed")
        return {self.name: value}

    def unpack(self, rows: Mapping[str, Tensor]) -> Batch:
        """The way back from `pack`."""
        return {self.name: rows[self.name]}
