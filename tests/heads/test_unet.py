import pytest
import torch

from visiontasks.heads import UNetHead


def widths(head: UNetHead) -> list[tuple[int, int]]:
    """Channels into and out of each level."""
    return [(level[0][0].in_channels, level[1][0].out_channels) for level in head.levels]


def test_levels_join_the_skip_and_widen_with_the_stride() -> None:
    head = UNetHead([8, 9, 10], [1, 2, 4], 3, finest_width=5)
    assert widths(head) == [(10 + 9, 10), (10 + 8, 5)]


def test_backbone_without_a_full_resolution_map_gets_a_level_without_a_skip() -> None:
    head = UNetHead([8, 9], [4, 8], 3, finest_width=5)
    assert widths(head) == [(9 + 8, 20), (20, 5)]


def test_papers_widths() -> None:
    head = UNetHead([64, 128, 256, 512, 1024], [1, 2, 4, 8, 16], 2, finest_width=64)
    assert widths(head) == [(1536, 512), (768, 256), (384, 128), (192, 64)]


@pytest.mark.parametrize("changed", [0, 1, 2])
def test_every_map_has_an_influence(changed: int) -> None:
    head = UNetHead([4, 5, 6], [2, 4, 8], 3).eval()
    torch.nn.init.normal_(head.score.weight)
    features = [torch.randn(1, 4, 17, 9), torch.randn(1, 5, 9, 5), torch.randn(1, 6, 5, 3)]
    before = head(features, (33, 17))
    features[changed] = features[changed] + 1
    assert not torch.equal(head(features, (33, 17)), before)
