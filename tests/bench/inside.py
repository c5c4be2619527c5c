"""The row of a registry inside: what was carried over goes into it."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from tests.bench.big import PLATFORM, REPOSITORY, TAG
from tests.bench.measure import OURS, BenchError, Command, Tool
from tests.bench.row import Row
from tests.engines.registry import Registry
from tests.support.program import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.bench.stage import Stage


@contextmanager
def _push(stage: Stage) -> Iterator[list[Tool]]:
    ref = f"{REPOSITORY}:{TAG}"
    folder = stage.locked("push", stage.big_registry, ref, (PLATFORM,))
    source = f"{stage.big_registry.address}/{ref}"
    layout = folder / "layout"
    for command in (
        stage.command(PROGRAM, "export", "-q", cwd=folder),
        stage.command("crane", "pull", "--format=oci", source, folder / "crane"),
        stage.command(
            *("oras", "cp", "--no-tty", "--from-plain-http", "--to-oci-layout"),
            *(source, f"{layout}:1"),
        ),
    ):
        done = subprocess.run(
            command.argv, env=command.env, cwd=command.cwd, capture_output=True, check=False
        )
        if done.returncode:
            raise BenchError(done.stderr.decode())

    @contextmanager
    def ready(command: Callable[[str], Command]) -> Iterator[Command]:
        with Registry.start(stage.bed, writable=True, empty=True, newest=True) as registry:
            yield command(registry.address)

    commands = _commands(stage, folder, ref)
    yield [Tool(name, partial(ready, command)) for name, command in commands.items()]


def _commands(stage: Stage, folder: Path, ref: str) -> dict[str, Callable[[str], Command]]:
    layout = folder / "layout"
    skopeo = ("skopeo", "--insecure-policy", "copy", "--all", "--dest-tls-verify=false")
    oras = ("oras", "cp", "--from-oci-layout", "--to-plain-http", f"{layout}:1")
    return {
        OURS: lambda to: stage.command(PROGRAM, "push", "-q", folder / "bundles/builders", to),
        "crane": lambda to: stage.command("crane", "push", folder / "crane", f"{to}/{ref}"),
        "oras": lambda to: stage.command(*oras, f"{to}/{ref}"),
        "skopeo": lambda to: stage.command(*skopeo, f"oci:{layout}:1", f"docker://{to}/{ref}"),
    }


ROWS = (
    Row(
        "push-1gb",
        "an image of 1 GB in 12 layers from disk into an empty registry (distribution 3.1) of this "
        "run; ours proves the bundle first, the others read an OCI layout",
        _push,
    ),
)
