"""Loads that go wrong, on real daemons of every engine and with every store."""

from __future__ import annotations

import gzip
import os
import signal
from typing import TYPE_CHECKING

import pytest

from airgapbuild.engine.daemon import Daemon
from airgapbuild.engine.endpoint import find_endpoint
from airgapbuild.errors import DaemonError, IntegrityError
from airgapbuild.oci.digest import digest_of
from tests.engines.daemon import Daemon as BedDaemon
from tests.engines.shipment import payload, ship, ship_raw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airgapbuild.oci.content import Descriptor
    from tests.conftest import FreshDaemon

MIB = 1 << 20


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
    assert not held.holds(shipment.image)
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


@pytest.mark.parametrize(
    "layer",
    [b"no gzip, no tar" * 100, gzip.compress(b"no tar" * 1000)],
    ids=["no gzip", "no tar"],
)
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


def test_a_full_disk_is_told_with_what_to_do(
    daemon: BedDaemon, fresh_daemon: FreshDaemon, name: str
) -> None:
    tight = fresh_daemon(daemon.engine, daemon.store, data_size_mb=20)
    with Daemon.connect(find_endpoint(None, tight.env)) as full:
        shipment = ship(name, payload(32 * MIB))
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
