from __future__ import annotations

from typing import TYPE_CHECKING

from airgapbuild.cli.console import Color, Console

if TYPE_CHECKING:
    import pytest

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


def test_on_a_terminal_work_is_drawn_while_it_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    speak(Color.ALWAYS)
    out, drawn = capsys.readouterr()
    assert out == "half of it\n"
    assert "2.0/5.0 MB" in drawn
    assert "an image with a name" in drawn
    assert LABEL not in drawn
    assert "loaded" not in drawn


def test_elsewhere_work_is_one_line_when_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    speak(Color.AUTO)
    out, lines = capsys.readouterr()
    assert out == "half of it\n"
    first, second = lines.splitlines()
    assert first.startswith(f"✓ {LABEL}  loaded  2.0 MB  ")
    assert second.startswith("✓ boot  BuildKit 1.0  ")
