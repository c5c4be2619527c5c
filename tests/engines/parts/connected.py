"""What the connected side meets on its way: a forward proxy, a credential helper."""

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


def _keychain(bed: Shelf, into: Path) -> None:
    """Take the helper that keeps logins in pass, and pass, which is a script around gpg."""
    scratch = into / "scratch"
    packages = ("golang-docker-credential-helpers", "pass")
    unpack(Suite(bed.root, "bookworm").fetch(scratch / "debs", *packages), scratch)
    (into / "bin").mkdir()
    for program in ("docker-credential-pass", "pass"):
        (scratch / "usr/bin" / program).rename(into / "bin" / program)
    shutil.rmtree(scratch)


_RECIPE = (Path(__file__), debian.HERE)

PARTS = (
    Part("proxy", _tinyproxy, recipe=_RECIPE),
    Part("keychain", _keychain, recipe=_RECIPE, tools=(("gpg", "gpg"),)),
)
