"""The builder: known to buildx, chosen, made from what was loaded, running, sealed."""

from __future__ import annotations

import re
import shlex
import socket
import tomllib
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from airgapbuild.builder.buildkitd import BUILDKITD_FILE
from airgapbuild.builder.buildx import Buildx
from airgapbuild.builder.mirrored import served_of
from airgapbuild.builder.there import files_there
from airgapbuild.builder.wanted import wanted_instance
from airgapbuild.doctor.finding import Finding, ok, problem, warning
from airgapbuild.doctor.network import lookup_seconds
from airgapbuild.doctor.nodes import DOCKER_CONTAINER, Node, nodes_of
from airgapbuild.doctor.site import tried
from airgapbuild.engine.daemon import Daemon
from airgapbuild.engine.endpoint import DEFAULT_CONTEXT, Endpoint, find_endpoint
from airgapbuild.errors import BuilderError
from airgapbuild.local_name import LOCAL_REGISTRY
from airgapbuild.registry.proxies import proxy_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airgapbuild.builder.instance import StoredInstance
    from airgapbuild.builder.mirrored import Served
    from airgapbuild.doctor.site import Site

_TAKES_FRONTENDS: Final = (0, 12)
"""The BuildKit that brought named contexts for frontends (frontend/gateway/gateway.go)."""
_OF_DOCKER: Final = "default"
_NOWHERE: Final = f"http://{LOCAL_REGISTRY}"
_HTTP: Final = 80
_HTTPS: Final = 443
_PATIENCE: Final = 2.0
"""Seconds for a port of this machine."""
_PLAIN: Final = "it has no mirror, no seal and no other platform of a bundle's builder"
_SEAL: Final = "[builder]\nsealed = true"


def check_store(site: Site) -> Iterator[Finding]:
    """Whether every file in buildx's folder of builders is one."""
    folder = site.store.folder / "instances"
    broken = False
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            site.store.read(path.name)
        except BuilderError as error:
            broken = True
            yield problem(
                "; ".join(error.lines),
                "`docker buildx ls` stops at the first file that is no builder's",
                f"rm {shlex.quote(str(path))}",
            )
    if not broken:
        yield ok(f"buildx keeps its builders in {site.store.folder}")


def check_chosen(site: Site) -> Iterator[Finding]:
    """Whether builds go to the builder that was loaded.

    Nothing where no daemon answers: buildx keeps its choice by the daemon's address, which then is
    another one, or of no use.
    """
    if not isinstance(site.daemon, Daemon):
        return
    chosen = site.chosen_builder() or _OF_DOCKER
    wanted = site.lock.builder.name if site.lock and site.lock.builder else None
    if wanted and chosen != wanted:
        yield from _elsewhere(site, chosen, wanted)
    elif chosen == _OF_DOCKER:
        yield warning(
            "no builder is chosen: builds go to the daemon's own BuildKit", _PLAIN, site.load
        )
    elif not _is_there(site, chosen):
        return  # `check_builder` tells it
    elif _by_variable(site):
        yield ok(f"builds go to builder '{chosen}', by BUILDX_BUILDER")
    else:
        yield ok(
            f"`docker buildx build` goes to builder '{chosen}'; plain `docker build` does where "
            "BUILDX_BUILDER names it",
            'eval "$(airgapbuild env)"',
        )


def _elsewhere(site: Site, chosen: str, wanted: str) -> Iterator[Finding]:
    """Where builds go instead of the builder that is wanted, and whether they get there."""
    if _by_variable(site) and not _is_there(site, chosen):
        yield problem(
            f"there is no builder '{chosen}', which BUILDX_BUILDER names",
            "every build stops there",
            f"export BUILDX_BUILDER={wanted}",
        )
    elif (stored := site.store.read(wanted)) is None or _is_refused(site, stored):
        return  # `check_builder` tells it, and `load` chooses what it makes
    elif not _is_there(site, chosen):
        yield warning(
            f"the current builder '{chosen}' is gone: builds go to the daemon's own BuildKit",
            _PLAIN,
            f"docker buildx use {wanted}",
        )
    else:
        yield warning(
            f"builds go to builder '{chosen}', and not to '{wanted}'",
            "whatever was loaded for that one is not used",
            f"export BUILDX_BUILDER={wanted}"
            if _by_variable(site)
            else f"docker buildx use {wanted}",
        )


