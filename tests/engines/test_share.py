"""Completions in the real shells, the man page in groff."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.program import PROGRAM

if TYPE_CHECKING:
    from tests.engines.bed import Bed

SHARE = Path(__file__).parents[2] / "share"

BASH = """\
source {share}/bash-completion/completions/airgapbuild
COMP_WORDS=({words}) COMP_CWORD={last}
_airgapbuild airgapbuild
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
ZSH = """\
words=({words}) CURRENT={count}
_arguments() {{ print -rl -- "$@" }}
source {share}/zsh/site-functions/_airgapbuild
"""
FISH = """\
source {share}/fish/vendor_completions.d/airgapbuild.fish
complete --do-complete '{line}'
"""


def completed(bed: Bed, shell: str, line: str) -> str:
    """What a shell offers once TAB is pressed behind this line."""
    words = line.split(" ")
    script = {"bash": BASH, "zsh": ZSH, "fish": FISH}[shell].format(
        share=SHARE, line=line, words=line, last=len(words) - 1, count=len(words)
    )
    done = subprocess.run(
        [bed.part("shells") / shell, "-c", script],
        env={"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_the_values_of_options(bed: Bed, shell: str) -> None:
    commands = completed(bed, shell, "airgapbuild lo")
    assert "lock" in commands
    assert "load" in commands
    assert "verify" not in commands
    values = completed(bed, shell, "airgapbuild contexts --format b")
    assert "bake" in values
    assert "flags" not in values


def test_groff_has_nothing_to_say_against_the_man_page(bed: Bed) -> None:
    page = SHARE / "man" / "man1" / "airgapbuild.1"
    command = (bed.part("shells") / "groff", "-man", "-ww", "-Tutf8", "-P-cbou", page)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not done.stderr
    assert "EXIT STATUS" in done.stdout
