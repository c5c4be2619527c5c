"""What is installed beside the program, or read from the repository by other tools."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from airgapbuild.cli import app
from airgapbuild.cli.init import TEMPLATE
from share.commands import commands
from share.generate import MAN_PAGE, man_page
from share.page import PAGES, chinese, english, page
from tests.support.program import airgapbuild

REPOSITORY = Path(__file__).parents[2]


def test_the_man_page_is_committed_as_the_commands_have_it() -> None:
    assert MAN_PAGE.read_text() == man_page(), "run `make share`"


@pytest.mark.parametrize("language", PAGES)
def test_so_are_the_pages_of_the_site(language: str) -> None:
    assert PAGES[language].read_text() == page(language), "run `make share`"


def test_what_is_translated_is_what_the_commands_say() -> None:
    assert not chinese().keys() - set(english()), (
        "these texts of share/commands.zh.toml have changed"
    )


def test_it_has_every_command_that_help_has() -> None:
    helped = airgapbuild("--help").stdout
    told = set(re.findall(r"^│ ([a-z][a-z-]*) ", helped, re.MULTILINE))
    assert {command.name.split()[0] for command in commands(app)} == told
    panels = re.findall(r"^\.SH COMMANDS: (.+)$", man_page(), re.MULTILINE)
    assert panels == [
        it.upper() for it in dict.fromkeys(command.panel for command in commands(app))
    ]


def test_pre_commit_is_given_a_command_that_fails_on_a_stale_lock(tmp_path: Path) -> None:
    hook = (REPOSITORY / ".pre-commit-hooks.yaml").read_text()
    [entry] = re.findall(r"^ *entry: (.+)$", hook, re.MULTILINE)
    [files] = re.findall(r"^ *files: (.+)$", hook, re.MULTILINE)
    (tmp_path / "airgapbuild.toml").write_text(TEMPLATE)
    program, *arguments = shlex.split(entry)
    done = airgapbuild(*arguments, cwd=tmp_path)
    assert (program, done.returncode) == ("airgapbuild", 4)
    assert re.search(files, "airgapbuild.toml")
    assert re.search(files, "airgapbuild.lock")
    assert not re.search(files, "docs/airgapbuild.toml.md")


def test_renovate_finds_the_references_of_registries() -> None:
    preset = json.loads((REPOSITORY / "share/renovate/airgapbuild.json").read_text())
    [manager] = preset["customManagers"]
    [pattern] = manager["matchStrings"]
    text = f"""
{TEMPLATE.replace("# [images.busybox]", "[images.busybox]").replace("# ref", "ref")}
[images.a]
ref = "registry.corp.example:5000/team/app:1.2-slim@sha256:{"a" * 64}"
[images.b]
  ref='busybox:1'
[images.c]
ref = "oci-layout:build/own:1.4"
[images.d]
ref = "docker-daemon:corp/own:1.4"
"""
    found = re.finditer(pattern.replace("(?<", "(?P<"), text)  # JavaScript's groups as Python's
    names = {m["depName"]: (m["currentValue"], m["currentDigest"]) for m in found}
    assert names == {
        "moby/buildkit": ("v0.34.2", None),
        "busybox": ("1", None),
        "registry.corp.example:5000/team/app": ("1.2-slim", f"sha256:{'a' * 64}"),
    }
