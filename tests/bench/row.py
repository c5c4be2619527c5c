"""A row of the table."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tests.bench.measure import Tool
from tests.bench.stage import Stage


@dataclass(frozen=True)
class Row:
    """A piece of work, and the tools that do it."""

    name: str
    what: str
    """What each tool does, what is warm and what is fresh, and what the figures leave out."""
    tools: Callable[[Stage], AbstractContextManager[list[Tool]]]
    """Sets up what the tools need for all rounds."""
