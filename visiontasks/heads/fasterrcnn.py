"""A detector in two stages: regions that may be objects, and what is in each, trained jointly.

Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks. Shaoqing Ren, Kaiming He, Ross Girshick,
Jian Sun, 2015. https://arxiv.org/abs/1506.01497; on a pyramid (Lin et al., 2017), regions aligned (He et al., 2017,
"Mask R-CNN").

Losses, samples, proposals by level and box coding are those of torchvision's FasterRCNN, and so are the numbers, given
the same anchors, regions and seed. Deviations: anchors are centred in their cells and not rounded. Regions are pooled
from the level whose stride is nearest to a 14th of their side, whatever the strides are, where torchvision's
MultiScaleRoIAlign needs consecutive powers of two and takes the next finer one; pixels are aligned. Levels begin at
stride 8, where torchvision's begin at 4 and take four times as long. There are 300 proposals and 128 samples, as in the
paper, and no box for the background. Objects that no anchor matches get the best free one, where torchvision gives one
that no anchor touches all of them; anchors and regions in a crowd are left out.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align

from visiontasks.heads.anchors import NONE, decode, encode, level_anchors, match_anchors
from visiontasks.heads.dense import Size, check_positive
from visiontasks.heads.detection import Candidates, DetectionHead, Objects, exact, in_float32, ranked_in_graph
from visiontasks.heads.fpn import FeaturePyramid
from visiontasks.heads.retinanet import BETA, per_anchor
from visiontasks.ops.detection import suppress, suppress_in_graph

SCALES = (2.0, 4.0)
RATIOS = (0.5, 1.0, 2.0)
HIGH, LOW = 0.7, 0.3
"""IoU with an object from which on an anchor is one, and below which it is background."""
REGION_IOU = 0.5
"""IoU with an object from which on a region is one."""
ANCHOR_SAMPLES, REGION_SAMPLES = 256, 128
"""Of an image, that are trained at most."""
OBJECT_SHARES = 0.5, 0.25
"""Of the samples of anchors and of regions, at most."""
BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
CANDIDATES = 1000
"""Anchors of a level that are compared with each other, the best ones."""
PROPOSAL_IOU = 0.7
SMALLEST_SIDE = 1e-3
"""Of a proposal, in pixels."""
NONE_THERE = -1e30
"""In a graph, the logit behind the last anchor or proposal."""
BINS = 7
CELLS_PER_REGION = 14
"""Side of a region in cells of the level that it is pooled from, about."""
SAMPLES = 2
"""Points of a bin, along each side, that are averaged."""


class Anchored(NamedTuple):
    """What the first stage gives, level by level, float32.

    Args:
        logits: Of an object, (B, A_i).
        deltas: Of its box from the anchor, (B, A_i, 4).
        anchors: xyxy, (A_i, 4).
    """

    logits: list[Tensor]
    deltas: list[Tensor]
    anchors: list[Tensor]


class FasterRCNNHead(DetectionHead):
    """Detects by proposals and a second look at each.

    Args:
        channels: Channels of each map, finest first: `feature_info.channels()`.
        reductions: Stride of each map, in the same order: `feature_info.reduction()`.
        num_classes: K, at least 1.
        width: Channels of the levels.
        hidden_features: Of the two layers that look at a region.
        proposals: Of an image, the best ones.
        separable: Depthwise separable convolutions in the pyramid.

    Raises:
        InputError: If a number is out of its range.
    """

    most_iou = 0.5

    def __init__(
        self,
        channels: Sequence[int],
        reductions: Sequence[int],
        num_classes: int,
        *,
        width: int = 256,
        hidden_features: int = 1024,
        proposals: int = 300,
        separable: bool = False,
    ) -> None:
        super().__init__()
        check_positive(width=width, hidden_features=hidden_features, proposals=proposals, num_classes=num_classes)
        self.num_classes = num_classes
        self.proposals = proposals
        self.pyramid = FeaturePyramid(channels, reductions, width=width, separable=separable)
        self.maps = self.pyramid.maps
        count = len(SCALES) * len(RATIOS)
        self.spatial = nn.Conv2d(width, width, 3, padding=1)
        self.objectness = nn.Conv2d(width, count, 1)
        self.deltas = nn.Conv2d(width, count * 4, 1)
        for layer in (self.spatial, self.objectness, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.constant_(cast(Tensor, layer.bias), 0)
        self.hidden = nn.Sequential(
            nn.Linear(width * BINS**2, hidden_features),
            nn.ReLU(inplace=True),
            nn.Linear(hidden_features, hidden_features),
            nn.ReLU(inplace=True),
        )
        self.classes = nn.Linear(hidden_features, num_classes + 1)
        """The last one is the background."""
        self.boxes = nn.Linear(hidden_features, num_classes * 4)

    def forward(self, features: Sequence[Tensor], size: Size) -> Candidates:
        """See DetectionHead; images with fewer proposals have boxes without area behind them."""
        levels, strides = self.pyramid(features), self.pyramid.strides
        anchored = self._anchored(levels)
        if levels[0].is_meta:  # without values to choose by: as many proposals as there may be, all on one level
            regions = [levels[0].new_zeros(self.proposals, 4)] * len(levels[0])
            found = _aligned(levels[0], regions, strides[0])
        else:
            regions = self._proposals(anchored, size)
            found = pooled(levels, strides, regions)
        counts = [len(each) for each in regions]
        boxes, scores = self._second_look(found, torch.cat(regions))
        most = max([1, *counts])
        return Candidates(
            torch.stack([F.pad(each, (0, 0, 0, 0, 0, most - len(each))) for each in torch.split(boxes, counts)]),
            torch.stack([F.pad(each, (0, 0, 0, most - len(each))) for each in torch.split(scores, counts)]),
        )

    def forward_in_graph(self, features: Sequence[Tensor], size: Size) -> Candidates:
        """See DetectionHead: always as many proposals, those behind the last with scores of 0."""
        levels = self.pyramid(features)
        regions, there = self._proposals_in_graph(self._anchored(levels), size)
        found = pooled_in_graph(levels, self.pyramid.strides, regions)
        boxes, scores = self._second_look(found, regions.flatten(0, 1))
        batch, count = regions.shape[:2]
        scores = scores.reshape(batch, count, -1) * there.unsqueeze(2).to(scores.dtype)
        return Candidates(boxes.reshape(batch, count, -1, 4), scores)

    def losses(self, features: Sequence[Tensor], size: Size, objects: Sequence[Objects]) -> dict[str, Tensor]:
        """See DetectionHead: `objectness` and `proposals` of anchors, `classes` and `boxes` of regions."""
        levels = self.pyramid(features)
        anchored = self._anchored(levels)
        found = self._proposals(anchored, size)
        of_anchors = _anchor_losses(
            torch.cat(anchored.logits, 1), torch.cat(anchored.deltas, 1), torch.cat(anchored.anchors), objects
        )
        regions = [_sampled_regions(each, true) for each, true in zip(found, objects, strict=True)]
        return of_anchors | self._region_losses(levels, regions, objects)

    def _anchored(self, levels: Sequence[Tensor]) -> Anchored:
        hidden = [self.spatial(level).relu() for level in levels]
        return Anchored(
            [per_anchor(self.objectness(each), 1).squeeze(2).float() for each in hidden],
            [per_anchor(exact(self.deltas, each), 4) for each in hidden],
            [
                level_anchors([level], [stride], scales=SCALES, ratios=RATIOS)
                for level, stride in zip(levels, self.pyramid.strides, strict=True)
            ],
        )

    @torch.no_grad()
    def _proposals(self, anchored: Anchored, size: Size) -> list[Tensor]:
        """Regions of each image, the best first, (P_i, 4), P_i <= proposals."""
        regions = []
        for image in range(len(anchored.logits[0])):
            boxes, scores, levels = [], [], []
            for i, (logits, deltas, anchors) in enumerate(zip(*anchored, strict=True)):
                best = logits[image].argsort(descending=True, stable=True)[:CANDIDATES]
                logit = logits[image, best]
                box, counts = _regions(deltas[image, best], anchors[best], logit, size)
                boxes.append(box[counts])
                scores.append(logit[counts])
                levels.append(best.new_full((len(boxes[-1]),), i))
            all_boxes = torch.cat(boxes)
            kept = suppress(all_boxes, torch.cat(scores), torch.cat(levels), most_iou=PROPOSAL_IOU, most=self.proposals)
            regions.append(all_boxes[kept])
        return regions

    def _proposals_in_graph(self, anchored: Anchored, size: Size) -> tuple[Tensor, Tensor]:
        """Regions of each image, (B, proposals, 4), and which of them there are, bool (B, proposals)."""
        boxes, scores = [], []
        for logits, deltas, anchors in zip(*anchored, strict=True):
            logit, best = ranked_in_graph(F.pad(logits, (0, CANDIDATES), value=NONE_THERE), CANDIDATES)
            best = best.clamp_max(anchors.shape[0] - 1)
            delta = deltas.gather(1, best.unsqueeze(2).expand(-1, -1, 4))
            box, counts = _regions(delta, anchors[best], logit, size)
            stays = suppress_in_graph(box, counts & (logit > NONE_THERE), most_iou=PROPOSAL_IOU)
            boxes.append(box)
            scores.append(torch.where(stays, logit, NONE_THERE))
        score, best = ranked_in_graph(torch.cat(scores, 1), min(self.proposals, len(scores) * CANDIDATES))
        there = score > NONE_THERE
        regions = torch.cat(boxes, 1).gather(1, best.unsqueeze(2).expand(-1, -1, 4))
        return torch.where(there.unsqueeze(2), regions, 0.0), there

    def _second_look(self, found: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (R, K, 4) and scores (R, K) of pooled regions (R, C, 7, 7), which are xyxy (R, 4)."""
        logits, deltas = self._look(found)
        return decode(deltas, regions.unsqueeze(1).expand_as(deltas), BOX_WEIGHTS), logits.softmax(1)[:, :-1]

    def _look(self, found: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (R, K + 1) and deltas (R, K, 4) of pooled regions, float32."""
        hidden = self.hidden(found.flatten(1).to(self.boxes.weight.dtype))  # bfloat16 with trainer.precision bf16-true
        with in_float32(hidden):
            deltas = F.linear(hidden.float(), self.boxes.weight.float(), self.boxes.bias.float())
        return self.classes(hidden).float(), deltas.view(-1, self.num_classes, 4)

    def _region_losses(
        self, levels: Sequence[Tensor], regions: Sequence[tuple[Tensor, Tensor]], objects: Sequence[Objects]
    ) -> dict[str, Tensor]:
        """Cross entropy of the sampled regions, and smooth L1 of those that are objects, by the number of samples."""
        logits, deltas = self._look(pooled(levels, self.pyramid.strides, [boxes for boxes, _ in regions]))
        label, wanted, rows, start = [], [], [], 0
        for (boxes, owner), each in zip(regions, objects, strict=True):
            is_object = (owner >= 0).nonzero().squeeze(1)
            label.append(
                torch.full_like(owner, self.num_classes).index_put_((is_object,), each.labels[owner[is_object]])
            )
            wanted.append(encode(each.boxes[owner[is_object]], boxes[is_object], BOX_WEIGHTS))
            rows.append(is_object + start)
            start += len(owner)
        labels, row = torch.cat(label), torch.cat(rows)
        own = deltas[row, labels[row]]
        count = max(1, len(labels))
        return {
            "classes": F.cross_entropy(logits, labels, reduction="sum") / count,
            "boxes": F.smooth_l1_loss(own, torch.cat(wanted), beta=BETA, reduction="sum") / count,
        }


def pooled(levels: Sequence[Tensor], strides: Sequence[int], regions: Sequence[Tensor]) -> Tensor:
    """Average the maps over the bins of each region, on the level on which it is nearest to 14 cells wide.

    Args:
        levels: Maps (B, C, h, w).
        strides: Of each, in pixels.
        regions: Of each image, xyxy in pixels, (R_i, 4).

    Returns:
        (R, C, 7, 7), float32 whatever the precision, in the order of the regions.
    """
    image = torch.cat([each.new_full((len(each), 1), float(i)) for i, each in enumerate(regions)])
    boxes = torch.cat([image, torch.cat([*regions])], 1).float()
    level_of = _level_of(boxes[:, 1:], strides)
    found = levels[0].new_zeros(len(boxes), levels[0].shape[1], BINS, BINS, dtype=torch.float32)
    for i, (level, stride) in enumerate(zip(levels, strides, strict=True)):
        rows = (level_of == i).nonzero().squeeze(1)
        found = found.index_copy(0, rows, _aligned(level, boxes[rows], stride))
    return found


def pooled_in_graph(levels: Sequence[Tensor], strides: Sequence[int], regions: Tensor) -> Tensor:
    """The same as `pooled` in operations that every graph has: the levels, side by side, are one map to sample from.

    Args:
        levels: See `pooled`.
        strides: See `pooled`.
        regions: xyxy in pixels, (B, P, 4).

    Returns:
        (B * P, C, 7, 7).
    """
    tallest = levels[0].shape[2]
    canvas = torch.cat([F.pad(each.float(), (0, 0, 0, tallest - each.shape[2])) for each in levels], 3)
    rows, start = [], 0
    for level, stride in zip(levels, strides, strict=True):
        rows.append(torch.tensor([stride, start, level.shape[3], level.shape[2]], dtype=torch.float32))
        start = start + level.shape[3]
    own = torch.stack(rows).to(regions.device)[_level_of(regions, strides)].unsqueeze(2)  # (B, P, 1, 4)
    stride_of, start_of, length = own[..., :1], own[..., 1:2], own[..., 2:]
    points = BINS * SAMPLES
    share = (torch.arange(points, dtype=torch.float32, device=regions.device) + 0.5) / points
    low, high = regions[..., :2].unsqueeze(2), regions[..., 2:].unsqueeze(2)
    place = (low + (high - low) * share.unsqueeze(1)) / stride_of - 0.5  # x and y in cells, (B, P, points, 2)
    inside = (place <= length).to(place.dtype)  # farther behind a map there are zeros, as in roi_align
    x, y = place.clamp_min(0).minimum(length - 1).unbind(-1)
    x = ((x + start_of.squeeze(-1)) * 2 + 1) / start - 1
    y = (y * 2 + 1) / tallest - 1
    grid = torch.stack(
        [x.unsqueeze(2).expand(-1, -1, points, -1), y.unsqueeze(3).expand(-1, -1, -1, points)], -1
    )  # (B, P, points, points, 2)
    values = F.grid_sample(canvas, grid.flatten(1, 2), padding_mode="border", align_corners=False)
    mask = inside[..., 0].unsqueeze(2) * inside[..., 1].unsqueeze(3)
    values = values.reshape(*values.shape[:2], regions.shape[1], points, points) * mask.unsqueeze(1)
    return F.avg_pool2d(values.transpose(1, 2).flatten(0, 1), SAMPLES)


def _aligned(level: Tensor, boxes: Tensor | list[Tensor], stride: int) -> Tensor:
    """Pool boxes as torchvision's roi_align takes them, in pixels of the image, (R, C, 7, 7)."""
    values: Tensor = roi_align(level.float(), boxes, BINS, 1 / stride, sampling_ratio=SAMPLES, aligned=True)
    return values


def _level_of(regions: Tensor, strides: Sequence[int]) -> Tensor:
    """Index of the level whose stride is nearest, by its logarithm, to a 14th of the side of regions (..., 4)."""
    limits = [CELLS_PER_REGION**2 * finer * coarser for finer, coarser in pairwise(strides)]
    area = (regions[..., 2:] - regions[..., :2]).prod(-1).unsqueeze(-1)
    return (area > torch.tensor(limits, dtype=area.dtype, device=area.device)).sum(-1)


def _regions(deltas: Tensor, anchors: Tensor, logits: Tensor, size: Size) -> tuple[Tensor, Tensor]:
    """Boxes (..., 4) that the first stage gives, cut to the image, and whether each one counts, (...,)."""
    limit = torch.tensor([size[1], size[0], size[1], size[0]], dtype=torch.float32, device=anchors.device)
    boxes = decode(deltas, anchors).clamp_min(0).minimum(limit)
    return boxes, ((boxes[..., 2:] - boxes[..., :2]) >= SMALLEST_SIDE).all(-1) & torch.isfinite(logits)


def _anchor_losses(logits: Tensor, deltas: Tensor, anchors: Tensor, objects: Sequence[Objects]) -> dict[str, Tensor]:
    """Binary cross entropy of sampled anchors, and smooth L1 of those that are objects, by the number of samples."""
    objectness, proposals, count = logits.sum() * 0, deltas.sum() * 0, 0
    for logit, delta, each in zip(logits, deltas, objects, strict=True):
        owner = match_anchors(anchors, each, high=HIGH, low=LOW)
        own, none = _sampled(owner, ANCHOR_SAMPLES, OBJECT_SHARES[0])
        rows = torch.cat([own, none])
        target = torch.cat([torch.ones_like(own), torch.zeros_like(none)]).float()
        objectness = objectness + F.binary_cross_entropy_with_logits(logit[rows], target, reduction="sum")
        wanted = encode(each.boxes[owner[own]], anchors[own])
        proposals = proposals + F.smooth_l1_loss(delta[own], wanted, beta=BETA, reduction="sum")
        count += len(rows)
    return {"objectness": objectness / max(1, count), "proposals": proposals / max(1, count)}


@torch.no_grad()
def _sampled_regions(proposals: Tensor, objects: Objects) -> tuple[Tensor, Tensor]:
    """Regions to train, among them the objects themselves, and the row of each one's object, NONE for background."""
    there = ~objects.crowd
    boxes = torch.cat([proposals, objects.boxes[there].float()])
    owner = match_anchors(boxes, objects, high=REGION_IOU, low=REGION_IOU)
    own, none = _sampled(owner, REGION_SAMPLES, OBJECT_SHARES[1])
    rows = torch.cat([own, none])
    return boxes[rows], owner[rows]


def _sampled(owner: Tensor, most: int, share: float) -> tuple[Tensor, Tensor]:
    """Random rows of objects, at most a share of `most`, and of background, which fill it up."""
    own, none = ((owner >= 0).nonzero().squeeze(1), (owner == NONE).nonzero().squeeze(1))
    own = own[torch.randperm(len(own), device=own.device)[: int(most * share)]]
    none = none[torch.randperm(len(none), device=none.device)[: most - len(own)]]
    return own, none
