"""The page on which suspicious labels are looked at and corrected; a click writes corrections.csv, no file changes."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import cv2

from visiontasks.data import DataModule
from visiontasks.outputs.base import UInt8Array
from visiontasks.report import html
from visiontasks.study.labels import Suspect

CORRECTIONS = "corrections.csv"
MOST_PICTURES = 300
LONGEST_PX = 220
_QUALITY = 80


# One row for each image whose choice is not KEEP: file, label as annotated, correct class (empty: left out).
SCRIPT = """
"use strict";
const choices = document.querySelectorAll("select[data-file]");
const quoted = text => '"' + text.replaceAll('"', '""') + '"';
const status = document.getElementById("chosen");
function changed() {
  const rows = [...choices].filter(choice => choice.value !== "keep");
  status.textContent = rows.length + " of " + choices.length + " corrected";
  return rows;
}
choices.forEach(choice => choice.addEventListener("change", changed));
document.getElementById("save").addEventListener("click", () => {
  const lines = changed().map(choice => [choice.dataset.file, choice.dataset.label,
    choice.value === "remove" ? "" : choice.selectedOptions[0].dataset.name].map(quoted).join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([["file,label,correct", ...lines, ""].join("\\n")], {type: "text/csv"}));
  link.download = "corrections.csv";
  link.click();
  URL.revokeObjectURL(link.href);
});
changed();
"""


def pictures(data: DataModule, suspects: Sequence[Suspect]) -> list[str]:
    """The images of the first suspects as data URIs, at most 300."""
    found = []
    for suspect in suspects[:MOST_PICTURES]:
        found.append(_data_uri(data.source(suspect.split)[suspect.row]["image"]))
    return found


def correcting_section(content: Mapping[str, Any]) -> str:
    """Each suspect with its picture, its label, what is predicted, and a list to choose the right class from."""
    shown = content["suspects"][: len(content["pictures"])]
    figures = [_figure(each, uri, content["class_names"]) for each, uri in zip(shown, content["pictures"], strict=True)]
    more = len(content["suspects"]) - len(shown)
    return "\n".join(
        [
            '<p><button id="save" type="button">save corrections.csv</button>',
            '<span id="chosen" role="status"></span></p>',
            f'<div class="pictures large">{"".join(figures)}</div>',
            html.paragraph(f"{more:,} more are in labels.json") if more > 0 else "",
        ]
    )


def _figure(suspect: Mapping[str, Any], uri: str, class_names: Sequence[str]) -> str:
    name, label, predicted = (html.escaped(suspect[key]) for key in ("name", "label", "predicted"))
    options = [f'<option value="keep">keep {label}</option>']
    ordered = [suspect["predicted"], *(each for each in class_names if each != suspect["predicted"])]
    options += [
        f'<option value="class" data-name="{html.escaped(each)}">{html.escaped(each)}</option>'
        for each in ordered
        if each != suspect["label"]
    ]
    options.append('<option value="remove">leave the image out</option>')
    return (
        f'<figure><img src="{uri}" alt="{name}"><figcaption><span class="wrong">{label}</span>: '
        f"{html.certainty(suspect['p_label'])}; {predicted}: {html.certainty(suspect['p_predicted'])}<br>"
        f'<select data-file="{name}" data-label="{label}" aria-label="class of {name}">{"".join(options)}</select><br>'
        f'<span class="pale">{name}</span></figcaption></figure>'
    )


def _data_uri(image: UInt8Array) -> str:
    scale = min(1.0, LONGEST_PX / max(image.shape[:2]))
    size = max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[0]))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    _, content = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(content.tobytes()).decode()}"
