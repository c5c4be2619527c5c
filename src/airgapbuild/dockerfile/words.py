"""Words of a Dockerfile with their variables put in.

Source: Dockerfile reference, "Environment replacement"; moby/buildkit frontend/dockerfile/shell.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"\d+|\w+|[@*#?$!-]")
_DEEPEST: Final = 100
"""How many words may lie in one another: each takes some of Python's stack."""
_MODIFIER = re.compile(r":?[-+?]|##?|%%?|//?")


def expand(word: str, values: Mapping[str, str], escape: str = "\\") -> str:
    """The word with its quotes taken off and its variables put in; one without a value is empty.

    Raises:
        ValueError: a quote or a brace is not closed, a `${NAME?…}` demands what is not there, or
            too much lies in one another.
    """
    return _Word(word, values, escape).read("")


class _Word:
    """A word while it is read, from left to right."""

    def __init__(self, text: str, values: Mapping[str, str], escape: str) -> None:
        self._text = text
        self._values = values
        self._escape = escape
        self._at = 0
        self._depth = 0

    def read(self, stop: str, *, raw: bool = False) -> str:
        """All up to one of the characters in `stop`, which is passed over; to the end where empty.

        Raw: what is escaped stays so, as it must in a pattern.
        """
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError(f"'{self._text[:40]}…': more than {_DEEPEST} words in one another")
        found = []
        while (char := self._next()) and char not in stop:
            if char == "$":
                found.append(self._variable())
            elif char == "'":
                found.append(self._quoted())
            elif char == '"':
                found.append(self._double_quoted())
            elif char == self._escape:
                found.append(("\\" if raw else "") + self._next())
            else:
                found.append(char)
        if stop and not char:
            raise ValueError(f"'{self._text}': '{stop}' is missing")
        self._depth -= 1
        return "".join(found)

    def _next(self) -> str:
        self._at += 1
        return self._text[self._at - 1 : self._at]

    def _match(self, expression: re.Pattern[str]) -> str:
        found = expression.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return found[0] if found else ""

    def _quoted(self) -> str:
        begin, end = self._at, self._text.find("'", self._at)
        if end < 0:
            raise ValueError(f"'{self._text}': a quote is not closed")
        self._at = end + 1
        return self._text[begin:end]

    def _double_quoted(self) -> str:
        found = []
        while (char := self._next()) != '"':
            if not char:
                raise ValueError(f"'{self._text}': a quote is not closed")
            following = self._text[self._at : self._at + 1]
            if char == "$":
                found.append(self._variable())
            elif char == self._escape and following in {'"', "$", self._escape}:
                found.append(self._next())
            else:
                found.append(char)
        return "".join(found)

    def _variable(self) -> str:
        if self._text[self._at : self._at + 1] != "{":
            name = self._match(_NAME)
            return self._values.get(name, "") if name else "$"
        self._at += 1
        begins_badly = self._text[self._at : self._at + 1] in {"", "{", "}", ":"}
        name, modifier = self._match(_NAME), self._match(_MODIFIER)
        if begins_badly or (not modifier and self._next() != "}"):
            raise ValueError(f"'{self._text}': bad substitution")
        value = self._values.get(name)
        if not modifier:
            return value or ""
        if modifier[0] in "#%":
            return _trimmed(value or "", modifier, self.read("}", raw=True))
        if modifier[0] == "/":
            wanted = _regex(self.read("/", raw=True))
            new = self.read("}", raw=True)
            return re.sub(wanted, lambda _: new, value or "", count=len(modifier) % 2)
        return self._chosen(name, value, modifier)

    def _chosen(self, name: str, value: str | None, modifier: str) -> str:
        word = self.read("}")
        there = bool(value) if modifier[0] == ":" else value is not None
        if modifier[-1] == "+":
            return word if there else ""
        if not there and modifier[-1] == "?":
            raise ValueError(f"{name}: {word or 'has no value'}")
        return value or "" if there else word


def _trimmed(value: str, modifier: str, pattern: str) -> str:
    """The value without what matches at its beginning (`#`) or its end (`%`), the most if twice."""
    wanted = re.compile(_regex(pattern), re.DOTALL)
    ends = range(len(value) + 1)
    if modifier[0] == "#":
        fits = [end for end in ends if wanted.fullmatch(value, 0, end)]
        return value[(fits[-1] if len(modifier) > 1 else fits[0]) :] if fits else value
    fits = [begin for begin in ends if wanted.fullmatch(value, begin)]
    return value[: fits[0] if len(modifier) > 1 else fits[-1]] if fits else value


def _regex(pattern: str) -> str:
    """The regular expression of a shell's pattern of `*` and `?`; a backslash makes them plain."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    meant = {"*": ".*", "?": "."}
    return "".join(meant.get(part) or re.escape(part[-1]) for part in parts)
