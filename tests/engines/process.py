"""Processes that cannot outlive their test, and waiting for them to be ready."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

T = TypeVar("T")

# The kernel ends what is started this way when the starting thread is gone, even by SIGKILL.
TIED = ("setpriv", "--pdeathsig", "KILL", "--")


class NotReadyError(Exception):
    """A process ended, or stayed silent, before it was ready; the message quotes its log."""


class Service(ABC):
    """What runs until it is stopped, as a context manager that stops it."""

    @abstractmethod
    def stop(self) -> None:
        """End it and remove its files; a second time does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def start(argv: Sequence[str | Path], log: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a process in a group of its own, tied to this thread, with its output in a file."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [*TIED, *map(str, argv)],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def until(
    probe: Callable[[], T | None],
    process: subprocess.Popen[bytes],
    log: Path,
    seconds: float = 30,
) -> T:
    """Ask again and again until the probe has an answer, and return it."""
    deadline = time.monotonic() + seconds
    while (answer := probe()) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            last = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
            raise NotReadyError(f"{process.args!r} is not ready:\n{last}")
        time.sleep(0.01)
    return answer


def stop(
    process: subprocess.Popen[bytes],
    done: Callable[[], bool] = lambda: False,
    seconds: float = 15,
) -> None:
    """End a process group: it may finish its work, until `done` says so, then it is killed."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while process.poll() is None and not done() and time.monotonic() < deadline:
        time.sleep(0.01)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
