"""What is frozen when, in a module that is not ours; each fault of Lightning's BackboneFinetuning is a test here."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from math import cos, pi
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, FSDPStrategy
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau, StepLR

from visiontasks.errors import InputError
from visiontasks.finetuning.schedule import FinetuneSchedule, Phase

STEPS_PER_EPOCH = 2
PARTS = ("head", "stage3", "stage2", "stage1")
State = dict[str, Tensor]

pytestmark = [
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before:UserWarning"),
    pytest.mark.filterwarnings("ignore:Found .* in eval mode at the start of training:UserWarning"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


class Backbone(nn.Module):
    """Stages of 44 (its stem's 16 among them), 28 and 28 parameters."""

    def __init__(self, norm: Callable[[int], nn.Module] = nn.BatchNorm1d) -> None:
        super().__init__()
        self.stem = nn.Linear(3, 4)
        self.stage1 = nn.Sequential(nn.Linear(4, 4), norm(4))
        self.stage2 = nn.Sequential(nn.Linear(4, 4), norm(4))
        self.stage3 = nn.Sequential(nn.Linear(4, 4), norm(4))
        self.feature_info = [{"module": "stage1"}, {"module": "stage2"}, {"module": "stage3"}]

    def forward(self, x: Tensor) -> Tensor:
        feature: Tensor = self.stage3(self.stage2(self.stage1(self.stem(x))))
        return feature


class Plain(LightningModule):
    """Not one of ours. Its samples follow from (epoch, batch, rank); the loader gives the number of the batch only."""

    def __init__(
        self, norm: Callable[[int], nn.Module] = nn.BatchNorm1d, scheduler: Callable[[Optimizer], Any] | None = None
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = Backbone(norm)
        self.head = nn.Linear(4, 2)
        self.scheduler = scheduler
        self.rates: list[float] = []

    def samples(self, batch_idx: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(100 * self.current_epoch + batch_idx)
        x, label = torch.randn(6, 3, generator=generator), torch.randint(2, (6,), generator=generator)
        return x[self.global_rank :: self.trainer.world_size], label[self.global_rank :: self.trainer.world_size]

    def training_step(self, batch: int, batch_idx: int) -> Tensor:
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        x, label = self.samples(batch_idx)
        return F.cross_entropy(self.head(self.backbone(x)), label)

    def validation_step(self, batch: int, batch_idx: int) -> None:
        self.log("val/loss", 1.0, batch_size=1, sync_dist=True)  # never better

    def configure_optimizers(self) -> Any:
        optimizer = SGD(self.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
        if self.scheduler is None:
            return optimizer
        scheduler = self.scheduler(optimizer)
        interval = "step" if isinstance(scheduler, OneCycleLR | LambdaLR) else "epoch"
        return [optimizer], [{"scheduler": scheduler, "interval": interval, "monitor": "val/loss"}]


class Snapshots(Callback):
    """The state before the training and after each epoch."""

    def __init__(self) -> None:
        self.states: list[State] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.states = [deepcopy(pl_module.state_dict())]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.states.append(deepcopy(pl_module.state_dict()))


class SaveAll(Callback):
    """Checkpoints after each step and each epoch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        trainer.save_checkpoint(self.folder / f"step{trainer.global_step}.ckpt")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.save_checkpoint(self.folder / f"epoch{trainer.current_epoch + 1}.ckpt")


def fit(
    module: LightningModule,
    *callbacks: Callback,
    epochs: int = 4,
    ckpt_path: Path | None = None,
    **options: Any,
) -> Trainer:
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    quiet |= {"enable_checkpointing": False, "num_sanity_val_steps": 0}
    trainer = Trainer(max_epochs=epochs, accelerator="cpu", callbacks=list(callbacks), **quiet, **options)
    trainer.fit(module, range(STEPS_PER_EPOCH), range(1), ckpt_path=ckpt_path)
    return trainer


def changes(before: State, after: State) -> dict[str, str]:
    """Which parts changed, to the last bit: "all" their tensors, "none", or some of them by name."""
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    same: dict[str, int] = dict.fromkeys(PARTS, 0)
    for name, tensor in before.items():
        part = next((part for part in PARTS if part in name), "stage1")
        if tensor.equal(after[name]):
            same[part] += 1
        else:
            parts[part].append(name)
    return {p: "none" if not parts[p] else "all" if not same[p] else ",".join(parts[p]) for p in PARTS}


def assert_same(state: State, expected: State) -> None:
    assert state.keys() == expected.keys()
    assert [name for name in state if not state[name].equal(expected[name])] == []


@pytest.mark.parametrize(
    ("options", "by_epoch"),
    [
        ({}, [0, 3, 3, 3, 3, 3]),
        ({"freeze_epochs": 0}, [3, 3, 3, 3, 3, 3]),
        ({"freeze_epochs": 4}, [0, 0, 0, 0, 3, 3]),
        ({"unfreeze": "never"}, [0, 0, 0, 0, 0, 0]),
        ({"unfreeze": "never", "freeze_epochs": 0}, [0, 0, 0, 0, 0, 0]),
        ({"last_stages": 2}, [0, 2, 2, 2, 2, 2]),
        ({"unfreeze": "stages"}, [0, 1, 2, 3, 3, 3]),
        ({"unfreeze": "stages", "freeze_epochs": 0, "epochs_per_stage": 2}, [1, 1, 2, 2, 3, 3]),
        ({"unfreeze": "stages", "epochs_per_stage": 2, "last_stages": 2}, [0, 1, 1, 2, 2, 2]),
    ],
)
def test_number_of_trained_stages_follows_from_the_epoch(options: dict[str, Any], by_epoch: list[int]) -> None:
    schedule = FinetuneSchedule(**options)
    assert [schedule.num_trainable(epoch, 3) for epoch in range(6)] == by_epoch


def test_phases_join_epochs_with_the_same_stages() -> None:
    schedule = FinetuneSchedule(2, unfreeze="stages", epochs_per_stage=3)
    assert schedule.phases(3, 9) == [Phase(0, 2, 0), Phase(2, 5, 1), Phase(5, 8, 2), Phase(8, 9, 3)]
    assert FinetuneSchedule(0).phases(3, 9) == [Phase(0, 9, 3)]
    assert FinetuneSchedule(unfreeze="never").phases(3, 9) == [Phase(0, 9, 0)]
    assert FinetuneSchedule().phases(3, 0) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"freeze_epochs": -1}, "finetune.freeze_epochs must be 0 or more, got -1"),
        ({"epochs_per_stage": 0}, "finetune.epochs_per_stage must be 1 or more, got 0"),
        ({"last_stages": 0}, "finetune.last_stages must be 1 or more, got 0.*finetune.unfreeze to never"),
        ({"unfreeze": "stage"}, "finetune.unfreeze must be one of all, stages, never, got 'stage'"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FinetuneSchedule(**options)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (FinetuneSchedule(4), "freeze_epochs is 4 of trainer.max_epochs 4"),
        (FinetuneSchedule(last_stages=4), "last_stages is 4, but the backbone has 3 stages: stage1, stage2, stage3"),
        (FinetuneSchedule(backbone="encoder"), "Plain has no network in its attribute 'encoder'.*finetune.backbone"),
        (FinetuneSchedule(backbone="rates"), "Plain has no network in its attribute 'rates'"),
    ],
)
def test_a_schedule_that_does_not_fit_the_training_is_refused(schedule: FinetuneSchedule, message: str) -> None:
    module = Plain()
    with pytest.raises(InputError, match=message):
        fit(module, schedule)
    assert module.rates == []


@pytest.mark.parametrize("options", [{"fast_dev_run": 1}, {"epochs": -1, "max_steps": 2}])
def test_an_open_or_tried_out_training_may_be_shorter_than_the_frozen_phase(options: dict[str, Any]) -> None:
    snapshots = Snapshots()
    fit(Plain(), FinetuneSchedule(5), snapshots, **options)
    assert changes(snapshots.states[0], snapshots.states[-1])["stage3"] == "none"


FROZEN = {"head": "all", "stage3": "none", "stage2": "none", "stage1": "none"}
LAST = FROZEN | {"stage3": "all"}
LAST_TWO = LAST | {"stage2": "all"}
WHOLE = LAST_TWO | {"stage1": "all"}


@pytest.mark.parametrize(
    ("options", "by_epoch"),
    [
        ({"freeze_epochs": 2}, [FROZEN, FROZEN, WHOLE, WHOLE]),
        ({"freeze_epochs": 0}, [WHOLE, WHOLE, WHOLE, WHOLE]),
        ({"unfreeze": "never"}, [FROZEN, FROZEN, FROZEN, FROZEN]),
        ({"unfreeze": "stages"}, [FROZEN, LAST, LAST_TWO, WHOLE]),
        ({"unfreeze": "stages", "last_stages": 2}, [FROZEN, LAST, LAST_TWO, LAST_TWO]),
    ],
)
def test_parameters_and_buffers_change_only_where_trained(
    options: dict[str, Any], by_epoch: list[dict[str, str]]
) -> None:
    snapshots = Snapshots()
    fit(Plain(), FinetuneSchedule(**options), snapshots)
    states = snapshots.states
    assert [changes(states[i], states[i + 1]) for i in range(4)] == by_epoch


@pytest.mark.parametrize(
    ("hook", "of"),
    [
        ("on_train_epoch_start", "backbone"),
        ("on_train_batch_start", "backbone"),
        ("on_train_batch_start", "backbone.stage1.1"),
        ("training_step", ""),
        ("training_step", "backbone.stage1"),
        ("forward", "backbone"),
    ],
)
def test_frozen_batchnorm_normalizes_by_its_running_statistics_whoever_calls_train(hook: str, of: str) -> None:
    module = Plain()
    owner: Any = module.backbone if hook == "forward" else module
    original, features = getattr(owner, hook), []

    def hook_with_train(*args: Any) -> Any:
        module.get_submodule(of).train()
        return original(*args)

    setattr(owner, hook, hook_with_train)
    reference = deepcopy(module.backbone).eval()
    reference.__dict__.pop("forward", None)
    module.backbone.register_forward_hook(lambda net, args, feature: features.append((args[0], feature.detach())))
    fit(module, FinetuneSchedule(unfreeze="never"), epochs=1)
    assert len(features) == STEPS_PER_EPOCH
    assert all(feature.equal(reference(x)) for x, feature in features)
    assert_same(module.backbone.state_dict(), reference.state_dict())


def test_without_train_batchnorm_a_trained_backbone_keeps_its_running_statistics() -> None:
    module = Plain()
    before = deepcopy(module.backbone.state_dict())
    fit(module, FinetuneSchedule(1, train_batchnorm=False), epochs=2)
    after = module.backbone.state_dict()
    unchanged = {name for name in after if after[name].equal(before[name])}
    assert unchanged == {
        f"stage{i}.1.{name}" for i in (1, 2, 3) for name in ("running_mean", "running_var", "num_batches_tracked")
    }


def test_modules_replaced_after_setup_are_frozen_too() -> None:
    class Synchronized(Plain):
        def on_fit_start(self) -> None:  # where Lightning does it for trainer.sync_batchnorm, about
            self.backbone = nn.SyncBatchNorm.convert_sync_batchnorm(self.backbone)

    snapshots = Snapshots()
    fit(Synchronized(), FinetuneSchedule(2), snapshots)
    states = snapshots.states
    assert [changes(states[i], states[i + 1]) for i in range(4)] == [FROZEN, FROZEN, WHOLE, WHOLE]


def test_after_the_training_train_reaches_the_whole_module_again() -> None:
    module = Plain()
    fit(module, FinetuneSchedule(unfreeze="never"), epochs=1)
    assert not any(m.training for m in module.backbone.modules())
    module.train()
    assert all(m.training for m in module.modules())


def test_after_an_exception_train_reaches_the_whole_module_again() -> None:
    class Failing(Plain):
        def on_train_batch_start(self, batch: int, batch_idx: int) -> None:
            raise ZeroDivisionError

    module = Failing()
    with pytest.raises(ZeroDivisionError):
        fit(module, FinetuneSchedule())
    module.train()
    assert all(m.training for m in module.modules())


def test_a_second_training_trains_what_the_first_had_frozen() -> None:
    module, snapshots = Plain(), Snapshots()
    fit(module, FinetuneSchedule(unfreeze="never"), epochs=1)
    fit(module, FinetuneSchedule(0), snapshots, epochs=1)
    assert changes(*snapshots.states) == WHOLE


def test_gradients_from_before_the_training_do_not_move_what_is_frozen() -> None:
    class KeepsZeros(Plain):
        def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
            optimizer.zero_grad(set_to_none=False)  # a zero gradient lets weight decay through, none does not

    module, snapshots = KeepsZeros(), Snapshots()
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    fit(module, FinetuneSchedule(unfreeze="never"), snapshots, epochs=1)
    assert changes(*snapshots.states) == FROZEN


def test_what_is_trained_still_follows_train_and_eval() -> None:
    class Evaluating(Plain):
        def training_step(self, batch: int, batch_idx: int) -> Tensor:
            self.backbone.eval()
            assert not any(m.training for m in self.backbone.modules())
            self.backbone.train()
            assert all(m.training for m in self.backbone.stage3.modules())
            assert not any(m.training for m in self.backbone.stage2.modules())
            return super().training_step(batch, batch_idx)

    module = Evaluating()
    fit(module, FinetuneSchedule(0, last_stages=1), epochs=1)
    assert len(module.rates) == STEPS_PER_EPOCH


def test_equally_initialised_parameters_all_train() -> None:
    module = Plain(norm=nn.LayerNorm)
    for parameter in module.backbone.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():  # a zero product has no gradient; all else stays equal
        for linear in (module.backbone.stem, module.backbone.stage1[0], module.backbone.stage2[0]):
            linear.weight.copy_(torch.eye(4)[:, : linear.in_features])
        for stage in (module.backbone.stage1, module.backbone.stage2, module.backbone.stage3):
            stage[1].weight.fill_(1)
        module.backbone.stage3[0].weight.copy_(torch.eye(4))
    snapshots = Snapshots()
    fit(module, FinetuneSchedule(1), snapshots, epochs=2)
    assert [changes(*snapshots.states[i : i + 2]) for i in range(2)] == [FROZEN, WHOLE]


SCHEDULERS: dict[str, tuple[Callable[[Optimizer], LRScheduler] | None, list[float]]] = {
    "constant": (None, [0.1] * 8),
    "cosine": (
        partial(LambdaLR, lr_lambda=lambda step: (1 + cos(pi * step / 8)) / 2),
        [0.1 * (1 + cos(pi * step / 8)) / 2 for step in range(8)],
    ),
    "one-cycle": (
        partial(OneCycleLR, max_lr=0.1, total_steps=8, pct_start=0.375, div_factor=10, final_div_factor=10),
        # up over 3 steps, from a 10th; down over 5, to a 100th
        [*(0.1 - 0.09 * (1 + cos(pi * i / 2)) / 2 for i in range(2))]
        + [0.001 + 0.099 * (1 + cos(pi * i / 5)) / 2 for i in range(6)],
    ),
    "step": (partial(StepLR, step_size=2, gamma=0.1), [0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01]),
    # epoch 0 sets the best value, 1 and 2 are not better: a 10th from epoch 3 on
    "plateau": (partial(ReduceLROnPlateau, patience=1), [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01]),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedules_survive_the_unfreeze_and_a_resume_after_it_is_exact(name: str, tmp_path: Path) -> None:
    scheduler, rates = SCHEDULERS[name]
    whole, snapshots = Plain(scheduler=scheduler), Snapshots()
    fit(whole, FinetuneSchedule(1, unfreeze="stages"), snapshots, SaveAll(tmp_path))
    assert whole.rates == pytest.approx(rates)
    # After a resume Lightning itself leaves out a plateau's next step, whoever freezes.
    places = {} if name == "plateau" else {"epoch1": 6, "epoch3": 2, "step3": 5, "step4": 4}
    for file, num_left in places.items():
        resumed = Plain(scheduler=scheduler)
        path = tmp_path / f"{file}.ckpt"
        fit(resumed, FinetuneSchedule(1, unfreeze="stages"), ckpt_path=path)
        assert resumed.rates == whole.rates[-num_left:], file
        assert_same(resumed.state_dict(), whole.state_dict())
    assert changes(snapshots.states[-2], snapshots.states[-1]) == WHOLE


class WithUnused(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.backbone.stage3.append(nn.Identity())
        self.backbone.stage3[2].unused = nn.Linear(1, 1)


def test_a_trainable_parameter_without_gradient_is_an_error_with_its_name() -> None:
    module = WithUnused()
    names = "2 trainable parameters got no gradient in epoch 2: backbone.stage3.2.unused.weight, .*unused.bias"
    with pytest.raises(InputError, match=names):
        fit(module, FinetuneSchedule())
    assert len(module.rates) == STEPS_PER_EPOCH + 1


def test_optimizers_are_checked_for_their_own_gradients_only() -> None:
    class InTurns(Plain):
        automatic_optimization = False

        def training_step(self, batch: int, batch_idx: int) -> None:
            x, label = self.samples(batch_idx)
            feature = self.backbone(x)
            for optimizer, given in zip(self.optimizers(), (feature.detach(), feature), strict=True):
                optimizer.zero_grad()
                self.manual_backward(F.cross_entropy(self.head(given), label))
                optimizer.step()

        def configure_optimizers(self) -> list[Optimizer]:
            return [SGD(part.parameters(), lr=0.1, weight_decay=0.1) for part in (self.head, self.backbone)]

    snapshots = Snapshots()
    fit(InTurns(), FinetuneSchedule(0), snapshots, epochs=1)
    assert changes(*snapshots.states) == WHOLE


def test_a_compiled_backbone_is_unfrozen_stage_by_stage() -> None:
    module, snapshots = Plain(), Snapshots()
    module.backbone = torch.compile(module.backbone, backend="eager")
    fit(module, FinetuneSchedule(unfreeze="stages"), snapshots, epochs=3)
    states = snapshots.states
    assert [changes(states[i], states[i + 1]) for i in range(3)] == [FROZEN, LAST, LAST_TWO]


def test_a_backbone_further_down_is_found_by_its_dotted_name() -> None:
    class Nested(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.ModuleDict({"encoder": self.backbone})
            del self.backbone

        def training_step(self, batch: int, batch_idx: int) -> Tensor:
            x, label = self.samples(batch_idx)
            return F.cross_entropy(self.head(self.net["encoder"](x)), label)

    snapshots = Snapshots()
    fit(Nested(), FinetuneSchedule(backbone="net.encoder"), snapshots, epochs=2)
    assert [changes(*snapshots.states[i : i + 2]) for i in range(2)] == [FROZEN, WHOLE]


class Partly(Plain):
    """Its optimizers hold the parameters whose names begin so."""

    def __init__(self, *prefixes: str) -> None:
        super().__init__()
        self.teacher = nn.Linear(4, 2).requires_grad_(False)
        self.prefixes = prefixes

    def configure_optimizers(self) -> Any:
        groups = [[p for name, p in self.named_parameters() if name.startswith(prefix)] for prefix in self.prefixes]
        return [SGD(group, lr=0.1) for group in groups]


@pytest.mark.parametrize(
    ("prefixes", "options", "message"),
    [
        (["head"], {}, r"missing: \['backbone.stem.weight', .*parameter_groups"),
        (["backbone"], {}, r"missing: \['head.weight', 'head.bias'\]"),
        (["head"], {"last_stages": 1}, r"missing: \['backbone.stage3.0.weight', 'backbone.stage3.0.bias', "),
        (["head", "backbone", "head"], {}, r"more than once: \['head.weight', 'head.bias'\]"),
    ],
)
def test_an_optimizer_with_missing_or_repeated_parameters_is_refused(
    prefixes: list[str], options: dict[str, Any], message: str
) -> None:
    module = Partly(*prefixes)
    module.automatic_optimization = len(prefixes) == 1
    with pytest.raises(InputError, match=message):
        fit(module, FinetuneSchedule(**options))


@pytest.mark.parametrize(
    ("prefix", "options"), [("head", {"unfreeze": "never"}), (("head", "backbone.stage3"), {"last_stages": 1})]
)
def test_an_optimizer_may_leave_out_what_is_never_trained(prefix: Any, options: dict[str, Any]) -> None:
    module = Partly(prefix)
    fit(module, FinetuneSchedule(**options), epochs=2)
    assert len(module.rates) == 2 * STEPS_PER_EPOCH


@pytest.mark.parametrize("kind", [FSDPStrategy, DeepSpeedStrategy])
def test_a_strategy_without_support_is_refused_before_training(kind: type[Any]) -> None:
    trainer = Trainer(max_epochs=4, accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer._accelerator_connector.strategy = kind.__new__(kind)
    with pytest.raises(InputError, match=f"{kind.__name__} does not support: use trainer.strategy ddp"):
        FinetuneSchedule().setup(trainer, Plain(), "fit")
    FinetuneSchedule(0).setup(trainer, Plain(), "fit")
    FinetuneSchedule(unfreeze="never").setup(trainer, Plain(), "fit")


def test_plan_lists_phases_with_their_parameter_counts() -> None:
    table = FinetuneSchedule(2, unfreeze="stages", epochs_per_stage=2).plan(Plain(), max_epochs=9)
    assert [column.header for column in table.columns] == ["epochs", "trained", "trainable", "frozen"]
    rows = list(zip(*(column.cells for column in table.columns), strict=True))
    assert rows == [
        ("1-2", "head", "10", "100"),
        ("3-4", "head, stage3", "38", "72"),
        ("5-6", "head, stage2, stage3", "66", "44"),
        ("7-9", "head and whole backbone (3 stages)", "110", "0"),
    ]


@pytest.mark.parametrize("options", [{"epochs": 3}, {"epochs": -1, "max_steps": 1}])
def test_phases_are_printed_in_words_before_training(
    options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    fit(Plain(), FinetuneSchedule(1, epochs_per_stage=2), **options)
    first, second = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert first == "epoch 1: the head, on frozen backbone features"
    assert second == f"epochs 2-{options['epochs'] if options['epochs'] > 0 else 7}: head and backbone"


@pytest.mark.parametrize("options", [{"epochs": 3}, {"epochs": -1, "max_steps": 1}])
def test_plan_learning_rates_and_batches_are_printed_where_asked_for(
    options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    scheduler = SCHEDULERS["one-cycle"][0]
    schedule = FinetuneSchedule(1, epochs_per_stage=2)
    schedule.verbose = True
    fit(Plain(scheduler=scheduler), schedule, **options)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    start = lines.index("epochs trained trainable frozen")
    assert lines[start + 1] == "1-1 head 10 100"
    assert lines[start + 2].endswith("head and whole backbone (3 stages) 110 0")
    assert lines[start + 3 : start + 5] == ["peak learning rates: group 0 0.1", "2 batches per epoch"]


class CountingDDP(DDPStrategy):
    num_wraps = 0

    def configure_ddp(self) -> None:
        self.num_wraps += 1
        super().configure_ddp()


class Ranked(Plain):
    """Writes what each process has in the end, and the gradients of its last step."""

    def __init__(self, folder: Path) -> None:
        super().__init__(norm=nn.LayerNorm)  # a BatchNorm that trains has other statistics in each process
        self.folder = folder

    def on_fit_start(self) -> None:
        torch.set_num_threads(1)  # a forked process has none of the parent's threads

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        self.gradients = {n: p.grad.clone() for n, p in self.named_parameters() if p.grad is not None}

    def on_train_end(self) -> None:
        num_wraps = getattr(self.trainer.strategy, "num_wraps", 0)
        content = {"state": self.state_dict(), "gradients": self.gradients, "num_wraps": num_wraps}
        torch.save(content, self.folder / f"rank{self.global_rank}.pt")


def read(folder: Path, rank: int) -> Any:
    return torch.load(folder / f"rank{rank}.pt", weights_only=True)


@pytest.mark.timeout(60)
def test_two_processes_train_as_one_after_the_unfreeze_and_after_a_resume(tmp_path: Path) -> None:
    def ddp() -> CountingDDP:
        return CountingDDP(start_method="fork", process_group_backend="gloo")

    schedule = FinetuneSchedule(1, unfreeze="stages", epochs_per_stage=2)
    folders = {name: tmp_path / name for name in ("one", "two", "resumed")}
    for folder in folders.values():
        folder.mkdir()
    fit(Ranked(folders["one"]), schedule, epochs=5)
    one = read(folders["one"], 0)
    fit(Ranked(folders["two"]), schedule, SaveAll(tmp_path), epochs=5, devices=2, strategy=ddp())
    path = tmp_path / "epoch2.ckpt"
    fit(Ranked(folders["resumed"]), schedule, epochs=5, devices=2, strategy=ddp(), ckpt_path=path)

    # epochs 0 | 1 2 | 3 4: wrapped at the start, and at epochs 1 and 3
    for name, num_wraps in (("two", 3), ("resumed", 3)):
        rank0, rank1 = read(folders[name], 0), read(folders[name], 1)
        assert_same(rank0["state"], rank1["state"])
        assert_same(rank0["gradients"], rank1["gradients"])
        assert any(name.startswith("backbone.stage2") for name in rank0["gradients"])
        assert rank0["num_wraps"] == num_wraps
        for name_of, tensor in rank0["state"].items():
            torch.testing.assert_close(tensor, one["state"][name_of], rtol=1e-5, atol=1e-6)
        for name_of, tensor in rank0["gradients"].items():
            torch.testing.assert_close(tensor, one["gradients"][name_of], rtol=1e-5, atol=1e-6)
    assert_same(read(folders["resumed"], 0)["state"], read(folders["two"], 0)["state"])
