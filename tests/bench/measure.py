"""What is compared, and how it is timed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

OURS = "airgapbuild"
_LAUNCHER = Path(__file__).with_name("launcher.py")

Ready = Callable[[], AbstractContextManager["Command"]]
"""Sets up one run and gives its command; what it does before and after is not timed."""


class BenchError(Exception):
    """A tool did not do its work; the message quotes it."""


@dataclass(frozen=True)
class Command:
    """A program, with the whole environment that it gets."""

    argv: Sequence[str | Path]
    env: Mapping[str, str]
    cwd: Path
    server: int | None = None
    """The process of a server that it talks to, if its memory is what counts."""


@dataclass(frozen=True)
class Tool:
    """One way to do the work of a row."""

    name: str
    ready: Ready
    once: bool = False
    """Whether it is run a single time, since it mostly waits."""


@dataclass(frozen=True)
class Usage:
    """What one run took."""

    wall: float
    """In seconds."""
    cpu: float
    """In seconds, of all its processes and all their threads together."""
    peak: int
    """Of the memory of all its processes, or of all those of the server, in bytes."""


@dataclass
class Result:
    """What all runs of a tool took."""

    tool: str
    usages: list[Usage] = field(default_factory=list)

    @property
    def wall(self) -> float:
        """The median, in seconds."""
        return median(usage.wall for usage in self.usages)

    @property
    def fastest(self) -> float:
        """The shortest wall time, in seconds."""
        return min(usage.wall for usage in self.usages)

    @property
    def cpu(self) -> float:
        """The median, in seconds; other work on the machine disturbs it least."""
        return median(usage.cpu for usage in self.usages)

    @property
    def peak(self) -> int:
        """The highest of all runs, in bytes."""
        return max(usage.peak for usage in self.usages)


def ratio(results: Sequence[Result], result: Result) -> float | None:
    """Our median wall time in units of a tool's: below 1 we are faster. None for ourselves."""
    ours = next((entry for entry in results if entry.tool == OURS), None)
    return None if ours is None or ours is result else ours.wall / result.wall


def alternate(
    tools: Sequence[Tool], rounds: int, run: Callable[[Tool], Usage]
) -> Iterator[tuple[Tool, Usage | None]]:
    """Run all tools one after the other, round by round, after one round that does not count.

    A tool that is run `once` has its turn in the first round that counts. The round that does not
    count gives None in the place of the usage.
    """
    for number in range(rounds + 1):
        for tool in tools:
            if tool.once and number != 1:
                continue
            usage = run(tool)
            yield tool, usage if number else None


def measured(tool: Tool, scratch: Path) -> Usage:
    """One run of a tool.

    What earlier runs have written is on disk before it starts, so that nobody waits for another's.

    Raises:
        BenchError: it ended with an error.
    """
    with tool.ready() as command:
        os.sync()
        log, result = scratch / "log", scratch / "result"
        _run(replace(command, argv=(sys.executable, "-IS", _LAUNCHER, result, *command.argv)), log)
        wall, cpu, peak, code = result.read_text().split()
        if int(code):
            last = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
            words = " ".join(map(str, command.argv))
            raise BenchError(f"{tool.name}: exit {code}: {words}\n{last}")
        most = int(peak) if command.server is None else _highest(command.server)
        return Usage(float(wall), float(cpu), most)


def _highest(pid: int) -> int:
    """The most memory that a process and all that it has started ever had, in bytes.

    Each at its own time: together they had no more. Source: proc_pid_status(5), VmHWM.
    """
    status = Path(f"/proc/{pid}/status").read_text()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = int(status.partition("VmHWM:")[2].split()[0]) << 10
    return own + sum(map(_highest, map(int, children)))


def _run(command: Command, log: Path) -> None:
    """Run to the end, with the output in a file; where we are stopped, all of it is."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command.argv,
            env=dict(command.env),
            cwd=command.cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as running,
    ):
        try:
            code = running.wait()
        except BaseException:
            os.killpg(running.pid, signal.SIGKILL)
            raise
    if code:
        raise BenchError(log.read_text(errors="replace"))
