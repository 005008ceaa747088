"""A classification's network in 8-bit integers, accepted only where it classifies validation images as well as before.

Static quantization by ONNX Runtime (QDQ, activations uint8, weights int8 per channel, MinMax ranges of `CALIBRATED`
training images) of the backbone's convolutions; the head stays in float32. Without VNNI, sums of two products saturate
at 16 bits, and answers then depend on the processor; with weights of 7 bits they cannot. Both are tried, and of those
that pass the gate the one is taken whose probabilities differ least. If neither passes, the convolutions are ordered
by how far each alone moves the features, and the worst 1, 2, 4, 8, ..., at most half of them, stay in float32.
"""

import json
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from visiontasks.data import DataModule
from visiontasks.errors import InputError
from visiontasks.library_internals import cpu_has_vnni
from visiontasks.ops.metrics import mcnemar
from visiontasks.outputs.geometry import place
from visiontasks.predict.engine import (
    FOLDER,
    KEY,
    Extractor,
    check_usable,
    extractor,
    graph_key,
    make_graph,
    open_session,
    open_stored,
    store,
)
from visiontasks.recipe.open_run import FinishedRun

INT8_FILE, GATE = "int8.onnx", "gate"
CALIBRATED = 100
"""Training images, evenly over the split, that give the ranges of activations."""
LEAST_VALIDATED = 50
"""Validation images that the gate needs."""
MARGIN = 0.01
"""Share of validation images that may be right no more, net; at least one image."""
LEAST_P = 0.05
"""Of McNemar's test, below which a loss is no chance."""
MOST_MOVED = 0.02
"""Share of validation and calibration images that may get another class."""
BATCH, PROBED = 16, 16
QUANTIZED = ("Conv", "Add", "Clip", "Relu", "MaxPool", "GlobalAveragePool", "Concat")


@dataclass(frozen=True)
class Gate:
    """What the comparison with the float32 network found.

    Args:
        n: Validation images.
        float_right: Of them, those that the float32 network has right.
        int8_right: The same of the quantized one.
        p: Of McNemar's exact test on these.
        moved: Validation and calibration images whose class differs.
        of: How many these are in all.
        difference: Mean absolute difference of their probabilities.
        reduced: Whether weights have 7 bits, with which answers are the same on any x86 processor.
        kept: Convolutions that stay in float32.
        convolutions: All.
        instructions: For which processors it was accepted.
    """

    n: int
    float_right: int
    int8_right: int
    p: float
    moved: int
    of: int
    difference: float
    reduced: bool
    kept: int
    convolutions: int
    instructions: str

    @property
    def fault(self) -> str:
        """Why it is refused; empty where it is accepted."""
        lost, most = self.float_right - self.int8_right, max(1, int(MARGIN * self.n))
        if lost > most:
            return f"{lost} of {self.n} validation images fewer are right, at most {most} may be"
        if lost > 0 and self.p < LEAST_P:
            return f"validation accuracy falls by more than chance (McNemar p = {self.p:.2g})"
        if self.moved > MOST_MOVED * self.of:
            return f"{self.moved} of {self.of} images get another class, at most {MOST_MOVED:.0%} may"
        return ""

    def summary(self) -> str:
        """The figures in one line."""
        weights = f"{7 if self.reduced else 8}-bit weights"
        return (
            f"{self.int8_right} of {self.n} validation images right, float32 {self.float_right} (McNemar p = "
            f"{self.p:.2g}); {self.moved} of {self.of} images get another class; {weights}, {self.kept} of "
            f"{self.convolutions} convolutions in float32; accepted for {self.instructions}"
        )


@dataclass(frozen=True, eq=False)
class _Images:
    """What a network is compared on: validation images, then calibration images."""

    pixels: Tensor
    label: Tensor
    probability: Tensor
    features: tuple[Tensor, ...]

    @property
    def calibration(self) -> Tensor:
        return self.pixels[len(self.label) :]


def processor() -> str:
    """The kind of processor by which int8 answers differ: architecture, vector instructions, VNNI."""
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}{' VNNI' if cpu_has_vnni() else ''}"


def int8_extractor(trained: FinishedRun) -> Extractor:
    """The features of a run's network in int8.

    The graph is stored in the run's folder; where it was accepted for another kind of processor, or weights or versions
    changed, it is made and accepted anew, which needs the run's data.

    Raises:
        InputError: See `quantize`.
    """
    return extractor(quantize(trained)[0])


