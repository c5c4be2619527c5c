"""`airgapbuild push` as a user starts it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airgapbuild.cli.console import Color, Console
from airgapbuild.cli.sources import registry_target
from airgapbuild.errors import RegistryError
from airgapbuild.manifest import parse_manifest
from tests.engines import pki
from tests.engines.registry import USER, Registry
from tests.integration.targets import TEXT, changes, publish
from tests.support.program import airgapbuild, document
from tests.support.project import Project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines.parts.part import Shelf
    from tests.support.keys import Keys

MIRRORS = '\n[buildkitd.registry."docker.io"]\nmirrors = ["{}/hub"]\n'


@pytest.fixture(scope="module")
def inside(bed: Shelf) -> Iterator[Registry]:
    """With TLS of a private CA, and passwords."""
    with Registry.start(
        bed, auth="htpasswd", tls=True, writable=True, empty=True, newest=True
    ) as running:
        yield running


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path, TEXT)
    publish(made, referred=False)
    return made


def reached(project: Project, registry: Registry, more: str = "") -> Path:
    """A manifest that says how a registry is reached."""
    path = project.folder / "inside.toml"
    path.write_text(f'{TEXT}\n[registries."{registry.address}"]\nca = "{registry.ca}"\n{more}')
    return path


def home(project: Project, registry: Registry) -> dict[str, str]:
    """The environment of somebody who is logged in."""
    config = project.folder / "home/.docker/config.json"
    config.parent.mkdir(parents=True)
    login = base64.b64encode(":".join(USER).encode()).decode()
    config.write_text(json.dumps({"auths": {registry.address: {"auth": login}}}))
    return {"HOME": str(project.folder / "home")}


def test_who_has_named_no_manifest_is_told_of_the_option() -> None:
    console = Console("push", as_json=False, quiet=False, verbose=False, color=Color.AUTO)
    hint = 'if it speaks plain http: http = true in [registries."r.example"]'
    for manifest, more in (
        (None, " of a manifest, and push --file airgapbuild.toml"),
        (parse_manifest(TEXT.encode(), "m", folder=Path()), ""),
    ):
        with (
            pytest.raises(RegistryError, match="no TLS with it") as caught,
            registry_target("r.example", manifest, console),
        ):
            raise RegistryError("registry r.example: no TLS with it", hint=hint)
        assert caught.value.hint == hint + more


def test_it_says_what_is_there_and_as_what(project: Project, inside: Registry) -> None:
    bundle = project.bundle("b")
    env = home(project, inside)
    command = ("push", "--file", reached(project, inside), bundle.folder, f"{inside.address}/a")
    done = airgapbuild(*command, env=env)
    assert (done.returncode, done.stderr.count("✓")) == (0, 2)
    kit, python = bundle.lock.image
    lines = done.stdout.splitlines()
    assert lines[1].split()[:3] == ["kit", f"{inside.address}/a/library/kit:1", kit.digest[:19]]
    assert "pushed (" in lines[1]
    assert lines[-1] == f"{inside.address}/a has all of {bundle.folder}"
    again = document(airgapbuild(*command, "--json", env=env))
    assert again["registry"] == f"{inside.address}/a"
    assert again["images"][1] == {
        "name": "python",
        "names": [f"{inside.address}/a/library/python:1"],
        "locked": python.digest,
        "digest": python.digest,
        "exact": True,
        "platforms": ["linux/amd64", "linux/arm64"],
        "action": "present",
        "sent": 0,
        "mounted": 0,
    }
    quiet = airgapbuild(*command, "-q", env=env)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_rewrite_follows_the_builders_mirrors(project: Project, inside: Registry) -> None:
    project.text = TEXT + MIRRORS.format(inside.address)
    bundle = project.bundle("b")
    env, file = home(project, inside), reached(project, inside)
    done = airgapbuild(
        *("push", "--rewrite", "--json", "-f", file, bundle.folder, inside.address), env=env
    )
    assert document(done)["images"][0]["names"] == [
        f"{inside.address}/hub/{name}"
        for name in ("library/kit:1", "corp/kit:1", "library/kit:stable")
    ]


def test_without_the_login_it_is_exit_5(project: Project, inside: Registry) -> None:
    bundle = project.bundle("b")
    done = airgapbuild("push", "-f", reached(project, inside), bundle.folder, inside.address)
    assert done.returncode == 5
    assert "authentication required for blob" in done.stderr
    assert f"docker login {inside.address}" in done.stderr


def test_without_the_ca_it_is_exit_5(project: Project, inside: Registry) -> None:
    bundle, file = project.bundle("b"), reached(project, inside)
    other = pki.authority(project.folder).cert
    file.write_text(file.read_text().replace(str(inside.ca), str(other)))
    done = airgapbuild("push", "-f", file, bundle.folder, inside.address)
    assert done.returncode == 5
    assert "its certificate is not trusted" in done.stderr


def test_a_policy_counts_before_anything_is_sent(project: Project, bed: Shelf, keys: Keys) -> None:
    bundle = project.bundle("b")
    signers = keys.allow(keys.make("release"), "release@example.org")
    with Registry.start(bed, writable=True, empty=True) as registry:
        file = project.folder / "policy.toml"
        file.write_text(f'{TEXT}\n[policy]\nallowed-signers = "{signers}"\n')
        done = airgapbuild("push", "-f", file, bundle.folder, registry.address)
        assert done.returncode == 10
        assert changes(registry) == []


@pytest.mark.parametrize("registry", ["https://r.test", "r.test/UPPER", "r.test/a:1"])
def test_what_is_no_registry_is_exit_2(project: Project, registry: str) -> None:
    done = airgapbuild("push", project.bundle("b").folder, registry)
    assert done.returncode == 2
    assert "no scheme" in done.stderr


def test_a_registry_that_is_not_there_is_exit_5(project: Project) -> None:
    done = airgapbuild("push", "--json", project.bundle("b").folder, "127.0.0.1:1")
    assert done.returncode == 5
    assert document(done)["error"]["kind"] == "registry"
