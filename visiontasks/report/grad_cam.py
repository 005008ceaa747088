"""Grad-CAM in a report: samples beside their maps, the first filters, explained images."""

from visiontasks.report.content import RunContent
from visiontasks.report.examples import caption, image_tag, titled
from visiontasks.report.html import escaped, paragraph, section, shortened

_FILTERS_PX, _EXPLAINED_PX = 1000, 1000
_GRAD_CAM = (
    "Each image as the network gets it, and beside it where it finds the predicted class: red places speak "
    "for that class, blue ones do not. A right answer for a wrong reason shows here (Grad-CAM, Selvaraju et al., 2017)."
)


def grad_cam_section(content: RunContent) -> str:
    """Mistakes and other samples beside their maps, and the filters of the first layer."""
    grad_cams = content.grad_cams
    if grad_cams is None:
        return ""
    figures = []
    for picture, overlay in grad_cams.samples:
        called = f"speaks for {picture.predicted_label}"
        pair = titled(image_tag(picture.image, picture.name), "image") + titled(image_tag(overlay, called), called)
        figures.append(f'<figure><div class="pair">{pair}</div>{caption(picture, content.score.name)}</figure>')
    filters = ""
    if grad_cams.filters is not None:
        pixels, about = grad_cams.filters
        filters = (
            f'<h3 class="after">Filters of the first layer</h3>'
            f'<div class="filters">{image_tag(pixels, about, most_px=_FILTERS_PX)}</div>'
        ) + paragraph(
            f"{about}, each from its smallest weight, black, to its largest, white; one that is black does nothing. "
            "In a trained network most look for edges, stripes and colours: noise means that little was learned.",
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
    """Images that `visiontasks explain` was asked about, the newest first, as far as they fit."""
    rows = []
    for each in content.explained:
        pictures = "".join(
            titled(image_tag(pixels, title, most_px=_EXPLAINED_PX), title) for title, pixels in each.pictures.items()
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
            "What visiontasks explain wrote, the newest first. Grad-CAM and occlusion: red places speak for the class. "
            "Feature maps: what the last layer of each stage gives, light where it is much."
        )
        if rows
        else "",
        *rows,
        paragraph(f"{missing} more would make this page too large.", "pale") if missing else "",
    )
