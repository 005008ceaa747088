"""A detector without anchors: each cell of each level gives a box, the score of each class, and how central it is.

FCOS: Fully Convolutional One-Stage Object Detection. Zhi Tian, Chunhua Shen, Hao Chen, Tong He, 2019.
https://arxiv.org/abs/1904.01355; objects belong to the cells around their centres, as in the authors' later version.

Deviations: light by default: towers of depthwise separable convolutions, two blocks of 96 channels, shared by the
levels, with batch normalization by the statistics of each level in place of group normalization. Sides are not
exponentials but linear in units of the stride, so that a cell can give a box that does not hold it: an object that
holds no cell's centre, or only those of other objects, is learned by the nearest free cell, where the paper silently
leaves it out. Levels and their strides are the backbone's. The loss of a cell in a crowd region is left out.
"""

from collections.abc import Sequence
from math import inf, log
from typing import NamedTuple

import torch
from torch import Tensor, nn

from visiontasks.errors import InputError
from visiontasks.heads.dense import BatchNorm, Size, check_positive
from visiontasks.heads.detection import Candidates, DetectionHead, Objects, exact, flat, prediction
from visiontasks.heads.fpn import FeaturePyramid
from visiontasks.ops.boxes import area, giou
from visiontasks.ops.detection import cell_centres, focal_sum, matched_bce

PRIOR = 0.01
"""Probability of every class at the start (Lin et al., 2017), so that the many empty cells do not drown the others."""
LARGEST_SIDE = 8
"""A level learns objects whose farthest side is up to so many strides from the cell; the coarsest any larger one."""
START_SIDE = 2.0
"""Distance of each side from the cell at the start, in strides."""
NONE, IGNORED = -1, -2
"""In place of an object's row: of a cell that learns none, and of one that is not trained."""


class Cells(NamedTuple):
    """The cells of all levels, A.

    Args:
        centres: x, y in pixels, (A, 2).
        stride: In pixels, (A,).
        nearest: Least distance of an object's farthest side that the cell's level learns, in pixels, (A,).
        farthest: The largest, (A,).
    """

    centres: Tensor
    stride: Tensor
    nearest: Tensor
    farthest: Tensor


class Raw(NamedTuple):
    """Of all cells: logits (B, A, K), sides (B, A, 4) in pixels from the centre, centrality logits (B, A)."""

    logits: Tensor
    sides: Tensor
    central: Tensor


