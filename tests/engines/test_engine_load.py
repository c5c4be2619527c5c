"""Loading into real daemons, of every engine and with every store."""

from __future__ import annotations

import gzip

from airgapbuild.engine.daemon import Daemon, LoadOutcome
from airgapbuild.oci.archive import archive_chunks, archive_members
from airgapbuild.oci.digest import digest_of
from airgapbuild.oci.reference import parse_reference
from tests.engines.daemon import Daemon as BedDaemon
from tests.engines.shipment import payload, pick, ship, ship_raw

SMALL = 24 * 1024
"""More than the documents of these images as a tar, less than any layer."""


def test_a_daemon_is_what_it_is(daemon: BedDaemon, held: Daemon) -> None:
    assert held.store == daemon.store
    assert held.version == daemon.docker("version", "-f", "{{.Server.Version}}").stdout.strip()
    assert str(held.platform) == "linux/amd64"
    assert held.root_dir == f"{daemon.folder}/data"


def test_a_load_is_done_once(held: Daemon, name: str) -> None:
    shipment = ship(name, payload(), payload())
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
    assert shipment.read == shipment.layers[2:]
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


def test_an_image_that_is_not_whole_is_loaded_again(
    daemon: BedDaemon, held: Daemon, name: str
) -> None:
    shipment = ship(name, payload(), payload())
    members = archive_members(shipment.image, shipment.names, wanted=lambda _: False)
    hollow = b"".join(archive_chunks(members, shipment.chunks))
    daemon.docker("load", stdin=hollow, check=False)
    assert (held.image(name) is None) == (held.store == "classic")
    assert not held.holds(shipment.image)
    assert shipment.load(held).action == "loaded"
    assert held.holds(shipment.image, shipment.names)


def test_an_image_of_another_platform_alone_is_loaded(
    daemon: BedDaemon, held: Daemon, name: str
) -> None:
    shipment = ship(name, payload(), payload())
    foreign = pick(shipment.source, shipment.names[0], shipment.image.top, "linux/arm64")
    members = archive_members(foreign, shipment.names, wanted=lambda _: True)
    daemon.docker("load", stdin=b"".join(archive_chunks(members, shipment.chunks)), check=False)
    assert not held.holds(shipment.image)
    assert shipment.load(held).action == "loaded"
    assert held.holds(shipment.image, shipment.names)
