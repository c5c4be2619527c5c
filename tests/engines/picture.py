"""docs/en/terminal.svg, the README's picture: what `make demo` prints, drawn as a terminal.

    python3 -m tests.engines.picture

It holds the results alone; progress goes to stderr, and what is drawn there is gone at the end.
"""

from __future__ import annotations

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

PICTURE = Path(__file__).parents[2] / "docs" / "en" / "terminal.svg"
_COLUMNS = 100
_STYLES = {"#": "cyan", "$": "bold"}
"""Of lines that the demo itself prints, by how they begin."""

# Rich's own template asks a web server for its font, which an image on a page may not.
_SVG = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font: {char_height}px/{line_height}px Menlo, Consolas, monospace }}
.{unique_id}-title {{ font: 18px sans-serif }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def session() -> list[str]:
    """The demo's lines, from the first explanation to the end of the first build."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.engines.demo"],
        env={**os.environ, "FORCE_COLOR": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    _, connected, isolated, *_ = done.stdout.split("\n# ")
    return f"# {connected}\n# {isolated}".splitlines()


def draw(lines: list[str]) -> str:
    """These lines, with their ANSI styles, as an SVG of a terminal."""
    console = Console(record=True, width=_COLUMNS, file=StringIO(), force_terminal=True)
    for line in (*lines, ""):
        text = Text.from_ansi(line)
        text.stylize(_STYLES.get(line[:1], ""))
        console.print(text, soft_wrap=True)
    return console.export_svg(
        title="airgapbuild", theme=MONOKAI, code_format=_SVG, unique_id="terminal"
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(session()))