class FCOSHead(DetectionHead):
    """Detects by the cells of a feature pyramid; fast, and a good default.

    Args:
        channels: Channels of each map, finest first: `feature_info.channels()`.
        reductions: Stride of each map, in the same order: `feature_info.reduction()`.
        num_classes: K, at least 1.
        width: Channels of the levels and the towers.
        depth: Convolutions of each of the two towers.
        separable: Depthwise separable convolutions; False for the paper's full ones (with width 256 and depth 4).
        centre_radius: Cells this near to an object's centre, in strides, learn it.

    Raises:
        InputError: If a number is out of its range.
    """

    def __init__(
        self,
        channels: Sequence[int],
        reductions: Sequence[int],
        num_classes: int,
        *,
        width: int = 96,
        depth: int = 2,
        separable: bool = True,
        centre_radius: float = 1.5,
    ) -> None:
        super().__init__()
        check_positive(width=width, depth=depth, num_classes=num_classes)
        if not 0 < centre_radius < inf:
            raise InputError(f"model.init_args.head.init_args.centre_radius must be above 0, got {centre_radius}")
        self.num_classes = num_classes
        self.centre_radius = centre_radius
        self.pyramid = FeaturePyramid(channels, reductions, width=width, separable=separable)
        self.maps = self.pyramid.maps
        levels = len(self.pyramid.strides)
        self.class_tower = Tower(width, depth, levels, separable=separable)
        self.box_tower = Tower(width, depth, levels, separable=separable)
        self.classes = prediction(width, num_classes, bias=[-log((1 - PRIOR) / PRIOR)] * num_classes)
        self.boxes = prediction(width, 5, bias=[START_SIDE] * 4 + [0.0])  # four sides, and the centrality

    def forward(self, features: Sequence[Tensor], size: Size) -> Candidates:
        """See DetectionHead; a score is the geometric mean of class and centrality."""
        raw, cells = self._raw(features)
        scores = (raw.logits.sigmoid() * raw.central.sigmoid().unsqueeze(2)).sqrt()
        return Candidates(_boxes(cells.centres, raw.sides), scores)

    def losses(self, features: Sequence[Tensor], size: Size, objects: Sequence[Objects]) -> dict[str, Tensor]:
        """See DetectionHead: `classes` (focal), `boxes` (GIoU, weighted by centrality), `centrality`."""
        raw, cells = self._raw(features)
        owner = torch.stack([owners(cells, each, self.centre_radius) for each in objects])  # (B, A)
        learned = owner >= 0
        target = torch.zeros_like(raw.logits)
        image, cell = learned.nonzero(as_tuple=True)
        rows = owner[image, cell] + _starts(objects)[image].to(owner.device)
        target[image, cell, torch.cat([each.labels for each in objects])[rows]] = 1
        count = learned.sum().clamp_min(1)
        loss = focal_sum(raw.logits, target, weight=(owner != IGNORED).unsqueeze(2))
        centres, true = cells.centres[cell], torch.cat([each.boxes for each in objects]).float()[rows]
        central = centrality(_sides(centres, true))
        overlap = giou(_boxes(centres, raw.sides[image, cell]), true)
        return {
            "classes": loss / count,
            "boxes": ((1 - overlap) * central).sum() / central.sum().clamp_min(1e-6),
            "centrality": matched_bce(raw.central[image, cell], central) / count,
        }

    def _raw(self, features: Sequence[Tensor]) -> tuple[Raw, Cells]:
        logits, boxes, centres, strides = [], [], [], []
        for i, (level, stride) in enumerate(zip(self.pyramid(features), self.pyramid.strides, strict=True)):
            logits.append(flat(self.classes(self.class_tower(level, i))))
            box = flat(exact(self.boxes, self.box_tower(level, i)))
            boxes.append(torch.cat([box[..., :4] * stride, box[..., 4:]], -1))
            centres.append(cell_centres(level.shape[2], level.shape[3], stride, level.device))
            strides.append(torch.full((len(centres[-1]),), float(stride), device=level.device))
        of_boxes = torch.cat(boxes, 1)
        raw = Raw(torch.cat(logits, 1).float(), of_boxes[..., :4], of_boxes[..., 4])
        stride_of = torch.cat(strides)
        farthest = torch.where(stride_of == stride_of[-1], inf, LARGEST_SIDE * stride_of)
        nearest = torch.where(stride_of == stride_of[0], 0.0, LARGEST_SIDE * stride_of / 2)
        return raw, Cells(torch.cat(centres), stride_of, nearest, farthest)


class LevelNorm(nn.Module):
    """Batch normalization with statistics of each level, and one weight and bias for all."""

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        self.statistics = nn.ModuleList(BatchNorm(width, affine=False) for _ in range(levels))
        self.weight = nn.Parameter(torch.ones(width, 1, 1))
        self.bias = nn.Parameter(torch.zeros(width, 1, 1))

    def forward(self, level: Tensor, i: int) -> Tensor:
        """Normalize the i-th level, (B, width, h, w)."""
        normalized: Tensor = self.statistics[i](level)
        return torch.addcmul(self.bias, normalized, self.weight)


class Tower(nn.Module):
    """Convolutions that the levels share."""

    def __init__(self, width: int, depth: int, levels: int, *, separable: bool) -> None:
        super().__init__()
        groups = width if separable else 1
        self.spatial = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=1, groups=groups, bias=False) for _ in range(depth)
        )
        self.mix = nn.ModuleList(
            nn.Conv2d(width, width, 1, bias=False) if separable else nn.Identity() for _ in range(depth)
        )
        self.norms = nn.ModuleList(LevelNorm(width, levels) for _ in range(depth))

    def forward(self, level: Tensor, i: int) -> Tensor:
        """Map a level (B, width, h, w), the i-th, to the same shape."""
        for spatial, mix, norm in zip(self.spatial, self.mix, self.norms, strict=True):
            level = norm(mix(spatial(level)), i).relu()
        return level


