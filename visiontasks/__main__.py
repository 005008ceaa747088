"""The `visiontasks` command, which is `python -m visiontasks` too."""

from typing import NoReturn

from visiontasks.cli import main
from visiontasks.machine import hold_garbage, leave


def run() -> NoReturn:
    """Run the command in a process of its own."""
    hold_garbage()
    leave(main())


if __name__ == "__main__":
    run()
