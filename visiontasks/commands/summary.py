"""The command `summary`: what a network costs, layer by layer."""

import argparse
from collections.abc import Sequence

from visiontasks.commands.early import image_size
from visiontasks.commands.printing import terminal_width
from visiontasks.summary import summarize_backbone, to_csv, to_json, to_table


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Build the network and print its costs."""
    summary = summarize_backbone(
        arguments.backbone,
        image_size=image_size(arguments),
        in_chans=arguments.in_chans,
        head=arguments.head,
        num_classes=arguments.num_classes,
        classifier=arguments.classifier,
        depth=arguments.depth,
    )
    name = " with ".join(filter(None, [arguments.backbone, arguments.head]))
    if arguments.format == "table":
        image = "x".join(map(str, summary.image))
        print(to_table(summary, title=f"{name} on an image of {image}", width=terminal_width()))
    else:
        print(to_csv(summary) if arguments.format == "csv" else to_json(summary, name=name), end="")
