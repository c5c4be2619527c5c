"""What a part of the bed is, and how its recipe runs other programs.

A part is a folder that a recipe fills. The folder's name holds a key made from all that the recipe
depends on, so a changed recipe makes a new folder and an unchanged one is never made twice.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


class RecipeError(Exception):
    """A part could not be made; the message says why, in words for a person."""


class Shelf(Protocol):
    """Where finished parts stand."""

    @property
    def root(self) -> Path:
        """The cache folder; recipes may keep download state of their own below it."""
        ...

    def part(self, name: str) -> Path:
        """Return the folder of a finished part."""
        ...


@dataclass(frozen=True)
class Part:
    """One thing that the tests need, and the recipe that makes it."""

    name: str
    build: Callable[[Shelf, Path], None]
    """Fills a new, empty folder; raises `RecipeError` where it cannot."""
    recipe: tuple[Path, ...]
    """The files whose text decides what the part will be."""
    needs: tuple[str, ...] = ()
    tools: tuple[tuple[str, str], ...] = ()
    """Programs of the host that the part takes for granted, each with its Debian package."""
    ahead: Callable[[], None] | None = None
    """Downloads what a compile needs while another one keeps the cores busy; may fail."""
    lane: Literal["go", "net"] = "net"
    """Compiles go one after another (they fill all cores), downloads go beside them."""

    def missing_tools(self) -> tuple[str, ...]:
        """Return the packages whose programs the host lacks."""
        return tuple(package for program, package in self.tools if not shutil.which(program))


def key(part: Part, parts: Mapping[str, Part]) -> str:
    """Return a short hash of everything that decides what the part will be."""
    digest = hashlib.sha256(part.name.encode())
    for file in part.recipe:
        digest.update(file.read_bytes())
    for need in part.needs:
        digest.update(key(parts[need], parts).encode())
    return digest.hexdigest()[:12]


_running: set[subprocess.Popen[str]] = set()
_running_lock = threading.Lock()


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a program to its end and return what it printed; a failure quotes its last lines."""
    with subprocess.Popen(
        [str(arg) for arg in argv],
        cwd=cwd,
        env={**os.environ, **env} if env else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        with _running_lock:
            _running.add(process)
        try:
            out, err = process.communicate()
        finally:
            with _running_lock:
                _running.discard(process)
    if process.returncode:
        last = "\n".join((out + err).strip().splitlines()[-8:])
        raise RecipeError(f"{' '.join(map(str, argv[:4]))} … failed:\n{last}")
    return out


def kill_running() -> None:
    """End every program that `run` waits for, with its children."""
    with _running_lock:
        for process in _running:
            os.killpg(process.pid, signal.SIGKILL)
