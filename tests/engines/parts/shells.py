"""Shells that install.sh must run in, and the program that reads it for mistakes."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.engines.parts.part import Part, Shelf

_TOOLS = (
    ("dash", "dash"),
    ("bash", "bash"),
    ("busybox", "busybox-static"),
    ("shellcheck", "shellcheck"),
)


def _shells(_bed: Shelf, into: Path) -> None:
    for program, _ in _TOOLS:
        (into / program).symlink_to(shutil.which(program) or "")


PARTS = (Part("shells", _shells, recipe=(Path(__file__),), tools=_TOOLS),)
