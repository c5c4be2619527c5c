"""The newest of CNCF's registry, distribution 3, beside Debian's 2.8 (`registry`)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.engines.parts import golang
from tests.engines.parts.part import Part

if TYPE_CHECKING:
    from tests.engines.parts.part import Shelf

_MODULE = "github.com/distribution/distribution/v3"


def _registry(_bed: Shelf, into: Path) -> None:
    golang.build("distribution", (f"{_MODULE}/cmd/registry",), into)
    (into / "registry").rename(into / "docker-registry")


PARTS = (
    Part(
        "distribution",
        _registry,
        recipe=(Path(__file__), *golang.recipe("distribution")),
        ahead=partial(golang.ahead, "distribution"),
        lane="go",
    ),
)
