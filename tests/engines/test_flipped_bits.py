"""One flipped bit, at 200 places of a bundle: `verify` finds it and no daemon hears of an image."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from airgapbuild.bundle.reader import open_bundle
from airgapbuild.engine.daemon import Daemon
from airgapbuild.engine.endpoint import find_endpoint
from airgapbuild.errors import BundleError, IntegrityError
from airgapbuild.export import export
from airgapbuild.load import load_images, prove
from airgapbuild.manifest import parse_manifest
from airgapbuild.oci.layout import Layout
from airgapbuild.resolve import resolve
from airgapbuild.verify import verify
from tests.engines.daemon import Daemon as BedDaemon
from tests.support.memory import MemorySource
from tests.support.relay import Relay

PLACES = 200
MANIFEST = """
version = 1
name = "b"
platforms = ["linux/amd64", "linux/arm64"]
[images.kit]
ref = "example.org/flipped/kit:1"
role = "builder"
tags = ["example.org/flipped/kit:stable"]
[images.tool]
ref = "example.org/flipped/tool:1"
role = "tool"
platforms = ["linux/amd64"]
[builder]
name = "airgap"
image = "kit"
"""
ENGINES = [
    ("20.10", "classic"),
    ("26.1", "classic"),
    ("28.5", "classic"),
    ("28.5", "containerd"),
]
_ASKED = re.compile(rb"^(?:GET|POST|PUT|DELETE|HEAD) (\S+) HTTP/1\.1\r$", re.MULTILINE)
_ABOUT_ITSELF = re.compile(rb"(/v1\.\d+)?/(version|info|_ping)")


@dataclass(frozen=True)
class Flip:
    """A bit of a file."""

    name: str
    at: int
    bit: int

    @contextmanager
    def done_to(self, folder: Path) -> Iterator[None]:
        """Flips it, and back again."""
        self._flip(folder)
        try:
            yield
        finally:
            self._flip(folder)

    def _flip(self, folder: Path) -> None:
        with (folder / self.name).open("r+b") as file:
            file.seek(self.at)
            byte = file.read(1)[0]
            file.seek(self.at)
            file.write(bytes([byte ^ 1 << self.bit]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of two images and three tarballs, 7 MB in all."""
    source, dice = MemorySource(), random.Random(5)
    shared, large = dice.randbytes(1 << 20), dice.randbytes(2 << 20)
    kit = (shared, large, b"buildkitd")
    source.publish("example.org/flipped/kit:1", "linux/amd64", "linux/arm64", layers=kit)
    source.publish("example.org/flipped/tool:1", "linux/amd64", layers=(shared, b"sh"))
    made = tmp_path_factory.mktemp("flipped") / "b"
    export(resolve(parse_manifest(MANIFEST.encode(), "m", folder=Path()), source), source, made)
    return made


@pytest.fixture(scope="module")
def flips(folder: Path) -> list[Flip]:
    """As many places in each region as in every other: small files, documents, frames, layers."""
    dice = random.Random(200)
    regions = list(_regions(folder))
    chosen = [regions[number % len(regions)] for number in range(PLACES)]
    flips = [Flip(name, dice.choice(places), dice.randrange(8)) for name, places in chosen]
    assert {flip.name for flip in flips} == {path.name for path in folder.iterdir()}
    return flips


def _regions(folder: Path) -> Iterator[tuple[str, range]]:
    """Every small file as one; of a tarball its head and end, and each blob with its frames."""
    files = json.loads((folder / "bundle.json").read_bytes())["files"]
    tarballs = {file["name"]: file for file in files if file["name"].endswith(".zst")}
    for path in sorted(folder.iterdir()):
        size = path.stat().st_size
        if path.name not in tarballs:
            yield path.name, range(size)
            continue
        blobs = tarballs[path.name]["blobs"]
        yield path.name, range(min(blob["offset"] for blob in blobs))
        yield path.name, range(size - 1024, size)
        for blob in blobs:
            yield path.name, range(blob["offset"], blob["offset"] + blob["length"])


def test_verify_finds_each(folder: Path, flips: list[Flip]) -> None:
    assert verify(folder).error is None
    for flip in flips:
        with flip.done_to(folder):
            found = verify(folder)
        assert isinstance(found.error, IntegrityError | BundleError), flip
        assert flip.name in found.fetch, flip
    assert verify(folder).error is None


@pytest.mark.parametrize("daemon", ENGINES, indirect=True, ids="-".join, scope="session")
def test_load_refuses_each_before_the_daemon_hears_of_an_image(
    daemon: BedDaemon, folder: Path, flips: list[Flip], tmp_path: Path
) -> None:
    layout = Layout(tmp_path / "layout")
    before = images(daemon)
    with Relay(daemon.socket, tmp_path / "relay.sock") as relay:
        endpoint = find_endpoint(f"unix://{relay.path}", {})
        with Daemon.connect(endpoint) as connected:
            for flip in flips:
                with flip.done_to(folder), pytest.raises((IntegrityError, BundleError)):
                    load_images(prove(open_bundle(folder)), connected, layout)
            heard = paths(relay)
            assert len(heard) >= 2
            assert all(_ABOUT_ITSELF.fullmatch(path) for path in heard), heard
            assert b"flipped" not in relay.sent
            assert images(daemon) == before
            loaded = load_images(prove(open_bundle(folder)), connected, layout)
        assert [image.action for image in loaded] == ["loaded", "loaded"]
        assert any(path.endswith(b"/images/load") for path in paths(relay))
    daemon.docker("image", "rm", *(str(name) for image in loaded for name in image.image.names))


def paths(relay: Relay) -> list[bytes]:
    """What the daemon was asked for, without queries."""
    return [path.partition(b"?")[0] for path in _ASKED.findall(bytes(relay.sent))]


def images(daemon: BedDaemon) -> list[str]:
    return sorted(daemon.docker("image", "ls", "--all", "--quiet", "--no-trunc").stdout.split())
