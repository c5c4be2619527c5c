"""The pages of a list of tags.

Source: OCI distribution specification v1.1, "Listing Tags"; RFC 8288, "Web Linking".
"""

from __future__ import annotations

import json
import re
from typing import Final

from airgapbuild.errors import RegistryError

MAX_PAGE: Final = 1000
"""How many tags are asked for at once; registries may give fewer."""
MAX_PAGES: Final = 100
"""After so many pages the rest is left out: a list without an end must not hold anybody up."""

_LINK = re.compile(r"""<([^<>]*)>\s*;[^<>]*\brel\s*=\s*"?next\b""", re.IGNORECASE)


def tags_of(raw: bytes, what: str) -> list[str]:
    """The tags on one page; none where a repository has none, which some write as null.

    Raises:
        RegistryError: it is no list of tags; `what` begins the message.
    """
    try:
        tags = json.loads(raw)["tags"] or []
    except (ValueError, LookupError, TypeError, RecursionError):
        tags = None
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise RegistryError(f"{what} came as something else", hint="is it a registry?", status=200)
    return tags


def next_query(link: str) -> str | None:
    """The query that a Link header gives for the next page; None on the last one.

    Only the query is taken: behind a reverse proxy many a registry names itself wrongly, and a
    link must not lead a login elsewhere.
    """
    found = _LINK.search(link)
    return found[1].partition("?")[2].partition("#")[0] or None if found else None
