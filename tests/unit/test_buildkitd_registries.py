"""Mirrors, CAs and client keys, from the manifest into the lock and the builder's files."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest

from airgapbuild.builder.buildkitd import config_files, inside_hosts, render
from airgapbuild.builder.settings import settings
from airgapbuild.errors import LockError, ManifestError
from airgapbuild.lockfile import parse_lock, render_lock, stale_reasons
from airgapbuild.manifest import Manifest, parse_manifest
from airgapbuild.oci.digest import digest_of
from airgapbuild.resolve import resolve
from tests.engines import pki
from tests.support.memory import MemorySource

if TYPE_CHECKING:
    from pathlib import Path

    from airgapbuild.lockfile import Lock

HEAD = """\
version = 1
name = "builders"
platforms = ["linux/amd64"]
[images.buildkit]
ref = "moby/buildkit:v0.34.2"
role = "builder"
[builder]
name = "airgap"
image = "buildkit"
"""
FIRST = HEAD.count("\n") + 1
"""The line on which a test's own text begins."""


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> pki.Pair:
    return pki.authority(tmp_path_factory.mktemp("pki"))


def parse(text: str, folder: Path) -> Manifest:
    return parse_manifest((HEAD + text).encode(), "a.toml", folder=folder)


def problems(text: str, folder: Path) -> tuple[str, ...]:
    with pytest.raises(ManifestError) as caught:
        parse(text, folder)
    return caught.value.lines


def locked(manifest: Manifest) -> Lock:
    source = MemorySource()
    source.publish("moby/buildkit:v0.34.2", "linux/amd64")
    return resolve(manifest, source)


@pytest.fixture
def project(authority: pki.Pair, tmp_path: Path) -> Path:
    """A folder with a CA's file, and a folder in it with another of the same name."""
    pem = authority.cert.read_text()
    (tmp_path / "corp.pem").write_text(f"a comment\r\n{pem}")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/corp.pem").write_text(pem + pem)
    return tmp_path


def test_what_a_mirror_s_table_says_is_written_to_the_mirror_s_own(project: Path) -> None:
    manifest = parse(
        """
        [buildkitd.registry."docker.io"]
        mirrors = [
          "plain.example",
          { host = "mirror.example:5000/hub", http = true },
          { host = "tls.example", ca = "corp.pem", insecure = false },
        ]
        [buildkitd.registry."tls.example"]
        tlsconfigdir = "/etc/docker/certs.d/tls.example"
        """,
        project,
    )
    registry = manifest.buildkitd.locked.registry
    assert registry["docker.io"].mirrors == (
        "plain.example",
        "mirror.example:5000/hub",
        "tls.example",
    )
    assert not registry["docker.io"].has_connection
    assert registry["mirror.example:5000"].http is True
    assert "plain.example" not in registry
    assert registry["tls.example"].insecure is False
    assert [ca.name for ca in registry["tls.example"].ca] == ["corp.pem"]
    assert registry["tls.example"].tlsconfigdir == ("/etc/docker/certs.d/tls.example",)
    assert inside_hosts(manifest.buildkitd.locked) == (
        "mirror.example:5000",
        "plain.example",
        "tls.example",
    )


def test_a_registry_with_a_ca_of_its_own_is_inside(project: Path) -> None:
    text = """
        [buildkitd.registry."own.example"]
        mirrors = [{ host = "cache.example", http = true }]
        ca = "corp.pem"
    """
    assert "own.example" in inside_hosts(parse(text, project).buildkitd.locked)


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("http = true", "http = true"),
        ("insecure = true", "insecure = true"),
        ('ca = "corp.pem"', 'ca = "corp.pem"'),
        ('ca = ["corp.pem"]', 'ca = ["corp.pem"]'),
        ('tlsconfigdir = "/certs"', 'tlsconfigdir = "/certs"'),
        ('keypair = [{ key = "/key.pem", cert = "/cert.pem" }]', "keypair = …"),
    ],
)
def test_what_is_meant_for_a_mirror_and_stands_beside_it_is_told(
    project: Path, key: str, shown: str
) -> None:
    text = f'[buildkitd.registry."docker.io"]\nmirrors = ["mirror.example:5000/hub"]\n{key}\n'
    (problem,) = problems(text, project)
    name = key.partition(" ")[0]
    assert problem == (
        f'a.toml:{FIRST + 2}: buildkitd.registry."docker.io".{name}: is about docker.io itself, '
        f'not about its mirror: write mirrors = [{{ host = "mirror.example:5000/hub", {shown} }}], '
        'or make a table [buildkitd.registry."mirror.example:5000"]'
    )


