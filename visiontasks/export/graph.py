"""A trained task as one graph, from pixels of any size to answers about the original image, and its file formats."""

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from visiontasks.data.pipeline.reader import UInt8Array
from visiontasks.errors import InputError
from visiontasks.ops.resampling import TensorGeometry, resize, sides
from visiontasks.outputs.geometry import LETTERBOX_GREY
from visiontasks.predict.engine import missing_packages
from visiontasks.recipe.open_run import FinishedRun

ONNX_FILE, PROGRAM_FILE = "model.onnx", "model.pt2"
_INSTEAD = "Export it as --format folder"
EXAMPLE = (2, 61, 83, 3)  # of sides that nothing divides, so that no size is taken for another

Answer = Mapping[str, np.ndarray[Any, Any]]
Runner = Callable[[UInt8Array], Answer]
"""Runs a file's graph on images (B, H, W, 3)."""


class GraphSizeError(InputError):
    """A graph does not hold for the size of an image."""


class Deployed(nn.Module):
    """A task with the resize before it and the way back to the original image behind it.

    Args:
        trained: The task, which is shared, and how its images were resized.
    """

    def __init__(self, trained: FinishedRun) -> None:
        super().__init__()
        self.task = trained.task
        self.size = trained.image_size
        self.policy = trained.resize

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Predict images of one size.

        Args:
            image: uint8 (B, H, W, 3), RGB, upright, as PIL and OpenCV lay images out.

        Returns:
            What the task's `graph_values` gives, in pixels of the original images.
        """
        size = image.shape[1], image.shape[2]
        if self.policy == "keep":
            rows, columns = sides(image, size, "squash")
            resized = image.permute(0, 3, 1, 2)
        else:
            rows, columns = sides(image, self.size, self.policy)
            resized = resize(image, rows, columns, padding=LETTERBOX_GREY)
        geometry = TensorGeometry(rows, columns, size, is_resized=self.policy != "keep")
        return self.task.graph_values(resized, geometry)


@torch.no_grad()
def trace(trained: FinishedRun) -> ExportedProgram:
    """Make the graph of a task, for any number of images of any size.

    Raises:
        InputError: If torch cannot: something in the network depends on the image's size in a way that no graph has.
    """
    if trained.resize == "keep" and getattr(trained.task, "window", None) is not None:
        raise InputError(
            f"no graph can be made of {_called(trained)} for images of any size: how many windows there "
            f"are depends on it\n{_INSTEAD}, or train it with resize: squash or letterbox, or without window "
            "and with a backbone that takes images of any size"
        )
    image = torch.randint(0, 256, EXAMPLE, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    # Where images keep their size, the network itself refuses what it cannot take, such as less than its stride.
    lengths: tuple[Any, Any] = (Dim.DYNAMIC, Dim.DYNAMIC) if trained.resize == "keep" else (Dim("height"), Dim("width"))
    dynamic = {"image": {0: Dim("batch"), 1: lengths[0], 2: lengths[1]}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself
        try:
            return torch.export.export(
                Deployed(trained).eval(),
                (image,),
                dynamic_shapes=dynamic,
                strict=False,
                prefer_deferred_runtime_asserts_over_guards=True,
            )
        except Exception as error:  # the exporter raises anything from TypeError to its own UserError
            sized = ", or train it with resize: squash or letterbox" if trained.resize == "keep" else ""
            raise InputError(
                f"torch.export cannot make a graph of {_called(trained)} for images of any size: {_first_line(error)}\n"
                f"{_INSTEAD}{sized}"
            ) from error


def save_onnx(program: ExportedProgram, path: Path, *, notes: Mapping[str, str]) -> None:
    """Write a graph as ONNX.

    Args:
        program: What `trace` gave.
        path: The file.
        notes: Metadata of the file, by name.

    Raises:
        InputError: If an operator has no counterpart in ONNX.
    """
    require_onnx()
    outputs = [str(name) for name in program.call_spec.out_spec.context]  # keys of the answer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            made: Any = torch.onnx.export(
                program, dynamo=True, input_names=["image"], output_names=outputs, external_data=False, verbose=False
            )
        except Exception as error:  # as above, and onnxscript's
            raise InputError(
                f"this network cannot be written as ONNX: {_innermost(error)}\n{_INSTEAD}, or as --format torch-export"
            ) from error
    made.model.metadata_props.update(notes)
    made.save(str(path))


def save_program(program: ExportedProgram, path: Path, *, notes: Mapping[str, str]) -> None:
    """Write a graph as torch.export does (.pt2), with files of notes in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, path, extra_files=dict(notes))


def run_onnx(path: Path) -> Runner:
    """Load an ONNX file into onnxruntime, on the CPU.

    Raises:
        InputError: If onnxruntime has not all of its operators.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised too
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own dozen, of which none is public
        raise InputError(f"onnxruntime cannot load {path.name}: {_first_line(error)}\n{_INSTEAD}") from error
    names = [output.name for output in session.get_outputs()]

    def run(image: UInt8Array) -> Answer:
        try:
            return dict(zip(names, session.run(names, {"image": image}), strict=True))
        except Exception as error:  # its own dozen, of which none is public
            raise _refusal(path, image, error) from error

    return run


def run_program(path: Path) -> Runner:
    """Load a .pt2 file, on the CPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.export.load(str(path)).module()

    @torch.no_grad()
    def run(image: UInt8Array) -> Answer:
        try:
            values = module(torch.from_numpy(np.ascontiguousarray(image)))
        except RuntimeError as error:  # a guard on the image's size, which the exporter took from its example
            raise _refusal(path, image, error) from error
        return {name: value.numpy() for name, value in values.items()}

    return run


def require_onnx(form: str = "onnx") -> None:
    """Check that what writes and runs ONNX is installed.

    Args:
        form: The format that needs it.

    Raises:
        InputError: If it is not.
    """
    missing = missing_packages()
    if missing:
        raise InputError(f"--format {form} needs {', '.join(missing)}: pip install 'visiontasks[export]'")


def notes(class_names: tuple[str, ...], preprocessing: Mapping[str, Any]) -> dict[str, str]:
    """Metadata of a graph's file: `classes` and `preprocessing`, as JSON."""
    return {"classes": json.dumps(class_names), "preprocessing": json.dumps(preprocessing)}


def _refusal(path: Path, image: UInt8Array, error: Exception) -> GraphSizeError:
    height, width = image.shape[1:3]
    return GraphSizeError(
        f"{path.name} does not take images of {width}x{height} pixels: {_first_line(error)}\n{_INSTEAD}, or train it "
        "with resize: squash or letterbox"
    )


def _called(trained: FinishedRun) -> str:
    options: dict[str, Any] = trained.recipe["model"]["init_args"]
    return f"{type(trained.task).__name__} with {Path(options['backbone']).name}, resize: {trained.resize}"


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _innermost(error: BaseException) -> str:
    """The cause of a chain, which is what names the operator."""
    while error.__cause__ is not None:
        error = error.__cause__
    return _first_line(error)
