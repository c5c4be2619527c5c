"""Every target, by name. A new reader gets one here."""

from __future__ import annotations

from tests.fuzz import bundles, documents, values
from tests.fuzz.target import Target
from tests.support.forgery import COMPACT


def all_targets() -> dict[str, Target]:
    """The targets; their seeds are made anew, in memory."""
    made = (
        *values.TARGETS,
        *documents.targets(),
        *bundles.targets(bundles.make_site()),
        *bundles.compact_targets(bundles.make_site(COMPACT)),
    )
    return {target.name: target for target in made}
