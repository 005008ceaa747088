"""What holds for every dense head."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import visiontasks.heads
from visiontasks.errors import InputError
from visiontasks.heads import DeconvHead, DeepLabV3Head, DenseHead, FCNHead, HourglassHead, UNetHead
from visiontasks.heads.dense import BatchNorm, conv_norm_act, repeat_to, resize

PUBLIC = [getattr(visiontasks.heads, name) for name in visiontasks.heads.__all__]
HEADS = [head for head in PUBLIC if issubclass(head, DenseHead) and head is not DenseHead]
EVERY_HEAD = pytest.mark.parametrize("make", HEADS)
K = 3

MakeHead = Callable[..., DenseHead]


def total_loss(head: DenseHead, features: list[Tensor], mask: Tensor) -> Tensor:
    size = (mask.shape[-2], mask.shape[-1])
    return torch.stack([F.cross_entropy(logits, mask) for logits in head.forward_all(features, size)]).sum()


def train(head: DenseHead, features: list[Tensor], mask: Tensor, steps: int) -> None:
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        total_loss(head, features, mask).backward()
        optimizer.step()


@EVERY_HEAD
def test_output_has_the_size_of_the_image(make: MakeHead, any_pyramid: Any) -> None:
    head = make(any_pyramid.channels, any_pyramid.reductions, K)
    for size, features in any_pyramid.features.items():
        assert head(features, size).shape == (2, K, *size)
        assert head([x[:1] for x in features], size).shape == (1, K, *size)


@EVERY_HEAD
def test_gradients_reach_every_parameter_after_one_step(make: MakeHead, any_pyramid: Any) -> None:
    head = make(any_pyramid.channels, any_pyramid.reductions, K)
    size, features = next(iter(any_pyramid.features.items()))
    mask = torch.randint(K, (2, *size))
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    for _ in range(2):  # FCN's scores start at zero and pass nothing on before their first step
        optimizer.zero_grad()
        total_loss(head, features, mask).backward()
        optimizer.step()
    silent = [name for name, p in head.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


@EVERY_HEAD
def test_two_halves_are_learned_from_a_batch_of_one(make: MakeHead, mobilenet: Any) -> None:
    features = [x[:1] for x in mobilenet.features[64, 64]]
    head = make(mobilenet.channels, mobilenet.reductions, 2)
    mask = torch.zeros(1, 64, 64, dtype=torch.int64)
    mask[..., :32] = 1
    train(head, features, mask, steps=20)
    right = (head(features, (64, 64)).argmax(1) == mask).float().mean().item()
    assert right > 0.98  # at most a column beside the border is wrong


@EVERY_HEAD
def test_evaluation_of_an_image_does_not_depend_on_its_batch(make: MakeHead, mobilenet: Any) -> None:
    features = mobilenet.features[97, 65]
    head = make(mobilenet.channels, mobilenet.reductions, K)
    train(head, features, torch.randint(K, (2, 97, 65)), steps=1)
    head.eval()
    with torch.no_grad():
        alone = head([x[1:] for x in features], (97, 65))
        torch.testing.assert_close(alone, head(features, (97, 65))[1:], atol=1e-4, rtol=1e-4)
    assert alone.any()


@EVERY_HEAD
def test_output_is_the_last_prediction_that_is_trained(make: MakeHead, mobilenet: Any) -> None:
    features = mobilenet.features[97, 65]
    head = make(mobilenet.channels, mobilenet.reductions, K)
    train(head, features, torch.randint(K, (2, 97, 65)), steps=1)
    head.eval()
    assert torch.equal(head(features, (97, 65)), head.forward_all(features, (97, 65))[-1])


@EVERY_HEAD
def test_loaded_head_gives_the_same_output(make: MakeHead, mobilenet: Any) -> None:
    features = mobilenet.features[97, 65]
    head, again = (make(mobilenet.channels, mobilenet.reductions, K) for _ in range(2))
    train(head, features, torch.randint(K, (2, 97, 65)), steps=1)
    again.load_state_dict(head.state_dict())
    assert torch.equal(head.eval()(features, (97, 65)), again.eval()(features, (97, 65)))


@EVERY_HEAD
def test_bfloat16_autocast_gives_finite_gradients(make: MakeHead, mobilenet: Any) -> None:
    features = [x.to(memory_format=torch.channels_last) for x in mobilenet.features[64, 64]]
    head = make(mobilenet.channels, mobilenet.reductions, K)
    with torch.autocast("cpu", torch.bfloat16):
        train(head, features, torch.randint(K, (2, 64, 64)), steps=1)
        total_loss(head, features, torch.randint(K, (2, 64, 64))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


@EVERY_HEAD
def test_pyramid_of_one_map_is_enough(make: MakeHead) -> None:
    head = make([8], [8], K)
    assert head([torch.randn(2, 8, 9, 7)], (65, 49)).shape == (2, K, 65, 49)


@EVERY_HEAD
@pytest.mark.parametrize(("channels", "reductions"), [([], []), ([8, 16], [2]), ([16, 8], [4, 2])])
def test_what_is_no_pyramid_is_refused(make: MakeHead, channels: list[int], reductions: list[int]) -> None:
    with pytest.raises(ValueError, match="one pyramid, finest first"):
        make(channels, reductions, K)


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (UNetHead, "finest_width", 0),
        (FCNHead, "hidden_channels", -1),
        (DeconvHead, "layers_per_level", 0),
        (DeepLabV3Head, "branch_width", 0),
        (HourglassHead, "num_stacks", 0),
        (HourglassHead, "num_poolings", 0),
        (HourglassHead, "stack_width", 0),
        (HourglassHead, "stack_width", 15),
    ],
)
def test_argument_out_of_range_is_refused(make: MakeHead, name: str, value: int) -> None:
    with pytest.raises(InputError, match=rf"head.init_args.{name} must be .*, got {value}"):
        make([4, 8], [8, 16], K, **{name: value})


def test_heads_give_arguments_of_one_name_one_default() -> None:
    """jsonargparse keeps such arguments, defaults too, when a recipe replaces one head by another."""
    defaults: dict[str, set[object]] = {}
    for head in HEADS:
        for name, argument in inspect.signature(head).parameters.items():
            defaults.setdefault(name, set()).add(argument.default)
    assert [name for name, values in defaults.items() if len(values) > 1] == []


def test_batch_norm_of_one_value_takes_the_running_statistics() -> None:
    norm = BatchNorm(1, eps=1)  # torch 2.11 refuses 0
    norm.running_mean = torch.tensor([2.0])
    norm.running_var = torch.tensor([3.0])  # (8 - 2) / sqrt(3 + 1)
    assert norm(torch.tensor([8.0]).view(1, 1, 1, 1)).item() == 3
    assert norm.running_mean.item() == 2


def test_batch_norm_of_several_values_is_pytorchs() -> None:
    ours, theirs, x = BatchNorm(4), nn.BatchNorm2d(4), torch.randn(1, 4, 1, 2)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.running_mean, theirs.running_mean)


@pytest.mark.parametrize("kernel_size", [1, 3, 7])
def test_convolution_keeps_the_size(kernel_size: int) -> None:
    assert conv_norm_act(2, 5, kernel_size)(torch.randn(1, 2, 9, 4)).shape == (1, 5, 9, 4)


def test_map_of_the_right_size_is_not_resampled() -> None:
    x = torch.randn(1, 2, 5, 3)
    assert resize(x, (5, 3)) is x
    assert repeat_to(x, (5, 3)) is x


def test_interpolation_and_repetition_by_hand() -> None:
    x = torch.tensor([0.0, 4.0]).view(1, 1, 1, 2)
    assert resize(x, (1, 4)).flatten().tolist() == [0, 1, 3, 4]
    assert repeat_to(x, (1, 4)).flatten().tolist() == [0, 0, 4, 4]