@torch.no_grad()
def owners(cells: Cells, objects: Objects, centre_radius: float) -> Tensor:
    """Which object each cell learns.

    It is the smallest one that holds the cell's centre, has its own centre near, and its size in the level's range.
    An object that gets no cell so takes the nearest free one.

    Args:
        cells: A cells.
        objects: N objects.
        centre_radius: How near a centre is, in strides.

    Returns:
        Rows of the objects, int64 (A,); NONE, or IGNORED for a cell of no object that lies in a crowd region.
    """
    owner = torch.full((len(cells.centres),), NONE, dtype=torch.int64, device=cells.centres.device)
    if len(objects.labels) == 0:
        return owner
    boxes = objects.boxes.float()
    sides = _sides(cells.centres.unsqueeze(1), boxes.unsqueeze(0))  # (A, N, 4)
    inside = sides.amin(2) > 0
    off = (cells.centres.unsqueeze(1) - (boxes[:, :2] + boxes[:, 2:]) / 2).abs().amax(2) / cells.stride.unsqueeze(1)
    largest = sides.amax(2)
    own_level = (largest >= cells.nearest.unsqueeze(1)) & (largest <= cells.farthest.unsqueeze(1))
    learns = inside & (off < centre_radius) & own_level & ~objects.crowd
    best, row = area(boxes).expand_as(largest).where(learns, inf).min(1)
    owner = torch.where(best < inf, row, owner)
    _give_missed(owner, off, own_level, objects.crowd)
    return torch.where((owner == NONE) & (inside & objects.crowd).any(1), IGNORED, owner)


def centrality(sides: Tensor) -> Tensor:
    """How near to a box's middle a cell is, 1 in the middle, 0 at an edge and outside.

    Args:
        sides: Distances to the left, upper, right and lower edge, (..., 4).
    """
    inside = sides.clamp_min(0)
    low, high = (
        torch.minimum(inside[..., :2], inside[..., 2:]),
        torch.maximum(inside[..., :2], inside[..., 2:]),
    )
    return (low / high.clamp_min(1e-6)).prod(-1).sqrt()


def _give_missed(owner: Tensor, off: Tensor, own_level: Tensor, crowd: Tensor) -> None:
    """Give each object that no cell learns the nearest free cell, on its own level where there is one, in place.

    Args:
        owner: Row of each cell's object, NONE for none, (A,).
        off: Distance of each cell from each object's centre, in strides, (A, N).
        own_level: Whether the cell's level is the object's, (A, N).
        crowd: (N,).
    """
    learned = torch.zeros_like(crowd)
    learned[owner[owner >= 0]] = True
    for row in (~learned & ~crowd).nonzero().squeeze(1).tolist():
        rank = torch.where(own_level[:, row], 0.0, 1e4) + torch.where(owner == NONE, 0.0, 1e8)
        owner[(off[:, row] + rank).argmin()] = row


def _sides(centres: Tensor, boxes: Tensor) -> Tensor:
    """Distances from points (..., 2) to the left, upper, right and lower edge of boxes (..., 4); negative outside."""
    return torch.cat([centres - boxes[..., :2], boxes[..., 2:] - centres], -1)


def _boxes(centres: Tensor, sides: Tensor) -> Tensor:
    """The inverse of `_sides`."""
    return torch.cat([centres - sides[..., :2], centres + sides[..., 2:]], -1)


def _starts(objects: Sequence[Objects]) -> Tensor:
    """Row of each image's first object among those of the batch, (B,)."""
    counts = torch.tensor([0, *(len(each.labels) for each in objects)])
    return counts.cumsum(0)[:-1]
