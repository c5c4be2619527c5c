"""What a look at a site finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from airgapbuild.errors import AirgapbuildError

State: TypeAlias = Literal["ok", "warning", "problem"]
"""ok: as it should be. warning: some builds will fail or wait. problem: none can go well."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    state: State
    what: str
    why: str | None = None
    """Why it matters, where it is not ok."""
    mend: str | None = None
    """What mends it: a command, or lines of airgapbuild.toml."""


@dataclass(frozen=True)
class Examined:
    """A finding and what it is about."""

    area: str
    error: type[AirgapbuildError]
    """What a problem of it is, and so its exit code."""
    finding: Finding


def ok(what: str, mend: str | None = None) -> Finding:
    """Something is as it should be; `mend` is what to know where more is wanted."""
    return Finding("ok", what, mend=mend)


def warning(what: str, why: str, mend: str | None = None) -> Finding:
    """Some builds will fail or wait for it."""
    return Finding("warning", what, why, mend)


def problem(what: str, why: str, mend: str | None = None) -> Finding:
    """No build can go well."""
    return Finding("problem", what, why, mend)


def told(error: AirgapbuildError, why: str | None = None) -> Finding:
    """An error as a problem; its hint is what mends it."""
    return Finding("problem", "; ".join(error.lines), why, error.hint)
