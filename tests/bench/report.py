"""The figures as a table and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tests.bench.measure import Result, ratio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VERSION = 1
"""Of the JSON document."""

_COLUMNS = ("row", "tool", "wall", "fastest", "ours/it", "cpu", "memory")
_NUMBERS = 2
"""The first column that is set to the right."""


@dataclass(frozen=True)
class Measured:
    """A row with its figures, or with the reason why it has none."""

    name: str
    what: str
    results: Sequence[Result] = ()
    lacking: str = ""


def table(rows: Sequence[Measured]) -> str:
    """The table for people: medians, the fastest run, our time in units of theirs, CPU, memory."""
    cells = [_COLUMNS]
    for row in rows:
        cells += [
            (
                "" if number else row.name,
                result.tool,
                _seconds(result.wall),
                _seconds(result.fastest),
                _times(ratio(row.results, result)),
                _seconds(result.cpu),
                f"{result.peak / 1e6:.0f} MB",
            )
            for number, result in enumerate(row.results)
        ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [_line(line, widths) for line in cells]
    lines += [f"{row.name}: not measured: {row.lacking}" for row in rows if row.lacking]
    return "\n".join(lines) + "\n"


def document(
    rows: Sequence[Measured], rounds: int, machine: Mapping[str, object]
) -> dict[str, Any]:
    """The same for programs, with every single run; seconds and bytes."""
    return {
        "version": VERSION,
        "machine": dict(machine),
        "rounds": rounds,
        "rows": [_row(row) for row in rows],
    }


def render(whole: Mapping[str, object]) -> str:
    """The JSON of a document."""
    return json.dumps(whole, indent=1) + "\n"


def _row(row: Measured) -> dict[str, Any]:
    if row.lacking:
        return {"row": row.name, "what": row.what, "lacking": row.lacking}
    return {
        "row": row.name,
        "what": row.what,
        "tools": [
            {
                "tool": result.tool,
                "wall": result.wall,
                "fastest": result.fastest,
                "ours/it": ratio(row.results, result),
                "cpu": result.cpu,
                "peak": result.peak,
                "runs": [asdict(usage) for usage in result.usages],
            }
            for result in row.results
        ],
    }


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    set_ = (
        cell.rjust(width) if column >= _NUMBERS else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join(set_).rstrip()


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
