"""Programs from Go modules, each pinned and summed by a module of ours under `tools/`."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.engines.parts.part import RecipeError, run

TOOLS = Path(__file__).parents[1] / "tools"


def recipe(module: str) -> tuple[Path, ...]:
    """Return the files that decide what a build makes: the two that pin the module, and this."""
    return TOOLS / module / "go.mod", TOOLS / module / "go.sum", Path(__file__)


def ahead(*modules: str) -> None:
    """Download what these modules are built from."""
    for module in modules:
        run(["go", "list", "-deps", "tool"], cwd=TOOLS / module)


def version(module: str, path: str) -> str:
    """Return the version that a module of ours pins, with its leading v."""
    for line in (TOOLS / module / "go.mod").read_text().splitlines():
        words = line.removeprefix("require ").split()
        if words[:1] == [path]:
            return words[1]
    raise RecipeError(f"tools/{module}/go.mod does not require {path}")


def build(
    module: str,
    packages: tuple[str, ...],
    into: Path,
    *,
    stamp: str = "",
    arch: str = "amd64",
    cgo: bool = False,
    tags: str = "",
) -> None:
    """Build main packages into a folder; `stamp` is a `variable=value` for the linker."""
    if not shutil.which("go"):
        raise RecipeError("there is no Go on this machine")
    into.mkdir(parents=True, exist_ok=True)
    flags = "-s -w" + (f" -X {stamp}" if stamp else "")
    environment = {"CGO_ENABLED": str(int(cgo)), "GOOS": "linux", "GOARCH": arch}
    run(
        ["go", "build", "-trimpath", "-tags", tags, "-ldflags", flags, "-o", f"{into}/", *packages],
        cwd=TOOLS / module,
        env=environment,
    )
