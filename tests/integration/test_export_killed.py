"""An export that is killed, with a real registry: what has arrived is not asked for again."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from airgapbuild.bundle.frames import FRAME
from tests.bench.big import PLATFORM, REPOSITORY, TAG, big_image
from tests.engines import layout
from tests.engines.netns import Namespace
from tests.engines.registry import Registry
from tests.support.program import HEARS_SIGNALS, PROGRAM, airgapbuild, document, environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engines.parts.part import Shelf

MANIFEST = """
version = 1
name = "b"
platforms = ["{platform}"]
[images.big]
ref = "{address}/{repository}:{tag}"
role = "tool"
"""
SIZES = (9, 5, 2)
"""Of the layers, in megabytes: of three frames, of two, of one."""
ON_THE_WAY = 512 << 10
"""What the registry and the kernel may hold of one transfer: buffers that the namespace bounds."""
NARROW = """
ip link set lo mtu 1500
echo 4096 16384 16384 > /proc/sys/net/ipv4/tcp_rmem
echo 4096 16384 16384 > /proc/sys/net/ipv4/tcp_wmem
tc qdisc add dev lo root tbf rate 128mbit burst 128kb latency 100ms
"""
"""16 MB/s for all connections together, so that a kill falls into the transfers."""

_GIVEN = re.compile(r'"GET /v2/\S+/blobs/(sha256:\w+) HTTP/1\.1" 20[06] (\d+)')


@pytest.fixture(scope="module")
def narrow() -> Iterator[Namespace]:
    with Namespace() as namespace:
        done = namespace.run(["sh", "-ec", NARROW])
        assert done.returncode == 0, done.stderr
        yield namespace


@pytest.fixture(scope="module")
def big_registry(
    bed: Shelf, narrow: Namespace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    with Registry.start(bed, namespace=narrow, writable=True, empty=True) as registry:
        folder = tmp_path_factory.mktemp("big")
        layout.store(folder, big_image(folder, SIZES), registry.storage)
        yield registry


@pytest.fixture(scope="module")
def project(
    narrow: Namespace, big_registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with a manifest, its lock, and the bundle as one run makes it."""
    folder = tmp_path_factory.mktemp("project")
    text = MANIFEST.format(
        platform=PLATFORM, address=big_registry.address, repository=REPOSITORY, tag=TAG
    )
    (folder / "airgapbuild.toml").write_text(text)
    for command in (("lock",), ("export", "-o", "whole")):
        done = airgapbuild(*command, cwd=folder, prefix=narrow.prefix)
        assert done.returncode == 0, done.stderr
    return folder


def given(registry: Registry, after: int) -> Counter[str]:
    """How much of each blob the registry has given, by its log from byte `after` on."""
    given: Counter[str] = Counter()
    for digest, size in _GIVEN.findall(registry.log.read_bytes()[after:].decode()):
        given[digest] += int(size)
    return given


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def kill_one(project: Path, narrow: Namespace, out: Path, after: float) -> None:
    """Starts an export, and kills it so many seconds after it has begun to fetch."""
    running = subprocess.Popen(
        [*narrow.prefix, *HEARS_SIGNALS, str(PROGRAM), "export", "-q", "-o", out],
        cwd=project,
        env=environment(),
    )
    while running.poll() is None and not any(out.glob(".*.part")):
        time.sleep(0.005)
    try:
        running.wait(after)
    except subprocess.TimeoutExpired:
        running.send_signal(signal.SIGKILL)
        running.wait()


def test_a_killed_export_is_gone_on_from(
    narrow: Namespace, big_registry: Registry, project: Path, tmp_path: Path
) -> None:
    """Killed at twenty moments, of each blob at most one frame is given twice."""
    sizes = layers(project)
    moments = random.Random(4)
    resumed = 0
    for number in range(20):
        before = big_registry.log.stat().st_size
        out = tmp_path / str(number)
        kill_one(project, narrow, out, moments.uniform(0, 1.2))
        done = airgapbuild("export", "--json", "-o", out, cwd=project, prefix=narrow.prefix)
        assert done.returncode == 0, done.stderr
        assert contents(out) == contents(project / "whole")
        came = given(big_registry, before)
        twice = {digest: came[digest] - size for digest, size in sizes.items()}
        assert all(0 <= more <= FRAME + ON_THE_WAY for more in twice.values()), twice
        resumed += document(done)["fetched"] < sum(sizes.values())
    assert resumed >= 5


def layers(project: Path) -> dict[str, int]:
    """The layers by digest, with their sizes."""
    index = json.loads((project / "whole" / "bundle.json").read_bytes())
    blobs = [blob for file in index["files"] for blob in file.get("blobs", ())]
    return {blob["digest"]: blob["size"] for blob in blobs if blob["size"] > 1_000_000}
