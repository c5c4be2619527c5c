"""nginx, with which `serve` is compared."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tests.engines.parts import debian
from tests.engines.parts.debian import Suite, unpack
from tests.engines.parts.part import Part, RecipeError, run

if TYPE_CHECKING:
    from tests.engines.parts.part import Shelf


def _nginx(bed: Shelf, into: Path) -> None:
    scratch = into / "scratch"
    unpack(Suite(bed.root, "bookworm").fetch(scratch / "debs", "nginx"), scratch)
    (scratch / "usr/sbin/nginx").rename(into / "nginx")
    shutil.rmtree(scratch)
    said = run(["sh", "-c", '"$0" -v 2>&1', into / "nginx"]).strip()
    if not said.startswith("nginx version: nginx/1.22."):
        raise RecipeError(f"Debian bookworm no longer has nginx 1.22: {said}")


PARTS = (Part("nginx", _nginx, recipe=(Path(__file__), debian.HERE)),)
