"""Layer arithmetic against numbers worked out by hand."""

from functools import reduce
from math import inf

import pytest

from visiontasks.ops.arithmetic import WHOLE, Span, conv_multiply_adds, conv_output_size


@pytest.mark.parametrize(
    ("size", "kernel_size", "stride", "padding", "expected"),
    [
        (7, 3, 1, 0, 5),
        (7, 3, 2, 0, 3),
        (7, 3, 1, 1, 7),
        (32, 5, 1, 2, 32),
        (227, 11, 4, 0, 55),  # AlexNet's first layer
        (55, 3, 2, 0, 27),  # and its first pool
        (1, 1, 1, 0, 1),
    ],
)
def test_output_size_is_the_input_less_the_filter_plus_the_padding_in_strides_plus_one(
    size: int, kernel_size: int, stride: int, padding: int, expected: int
) -> None:
    assert conv_output_size(size, kernel_size, stride, padding) == expected


def test_a_filter_of_3_with_stride_3_does_not_fit_7() -> None:
    with pytest.raises(ValueError, match=r"does not fit 7: \(7 - 3 \+ 2\*0\) / 3 \+ 1 = 2.333"):
        conv_output_size(7, 3, 3)


def test_a_filter_larger_than_the_padded_input_does_not_fit() -> None:
    with pytest.raises(ValueError, match="does not fit 2"):
        conv_output_size(2, 5, 1, 1)


def test_alexnet_at_the_papers_224_does_not_fit() -> None:
    with pytest.raises(ValueError, match="= 54.25"):
        conv_output_size(224, 11, 4)


def see_through(*layers: tuple[int, int, int]) -> Span:
    return reduce(lambda span, layer: span.slide(*layer), layers, Span())


def test_three_3x3_convolutions_see_7_pixels() -> None:
    assert see_through(*[(3, 1, 1)] * 3) == Span(-3, 3, 1)
    assert see_through(*[(3, 1, 1)] * 3).size == 7


def test_two_5x5_convolutions_see_9_pixels() -> None:
    assert see_through((5, 1, 0), (5, 1, 0)) == Span(0, 8, 1)


def test_strides_multiply_and_widen_what_comes_after() -> None:
    # ResNet's stem: 7 pixels, then a pool over 3 positions at a distance of 2
    assert see_through((7, 2, 3), (3, 2, 1)) == Span(-5, 5, 4)


def test_dilation_spreads_a_filter() -> None:
    assert Span().slide(3, 1, 2, dilation=2) == Span(-2, 2, 1)


def test_joined_paths_have_the_union_of_their_fields() -> None:
    assert Span(-1, 1, 2).join(Span(0, 5, 2)) == Span(-1, 5, 2)


def test_paths_of_different_strides_have_no_positions_in_common() -> None:
    with pytest.raises(ValueError, match="strides 2 and 4"):
        Span(0, 1, 2).join(Span(0, 1, 4))


def test_a_join_with_a_value_of_the_whole_image_has_the_whole_image() -> None:
    joined = Span(-1, 1, 2).join(WHOLE)
    assert joined == Span(-inf, inf, 2)
    assert joined.size == inf
    assert joined.slide(3, 2).step == 4
    assert WHOLE.slide(3, 2) == WHOLE


def test_each_position_uses_each_weight_once() -> None:
    assert conv_multiply_adds((10, 3, 5, 5), 32 * 32) == 768_000
