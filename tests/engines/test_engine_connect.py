"""Daemons that cannot be reached, and TLS, on real daemons."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from airgapbuild.engine.daemon import Daemon
from airgapbuild.engine.endpoint import find_endpoint
from airgapbuild.errors import DaemonError
from tests.engines import pki

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import FreshDaemon
    from tests.engines.daemon import Daemon as BedDaemon


def test_a_daemon_that_is_gone_is_told_with_its_origin(fresh_daemon: FreshDaemon) -> None:
    stopped = fresh_daemon("28.5", "classic")
    stopped.stop()
    with pytest.raises(DaemonError, match=r"from DOCKER_HOST\): No such file") as failed:
        Daemon.connect(find_endpoint(None, stopped.env))
    assert "is it running?" in (failed.value.hint or "")


CONNECT = """
import os
from airgapbuild.engine.daemon import Daemon
from airgapbuild.engine.endpoint import find_endpoint
from airgapbuild.errors import DaemonError
try:
    with Daemon.connect(find_endpoint(None, os.environ)) as daemon:
        print(daemon.version, len(list(daemon.layer_chains())))
except DaemonError as error:
    print(error.message, "|", error.hint)
"""


def connect(*prefix: str, env: dict[str, str]) -> str:
    """What a process of its own gets to see."""
    argv = [*prefix, sys.executable, "-c", CONNECT]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **env}
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("daemon", [("28.5", "classic")], indirect=True, ids="-".join)
def test_a_socket_without_permission_is_told(daemon: BedDaemon) -> None:
    # The folder of the bed is private; the socket's own mode is what is to refuse.
    daemon.folder.chmod(0o755)
    said = connect("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", env=daemon.env)
    assert "permission denied" in said
    assert "docker group" in said


def test_tls_by_environment_alone_will_do(tls_daemon: BedDaemon) -> None:
    said = connect(*tls_daemon.namespace.prefix, env=tls_daemon.env)
    assert said.startswith("28.5.2")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda env: env.pop("DOCKER_TLS_VERIFY"), "it wants TLS: set DOCKER_TLS_VERIFY=1"),
        (lambda env: env.update(DOCKER_CERT_PATH="/nowhere"), "CA /nowhere/ca.pem"),
        (lambda env: env.update(DOCKER_HOST="tcp://127.0.0.1:1"), "Connection refused"),
        # An address that its certificate does not have.
        (lambda env: env.update(DOCKER_HOST="tcp://127.0.0.2:2376"), "Connection refused|TLS"),
    ],
)
def test_tls_that_does_not_work_is_told_with_its_files(
    tls_daemon: BedDaemon, change: Callable[[dict[str, str]], object], words: str
) -> None:
    env = dict(tls_daemon.env)
    change(env)
    said = connect(*tls_daemon.namespace.prefix, env=env)
    assert any(word in said for word in words.split("|")), said


def test_tls_without_verification_is_what_docker_tls_means(tls_daemon: BedDaemon) -> None:
    env = {key: value for key, value in tls_daemon.env.items() if key != "DOCKER_TLS_VERIFY"}
    said = connect(*tls_daemon.namespace.prefix, env=env | {"DOCKER_TLS": "1"})
    assert said.startswith("28.5.2")


def test_certificates_of_another_authority_are_told(tls_daemon: BedDaemon, tmp_path: Path) -> None:
    pki.issue(pki.authority(tmp_path), tmp_path)
    env = tls_daemon.env | {"DOCKER_CERT_PATH": str(tmp_path)}
    said = connect(*tls_daemon.namespace.prefix, env=env)
    assert "CERTIFICATE_VERIFY_FAILED" in said
    assert f"CA {tmp_path}/ca.pem" in said
