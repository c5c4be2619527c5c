"""Standard output, which may be closed, full, or unable to carry a character."""

from __future__ import annotations

import io
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNWRITABLE = 2
_NO_READER = 141
"""As a shell tells of SIGPIPE, by which other programs end when their reader has gone."""


class UnwritableError(Exception):
    """Standard output takes no more.

    No `OSError`: click and rich take that of a closed pipe for the program's end, with exit code 1.
    """

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class _Output(io.TextIOWrapper):
    """Standard output that tells its own failures from those of files."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise UnwritableError(error) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise UnwritableError(error) from error


@contextmanager
def guarded() -> Iterator[None]:
    """Runs a program whose words all go out, or that ends in one line and a code of its own."""
    if not isinstance(sys.stdout, io.TextIOWrapper):  # none is there: `>&-`
        yield
        return
    output = sys.stdout = _over(sys.stdout)
    try:
        try:
            yield
        finally:
            output.flush()
    except UnwritableError as error:
        # What is still to be written would fail once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())
        if isinstance(error.reason, BrokenPipeError):
            sys.exit(_NO_READER)
        with suppress(OSError):  # it may be the same file
            print(f"error: standard output: {error.reason.strerror}", file=sys.stderr)
        sys.exit(_UNWRITABLE)


def _over(stream: io.TextIOWrapper) -> _Output:
    encoding, errors, by_lines = stream.encoding, stream.errors, stream.line_buffering
    if errors == "strict":
        errors = "backslashreplace"  # `\\u2192` for an arrow, where there is none
    return _Output(stream.detach(), encoding=encoding, errors=errors, line_buffering=by_lines)
