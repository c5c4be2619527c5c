"""OpenSSH: ssh-keygen and ssh-agent, the host's own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tests.engines.parts.part import Part

if TYPE_CHECKING:
    from tests.engines.parts.part import Shelf

_PROGRAMS = ("ssh-keygen", "ssh-agent", "ssh-add")


def _ssh(_bed: Shelf, into: Path) -> None:
    (into / "bin").mkdir()
    for program in _PROGRAMS:
        (into / "bin" / program).symlink_to(shutil.which(program) or "")


PARTS = (
    Part(
        "ssh",
        _ssh,
        recipe=(Path(__file__),),
        tools=tuple((program, "openssh-client") for program in _PROGRAMS),
    ),
)
