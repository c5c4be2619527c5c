"""Whom the program trusts, as a user runs it: the system, `ca`, `cert` and `key`, `insecure`."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engines import pki
from tests.engines.pki import OUTSIDE
from tests.integration.faults import Server
from tests.integration.projects import Project

if TYPE_CHECKING:
    from tests.engines.proxy import Proxy
    from tests.engines.registry import Registry

BUSYBOX = "library/busybox:1.37.0"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def notes(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("note:")]


def locks(project: Project, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    done = project.run("lock", *arguments, **environ)
    assert done.returncode == 0, done.stderr
    return done


def hashed(ca: Path, folder: Path) -> Path:
    """A folder of CAs as OpenSSL wants it."""
    folder.mkdir()
    (folder / "ca.pem").write_bytes(ca.read_bytes())
    subprocess.run(["openssl", "rehash", folder], check=True, capture_output=True)
    return folder


@pytest.fixture
def outside(tls_registry: Registry, proxy: Proxy, project: Project) -> str:
    """A registry with TLS that is no loopback to us: nothing is said of it in the manifest."""
    project.environ["HTTPS_PROXY"] = f"http://{proxy.address}"
    return f"{OUTSIDE}:{tls_registry.address.rpartition(':')[2]}"


def test_the_systems_cas_are_those_of_openssl_and_its_variables(
    project: Project, tls_registry: Registry, outside: str, tmp_path: Path
) -> None:
    project.wants({"one": f"{outside}/{BUSYBOX}"}, {})
    done = project.run("lock")
    assert done.returncode == 5
    assert "its certificate is not trusted" in done.stderr
    assert tls_registry.ca
    locks(project, SSL_CERT_FILE=str(tls_registry.ca))
    project.lock.unlink()
    locks(project, SSL_CERT_DIR=str(hashed(tls_registry.ca, tmp_path / "cas")))


def test_the_systems_cas_are_found_where_openssl_does_not_look(
    project: Project, tls_registry: Registry, outside: str
) -> None:
    project.wants({"one": f"{outside}/{BUSYBOX}"}, {})
    hide = 'mount -t tmpfs none /etc/ssl && cp "$0" /etc/ssl/ca-bundle.pem && exec "$@"'
    elsewhere = ("unshare", "--mount", "--", "sh", "-c", hide, str(tls_registry.ca))
    done = project.run("lock", prefix=elsewhere)
    assert done.returncode == 0, done.stderr


def test_a_ca_of_the_manifest_is_trusted_besides_the_systems(
    project: Project, tls_registry: Registry, outside: str, tmp_path: Path
) -> None:
    another = pki.authority(tmp_path)
    for in_manifest, of_system in (
        (another.cert, tls_registry.ca),
        (tls_registry.ca, another.cert),
    ):
        project.wants({"one": f"{outside}/{BUSYBOX}"}, {outside: {"ca": in_manifest}})
        locks(project, "--upgrade", SSL_CERT_FILE=str(of_system))


def test_a_ca_is_for_its_registry_alone(
    project: Project, tls_registry: Registry, outside: str
) -> None:
    project.wants(
        {"one": f"{outside}/{BUSYBOX}", "two": f"{tls_registry.address}/{BUSYBOX}"},
        {tls_registry.address: {"ca": tls_registry.ca}},
    )
    done = project.run("lock")
    assert done.returncode == 5
    assert f"registry {outside}: its certificate is not trusted" in done.stderr


def test_a_registry_gets_the_client_certificate_that_it_wants(
    project: Project, mutual_registry: Registry, tmp_path: Path
) -> None:
    assert mutual_registry.client
    address, client = mutual_registry.address, mutual_registry.client
    project.wants(
        {"one": f"{address}/{BUSYBOX}"},
        {address: {"ca": mutual_registry.ca, "cert": client.cert, "key": client.key}},
    )
    locks(project)
    stranger = pki.issue(pki.authority(tmp_path), tmp_path, "stranger")
    for settings in ({}, {"cert": stranger.cert, "key": stranger.key}):
        project.wants(
            {"one": f"{address}/{BUSYBOX}"}, {address: {"ca": mutual_registry.ca, **settings}}
        )
        done = project.run("lock", "--upgrade")
        assert done.returncode == 5
        assert f"registry {address}: no TLS with it" in done.stderr
        assert f'cert and key in [registries."{address}"]' in done.stderr


def test_insecure_is_said_once_in_each_run_that_asks(
    project: Project, tls_registry: Registry
) -> None:
    address = tls_registry.address
    project.wants(
        {"one": f"{address}/{BUSYBOX}", "two": f"{address}/moby/buildkit:v0.34.2"},
        {address: {"insecure": True}, "not.asked.example": {"insecure": True, "http": True}},
    )
    said = [
        f"note: registry {address}: its certificate is not checked (insecure = true): "
        "it may be anybody"
    ]
    assert notes(locks(project)) == said
    assert notes(locks(project)) == []  # the pins are kept, and nobody is asked
    assert notes(locks(project, "--upgrade", "--quiet")) == said
    done = project.run("export")
    assert done.returncode == 0, done.stderr
    assert notes(done) == said


def test_plain_http_is_said_but_not_of_this_very_machine(
    project: Project, registry: Registry, proxy: Proxy
) -> None:
    address = f"{OUTSIDE}:{registry.address.rpartition(':')[2]}"
    project.wants(
        {"one": f"{address}/{BUSYBOX}", "two": f"{registry.address}/{BUSYBOX}"},
        {address: {"http": True}, registry.address: {"http": True}},
    )
    assert notes(locks(project, HTTP_PROXY=proxy.address)) == [
        f"note: registry {address}: plain http (http = true): "
        "what passes can be read and changed on the way"
    ]


def test_no_daemon_has_a_part_in_it(project: Project, registry: Registry) -> None:
    project.wants({"one": f"{registry.address}/{BUSYBOX}"}, {})
    with Server() as daemon:
        environ = {"DOCKER_HOST": f"tcp://{daemon.address}"}
        locks(project, **environ)
        assert project.run("export", **environ).returncode == 0
        assert daemon.connections == 0
