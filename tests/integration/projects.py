"""A project of the connected side, in a home of its own and with no daemon anywhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.program import airgapbuild

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_HEAD = 'version = 1\nname = "bundle"\nplatforms = ["linux/amd64"]\n'


class Project:
    """A folder with a manifest, and the home of whoever works there."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.folder = root / "project"
        for folder in (self.home, self.folder):
            folder.mkdir()
        self.environ: dict[str, str] = {
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home / "run"),
            "DOCKER_HOST": f"unix://{root}/no-daemon",
        }
        """What is said by the environment in each run."""

    @property
    def lock(self) -> Path:
        return self.folder / "airgapbuild.lock"

    def wants(
        self, refs: Mapping[str, str], registries: Mapping[str, Mapping[str, object]]
    ) -> None:
        """Writes the manifest: references by name, and the settings of registries."""
        lines = [_HEAD]
        for name, ref in refs.items():
            lines.append(f'[images.{name}]\nref = "{ref}"\nrole = "base"\n')
        for host, settings in registries.items():
            lines.append(f'[registries."{host}"]\n')
            lines += [f"{key} = {_toml(value)}\n" for key, value in settings.items()]
        (self.folder / "airgapbuild.toml").write_text("".join(lines))

    def run(
        self, *arguments: str, prefix: Sequence[str] = (), **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs airgapbuild in the project."""
        env = {**self.environ, **environ}
        return airgapbuild(*arguments, cwd=self.folder, env=env, prefix=prefix)


def _toml(value: object) -> str:
    return json.dumps(value, default=str)  # booleans, text and lists of it: TOML writes them alike
