"""Root folders with other Pythons, to be entered with chroot."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from tests.engines.parts import debian
from tests.engines.parts.debian import Suite, root_folder
from tests.engines.parts.part import Part, RecipeError, Shelf, run


def _python(suite: str, version: str, bed: Shelf, into: Path) -> None:
    scratch = into.with_name(f"{into.name}-scratch")
    root_folder(
        Suite(bed.root, suite),
        into,
        scratch,
        *("bash", "dash", "coreutils", "ca-certificates", f"python{version}-venv"),
        *("openssh-client", "tar", "zstd"),
    )
    shutil.rmtree(scratch)
    said = run(["chroot", into, f"/usr/bin/python{version}", "--version"])
    if not said.startswith(f"Python {version}."):
        raise RecipeError(f"Debian {suite} has no working Python {version}: {said}")


PARTS = tuple(
    Part(
        f"pythons/{version}", partial(_python, suite, version), recipe=(Path(__file__), debian.HERE)
    )
    for version, suite in {"3.11": "bookworm", "3.13": "trixie", "3.14": "sid"}.items()
)
