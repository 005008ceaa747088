"""Grad-CAM in a report: samples beside their maps, the first filters, explained images."""

from visiontasks.report.content import RunContent
from visiontasks.report.examples import caption, image_tag, panels, sample_title
from visiontasks.report.html import escaped, paragraph, section, shortened, zoomable

_FILTERS_PX, _EXPLAINED_PX = 1000, 1000
_GRAD_CAM = (
    "Beside each image the Grad-CAM heat map of the predicted class: red regions raise its score, blue ones do not. It "
    "reveals right predictions for wrong reasons, such as the background (Selvaraju et al., “Grad-CAM”, 2017)."
)


def grad_cam_section(content: RunContent) -> str:
    """Mistakes and other samples beside their maps, and the filters of the first layer."""
    grad_cams = content.grad_cams
    if grad_cams is None:
        return ""
    figures = []
    for picture, overlay in grad_cams.samples:
        title = f"Grad-CAM of {picture.predicted_label}"
        pair = panels({"image": image_tag(picture.image, picture.name), title: image_tag(overlay, title)})
        enlarged = zoomable(pair, sample_title(picture))
        figures.append(f"<figure>{enlarged}{caption(picture, content.score.name)}</figure>")
    filters = ""
    if grad_cams.filters is not None:
        pixels, about = grad_cams.filters
        filters = (
            f'<h3 class="after">Filters of the first layer</h3>'
            f'<div class="filters">{zoomable(image_tag(pixels, about, most_px=_FILTERS_PX), "filters")}</div>'
        ) + paragraph(
            f"{about}, each scaled from its smallest weight (black) to its largest (white). Trained filters respond to "
            "edges, stripes and colours; noise means that the layer learned little, all black that a filter is dead.",
            "pale",
        )
    return section(
        "What the network looks at",
        paragraph(_GRAD_CAM) if figures else "",
        f'<div class="pictures pairs">{"".join(figures)}</div>' if figures else "",
        paragraph(grad_cams.note) if grad_cams.note else "",
        filters,
    )


def explained_section(content: RunContent, most_bytes: int) -> str:
    """Images that `visiontasks explain` wrote about, the newest first, as far as they fit."""
    rows = []
    for each in content.explained:
        pictures = "".join(
            zoomable(panels({title: image_tag(pixels, title, most_px=_EXPLAINED_PX)}), f"{title}, {each.name}")
            for title, pixels in each.pictures.items()
        )
        row = f'<h3 class="after">{escaped(shortened(each.name, 80))}</h3><div class="explained">{pictures}</div>'
        most_bytes -= len(row)
        if most_bytes < 0:
            break
        rows.append(row)
    missing = len(content.explained) - len(rows)
    return section(
        "Explained images",
        paragraph(
            "Written by visiontasks explain, the newest first. Grad-CAM and occlusion: red regions raise the score of "
            "the class. Feature maps: outputs of each stage's last layer, the lighter the larger."
        )
        if rows
        else "",
        *rows,
        paragraph(f"{missing} more would make this page too large.", "pale") if missing else "",
    )
