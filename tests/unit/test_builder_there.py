"""Client certificates and keys of the isolated machine."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airgapbuild.builder.there import files_there
from airgapbuild.builder.wanted import wanted_instance
from airgapbuild.builder_tables import BuilderEntry
from airgapbuild.buildkitd import Buildkitd
from airgapbuild.errors import BuilderError
from airgapbuild.lockfile import Lock
from airgapbuild.manifest import parse_manifest
from airgapbuild.resolve import resolve
from tests.engines import pki
from tests.support.memory import MemorySource

if TYPE_CHECKING:
    from airgapbuild.builder.instance import Instance

HOST = "mirror.example:5000"
PLACE = "certs/mirror.example_5000"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, its certificate with a key, one that is locked, and somebody else's."""
    folder = tmp_path_factory.mktemp("pki")
    ca = pki.authority(folder)
    pair = pki.issue(ca, folder, "client")
    pki.issue(ca, folder, "other")
    for name, form in (("locked", ()), ("old-locked", ("-traditional",))):
        words = ("-aes128", "-passout", "pass:secret", *form)
        out = folder / f"{name}.pem"
        argv = ("openssl", "ec" if form else "pkey", "-in", pair.key, "-out", out, *words)
        argv = tuple(word for word in argv if word != "-traditional")
        subprocess.run(argv, check=True, capture_output=True)
    return folder


def locked(**settings: object) -> Lock:
    buildkitd = Buildkitd.model_validate({"registry": {HOST: settings}}).locked
    return Lock.model_construct(
        version=1, name="keys", image=(), builder=BuilderEntry(name="airgap"), buildkitd=buildkitd
    )


def pair(cert: Path | str, key: Path | str) -> Lock:
    return locked(keypair=[{"cert": str(cert), "key": str(key)}])


def refused(lock: Lock) -> tuple[str, ...]:
    with pytest.raises(BuilderError) as caught:
        files_there(lock)
    assert caught.value.hint
    return caught.value.lines


def test_a_pair_is_read_from_this_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert files_there(pair("~/client-cert.pem", folder / "client-key.pem")) == {
        f"{PLACE}/client-cert.pem": (folder / "client-cert.pem").read_bytes(),
        f"{PLACE}/client-key.pem": (folder / "client-key.pem").read_bytes(),
    }


