"""The README.md of an exported folder: the model card, with the metadata block that the Hugging Face hub reads."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from huggingface_hub import EvalResult, ModelCardData
from timm.models import get_pretrained_cfg

from visiontasks import __version__
from visiontasks.backbones import pyramid_arguments
from visiontasks.export.folder import is_of_timm, without_folders
from visiontasks.export.graph import ONNX_FILE, PROGRAM_FILE
from visiontasks.export.snippets import (
    FEATURES,
    ONNX_USE,
    OUR_USE,
    PROGRAM_CHECK,
    PROGRAM_USE,
    READ,
    READ_16BIT,
    TIMM_CHECK,
)
from visiontasks.recipe.open_run import HEAD, FinishedRun

Format = Literal["folder", "onnx", "torch-export", "int8"]
MOST_NAMES = 40


def model_card(
    trained: FinishedRun,
    result: Mapping[str, Any] | None,
    *,
    form: Format,
    loader: str,
    checked: str,
    name: str,
) -> str:
    """Write the card.

    Args:
        trained: The run.
        result: Its result.json; None where it has none.
        form: The format.
        loader: What `write_folder` gave; of no meaning for the other formats.
        checked: What the export was checked on, and what came out.
        name: Of the model.
    """
    sections = [
        f"---\n{_metadata(trained, result, form=form, loader=loader, name=name)}\n---",
        f"# {name}",
        _introduction(trained),
        "## Use\n\n" + _use(trained, form, loader),
        "## Measured\n\n" + _measured(result),
        f"## Checked\n\n{checked}",
        "## Data and training\n\n" + _training(trained, result),
        "## Licenses\n\n" + _licenses(trained),
    ]
    return "\n\n".join(sections) + "\n"


def _metadata(trained: FinishedRun, result: Mapping[str, Any] | None, *, form: Format, loader: str, name: str) -> str:
    kind = trained.task.hub_task
    of_format = {"onnx": "onnx", "int8": "onnx", "torch-export": "pytorch"}
    library = of_format.get(form, "timm" if loader == "timm" else "pytorch")
    data = str(trained.recipe["data"]["class_path"]).rpartition(".")[2]
    results = [
        EvalResult(
            task_type=kind,
            dataset_type=data.lower(),
            dataset_name=f"{_data_name(trained)}, {(result or {})['split']} split",
            metric_type=metric.partition("/")[2],
            metric_value=entry["value"],
        )
        for metric, entry in (result or {}).get("metrics", {}).items()
    ]
    card = ModelCardData(
        library_name=library,
        pipeline_tag=kind,
        tags=["visiontasks", _architecture(trained)],
        eval_results=results or None,
        model_name=name if results else None,
    )
    return card.to_yaml().strip()


def _introduction(trained: FinishedRun) -> str:
    height, width = trained.image_size
    names = ", ".join(f"`{name}`" for name in trained.class_names[:MOST_NAMES])
    more = f" and {len(trained.class_names) - MOST_NAMES} more" if len(trained.class_names) > MOST_NAMES else ""
    return (
        f"{_architecture(trained)} with {type(trained.task.head).__name__}, which {trained.task.purpose}, made "
        f"by visiontasks {__version__}. Its input has {height} x {width} pixels (resize: {trained.resize}; "
        "`preprocessing.json`).\n\n"
        f"{len(trained.class_names)} classes (`classes.json`): {names}{more}."
    )


def _use(trained: FinishedRun, form: Format, loader: str) -> str:
    if form == "onnx":
        return _onnx_use(trained)
    if form == "int8":
        return _int8_use(trained)
    if form == "torch-export":
        return _program_use(trained) + f"\n\n{trained.task.outputs.graph_values}"
    parts = []
    temperature = trained.task.calibration.temperature if trained.task.calibration else 1.0
    check = TIMM_CHECK.replace("TEMPERATURE", f"{temperature:g}")
    if loader == "timm":
        parts.append(
            "timm loads it. The lines below check it on the stored images, which lie in `check/` as they were and as "
            "the network gets them; run them in this folder.\n\n" + _code(check)
        )
    elif loader == "torch":
        parts.append(
            f"The whole network, from pixels of any size on, is a graph in `{PROGRAM_FILE}`, which torch loads. The "
            "lines below check it on the stored images; run them in this folder.\n\n"
            + _code(PROGRAM_CHECK)
            + f"\n\n{trained.task.outputs.graph_values}"
        )
    else:
        parts.append(
            f"No graph can be made of this network for images of any size, so its head (`{HEAD}`) needs visiontasks."
        )
    parts.append(_backbone_use(trained))
    parts.append("With visiontasks, which checks the stored images:\n\n" + _code(OUR_USE))
    return "\n\n".join(parts)


def _backbone_use(trained: FinishedRun) -> str:
    known = "" if is_of_timm(trained.task) else "import visiontasks.backbones  # registers the architecture with timm\n"
    view = ", ".join(f"{key}={value!r}" for key, value in pyramid_arguments(trained.task.backbone).items())
    return "As a backbone of another project:\n\n" + _code(f"{known}{FEATURES.format(view=view)}")


def _onnx_use(trained: FinishedRun) -> str:
    return (
        f"`{ONNX_FILE}` takes `image`, uint8 (N, H, W, 3), RGB and upright, of any size; resize and normalization are "
        f"in the graph. {trained.task.outputs.graph_values} The file's metadata has `classes` and `preprocessing`.\n\n"
        + _code(ONNX_USE.format(read=_read(trained)))
    )


def _int8_use(trained: FinishedRun) -> str:
    height, width = trained.image_size
    return (
        f"`{ONNX_FILE}` takes `image`, uint8 (N, 3, {height}, {width}), RGB, resized as `preprocessing.json` states; "
        "normalization is in the graph, which returns `probability`, (N, classes). It computes in 8-bit integers; "
        "`int8.json` states for which processors it was accepted, and by what. With weights of 8 bits answers differ "
        "between processors with and without VNNI: export it again on one of the other kind."
    )


def _program_use(trained: FinishedRun) -> str:
    return (
        f"`{PROGRAM_FILE}` takes uint8 (N, H, W, 3), RGB and upright, of any size; resize and normalization are in the "
        "graph.\n\n" + _code(PROGRAM_USE.format(read=_read(trained)))
    )


def _read(trained: FinishedRun) -> str:
    """Lines that decode an image as the run's own evaluation does."""
    return READ if trained.max_16bit is None else READ_16BIT.format(white=trained.max_16bit)


