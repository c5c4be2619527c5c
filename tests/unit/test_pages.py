"""The site's pages say the same in each language, and all that there is to say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.pages import LANGUAGES, SITE, blocks, headings

ENGLISH, *OTHERS = LANGUAGES
NAMES = sorted(path.name for path in (SITE / ENGLISH).glob("*.md"))
SCHEMA = Path(__file__).parents[2] / "schemas" / "manifest.schema.json"
OWN_TABLES = ("ImageEntry", "BundleEntry", "RegistrySettings", "PolicyEntry", "BuilderEntry")


def commands(page: Path) -> list[str]:
    return [block.script for block in blocks(page) if block.shown]


@pytest.mark.parametrize("language", OTHERS)
def test_every_language_has_every_page(language: str) -> None:
    assert sorted(path.name for path in (SITE / language).glob("*.md")) == NAMES


@pytest.mark.parametrize("language", OTHERS)
@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_the_same_parts_and_commands(name: str, language: str) -> None:
    english, other = SITE / ENGLISH / name, SITE / language / name
    assert headings(other) == headings(english)
    assert commands(other) == commands(english)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_key_of_the_manifest_is_explained(language: str) -> None:
    schema: dict[str, Any] = json.loads(SCHEMA.read_text())
    tables = [schema, *(schema["$defs"][name] for name in (*OWN_TABLES, "NodeEntry"))]
    keys = {key for table in tables for key in table["properties"]}
    text = (SITE / language / "manifest.md").read_text()
    assert not {key for key in keys if f"`{key}`" not in text and f"`[{key}" not in text}


@pytest.mark.parametrize("name", NAMES)
def test_no_line_ends_within_a_chinese_sentence(name: str) -> None:
    """A browser would show a blank there."""
    text = (SITE / "zh" / name).read_text()
    assert not re.findall(r".*[\u2e80-\uffef]\n(?=[\u2e80-\uffef]).*", text)
