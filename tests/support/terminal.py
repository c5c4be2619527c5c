"""Programs at a terminal of their own, and programs that have none."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_SESSION = "import fcntl, os, sys, termios; os.setsid(); {}os.execv(sys.argv[1], sys.argv[1:])"
NO_TERMINAL = (sys.executable, "-c", _SESSION.format(""))
"""What to start a program with so that it cannot ask, wherever the tests were started."""
_AT_TERMINAL = (sys.executable, "-c", _SESSION.format("fcntl.ioctl(0, termios.TIOCSCTTY, 0); "))


class Typist:
    """Somebody at a terminal where a program runs."""

    def __init__(self, command: Sequence[str | Path], cwd: Path, env: Mapping[str, str]) -> None:
        self._terminal, theirs = pty.openpty()
        self.told = b""
        self.running = subprocess.Popen(
            [*_AT_TERMINAL, *command], stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env=env
        )
        os.close(theirs)

    def wait_for(self, words: bytes) -> None:
        while words not in self.told:
            self.told += os.read(self._terminal, 1024)

    def type(self, text: bytes) -> None:
        os.write(self._terminal, text)

    def end(self) -> int:
        """The exit code, when all has been said."""
        with suppress(OSError):  # which is how a terminal says that nobody is there any more
            while True:
                self.told += os.read(self._terminal, 1024)
        os.close(self._terminal)
        return self.running.wait()