def quantize(trained: FinishedRun) -> tuple[Any, bytes, Gate]:
    """The quantized network of a run: session, file and gate; stored ones where they hold here.

    Raises:
        InputError: If packages are missing, the run is no classification, its data is not here, or no network passes.
    """
    check_usable(trained, "int8")
    if not trained.task.outputs.has_one_class:
        raise InputError(f"int8: only classifications have a gate yet, {type(trained.task).__name__} has none")
    import onnxruntime

    path = trained.folder / FOLDER / INT8_FILE
    key = graph_key(trained, "int8", onnxruntime.__version__)
    stored, other = open_stored(path, key), ""
    if stored is not None:
        gate = Gate(**json.loads(stored.get_modelmeta().custom_metadata_map[GATE]))
        if _holds_here(gate):
            return stored, path.read_bytes(), gate
        other = f"\n{path} was accepted for {gate.instructions}, this processor is {processor()}"
    try:
        content, gate = _quantized(trained, key)
    except InputError as error:
        raise InputError(f"{error}{other}") from error
    print(f"int8: {gate.summary()}", file=sys.stderr, flush=True)
    store(content, path)
    return open_session(content), content, gate


def with_outputs(content: bytes, names: Sequence[str] | None, notes: Mapping[str, str]) -> bytes:
    """A graph with only some of its outputs, None for all, and with metadata beside what it has."""
    import onnx

    model = onnx.load_from_string(content)
    for output in list(model.graph.output):
        if names is not None and output.name not in names:
            model.graph.output.remove(output)
    known = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**known, **notes})
    return cast(bytes, model.SerializeToString())


def _holds_here(gate: Gate) -> bool:
    return gate.instructions in (processor(), _any_processor())


def _any_processor() -> str:
    return f"any {platform.machine()}"


def _quantized(trained: FinishedRun, key: str) -> tuple[bytes, Gate]:
    """Make the network, and find which layers stay in float32."""
    images = _images(trained)
    with tempfile.TemporaryDirectory() as folder:
        made = _Quantizer(make_graph(trained, {}), images.calibration, Path(folder))
        if not made.convolutions:
            raise InputError(f"int8: {type(trained.task.backbone).__name__} has no convolutions, so nothing is gained")
        tried = [_tried(trained, made, images, reduced=reduced) for reduced in (True, False)]
        passed = [each for each in tried if not each[1].fault]
        if not passed:
            reduced = min(tried, key=lambda each: each[1].difference)[1].reduced
            passed = _with_float_layers(trained, made, images, reduced=reduced)
        if not passed:
            best = min(tried, key=lambda each: each[1].difference)[1]
            raise InputError(f"int8 is refused: {best.fault}, also with half of the convolutions in float32")
        content, gate = min(passed, key=lambda each: each[1].difference)
        return with_outputs(content, None, {KEY: key, GATE: json.dumps(asdict(gate))}), gate


def _with_float_layers(
    trained: FinishedRun, made: "_Quantizer", images: _Images, *, reduced: bool
) -> list[tuple[bytes, Gate]]:
    """The first network that passes with the worst convolutions in float32; empty without any."""
    worst, count = made.by_harm(images, reduced=reduced), 1
    while count <= len(worst) // 2:
        content, gate = _tried(trained, made, images, reduced=reduced, kept=worst[:count])
        if not gate.fault:
            return [(content, gate)]
        count *= 2
    return []


@torch.no_grad()
def _tried(
    trained: FinishedRun, made: "_Quantizer", images: _Images, *, reduced: bool, kept: Sequence[str] = ()
) -> tuple[bytes, Gate]:
    content = made.quantized([name for name in made.convolutions if name not in kept], reduced=reduced)
    features = _in_batches(extractor(open_session(content)), images.pixels)
    probability = trained.task.class_probability(trained.task.head(*features))
    n = len(images.label)
    before, after = (each[:n].argmax(1) == images.label for each in (images.probability, probability))
    gate = Gate(
        n=n,
        float_right=int(before.sum()),
        int8_right=int(after.sum()),
        p=mcnemar(int((before & ~after).sum()), int((after & ~before).sum())),
        moved=int((images.probability.argmax(1) != probability.argmax(1)).sum()),
        of=len(probability),
        difference=float((images.probability - probability).abs().mean()),
        reduced=reduced,
        kept=len(kept),
        convolutions=len(made.convolutions),
        instructions=_any_processor() if reduced else processor(),
    )
    return content, gate