def _measured(result: Mapping[str, Any] | None) -> str:
    if result is None:
        return "This run was not measured: it has no result.json."
    rows = ["| metric | value | 95 % interval | n |", "|---|---|---|---|"]
    for name, entry in result["metrics"].items():
        low_high = entry.get("interval95")
        interval = f"{low_high[0]:.4f} - {low_high[1]:.4f}" if low_high else ""
        rows.append(f"| {name} | {entry['value']:.4f} | {interval} | {entry['n']:,} |")
    for metric, by_class in result.get("class_metrics", {}).items():
        values = ", ".join(f"{name} {'absent' if v is None else f'{v:.4f}'}" for name, v in by_class.items())
        rows.append(f"\n{metric}: {values}")
    if calibration := result.get("calibration"):
        before, after = calibration["before"], calibration["after"]
        rows.append(
            f"\nProbabilities are softmax(logits / {calibration['temperature']:g}); the temperature was chosen on "
            f"{calibration['fitted_on']:,} validation images (`calibration.json`). Expected calibration error "
            f"{before['ece']:.4f} without and {after['ece']:.4f} with it, log loss {before['log_loss']:.4f} and "
            f"{after['log_loss']:.4f}, n = {calibration['n']:,}."
        )
    chosen = (result.get("chosen_by") or {}).get("monitor")
    return "\n".join(rows) + (
        f"\n\nThe epoch was chosen by {chosen}; `metrics.json` has all figures." if chosen else ""
    )


