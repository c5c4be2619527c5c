"""Shells that install.sh and the completions must run in, and what reads scripts and man pages."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.engines.parts.part import Part, Shelf

_TOOLS = (
    ("dash", "dash"),
    ("bash", "bash"),
    ("busybox", "busybox-static"),
    ("zsh", "zsh"),
    ("fish", "fish"),
    ("shellcheck", "shellcheck"),
    ("groff", "groff-base"),
)


def _shells(_bed: Shelf, into: Path) -> None:
    for program, _ in _TOOLS:
        (into / program).symlink_to(shutil.which(program) or "")


PARTS = (Part("shells", _shells, recipe=(Path(__file__),), tools=_TOOLS),)
