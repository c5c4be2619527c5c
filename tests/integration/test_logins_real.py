"""Logins as the tools of the field keep them, read by the program as a user runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engines.registry import USER
from tests.integration.projects import Project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines.parts.part import Shelf
    from tests.engines.registry import Registry

BUSYBOX = "library/busybox:1.37.0"
NAME, PASSWORD = USER


@pytest.fixture
def project(tmp_path: Path, htpasswd_registry: Registry) -> Project:
    made = Project(tmp_path)
    made.wants({"one": f"{htpasswd_registry.address}/{BUSYBOX}"}, {})
    return made


def tool(project: Project, *argv: str | Path, said: str = "", **environ: str) -> None:
    """Runs a tool of the field as the project's user."""
    subprocess.run(
        list(map(str, argv)),
        env={"PATH": os.environ["PATH"], **project.environ, **environ},
        input=said,
        text=True,
        check=True,
        capture_output=True,
    )


def locked_by(project: Project, **environ: str) -> list[str]:
    """Who was logged in, and by what, as `lock -v` tells it."""
    done = project.run("lock", "-v", **environ)
    assert done.returncode == 0, done.stderr
    return [line.partition(": ")[2] for line in done.stderr.splitlines() if ": login of" in line]


def test_nobody_gets_in_without_a_login(project: Project) -> None:
    done = project.run("lock")
    assert done.returncode == 5
    assert "authentication required" in done.stderr


def test_docker_s_config_as_crane_writes_it(
    project: Project, bed: Shelf, htpasswd_registry: Registry
) -> None:
    crane = bed.part("peers/go") / "bin/crane"
    address = htpasswd_registry.address
    tool(project, crane, "auth", "login", address, "-u", NAME, "-p", PASSWORD)
    config = project.home / ".docker/config.json"
    assert locked_by(project) == [f"login of '{NAME}' from {config}"]


def test_auth_json_as_podman_writes_it(
    project: Project, bed: Shelf, htpasswd_registry: Registry
) -> None:
    podman = bed.part("peers/debian") / "bin/podman"
    login = (podman, "login", "--tls-verify=false", "--username", NAME, "--password-stdin")
    (project.home / "run").mkdir()
    tool(project, *login, htpasswd_registry.address, said=PASSWORD)
    kept = project.home / "run/containers/auth.json"
    assert locked_by(project) == [f"login of '{NAME}' from {kept}"]


def test_auth_json_as_skopeo_writes_it_for_one_namespace(
    project: Project, bed: Shelf, htpasswd_registry: Registry
) -> None:
    skopeo, kept = bed.part("peers/debian") / "bin/skopeo", project.home / "auth.json"
    login = (skopeo, "login", "--tls-verify=false", "--username", NAME, "--password-stdin")
    address = htpasswd_registry.address
    tool(project, *login, "--authfile", kept, f"{address}/library", said=PASSWORD)
    assert list(json.loads(kept.read_bytes())["auths"]) == [f"{address}/library"]
    environ = {"REGISTRY_AUTH_FILE": str(kept)}
    told = [f"login of '{NAME}' from REGISTRY_AUTH_FILE ({kept})"]
    assert locked_by(project, **environ) == told
    project.wants({"one": f"{address}/moby/buildkit:v0.34.2"}, {})
    assert project.run("lock", **environ).returncode == 5


@pytest.fixture
def keychain(project: Project, bed: Shelf) -> Iterator[Path]:
    """A keychain of `pass`, and on PATH the helper for it."""
    programs = bed.part("keychain") / "bin"
    # Not below the project: a socket's path must be short.
    keys = Path(tempfile.mkdtemp(prefix="gpg-"))
    project.environ |= {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "GNUPGHOME": str(keys),
        "PASSWORD_STORE_DIR": str(project.home / "store"),
    }
    key = ("--batch", "--passphrase", "", "--quick-gen-key", "bed", "default", "default", "never")
    tool(project, "gpg", *key)
    tool(project, programs / "pass", "init", "bed")
    yield programs / "docker-credential-pass"
    tool(project, "gpgconf", "--kill", "all")
    shutil.rmtree(keys)


def test_a_keychain_as_docker_s_own_helper_keeps_it(
    project: Project, keychain: Path, htpasswd_registry: Registry
) -> None:
    config = project.home / ".docker/config.json"
    config.parent.mkdir()
    config.write_text('{"credsStore": "pass"}')
    done = project.run("lock")
    assert (done.returncode, "note:" in done.stderr) == (5, False)
    login = {"ServerURL": htpasswd_registry.address, "Username": NAME, "Secret": PASSWORD}
    tool(project, keychain, "store", said=json.dumps(login))
    told = [f"login of '{NAME}' from docker-credential-pass, as {config} says"]
    assert locked_by(project) == told
