"""Loading into real daemons, of every engine and with every store."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from airgapbuild.engine.daemon import Daemon, LoadOutcome
from airgapbuild.engine.endpoint import find_endpoint
from airgapbuild.errors import DaemonError, IntegrityError
from airgapbuild.oci.archive import archive_chunks, archive_members
from airgapbuild.oci.content import (
    OCI_MANIFEST,
    Content,
    Descriptor,
    content,
    parse_index,
    parse_manifest,
)
from airgapbuild.oci.digest import digest_of
from airgapbuild.oci.image import PlatformImage
from airgapbuild.oci.reference import Reference, parse_reference
from tests.engines import pki
from tests.engines.daemon import Daemon as BedDaemon
from tests.engines.netns import Namespace
from tests.support.memory import CONFIG, LAYER, MemorySource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airgapbuild.oci.digest import Digest
    from tests.conftest import FreshDaemon
    from tests.engines.parts.part import Shelf

SMALL = 24 * 1024
"""More than the documents of these images as a tar, less than any layer."""
MIB = 1 << 20


@dataclass
class Shipment:
    """An image in memory, the names that it is to get, and which of its blobs were read."""

    source: MemorySource
    image: PlatformImage
    names: tuple[Reference, ...]
    read: list[Digest] = field(default_factory=list)
    sent: int = 0
    """What the task was told."""

    def chunks(self, descriptor: Descriptor) -> Iterator[bytes]:
        self.read.append(descriptor.digest)
        yield from self.source.blob(self.names[0], descriptor)

    def advance(self, size: int) -> None:
        self.sent += size

    def done(self, outcome: str) -> None:
        raise AssertionError("the caller says when a task is done")

    def load(self, into: Daemon, *names: str) -> LoadOutcome:
        before, self.read = self.sent, []
        wanted = tuple(map(parse_reference, names)) or self.names
        outcome = into.load(self.image, wanted, self.chunks, self)
        assert self.sent - before == outcome.sent
        return outcome

    @property
    def layers(self) -> list[Digest]:
        return [layer.digest for layer in self.image.layers]


def payload(size: int = 64 * 1024) -> bytes:
    return os.urandom(size)


def ship(name: str, *layers: bytes, platform: str = "linux/amd64", index: bool = True) -> Shipment:
    source = MemorySource()
    top = source.publish(name, "linux/arm64", platform, layers=layers, index=index)
    reference = parse_reference(name)
    return Shipment(source, pick(source, reference, top, platform), (reference,))


def pick(source: MemorySource, ref: Reference, top: Content, platform: str) -> PlatformImage:
    """The documents of one platform."""

    def get(descriptor: Descriptor) -> Content:
        return source.manifest(ref.with_digest(descriptor.digest))

    if top.descriptor.media_type == OCI_MANIFEST:
        manifest, attestations = top, tuple[Content, ...]()
    else:
        index = parse_index(top, "index")
        manifest = get(next(found for where, found in index.platforms if str(where) == platform))
        attestations = tuple(
            get(entry.descriptor)
            for entry in index.attestations
            if entry.subject == manifest.descriptor.digest
        )
    config = parse_manifest(manifest, "manifest").config
    raw = source.blobs[config.digest]
    return PlatformImage(top, manifest, content(raw, config.media_type), attestations)


def ship_raw(name: str, layers: list[bytes], diff_ids: list[Digest]) -> Shipment:
    """An image of one manifest with layers and diff IDs that need not fit."""
    source = MemorySource()
    config = json.dumps(
        {
            "os": "linux",
            "architecture": "amd64",
            "config": {"Labels": {"salt": os.urandom(8).hex()}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
    ).encode()
    blobs = [(config, CONFIG), *((layer, LAYER) for layer in layers)]
    descriptors = [content(raw, kind).descriptor for raw, kind in blobs]
    source.blobs |= {digest_of(raw): raw for raw, _ in blobs}
    fields = [json.loads(d.model_dump_json(by_alias=True, exclude_none=True)) for d in descriptors]
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": fields[0],
        "layers": fields[1:],
    }
    top = content(json.dumps(document).encode(), OCI_MANIFEST)
    image = PlatformImage(top, top, content(config, CONFIG))
    return Shipment(source, image, (parse_reference(name),))


@pytest.fixture
def held(daemon: BedDaemon) -> Iterator[Daemon]:
    """Every daemon, as our program sees it."""
    with Daemon.connect(find_endpoint(None, daemon.env)) as connected:
        yield connected


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return f"example.org/tests/{abs(hash(request.node.name))}:v1"


def test_a_daemon_is_what_it_is(daemon: BedDaemon, held: Daemon) -> None:
    assert held.store == daemon.store
    assert held.version == daemon.docker("version", "-f", "{{.Server.Version}}").stdout.strip()
    assert str(held.platform) == "linux/amd64"
    assert held.root_dir == f"{daemon.folder}/data"
    assert held.tells_completeness == ((daemon.engine, daemon.store) != ("26.1", "containerd"))


def test_a_load_is_done_once(held: Daemon, name: str) -> None:
    shipment = ship(name, payload(), payload())
    assert held.loaded(shipment.image) is None
    assert not held.holds(shipment.image)

    loaded = shipment.load(held)
    assert loaded.action == "loaded"
    assert sorted(shipment.read) == sorted(shipment.layers)
    assert held.holds(shipment.image, shipment.names)

    assert shipment.load(held) == LoadOutcome("present", 0)
    assert shipment.read == []


def test_a_missing_name_costs_no_layer(held: Daemon, name: str) -> None:
    shipment = ship(name, payload(), payload())
    shipment.load(held)
    more = ["127.0.0.1:1/airgapbuild/tests/x:v1", name, "docker.io/library/airgapbuild-test:v1"]
    outcome = shipment.load(held, *more)
    assert (outcome.action, shipment.read) == ("named", [])
    assert 0 < outcome.sent < SMALL
    assert shipment.load(held, *more) == LoadOutcome("present", 0)
    image = held.image(name)
    assert image is not None
    assert image.names == set(map(parse_reference, more))


def test_an_image_has_its_id_and_its_repo_digest(
    daemon: BedDaemon, held: Daemon, name: str
) -> None:
    shipment = ship(name, payload())
    shipment.load(held)
    document = shipment.image.config if held.store == "classic" else shipment.image.top
    expected = document.descriptor.digest
    said = daemon.docker("image", "inspect", "-f", "{{.Id}} {{.RepoDigests}}", name).stdout.split()
    assert said[0] == expected == held.expected_id(shipment.image)
    if held.store == "containerd":
        assert said[1] == f"[{shipment.names[0].with_digest(expected)}]"


def test_an_image_without_an_index_is_loaded(held: Daemon, name: str) -> None:
    shipment = ship(name, payload(), payload(), index=False)
    assert shipment.load(held).action == "loaded"
    assert shipment.load(held) == LoadOutcome("present", 0)


def test_a_layer_that_is_there_is_not_sent(held: Daemon, name: str) -> None:
    base, middle = payload(), payload()
    ship(name, base, middle, payload()).load(held)
    shipment = ship(name.replace(":v1", ":v2"), base, middle, payload())
    outcome = shipment.load(held)
    assert outcome.action == "loaded"
    if held.tells_completeness:
        assert sorted(shipment.read) == sorted(shipment.layers[2:])
    else:
        assert sorted(shipment.read) == sorted(shipment.layers)
    assert shipment.load(held) == LoadOutcome("present", 0)


def test_a_layer_that_is_there_on_another_base_is_sent(held: Daemon, name: str) -> None:
    layer = payload()
    ship(name, payload(), layer).load(held)
    shipment = ship(name.replace(":v1", ":v2"), payload(), layer)
    shipment.load(held)
    assert sorted(shipment.read) == sorted(shipment.layers)


def test_the_same_layer_in_another_compression_is_sent_after_all(held: Daemon, name: str) -> None:
    first = ship(name, payload())
    first.load(held)
    (layer,) = first.layers
    tar = gzip.decompress(first.source.blobs[layer])
    again = gzip.compress(tar, compresslevel=1, mtime=1)
    shipment = ship_raw(name.replace(":v1", ":v2"), [again], [digest_of(tar)])
    assert shipment.load(held).action == "loaded"
    assert shipment.read == ([] if held.store == "classic" else [digest_of(again)])
    assert held.holds(shipment.image, shipment.names)


def test_a_name_moves_to_the_new_image(held: Daemon, name: str) -> None:
    old, new = ship(name, payload()), ship(name, payload())
    old.load(held)
    new.load(held)
    image = held.image(name)
    assert image is not None
    assert image.id == held.expected_id(new.image)


def test_a_tampered_layer_leaves_the_daemon_as_it_was(
    daemon: BedDaemon, held: Daemon, name: str
) -> None:
    shipment = ship(name, payload(), payload(4 * MIB))
    top = shipment.layers[-1]
    good = shipment.source.blobs[top]
    shipment.source.blobs[top] = good[:-1] + bytes([good[-1] ^ 1])
    with pytest.raises(IntegrityError, match=top):
        shipment.load(held)
    assert held.image(name) is None
    assert held.loaded(shipment.image) is None
    assert daemon.docker("images", "-q", name).stdout == ""
    shipment.source.blobs[top] = good
    assert shipment.load(held).action == "loaded"


@pytest.mark.parametrize("kind", [OSError, ConnectionResetError, RuntimeError])
def test_what_goes_wrong_on_our_side_comes_out_as_itself(
    held: Daemon, name: str, kind: type[Exception]
) -> None:
    shipment = ship(name, payload())

    def read(descriptor: Descriptor) -> Iterator[bytes]:
        yield b"x"
        raise kind("the bundle's disk is broken")

    with pytest.raises(kind, match="the bundle's disk"):
        held.load(shipment.image, shipment.names, read, shipment)
    assert held.image(name) is None


@pytest.mark.parametrize("layer", [b"no gzip, no tar" * 100, gzip.compress(b"no tar" * 1000)])
def test_a_layer_that_cannot_be_unpacked_is_an_error(held: Daemon, name: str, layer: bytes) -> None:
    # Salted, for the containerd store keeps what it could not unpack.
    layer += os.urandom(8)
    shipment = ship_raw(name, [layer], [digest_of(layer)])
    with pytest.raises(DaemonError, match="the daemon could not load it: "):
        shipment.load(held)


def test_a_config_that_lies_about_its_layer_is_an_error(held: Daemon, name: str) -> None:
    layer = ship(name, payload())
    raw = layer.source.blobs[layer.layers[0]]
    shipment = ship_raw(name, [raw], [digest_of(os.urandom(8))])
    with pytest.raises(DaemonError, match=r"could not load it: .*(diffID|diff id)"):
        shipment.load(held)


def test_an_image_that_is_not_whole_is_loaded_again(
    daemon: BedDaemon, held: Daemon, name: str
) -> None:
    shipment = ship(name, payload(), payload())
    members = archive_members(shipment.image, shipment.names, wanted=lambda _: False)
    hollow = b"".join(archive_chunks(members, shipment.chunks))
    daemon.docker("load", stdin=hollow, check=False)
    image = held.loaded(shipment.image)
    if daemon.store == "classic":
        assert image is None
    elif held.tells_completeness:
        assert image is not None
        assert image.complete is False
    else:
        pytest.skip("this store cannot tell")
    assert shipment.load(held).action == "loaded"
    assert held.holds(shipment.image, shipment.names)


def test_a_full_disk_is_told_with_what_to_do(
    daemon: BedDaemon, fresh_daemon: FreshDaemon, name: str
) -> None:
    tight = fresh_daemon(daemon.engine, daemon.store, data_size_mb=40)
    with Daemon.connect(find_endpoint(None, tight.env)) as full:
        shipment = ship(name, payload(60 * MIB))
        with pytest.raises(DaemonError, match="no space left on device") as failed:
            shipment.load(full)
        assert failed.value.hint is not None
        assert f"{tight.folder}/data" in failed.value.hint
        assert "docker system prune" in failed.value.hint
        assert ship(name, payload()).load(full).action == "loaded"


def test_a_daemon_that_dies_is_told(
    daemon: BedDaemon, fresh_daemon: FreshDaemon, name: str
) -> None:
    doomed = fresh_daemon(daemon.engine, daemon.store)
    with Daemon.connect(find_endpoint(None, doomed.env)) as connected:
        shipment = ship(name, payload(), payload(8 * MIB))

        def read(descriptor: Descriptor) -> Iterator[bytes]:
            os.killpg(doomed._process.pid, signal.SIGKILL)
            doomed._process.wait()
            yield from shipment.chunks(descriptor)

        with pytest.raises(DaemonError) as failed:
            connected.load(shipment.image, shipment.names, read, shipment)
        assert doomed.host in failed.value.message


def test_a_daemon_that_is_gone_is_told_with_its_origin(fresh_daemon: FreshDaemon) -> None:
    stopped = fresh_daemon("28.5", "classic")
    stopped.stop()
    with pytest.raises(DaemonError, match=r"from DOCKER_HOST\): No such file") as failed:
        Daemon.connect(find_endpoint(None, stopped.env))
    assert "is it running?" in (failed.value.hint or "")


CONNECT = """
import os
from airgapbuild.engine.daemon import Daemon
from airgapbuild.engine.endpoint import find_endpoint
from airgapbuild.errors import DaemonError
try:
    with Daemon.connect(find_endpoint(None, os.environ)) as daemon:
        print(daemon.version, len(list(daemon.layer_chains())))
