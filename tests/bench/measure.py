"""What is compared, and how it is timed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tests.bench import launcher

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

OURS = "airgapbuild"

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
    """Of the memory of all its processes, in bytes."""


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
        argv = (sys.executable, "-IS", launcher.__file__, result, *command.argv)
        with log.open("wb") as output:
            subprocess.run(
                argv,
                check=True,
                env=dict(command.env),
                cwd=command.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wall, cpu, peak, code = result.read_text().split()
        if int(code):
            last = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
            words = " ".join(map(str, command.argv))
            raise BenchError(f"{tool.name}: exit {code}: {words}\n{last}")
        return Usage(float(wall), float(cpu), int(peak))
