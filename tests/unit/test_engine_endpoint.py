from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from airgapbuild.engine.endpoint import Endpoint, TlsFiles, docker_folder, find_endpoint
from airgapbuild.errors import DaemonError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "docker").mkdir()
    return tmp_path / "docker"


@pytest.fixture
def environ(folder: Path) -> dict[str, str]:
    return {"DOCKER_CONFIG": str(folder)}


def make_context(folder: Path, name: str, docker: dict[str, Any], *files: str) -> Path:
    identifier = hashlib.sha256(name.encode()).hexdigest()
    meta = folder / "contexts/meta" / identifier
    meta.mkdir(parents=True)
    document = {"Name": name, "Metadata": {}, "Endpoints": {"docker": docker}}
    (meta / "meta.json").write_text(json.dumps(document))
    tls = folder / "contexts/tls" / identifier / "docker"
    for file in files:
        tls.mkdir(parents=True, exist_ok=True)
        (tls / file).touch()
    return tls


def test_nothing_at_all_means_the_socket(environ: dict[str, str]) -> None:
    endpoint = find_endpoint(None, environ)
    assert endpoint == Endpoint("unix:///var/run/docker.sock", None, None, "the default")
    assert endpoint.buildx_endpoint == "default"
    assert endpoint.buildx_key == "unix:///var/run/docker.sock"


def test_an_option_goes_before_the_environment(environ: dict[str, str]) -> None:
    endpoint = find_endpoint("unix:///run/a.sock", environ | {"DOCKER_HOST": "unix:///run/b.sock"})
    assert endpoint == Endpoint("unix:///run/a.sock", None, None, "--host")
    assert endpoint.buildx_endpoint == "unix:///run/a.sock"


def test_docker_host_goes_before_a_context(environ: dict[str, str]) -> None:
    both = {"DOCKER_HOST": "tcp://docker:2375", "DOCKER_CONTEXT": "other"}
    endpoint = find_endpoint(None, environ | both)
    assert endpoint == Endpoint("tcp://docker:2375", None, None, "DOCKER_HOST")
    assert (endpoint.buildx_endpoint, endpoint.buildx_key) == ("default", "tcp://docker:2375")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("unix://", "unix:///var/run/docker.sock"),
        ("tcp://", "tcp://localhost:2375"),
        ("docker", "tcp://docker:2375"),
        (" docker:2376 ", "tcp://docker:2376"),
        ("tcp://:5555", "tcp://localhost:5555"),
        ("tcp://10.0.0.1", "tcp://10.0.0.1:2375"),
        ("tcp://[::1]:2376", "tcp://[::1]:2376"),
        ("tcp://docker:2375/prefix", "tcp://docker:2375/prefix"),
        ("ssh://me@host:22", "ssh://me@host:22"),
    ],
)
def test_an_address_is_completed_as_docker_does(
    given: str, meant: str, environ: dict[str, str]
) -> None:
    assert find_endpoint(given, environ).host == meant


@pytest.mark.parametrize(
    "given", ["http://docker", "npipe:////./pipe/docker", "tcp://docker:no", "tcp://a@b", "ssh://"]
)
def test_an_address_that_is_none_is_refused_with_its_origin(
    given: str, environ: dict[str, str]
) -> None:
    with pytest.raises(DaemonError, match=r"DOCKER_HOST: '.*' is no address") as refused:
        find_endpoint(None, environ | {"DOCKER_HOST": given})
    assert "unix:///path" in (refused.value.hint or "")


