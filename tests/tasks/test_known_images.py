"""Distances to training images by hand, and shares of validation images that are at least as far."""

import pytest
import torch

from visiontasks.errors import InputError
from visiontasks.tasks.known_images import MOST_KEPT, KnownImages

TEN_EAST, NORTH = torch.tensor([[2.0, 0.0]] * 10), torch.tensor([[0.0, 3.0]])


def test_the_distance_is_that_to_the_tenth_nearest_image_whatever_the_norm() -> None:
    """North is the nearest to north, but the tenth nearest lies east; 45 degrees are 1 - sqrt(1/2) away."""
    known = KnownImages.fit(torch.cat([TEN_EAST, NORTH]), NORTH)
    features = torch.tensor([[5.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 0.0]])
    assert known.distance(features).tolist() == pytest.approx([0, 1, 1 - 0.5**0.5, 2], abs=1e-6)


def test_of_fewer_images_the_farthest_counts() -> None:
    known = KnownImages.fit(torch.cat([TEN_EAST[:2], NORTH]), NORTH)
    assert known.distance(torch.tensor([[1.0, 0.0]])).tolist() == pytest.approx([1])


def test_the_share_counts_the_image_itself_and_those_at_least_as_far() -> None:
    """Validation distances 0, 0.5, 1: of (3 + 1) images 4, 2 and 1 are at least as far as 0, 1 and 1.5."""
    known = KnownImages(torch.tensor([[1.0, 0.0]]), torch.tensor([0.0, 0.5, 1.0]))
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-0.5, 0.75**0.5]])
    assert known.p_known(features).tolist() == [1.0, 0.5, 0.25]


def test_the_promise_is_kept_by_counts() -> None:
    """Each of 20 images in turn against the other 19: exactly one is farther than all others, 1 of 20 is 0.05."""
    angles = torch.linspace(0, 3, 20)
    features = torch.stack([angles.cos(), angles.sin()], dim=1)
    alarms = 0
    for i in range(20):
        others = torch.cat([features[:i], features[i + 1 :]])
        known = KnownImages.fit(torch.tensor([[1.0, 0.0]]), others)
        alarms += int(known.p_known(features[i : i + 1]) <= 0.05 + 1e-7)
    assert alarms == 1


def test_of_many_training_images_some_are_kept_evenly() -> None:
    angles = torch.linspace(0, 3, 5 * MOST_KEPT)
    known = KnownImages.fit(torch.stack([angles.cos(), angles.sin()], dim=1), NORTH)
    assert known.vectors.shape == (MOST_KEPT, 2)
    assert known.vectors[0, 0] == 1
    assert known.vectors[-1, 0] == pytest.approx(torch.tensor(3.0).cos().item())


@pytest.mark.parametrize(
    ("share", "message"),
    [(0.05, "0.05 needs at least 19 validation images, the run has 18"), (0.0, "0, expected above 0 and below 1")],
)
def test_a_share_that_cannot_be_promised_is_refused(share: float, message: str) -> None:
    known = KnownImages.fit(TEN_EAST, NORTH.expand(18, 2))
    with pytest.raises(InputError, match=message):
        known.check(share)
    known.check(0.1)
