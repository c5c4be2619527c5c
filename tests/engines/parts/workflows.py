"""actionlint, which reads workflows as GitHub does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.engines.parts import golang
from tests.engines.parts.part import Part

if TYPE_CHECKING:
    from tests.engines.parts.part import Shelf


def _actionlint(_bed: Shelf, into: Path) -> None:
    golang.build("actionlint", ("github.com/rhysd/actionlint/cmd/actionlint",), into)


PARTS = (
    Part(
        "actionlint",
        _actionlint,
        recipe=(Path(__file__), *golang.recipe("actionlint")),
        lane="go",
    ),
)
