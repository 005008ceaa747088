"""A classification in 8-bit integers as an ONNX file for other programs, with what it was accepted by."""

from dataclasses import asdict
from pathlib import Path

from visiontasks.export.folder import preprocessing, write_facts
from visiontasks.export.graph import ONNX_FILE, notes
from visiontasks.export.stored import write_json
from visiontasks.predict.int8 import GATE, quantize, with_outputs
from visiontasks.recipe.open_run import FinishedRun

GATE_FILE = "int8.json"


def write_int8(trained: FinishedRun, folder: Path) -> str:
    """Write the quantized network, from resized images, uint8 (N, 3, H, W), to probabilities, and its gate.

    Args:
        trained: The run.
        folder: An empty folder.

    Returns:
        What it was checked on, and what came out.

    Raises:
        InputError: See `visiontasks.predict.int8.quantize`.
    """
    _, content, gate = quantize(trained)
    known = notes(trained.class_names, preprocessing(trained))
    (folder / ONNX_FILE).write_bytes(with_outputs(content, ["probability"], known))
    write_facts(trained, folder)
    write_json(folder / GATE_FILE, {GATE: asdict(gate)})
    return f"In int8 against float32: {gate.summary()}."
