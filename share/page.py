"""The commands' own words as a page of the site, in each of its languages.

What stands there between two comments is written anew, the rest is by hand. The program speaks
English: the Chinese of its texts is in `commands.zh.toml`; one that is not there stays as it is.
"""

from __future__ import annotations

import inspect
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airgapbuild.cli import app
from share.commands import panels, parameters, spelling

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from share.commands import Command

_ROOT = Path(__file__).parents[1]
_TEXTS = Path(__file__).with_name("commands.zh.toml")

PAGES: Final = {name: _ROOT / "docs" / name / "commands.md" for name in ("en", "zh")}
"""The page of each language."""

_HEADS: Final = {"en": ("option", "meaning"), "zh": ("选项", "含义")}
_BEGIN, _END = "<!-- commands: `make share` writes them -->\n", "<!-- end of commands -->\n"


def chinese() -> dict[str, str]:
    """The Chinese of the program's texts."""
    return {text["en"]: text["zh"] for text in tomllib.loads(_TEXTS.read_text())["text"]}


def page(language: str) -> str:
    """The whole text of a language's page."""
    head, _, rest = PAGES[language].read_text().partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    texts = chinese() if language == "zh" else {}
    written = ""
    for panel, inside in panels(app).items():
        written += f"\n## {texts.get(panel, panel)}\n"
        written += "".join(_section(command, language, texts) for command in inside)
    return f"{head}{_BEGIN}{written}\n{_END}{tail}"


def english() -> Iterator[str]:
    """All that the commands say, paragraph by paragraph, and of their options; no examples."""
    for panel, inside in panels(app).items():
        yield panel
        for command in inside:
            for block in _blocks(command):
                if not block.startswith(("    ", "**")):
                    yield " ".join(block.split())
            for _, hint in parameters(command.run):
                yield hint.__metadata__[0].help


def _section(command: Command, language: str, texts: Mapping[str, str]) -> str:
    parts = [f"### {command.name}"]
    for block in _blocks(command):
        if block.startswith("    "):
            parts.append(f"```text\n{inspect.cleandoc(block)}\n```")
        elif not block.startswith("**"):
            words = " ".join(block.split())
            parts.append(texts.get(words, words))
    rows = [_row(hint, name, texts) for name, hint in parameters(command.run)]
    table = ["| {} | {} |".format(*_HEADS[language]), "|---|---|", *rows]
    return "\n" + "\n\n".join([*parts, "\n".join(table)]) + "\n"


def _blocks(command: Command) -> list[str]:
    return inspect.cleandoc(command.run.__doc__ or "").split("\n\n")


def _row(hint: Any, name: str, texts: Mapping[str, str]) -> str:  # noqa: ANN401 - Annotated[…]
    names, takes = spelling(hint, name)
    head = " ".join(f"`{word}`" for word in (*names, takes) if word)
    words = hint.__metadata__[0].help
    return "| {} | {} |".format(*(_cell(text) for text in (head, texts.get(words, words))))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
