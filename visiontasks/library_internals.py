"""Everything that visiontasks uses of other libraries without their promise to keep it.

Private names, and the progress counters of Lightning's loops, are touched here and nowhere else, so that a new version
of a library breaks one file, and a test that names what changed (tests/test_library_internals.py).

It is one file below all others, because backbones, data, tasks and training need it alike. Libraries are imported
inside the functions, so that a backbone remains usable without a trainer, and a light command starts without torch.
"""

import atexit
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    import subprocess

    from lightning.pytorch import Trainer
    from lightning.pytorch.callbacks import ModelCheckpoint
    from torch import Tensor, nn
    from torch.utils._python_dispatch import TorchDispatchMode as TorchDispatchMode
    from torch.utils._pytree import tree_leaves as tree_leaves

    Subcommands = argparse._SubParsersAction[Any]  # what add_subparsers returns has no public type

LAZY_NAMES = {
    "TorchDispatchMode": "torch.utils._python_dispatch",  # torch 2.14.1; recommended by torch's own documentation
    "tree_leaves": "torch.utils._pytree",  # torch 2.14.1; torch.utils.pytree, which is public, is not in 2.11 to 2.14
}
"""Names that this module gives out as they are, and their modules; imported when they are first used."""

COMPILER = "torch._dynamo"
COMPILER_READ_IN = "2.14."
"""Versions of torch in which a stand-in for its compiler was tried; others load it at once."""

OPERATORS = {
    "attention": (
        *("_scaled_dot_product_flash_attention", "_scaled_dot_product_flash_attention_for_cpu"),
        *("_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention"),
        "_scaled_dot_product_fused_attention_overrideable",
    ),
    "adaptive average pool": ("_adaptive_avg_pool2d", "_adaptive_avg_pool3d"),
    "softmax": ("_softmax",),
    "rms norm": ("_fused_rms_norm",),
    "batch norm in eval mode": ("_native_batch_norm_legit_no_training",),
    "copy": ("_to_copy",),
    "prelu": ("_prelu_kernel",),
    "view": ("_unsafe_view", "_reshape_alias"),
}
"""Operators of torch.ops.aten to which public functions dispatch (torch 2.14.1, native_functions.yaml)."""