@pytest.mark.parametrize(
    "text",
    [
        # It is the registry's own where the mirror has its own, even an empty one.
        'mirrors = ["m.example"]\nhttp = true\n[buildkitd.registry."m.example"]',
        'mirrors = [{ host = "m.example", http = false }]\nhttp = true',
        'mirrors = ["m.example"]\nhttp = false',
        "http = true",
    ],
)
def test_what_is_meant_for_the_registry_is_no_problem(project: Path, text: str) -> None:
    manifest = parse(f'[buildkitd.registry."own.example"]\n{text}', project)
    assert "own.example" in manifest.buildkitd.registry


def test_two_tables_that_contradict_each_other_are_told_with_both_lines(project: Path) -> None:
    text = """\
[buildkitd.registry."docker.io"]
mirrors = [{ host = "mirror.example/hub", http = true }]
[buildkitd.registry."ghcr.io"]
mirrors = [{ host = "mirror.example/ghcr", http = true, insecure = true }]
[buildkitd.registry."mirror.example"]
http = false
insecure = true
"""
    own = f'a.toml:{FIRST + 5}: buildkitd.registry."mirror.example".http'
    assert problems(text, project) == tuple(
        f'a.toml:{FIRST + line}: buildkitd.registry."{host}".mirrors.0.http: contradicts {own}, '
        "which is about the same host"
        for line, host in ((1, "docker.io"), (3, "ghcr.io"))
    )


@pytest.mark.parametrize("wrong", ["registry = 1", 'registry."a.example" = 1', "registry = [1]"])
def test_registries_of_a_wrong_type_are_told_once(project: Path, wrong: str) -> None:
    (problem,) = problems(f"[buildkitd]\n{wrong}\n", project)
    assert f"a.toml:{FIRST + 1}: buildkitd.registry" in problem


@pytest.mark.parametrize("wrong", ["1", '"http://m.example"', "{ host = 1 }", '{ hosts = "m" }'])
def test_a_mirror_that_is_none_is_told(project: Path, wrong: str) -> None:
    text = f'[buildkitd.registry."docker.io"]\nmirrors = [{wrong}]\nhttp = true\n'
    assert problems(text, project)[0].startswith(
        f'a.toml:{FIRST + 1}: buildkitd.registry."docker.io".mirrors.0'
    )


CA = """
[buildkitd.registry."docker.io"]
mirrors = [{ host = "mirror.example:5000", ca = ["corp.pem", "other/corp.pem"] }]
[[buildkitd.registry."mirror.example:5000".keypair]]
cert = "/etc/pki/corp.pem"
key = "~/keys/corp.key"
"""


def test_cas_lie_in_the_lock_and_keys_do_not(project: Path, authority: pki.Pair) -> None:
    manifest = parse(CA, project)
    lock = locked(manifest)
    raw = render_lock(lock)
    assert parse_lock(raw, "a.lock") == lock
    assert raw.count(b"-----BEGIN CERTIFICATE-----\n") == 3
    assert b"a comment" not in raw
    assert b"PRIVATE" not in raw
    assert b'key = "~/keys/corp.key"' in raw
    assert stale_reasons(manifest, lock) == ()


def test_another_ca_makes_a_lock_stale_and_other_words_around_it_do_not(project: Path) -> None:
    lock = locked(parse(CA, project))
    pem = (project / "corp.pem").read_text()
    (project / "corp.pem").write_text(pem.replace("a comment", "another\n\n"))
    assert stale_reasons(parse(CA, project), lock) == ()
    (project / "corp.pem").write_text(pem + pem)
    assert stale_reasons(parse(CA, project), lock) == ("buildkitd: has changed",)


