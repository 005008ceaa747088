"""The `visiontasks` command, which is `python -m visiontasks` too."""

import gc
from typing import NoReturn

from visiontasks.commands.main import main
from visiontasks.training.machine import leave


def run() -> NoReturn:
    """Run the command in a process of its own."""
    gc.disable()  # a million objects are made while the libraries are imported, of which none is garbage
    leave(main())


if __name__ == "__main__":
    run()
