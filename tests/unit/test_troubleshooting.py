"""The page on errors has the words of each failure that was recorded, to be found by."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

LOGS = sorted((Path(__file__).parent / "build_logs").glob("*.log"))
PAGES = Path(__file__).parents[2] / "docs"
_QUOTING = re.compile(r"^### `.+`$|^(?:Also: |也可能是\W)(?:.+\n)+", re.MULTILINE)


def searched(language: str) -> list[str]:
    """What the headings quote, and the lines below them with the same error in other words."""
    text = (PAGES / language / "troubleshooting.md").read_text()
    return [it for found in _QUOTING.finditer(text) for it in re.findall("`(.+?)`", found[0])]


def pattern(quoted: str) -> str:
    """An ellipsis stands for anything on a line."""
    return ".*?".join(map(re.escape, quoted.split("…")))


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_each_failure_has_its_heading(log: Path, language: str) -> None:
    said = log.read_text()
    assert any(re.search(pattern(it), said) for it in searched(language))


def test_both_languages_quote_the_same() -> None:
    assert searched("en") == searched("zh")
