"""The rows of the connected side: lock and export, against one registry on the loopback."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from tests.bench.big import PLATFORM, REPOSITORY, TAG
from tests.bench.measure import OURS, Command, Tool
from tests.bench.row import Row
from tests.bench.stage import BOTH, BUILDKIT, Stage, without
from tests.support.program import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engines.registry import Registry
    from tests.support.link import Link


@contextmanager
def _lock(stage: Stage) -> Iterator[list[Tool]]:
    registry = stage.registry
    folder = stage.project("lock", registry, stage.refs, BOTH)
    ours = stage.command(PROGRAM, "lock", "-q", cwd=folder)
    to = f"--host reg={registry.address},tls=disabled"
    crane, regctl = [], []
    for ref in (f"{registry.address}/{ref}" for ref in stage.refs):
        crane += [f"crane manifest {ref}"]
        crane += [f"crane config --platform {platform} {ref}" for platform in BOTH]
        regctl += [f"regctl manifest get {to} {ref}"]
        regctl += [f"regctl image config {to} --platform {platform} {ref}" for platform in BOTH]
    scripts = {
        name: stage.command("sh", "-ec", "\n".join(lines))
        for name, lines in {"crane": crane, "regctl": regctl}.items()
    }
    yield [
        Tool(OURS, partial(without, ours, folder / "airgapbuild.lock")),
        *(Tool(name, partial(without, script)) for name, script in scripts.items()),
    ]


def _peers(
    stage: Stage, registry: Registry | Link, ref: str, folder: Path
) -> dict[str, tuple[Command, Path]]:
    """The tools that fetch an image with all that belongs to it, and where they put it."""
    image = f"{registry.address}/{ref}"
    out = {name: folder / name for name in ("crane", "oras", "regctl", "skopeo")}
    host = f"reg={registry.address},tls=disabled"
    skopeo = ("skopeo", "--insecure-policy", "copy", "--all", "--src-tls-verify=false")
    commands = {
        "crane": stage.command("crane", "pull", "--format=oci", image, out["crane"]),
        "oras": stage.command(
            *("oras", "cp", "--from-plain-http", "--to-oci-layout", image, f"{out['oras']}:1")
        ),
        "regctl": stage.command(
            *("regctl", "image", "copy", "--host", host, image, f"ocidir://{out['regctl']}:1")
        ),
        "skopeo": stage.command(*skopeo, f"docker://{image}", f"dir:{out['skopeo']}"),
    }
    return {name: (command, out[name]) for name, command in commands.items()}


def _exporting(
    stage: Stage,
    name: str,
    registry: Registry | Link,
    ref: str,
    platforms: tuple[str, ...],
    *,
    cold: bool,
) -> list[Tool]:
    folder = stage.locked(name, registry, ref, platforms)
    out = folder / "bundles"
    ours = stage.command(PROGRAM, "export", "-q", cwd=folder)
    commands = {OURS: (ours, out), **_peers(stage, registry, ref, folder)}
    return [
        Tool(tool, partial(without, command, *([out] if cold else [])))
        for tool, (command, out) in commands.items()
    ]


_Exporting = Callable[..., AbstractContextManager[list[Tool]]]


@contextmanager
def _big(stage: Stage, name: str, *, cold: bool) -> Iterator[list[Tool]]:
    ref = f"{REPOSITORY}:{TAG}"
    yield _exporting(stage, name, stage.big_registry, ref, (PLATFORM,), cold=cold)


@contextmanager
def _slow(stage: Stage) -> Iterator[list[Tool]]:
    tools = _exporting(stage, "slow", stage.slow, f"{REPOSITORY}:{TAG}", (PLATFORM,), cold=True)
    yield [
        replace(tool, once=tool.name != OURS)
        for tool in tools
        if tool.name in {OURS, "crane", "skopeo"}
    ]


@contextmanager
def _far(stage: Stage) -> Iterator[list[Tool]]:
    folder = stage.project("far", stage.far, stage.far_refs, BOTH)
    ours = stage.command(PROGRAM, "lock", "-q", cwd=folder)
    lines = [
        f"crane digest --platform {platform} {stage.far.address}/{ref}"
        for ref in stage.far_refs
        for platform in BOTH
    ]
    crane = stage.command("sh", "-ec", "\n".join(lines))
    yield [
        Tool(OURS, partial(without, ours, folder / "airgapbuild.lock")),
        Tool("crane", partial(without, crane)),
    ]


@contextmanager
def _buildkit(stage: Stage, name: str, *, cold: bool) -> Iterator[list[Tool]]:
    yield _exporting(stage, name, stage.registry, BUILDKIT, BOTH, cold=cold)


def _export_row(name: str, what: str, tools: _Exporting, *, cold: bool) -> Row:
    how = "into an empty folder" if cold else "again, over what the same tool has left"
    return Row(name, f"{what}, {how}", partial(tools, name=name, cold=cold))


_IMAGE = "an image of 1 GB in 12 layers"
_BUILDER = "a BuildKit image of two platforms with attestations"

ROWS = (
    Row(
        "lock",
        "digests of three images of two platforms each, no lock before; the others read the same "
        "manifests and configs, by a process for each (they have no command for the whole)",
        _lock,
    ),
    Row(
        "lock-far",
        "digests of twelve images of two platforms, 60 ms away; crane digest for one after another",
        _far,
    ),
    Row(
        "export-slow",
        "an image of one layer of 200 MB over a link of 8 MB/s for each connection, cold",
        _slow,
    ),
    _export_row("export-1gb", _IMAGE, _big, cold=True),
    _export_row("export-buildkit", _BUILDER, _buildkit, cold=True),
    _export_row("unchanged-1gb", _IMAGE, _big, cold=False),
    _export_row("unchanged-buildkit", _BUILDER, _buildkit, cold=False),
)
