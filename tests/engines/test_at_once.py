"""Two jobs that load into one daemon at the same time, each with a home of its own."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.engines.bundles import make_bundle, manifest
from tests.engines.daemon import Daemon, docker_config
from tests.engines.site import Site
from tests.support.program import PROGRAM, environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engines.daemon import Store
    from tests.engines.netns import Namespace
    from tests.engines.parts.part import Shelf
    from tests.engines.registry import Registry


@dataclass(frozen=True)
class Job:
    """Somebody who loads."""

    site: Site

    def load(self, bundle: Path) -> subprocess.Popen[str]:
        """Begins to."""
        argv = [*self.site.daemon.namespace.prefix, str(PROGRAM), "load", str(bundle)]
        out = subprocess.PIPE
        return subprocess.Popen(
            argv, env=environment(self.site.env), stdout=out, stderr=subprocess.STDOUT, text=True
        )


@pytest.fixture(params=["classic", "containerd"])
def jobs(
    request: pytest.FixtureRequest, bed: Shelf, closed: Namespace, tmp_path: Path
) -> Iterator[tuple[Job, Job]]:
    store: Store = request.param
    with Daemon.start(bed, "28.5", store, closed, data_size_mb=4096) as daemon:
        sites = []
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
            config = docker_config(bed, tmp_path / name / "docker", "newest")
            sites.append(Site(daemon, config, tmp_path / name))
        yield Job(sites[0]), Job(sites[1])
        sites[0].remove_builder()


def both(jobs: tuple[Job, Job], bundles: tuple[Path, Path]) -> None:
    """Load at once, and succeed."""
    running = [job.load(bundle) for job, bundle in zip(jobs, bundles, strict=True)]
    said = [process.communicate(timeout=300)[0] for process in running]
    for process, words in zip(running, said, strict=True):
        assert process.returncode == 0, words


def test_the_same_bundle(jobs: tuple[Job, Job], bundle: Path, tmp_path: Path) -> None:
    both(jobs, (bundle, bundle))
    for number, job in enumerate(jobs):
        assert job.site.build(tmp_path / str(number)) == b"hello from behind the gap\n"


@pytest.mark.parametrize("jobs", ["containerd"], indirect=True)
def test_bundles_that_want_another_builder_each(
    jobs: tuple[Job, Job], bundle: Path, registry: Registry, busybox: str, tmp_path: Path
) -> None:
    text = manifest(registry.address, busybox).replace("max-parallelism = 4", "max-parallelism = 2")
    (tmp_path / "changed").mkdir()
    other = make_bundle(tmp_path / "changed", text)
    both(jobs, (bundle, other))
