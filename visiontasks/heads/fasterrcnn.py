"""A detector in two stages: regions that may be objects, and what is in each, trained jointly.

Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks. Shaoqing Ren, Kaiming He, Ross Girshick,
Jian Sun, 2015. https://arxiv.org/abs/1506.01497; on a pyramid (Lin et al., 2017), regions aligned (He et al., 2017,
"Mask R-CNN").

Losses, samples and box coding are those of torchvision's FasterRCNN. Deviations: regions are pooled from the level
whose stride fits, whatever the strides are, where torchvision's MultiScaleRoIAlign needs consecutive powers of two.
Levels begin at stride 8, where torchvision's begin at 4 and take four times as long. There are 300 proposals and 128
samples, as in the paper. Objects that no anchor matches get the best free one; anchors and regions in a crowd are left
out.
"""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align

from visiontasks.errors import InputError
from visiontasks.heads.anchors import NONE, decode, encode, level_anchors, match_anchors
from visiontasks.heads.dense import Size, check_positive
from visiontasks.heads.detection import Candidates, DetectionHead, Found, Objects, exact
from visiontasks.heads.fpn import FeaturePyramid
from visiontasks.heads.retinanet import BETA, per_anchor
from visiontasks.ops.detection import suppress

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
"""Anchors of an image that are compared with each other, the best ones."""
PROPOSAL_IOU = 0.7
BINS = 7
CELLS_PER_REGION = 14
"""Side of a region in cells of the level that it is pooled from."""


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
        levels = self.pyramid(features)
        regions = [each[: self.proposals] for each in self._proposals(*self._anchored(levels), size)]
        logits, deltas = self._look(levels, regions)
        counts = [len(each) for each in regions]
        boxes = decode(deltas, torch.cat(regions).unsqueeze(1).expand_as(deltas), BOX_WEIGHTS)
        scores = logits.softmax(1)[:, :-1]
        most = max([1, *counts])
        return Candidates(
            torch.stack([F.pad(each, (0, 0, 0, 0, 0, most - len(each))) for each in torch.split(boxes, counts)]),
            torch.stack([F.pad(each, (0, 0, 0, most - len(each))) for each in torch.split(scores, counts)]),
        )

    def losses(self, features: Sequence[Tensor], size: Size, objects: Sequence[Objects]) -> dict[str, Tensor]:
        """See DetectionHead: `objectness` and `proposals` of anchors, `classes` and `boxes` of regions."""
        levels = self.pyramid(features)
        logits, deltas, anchors = self._anchored(levels)
        found = self._proposals(logits.detach(), deltas.detach(), anchors, size)
        regions = [_sampled_regions(each, true) for each, true in zip(found, objects, strict=True)]
        of_anchors = _anchor_losses(logits, deltas, anchors, objects)
        return of_anchors | self._region_losses(levels, regions, objects)

    def select_in_graph(self, candidates: Candidates, size: Size, *, most: int) -> Found:
        """See DetectionHead.

        Raises:
            InputError: Always: the number of proposals depends on the image.
        """
        raise InputError(
            "FasterRCNNHead has no graph, since the number of its proposals depends on the image: export the run with "
            "--format folder, or train FCOSHead or RetinaNetHead"
        )

    def _anchored(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Objectness logits (B, A), deltas (B, A, 4) and anchors (A, 4), float32."""
        hidden = [self.spatial(level).relu() for level in levels]
        logits = torch.cat([per_anchor(self.objectness(each), 1) for each in hidden], 1).squeeze(2).float()
        deltas = torch.cat([per_anchor(exact(self.deltas, each), 4) for each in hidden], 1)
        return logits, deltas, level_anchors(levels, self.pyramid.strides, scales=SCALES, ratios=RATIOS)

    @torch.no_grad()
    def _proposals(self, logits: Tensor, deltas: Tensor, anchors: Tensor, size: Size) -> list[Tensor]:
        """Regions of each image, the best first, (P_i, 4)."""
        limit = anchors.new_tensor([size[1], size[0], size[1], size[0]])
        regions = []
        for score, delta in zip(logits, deltas, strict=True):
            best = score.argsort(descending=True, stable=True)[:CANDIDATES]
            boxes = decode(delta[best], anchors[best]).clamp_min(0).minimum(limit)
            large = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(1) & torch.isfinite(score[best])
            boxes, kept = boxes[large], score[best][large]
            labels = torch.zeros(len(kept), dtype=torch.int64, device=kept.device)
            regions.append(boxes[suppress(boxes, kept, labels, most_iou=PROPOSAL_IOU, most=self.proposals)])
        return regions

    def _look(self, levels: Sequence[Tensor], regions: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (R, K + 1) and deltas (R, K, 4) of the regions of all images, float32."""
        hidden = self.hidden(pooled(levels, self.pyramid.strides, regions).flatten(1))
        with torch.autocast(hidden.device.type, enabled=False):
            deltas = F.linear(hidden.float(), self.boxes.weight.float(), self.boxes.bias.float())
        return self.classes(hidden).float(), deltas.view(-1, self.num_classes, 4)

    def _region_losses(
        self, levels: Sequence[Tensor], regions: Sequence[tuple[Tensor, Tensor]], objects: Sequence[Objects]
    ) -> dict[str, Tensor]:
        """Cross entropy of the sampled regions, and smooth L1 of those that are objects, by the number of samples."""
        logits, deltas = self._look(levels, [boxes for boxes, _ in regions])
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
    side = (boxes[:, 3:] - boxes[:, 1:3]).clamp_min(1e-3).prod(1).sqrt()
    wanted = (side / CELLS_PER_REGION).log2().unsqueeze(1)
    level_of = (wanted - boxes.new_tensor([float(stride) for stride in strides]).log2()).abs().argmin(1)
    found = levels[0].new_zeros(len(boxes), levels[0].shape[1], BINS, BINS, dtype=torch.float32)
    for i, (level, stride) in enumerate(zip(levels, strides, strict=True)):
        rows = (level_of == i).nonzero().squeeze(1)
        values = roi_align(level.float(), boxes[rows], BINS, 1 / stride, sampling_ratio=2, aligned=True)
        found = found.index_copy(0, rows, values)
    return found


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
