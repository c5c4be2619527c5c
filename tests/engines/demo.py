"""`make demo`: the whole flow on this machine, as a user sees it, and nothing left running.

A registry on the loopback stands for Docker Hub, a network namespace without a way out for the
isolated site. The site's daemon is the machine's own Docker where there is one, else the bed's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.engines import bed as test_bed
from tests.engines.bundles import manifest, with_frontend
from tests.engines.daemon import Daemon, docker_config
from tests.engines.netns import Namespace
from tests.engines.registry import Registry, images

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.engines.daemon import Engine
    from tests.engines.parts.part import Shelf

PARTS = ("engines/28.5", "buildx/newest", "registry", "images/all")
_ENGINE: Engine = "28.5"
_DOCKERFILE = """\
# syntax=docker/dockerfile:1
FROM busybox:1.37.0 AS base
RUN echo "hello from $(busybox uname -sm), with no registry" > /greeting
FROM scratch
COPY --from=base /greeting /
"""
_TERMINAL = ("TERM", "COLORTERM", "FORCE_COLOR")
_PROGRAMS = ("dockerd", "docker", "containerd", "containerd-shim-runc-v2", "runc", "docker-init")
_HELPERS = "/usr/libexec/docker:/usr/lib/docker:/usr/sbin:/sbin"


@dataclass(frozen=True)
class MachinesDocker:
    """The bed, with the machine's own Docker in place of its engine."""

    bed: Shelf
    engine: Path

    @property
    def root(self) -> Path:
        return self.bed.root

    def part(self, name: str) -> Path:
        return self.engine if name == f"engines/{_ENGINE}" else self.bed.part(name)


def shelf(bed: Shelf, folder: Path) -> Shelf:
    """The bed, or the machine's Docker over it where all of Docker's programs are installed."""
    path = f"{os.environ['PATH']}:{_HELPERS}"
    found = {name: shutil.which(name, path=path) for name in _PROGRAMS}
    if not all(found.values()):
        return bed
    (folder / "bin").mkdir(parents=True)
    for name, program in found.items():
        (folder / "bin" / name).symlink_to(str(program))
    return MachinesDocker(bed, folder)


def say(words: str) -> None:
    """A line of explanation."""
    print(f"\n\033[36m# {words}\033[0m" if sys.stdout.isatty() else f"\n# {words}", flush=True)


def show(
    *command: str, cwd: Path, env: Mapping[str, str] | None = None, inside: Namespace | None = None
) -> None:
    """Prints a command and runs it, on the user's own terminal."""
    print(f"$ {' '.join(command)}", flush=True)
    prefix = inside.prefix if inside else ()
    subprocess.run([*prefix, *command], cwd=cwd, env=env, check=True)


def demo(bed: Shelf, folder: Path, stack: ExitStack) -> None:
    """The flow, in a folder of its own."""
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    registry = stack.enter_context(Registry.start(bed))
    [busybox] = [n for n in images(bed) if n.startswith("library/busybox:") and "latest" not in n]
    text = manifest(registry.address, busybox.rpartition(":")[2])
    (folder / "airgapbuild.toml").write_text(text)

    say(f"On a connected machine ({registry.address} stands for Docker Hub):")
    here = {**os.environ, "PATH": programs}
    show("airgapbuild", "lock", cwd=folder, env=here)
    show("airgapbuild", "export", cwd=folder, env=here)

    site = stack.enter_context(Namespace("closed"))
    daemon = stack.enter_context(
        Daemon.start(shelf(bed, folder / "engine"), _ENGINE, "containerd", site)
    )
    config = docker_config(bed, folder / "docker", "newest")
    terminal = {name: os.environ[name] for name in _TERMINAL if name in os.environ}
    there = {**daemon.env, "DOCKER_CONFIG": str(config), **terminal}
    there["PATH"] = f"{daemon.env['PATH']}:{programs}"
    say("Behind the gap, a fresh daemon in a namespace that reaches nothing:")
    show("airgapbuild", "load", "bundles/builders", cwd=folder, env=there, inside=site)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY greeting /\n")
    (folder / "greeting").write_text("hello from behind the gap\n")
    build = ("docker", "buildx", "build", "--output", "out", ".")
    show(*build, cwd=folder, env=there, inside=site)
    show("cat", "out/greeting", cwd=folder)

    say("Later, the manifest gets a Dockerfile frontend. Only what is new has to cross:")
    (folder / "airgapbuild.toml").write_text(with_frontend(text))
    show("airgapbuild", "lock", cwd=folder, env=here)
    show("airgapbuild", "export", "--against", "bundles/builders", cwd=folder, env=here)
    show("airgapbuild", "load", "bundles/builders-differential", cwd=folder, env=there, inside=site)
    (folder / "Dockerfile").write_text(_DOCKERFILE)
    show("cat", "Dockerfile", cwd=folder)
    show("airgapbuild", "build", "--output", "out", ".", cwd=folder, env=there, inside=site)
    show("cat", "out/greeting", cwd=folder)


def main() -> int:
    """Runs the demo; the exit code."""
    if os.geteuid() != 0:
        print("make demo starts a daemon in a network namespace, for which it must be root: "
              "sudo make demo", file=sys.stderr)  # fmt: skip
        return 1
    bed = test_bed.Bed.find()
    if code := test_bed.build(bed, test_bed.wanted(PARTS), strict=True):
        return code
    folder = Path(tempfile.mkdtemp(prefix="airgapbuild-demo-"))
    try:
        with ExitStack() as stack:
            demo(bed, folder, stack)
    except subprocess.CalledProcessError as error:
        return error.returncode
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    say("Done; nothing is left running.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
