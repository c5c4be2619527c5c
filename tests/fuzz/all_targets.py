"""Every target, by name. A new reader gets one here."""

from __future__ import annotations

from tests.fuzz import bundles, documents, values
from tests.fuzz.target import Target


def all_targets() -> dict[str, Target]:
    """The targets; their seeds are made anew, in memory."""
    made = (*values.TARGETS, *documents.targets(), *bundles.targets(bundles.make_site()))
    return {target.name: target for target in made}
