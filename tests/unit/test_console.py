from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from airgapbuild.cli.console import Color, Console
from airgapbuild.errors import UsageError
from tests.support.program import environment
from tests.support.terminal import Typist

SPEAK = "from tests.unit.test_console import Color, speak; speak(Color.AUTO)"
LABEL = "an image with a name that is too long for a terminal of eighty columns beside its bar"


def speak(color: Color) -> None:
    console = Console("test", as_json=False, quiet=False, verbose=False, color=color)
    with console.reporting():
        measured, other = console.task(LABEL), console.task("boot")
        measured.advance(2_000_000)
        measured.expect(5_000_000)
        console.say("half of it")
        measured.done("loaded")
        other.done("BuildKit 1.0")


def test_on_a_terminal_work_is_drawn_while_it_goes_on() -> None:
    env = environment({"COLUMNS": "80", "TERM": "xterm"})
    typist = Typist((sys.executable, "-c", SPEAK), Path.cwd(), env)
    assert typist.end() == 0
    drawn = typist.told.decode()
    assert "half of it\r\n" in drawn
    assert "2.0/5.0 MB" in drawn
    assert "an image with a name" in drawn
    assert LABEL not in drawn
    assert "loaded" not in drawn


@pytest.mark.parametrize("color", [Color.AUTO, Color.ALWAYS])
def test_elsewhere_work_is_one_line_when_it_ends(
    capsys: pytest.CaptureFixture[str], color: Color
) -> None:
    speak(color)
    out, lines = capsys.readouterr()
    assert out == "half of it\n"
    assert ("\x1b[" in lines) == (color is Color.ALWAYS)
    first, second = re.sub(r"\x1b\[[0-9;]*m", "", lines).splitlines()
    assert first.startswith(f"✓ {LABEL}  loaded  2.0 MB  ")
    assert second.startswith("✓ boot  BuildKit 1.0  ")


@pytest.mark.parametrize("text", ["Dockerfile:100: no stage", "oci-layout:ok:1", "a:smile:b"])
def test_what_is_said_has_no_pictures(capsys: pytest.CaptureFixture[str], text: str) -> None:
    console = Console("test", as_json=False, quiet=False, verbose=True, color=Color.ALWAYS)
    console.say(text)
    console.detail(text)
    console.complain(UsageError(text, hint=text))
    out, err = capsys.readouterr()
    assert (text in out, err.count(text)) == (True, 3)


def test_a_hint_has_as_many_lines_as_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console("test", as_json=False, quiet=False, verbose=False, color=Color.AUTO)
    console.complain(UsageError("no image", hint='add it:\n[images.binfmt]\nref = "x:1"'))
    assert capsys.readouterr().err == (
        'error: no image\n hint: add it:\n       [images.binfmt]\n       ref = "x:1"\n'
    )
