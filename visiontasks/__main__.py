"""`python -m visiontasks` is the `visiontasks` command."""

import sys

from visiontasks.cli import main

sys.exit(main())
