"""Which of the predicted objects of an image is which of its true ones: the assignment of the smallest total cost.

End-to-End Object Detection with Transformers. Nicolas Carion et al., 2020. https://arxiv.org/abs/2005.12872
Deviations: the box part of the cost is the box loss that is trained, instead of always L1 and GIoU; there is no class
"no object", so predictions that are left over are not trained. As in the paper, the class part is -p and not -log p,
which is of the order of the box part.
"""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from visiontasks.ops.losses import BoxTerm, box_loss


@torch.no_grad()
def match_objects(
    box: Tensor,
    target: Tensor,
    is_object: Tensor,
    terms: Mapping[BoxTerm, float],
    *,
    probability: Tensor | None = None,
    label: Tensor | None = None,
    class_weight: float = 1.0,
) -> Tensor:
    """Assign a prediction to each row of the truth, each prediction once.

    Args:
        box: Predicted boxes, (B, N, 4), xyxy.
        target: True boxes, (B, N, 4); anything, also NaN, in rows without an object.
        is_object: Which rows of the truth are objects, bool (B, N). The others get the predictions left over.
        terms: The factor of each box loss in the cost.
        probability: Of the classes of each predicted object, (B, N, K); None to match by boxes alone.
        label: True classes, int64 (B, N); anything in rows without an object.
        class_weight: Factor of the class part of the cost.

    Returns:
        Index of the prediction for each row of the truth, int64 (B, N); in each image a permutation.
    """
    shape = (*box.shape[:2], *target.shape[1:])  # objects of the truth in dimension 1, predictions in dimension 2
    cost = each_box_loss(box.unsqueeze(1).expand(shape), target.unsqueeze(2).expand(shape), terms)
    if probability is not None and label is not None:
        classes = label.where(is_object, 0).unsqueeze(2).expand(shape[:3])
        cost = cost - class_weight * probability.transpose(1, 2).gather(1, classes)
    # A row of zeros weighs nothing. NaN otherwise is a diverged network's, which its loss will show.
    cost = cost.where(is_object.unsqueeze(2), 0).nan_to_num()
    from scipy.optimize import linear_sum_assignment  # takes long to import

    assigned = [torch.from_numpy(linear_sum_assignment(of_image)[1]) for of_image in cost.cpu().numpy()]
    return torch.stack(assigned).to(box.device)


def each_box_loss(box: Tensor, target: Tensor, terms: Mapping[BoxTerm, float]) -> Tensor:
    """Loss of each predicted with each true box, not averaged.

    Args:
        box: Predicted boxes, xyxy, (..., 4).
        target: True boxes, of the same shape; the loss of a NaN is NaN.
        terms: The factor of each loss, see `visiontasks.ops.losses.box_loss`.

    Returns:
        (...,), float32 at least.
    """
    losses: Tensor = torch.vmap(partial(box_loss, terms=terms))(box.reshape(-1, 4), target.reshape(-1, 4))
    return losses.view(box.shape[:-1])
