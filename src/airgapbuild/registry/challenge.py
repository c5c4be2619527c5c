"""What a registry wants to see before it answers: WWW-Authenticate, parsed.

Source: RFC 9110, section 11.6.1. A header line may hold several challenges, and several lines are
one list, so the commas between challenges look like those between parameters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - the grammar's word, no secret
_END = r"(?=[ \t]*(?:,|$))"
_GAP = re.compile(r"[ \t,]*")
_SCHEME = re.compile(rf"({_TOKEN})(?:[ \t]+|{_END})")
_TOKEN68 = re.compile(rf"[0-9A-Za-z._~+/-]+=*{_END}")
# An unquoted value is a token by the grammar, but realms have been seen without quotes.
_PARAMETER = re.compile(
    rf"""({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"=][^\s,"]*)){_END}""", re.DOTALL
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True)
class Challenge:
    """One way to authenticate."""

    scheme: str
    """In lower case: `bearer`, `basic`."""
    parameters: Mapping[str, str]
    """Their names in lower case."""


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """The challenges of a WWW-Authenticate header, in order; what follows a syntax error is left.

    Source: RFC 9110, section 11.6.1 and its grammar of `challenge`.
    """
    found: list[tuple[str, dict[str, str]]] = []
    position = 0
    while (position := _skip(_GAP, header, position)) < len(header):
        if found and (match := _PARAMETER.match(header, position)):
            name, quoted, bare = match.groups()
            value = bare if quoted is None else _ESCAPED.sub(r"\1", quoted)
            found[-1][1].setdefault(name.lower(), value)
            position = match.end()
        elif match := _SCHEME.match(header, position):
            found.append((match[1].lower(), {}))
            position = match.end()
            # `Negotiate abc==` has one bare word instead of parameters: nothing for us.
            if not _PARAMETER.match(header, position):
                position = _skip(_TOKEN68, header, position)
        else:
            break
    return tuple(Challenge(scheme, parameters) for scheme, parameters in found)


def _skip(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position
