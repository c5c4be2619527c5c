"""The buildx builder that a lock describes."""

from __future__ import annotations

from dataclasses import replace
from itertools import zip_longest
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from airgapbuild.builder.buildkitd import config_files, sealing
from airgapbuild.builder.instance import MARK, MIRROR, Instance, Node
from airgapbuild.builder.mirrored import mirrored
from airgapbuild.builder_tables import DEFAULT_ENDPOINT
from airgapbuild.document import meaning_of
from airgapbuild.drivers import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from airgapbuild.builder.mirrored import Served
    from airgapbuild.builder_tables import BuilderEntry, NodeEntry
    from airgapbuild.lockfile import Lock

_ALLOW: Final = "--allow-insecure-entitlement"
_HOST_NETWORK: Final = "network.host"


def wanted_instance(
    lock: Lock,
    default: str = DEFAULT_ENDPOINT,
    kubeconfig: str = "",
    *,
    there: Mapping[str, bytes] = MappingProxyType({}),
    served: Served | None = None,
) -> Instance | None:
    """The builder of a lock; None where the manifest wants none.

    `default` stands where a node's endpoint is "default". `kubeconfig` is what names the cluster;
    empty: whatever kubectl would go by. `there` are the files that no lock has: `files_there`;
    `served` is a mirror that no lock knows of: `check_reachable`.
    """
    builder = lock.builder
    if builder is None:
        return None
    if served:
        lock = mirrored(lock, served)
        options = {**builder.driver_opts, MIRROR: str(served)}
        builder = builder.model_copy(update={"driver_opts": options})
    files = {**config_files(lock.buildkitd), **there}
    nodes = tuple(
        _node(lock, builder, entry, bare, files)
        for name, entry in builder.nodes.items()
        for endpoint in [_endpoint(builder, name, entry, default, kubeconfig)]
        for bare in [Node(name, endpoint, builder.options_of(entry), platforms=entry.platforms)]
    )
    return Instance(builder.name, nodes, builder.driver)


def made_from(node: Node, environment: Collection[str]) -> bool:
    """Whether a container with this environment (`NAME=value`) was made from the node."""
    return f"{MARK.removeprefix(ENVIRONMENT)}={node.driver_opts[MARK]}" in environment


def _node(
    lock: Lock, builder: BuilderEntry, entry: NodeEntry, bare: Node, files: Mapping[str, bytes]
) -> Node:
    if builder.driver == "remote":
        return bare
    sealed = sealing(lock.buildkitd) if builder.sealed else {}
    node = replace(
        bare,
        driver_opts={**sealed, **bare.driver_opts},
        flags=_flags(lock, builder, entry),
        files=files,
    )
    image = lock.builder_image
    if builder.driver == "kubernetes" or image is None:
        return node
    own = {**node.driver_opts, "image": str(image.builder_name)}
    return _marked(replace(node, driver_opts=own))


def _endpoint(
    builder: BuilderEntry, name: str, entry: NodeEntry, default: str, kubeconfig: str
) -> str:
    """Source: docker/buildx builder/builder.go, `Create`."""
    if builder.driver == "kubernetes":
        query = urlencode({"deployment": name, "kubeconfig": kubeconfig})
        return f"kubernetes:///{builder.name}?{query}"
    if entry.endpoint in (None, DEFAULT_ENDPOINT):
        return default
    return str(entry.endpoint)


def _flags(lock: Lock, builder: BuilderEntry, entry: NodeEntry) -> tuple[str, ...]:
    """The flags with which `docker buildx create` completes those that are given.

    Source: docker/buildx builder/builder.go, `parseBuildkitdFlags`.
    """
    flags = builder.flags_of(entry)
    allowed = _allowed(flags)
    network = builder.options_of(entry).get("network")
    if network == "host" and builder.driver == "docker-container":
        is_missing = _HOST_NETWORK not in allowed
    else:
        is_missing = not allowed and _HOST_NETWORK not in lock.buildkitd.insecure_entitlements
    return (*flags, f"{_ALLOW}={_HOST_NETWORK}") if is_missing else flags


def _allowed(flags: tuple[str, ...]) -> set[str]:
    """What flags allow, written in one word or in two."""
    pairs = zip_longest(flags, flags[1:], fillvalue="")
    return {
        flag.partition("=")[2] or following
        for flag, following in pairs
        if flag.partition("=")[0] == _ALLOW
    }


def _marked(node: Node) -> Node:
    files = {name: content.decode(errors="surrogateescape") for name, content in node.files.items()}
    digest = meaning_of([dict(node.driver_opts), list(node.flags), files])
    return replace(node, driver_opts={**node.driver_opts, MARK: digest})
