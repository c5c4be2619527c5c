"""How a bundle is packed. What is in it, the lock alone decides."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Packaging:
    """What of a bundle's files is not the lock's business. The same packaging, the same bytes."""

    serial: int | None = None
    """A number of the user's that grows from bundle to bundle; a receiver may refuse older ones."""


DEFAULT_PACKAGING = Packaging()
