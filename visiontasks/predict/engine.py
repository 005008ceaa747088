"""Backbones in ONNX Runtime, which computes many convolutional networks faster on a CPU than torch does.

The head and all that comes after it stay in torch, so a task predicts as it always does, from features that agree with
torch's but for the last bits (`MOST_DIFFERENCE`).
"""

import importlib.util
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from torch import Tensor, nn

from visiontasks import __version__
from visiontasks.errors import InputError
from visiontasks.finetuning.features import fingerprint
from visiontasks.recipe.open_run import FinishedRun
from visiontasks.runs.checkpoint import unfinished
from visiontasks.tasks import Task
from visiontasks.tasks.base import Batch

Engine = Literal["torch", "onnx", "int8"]
Extractor = Callable[[Tensor], tuple[Tensor, ...]]
"""Maps images, uint8 (B, 3, H, W), to what a task's head takes."""
FOLDER = "engine"
"""Of a run, with the graphs that were made of its network."""
FLOAT_FILE, KEY = "float32.onnx", "key"
MOST_DIFFERENCE = 1e-4
"""Of a feature from torch's, as a share of the largest one in its batch."""
PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_BACK = "leave --engine out to predict with torch"


class Network(nn.Module):
    """Normalization and backbone of a task, and of a classification its probabilities too."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Map images, uint8 (B, 3, H, W), to `features_0`, ... and, of a classification, `probability`."""
        features = self.task.image_features(image)
        values = {f"features_{i}": part for i, part in enumerate(features)}
        if self.task.outputs.has_one_class and self.task.class_head is not None and len(features) == 1:
            values["probability"] = self.task.class_probability(self.task.head(*features))
        return values


def float_extractor(trained: FinishedRun) -> Extractor:
    """The features of a run's network by ONNX Runtime in float32.

    The graph is stored in the run's folder, and made again where weights or versions changed; where the folder cannot
    be written, each time.

    Raises:
        InputError: If packages are missing, no graph can be made, or its features are too far from torch's.
    """
    check_usable(trained, "onnx")
    path, key = trained.folder / FOLDER / FLOAT_FILE, graph_key(trained)
    stored = open_stored(path, key)
    if stored is not None:
        return extractor(stored)
    content = make_graph(trained, {KEY: key})
    found = extractor(open_session(content))
    _check_same(trained, found)
    store(content, path)
    return found


def check_usable(trained: FinishedRun, engine: Engine) -> None:
    """Refuse what ONNX Runtime cannot compute for a run.

    Raises:
        InputError: If packages are missing, or images differ in size.
    """
    missing = missing_packages()
    if missing:
        raise InputError(f"--engine {engine} needs {', '.join(missing)}: pip install 'visiontasks[fast]', or {_BACK}")
    if trained.resize == "keep":
        raise InputError(f"--engine {engine}: {trained.folder} takes images of any size (resize: keep): {_BACK}")


def missing_packages() -> list[str]:
    """What ONNX needs and is not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def graph_key(trained: FinishedRun, *facts: Any) -> str:
    """A hash of all that a run's graph depends on."""
    known = trained.task.calibration
    sizes = trained.image_size, trained.task.mean.tolist(), trained.task.std.tolist(), known and known.temperature
    versions = __version__, torch.__version__, timm.__version__
    return fingerprint(trained.task, trained.task.modules(), [*sizes, *versions, *facts])


@torch.no_grad()
def make_graph(trained: FinishedRun, notes: Mapping[str, str]) -> bytes:
    """The graph of a run's `Network` for any number of images, as ONNX.

    Args:
        trained: The run.
        notes: Metadata of the file.

    Raises:
        InputError: If torch cannot make one, or the head takes something else than tensors.
    """
    from torch.export import Dim  # with a symbolic algebra

    name, task = type(trained.task).__name__, trained.task
    image = torch.zeros(2, 3, *trained.image_size, dtype=torch.uint8)
    if not all(isinstance(part, Tensor) for part in task.image_features(image)):
        raise InputError(f"--engine: the head of {name} takes lists of maps, which no graph gives: {_BACK}")
    network = Network(task).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself
        try:
            made: Any = torch.onnx.export(
                network,
                (image,),
                dynamo=True,
                input_names=["image"],
                output_names=list(network(image)),
                dynamic_shapes={"image": {0: Dim("batch")}},
                external_data=False,
                verbose=False,
            )
        except Exception as error:  # the exporter raises anything from TypeError to its own errors
            cause = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise InputError(f"--engine: {name} cannot be written as ONNX ({cause.strip()[:200]}): {_BACK}") from error
    made.model.metadata_props.update(notes)
    content: bytes = made.model_proto.SerializeToString()
    return content


def open_session(content: bytes | Path) -> Any:
    """Load a graph into ONNX Runtime, on the CPU, with torch's number of threads.

    Raises:
        InputError: If it cannot be loaded.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised too
    options.intra_op_num_threads = torch.get_num_threads()
    # waiting threads sleep, since a core that another program needs is not theirs
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = str(content) if isinstance(content, Path) else content
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own dozen, of which none is public
        raise InputError(f"onnxruntime cannot load the graph ({str(error).strip()[:200]}): {_BACK}") from error


def open_stored(path: Path, key: str) -> Any:
    """The session of a stored graph; None where there is none, or it is of other weights or versions."""
    if not path.is_file():
        return None
    try:
        session = open_session(path)
    except InputError:  # cut off or damaged: it is made again
        return None
    return session if session.get_modelmeta().custom_metadata_map.get(KEY) == key else None


def store(content: bytes, path: Path) -> None:
    """Write a graph for the next time, if its run has a folder that can be written."""
    if path.parent.parent == Path():  # a task in memory
        return
    with suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        beside = unfinished(path)
        beside.write_bytes(content)
        beside.replace(path)


def extractor(session: Any) -> Extractor:
    """What a session's graph gives for the head."""
    names = [output.name for output in session.get_outputs() if output.name.startswith("features_")]

    def extract(image: Tensor) -> tuple[Tensor, ...]:
        return tuple(map(torch.from_numpy, session.run(names, {"image": image.contiguous().numpy()})))

    return extract


def with_features(batch: Batch, extract: Extractor | None) -> Batch:
    """A batch with the features of its images; as it is without an extractor, so that torch computes them."""
    return batch if extract is None else {**batch, "features": extract(batch["image"])}


@torch.no_grad()
def _check_same(trained: FinishedRun, found: Extractor) -> None:
    image = torch.randint(0, 256, (2, 3, *trained.image_size), generator=torch.Generator().manual_seed(0))
    pixels = image.to(torch.uint8)
    for ours, reference in zip(found(pixels), trained.task.image_features(pixels), strict=True):
        off = float((ours - reference).abs().max() / reference.abs().max().clamp_min(1e-12))
        if not off <= MOST_DIFFERENCE:
            raise InputError(
                f"--engine onnx: features of {type(trained.task).__name__} differ from torch's by {off:.2g} of the "
                f"largest, more than {MOST_DIFFERENCE:g}: {_BACK}"
            )