def _by_variable(site: Site) -> bool:
    return bool(site.environ.get("BUILDX_BUILDER"))


def _is_there(site: Site, name: str) -> bool:
    """Whether buildx knows a builder of this name; each docker context is one."""
    if name == _OF_DOCKER or site.store.read(name):
        return True
    environ = {**site.environ, "DOCKER_HOST": "", "DOCKER_CONTEXT": name}
    return isinstance(tried(lambda: find_endpoint(None, environ)), Endpoint)


def check_builder(site: Site) -> Iterator[Finding]:
    """Whether the builder is there as it should be."""
    name = site.builder
    if name is None or name == _OF_DOCKER:
        return
    stored = site.store.read(name)
    if stored is None:
        yield problem(
            f"there is no builder '{name}' in {site.store.folder}",
            "buildx stops where a variable names it, and without a word takes the daemon's own "
            "BuildKit where it is the current one",
            site.load,
        )
        return
    if _is_refused(site, stored):
        yield problem(
            f"builder '{name}' is not airgapbuild's, and load leaves it alone",
            "what was loaded for a builder of this name is not used",
            f"docker buildx rm {name}; {site.load}",
        )
        return
    yield from _against_lock(site, stored)
    nodes = nodes_of(stored)
    if stored.driver != DOCKER_CONTAINER:
        yield ok(f"builder '{name}' is of the driver {stored.driver}, which is not looked into")
    elif not any(node.is_ours for node in nodes):
        yield warning(
            f"builder '{name}' was not made by airgapbuild",
            "its image may be pulled at each start, and what it looks up goes outside",
            site.load,
        )
    else:
        for node in nodes:
            yield from _sealed(site, node)
        yield from _served(site, stored)
        here = tuple(node for node in nodes if _is_here(site, node))
        if isinstance(site.daemon, Daemon) and here:
            for node in here:
                yield from _container(site, site.daemon, node)
            yield from _running(site, name, site.daemon, here)


def _is_refused(site: Site, stored: StoredInstance) -> bool:
    """Whether `load` would not write the lock's builder in its place.

    Drivers of pods and of remote daemons keep no mark to tell by.
    """
    wanted = site.lock.builder if site.lock else None
    if wanted is None:
        return False
    is_foreign = stored.driver == DOCKER_CONTAINER and not stored.is_marked
    return is_foreign or stored.driver != wanted.driver


def _is_here(site: Site, node: Node) -> bool:
    """Whether a node runs on the daemon that is looked into."""
    endpoint = site.endpoint
    here = (endpoint.buildx_endpoint, endpoint.host) if isinstance(endpoint, Endpoint) else ()
    return node.endpoint in (DEFAULT_CONTEXT, *here)


def _against_lock(site: Site, stored: StoredInstance) -> Iterator[Finding]:
    if site.lock is None or not isinstance(site.endpoint, Endpoint):
        return
    kubeconfig = site.environ.get("KUBECONFIG", "")
    there = files_there(site.lock)
    wanted = wanted_instance(
        *(site.lock, site.endpoint.buildx_endpoint, kubeconfig),
        there=there,
        served=served_of(stored),
    )
    if wanted is None or site.store.holds(wanted):
        return
    yield problem(
        f"builder '{stored.name}' was written from another lock, or for another daemon",
        "its image, its options or its buildkitd.toml are not those that were locked",
        site.load,
    )


def _container(site: Site, daemon: Daemon, node: Node) -> Iterator[Finding]:
    """Whether its container, which buildx reuses whatever it is, was made from the node."""
    container, image = daemon.container(node.container), node.options.get("image", "")
    held = daemon.image(image) if image else None
    if held is None:
        yield problem(
            f"the daemon has no image {image or 'for the builder'}",
            "buildx would have to pull it, and nothing answers there",
            site.load,
        )
    if container is None or held is None:
        return
    variables = {f"{name}={value}" for name, value in node.environ.items()}
    if container.image != held.id or not container.environment.issuperset(variables):
        yield problem(
            f"the container {node.container} was made from another image or other settings",
            "buildx goes on using it, whatever the builder's file says",
            f"{site.load}; or: docker rm --force {node.container} (the cache stays)",
        )


