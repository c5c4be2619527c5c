"""Time airgapbuild and the tools that one would use instead, on the same work in one run.

    python -m tests.bench [--rounds N] [--rows ROW ...] [--json FILE]
    python -m tests.bench --list

Each row runs its tools in turn, A B C A B C, after one round that does not count. They have one
registry, one file system and one page cache; each uses its own parallelism and its own defaults.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import connected, inside, isolated, serving, whole
from tests.bench.measure import BenchError, Result, alternate, measured
from tests.bench.report import Measured, document, render, table
from tests.bench.stage import Stage
from tests.engines.bed import Bed, BedError
from tests.engines.process import NotReadyError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from tests.bench.row import Row

_MODULES = (connected, isolated, whole, inside, serving)
ROWS = {row.name: row for module in _MODULES for row in module.ROWS}
_VERSIONS = {
    "airgapbuild": ("airgapbuild", "--version"),
    "crane": ("crane", "version"),
    "oras": ("oras", "version"),
    "regctl": ("regctl", "version"),
    "skopeo": ("skopeo", "--version"),
}


def measure_row(row: Row, stage: Stage, rounds: int) -> Measured:
    """All tools of a row; where one cannot do its work, the reason instead of figures."""
    results: dict[str, Result] = {}
    try:
        with row.tools(stage) as tools:
            for tool, usage in alternate(tools, rounds, lambda it: measured(it, stage.folder)):
                if usage:
                    results.setdefault(tool.name, Result(tool.name)).usages.append(usage)
                    print(f"{row.name}  {tool.name}  {usage.wall:.3f} s", file=sys.stderr)
    except (BenchError, BedError, NotReadyError) as error:
        return Measured(row.name, row.what, lacking=str(error))
    finally:
        stage.end_row()
    ordered = [results[tool.name] for tool in tools]
    return Measured(row.name, row.what, ordered)


def machine(stage: Stage) -> dict[str, object]:
    """What the figures depend on beside the work."""
    env = stage.env | {"PATH": f"{Path(sys.executable).parent}:{stage.env['PATH']}"}
    said = {
        name: subprocess.run(argv, env=env, capture_output=True, text=True, check=False).stdout
        for name, argv in _VERSIONS.items()
    }
    return {
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "engine": isolated.ENGINE,
        "tools": {name: words.strip().splitlines()[0] for name, words in said.items()},
    }


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="that count")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS, metavar="ROW")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--list", action="store_true", help="say what each row does")
    options = parser.parse_args(argv)
    if options.rounds < 1:
        parser.error("--rounds must be 1 or more")
    return options


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 1 where a row could not be measured."""
    options = arguments(argv)
    if options.list:
        for row in ROWS.values():
            print(textwrap.fill(f"{row.name}: {row.what}", 100, subsequent_indent="    "))
        return 0
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with Stage(Bed.find()) as stage:
            about = machine(stage)
            rows = [measure_row(ROWS[name], stage, options.rounds) for name in options.rows]
    except BedError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    print(table(rows), end="")
    if options.json:
        options.json.write_text(render(document(rows, options.rounds, about)))
    return int(any(row.lacking for row in rows))


if __name__ == "__main__":
    sys.exit(main())
