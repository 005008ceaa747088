#!/usr/bin/env bash
# jsonargparse 4.53: an implementation of a Protocol is refused if a method returns a narrower type, or accepts a wider one.
#
# A good guess: what a type checker accepts for a Protocol, the command line accepts too. PEP 544 makes a class an
#   implementation by the usual variance: returned types may be narrower, parameter types wider.
# Seen (jsonargparse 4.53.0, mypy 1.15.0, Python 3.11, 2026-11-30), for `make(self, size: int) -> Animal | None`:
#     the same signature       mypy accepts it, jsonargparse accepts it
#     returns Dog              mypy accepts it, jsonargparse: "does not implement protocol Maker"
#     takes size: int | str    mypy accepts it, jsonargparse: "does not implement protocol Maker"
#   So a parameter that is typed by a Protocol, with a default that is such an object, makes every parse of that class
#   fail, and the message names the class, not the method or the type.
# Read: jsonargparse/_typehints.py, implements_protocol: parameters and return type are compared for equality.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=${FINDINGS_PYTHON:-}
if [ -z "$python" ]; then
    python3 -m venv "$folder/venv"
    python=$folder/venv/bin/python
    "$python" -m pip install --quiet 'jsonargparse[signatures]==4.53.0' mypy==1.15.0
fi
cd "$folder"

cat >animals.py <<'EOF'
from typing import Protocol


class Animal: ...


class Dog(Animal): ...


class Maker(Protocol):
    def make(self, size: int) -> Animal | None: ...


class Same:
    def make(self, size: int) -> Animal | None:
        return None


class Narrower:
    def make(self, size: int) -> Dog:
        return Dog()


class Wider:
    def make(self, size: int | str) -> Animal | None:
        return None


makers: list[Maker] = [Same(), Narrower(), Wider()]
EOF

"$python" -m mypy --strict animals.py
"$python" - <<'EOF'
import sys

from animals import Maker
from jsonargparse import ArgumentParser

accepted = {}
for name in ("Same", "Narrower", "Wider"):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--maker", type=Maker)
    try:
        parser.parse_args([f"--maker=animals.{name}"])
        accepted[name] = True
    except Exception as error:
        accepted[name] = "does not implement protocol" not in str(error)
    print(name, "is accepted" if accepted[name] else "is refused")
sys.exit(accepted != {"Same": True, "Narrower": False, "Wider": False})
EOF
