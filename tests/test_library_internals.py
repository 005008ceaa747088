"""What other libraries do not promise is as library_internals.py expects it; a failure names what changed."""

import argparse
import ast
import atexit
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader

from visiontasks import library_internals as internals
from visiontasks.data.datasets.digits import scanned_digits


def changed(library: str, what: str) -> str:
    """The message of a failure."""
    return f"{library} {version(library)}: {what}; read its source again and adapt visiontasks/library_internals.py"


class Net(LightningModule):
    """One weight, 5 batches of 1 in an epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss: Tensor = self.linear(batch).sum()
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val/loss", self.linear(batch).sum())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


Fit = Callable[..., Trainer]


@pytest.fixture
def fit(tmp_path: Path) -> Fit:
    """`fit(callbacks, ckpt_path=None, ...)`: the trainer after an epoch of 5 batches and 2 validation batches."""

    def run(
        *callbacks: Callback, ckpt_path: Path | None = None, module: LightningModule | None = None, **options: Any
    ) -> Trainer:
        options = {"max_epochs": 1} | options
        silent: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        silent["enable_checkpointing"] = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
        trainer = Trainer(
            accelerator="cpu",
            callbacks=list(callbacks),
            num_sanity_val_steps=0,
            default_root_dir=tmp_path,
            **silent,
            **options,
        )
        train, val = DataLoader(torch.ones(5, 1)), DataLoader(torch.ones(2, 1))
        trainer.fit(module or Net(), train, val, ckpt_path=ckpt_path, weights_only=True)
        return trainer

    return run


class Notes(Callback):
    """Calls a function in hooks and collects what it returns."""

    def __init__(self, look: Callable[[Trainer], Any], *hooks: str) -> None:
        self.found: list[Any] = []
        for hook in hooks:
            setattr(self, hook, lambda trainer, *_: self.found.append(look(trainer)))


def test_only_the_standard_library_is_imported_with_the_module() -> None:
    tree = ast.parse(Path(internals.__file__).read_text())
    imported = {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'visiontasks.library_internals' has no attribute 'tree_map'"):
        _ = internals.tree_map  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", internals.LAZY_NAMES)
def test_names_that_are_given_out_exist(name: str) -> None:
    module = import_module(internals.LAZY_NAMES[name])
    assert hasattr(module, name), changed("torch", f"{module.__name__}.{name} is gone")
    assert getattr(internals, name) is getattr(module, name)


def test_subcommands_have_a_type_in_argparse() -> None:
    commands = argparse.ArgumentParser().add_subparsers()
    assert type(commands).__name__ == "_SubParsersAction", "argparse: add_subparsers returns another type"


def test_exit_functions_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hasattr(atexit, "_run_exitfuncs"), f"Python {sys.version}: atexit._run_exitfuncs is gone"
    code = "import atexit; from visiontasks.library_internals import *; atexit.register(print, 1); run_exit_functions()"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output == "1\n"


def test_tree_leaves_are_found_at_any_depth() -> None:
    assert internals.tree_leaves(([1, {"a": 2}], 3)) == [1, 2, 3], changed("torch", "tree_leaves has changed")


@pytest.mark.parametrize("purpose", internals.OPERATORS)
def test_operators_exist(purpose: str) -> None:
    missing = [name for name in internals.OPERATORS[purpose] if not hasattr(torch.ops.aten, name)]
    assert not missing, changed("torch", f"torch.ops.aten has no {', '.join(missing)}")
    assert len(internals.operators(purpose)) == len(internals.OPERATORS[purpose])


@pytest.mark.parametrize(
    ("purpose", "call"),
    [
        ("adaptive average pool", lambda x: F.adaptive_avg_pool2d(x, 2)),
        ("softmax", lambda x: x.softmax(1)),
        ("copy", lambda x: x.to(torch.float64)),
        ("prelu", lambda x: F.prelu(x, x.new_ones(1))),
        ("attention", lambda x: F.scaled_dot_product_attention(x, x, x)),
    ],
)
def test_public_functions_dispatch_to_these_operators(purpose: str, call: Callable[[Tensor], Tensor]) -> None:
    class Dispatched(internals.TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            called.append(func.overloadpacket)
            return func(*args, **(kwargs or {}))

    called: list[Any] = []
    with torch.no_grad(), Dispatched():  # type: ignore[no-untyped-call]
        call(torch.ones(1, 4, 8, 8))
    message = changed("torch", f"the operators of {purpose!r} are {called} now")
    assert set(called) & set(internals.operators(purpose)), message


def test_a_storage_has_one_number_for_all_its_views() -> None:
    whole = torch.empty(4, 4, device="meta")
    other = torch.empty(4, 4, device="meta")
    message = changed("torch", "a storage's _cdata no longer identifies it")
    assert internals.storage_id(whole) == internals.storage_id(whole[1:].t()), message
    assert internals.storage_id(whole) != internals.storage_id(other), message


def test_a_compiled_module_holds_the_module() -> None:
    module = nn.Linear(1, 1)
    wrapped: Any = torch.compile(module)
    assert internals.is_compiled(wrapped), changed("torch", "torch.compile's wrapper has no _orig_mod")
    assert not internals.is_compiled(module)
    assert internals.uncompiled(wrapped) is module
    assert internals.uncompiled(module) is module


def test_errors_of_the_compiler_are_recognized() -> None:
    from torch._dynamo.exc import BackendCompilerFailed, Unsupported

    message = changed("torch", "its compiler's errors have no common TorchDynamoException")
    assert issubclass(BackendCompilerFailed, Exception)
    assert internals.is_compile_error(Unsupported("no")), message  # type: ignore[no-untyped-call]
    assert not internals.is_compile_error(RuntimeError("no"))


@pytest.mark.parametrize("instructions", [True, False])
@pytest.mark.parametrize("onednn", [True, False])
def test_a_processor_needs_the_instructions_and_a_onednn_that_uses_them(
    instructions: bool, onednn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: instructions, raising=False)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert internals.cpu_has_bfloat16() == (instructions and onednn)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not internals.cpu_has_bfloat16()


def test_a_torch_that_cannot_be_asked_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hasattr(torch.cpu, "_is_avx512_bf16_supported"), changed("torch", "_is_avx512_bf16_supported is gone")
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")
    assert not internals.cpu_has_bfloat16()


@pytest.mark.slow
def test_a_onednn_that_may_use_avx2_only_has_none() -> None:
    code = "from visiontasks.library_internals import cpu_has_bfloat16; print(cpu_has_bfloat16())"
    limited = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    result = subprocess.run([sys.executable, "-c", code], env=limited, capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


def test_timm_stores_the_arguments_of_a_model() -> None:
    model = timm.create_model("test_resnet", num_classes=3, in_chans=1)
    message = changed("timm", "models no longer have _model_args")
    assert internals.timm_arguments(model) == {"in_chans": 1, "num_classes": 3}, message
    assert internals.timm_arguments(nn.Linear(1, 1)) == {}


def test_timm_writes_a_config_without_weights(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    internals.save_timm_config(timm.create_model("test_resnet"), str(path), {"pretrained_cfg": {"classifier": "last"}})
    text = path.read_text()
    message = changed("timm", "save_config_for_hf takes other arguments, or writes something else")
    assert '"architecture": "test_resnet"' in text, message
    assert '"classifier": "last"' in text, message
    assert list(tmp_path.iterdir()) == [path]


def test_timm_fills_a_network_through_the_replaced_function() -> None:
    filled: list[nn.Module] = []

    def make(original: Callable[..., None]) -> Callable[..., None]:
        return lambda model, **options: filled.append(model)

    with internals.replaced_weight_loading(make):
        pyramid = timm.create_model("test_resnet", pretrained=True, features_only=True)
    message = changed("timm", "create_model does not fill a network by timm.models._builder.load_pretrained")
    assert [type(model).__name__ for model in filled] == ["ResNet"], message
    assert not isinstance(pyramid, type(filled[0])), message  # the network was filled before it was cut


def test_albumentations_moves_boxes_by_the_replaced_function() -> None:
    from visiontasks.data.pipeline.alignment import A  # with its check for updates switched off

    flip = A.HorizontalFlip(p=1)
    internals.replace_box_transform(flip, lambda boxes, **_: boxes)
    compose = A.Compose([flip], bbox_params=A.BboxParams(format="pascal_voc"))
    boxes = compose(image=np.zeros((8, 8, 3), np.uint8), bboxes=np.array([[0, 0, 2, 4, 7]]))["bboxes"]
    assert boxes.tolist() == [[0, 0, 2, 4, 7]], changed("albumentations", "boxes do not move by _key2func")


@pytest.mark.parametrize("option", [True, False])
def test_lightning_has_the_option_of_its_sampler(option: bool) -> None:
    trainer = Trainer(accelerator="cpu", use_distributed_sampler=option, logger=False, enable_checkpointing=False)
    message = changed("lightning", "use_distributed_sampler is elsewhere")
    assert internals.pads_evaluation(trainer) is option, message


def test_lightning_sets_no_signal_handlers(fit: Fit) -> None:
    import signal

    class Disable(Callback):
        def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
            internals.disable_signal_handlers(trainer)

    before = signal.getsignal(signal.SIGTERM)
    with_ours = Notes(lambda _: signal.getsignal(signal.SIGTERM), "on_train_start")
    fit(Disable(), with_ours)
    assert with_ours.found == [before], changed("lightning", "handlers are not set by register_signal_handlers")
    with_its_own = Notes(lambda _: signal.getsignal(signal.SIGTERM), "on_train_start")
    fit(with_its_own)
    assert with_its_own.found != [before], changed("lightning", "it sets no handlers; remove disable_signal_handlers")


def test_lightning_starts_processes_by_our_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(_SubprocessScriptLauncher, "_call_children_scripts", lambda self: self.procs.append("child"))
    launcher = _SubprocessScriptLauncher(LightningEnvironment(), num_processes=2, num_nodes=1)
    trainer: Any = SimpleNamespace(strategy=SimpleNamespace(launcher=launcher))
    started: list[Any] = []
    message = changed("lightning", "its launcher has changed")
    assert internals.launch_by(trainer, lambda start: started.extend(start())), message
    assert launcher.launch(lambda: "trained") == "trained"
    assert started == ["child"], message
    assert launcher.procs == [], message
    monkeypatch.setenv("LOCAL_RANK", "1")  # as in a process that something else has started
    assert not internals.launch_by(trainer, started.extend)
    assert not internals.launch_by(SimpleNamespace(strategy=SimpleNamespace(launcher=None)), started.extend)  # type: ignore[arg-type]


def test_a_checkpoint_contains_the_step_of_its_own_save(fit: Fit, tmp_path: Path) -> None:
    class Best(ModelCheckpoint):
        def state_dict(self) -> dict[str, Any]:
            return super().state_dict() | {"step": internals.saved_step(self)}

    plain, ours = Best(tmp_path, "plain"), Best(tmp_path, "ours", monitor="val/loss")
    internals.set_saved_step_before_saving(ours)
    fit(plain, ours)
    states = [torch.load(tmp_path / f"{name}.ckpt", weights_only=True)["callbacks"] for name in ("plain", "ours")]
    steps = [state[callback.state_key]["step"] for state, callback in zip(states, (plain, ours), strict=True)]
    message = changed("lightning", f"the steps of saves in checkpoints are {steps}, expected [0, 5]")
    assert steps == [0, 5], message
    internals.set_saved_step(ours, 3)
    assert internals.saved_step(ours) == 3


def test_a_resumed_loader_restarts_at_the_restored_position(fit: Fit, tmp_path: Path) -> None:
    positions: list[tuple[int, int]] = []

    class Asks(Net):
        def configure_optimizers(self) -> torch.optim.Optimizer:
            internals.setup_training_data(self.trainer)
            return super().configure_optimizers()

    class Restarts(Callback):
        def on_train_start(self, trainer: Trainer, *_: Any) -> None:
            internals.restart_loading(trainer)
            positions.append(internals.training_position(trainer))

    fit(Saves(tmp_path / "middle.ckpt", 2), module=Asks())
    counted = Notes(lambda trainer: trainer.fit_loop.epoch_loop.batch_progress.total.ready, "on_train_batch_start")
    with pytest.warns(UserWarning, match="resuming from a checkpoint that ended before the epoch ended"):
        fit(Restarts(), counted, ckpt_path=tmp_path / "middle.ckpt", module=Asks())
    # saved at the start of the third batch, which was fetched and not begun
    assert positions == [(0, 2)], changed("lightning", f"a resumed training starts at {positions}, expected [(0, 2)]")
    assert counted.found == [3, 4, 5], changed("lightning", f"its batches are counted {counted.found}")


class Saves(Callback):
    """Writes a checkpoint before a batch of the first epoch."""

    def __init__(self, path: Path, batch: int, correct: Callable[[dict[str, Any]], None] | None = None) -> None:
        self.path, self.batch, self.correct = path, batch, correct

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == (0, self.batch):
            trainer.save_checkpoint(self.path)

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self.correct is not None:
            self.correct(checkpoint)


def test_the_position_counts_batches_that_are_done(fit: Fit) -> None:
    notes = Notes(internals.training_position, "on_train_batch_start", "on_train_batch_end", "on_train_epoch_end")
    fit(notes, max_epochs=2, limit_train_batches=2)
    expected = [(0, 0), (0, 1), (0, 1), (1, 0), (1, 0), (1, 0), (1, 1), (1, 1), (2, 0), (2, 0)]
    assert notes.found == expected, changed("lightning", f"the loops' counters give {notes.found}")


def test_the_last_batch_is_known(fit: Fit) -> None:
    notes = Notes(internals.is_last_batch, "on_train_batch_end")
    fit(notes)
    assert notes.found == [False] * 4 + [True], changed("lightning", "is_last_batch has changed")


def test_gradients_accumulate_until_the_last_of_two_batches(fit: Fit) -> None:
    notes = Notes(internals.is_accumulating, "on_train_batch_end")
    fit(notes, accumulate_grad_batches=2)
    assert notes.found == [True, False, True, False, False], changed("lightning", "_should_accumulate has changed")


def test_a_training_is_done_after_its_last_step(fit: Fit) -> None:
    notes = Notes(internals.is_training_done, "on_train_batch_end")
    fit(notes, max_steps=5, max_epochs=3)
    assert notes.found == [False] * 4 + [True], changed("lightning", "fit_loop.done has changed")


@pytest.mark.parametrize("by_epoch", [True, False])
def test_max_steps_skips_the_epoch_after_a_checkpoint_unless_it_resumes_by_epoch(
    by_epoch: bool, fit: Fit, tmp_path: Path
) -> None:
    class Resumes(Callback):
        def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
            if by_epoch:
                internals.resume_by_epoch(trainer)

        def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
            trainer.save_checkpoint(tmp_path / f"{trainer.current_epoch}.ckpt")

    fit(Resumes(), max_epochs=1)
    trainer = fit(Resumes(), max_epochs=2, max_steps=1000, ckpt_path=tmp_path / "0.ckpt")
    message = changed("lightning", "a checkpoint from an epoch's end resumes otherwise with max_steps")
    assert trainer.global_step == (10 if by_epoch else 5), message


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before:UserWarning")
def test_a_resumed_training_counts_the_last_step_once(fit: Fit, tmp_path: Path) -> None:
    logged = Notes(lambda trainer: trainer.fit_loop.epoch_loop._batches_that_stepped, "on_train_batch_start")
    path = tmp_path / "middle.ckpt"
    fit(Saves(path, 2, internals.uncount_last_step))
    fit(logged, ckpt_path=path)
    assert logged.found[0] == 2, changed(
        "lightning", f"the third batch of a resumed training is step {logged.found[0]}"
    )


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before:UserWarning")
def test_a_validation_that_a_checkpoint_interrupted_is_done_from_its_first_batch(fit: Fit, tmp_path: Path) -> None:
    class Interrupts(Callback):
        def on_validation_batch_end(
            self, trainer: Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
        ) -> None:
            if batch_idx == 0:
                trainer.save_checkpoint(tmp_path / "validation.ckpt")

        def on_save_checkpoint(self, trainer: Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
            internals.restart_validation(checkpoint)
            assert internals.trained_epochs(checkpoint) == 0

    fit(Interrupts())
    trained, validated = Notes(lambda _: 1, "on_train_batch_start"), Notes(lambda _: 1, "on_validation_batch_start")
    fit(trained, validated, ckpt_path=tmp_path / "validation.ckpt")
    found = (len(trained.found), len(validated.found))
    message = changed("lightning", f"{found} training and validation batches follow, expected (0, 2)")
    assert found == (0, 2), message


def test_the_epochs_of_a_checkpoint_are_those_that_ended(fit: Fit, tmp_path: Path) -> None:
    fit(Saves(tmp_path / "first.ckpt", 1))
    checkpoint = torch.load(tmp_path / "first.ckpt", weights_only=True)
    assert internals.trained_epochs(checkpoint) == 0, changed("lightning", "epoch_progress has changed")
    trainer = fit(max_epochs=3)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert internals.trained_epochs(checkpoint) == 3, changed("lightning", "epoch_progress has changed")


def test_validation_by_the_clock_follows_the_time_that_was_set(fit: Fit) -> None:
    class Early(Callback):
        def on_train_batch_start(self, trainer: Trainer, module: Any, batch: Any, batch_idx: int) -> None:
            last = internals.validation_time(trainer)
            assert last is not None, changed("lightning", "Trainer._last_val_time is gone")
            if batch_idx == 2:
                internals.set_validation_time(trainer, last - 7200)

    validated = Notes(lambda trainer: trainer.fit_loop.epoch_loop.batch_idx, "on_validation_start")
    fit(Early(), validated, val_check_interval="00:01:00:00", check_val_every_n_epoch=None)
    assert validated.found == [2], changed("lightning", "a validation by the clock does not follow _last_val_time")
    assert internals.validation_time(Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)) is None


def in_a_process(code: str) -> list[str]:
    """What a new process prints that has called `import_late`."""
    code = f"import sys; from visiontasks.library_internals import import_late; import_late(); {code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()


needs_known_compiler = pytest.mark.skipif(
    not torch.__version__.startswith(internals.COMPILER_READ_IN), reason=f"torch is not {internals.COMPILER_READ_IN}x"
)


@needs_known_compiler
def test_lightning_and_an_optimizer_leave_out_what_nobody_asks_for() -> None:
    code = "import lightning.pytorch, timm, torch; p = torch.nn.Parameter(torch.ones(2)); p.sum().backward(); "
    code += "torch.optim.AdamW([p]).step(); print(*sys.modules)"
    loaded = in_a_process(code)[-1].split()
    unused = {"sympy", "triton", "torch._inductor", "matplotlib", "scipy.signal", "scipy.stats"} & {*loaded}
    assert not unused, changed("torch", f"a training imports {unused}")


def test_what_was_left_out_is_there_when_it_is_asked_for() -> None:
    code = (
        "import torch, torchmetrics; from lightning.pytorch.utilities.compile import OptimizedModule; "
        "import torch._dynamo.config as config; print(config is torch._dynamo.config, config.__spec__.name); "
        "compiled = torch.compile(torch.nn.Linear(2, 3), backend='eager'); print(compiled(torch.ones(1, 2)).shape[1]); "
        "print(isinstance(compiled, OptimizedModule), isinstance(torch.ones(1), OptimizedModule)); "
        "metric = torchmetrics.MeanMetric(); metric.update(2.0); print(len(metric.plot()[0].axes)); "
        "import scipy.signal; print(scipy.signal.windows.hamming(3)[1])"
    )
    assert in_a_process(code) == ["True torch._dynamo.config", "3", "True False", "1", "1.0"]


@needs_known_compiler
def test_nothing_is_a_compiled_module_before_there_is_a_compiler() -> None:
    code = "from lightning.pytorch.utilities.compile import OptimizedModule; print(isinstance(1, OptimizedModule)); "
    assert in_a_process(f"{code}; print('sympy' in sys.modules)".replace("; ;", ";")) == ["False", "False"]


def test_digits_are_those_of_scikit_learn() -> None:
    digits = load_digits()
    assert internals.digits_file() is not None, changed("scikit-learn", "digits.csv.gz is elsewhere")
    values, labels = scanned_digits()
    np.testing.assert_array_equal(values, digits.images)
    np.testing.assert_array_equal(labels, digits.target)