def __getattr__(name: str) -> Any:
    if name in LAZY_NAMES:
        return getattr(import_module(LAZY_NAMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Late(ModuleType):
    """In the place of a module until something is asked of it that it does not have; see `import_late`."""

    def __init__(self, name: str, **attributes: Any) -> None:
        super().__init__(name)
        self.__dict__.update(attributes)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):  # inspect.getmodule asks every module for its __file__
            if self.__name__.startswith(COMPILER):
                _compiler()
            real = import_module(self.__name__)
            if real is not self:
                return getattr(real, name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


class _NoCompiledModule(type):
    """Of the class that Lightning knows as OptimizedModule: nothing is one before the compiler is loaded."""

    def __instancecheck__(cls, instance: object) -> bool:
        return not isinstance(sys.modules[COMPILER], _Late) and isinstance(instance, _compiler().OptimizedModule)


class _CompilerFinder(MetaPathFinder, Loader):
    """Loads the real compiler when a module of it is imported; most of them come with it."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        if not fullname.startswith(f"{COMPILER}.") or not isinstance(sys.modules.get(COMPILER), _Late):
            return None
        folders = _compiler().__path__
        return ModuleSpec(fullname, self) if fullname in sys.modules else PathFinder.find_spec(fullname, folders)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = sys.modules[spec.name]
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = module.__spec__.loader_state if module.__spec__ else None


def import_late() -> None:
    """Import torch and torchmetrics without what they load for others; for a process that runs one of our commands.

    A module stands in for each of them until something else is asked of it:

    - torch._dynamo, torch's compiler, loads sympy and torch.distributed, a sixth of all imports' time. torchvision
      0.29.1 (ops/roi_align.py), lightning 2.6.6 (pytorch/utilities/compile.py) and every optimizer of torch 2.14.1
      (torch/_compile.py, torch/optim/optimizer.py) import it, also where nothing is compiled:
      https://github.com/pytorch/pytorch/issues/104053 is why optimizers do. torch.compile and torch.export load it.
    - triton, for the counter of operations that Lightning's model summary imports (torch/utils/flop_counter.py).
    - matplotlib.pyplot, for `Metric.plot` (torchmetrics 1.9.0, utilities/plot.py), which still works.
    - scipy.signal, which loads scipy.stats and parses the docstrings of both: torchmetrics (__init__.py,
      functional/audio/__init__.py) adds `hamming` to it for SRMRpy.
    """
    import torch

    if COMPILER not in sys.modules and torch.__version__.startswith(COMPILER_READ_IN):
        utilities = _Late(f"{COMPILER}.utils", is_compile_supported=_supports_compile)
        late = _Late(
            COMPILER,
            __path__=[],
            utils=utilities,
            disable=lambda fn, *_, **__: fn,
            graph_break=lambda *_, **__: None,
            OptimizedModule=_NoCompiledModule("OptimizedModule", (), {}),
        )
        sys.modules |= {late.__name__: late, utilities.__name__: utilities}
        torch._dynamo = late
        sys.meta_path.insert(0, _CompilerFinder())
    if "torch.utils.flop_counter" not in sys.modules and "triton" not in sys.modules:
        jit = _Late("triton.runtime.jit", JITFunction=type("JITFunction", (), {}))
        with _shown(_Late("triton", __path__=[]), _Late("triton.runtime", __path__=[]), jit):
            import torch.utils.flop_counter
    if "torchmetrics" not in sys.modules and "matplotlib" not in sys.modules and version("torchmetrics")[:4] == "1.9.":
        axes, colors = _Late("matplotlib.axes", Axes=object), _Late("matplotlib.colors", Colormap=object)
        plot = _Late("matplotlib.pyplot", Figure=object, style=SimpleNamespace(context=_plot_style))
        library = _Late("matplotlib", axes=axes, colors=colors, pyplot=plot)
        with _shown(library, axes, colors, plot, _Late("scipy.signal", hamming=None)):
            import torchmetrics  # noqa: F401


@contextmanager
def _shown(*modules: ModuleType) -> Iterator[None]:
    """Have modules in the place of those of the same name."""
    there = {module.__name__: module for module in modules if module.__name__ not in sys.modules}
    sys.modules |= there
    try:
        yield
    finally:
        for name in there:
            del sys.modules[name]


def _plot_style(style: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """matplotlib.pyplot.style.context as a decorator."""

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def inner(*args: Any, **kwargs: Any) -> Any:
            with import_module("matplotlib.pyplot").style.context(style):
                return function(*args, **kwargs)

        return inner

    return decorated


def _compiler() -> ModuleType:
    """The real torch._dynamo."""
    if isinstance(sys.modules[COMPILER], _Late):
        for name in (COMPILER, f"{COMPILER}.utils"):
            del sys.modules[name]
        del sys.modules["torch"]._dynamo
        import_module(COMPILER)
    return sys.modules[COMPILER]


def _supports_compile(kind: str) -> bool:
    return bool(_compiler().utils.is_compile_supported(kind))


def run_exit_functions() -> None:
    """Run what was registered with atexit, for a process that ends by os._exit.

    CPython 3.11, Modules/atexitmodule.c; multiprocessing's own children do the same (Lib/multiprocessing/process.py).
    """
    atexit._run_exitfuncs()


def operators(purpose: str) -> tuple[Any, ...]:
    """Operators of torch.ops.aten by what they compute, a key of OPERATORS."""
    import torch

    return tuple(getattr(torch.ops.aten, name) for name in OPERATORS[purpose])


def storage_id(tensor: "Tensor") -> int:
    """A number of the memory that a tensor is a view of, also on "meta", where all addresses are 0.

    torch 2.14.1, torch/storage.py. It is the address of a C++ object: keep the storage, or the number is used again.
    """
    return int(tensor.untyped_storage()._cdata)


def is_compiled(module: "nn.Module") -> bool:
    """Whether a module is a wrapper that torch.compile returned (torch 2.14.1, torch/_dynamo/eval_frame.py).

    https://github.com/pytorch/pytorch/pull/101651: there is no public way to the module inside.
    """
    return hasattr(module, "_orig_mod")


def uncompiled(module: "nn.Module") -> "nn.Module":
    """The module inside torch.compile's wrapper, or the module itself; see `is_compiled`."""
    inner: nn.Module = getattr(module, "_orig_mod", module)
    return inner


def is_compile_error(error: BaseException) -> bool:
    """Whether torch.compile raised an error itself (torch 2.14.1, torch/_dynamo/exc.py)."""
    import torch._dynamo.exc

    return isinstance(error, torch._dynamo.exc.TorchDynamoException)


def cpu_has_bfloat16() -> bool:
    """Whether the processor has AVX512_BF16, and oneDNN was built with bfloat16 and may use it.

    Without it torch's convolutions round sums to bfloat16 on the way and take many times as long as in float32:
    https://github.com/pytorch/pytorch/pull/86550. Neither question is enough. The first asks the processor, whatever
    oneDNN may use (ONEDNN_MAX_CPU_ISA); the second is also true where AVX-512 alone emulates bfloat16. torch 2.14.1,
    torch/cpu/__init__.py and aten/src/ATen/native/mkldnn/Utils.h.
    """
    import torch

    has_instructions = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # only on x86
    if has_instructions is None or not has_instructions():
        return False
    is_built = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return is_built and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def cpu_has_vnni() -> bool:
    """Whether the processor multiplies 8-bit integers without saturation at 16 bits (AVX512_VNNI).

    torch 2.14.1, torch/cpu/__init__.py.
    """
    import torch

    has_instructions = getattr(torch.cpu, "_is_vnni_supported", None)  # only on x86
    return has_instructions is not None and bool(has_instructions())


def timm_arguments(model: "nn.Module") -> dict[str, Any]:
    """Arguments that timm built a model with, as its factory stored them; empty for other modules.

    timm 1.0.31, timm/models/_input.py. The public `get_model_args` drops and replaces some, so that another network
    would be built.
    """
    return dict(getattr(model, "_model_args", {}))


def save_timm_config(model: "nn.Module", path: str, *options: Any, **data: Any) -> None:
    """Write a model's config.json without its weights (timm 1.0.31, timm/models/_hub.py).

    The public `save_for_hf` writes both. Options are those of timm's `save_config_for_hf`.
    """
    from timm.models._hub import save_config_for_hf

    save_config_for_hf(model, path, *options, **data)


@contextmanager
def replaced_weight_loading(make: Callable[[Callable[..., None]], Callable[..., None]]) -> Iterator[None]:
    """Put a function in the place of the one by which timm fills a network that it has built.

    timm 1.0.31, timm/models/_builder.py. timm maps foreign tensor names, adapts the first convolution and drops the
    classifier there, between building the network and cutting the feature maps out of it, and a file of one's own
    cannot enter there: https://github.com/huggingface/pytorch-image-models/issues/488.

    Args:
        make: Gets timm's function and returns the one to call instead.
    """
    import timm.models._builder

    builder: Any = timm.models._builder
    original = builder.load_pretrained
    builder.load_pretrained = make(original)
    try:
        yield
    finally:
        builder.load_pretrained = original


def replace_box_transform(transform: Any, move: Callable[..., Any]) -> None:
    """Let an albumentations transform move boxes by a function instead of by its `apply_to_bboxes`.

    albumentations 2.0.8, core/transforms_interface.py: the only place where a transform that is already built looks its
    functions up. The library is no longer maintained, so the boxes that are half a pixel off will remain.
    """
    transform._key2func["bboxes"] = move


def digits_file() -> Path | None:
    """scikit-learn's file of 1,797 digits, rows of 64 values and a label; None if it is elsewhere.

    scikit-learn 1.9, sklearn/datasets/_base.py. `load_digits`, which is public, needs an import of 0.7 s.
    """
    package = find_spec("sklearn")
    folders = package.submodule_search_locations if package else None
    path = Path(folders[0], "datasets", "data", "digits.csv.gz") if folders else None
    return path if path and path.is_file() else None


def pads_evaluation(trainer: "Trainer") -> bool:
    """Whether Lightning repeats samples so that each process evaluates as many, which changes the metrics.

    lightning 2.6.6, trainer/connectors/accelerator_connector.py; Trainer keeps the option nowhere else.
    https://github.com/Lightning-AI/pytorch-lightning/issues/7929
    """
    return bool(trainer._accelerator_connector.use_distributed_sampler)


def disable_signal_handlers(trainer: "Trainer") -> None:
    """Leave SIGTERM to us; lightning 2.6.6, trainer/connectors/signal_connector.py.

    Its handler waits for all other processes, also where one of them cannot answer.
    """
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]


def launch_by(trainer: "Trainer", launch: "Callable[[Callable[[], list[subprocess.Popen[Any]]]], None]") -> bool:
    """Start this machine's other processes by our function, where Lightning would start them.

    lightning 2.6.6, strategies/launchers/subprocess_script.py. Its observer of the processes kills all of them, this
    one too, without a message when one ends; here it gets none to observe.

    Args:
        trainer: Has not started its processes yet.
        launch: Gets a function that starts them and returns them.

    Returns:
        False if this trainer starts no processes, or something else starts them (torchrun, SLURM).
    """
    from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

    launcher = trainer.strategy.launcher
    if type(launcher) is not _SubprocessScriptLauncher or launcher.cluster_environment.creates_processes_externally:
        return False
    start = launcher._call_children_scripts

    def start_unobserved() -> "list[subprocess.Popen[Any]]":
        start()
        children, launcher.procs = launcher.procs, []
        return children

    launcher._call_children_scripts = lambda: launch(start_unobserved)  # type: ignore[method-assign]
    return True


def set_saved_step(callback: "ModelCheckpoint", step: int) -> None:
    """Set the step of the last save, after which a ModelCheckpoint saves no second time; its state does not hold it.

    lightning 2.6.6, callbacks/model_checkpoint.py.
    """
    callback._last_global_step_saved = step


def saved_step(callback: "ModelCheckpoint") -> int:
    """The step of the last save, see `set_saved_step`."""
    return callback._last_global_step_saved


def set_saved_step_before_saving(callback: "ModelCheckpoint") -> None:
    """Let a save contain its own step; Lightning sets it after the save, see `set_saved_step`."""
    save = callback._save_checkpoint

    def save_with_step(trainer: "Trainer", filepath: str) -> None:
        set_saved_step(callback, trainer.global_step)
        save(trainer, filepath)

    callback._save_checkpoint = save_with_step  # type: ignore[method-assign]


def setup_training_data(trainer: "Trainer") -> None:
    """Let the trainer count its training batches in `configure_optimizers`; lightning 2.6.6, loops/fit_loop.py."""
    trainer.fit_loop.setup_data()


def restart_loading(trainer: "Trainer") -> None:
    """Start a resumed training's loader again, now that the checkpoint is loaded; call it in `on_train_start`.

    lightning 2.6.6, loops/fit_loop.py: `setup_training_data` in `configure_optimizers` opens the loader before the
    progress is restored: https://github.com/Lightning-AI/pytorch-lightning/issues/20550. A batch that was only begun is
    done again and counted once.
    """
    loop = trainer.fit_loop
    if not loop.is_resuming or loop._data_fetcher is None:
        return
    iter(loop._data_fetcher)
    batches: Any = loop.epoch_loop.batch_progress.total
    batches.ready = min(batches.ready, batches.started)


def training_position(trainer: "Trainer") -> tuple[int, int]:
    """Epoch, and batches of it that are done, at which the next iterator over training data has to start.

    lightning 2.6.6, loops/progress.py: the loops' counters, which a checkpoint restores before `trainer.current_epoch`.
    """
    epochs: Any = trainer.fit_loop.epoch_progress.current
    batches: Any = trainer.fit_loop.epoch_loop.batch_progress
    if epochs.started == epochs.processed:
        return epochs.processed, 0  # between two epochs, where the batch count is still the last epoch's
    if batches.is_last_batch and batches.current.processed == batches.current.ready:
        # Resumed after an epoch's last batch: Lightning trains the next epoch with this very iterator.
        return epochs.processed + 1, 0
    return epochs.processed, batches.current.processed  # a batch that was only begun is done again


def is_last_batch(trainer: "Trainer") -> bool:
    """Whether the batch that was fetched last is the epoch's last (lightning 2.6.6, loops/training_epoch_loop.py)."""
    return trainer.fit_loop.epoch_loop.batch_progress.is_last_batch


def is_accumulating(trainer: "Trainer") -> bool:
    """Whether the last batch's gradients wait for another batch's (lightning 2.6.6, loops/training_epoch_loop.py)."""
    return trainer.fit_loop._should_accumulate()


def is_training_done(trainer: "Trainer") -> bool:
    """Whether the last epoch or step is done, or the training was stopped (lightning 2.6.6, loops/fit_loop.py)."""
    return trainer.fit_loop.done


def resume_by_epoch(trainer: "Trainer") -> None:
    """Let a trainer with max_steps resume from the end of an epoch, as one with max_epochs does.

    lightning 2.6.6, loops/fit_loop.py: with max_steps, even one that is never reached, the loop takes every checkpoint
    for one from within an epoch, and counts the epoch after one from an epoch's end without training it.
    https://github.com/Lightning-AI/pytorch-lightning/issues/19617
    """
    trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]


