"""A browser, and what reads a printed page, as Debian has them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.engines.parts.part import Part

if TYPE_CHECKING:
    from tests.engines.parts.part import Shelf

TOOLS: Final = (("chromium", "chromium"), ("pdftotext", "poppler-utils"))


def _browser(_bed: Shelf, into: Path) -> None:
    """Link to the host's own, which need too many libraries to be unpacked beside it."""
    (into / "bin").mkdir()
    for program, _ in TOOLS:
        (into / "bin" / program).symlink_to(shutil.which(program) or "")


PARTS = (Part("browser", _browser, recipe=(Path(__file__),), tools=TOOLS),)
