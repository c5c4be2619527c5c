"""How a bundle is packed. What is in it, the lock alone decides."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Packaging:
    """What of a bundle's files is not the lock's business. The same packaging, the same bytes."""

    serial: int | None = None
    """A number of the user's that grows from bundle to bundle; a receiver may refuse older ones."""
    part_size: int | None = None
    """How many bytes of a tarball one file holds at most; None for all of them."""


DEFAULT_PACKAGING = Packaging()
