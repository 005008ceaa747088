"""Whether the studies keep their word, on data whose truth is known.

python bench/study.py QUESTION --help
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

QUESTIONS = sorted(path.stem.replace("_", "-") for path in (Path(__file__).parent / "studies").glob("[!_]*.py"))


def main(words: Sequence[str]) -> None:
    """Prove what the first word names."""
    if not words or words[0] not in QUESTIONS or words[0] == "common":
        sys.exit(f"expected one of {', '.join(name for name in QUESTIONS if name != 'common')}")
    import_module(f"bench.studies.{words[0].replace('-', '_')}").prove(words[1:])


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    main(sys.argv[1:])