class _Quantizer:
    """Quantizes a graph, whose ranges are found once.

    Args:
        content: The graph, in float32.
        calibration: Images, uint8 (N, 3, H, W).
        folder: For temporary files.
    """

    def __init__(self, content: bytes, calibration: Tensor, folder: Path) -> None:
        import onnx
        from onnxruntime.quantization import CalibrationDataReader, create_calibrator

        class Images(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self.rest = iter(calibration.unsqueeze(1))

            def get_next(self) -> dict[str, Any] | None:
                image = next(self.rest, None)
                return None if image is None else {"image": image.numpy()}

        self.content, self.path = content, folder / "quantized.onnx"
        graph = onnx.load_from_string(content).graph
        self.convolutions = [node.name for node in graph.node if node.op_type == "Conv"]
        self.others = [node.name for node in graph.node if node.op_type in QUANTIZED and node.op_type != "Conv"]
        source = folder / "float32.onnx"
        source.write_bytes(content)
        calibrator = create_calibrator(
            source,
            list(QUANTIZED),
            augmented_model_path=str(folder / "ranges.onnx"),
            providers=["CPUExecutionProvider"],
        )
        calibrator.collect_data(Images())
        self.ranges = calibrator.compute_data()

    def quantized(self, convolutions: Sequence[str], *, reduced: bool) -> bytes:
        """The graph with these convolutions, and what is between them, in int8."""
        import onnx
        from onnxruntime.quantization import QDQQuantizer, QuantType

        quantizer = QDQQuantizer(
            onnx.load_from_string(self.content),
            True,  # scales per channel
            reduced,
            QuantType.QInt8,
            QuantType.QUInt8,
            self.ranges,
            [*convolutions, *self.others],
            [],
            list(QUANTIZED),
            {},
        )
        quantizer.quantize_model()
        quantizer.model.save_model_to_file(str(self.path), False)
        return self.path.read_bytes()

    def by_harm(self, images: _Images, *, reduced: bool) -> list[str]:
        """Convolutions by how far each alone in int8 moves the features, the farthest first."""
        pixels = images.calibration[:PROBED]
        reference = [part[len(images.label) :][:PROBED] for part in images.features]
        harm = {}
        for name in self.convolutions:
            found = _in_batches(extractor(open_session(self.quantized([name], reduced=reduced))), pixels)
            harm[name] = sum(float((a - b).abs().mean()) for a, b in zip(found, reference, strict=True))
        return sorted(harm, key=lambda name: -harm[name])


@torch.no_grad()
def _images(trained: FinishedRun) -> _Images:
    """The run's validation images, and training images without augmentation."""
    try:
        data = trained.data(split="val")
        data.setup()
        sizes = {split: len(data.source(split)) for split in ("val", "train")}
    except InputError as error:
        raise InputError(f"int8 needs the run's data, which is not here ({error})") from error
    if sizes["val"] < LEAST_VALIDATED:
        raise InputError(
            f"int8 is accepted by at least {LEAST_VALIDATED} validation images, the run has {sizes['val']}: stay "
            "with float32"
        )
    pixels, labels = zip(*_validation(data), strict=True)
    rows = np.unique(np.linspace(0, sizes["train"] - 1, min(CALIBRATED, sizes["train"])).round().astype(int))
    images = torch.cat([*pixels, torch.stack([_training_image(trained, data, row) for row in rows.tolist()])])
    task = trained.task
    features = _in_batches(task.image_features, images)
    return _Images(images, torch.cat(labels), task.class_probability(task.head(*features)), features)


def _validation(data: DataModule) -> Iterator[tuple[Tensor, Tensor]]:
    labels = torch.from_numpy(data.source("val").labels)
    for first in range(0, len(labels), BATCH):
        rows = range(first, min(first + BATCH, len(labels)))
        yield data.batch("val", [(0, row) for row in rows])["image"], labels[first : first + BATCH]


def _training_image(trained: FinishedRun, data: DataModule, row: int) -> Tensor:
    image = data.source("train")[row]["image"]
    resized = place((image.shape[0], image.shape[1]), trained.image_size, trained.resize).image(image)
    return torch.from_numpy(np.ascontiguousarray(resized)).permute(2, 0, 1)


def _in_batches(extract: Extractor, images: Tensor) -> tuple[Tensor, ...]:
    parts = (extract(images[first : first + BATCH]) for first in range(0, len(images), BATCH))
    return tuple(map(torch.cat, zip(*parts, strict=True)))
