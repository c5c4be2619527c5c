"""Every command of the documentation, run where a reader would run it.

Those of other languages are the same as in English: tests/unit/test_pages.py sees to it.

`connected` is a machine that reaches Docker Hub, for which a registry of the bed stands, with its
ordinary name. `isolated` is one beside a daemon and a registry in a network that drops all else. A
page's blocks share a folder, as if it had been carried over.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engines.daemon import Daemon, docker_config
from tests.engines.netns import Namespace
from tests.engines.pki import DOCKER_HUB, INSIDE
from tests.engines.registry import Registry
from tests.support.pages import LANGUAGES, SITE, Block, blocks
from tests.support.program import PROGRAM, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines.parts.part import Shelf

REPOSITORY = Path(__file__).parents[2]
PAGES = (REPOSITORY / "README.md", *sorted((SITE / LANGUAGES[0]).glob("*.md")))


@dataclass(frozen=True)
class World:
    """A machine that blocks are run on."""

    namespace: Namespace
    env: dict[str, str]

    def run(self, block: Block, folder: Path) -> None:
        done = self.namespace.run(("bash", "-euc", block.script), cwd=folder, env=self.env)
        said = f"{block}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == block.status, said


@pytest.fixture(scope="module")
def worlds(bed: Shelf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, World]]:
    home = tmp_path_factory.mktemp("home")
    for name in ("connected", "isolated"):
        (home / name).mkdir()
    with (
        Namespace("closed", names=(DOCKER_HUB,)) as internet,
        Registry.start(bed, namespace=internet, tls=True, port=443) as hub,
        Namespace("blackhole", names=(INSIDE,)) as sealed,
        Registry.start(
            bed, namespace=sealed, tls=True, writable=True, empty=True, newest=True, port=5000
        ) as inside,
        Daemon.start(bed, "28.5", "containerd", sealed, data_size_mb=4096) as daemon,
    ):
        connected = environment({"HOME": str(home / "connected"), "SSL_CERT_FILE": str(hub.ca)})
        connected["PATH"] = f"{PROGRAM.parent}:{connected['PATH']}"
        config = docker_config(bed, home / "docker", "newest")
        isolated = {**daemon.env, "HOME": str(home / "isolated"), "DOCKER_CONFIG": str(config)}
        isolated["SSL_CERT_FILE"] = str(inside.ca)
        isolated["PATH"] = f"{daemon.env['PATH']}:{PROGRAM.parent}"
        yield {"connected": World(internet, connected), "isolated": World(sealed, isolated)}
        daemon.docker("ps", "--all", "--quiet", config=config)
        for container in daemon.docker("ps", "--all", "--quiet").stdout.split():
            daemon.docker("rm", "--force", container)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_the_commands_of_a_page_run(page: Path, worlds: dict[str, World], tmp_path: Path) -> None:
    for block in blocks(page):
        assert block.world, f"{block}: the page does not say where this runs"
        if not block.world.startswith("nowhere, "):
            worlds[block.world].run(block, tmp_path)
