"""A class for each pixel."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from visiontasks.cores import available_cores
from visiontasks.data.pipeline.alignment import NEAREST, refuse
from visiontasks.data.pipeline.sources import Int64Array, Sample, Source, annotation
from visiontasks.data.pipeline.target import Batch, Target
from visiontasks.data.targets.base import check_class_names
from visiontasks.errors import InputError
from visiontasks.ops.losses import IGNORED
from visiontasks.outputs import Output, SemanticMask
from visiontasks.outputs.geometry import Geometry, Resize, Size

_AVERAGES = "it averages class indices, which gives other classes"


@dataclass(frozen=True)
class MaskTarget(Target):
    """A sample has a `mask` uint8 (H, W) of class indices, 255 for ignored pixels.

    A batch has `mask`: in training int64 (B, H, W) at the size of its images; in evaluation a list of B uint8
    (H_i, W_i) at the original sizes, at which predictions are measured.
    """

    name = "mask"
    plural = "masks"
    unit = "pixels"
    strong_imbalance = 100
    inputs = ("mask",)
    refused: ClassVar[Mapping[str, str]] = {
        "Morphological": "it grows or shrinks objects, whose truth stays as it is",
        "GlassBlur": "it moves the image by up to several pixels, and not its mask; use GaussianBlur or Defocus",
    }
    counts_by_decoding = True

    def align(self, transform: Any) -> None:
        """Ignore pixels that a transform fills, whose class is unknown; refuse what averages class indices."""
        name = type(transform).__name__
        interpolation = getattr(transform, "mask_interpolation", None)
        if interpolation not in {None, *NEAREST}:
            way_out = "remove mask_interpolation, then the nearest pixel is taken"
            refuse(f"{name} with mask_interpolation: {interpolation}", self, f"{_AVERAGES}; {way_out}")
        if getattr(transform, "area_for_downscale", None) == "image_mask":
            refuse(f"{name} with area_for_downscale: image_mask", self, f"{_AVERAGES}; use area_for_downscale: image")
        for key in ("fill_mask", "mask_drop_value"):
            if getattr(transform, key, None) is not None:
                setattr(transform, key, IGNORED)

    def augment(self, pipeline: Any, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Transform image and mask."""
        both = pipeline(image=sample["image"], mask=sample["mask"])
        return {"image": np.asarray(both["image"]), "mask": np.asarray(both["mask"])}

    def place(self, sample: dict[str, Any], geometry: Geometry, *, training: bool) -> dict[str, Any]:
        """Resize the mask in training; in evaluation it stays at the original size."""
        if not training:
            return sample
        return {**sample, "mask": geometry.mask(sample["mask"], padding=IGNORED)}

    def collate(self, samples: Sequence[Mapping[str, Any]], *, training: bool) -> Batch:
        """Give `mask`, int64 (B, H, W) in training, else a list of uint8 (H_i, W_i)."""
        masks = [sample["mask"] for sample in samples]
        if training:
            return {"mask": torch.from_numpy(np.stack(masks)).long()}
        return {"mask": [torch.from_numpy(mask) for mask in masks]}

    def count(self, source: Source, num_classes: int) -> Int64Array:
        """Pixels of each class, (K,); each mask is decoded."""
        counts = np.zeros(IGNORED + 1, dtype=np.int64)
        with ThreadPoolExecutor(available_cores()) as pool:
            for of_sample in pool.map(lambda row: self.decoded_counts(annotation(source, row)), range(len(source))):
                counts += of_sample
        return counts[:num_classes]

    def decoded_counts(self, sample: Mapping[str, Any]) -> Int64Array:
        """Pixels of each class, the last being those that are ignored, (256,)."""
        return np.bincount(sample["mask"].ravel(), minlength=IGNORED + 1)

    def check_options(self, *, resize: Resize) -> None:
        """Refuse `crop`."""
        if resize == "crop":
            raise InputError(
                "data.init_args.resize: crop, which would leave pixels of a mask without a prediction; expected "
                "squash, letterbox or keep (to train on parts of images, put a RandomCrop into augment)"
            )

    def check_sources(self, sources: Mapping[str, Source], class_names: Sequence[str]) -> None:
        """Check that there are 2 classes or more; which of them masks have takes decoding."""
        check_class_names(class_names, least=2)

    def sample_bytes(self, size: Size, *, training: bool) -> int:
        """Bytes of a training mask; of evaluation the sizes are unknown."""
        return np.dtype(np.int64).itemsize * size[0] * size[1] if training else 0

    def truth(self, sample: Sample) -> Output | None:
        """Its mask."""
        return SemanticMask(sample["mask"])
