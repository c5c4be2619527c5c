"""A Dockerfile's instructions, by BuildKit's own parser.

The package `dockerfile` is that parser, compiled. It is an extra, since it has no wheels for Linux
on arm64 or for musl. It does not tell the directives, whose rules are few; they are read here.

Source: Dockerfile reference, "Parser directives"; moby/buildkit
frontend/dockerfile/parser/directives.go (`DetectSyntax`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airgapbuild.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

_DIRECTIVE = re.compile(r"\s*([a-z][a-z0-9]*)\s*=\s*(.+?)\s*", re.ASCII | re.IGNORECASE)
_KNOWN = frozenset({"syntax", "escape", "check"})


@dataclass(frozen=True)
class Instruction:
    """One instruction."""

    name: str
    """In lower case."""
    words: tuple[str, ...]
    """What follows it, as it is written."""
    flags: tuple[str, ...]
    """`--name=value`."""
    line: int
    trigger: str = ""
    """The instruction behind ONBUILD."""

    def flag(self, name: str) -> tuple[str, ...]:
        """The values of a flag, in order."""
        begin = f"--{name}="
        return tuple(it.removeprefix(begin) for it in self.flags if it.startswith(begin))


@dataclass(frozen=True)
class Dockerfile:
    """A file that a frontend makes a build of: mostly a Dockerfile."""

    name: str
    """Where it was read."""
    text: str

    @cached_property
    def syntax(self) -> str | None:
        """The frontend that it asks for: by `# syntax=`, `// syntax=`, or a JSON object's key."""
        for comment in ("#", "//"):
            if said := self._directives(comment).get("syntax"):
                return said.partition(" ")[0]
        try:
            named = json.loads(_after_shebang(self.text))["syntax"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        return named if isinstance(named, str) else None

    @cached_property
    def escape(self) -> str:
        """The character that takes the meaning of the next one."""
        return self._directives("#").get("escape", "\\")

    @cached_property
    def instructions(self) -> tuple[Instruction, ...]:
        """What it says.

        Raises:
            UsageError: it is no Dockerfile; or the parser is not installed.
        """
        return parse_instructions(self.text, self.name)

    def _directives(self, comment: str) -> dict[str, str]:
        """Those in the first lines; the first line that is none ends them."""
        found: dict[str, str] = {}
        for line in _after_shebang(self.text).split("\n"):
            match = _DIRECTIVE.fullmatch(line.removeprefix(comment))
            if not line.startswith(comment) or match is None:
                break
            if (key := match[1].lower()) not in _KNOWN or key in found:
                break
            found[key] = match[2]
        return found


def read_dockerfile(path: Path) -> Dockerfile:
    """The Dockerfile at a path.

    Raises:
        UsageError: it cannot be read, or is no text.
    """
    try:
        return Dockerfile(str(path), path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except UnicodeError as error:
        raise UsageError(f"{path}: is no text in UTF-8") from error


def parse_instructions(text: str, name: str) -> tuple[Instruction, ...]:
    """The instructions in `text`.

    Raises:
        UsageError: they are none; or the parser is not installed.
    """
    before, nul, _ = text.partition("\0")
    if nul:
        line = before.count("\n") + 1
        raise UsageError(f"{name}:{line}: has a NUL character, where the parser would stop")
    library = _library()
    try:
        return tuple(map(_instruction, library.parse_string(text)))
    except library.GoParseError as error:
        raise UsageError(f"{name}: {error}") from error


def _after_shebang(text: str) -> str:
    return text.partition("\n")[2] if text.startswith("#!") else text


def _instruction(command: Any) -> Instruction:  # noqa: ANN401 - the library has no types
    name = command.cmd.lower()
    trigger = command.original.strip()[len(name) :].strip() if name == "onbuild" else ""
    return Instruction(name, command.value, command.flags, command.start_line, trigger)


def _library() -> Any:  # noqa: ANN401 - the library has no types
    try:
        return import_module("dockerfile")
    except ImportError as error:
        hint = "pip install 'airgapbuild[check]'; where there is no wheel, pip needs Go for it"
        raise UsageError("no parser for Dockerfiles is installed", hint=hint) from error
