"""What is looked at: the daemon, buildx, its folder of builders, the layout, what was to be loaded.

What cannot be had is the error that says so; the check that is about it tells it, the others go on.
"""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from airgapbuild.builder.buildx import Buildx
from airgapbuild.builder.instance import InstanceStore
from airgapbuild.builder.mirrored import served_of
from airgapbuild.bundle.reader import Bundle, peek
from airgapbuild.engine.daemon import Daemon
from airgapbuild.engine.endpoint import Endpoint, find_endpoint
from airgapbuild.errors import AirgapbuildError, BuilderError, DaemonError
from airgapbuild.files import must_exist
from airgapbuild.lockfile import Lock, read_lock
from airgapbuild.threads import within

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airgapbuild.builder.buildx import Answer
    from airgapbuild.builder.mirrored import Served
    from airgapbuild.oci.layout import Layout
    from airgapbuild.oci.platform import Platform

_PATIENCE: Final = 5.0
"""Seconds for buildx to say what it knows of a builder."""
_T = TypeVar("_T")
Tried: TypeAlias = _T | AirgapbuildError
"""A thing, or why it cannot be had."""


@dataclass(frozen=True)
class Site:
    """A machine behind the gap, as the environment of a user or a job shows it."""

    environ: Mapping[str, str]
    layout: Layout
    store: InstanceStore
    endpoint: Tried[Endpoint]
    daemon: Tried[Daemon]
    buildx: Tried[Buildx]
    cache: Path
    """Where older layers lie while `load` needs them."""
    given: Tried[Bundle | Lock] | None = None
    """What ought to be here."""
    is_layout_named: bool = False
    """Whether an option names the layout, as commands that mend have to, then."""
    resolv_conf: Path = Path("/etc/resolv.conf")

    @property
    def bundle(self) -> Bundle | None:
        """The bundle that ought to be here, if one was given."""
        return self.given if isinstance(self.given, Bundle) else None

    @property
    def lock(self) -> Lock | None:
        """The lock of what ought to be here."""
        if self.bundle:
            return self.bundle.lock
        return self.given if isinstance(self.given, Lock) else None

    @property
    def load(self) -> str:
        """The command that brings what is missing."""
        host = ""
        if isinstance(self.endpoint, Endpoint) and self.endpoint.docker != "docker":
            host = f" --host {self.endpoint.host}"
        serve = f" --serve {self.served}" if self.served else ""
        bundle = shlex.quote(str(self.bundle.folder)) if self.bundle else "BUNDLE"
        return f"airgapbuild load{host}{self.layout_option}{serve} {bundle}"

    @property
    def layout_option(self) -> str:
        """What commands that mend have to be told of the layout, a blank before it."""
        return f" --layout {shlex.quote(str(self.layout.path))}" if self.is_layout_named else ""

    @property
    def served(self) -> Served | None:
        """The mirror that the builder was told of by `load --serve`, where it can be read."""
        if self.lock and self.lock.builder is None:
            return None  # what is chosen belongs to another bundle
        with suppress(BuilderError):
            return served_of(self.store.read(self.builder)) if self.builder else None
        return None

    @property
    def docker_environ(self) -> dict[str, str]:
        """The environment in which docker talks to the same daemon."""
        if isinstance(self.endpoint, Endpoint):
            return self.endpoint.environ(self.environ)
        return dict(self.environ)

    @property
    def platform(self) -> Platform | None:
        """The daemon's platform, where there is one."""
        return self.daemon.platform if isinstance(self.daemon, Daemon) else None

    @property
    def builder(self) -> str | None:
        """The builder that is meant: the lock's, else the chosen one.

        Raises:
            BuilderError: see `chosen_builder`.
        """
        wanted = self.lock.builder if self.lock else None
        return wanted.name if wanted else self.chosen_builder()

    @cached_property
    def answer(self) -> Answer | None:
        """What that builder says where it runs; None where it does not, or does not answer.

        Raises:
            BuilderError: see `chosen_builder`.
        """
        if self.builder is None or not isinstance(self.buildx, Buildx):
            return None
        return self.buildx.ask(self.builder, self.docker_environ, _PATIENCE)

    def chosen_builder(self) -> str | None:
        """The builder that `docker buildx build` uses here; None where none is chosen.

        Raises:
            BuilderError: buildx's file that says so is not one.
        """
        if name := self.environ.get("BUILDX_BUILDER"):
            return name
        if isinstance(self.endpoint, Endpoint):
            return self.store.current(self.endpoint.buildx_key)
        return None


def look(
    environ: Mapping[str, str],
    layout: Layout,
    cache: Path,
    *,
    host: str | None = None,
    given: Path | None = None,
    seconds: float,
) -> Site:
    """The site, with the bundle or lock in `given`; no daemon is waited for longer than `seconds`.

    Raises:
        UsageError: there is no such file or folder.
    """
    if given:
        must_exist(given)
    endpoint = tried(lambda: find_endpoint(host, environ))
    daemon = _daemon(endpoint, seconds)
    reached = endpoint.environ(environ) if isinstance(endpoint, Endpoint) else environ
    return Site(
        environ=environ,
        layout=layout,
        store=InstanceStore.of(environ),
        endpoint=endpoint,
        daemon=daemon,
        buildx=tried(lambda: Buildx.find(reached)),
        cache=cache,
        given=tried(lambda: _read(given)) if given else None,
    )


def tried(get: Callable[[], _T]) -> Tried[_T]:
    """What `get` gives, or why it does not."""
    try:
        return get()
    except AirgapbuildError as error:
        return error


def _read(path: Path) -> Bundle | Lock:
    return peek(path) if path.is_dir() else read_lock(path)


def _daemon(endpoint: Tried[Endpoint], seconds: float) -> Tried[Daemon]:
    if not isinstance(endpoint, Endpoint):
        return endpoint
    try:
        return tried(lambda: within(seconds, lambda: Daemon.connect(endpoint)))
    except TimeoutError:
        return DaemonError(
            f"the Docker daemon at {endpoint.host} (from {endpoint.origin}) did not answer in "
            f"{seconds:.0f} s",
            hint="is that its address, and does a firewall let it through?",
        )
