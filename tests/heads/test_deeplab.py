import pytest
import torch
from torch import nn

from visiontasks.heads import DeepLabV3Head


@pytest.mark.parametrize(
    ("reduction", "rates"), [(8, (12, 24, 36)), (16, (6, 12, 18)), (32, (3, 6, 9)), (64, (1, 3, 4))]
)
def test_papers_rates_are_scaled_to_the_stride(reduction: int, rates: tuple[int, ...]) -> None:
    head = DeepLabV3Head([4, 8], [4, reduction], 3, branch_width=8)
    dilated = [m for m in head.aspp.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert tuple(m.dilation[0] for m in dilated) == rates


def test_training_takes_a_batch_of_one_image_and_a_map_of_one_pixel() -> None:
    head = DeepLabV3Head([8], [32], 3, branch_width=8).train()
    head([torch.randn(1, 8, 1, 1)], (32, 32)).sum().backward()
    assert all(p.grad is not None for p in head.parameters())


def test_only_the_deepest_map_is_looked_at() -> None:
    head = DeepLabV3Head([4, 8], [16, 32], 3, branch_width=8).eval()
    nn.init.normal_(head.score.weight)
    deep = torch.randn(1, 8, 2, 2)
    outputs = [head([torch.randn(1, 4, 4, 4), deep], (64, 64)) for _ in range(2)]
    assert torch.equal(*outputs)