def _running(site: Site, name: str, daemon: Daemon, nodes: tuple[Node, ...]) -> Iterator[Finding]:
    containers = [daemon.container(node.container) for node in nodes]
    if not all(container and container.running for container in containers):
        yield ok(f"builder '{name}' is not running: the next build starts it")
    elif isinstance(site.buildx, Buildx):
        if site.answer:
            yield from _version(name, site.answer.buildkit)
        else:
            yield problem(
                f"builder '{name}' runs, and BuildKit does not answer in it",
                "builds wait for it and give up",
                f"docker logs {nodes[0].container}",
            )


def _version(name: str, version: str) -> Iterator[Finding]:
    yield ok(f"builder '{name}' runs BuildKit {version}")
    found = re.match(r"(\d+)\.(\d+)", version, re.ASCII)
    if found and (int(found[1]), int(found[2])) < _TAKES_FRONTENDS:
        yield warning(
            f"BuildKit {version} takes no frontend from a layout",
            "it asks a registry for whatever `# syntax=` names",
            '[images.buildkit]\nref = "moby/buildkit:v0.12.0"  # or newer',
        )


def _sealed(site: Site, node: Node) -> Iterator[Finding]:
    """Whether look-ups outside fail at once, and those inside do not fail with them."""
    environ = node.environ
    proxy = environ.get("HTTPS_PROXY") or environ.get("https_proxy")
    if proxy is None:
        yield warning(
            f"{node.name} is not sealed",
            "what nothing inside answers holds a build up until the look-up times out: "
            f"{lookup_seconds(site.resolv_conf)} s for a name, by {site.resolv_conf}",
            _SEAL,
        )
        return
    behind = [host for host in _inside(node) if _is_behind_proxy(host, environ)]
    for host in behind:
        yield problem(
            f"{node.name}: NO_PROXY lacks {host}, which buildkitd.toml names as a mirror",
            f"BuildKit asks the proxy {proxy} for it",
            f'[builder.driver-opts]\n"env.NO_PROXY" = "{environ.get("NO_PROXY", "")},{host}"',
        )
    if not behind:
        yield ok(
            f"{node.name} is sealed: what is not inside fails at once"
            if proxy == _NOWHERE
            else f"{node.name} looks outside by the proxy {proxy}"
        )


def _served(site: Site, stored: StoredInstance) -> Iterator[Finding]:
    """The mirror of `load --serve`; it is asked itself only where no packet leaves for that."""
    served = served_of(stored)
    if served is None:
        return
    what = f"builder '{stored.name}' asks the mirror {served} first"
    endpoint = site.endpoint
    is_here = isinstance(endpoint, Endpoint) and endpoint.host.startswith("unix://")
    if not (served.is_loopback and is_here):
        yield ok(f"{what} (not asked here)")
    elif _listens(served):
        yield ok(f"{what}, and it answers")
    else:
        yield warning(
            f"{what}, and nothing answers there",
            "what builds name in their ordinary way is not found while it is away",
            f"airgapbuild serve --listen {served.host} "
            f"{shlex.quote(str(site.bundle.folder)) if site.bundle else 'BUNDLE'}",
        )


def _listens(served: Served) -> bool:
    address = urlsplit(str(served))
    port = address.port or (_HTTP if served.is_http else _HTTPS)
    try:
        socket.create_connection((address.hostname, port), _PATIENCE).close()
    except OSError:
        return False
    return True


def _inside(node: Node) -> list[str]:
    """The hosts that its buildkitd.toml counts on: mirrors, and registries without any."""
    try:
        tables = tomllib.loads(node.files.get(BUILDKITD_FILE, b"").decode()).get("registry", {})
        mirrors = {host: table.get("mirrors", ()) for host, table in tables.items()}
        named = {str(name).partition("/")[0] for names in mirrors.values() for name in names}
    except (ValueError, AttributeError, TypeError):
        return []  # not one of ours, and buildx tells what is wrong with it
    return sorted(named | {host for host, names in mirrors.items() if not names})


def _is_behind_proxy(address: str, environ: dict[str, str]) -> bool:
    host, _, port = address.rpartition(":")
    host, port = (host, port) if port.isdigit() else (address, str(_HTTPS))
    return any(
        proxy_for(scheme, host, int(port), environ) is not None for scheme in ("http", "https")
    )
