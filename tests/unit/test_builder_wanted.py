"""The instance that a lock's builder becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airgapbuild.builder.instance import MARK, Instance
from airgapbuild.builder.wanted import made_from, wanted_instance
from airgapbuild.builder_tables import BuilderEntry, NodeEntry
from airgapbuild.buildkitd import Buildkitd
from airgapbuild.errors import LockError
from airgapbuild.lockfile import Lock, parse_lock, read_lock, render_lock
from airgapbuild.oci.platform import parse_platform

GOLDEN = read_lock(Path(__file__).parent / "golden" / "airgapbuild.lock")
HOST_NETWORK = "--allow-insecure-entitlement=network.host"
ARM = parse_platform("linux/arm64")


def lock(**keys: Any) -> Lock:
    """The golden lock with this builder, and no more than defaults of buildkitd."""
    keys = {"name": "Air", "image": "buildkit"} | keys
    return GOLDEN.model_copy(update={"builder": BuilderEntry(**keys), "buildkitd": Buildkitd()})


def instance(**keys: Any) -> Instance:
    wanted = wanted_instance(lock(**keys))
    assert wanted is not None
    return wanted


def test_where_none_is_wanted_there_is_none() -> None:
    assert wanted_instance(GOLDEN.model_copy(update={"builder": None})) is None


def test_nodes_have_one_image_and_settings_of_their_own() -> None:
    nodes = (
        NodeEntry(endpoint="default", driver_opts={"memory": "1g"}),
        NodeEntry(endpoint="farm", name="Arm", platforms=(ARM,), flags=("--debug",)),
    )
    wanted = wanted_instance(lock(node=nodes, driver_opts={"cpu-shares": "5"}), "tcp://here:1")
    assert wanted is not None
    here, arm = wanted.nodes
    assert (here.name, here.endpoint, here.platforms) == ("air0", "tcp://here:1", ())
    assert (arm.name, arm.endpoint, arm.platforms) == ("arm", "farm", (ARM,))
    assert here.driver_opts["image"] == arm.driver_opts["image"]
    assert (here.driver_opts["memory"], here.driver_opts["cpu-shares"]) == ("1g", "5")
    assert "memory" not in arm.driver_opts
    assert arm.flags == ("--debug", HOST_NETWORK)
    assert list(here.files) == list(arm.files) == ["buildkitd.toml"]


def test_the_mark_tells_what_a_container_was_made_from() -> None:
    [node] = instance().nodes
    [other] = instance(driver_opts={"memory": "1g"}).nodes
    variable = f"AIRGAPBUILD_CONFIG={node.driver_opts[MARK]}"
    assert made_from(node, ["A=b", variable])
    assert not made_from(other, ["A=b", variable])


@pytest.mark.parametrize(
    ("keys", "flags"),
    [
        ({}, (HOST_NETWORK,)),
        ({"flags": ("--debug",)}, ("--debug", HOST_NETWORK)),
        (
            {"flags": ("--allow-insecure-entitlement=security.insecure",)},
            ("--allow-insecure-entitlement=security.insecure",),
        ),
        (
            {
                "flags": ("--allow-insecure-entitlement", "security.insecure"),
                "driver_opts": {"network": "host"},
            },
            ("--allow-insecure-entitlement", "security.insecure", HOST_NETWORK),
        ),
        (
            {
                "flags": ("--allow-insecure-entitlement", "network.host"),
                "driver_opts": {"network": "host"},
            },
            ("--allow-insecure-entitlement", "network.host"),
        ),
    ],
)
def test_flags_are_completed_as_buildx_does(keys: dict[str, Any], flags: tuple[str, ...]) -> None:
    assert instance(**keys).nodes[0].flags == flags


def test_a_remote_buildkitd_gets_neither_files_nor_flags_nor_variables() -> None:
    options = {"cacert": "/ca.pem"}
    node = NodeEntry(endpoint="tcp://far:1234")
    [remote] = instance(driver="remote", image=None, node=(node,), driver_opts=options).nodes
    assert (remote.name, remote.endpoint, remote.driver_opts) == ("air0", "tcp://far:1234", options)
    assert (remote.flags, dict(remote.files)) == ((), {})


def test_pods_have_the_image_that_they_are_told_and_an_endpoint_as_buildx_makes_it() -> None:
    keys = {"driver": "kubernetes", "sealed": True, "driver_opts": {"image": "reg.example/kit:1"}}
    wanted = wanted_instance(lock(**keys), kubeconfig="/home/me/.kube/ci config")
    assert wanted is not None
    [pod] = wanted.nodes
    assert pod.endpoint == (
        "kubernetes:///Air?deployment=air0&kubeconfig=%2Fhome%2Fme%2F.kube%2Fci+config"
    )
    assert pod.driver_opts["image"] == "reg.example/kit:1"
    assert pod.driver_opts["env.HTTPS_PROXY"] == "http://127.0.0.1:1"
    assert MARK not in pod.driver_opts
    assert pod.flags == (HOST_NETWORK,)


def test_a_lock_is_checked_as_a_manifest_is() -> None:
    assert parse_lock(render_lock(lock(node=(NodeEntry(endpoint="farm"),))), "l").builder
    raw = render_lock(lock(driver_opts={"memori": "1g"}, image="nothing"))
    with pytest.raises(LockError) as refused:
        parse_lock(raw, "l.lock")
    told = "\n".join(refused.value.lines)
    assert "builder.image: is not locked" in told
    assert "builder.driver-opts.memori: no option of the docker-container driver" in told
