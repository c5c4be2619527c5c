"""A builder that is told of a mirror, by `load --serve`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from airgapbuild.builder.instance import InstanceStore, Node
from airgapbuild.builder.mirrored import check_reachable, mirrored, parse_served, served_of
from airgapbuild.builder.wanted import wanted_instance
from airgapbuild.builder_tables import BuilderEntry, NodeEntry
from airgapbuild.errors import UsageError
from airgapbuild.lockfile import Lock
from airgapbuild.manifest import parse_manifest
from airgapbuild.resolve import resolve
from tests.support.memory import MemorySource

TEXT = """
version = 1
name = "b"
platforms = ["linux/amd64"]
[images.kit]
ref = "moby/buildkit:v0.34.2"
role = "builder"
tags = ["ghcr.io/corp/buildkit:1"]
[images.base]
ref = "quay.io/org/base:1"
role = "base"
[builder]
name = "airgap"
image = "kit"
sealed = true
driver-opts = { network = "host" }
[buildkitd.registry."docker.io"]
mirrors = ["other.example/hub"]
"""


def lock(text: str = TEXT) -> Lock:
    source = MemorySource()
    source.publish("moby/buildkit:v0.34.2", "linux/amd64")
    source.publish("quay.io/org/base:1", "linux/amd64")
    return resolve(parse_manifest(text.encode(), "m", folder=Path()), source)


def node(at: str, text: str = TEXT) -> Node:
    wanted = wanted_instance(lock(text), served=parse_served(at))
    assert wanted is not None
    [found] = wanted.nodes
    return found


def registries(at: str, text: str = TEXT) -> dict[str, Any]:
    """What its buildkitd.toml says of registries."""
    tables = tomllib.loads(node(at, text).files["buildkitd.toml"].decode())
    found: dict[str, Any] = tables["registry"]
    return found


def test_it_comes_first_for_every_registry_of_an_image() -> None:
    assert registries("127.0.0.1:5000") == {
        "docker.io": {"mirrors": ["127.0.0.1:5000", "other.example/hub"]},
        "ghcr.io": {"mirrors": ["127.0.0.1:5000"]},
        "quay.io": {"mirrors": ["127.0.0.1:5000"]},
        "127.0.0.1:5000": {"http": True},
    }


@pytest.mark.parametrize(
    ("text", "is_http"),
    [
        *(
            ("127.0.0.1:5000", True),
            ("localhost", True),
            ("[::1]:5000", True),
            ("127.9.9.9:1", True),
        ),
        *(("mirror.example:5000", False), ("http://mirror.example", True)),
        *(("https://127.0.0.1:5000", False), ("http://mirror.example/", True)),
    ],
)
def test_only_plain_http_is_said(text: str, *, is_http: bool) -> None:
    found = registries(text)
    host = text.rpartition("://")[2].rstrip("/")
    assert found["quay.io"] == {"mirrors": [host]}
    assert found.get(host) == ({"http": True} if is_http else None)


def test_what_the_lock_says_of_its_connection_stays_and_it_is_named_once() -> None:
    text = TEXT.replace('"other.example/hub"', '{ host = "m.example/hub", insecure = true }')
    assert registries("m.example", text)["docker.io"] == {"mirrors": ["m.example"]}
    assert registries("m.example", text)["m.example"] == {"insecure": True}


def test_its_own_registry_has_no_mirror() -> None:
    assert list(registries("quay.io")) == ["docker.io", "ghcr.io"]


def test_a_sealed_builder_goes_there_without_a_proxy() -> None:
    assert "127.0.0.1:5000" in node("127.0.0.1:5000").driver_opts["env.NO_PROXY"].split(",")


def test_a_builder_that_was_told_of_it_is_known_again(tmp_path: Path) -> None:
    store = InstanceStore.of({"HOME": str(tmp_path)})
    wanted = wanted_instance(lock(), served=parse_served("127.0.0.1:5000"))
    assert wanted is not None
    store.write(wanted)
    served = served_of(store.read("airgap"))
    assert str(served) == "http://127.0.0.1:5000"
    again = wanted_instance(lock(), served=served)
    assert again is not None
    assert store.holds(again)
    without = wanted_instance(lock())
    assert without is not None
    assert not store.holds(without)
    store.write(without)
    assert served_of(store.read("airgap")) is None
    assert served_of(None) is None


def test_a_lock_stays_as_it_is() -> None:
    one = lock()
    before = one.model_dump()
    mirrored(one, parse_served("127.0.0.1:5000"))
    assert one.model_dump() == before


@pytest.mark.parametrize("text", ["", "a b", "m.example/hub", "ftp://m.example", "http://"])
def test_an_address_that_is_none_is_told(text: str) -> None:
    with pytest.raises(UsageError, match=f"^--serve {text}: "):
        parse_served(text)


def builder(**keys: Any) -> Lock:
    return lock().model_copy(update={"builder": BuilderEntry(name="airgap", image="kit", **keys)})


@pytest.mark.parametrize("at", ["127.0.0.1:5000", "localhost:5000", "https://[::1]:5000"])
def test_a_container_with_a_loopback_of_its_own_does_not_reach_it(at: str) -> None:
    with pytest.raises(UsageError, match="the builder's container has a loopback of its own") as it:
        check_reachable(builder(), parse_served(at))
    assert 'network = "host"' in str(it.value.hint)
    nodes = (NodeEntry(driver_opts={"network": "host"}), NodeEntry(endpoint="farm"))
    with pytest.raises(UsageError, match="loopback"):
        check_reachable(builder(node=nodes), parse_served(at))
    check_reachable(builder(driver_opts={"network": "host"}), parse_served(at))


def test_other_addresses_may_be_reached() -> None:
    check_reachable(builder(), parse_served("mirror.example:5000"))


def test_a_builder_whose_buildkitd_toml_is_elsewhere_is_told() -> None:
    served = parse_served("mirror.example:5000")
    for driver in ("kubernetes", "remote"):
        with pytest.raises(UsageError, match=f"is of the driver {driver}") as caught:
            check_reachable(builder(driver=driver), served)
        assert "[buildkitd.registry" in str(caught.value.hint)
    with pytest.raises(UsageError, match="the bundle asks for no builder"):
        check_reachable(lock().model_copy(update={"builder": None}), served)
