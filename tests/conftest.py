"""The test bed as fixtures: real engines, builders and registries."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import hypothesis
import pytest

from tests.engines.bed import Bed, BedError
from tests.engines.daemon import BUILDX, PAIRS, Buildx, Daemon, Engine, Store, docker_config
from tests.engines.netns import Namespace
from tests.engines.parts.part import Shelf
from tests.engines.registry import Registry
from tests.engines.registry import images as read_images
from tests.support.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines.layout import Image


hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.register_profile("few", deadline=None, max_examples=10)
hypothesis.settings.load_profile("untimed")


def pytest_configure() -> None:
    """A run that is told to end tears its fixtures down, as with Ctrl-C: daemons end with it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_keyboard_interrupt() -> None:
    """The processes that share a run hear of its end, while they have the time for theirs."""
    own = os.getpid()
    for child in Path(f"/proc/{own}/task/{own}/children").read_text().split():
        if b"execnet" in Path(f"/proc/{child}/cmdline").read_bytes():
            os.kill(int(child), signal.SIGTERM)


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the marks in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What shares a daemon runs in one process, and so does what shares a file's fixtures.

    A mark of a test's own comes first: it must not run beside another file.
    """
    for item in items:
        if item.get_closest_marker("xdist_group"):
            continue
        chosen = getattr(item, "callspec", None)
        shared = chosen.params.get("daemon") if chosen else None
        group = "-".join(shared) if shared else item.nodeid.partition("::")[0]
        if "compact_bundle" in getattr(item, "fixturenames", ()):
            group = "compact"  # which takes long to make: once is enough
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_collection_finish(session: pytest.Session) -> None:
    """A run of several processes ends here where they would not keep to the groups."""
    in_groups = getattr(session.config.option, "loadgroup", False)
    if in_groups and not all("@" in item.nodeid for item in session.items):
        raise pytest.UsageError("this pytest-xdist does not group tests with this pytest")


ROOM_MB = 4096
"""What a daemon of the tests may hold. It lies in memory, so it is fast and gone at once."""


class FreshDaemon(Protocol):
    """Starts a daemon that nobody else uses, in a namespace of its own unless one is given."""

    def __call__(
        self,
        engine: Engine,
        store: Store,
        namespace: Namespace | None = None,
        *,
        tls: bool = False,
        data_size_mb: int = ROOM_MB,
    ) -> Daemon: ...


class StrictBed(Shelf):
    """A bed that skips a test whose parts are missing, or fails it where they are demanded."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self._demanded = bool(os.environ.get("CI") or os.environ.get("AIRGAPBUILD_REQUIRE_BED"))

    @property
    def root(self) -> Path:
        return self._bed.root

    def part(self, name: str) -> Path:
        try:
            return self._bed.part(name)
        except BedError as error:
            if self._demanded:
                pytest.fail(str(error), pytrace=False)
            pytest.skip(str(error))


@pytest.fixture(scope="session")
def bed() -> Shelf:
    return StrictBed(Bed.find())


@pytest.fixture(scope="session")
def images(bed: Shelf) -> dict[str, Image]:
    return read_images(bed)


@pytest.fixture(scope="session")
def keys(bed: Shelf, tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """With the OpenSSH on PATH: another one in each root folder of `pythons`."""
    keygen = shutil.which("ssh-keygen") or bed.part("ssh") / "bin/ssh-keygen"
    return Keys(Path(keygen).parent, tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def closed() -> Iterator[Namespace]:
    with Namespace("closed") as namespace:
        yield namespace


@pytest.fixture(scope="session")
def blackhole() -> Iterator[Namespace]:
    with Namespace("blackhole") as namespace:
        yield namespace


@pytest.fixture(scope="session")
def registry(bed: Shelf) -> Iterator[Registry]:
    with Registry.start(bed) as running:
        yield running


@pytest.fixture(scope="session")
def htpasswd_registry(bed: Shelf) -> Iterator[Registry]:
    with Registry.start(bed, auth="htpasswd") as running:
        yield running


@pytest.fixture(scope="session")
def tls_registry(bed: Shelf) -> Iterator[Registry]:
    with Registry.start(bed, tls=True) as running:
        yield running


@pytest.fixture(scope="session")
def token_registry(bed: Shelf) -> Iterator[Registry]:
    with Registry.start(bed, auth="token") as running:
        yield running


@pytest.fixture
def writable_registry(bed: Shelf) -> Iterator[Registry]:
    with Registry.start(bed, writable=True) as running:
        yield running


@pytest.fixture(scope="session", params=PAIRS, ids="-".join)
def daemon(request: pytest.FixtureRequest, bed: Shelf, closed: Namespace) -> Iterator[Daemon]:
    """Every engine with every store, in turn; tests share it and may find what others left."""
    engine, store = request.param
    with Daemon.start(bed, engine, store, closed, data_size_mb=ROOM_MB) as running:
        yield running


@pytest.fixture
def fresh_daemon(bed: Shelf) -> Iterator[FreshDaemon]:
    with ExitStack() as stack:

        def start(
            engine: Engine,
            store: Store,
            namespace: Namespace | None = None,
            *,
            tls: bool = False,
            data_size_mb: int = ROOM_MB,
        ) -> Daemon:
            inside = namespace or stack.enter_context(Namespace())
            daemon = Daemon.start(bed, engine, store, inside, tls=tls, data_size_mb=data_size_mb)
            return stack.enter_context(daemon)

        yield start


@pytest.fixture(params=BUILDX)
def buildx(request: pytest.FixtureRequest) -> Buildx:
    chosen: Buildx = request.param
    return chosen


@pytest.fixture
def config(bed: Shelf, buildx: Buildx) -> Iterator[Path]:
    """Make a DOCKER_CONFIG folder with the buildx that this test runs with."""
    folder = Path(tempfile.mkdtemp(prefix="bed-config-"))
    yield docker_config(bed, folder, buildx)
    shutil.rmtree(folder)
