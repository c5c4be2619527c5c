"""The daemon: whether it answers, which image store it has and why, whether its clock is right."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from airgapbuild.doctor.finding import Finding, ok, problem, told, warning
from airgapbuild.doctor.site import tried
from airgapbuild.engine.daemon import Daemon
from airgapbuild.engine.endpoint import Endpoint, find_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airgapbuild.doctor.site import Site

_PREFERS_CONTAINERD: Final = (1, 52)
"""The API of Engine 29, from which on a fresh data root gets containerd's store."""
_APART: Final = timedelta(minutes=5)
_NO_MEANS_YES: Final = frozenset({"0", "false", "no", "off"})


def check_daemon(site: Site) -> Iterator[Finding]:
    """Whether it answers, and what it is."""
    daemon = site.daemon
    if not isinstance(daemon, Daemon):
        yield told(daemon, "nothing can be loaded into it, and no builder can run in it")
        return
    api = ".".join(map(str, daemon.api))
    yield ok(
        f"Docker {daemon.version} (API {api}), {daemon.platform}, at {daemon.endpoint.host} "
        f"(from {daemon.endpoint.origin})"
    )
    yield ok(f"{daemon.store} image store: {_reason(daemon, site.environ.get('DOCKER_DRIVER'))}")


def _reason(daemon: Daemon, driver: str | None) -> str:
    """Why a daemon has this store. Source: moby daemon/image_store_choice.go."""
    by_default = "containerd" if daemon.api >= _PREFERS_CONTAINERD else "classic"
    if daemon.store == by_default:
        return "what this version takes for a fresh data root"
    if daemon.store == "containerd":
        return "its daemon.json asks for it (features.containerd-snapshotter)"
    asked = f"DOCKER_DRIVER={driver} asks for it, as" if driver else "as after an upgrade, or"
    return f"{asked} DOCKER_DRIVER in the daemon's environment or its daemon.json may"


def check_address(site: Site) -> Iterator[Finding]:
    """Whether what names the daemon says one thing."""
    environ, endpoint = site.environ, site.endpoint
    if not isinstance(endpoint, Endpoint):
        return
    if environ.get("DOCKER_TLS_VERIFY", "").lower() in _NO_MEANS_YES:
        yield warning(
            f"DOCKER_TLS_VERIFY={environ['DOCKER_TLS_VERIFY']} turns TLS on",
            "docker takes any value but the empty one for yes",
            "unset DOCKER_TLS_VERIFY",
        )
    if endpoint.origin == "DOCKER_HOST":
        rest = {name: value for name, value in environ.items() if name != "DOCKER_HOST"}
        other = tried(lambda: find_endpoint(None, rest))
        if isinstance(other, Endpoint) and other.context and other.host != endpoint.host:
            yield warning(
                f"DOCKER_HOST is {endpoint.host}, the docker context '{other.context}' is "
                f"{other.host}",
                "docker goes by DOCKER_HOST, and the context counts where that is not set",
                "unset DOCKER_HOST, or: docker context use default",
            )
    if endpoint.tls and endpoint.context is None:
        yield ok(
            "TLS by environment, as in GitLab's dind: `docker buildx create` refuses it, "
            "the builder of `airgapbuild load` works"
        )


def check_api(site: Site) -> Iterator[Finding]:
    """Whether the environment asks for an API that the daemon has not."""
    asked, daemon = site.environ.get("DOCKER_API_VERSION"), site.daemon
    if not asked or not isinstance(daemon, Daemon):
        return
    found = re.fullmatch(r"v?(\d+)\.(\d+)", asked)
    if found is None or (int(found[1]), int(found[2])) > daemon.api:
        yield problem(
            f"DOCKER_API_VERSION={asked}, and the daemon has {'.'.join(map(str, daemon.api))}",
            "docker and buildx ask for that version and are refused",
            "unset DOCKER_API_VERSION",
        )


def check_clock(site: Site) -> Iterator[Finding]:
    """Whether the daemon and this machine agree on the time."""
    moment = _moment(site.daemon.time) if isinstance(site.daemon, Daemon) else None
    if moment is None:
        return
    apart = abs(moment - datetime.now(tz=UTC))
    if apart <= _APART:
        yield ok("the daemon's clock and this machine's agree")
        return
    yield warning(
        f"the daemon's clock and this machine's are {str(apart).partition('.')[0]} apart",
        "certificates and signatures that are valid for a time are refused by the wrong one",
        "date --set '…' on the machine that is wrong",
    )


def _moment(text: str) -> datetime | None:
    """A time as Go prints it: Python knows no nanoseconds."""
    try:
        moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
