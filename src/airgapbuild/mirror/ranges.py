"""Which part of a blob is asked for.

Source: RFC 9110, section 14 ("Range Requests"), 13.1.5 ("If-Range").
"""

from __future__ import annotations

import re

_ONE = re.compile(r"bytes=[ \t]*(?P<first>\d*)-(?P<last>\d*)[ \t]*", re.ASCII | re.IGNORECASE)
_DIGITS = 19
"""More than a file can be long."""


class UnsatisfiableError(Exception):
    """Nothing of what is asked for is there."""


def parse_range(text: str | None, size: int) -> range | None:
    """The bytes of so many that a Range header asks for; None where the whole is to be given.

    That is so where there is none, where it makes no sense, and where it asks for several ranges:
    a server may always give the whole.

    Raises:
        UnsatisfiableError: all that it asks for lies behind the end.
    """
    found = _ONE.fullmatch(text or "")
    if not found or max(len(found["first"]), len(found["last"])) > _DIGITS:
        return None
    first, last = found["first"], found["last"]
    if not first and not last:
        return None
    if not first:
        asked = range(max(0, size - int(last)), size)
    elif last and int(last) < int(first):
        return None
    else:
        asked = range(int(first), min(int(last) + 1 if last else size, size))
    if not asked:
        raise UnsatisfiableError
    return asked
