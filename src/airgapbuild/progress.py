"""How steps tell how far they are, to whoever listens.

Steps never print. They are given a `Progress`; the command line hangs a display on it, a library
user may pass the silent default.
"""

from __future__ import annotations

from typing import Protocol


class Task(Protocol):
    """One piece of work under way."""

    def advance(self, size: int) -> None:
        """`size` more bytes are done. Safe to call from any thread."""

    def expect(self, total: int) -> None:
        """The work is `total` bytes in all, as it turns out."""

    def done(self, outcome: str) -> None:
        """The work has ended well; `outcome` says with what, in a few words."""


class Progress(Protocol):
    """A listener."""

    def task(self, label: str, total: int | None = None) -> Task:
        """Work of `total` bytes (None: unknown) has begun under this label."""

    def note(self, message: str) -> None:
        """Something that the user should read, though nothing has failed."""

    def detail(self, message: str) -> None:
        """Something that only a curious user (`-v`) wants to read."""


class _SilentTask:
    def advance(self, size: int) -> None:
        pass

    def expect(self, total: int) -> None:
        pass

    def done(self, outcome: str) -> None:
        pass


class _Silent:
    def task(self, label: str, total: int | None = None) -> Task:  # noqa: ARG002
        return _SilentTask()

    def note(self, message: str) -> None:
        pass

    def detail(self, message: str) -> None:
        pass


SILENT: Progress = _Silent()
"""Listens to nothing."""
