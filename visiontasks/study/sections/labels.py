"""Which labels are probably wrong: a page to correct them, whose button saves corrections.csv; no file changes."""

from collections.abc import Mapping, Sequence
from typing import Any

from visiontasks.report import html

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


def section(content: Mapping[str, Any]) -> str:
    """What was found, and each suspect with its picture and a choice of classes."""
    wrong = content["wrong"]
    head = f"{content['agreeing']:,} of {content['n']:,} labels are what heads that have not seen them predict."
    head += (
        f" About {wrong['count']} labels are wrong ({wrong['low']} to {wrong['high']}, 95 % interval): counted are "
        "those that differ although the heads' own uncertainty does not explain it."
    )
    return html.section(
        "Which labels are wrong?",
        html.paragraph(head),
        _correcting(content),
    )


def _correcting(content: Mapping[str, Any]) -> str:
    """Each suspect with its picture, its label, what is predicted, and a list to choose the right class from."""
    shown = content["suspects"][: len(content["pictures"])]
    figures = [_figure(each, uri, content["class_names"]) for each, uri in zip(shown, content["pictures"], strict=True)]
    more = len(content["suspects"]) - len(shown)
    return "\n".join(
        [
            '<p><button id="save" type="button">save corrections.csv</button>',
            '<span id="chosen" role="status"></span></p>',
            html.paragraph("A training applies the file: visiontasks finetune ... --data.corrections corrections.csv"),
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
