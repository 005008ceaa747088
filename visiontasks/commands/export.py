"""The command `export`: writes a run for other programs."""

import argparse
from collections.abc import Sequence

from visiontasks.commands.printing import print_exported
from visiontasks.export import export


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Export and print what was written."""
    made = export(
        arguments.run,
        arguments.folder,
        form=arguments.format,
        images=arguments.images,
        unknown=arguments.unknown,
        hub_name=arguments.push_to_hub,
    )
    print_exported(made.folder, made.files, made.checked, made.address)
