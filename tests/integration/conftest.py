"""Sources and scripted servers, for the tests of the registry package."""

from __future__ import annotations

import ssl
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from airgapbuild.credentials import ANONYMOUS
from airgapbuild.registry import RegistrySource
from tests.engines import pki
from tests.engines.proxy import Proxy
from tests.engines.registry import Registry
from tests.integration.faults import Server
from tests.integration.reading import PATIENT, PROXY_USER, Notes, Open

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airgapbuild.credentials import Credentials
    from airgapbuild.manifest import RegistrySettings
    from airgapbuild.registry import Timeouts
    from tests.engines.parts.part import Shelf


@pytest.fixture
def opened() -> Iterator[Open]:
    with ExitStack() as stack:

        def open_source(
            settings: Mapping[str, RegistrySettings] | None = None,
            credentials: Credentials = ANONYMOUS,
            progress: Notes | None = None,
            environ: Mapping[str, str] | None = None,
            timeouts: Timeouts = PATIENT,
        ) -> RegistrySource:
            source = RegistrySource(
                settings or {},
                credentials,
                progress=progress or Notes(),
                timeouts=timeouts,
                environ=environ or {},
            )
            return stack.enter_context(closing(source))

        yield open_source


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def other() -> Iterator[Server]:
    """Another host by its name: 127.0.0.1 where the first is localhost."""
    with Server(host="127.0.0.1") as running:
        yield running


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> pki.Pair:
    return pki.authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def leaf(ca: pki.Pair, tmp_path_factory: pytest.TempPathFactory) -> pki.Pair:
    return pki.issue(ca, tmp_path_factory.mktemp("leaf"))


@pytest.fixture
def tls_server(leaf: pki.Pair) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)
    with Server(context) as running:
        yield running


@pytest.fixture
def mutual_server(ca: pki.Pair, leaf: pki.Pair) -> Iterator[Server]:
    """Wants a client certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)
    context.load_verify_locations(ca.cert)
    context.verify_mode = ssl.CERT_REQUIRED
    with Server(context) as running:
        yield running


@pytest.fixture(scope="session")
def mutual_registry(bed: Shelf) -> Iterator[Registry]:
    """Wants a client certificate, and is a real one."""
    with Registry.start(bed, mutual=True) as running:
        yield running


@pytest.fixture
def proxy(bed: Shelf) -> Iterator[Proxy]:
    with Proxy.start(bed) as running:
        yield running


@pytest.fixture
def login_proxy(bed: Shelf) -> Iterator[Proxy]:
    """Wants a login."""
    with Proxy.start(bed, user=PROXY_USER) as running:
        yield running
