"""The time that is left: by what was measured of each kind of work, and by the ratios of costs before that."""

import pytest

from visiontasks.training.remaining import CACHED, RECENT, Remaining, Work, duration, training_cost

HEAD = Work("epochs 1-2", "head", 100, 1.0)
WHOLE = Work("epochs 3-4", "whole", 200, 3.0)
TEST = Work("test and report", "test", 50, 1.0)


def begun(*work: Work) -> Remaining:
    remaining = Remaining()
    remaining.begin(work)
    return remaining


def test_no_time_is_named_before_anything_was_measured() -> None:
    remaining = begun(HEAD, WHOLE)
    assert remaining.seconds() is None
    assert not remaining.is_known


def test_measured_work_predicts_its_own_kind_and_others_by_their_cost() -> None:
    remaining = begun(HEAD, WHOLE, TEST)
    remaining.done("head", 20, 2.0)  # 0.1 s an image; of a cost of 3, 0.3 s
    assert remaining.seconds("epochs 1-2") == pytest.approx(80 * 0.1)
    assert remaining.seconds("epochs 3-4") == pytest.approx(200 * 0.3)
    assert remaining.seconds() == pytest.approx(8 + 60 + 5)
    remaining.done("whole", 10, 4.0)  # 0.4 s an image was measured: the ratio is not asked any more
    assert remaining.seconds("epochs 3-4") == pytest.approx(190 * 0.4)


def test_work_that_was_never_measured_is_predicted_by_all_that_was() -> None:
    remaining = begun(HEAD, WHOLE, TEST)
    remaining.done("head", 20, 2.0)
    remaining.done("whole", 10, 4.0)  # 6 s for 20 images of cost 1 and 10 of cost 3: 6 / 50 for a cost of 1
    assert remaining.seconds("test and report") == pytest.approx(50 * 6 / 50)


def test_images_read_from_the_cache_are_no_measure_of_a_network() -> None:
    remaining = begun(Work("epochs 1-2", "read", 100, CACHED), WHOLE)
    remaining.done("read", 50, 0.5)
    assert remaining.seconds("epochs 1-2") == pytest.approx(0.5)
    assert remaining.seconds() is None


def test_a_batch_that_is_no_measure_is_still_done() -> None:
    remaining = begun(HEAD)
    remaining.done("head", 40, None)
    assert [work.images for work in remaining.rest] == [60]
    assert remaining.seconds() is None


def test_images_that_are_over_count_to_the_next_work_of_their_kind() -> None:
    remaining = begun(HEAD, TEST, HEAD)
    remaining.done("head", 130, 1.0)
    assert [(work.kind, work.images) for work in remaining.rest] == [("test", 50), ("head", 70)]


def test_work_that_ended_early_is_dropped_once() -> None:
    remaining = begun(HEAD, TEST, HEAD)
    remaining.drop("head")
    remaining.drop("other")
    assert remaining.rest == [TEST, HEAD]


def test_a_time_is_named_after_four_batches_and_a_second() -> None:
    remaining = begun(HEAD)
    known = []
    for _ in range(5):
        remaining.done("head", 1, 0.3)
        known.append(remaining.is_known)
    assert known == [False, False, False, True, True]
    remaining = begun(HEAD)
    for _ in range(9):
        remaining.done("head", 1, 0.1)
    assert not remaining.is_known  # 0.9 s


def test_a_minute_of_slow_batches_is_enough_and_a_single_one_is_not() -> None:
    remaining = begun(HEAD)
    remaining.done("head", 1, 90.0)
    assert not remaining.is_known
    remaining.done("head", 1, 30.0)
    assert remaining.is_known


def test_a_rest_is_measured_when_half_of_its_time_is_of_kinds_that_were() -> None:
    remaining = begun(Work("epoch 1", "head", 10, 1.0), Work("epoch 2", "whole", 10, 3.0))
    remaining.done("head", 5, 5.0)  # 5 s of the head, 30 s of the whole are left
    assert not remaining.is_measured
    remaining.done("head", 5, 5.0)
    for _ in range(3):
        remaining.done("whole", 1, 3.0)
        assert not remaining.is_measured  # by batches in which kernels may still be prepared
    remaining.done("whole", 1, 3.0)
    assert remaining.is_measured


