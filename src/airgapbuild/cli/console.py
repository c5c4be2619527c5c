"""All that a user sees: results on stdout, the rest on stderr.

On a terminal, work under way is drawn as it goes; elsewhere each piece of work is one plain line
when it ends. With `--json`, stdout carries exactly one document, whether the command did its work
or failed.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console as Terminal
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    ProgressColumn,
    SpinnerColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Display
from rich.progress import Task as Drawn
from rich.table import Column
from rich.text import Text

from airgapbuild.cli.columns import aligned, hanging
from airgapbuild.errors import AirgapbuildError
from airgapbuild.words import plain, size_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from airgapbuild.progress import Task

JSON_VERSION = 1
"""The version of the documents that `--json` prints."""

_INTERRUPTED = 130


class Color(StrEnum):
    """When to use colours."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Console:
    """Where one command speaks; also the `Progress` that its steps report to."""

    def __init__(
        self, command: str, *, as_json: bool, quiet: bool, verbose: bool, color: Color
    ) -> None:
        self.command = command
        self.json = as_json
        self.quiet = quiet
        self.verbose = verbose
        self._out = _terminal(color, stderr=False)
        self._err = _terminal(color, stderr=True)
        self._display: Display | None = None

    @contextmanager
    def reporting(self) -> Iterator[Console]:
        """Runs a command: draws its progress, and turns what goes wrong into words and a code."""
        try:
            with self._drawing():
                yield self
        except AirgapbuildError as error:
            self._failed(error)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt as interrupt:
            code = getattr(interrupt, "exit_code", _INTERRUPTED)
            print("interrupted; nothing half-written was left", file=sys.stderr)
            sys.stdout.flush()
            sys.stderr.flush()
            # Transfers under way may wait for a silent peer; the process does not wait for them.
            os._exit(code)

    def result(self, document: dict[str, Any]) -> None:
        """The command's result for programs; printed only with `--json`."""
        self.settle()
        if self.json:
            self._document(document)

    def say(self, line: str = "", *, style: str = "") -> None:
        """A line of the result for people."""
        self.settle()
        if not self.json and not self.quiet:
            self._out.print(_shown(line), style=style)

    def hang(self, beginning: str, text: str, *, style: str = "") -> None:
        """A line of the result whose text goes on below where it began, on a narrow terminal."""
        for line in hanging(beginning, text, self._room):
            self.say(line, style=style)

    @property
    def _room(self) -> int | None:
        """How long a line may be. In a file there is no bound: other programs read it."""
        return self._out.width if sys.stdout and sys.stdout.isatty() else None

    def write(self, text: str) -> None:
        """Text for another program, as it is, whatever was said of words for people."""
        self.settle()
        print(text, end="")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table of the result for people."""
        if self.json or self.quiet or not rows:
            return
        for n, lines in enumerate(aligned((columns, *rows), self._room)):
            for line in lines:
                self.say(line, style="" if n else "dim")

    def task(self, label: str, total: int | None = None) -> Task:
        """See `Progress.task`."""
        return _Shown(None if self.quiet else self._err, self._display, label, total)

    def note(self, message: str) -> None:
        """See `Progress.note`. Shown even with `-q`: it is not progress."""
        self._err.print("[yellow]note:[/] " + _shown(message))

    def detail(self, message: str) -> None:
        """See `Progress.detail`."""
        if self.verbose:
            self._err.print(_shown(message), style="dim")

    def log(self, line: str) -> None:
        """A line about one of many like it, for machines and people alike; none with `-q`."""
        if not self.quiet:
            print(plain(line), file=sys.stderr, flush=True)

    def complain(self, error: AirgapbuildError) -> None:
        """An error in words; the command may go on, or end with a code of its own."""
        for line in error.lines:
            self._err.print("[bold red]error:[/] " + _shown(line))
        for n, line in enumerate((error.hint or "").splitlines()):
            self._err.print(("[dim]      [/] " if n else "[dim] hint:[/] ") + _shown(line))

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        # Rich's is_terminal is also about colours, which may be wanted in a file.
        if self.quiet or sys.stderr is None or not sys.stderr.isatty():
            yield
            return
        measured = (BarColumn(bar_width=24), DownloadColumn(), TransferSpeedColumn())
        columns = (_Working(table_column=Column(no_wrap=True)), _Label(), *map(_Measured, measured))
        self._display = Display(*columns, console=self._err, transient=True)
        self._display.start()
        try:
            yield
        finally:
            self.settle()

    def settle(self) -> None:
        """Ends the drawing, which would overwrite results and questions on the same terminal."""
        if self._display:
            self._display.stop()
            self._display = None

    def _document(self, document: dict[str, Any]) -> None:
        whole = {"version": JSON_VERSION, "command": self.command, **document}
        print(json.dumps(whole, indent=2), flush=True)

    def _failed(self, error: AirgapbuildError) -> None:
        self.complain(error)
        if self.json:
            self._document({"error": error_document(error)})


def error_document(error: AirgapbuildError) -> dict[str, Any]:
    """An error as `--json` shows it."""
    return {
        "kind": error.kind,
        "exit": error.exit_code,
        "problems": list(error.lines),
        "hint": error.hint,
    }


def _shown(text: str) -> str:
    return escape(plain(text))


def _terminal(color: Color, *, stderr: bool) -> Terminal:
    return Terminal(
        stderr=stderr,
        highlight=False,
        emoji=False,  # `Dockerfile:100: …` is a place
        soft_wrap=True,
        force_terminal=True if color is Color.ALWAYS else None,
        no_color=True if color is Color.NEVER else None,
    )


class _Working(SpinnerColumn):
    """Turns until the task is gone: when a daemon has got its last byte, it still unpacks."""

    def render(self, task: Drawn) -> RenderableType:
        return self.spinner.render(task.get_time())


class _Label(ProgressColumn):
    """What a narrow terminal cuts short."""

    def render(self, task: Drawn) -> Text:
        return Text(task.description, no_wrap=True, overflow="ellipsis")


class _Measured(ProgressColumn):
    """A column of those tasks alone whose size is known."""

    def __init__(self, column: ProgressColumn) -> None:
        super().__init__(Column(no_wrap=True))
        self._column = column

    def render(self, task: Drawn) -> RenderableType:
        return "" if task.total is None else self._column(task)


class _Shown:
    """A task: drawn while a display is there, one line at its end where there is none."""

    def __init__(
        self, terminal: Terminal | None, display: Display | None, label: str, total: int | None
    ) -> None:
        self._terminal = terminal
        self._display = display
        self._label = label
        self._begin = time.monotonic()
        self._seen = 0
        self._lock = threading.Lock()
        self._id = display.add_task(self._label, total=total) if display else None

    def advance(self, size: int) -> None:
        with self._lock:
            self._seen += size
        if self._display and self._id is not None:
            self._display.advance(self._id, size)

    def expect(self, total: int) -> None:
        if self._display and self._id is not None:
            self._display.update(self._id, total=total)

    def done(self, outcome: str) -> None:
        if self._display and self._id is not None:
            self._display.remove_task(self._id)
        elif self._terminal:
            size = f"{size_words(self._seen)}  " if self._seen else ""
            spent = f"[dim]{size}{time.monotonic() - self._begin:.1f} s[/]"
            self._terminal.print(f"[green]✓[/] {_shown(self._label)}  {_shown(outcome)}  {spent}")
