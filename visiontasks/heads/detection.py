"""What the detection heads share: their interface, and how candidates become detections.

A detection head is constructed from a pyramid's `backbone.feature_info`, `Head(channels, reductions, num_classes)`, and
called with those of the pyramid's maps that its `maps` names, and the image's size. Boxes are xyxy in pixels of that
image, float32 whatever the precision. Class indices count from 0, and there is no index for the background.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visiontasks.heads.dense import Size
from visiontasks.ops.detection import suppress, suppress_in_graph

GRAPH_CANDIDATES = 500
"""Boxes of an image that are compared with each other in a graph."""
START_THRESHOLD = 0.5
"""Before any validation."""


@dataclass(frozen=True)
class Objects:
    """The true objects of one image.

    Args:
        boxes: xyxy in pixels, float32 (N, 4); N may be 0.
        labels: Class indices, int64 (N,).
        crowd: Whether a box is a region with any number of objects, which is neither learned nor a mistake, bool (N,).
    """

    boxes: Tensor
    labels: Tensor
    crowd: Tensor


@dataclass(frozen=True)
class Candidates:
    """Every box that a head proposes, for a batch.

    Args:
        boxes: xyxy in pixels, float32 (B, A, 4), or (B, A, K, 4) where each class has its own.
        scores: Of each class in 0..1, float32 (B, A, K).
    """

    boxes: Tensor
    scores: Tensor


@dataclass(frozen=True)
class Found:
    """The detections of one image, the best first.

    Args:
        boxes: xyxy in pixels, float32 (N, 4), cut to the image.
        scores: float32 (N,).
        labels: Class indices, int64 (N,).
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class DetectionHead(nn.Module):
    """Maps the feature maps of a pyramid to candidates, and candidates and true objects to losses.

    Attributes:
        maps: Indices of the pyramid's maps that it takes, ascending.
        num_classes: K.
        most_iou: Largest IoU of two detections of one class that both stay.
        most_candidates: Boxes of an image that are compared with each other, the best ones, and equally good ones.
        threshold: Score that a detection needs to be shown; a buffer, since it is chosen on validation images.
    """

    maps: Sequence[int]
    num_classes: int
    threshold: Tensor
    most_iou: float = 0.6
    most_candidates: int = 1000

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.tensor(START_THRESHOLD))

    def forward(self, features: Sequence[Tensor], size: Size) -> Candidates:
        """Propose boxes.

        Args:
            features: Those of the pyramid's maps that `maps` names, (B, C_i, H_i, W_i), finest first.
            size: Height and width of the image.
        """
        raise NotImplementedError

    def forward_in_graph(self, features: Sequence[Tensor], size: Size) -> Candidates:
        """The same in tensor operations of fixed shapes, which a graph can have."""
        return self.forward(features, size)

    def losses(self, features: Sequence[Tensor], size: Size, objects: Sequence[Objects]) -> dict[str, Tensor]:
        """The terms of the training loss, scalars, by name; attached to the graph without any object too.

        Args:
            features: See forward.
            size: See forward.
            objects: Of each image.
        """
        raise NotImplementedError

    def select(self, candidates: Candidates, size: Size, *, least_score: float, most: int) -> list[Found]:
        """Choose the detections of each image: the best candidates, without duplicates.

        Args:
            candidates: Of `forward`.
            size: Height and width of the image.
            least_score: Candidates below are left out.
            most: Detections of an image, at most.
        """
        return [
            self._select_one(boxes, scores, size, least_score=least_score, most=most)
            for boxes, scores in zip(candidates.boxes, candidates.scores, strict=True)
        ]

    def select_in_graph(self, candidates: Candidates, size: Size, *, most: int) -> Found:
        """The same for a whole batch, in tensor operations of fixed shapes, which a graph can have.

        Suppression is by `SUPPRESSIONS` passes over all candidates at once, which is the same as one by one unless more
        boxes than that stand in a row, each of which would suppress the next.

        Args:
            candidates: Of `forward`.
            size: Height and width of the image.
            most: N.

        Returns:
            Boxes (B, N, 4), scores (B, N), 0 behind the last detection, and labels (B, N).
        """
        num_classes = candidates.scores.shape[-1]
        count = max(GRAPH_CANDIDATES, most)
        score, index = ranked_in_graph(F.pad(candidates.scores.flatten(1), (0, count)), count)  # there may be fewer
        place = torch.div(index, num_classes, rounding_mode="floor").clamp_max(candidates.scores.shape[1] - 1)
        label = index % num_classes
        if candidates.boxes.ndim == 4:
            flat_boxes, place = candidates.boxes.flatten(1, 2), place * num_classes + label
        else:
            flat_boxes = candidates.boxes
        boxes = flat_boxes.gather(1, place.unsqueeze(2).expand(-1, -1, 4))
        limit = torch.tensor([size[1], size[0], size[1], size[0]], dtype=boxes.dtype, device=boxes.device)
        boxes = boxes.clamp_min(0).minimum(limit)
        stays = suppress_in_graph(boxes, score > 0, label, most_iou=self.most_iou)
        score, best = ranked_in_graph(torch.where(stays, score, 0.0), most)
        return Found(boxes.gather(1, best.unsqueeze(2).expand(-1, -1, 4)), score, label.gather(1, best))

    def _select_one(self, boxes: Tensor, scores: Tensor, size: Size, *, least_score: float, most: int) -> Found:
        num_classes = scores.shape[-1]
        flat = scores.flatten().nan_to_num(nan=-1.0)
        if (flat >= least_score).sum() > self.most_candidates:
            least_score = float(flat.kthvalue(flat.numel() - self.most_candidates + 1).values)
        rows = (flat >= least_score).nonzero().squeeze(1)
        place, label = rows // num_classes, rows % num_classes
        own = boxes[place, label] if boxes.ndim == 3 else boxes[place]
        limit = own.new_tensor([size[1], size[0], size[1], size[0]])
        own = own.clamp_min(0).minimum(limit)
        has_area = ((own[:, 2:] - own[:, :2]) > 0).all(1)
        own, label, score = own[has_area], label[has_area], flat[rows][has_area]
        stay = suppress(own, score, label, most_iou=self.most_iou, most=most)
        return Found(own[stay], score[stay], label[stay])