def _training(trained: FinishedRun, result: Mapping[str, Any] | None) -> str:
    options: dict[str, Any] = without_folders(trained.recipe["model"]["init_args"])
    counts = (result or {}).get("data", {}).get("splits", {})
    lines = [f"- data: {_data_name(trained)}" + _counted(counts)]
    lines.append(f"- backbone: {options['backbone']}, weights: {options['weights']}")
    optimizer = options.get("optimizer")
    if isinstance(optimizer, dict):
        given = {k: v for k, v in optimizer["init_args"].items() if k in ("lr", "weight_decay", "momentum")}
        lines.append(f"- optimizer: {optimizer['class_path'].rpartition('.')[2]} {given}")
    trainer, seed = trained.recipe["trainer"], trained.recipe["seed_everything"]
    lines.append(f"- epochs: {trainer.get('max_epochs')}, seed: {seed}, finetune: {_finetune(trained)}")
    versions: Mapping[str, str] = (result or {}).get("versions", {})
    if versions:
        lines.append("- versions: " + ", ".join(f"{package} {number}" for package, number in versions.items()))
    if result is not None:
        lines.append(f"- trained: {result['finished'][:10]}, {result['wall_s']:.0f} s on {_machine(result)}")
    return "\n".join([*lines, "- everything else: `recipe.yaml`"])


def _licenses(trained: FinishedRun) -> str:
    options: dict[str, Any] = trained.recipe["model"]["init_args"]
    cfg = get_pretrained_cfg(str(options["backbone"]))
    named = getattr(cfg, "license", None) if cfg is not None and options["weights"] == "hub" else None
    weights = without_folders(options["weights"] if options["weights"] != "hub" else options["backbone"])
    lines = [
        f"- backbone: the training started from {weights}"
        + (
            f", whose license timm states as {named}"
            if named
            else "; see where these weights are from for their license"
        )
        if options["weights"] != "none" or trained.recipe.get("init_from")
        else f"- backbone: the architecture {_architecture(trained)}, trained from scratch",
        f"- data: {_data_name(trained)}; its license decides what may be done with what was trained on it",
        "- stored images, if there are any in `check/`, are under the license of the data that they come from",
        "- this model: not stated. Add `license:` to the block at the top of this file before it is published",
    ]
    return "\n".join(lines)


def _architecture(trained: FinishedRun) -> str:
    return str(cast(Any, trained.task.backbone).pretrained_cfg["architecture"])


def _data_name(trained: FinishedRun) -> str:
    section = trained.recipe["data"]
    root = without_folders(str(section["init_args"].get("root") or ""))
    kind = str(section["class_path"]).rpartition(".")[2]
    return f"{kind} of `{root}`" if root else kind


def _counted(counts: Mapping[str, int]) -> str:
    return " (" + ", ".join(f"{split} {n:,}" for split, n in counts.items()) + " images)" if counts else ""


def _finetune(trained: FinishedRun) -> str:
    options = trained.recipe.get("finetune") or {}
    sizes = f", images of {options['image_sizes']} px in turn" if options.get("image_sizes") else ""
    frozen = f"{options.get('freeze_epochs', 0)} epochs with the backbone frozen"
    return f"{frozen}, then {options.get('unfreeze', 'all')}{sizes}"


def _machine(result: Mapping[str, Any]) -> str:
    hardware = result.get("hardware", {})
    gpus: Sequence[str] = hardware.get("gpus", [])
    return ", ".join(gpus) if gpus else f"{hardware.get('threads', '?')} threads of a {hardware.get('machine', 'CPU')}"


def _code(text: str) -> str:
    return f"```python\n{text.strip()}\n```"
