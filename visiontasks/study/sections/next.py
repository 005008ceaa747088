"""Which unlabelled images are worth labelling."""

from collections.abc import Mapping
from typing import Any

from visiontasks.report import html


def section(content: Mapping[str, Any]) -> str:
    """The chosen images with what is predicted of them, below whether choosing beats chance."""
    shown = content["chosen"][: len(content["pictures"])]
    figures = [_figure(each, uri) for each, uri in zip(shown, content["pictures"], strict=True)]
    more = len(content["chosen"]) - len(shown)
    errors = [[file, error] for file, error in content["errors"].items()]
    return html.section(
        "Which images to label next?",
        html.paragraph(_verdict(content)),
        html.paragraph(
            f"{len(content['chosen']):,} of {content['unlabelled']:,} unlabelled images: their class is uncertain to a "
            "linear head on frozen features, and they differ from each other. "
            f"{content['duplicates']:,} near duplicates were left out. The margin is how much less probable the second "
            "class is. The list is in next.csv."
        ),
        f'<div class="pictures">{"".join(figures)}</div>',
        html.paragraph(f"{more:,} more are in next.csv") if more > 0 else "",
        html.folded("images that could not be read", html.table(["image", "error"], errors)) if errors else "",
    )


def _verdict(content: Mapping[str, Any]) -> str:
    replay = content["replay"]
    if replay is None:
        return (
            f"Whether choosing beats chance is not known: a replay takes {content['needed']:,} labelled images, there "
            f"are {content['n']:,}."
        )
    verdict = content["verdict"]
    return (
        f"{verdict[0].upper()}{verdict[1:]} (p = {replay['p']:.2g}). In a replay, heads with {replay['labels']:,} "
        f"labels reach {html.percent(replay['chosen'])} where half of the labels were chosen so, and "
        f"{html.percent(replay['random'])} where they were random: {100 * replay['difference']:+.1f} points "
        f"({100 * replay['low']:+.1f} to {100 * replay['high']:+.1f}), {replay['repeats']} repeats, judged by "
        f"{replay['n']:,} images."
    )


def _figure(each: Mapping[str, Any], uri: str) -> str:
    name = html.escaped(html.shortened(each["name"]))
    return (
        f'<figure><img src="{uri}" alt="{name}"><figcaption>{html.escaped(each["predicted"])} '
        f'{html.certainty(each["probability"])}, margin {each["margin"]:.2f}<br><span class="pale">{name}</span>'
        "</figcaption></figure>"
    )