def ranked_in_graph(scores: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The highest scores and their places; among equal ones the earlier comes first, which topk alone leaves open.

    A stable sort would do, but ONNX has none. In float64 there is room to lower each score by its place, by less than
    what two float32 scores differ.

    Args:
        scores: float32, finite, (B, N), N up to 2^19.
        most: How many, at most N.

    Returns:
        (B, most) and int64 (B, most).
    """
    exact = scores.double()
    gap = exact.abs().clamp_min(2.0**-126) * 2.0**-44  # also of a score of 0
    lowered = exact - gap * torch.arange(scores.shape[1], device=scores.device)
    place = lowered.topk(most, dim=1).indices
    return scores.gather(1, place), place


def prediction(width: int, outputs: int, *, bias: Sequence[float]) -> nn.Conv2d:
    """A last layer, 3x3, that gives about its biases at the start."""
    layer = nn.Conv2d(width, outputs, 3, padding=1)
    nn.init.normal_(layer.weight, std=0.01)
    layer.bias = nn.Parameter(torch.tensor(bias))
    return layer


def exact(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a layer that gives boxes in float32: in bfloat16 a side of 301 px is 302 px."""
    with in_float32(x):
        bias = None if layer.bias is None else layer.bias.float()
        return F.conv2d(x.float(), layer.weight.float(), bias, layer.stride, layer.padding)


def in_float32(x: Tensor) -> torch.autocast:
    """A context in which what follows from x is not rounded by autocast, which does not know the device "meta"."""
    return torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False)


def flat(x: Tensor) -> Tensor:
    """(B, C, h, w) to (B, h * w, C)."""
    return x.flatten(2).transpose(1, 2)