except DaemonError as error:
    print(error.message, "|", error.hint)
"""


def connect(*prefix: str, env: dict[str, str]) -> str:
    """What a process of its own gets to see."""
    argv = [*prefix, sys.executable, "-c", CONNECT]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **env}
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout


def test_a_socket_without_permission_is_told(daemon: BedDaemon) -> None:
    # The folder of the bed is private; the socket's own mode is what is to refuse.
    daemon.folder.chmod(0o755)
    said = connect("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", env=daemon.env)
    assert "permission denied" in said
    assert "docker group" in said


@pytest.fixture(scope="module")
def tls_daemon(bed: Shelf) -> Iterator[BedDaemon]:
    with Namespace() as closed, BedDaemon.start(bed, "28.5", "containerd", closed, tls=True) as d:
        yield d


def test_tls_by_environment_alone_will_do(tls_daemon: BedDaemon) -> None:
    said = connect(*tls_daemon.namespace.prefix, env=tls_daemon.env)
    assert said.startswith("28.5.2")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda env: env.pop("DOCKER_TLS_VERIFY"), "it wants TLS: set DOCKER_TLS_VERIFY=1"),
        (lambda env: env.update(DOCKER_CERT_PATH="/nowhere"), "CA /nowhere/ca.pem"),
        (lambda env: env.update(DOCKER_HOST="tcp://127.0.0.1:1"), "Connection refused"),
        # An address that its certificate does not have.
        (lambda env: env.update(DOCKER_HOST="tcp://127.0.0.2:2376"), "Connection refused|TLS"),
    ],
)
def test_tls_that_does_not_work_is_told_with_its_files(
    tls_daemon: BedDaemon, change: Callable[[dict[str, str]], object], words: str
) -> None:
    env = dict(tls_daemon.env)
    change(env)
    said = connect(*tls_daemon.namespace.prefix, env=env)
    assert any(word in said for word in words.split("|")), said


def test_tls_without_verification_is_what_docker_tls_means(tls_daemon: BedDaemon) -> None:
    env = {key: value for key, value in tls_daemon.env.items() if key != "DOCKER_TLS_VERIFY"}
    said = connect(*tls_daemon.namespace.prefix, env=env | {"DOCKER_TLS": "1"})
    assert said.startswith("28.5.2")


def test_certificates_of_another_authority_are_told(tls_daemon: BedDaemon, tmp_path: Path) -> None:
    pki.issue(pki.authority(tmp_path), tmp_path)
    env = tls_daemon.env | {"DOCKER_CERT_PATH": str(tmp_path)}
    said = connect(*tls_daemon.namespace.prefix, env=env)
    assert "CERTIFICATE_VERIFY_FAILED" in said
    assert f"CA {tmp_path}/ca.pem" in said
