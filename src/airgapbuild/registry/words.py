"""Foreign words, made fit to be shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST = 300


def legible(text: str) -> str:
    """A text on one line, without what a terminal would obey, and not too long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _MOST else f"{line[:_MOST]}…"


def words_of(body: bytes, secrets: Iterable[str] = ()) -> str:
    """What a registry or its token server says of an error.

    Empty if it says nothing legible, or repeats one of the secrets.

    Source: OCI distribution specification v1.1, "Error Codes" (`errors[].message`); RFC 6749,
    section 5.2 (`error_description`); Docker Hub's token server says `details`.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    errors = document.get("errors")
    listed = errors if isinstance(errors, list) else []
    words = "; ".join(filter(None, (_first(error, "message", "code") for error in listed)))
    words = words or _first(document, "details", "message", "error_description", "error")
    return "" if any(secret and secret in words for secret in secrets) else legible(words)


def _first(table: object, *keys: str) -> str:
    """The first text under these keys; empty if there is none."""
    if not isinstance(table, dict):
        return ""
    return next((text for key in keys if isinstance(text := table.get(key), str) and text), "")
