"""airgapbuild as a user starts it: a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROGRAM = Path(sys.executable).parent / "airgapbuild"
HEARS_SIGNALS = ("env", "--default-signal=INT,TERM")
"""What to start it with to interrupt it: a shell's background jobs are born deaf to Ctrl-C."""
_KEPT = ("PATH", "LANG", "HOME")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A plain environment: nothing of the tester's own, except what measures coverage."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or name.startswith("COVERAGE_")
    }
    return {**kept, **(extra or {})}


def airgapbuild(
    *arguments: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Runs it to its end, and sees to it that no user ever gets a traceback."""
    done = subprocess.run(
        [*prefix, str(PROGRAM), *map(str, arguments)],
        cwd=cwd,
        env=environment(env),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one document on stdout."""
    parsed: dict[str, Any] = json.loads(done.stdout)
    assert parsed["version"] == 1
    return parsed
