"""Which training images are most similar."""

from collections.abc import Mapping
from typing import Any

from visiontasks.ops.metrics import wilson_interval
from visiontasks.report import html


def section(content: Mapping[str, Any]) -> str:
    """Each image with the training images nearest to it."""
    shown = content["queries"][: len(content["pictures"])]
    more = len(content["queries"]) - len(shown)
    errors = [[file, error] for file, error in content["errors"].items()]
    if not shown and not errors:
        return ""
    return html.section(
        "Which training images are similar?",
        html.paragraph(
            f"The nearest of {content['n']:,} training images, by the features that the trained network itself "
            "computes. The distance is 1 minus the cosine of two feature vectors: 0 for the same image, about 1 for "
            "images that have nothing in common."
        ),
        *(_query(query, uris, content["compared"]) for query, uris in zip(shown, content["pictures"], strict=True)),
        html.paragraph(f"{more:,} more images are in similar.json") if more > 0 else "",
        html.folded("images that could not be read", html.table(["image", "error"], errors)) if errors else "",
    )


def _query(query: Mapping[str, Any], uris: Mapping[str, Any], compared: int) -> str:
    text = f"predicted {query['predicted']} ({html.certainty(query['probability'])})"
    if compared:
        low, high = wilson_interval(query["nearer"], compared)
        share = html.percent(query["nearer"] / compared, 0)
        text += (
            f"; {share} ({html.percent(low, 0)} to {html.percent(high, 0)}) of {compared:,} validation images are "
            "nearer to their nearest training image than this one"
        )
    figures = [_figure(uris["image"], query["name"], html.escaped("this image"))]
    figures += [
        _figure(uri, each["name"], f"{html.escaped(each['label'])}<br>distance {each['distance']:.3f}")
        for each, uri in zip(query["neighbours"], uris["neighbours"], strict=True)
    ]
    head = f"<h3>{html.escaped(html.shortened(query['name']))}</h3>"
    return f'{head}{html.paragraph(text)}<div class="pictures">{"".join(figures)}</div>'


def _figure(uri: str, name: str, caption: str) -> str:
    shown = html.escaped(html.shortened(name))
    return (
        f'<figure><img src="{uri}" alt="{shown}"><figcaption>{caption}<br><span class="pale">{shown}</span>'
        "</figcaption></figure>"
    )
