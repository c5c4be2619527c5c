"""A mirror that no lock knows of: an `airgapbuild serve` on the isolated side.

It is asked first for what comes from the registries of the lock's images; what the lock says of
mirrors comes after it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airgapbuild.buildkitd.registries import LockedRegistry, host_of
from airgapbuild.errors import UsageError
from airgapbuild.oci.reference import is_loopback, parse_registry

if TYPE_CHECKING:
    from airgapbuild.builder.instance import StoredInstance
    from airgapbuild.lockfile import Lock

_LOOPBACK = "the builder's container has a loopback of its own"


@dataclass(frozen=True)
class Served:
    """Where a mirror answers."""

    host: str
    """With its port."""
    is_http: bool

    @property
    def is_loopback(self) -> bool:
        """Whether each container that has no host's network would find itself there."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        """As an URL, as which it can be parsed again."""
        return f"http{'' if self.is_http else 's'}://{self.host}"


def parse_served(text: str) -> Served:
    """The mirror that `text` is: `http://host:port`, `https://host:port`, or without a scheme.

    Then it is http on the loopback and https elsewhere, as registries are to Docker.

    Raises:
        UsageError: it is none.
    """
    scheme, separator, rest = text.rpartition("://")
    try:
        found = Served(parse_registry(rest.removesuffix("/")), scheme == "http")
    except ValueError as error:
        raise UsageError(f"--serve {text}: {error}") from error
    if scheme not in {"http", "https"} and separator:
        raise UsageError(f"--serve {text}: '{scheme}' is neither http nor https")
    return found if separator else Served(found.host, found.is_loopback)


def served_of(stored: StoredInstance | None) -> Served | None:
    """The mirror that a builder was told of; None where there is none."""
    with suppress(UsageError):
        return parse_served(stored.mirror) if stored and stored.mirror else None
    return None


def check_reachable(lock: Lock, served: Served) -> None:
    """Returns only if the lock's builder can be told of a mirror there, and can reach it.

    Raises:
        UsageError: it cannot.
    """
    builder = lock.builder
    if builder is None:
        raise UsageError(f"--serve {served.host}: the bundle asks for no builder")
    if builder.driver != "docker-container":
        raise UsageError(
            f"--serve {served.host}: the builder is of the driver {builder.driver}",
            hint='name the mirror in [buildkitd.registry."docker.io"] of airgapbuild.toml',
        )
    networks = {builder.options_of(node).get("network") for node in builder.nodes.values()}
    if served.is_loopback and networks != {"host"}:
        raise UsageError(
            f"--serve {served.host}: {_LOOPBACK}",
            hint='driver-opts = { network = "host" } in [builder] gives it the host\'s; or let the '
            "mirror listen where containers reach it, and name that address",
        )


def mirrored(lock: Lock, served: Served) -> Lock:
    """The lock with a mirror in front of all others of its images' registries."""
    hosts = {
        name.registry
        for image in lock.image
        for name in (*image.tagged, image.ref)
        if name.registry and name.registry != served.host
    }
    tables = dict(lock.buildkitd.registry)
    for host in hosts:
        table = tables.get(host, LockedRegistry())
        others = [it for it in table.mirrors if host_of(it) != served.host]
        tables[host] = table.model_copy(update={"mirrors": (served.host, *others)})
    own = tables.get(served.host, LockedRegistry())
    if served.is_http:
        tables[served.host] = own.model_copy(update={"http": True})
    buildkitd = lock.buildkitd.model_copy(update={"registry": tables})
    return lock.model_copy(update={"buildkitd": buildkitd})