def test_a_kind_of_few_batches_is_measured_by_a_pass() -> None:
    remaining = begun(Work("epoch 1", "head", 2, 1.0), Work("epoch 2", "head", 2, 1.0))
    remaining.done("head", 1, 9.0, is_first=True)
    assert not remaining.is_known
    remaining.done("head", 1, 1.0)
    assert remaining.is_measured
    assert remaining.seconds() == pytest.approx(2.0)


def test_the_first_batch_of_a_kind_is_no_measure() -> None:
    remaining = begun(Work("epoch 1", "whole", 50, 3.0), Work("epoch 2", "whole", 50, 3.0))
    remaining.done("whole", 10, 60.0, is_first=True)  # kernels are prepared, loading processes start
    assert remaining.seconds() is None
    assert not remaining.is_known
    remaining.done("whole", 10, 2.0)
    assert remaining.seconds() == pytest.approx((30 + 50) * 0.2)


def test_what_lies_between_two_passes_is_counted_once_a_pass() -> None:
    remaining = begun(*(Work("all", "whole", 20, 3.0) for _ in range(4)))
    for first in (30.0, 5.0, 9.0):
        remaining.done("whole", 10, first, is_first=True)
        remaining.done("whole", 10, 2.0)
    # 10 images take 2 s; the second pass began after 3 s, the third was held up, and one pass is left
    assert remaining.seconds() == pytest.approx(3 + 4)


def test_a_pass_that_has_begun_does_not_begin_again() -> None:
    remaining = begun(*(Work("all", "whole", 20, 3.0) for _ in range(3)))
    for first in (30.0, 5.0):
        remaining.done("whole", 10, first, is_first=True)
        remaining.done("whole", 10, 2.0)
    remaining.done("whole", 10, 5.0, is_first=True)
    assert remaining.seconds() == pytest.approx(2)


def test_passes_of_a_single_batch_are_measured_by_all_but_the_first() -> None:
    remaining = begun(*(Work("all", "whole", 10, 3.0) for _ in range(5)))
    remaining.done("whole", 10, 60.0, is_first=True)
    assert remaining.seconds() is None
    for _ in range(2):
        remaining.done("whole", 10, 4.0, is_first=True)
    assert remaining.seconds() == pytest.approx(2 * 4)


def test_the_last_batches_measure_a_kind() -> None:
    remaining = begun(Work("all", "whole", 1000, 3.0))
    for _ in range(10):
        remaining.done("whole", 1, 5.0)  # beside another program
    for _ in range(RECENT):
        remaining.done("whole", 1, 1.0)
    assert remaining.seconds() == pytest.approx(940)


def test_several_validations_of_an_epoch_are_as_many_passes() -> None:
    remaining = begun(Work("all", "val", 60, 1.0, 3))
    for first in (30.0, 5.0):
        remaining.done("val", 10, first, is_first=True)
        remaining.done("val", 10, 2.0)
    assert remaining.seconds() == pytest.approx(3 + 4)


def test_parts_come_in_their_order_once() -> None:
    assert begun(HEAD, TEST, HEAD, WHOLE).parts == ["epochs 1-2", "test and report", "epochs 3-4"]


@pytest.mark.parametrize(
    ("trained", "is_read", "cost"), [(0, False, 1), (1, False, 3), (0.5, False, 2), (0, True, CACHED), (1, True, 3)]
)
def test_cost_of_a_training_image(trained: float, is_read: bool, cost: float) -> None:
    assert training_cost(trained, is_read=is_read) == pytest.approx(cost)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.1, "1 s"),
        (8.4, "8 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (64, "1 min"),
        (66, "1 min 10 s"),
        (594, "9 min 50 s"),
        (596, "10 min"),
        (3569, "59 min"),
        (3571, "1 h"),
        (4800, "1 h 20 min"),
        (86_399, "24 h"),
        (86_400, "1 day"),
        (187_200, "2 days 4 h"),
    ],
)
def test_times_are_named_as_people_do(seconds: float, words: str) -> None:
    assert duration(seconds) == words
