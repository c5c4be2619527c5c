"""An isolated site: a daemon that reaches nothing, and airgapbuild beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tests.support.program import airgapbuild, document

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.engines.daemon import Daemon

BUILDER = "airgap"
CONTAINER = f"buildx_buildkit_{BUILDER}0"


@dataclass(frozen=True)
class Site:
    """A user of a daemon, with a home and a docker configuration of his own."""

    daemon: Daemon
    config: Path
    """DOCKER_CONFIG, with buildx in it."""
    home: Path

    @property
    def env(self) -> dict[str, str]:
        return {**self.daemon.env, "DOCKER_CONFIG": str(self.config), "HOME": str(self.home)}

    def airgapbuild(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Runs airgapbuild inside the daemon's namespace."""
        return airgapbuild(*arguments, env=self.env, prefix=self.daemon.namespace.prefix)

    def load(self, bundle: Path, *options: str) -> dict[str, Any]:
        """Loads a bundle; the result."""
        done = self.airgapbuild("load", "--json", bundle, *options)
        assert done.returncode == 0, done.stderr
        return document(done)

    def docker(self, *arguments: str | Path) -> str:
        """What the docker command line prints for this user."""
        return self.daemon.docker(*arguments, config=self.config).stdout

    def inspect(self, name: str) -> dict[str, Any]:
        """An image or a container, as docker inspects it."""
        [found] = json.loads(self.docker("inspect", name))
        parsed: dict[str, Any] = found
        return parsed

    def build(self, folder: Path, *options: str, base: str = "") -> bytes:
        """Builds FROM scratch, or from a base NAME=PLACE, with the current builder; what came out.

        The options are docker's own, such as --host.
        """
        (folder / "context").mkdir(parents=True, exist_ok=True)
        name = base.partition("=")[0] or "scratch"
        (folder / "context" / "Dockerfile").write_text(f"FROM {name}\nCOPY greeting /\n")
        (folder / "context" / "greeting").write_bytes(b"hello from behind the gap\n")
        out = folder / "out"
        given = ("--build-context", base) if base else ()
        self.docker(*options, "buildx", "build", *given, "--output", out, folder / "context")
        return (out / "greeting").read_bytes()

    def remove_builder(self) -> None:
        """Takes the builder's container and its cache away, if they are there."""
        self.docker("rm", "--force", CONTAINER)
        self.docker("volume", "rm", "--force", f"{CONTAINER}_state")

    def copy(self) -> Site:
        """The same, with an environment that may be changed."""
        return replace(self, daemon=replace(self.daemon, env=dict(self.daemon.env)))
