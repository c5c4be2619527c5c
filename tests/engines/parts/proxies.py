"""The forward proxy."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.engines.parts import debian
from tests.engines.parts.debian import Suite, unpack
from tests.engines.parts.part import Part, RecipeError, Shelf, run


def _tinyproxy(bed: Shelf, into: Path) -> None:
    scratch = into / "scratch"
    unpack(Suite(bed.root, "bookworm").fetch(scratch / "debs", "tinyproxy-bin"), scratch)
    (scratch / "usr/bin/tinyproxy").rename(into / "tinyproxy")
    shutil.rmtree(scratch)
    said = run([into / "tinyproxy", "-v"]).strip()
    if not said.startswith("tinyproxy 1.11."):
        raise RecipeError(f"Debian bookworm no longer has tinyproxy 1.11: {said}")


PARTS = (Part("proxy", _tinyproxy, recipe=(Path(__file__), debian.HERE)),)