def test_tls_comes_from_the_environment_as_in_gitlab(
    folder: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    certs = tmp_path / "certs"
    certs.mkdir()
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (certs / name).touch()
    environ |= {
        "DOCKER_HOST": "tcp://docker:2376",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(certs),
    }
    endpoint = find_endpoint(None, environ)
    files = TlsFiles(certs / "ca.pem", certs / "cert.pem", certs / "key.pem", verify=True)
    assert endpoint.tls == files
    assert endpoint.buildx_endpoint == "default"
    assert (endpoint.docker, endpoint.environ(environ)) == ("docker", environ)


def test_tls_goes_with_an_option_only_by_the_environment(environ: dict[str, str]) -> None:
    endpoint = find_endpoint("tcp://far:2376", environ | {"DOCKER_TLS_VERIFY": "1"})
    assert endpoint.buildx_endpoint == "default"
    assert endpoint.docker == "docker --host tcp://far:2376"
    assert endpoint.environ(environ) == environ | {"DOCKER_HOST": "tcp://far:2376"}


def test_docker_tls_does_not_verify_and_reads_the_config_folder(
    folder: Path, environ: dict[str, str]
) -> None:
    endpoint = find_endpoint("tcp://docker", environ | {"DOCKER_TLS": "0"})
    assert endpoint.tls == TlsFiles(folder / "ca.pem", None, None, verify=False)


def test_tls_does_not_matter_to_a_socket(environ: dict[str, str]) -> None:
    assert find_endpoint("unix:///a.sock", environ | {"DOCKER_TLS_VERIFY": "1"}).tls is None


def test_tls_without_a_host_means_the_local_tls_port(environ: dict[str, str]) -> None:
    assert find_endpoint(None, environ | {"DOCKER_TLS_VERIFY": "1"}).host == "tcp://localhost:2376"


def test_the_current_context_is_read_from_the_config(folder: Path, environ: dict[str, str]) -> None:
    (folder / "config.json").write_text('{"currentContext": "remote"}')
    tls = make_context(folder, "remote", {"Host": "tcp://far:2376"}, "ca.pem", "cert.pem")
    endpoint = find_endpoint(None, environ)
    assert endpoint.host == "tcp://far:2376"
    assert endpoint.tls == TlsFiles(tls / "ca.pem", tls / "cert.pem", None, verify=True)
    assert (endpoint.context, endpoint.origin) == ("remote", "context 'remote'")
    assert (endpoint.buildx_endpoint, endpoint.buildx_key) == ("remote", "remote")


def test_docker_context_goes_before_the_current_one(folder: Path, environ: dict[str, str]) -> None:
    (folder / "config.json").write_text('{"currentContext": "remote"}')
    make_context(folder, "mine", {"Host": "unix:///run/mine.sock"})
    assert find_endpoint(None, environ | {"DOCKER_CONTEXT": "mine"}).host == "unix:///run/mine.sock"
    default = find_endpoint(None, environ | {"DOCKER_CONTEXT": "default"})
    assert default.host == "unix:///var/run/docker.sock"


def test_a_context_takes_no_tls_from_the_environment(folder: Path, environ: dict[str, str]) -> None:
    make_context(folder, "plain", {"Host": "tcp://far:2375"})
    environ |= {"DOCKER_CONTEXT": "plain", "DOCKER_TLS_VERIFY": "1"}
    assert find_endpoint(None, environ).tls is None


def test_a_context_may_skip_the_verification(folder: Path, environ: dict[str, str]) -> None:
    make_context(folder, "lax", {"Host": "tcp://far:2376", "SkipTLSVerify": True})
    endpoint = find_endpoint(None, environ | {"DOCKER_CONTEXT": "lax"})
    assert endpoint.tls == TlsFiles(None, None, None, verify=False)


def test_an_unknown_context_is_refused_with_who_named_it(
    folder: Path, environ: dict[str, str]
) -> None:
    (folder / "config.json").write_text('{"currentContext": "gone"}')
    with pytest.raises(DaemonError, match=r"config\.json: there is no docker context 'gone'") as no:
        find_endpoint(None, environ)
    assert "docker context ls" in (no.value.hint or "")
    with pytest.raises(DaemonError, match="DOCKER_CONTEXT: there is no docker context 'x'"):
        find_endpoint(None, environ | {"DOCKER_CONTEXT": "x"})


@pytest.mark.parametrize("broken", ["{", "[]", '{"Endpoints": {}}', '{"Endpoints": {"docker": 1}}'])
def test_a_broken_context_is_refused_with_its_file(
    broken: str, folder: Path, environ: dict[str, str]
) -> None:
    make_context(folder, "broken", {})
    (meta,) = folder.glob("contexts/meta/*/meta.json")
    meta.write_text(broken)
    with pytest.raises(DaemonError, match=r"'broken' cannot be read: .*meta\.json"):
        find_endpoint(None, environ | {"DOCKER_CONTEXT": "broken"})


@pytest.mark.parametrize("broken", ["{", "[]", '{"currentContext": 1}'])
def test_a_broken_config_names_no_context(
    broken: str, folder: Path, environ: dict[str, str]
) -> None:
    (folder / "config.json").write_text(broken)
    assert find_endpoint(None, environ).origin == "the default"


def test_the_config_folder_is_below_home() -> None:
    assert str(docker_folder({"HOME": "/home/me"})) == "/home/me/.docker"


def test_finding_the_endpoint_imports_no_docker() -> None:
    code = (
        "import sys, airgapbuild.engine.endpoint\n"
        "sys.exit(bool({'docker', 'requests'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