def test_both_halves_of_a_pair_may_be_one_file(folder: Path, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(
        (folder / "client-key.pem").read_bytes() + (folder / "client-cert.pem").read_bytes()
    )
    assert files_there(pair(both, both)) == {f"{PLACE}/both.pem": both.read_bytes()}


def test_a_folder_is_taken_as_docker_has_it(folder: Path, tmp_path: Path) -> None:
    certs = tmp_path / HOST
    certs.mkdir()
    for name, source in (
        ("ca.crt", "ca.pem"),
        ("client.cert", "client-cert.pem"),
        ("client.key", "client-key.pem"),
        ("README", "ca.pem"),
    ):
        (certs / name).write_bytes((folder / source).read_bytes())
    found = files_there(locked(tlsconfigdir=str(certs)))
    assert sorted(found) == [
        f"{PLACE}/mirror.example_5000/{name}" for name in ("ca.crt", "client.cert", "client.key")
    ]


def test_what_is_wrong_is_told_all_at_once(folder: Path, tmp_path: Path) -> None:
    table = f'buildkitd.registry."{HOST}"'
    nothing = tmp_path / "nothing"
    lock = locked(
        keypair=[
            {"cert": str(nothing), "key": str(folder / "client-key.pem")},
            {"cert": str(folder / "client-cert.pem"), "key": str(nothing)},
        ],
        tlsconfigdir=[str(nothing), str(tmp_path)],
    )
    assert refused(lock) == (
        f"{table}.keypair: {nothing}: No such file or directory",
        f"{table}.keypair: {nothing}: No such file or directory",
        f"{table}.tlsconfigdir: {nothing}: No such file or directory",
        f"{table}.tlsconfigdir: {tmp_path}: holds neither a *.crt nor a *.cert with its *.key",
    )


@pytest.mark.parametrize(
    ("cert", "key", "message"),
    [
        ("client-key.pem", "client-key.pem", "client-key.pem: holds no certificate in PEM"),
        ("client-cert.pem", "client-cert.pem", "client-cert.pem: holds no private key in PEM"),
        ("client-cert.pem", "locked.pem", "locked.pem: has a password, for which BuildKit"),
        ("client-cert.pem", "old-locked.pem", "old-locked.pem: has a password, for which"),
        ("client-cert.pem", "other-key.pem", "are no pair: key values mismatch"),
        ("client-cert.pem", "large.pem", "large.pem: is larger than 1 MiB"),
        ("client-cert.pem", ".", "Is a directory"),
    ],
)
def test_a_pair_that_buildkit_could_not_use_is_told(
    folder: Path, cert: str, key: str, message: str
) -> None:
    (folder / "large.pem").write_bytes(b" " * ((1 << 20) + 1))
    (problem,) = refused(pair(folder / cert, folder / key))
    assert message in problem
    assert "secret" not in problem


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"x.crt": "client-key.pem"}, "x.crt: holds no certificate in PEM"),
        ({"x.cert": "client-cert.pem"}, "x.key: No such file or directory"),
        ({"x.cert": "client-cert.pem", "x.key": "other-key.pem"}, "are no pair"),
        ({"x.key": "client-key.pem"}, "holds neither a *.crt nor a *.cert with its *.key"),
    ],
)
def test_a_folder_that_buildkit_could_not_use_is_told(
    folder: Path, tmp_path: Path, names: dict[str, str], message: str
) -> None:
    for name, source in names.items():
        (tmp_path / name).write_bytes((folder / source).read_bytes())
    (problem,) = refused(locked(tlsconfigdir=str(tmp_path)))
    assert message in problem


def wanted(folder: Path, there: dict[str, bytes]) -> Instance:
    text = f"""
        version = 1
        name = "builders"
        platforms = ["linux/amd64"]
        images.buildkit = {{ ref = "moby/buildkit:v0.34.2", role = "builder" }}
        builder = {{ name = "airgap", image = "buildkit" }}
        [buildkitd.registry."{HOST}"]
        ca = "ca.pem"
        keypair = [{{ cert = "/cert.pem", key = "/key.pem" }}]
    """
    source = MemorySource()
    source.publish("moby/buildkit:v0.34.2", "linux/amd64")
    lock = resolve(parse_manifest(text.encode(), "a.toml", folder=folder), source)
    instance = wanted_instance(lock, there=there)
    assert instance is not None
    return instance


def test_the_instance_has_the_cas_of_the_lock_and_the_keys_of_the_machine(folder: Path) -> None:
    key = f"{PLACE}/key.pem"
    instance = wanted(folder, {key: b"a key with a \xff"})
    files = json.loads(instance.document())["Nodes"][0]["Files"]
    assert sorted(files) == ["buildkitd.toml", f"{PLACE}/ca.pem", key]
    assert base64.b64decode(files[f"{PLACE}/ca.pem"]) == (folder / "ca.pem").read_bytes()
    assert base64.b64decode(files[key]) == b"a key with a \xff"


def test_another_key_is_another_container(folder: Path) -> None:
    mark = "env.AIRGAPBUILD_CONFIG"
    marks = {
        wanted(folder, {f"{PLACE}/key.pem": key}).nodes[0].driver_opts[mark]
        for key in (b"one", b"two")
    }
    assert len(marks) == 2


def test_where_no_builder_is_made_nothing_is_read(tmp_path: Path) -> None:
    lock = locked(tlsconfigdir=str(tmp_path / "nothing"))
    remote = BuilderEntry.model_construct(name="airgap", driver="remote")
    for builder in (None, remote):
        assert files_there(lock.model_copy(update={"builder": builder})) == {}
