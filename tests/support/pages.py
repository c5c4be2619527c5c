"""The shell blocks of a Markdown page, and where each is to be run.

A comment that no reader sees says where the blocks behind it run::

    <!-- in: connected -->
    <!-- in: nowhere, since it would run these tests -->

another one runs what the reader is spared, and another one tells how the next block ends, where it
is not with 0::

    <!-- run: mkdir -p app -->
    <!-- ends with: 5 -->
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SITE = Path(__file__).parents[2] / "docs"
"""The site's pages, in a folder for each language."""

LANGUAGES = ("en", "zh")
"""The first is where commands are run."""

_PARTS = re.compile(
    r"^<!-- in: (?P<world>.+?) -->$"
    r"|^<!-- ends with: (?P<status>\d+) -->$"
    r"|^<!-- run:\s(?P<hidden>.+?)\s-->$"
    r"|^(?P<fence>```+)(?P<language>sh|console)\b[^\n]*\n(?P<shown>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)

_FENCED = re.compile(r"^(```+).*?^\1$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """Commands that stand together."""

    page: Path
    line: int
    world: str | None
    """None where the page does not say it."""
    shown: bool
    """Whether a reader sees it."""
    script: str
    """For bash; of a console what stands behind its prompts."""
    status: int
    """The exit status of its last command."""

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page in their order."""
    text, world, status = page.read_text(), None, 0
    for found in _PARTS.finditer(text):
        if found["world"]:
            world = found["world"]
            continue
        if found["status"]:
            status = int(found["status"])
            continue
        script = found["hidden"] or found["shown"]
        if found["language"] == "console":
            prompts = [line for line in script.splitlines() if line.startswith("$ ")]
            script = "\n".join(line.removeprefix("$ ") for line in prompts)
        line = text.count("\n", 0, found.start()) + 1
        yield Block(page, line, world, bool(found["shown"]), script, status)
        status = 0


def headings(page: Path) -> list[str]:
    """The marks of a page's headings, `##`, in their order."""
    text = _FENCED.sub("", page.read_text())
    return re.findall(r"^(#+) ", text, re.MULTILINE)