def uncount_last_step(checkpoint: dict[str, Any]) -> None:
    """Correct a checkpoint that is saved before a batch: a resumed loop counts the last step again.

    lightning 2.6.6, loops/training_epoch_loop.py, `reset`. Loggers would be one step ahead:
    https://github.com/Lightning-AI/pytorch-lightning/issues/19367
    """
    checkpoint["loops"]["fit_loop"]["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1


def restart_validation(checkpoint: dict[str, Any]) -> None:
    """Correct a checkpoint that is saved before or within a validation, so that all of it is done when resumed.

    lightning 2.6.6, loops/evaluation_loop.py: it goes on after the batches counted, or leaves the validation out.
    https://github.com/Lightning-AI/pytorch-lightning/issues/19549
    """
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
    done = progress["total"]["completed"] - progress["current"]["completed"]
    progress["total"] |= {"ready": done + 1, "started": done + 1, "processed": done, "completed": done}
    progress["current"] |= dict.fromkeys(progress["current"], 0)
    progress["is_last_batch"] = False


def trained_epochs(checkpoint: Mapping[str, Any]) -> int:
    """Epochs that a checkpoint's training has finished (lightning 2.6.6, loops/progress.py)."""
    return int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])


def validation_time(trainer: "Trainer") -> float | None:
    """When the last validation by the clock was (val_check_interval 00:01:00:00), by time.monotonic; None if never.

    lightning 2.6.6, loops/fit_loop.py.
    """
    return getattr(trainer, "_last_val_time", None)


def set_validation_time(trainer: "Trainer", seconds: float) -> None:
    """Set when the last validation by the clock was, see `validation_time`; checkpoints do not hold it."""
    trainer._last_val_time = seconds  # type: ignore[attr-defined]  # set outside of its class