def test_the_files_lie_where_buildx_would_place_them(project: Path) -> None:
    buildkitd = locked(parse(CA, project)).buildkitd
    files = config_files(buildkitd)
    folder = "certs/mirror.example_5000"
    assert sorted(files) == ["buildkitd.toml", f"{folder}/corp-2.pem", f"{folder}/corp.pem"]
    assert files[f"{folder}/corp-2.pem"] == files[f"{folder}/corp.pem"] * 2
    folder = f"/etc/buildkit/{folder}"
    assert tomllib.loads(render(buildkitd).decode())["registry"] == {
        "docker.io": {"mirrors": ["mirror.example:5000"]},
        "mirror.example:5000": {
            "ca": [f"{folder}/corp.pem", f"{folder}/corp-2.pem"],
            "keypair": [{"cert": f"{folder}/corp-3.pem", "key": f"{folder}/corp.key"}],
        },
    }


def test_people_see_a_ca_s_name_and_digest(project: Path) -> None:
    shown = settings(locked(parse(CA, project)))
    (name, other) = shown["buildkitd.registry.mirror.example:5000.ca"].split(", ")
    assert name.startswith("corp.pem sha256:")
    assert name != other


def test_a_path_of_a_ca_is_relative_to_the_manifest(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", str(project))
    for path in ("other/corp.pem", "~/corp.pem", str(project / "corp.pem")):
        manifest = parse(f'[buildkitd.registry."a.example"]\nca = "{path}"\n', project)
        assert manifest.buildkitd.registry["a.example"].ca[0].name == "corp.pem"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        ("", "holds no certificate: it must be a PEM file"),
        ("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "that is broken"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "that is broken"),
        ("-----BEGIN CERTIFICATE-----\nä?\n-----END CERTIFICATE-----\n", "that is broken"),
        ("{pem}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "a private key"),
        ("{pem}-----BEGIN CERTIFICATE-----\nAAAA", "that is broken"),
        ("{pem}-----BEGIN EC PRIVATE KEY-----\nAAAA", "a private key"),
        ("-----BEGIN A-----\n" * 50_000, "holds no certificate: it must be a PEM file"),
        ("{pem}" + " " * (1 << 20), "is larger than 1 MiB"),
    ],
)
def test_a_file_that_holds_no_cas_is_told(
    project: Path, authority: pki.Pair, content: str | None, message: str
) -> None:
    if content is not None:
        text = content.replace("{pem}", authority.cert.read_text())
        (project / "x.pem").write_text(text, encoding="utf-8")
    (problem,) = problems('[buildkitd.registry."a.example"]\nca = "x.pem"\n', project)
    place = f'a.toml:{FIRST + 1}: buildkitd.registry."a.example".ca.0: '
    assert problem.startswith(f"{place}'{project / 'x.pem'}': ")
    assert message in problem


@pytest.mark.parametrize("wrong", ["ca = 1", "ca = [1]", 'ca = [{ name = "x", pem = "y" }]'])
def test_a_ca_is_given_by_a_path(project: Path, wrong: str) -> None:
    (problem,) = problems(f'[buildkitd.registry."a.example"]\n{wrong}\n', project)
    assert f'a.toml:{FIRST + 1}: buildkitd.registry."a.example".ca' in problem


@pytest.mark.parametrize("wrong", ["keys/key.pem", "key.pem", "$KEY"])
def test_a_path_on_the_isolated_machine_is_absolute(project: Path, wrong: str) -> None:
    pair = f'keypair = [{{ key = "{wrong}", cert = "/cert.pem" }}]'
    (problem,) = problems(f'[buildkitd.registry."a.example"]\n{pair}\n', project)
    assert problem.endswith(
        f".keypair.0.key: '{wrong}' must be an absolute path: it is read on the isolated machine, "
        "by `load`"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("corp.pem", "../../corp.pem"),
        ("corp.pem", ".."),
        ("corp.pem", "a/b"),
        ("BEGIN CERTIFICATE", "BEGIN PRIVATE KEY"),
        ("/etc/pki/corp.pem", "corp.pem"),
    ],
)
def test_a_lock_that_says_something_else_of_files_is_refused(
    project: Path, old: str, new: str
) -> None:
    raw = render_lock(locked(parse(CA, project))).decode()
    assert old in raw
    with pytest.raises(LockError):
        parse_lock(raw.replace(old, new).encode(), "a.lock")


def test_a_lock_is_the_same_bytes_wherever_its_cas_were_read(project: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "other").mkdir(parents=True)
    for name in ("corp.pem", "other/corp.pem"):
        (elsewhere / name).write_bytes((project / name).read_bytes())
    one, other = (render_lock(locked(parse(CA, folder))) for folder in (project, elsewhere))
    assert digest_of(one) == digest_of(other)
