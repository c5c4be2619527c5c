"""A registry that has the Referrers API, from a Go program of ours around a library's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.engines.parts import golang
from tests.engines.parts.part import Part

if TYPE_CHECKING:
    from tests.engines.parts.part import Shelf


def _registry(_bed: Shelf, into: Path) -> None:
    golang.build("referrers", ("airgapbuild.test/referrers",), into)
    (into / "referrers").rename(into / "registry")


PARTS = (
    Part(
        "referrers",
        _registry,
        recipe=(Path(__file__), golang.TOOLS / "referrers/main.go", *golang.recipe("referrers")),
        lane="go",
    ),
)
