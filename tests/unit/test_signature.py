"""Bundles that are signed, and those who demand it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from airgapbuild.bundle.packaging import Packaging
from airgapbuild.bundle.reader import open_bundle
from airgapbuild.bundle.signature import Policy, Signed, drop_signature, is_signed, sign_bundle
from airgapbuild.errors import BundleError, SignatureError
from airgapbuild.export import export
from airgapbuild.lockfile import Lock
from airgapbuild.manifest import parse_manifest
from airgapbuild.resolve import resolve
from airgapbuild.signing import AllowedSigners, SshKeygen
from airgapbuild.verify import verify
from tests.support.forgery import TARBALL, TEXT, make_bundle, vouch
from tests.support.keys import Keys
from tests.support.memory import MemorySource

README = Path(__file__).parents[2] / "README.md"
ANN = "ann@corp.example"


@pytest.fixture(scope="module")
def ann(keys: Keys) -> Path:
    return keys.make("ann")


@pytest.fixture(scope="module")
def bob(keys: Keys) -> Path:
    return keys.make("bob")


@pytest.fixture(scope="module")
def keygen(keys: Keys) -> SshKeygen:
    return SshKeygen.find(keys.environ)


@pytest.fixture(scope="module")
def signers(keys: Keys, ann: Path) -> Path:
    return keys.allow(ann, ANN)


@pytest.fixture(scope="module")
def policy(signers: Path, keygen: SshKeygen) -> Policy:
    return Policy(AllowedSigners.read(signers, keygen))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("made") / "b")


@pytest.fixture
def unsigned(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "b"))


@pytest.fixture
def folder(unsigned: Path, ann: Path, keygen: SshKeygen) -> Path:
    sign_bundle(unsigned, ann, keygen, pytest.fail)
    return unsigned


@pytest.fixture
def source() -> MemorySource:
    source = MemorySource()
    source.publish("tool:1", "linux/amd64")
    return source


@pytest.fixture
def lock(source: MemorySource) -> Lock:
    return resolve(parse_manifest(TEXT.encode(), "m", folder=Path()), source)


def refusal(folder: Path, policy: Policy) -> str:
    """Why nobody takes it, as all readers say it."""
    with pytest.raises(SignatureError) as opened:
        open_bundle(folder, policy=policy)
    with pytest.raises(SignatureError) as verified:
        verify(folder, policy=policy)
    assert opened.value.message == verified.value.message
    return opened.value.message.replace(str(folder), "b")


def test_a_signed_bundle_is_taken_and_its_signer_told(
    folder: Path, policy: Policy, keys: Keys, ann: Path
) -> None:
    opened, verified = open_bundle(folder, policy=policy), verify(folder, policy=policy)
    assert opened.signer == verified.signer
    assert str(opened.signer) == f"{ANN} (ED25519 key {keys.fingerprint(ann)})"
    assert verified.error is None
    [row] = [file for file in verified.files if file.name == "SHA256SUMS.sig"]
    assert (row.what, row.state) == ("signature", "ok")


def test_a_signature_that_nobody_asks_about_is_not_checked(folder: Path) -> None:
    (folder / "SHA256SUMS.sig").write_text("no signature at all")
    verified = verify(folder)
    assert (verified.error, verified.signed, verified.signer) == (None, True, None)
    [row] = [file for file in verified.files if file.name == "SHA256SUMS.sig"]
    assert row.state == "not checked"
    assert open_bundle(folder).signer is None


def test_a_bundle_without_a_signature(unsigned: Path, policy: Policy) -> None:
    assert refusal(unsigned, policy) == "b: is not signed: SHA256SUMS.sig cannot be had"
    assert not verify(unsigned).signed


def test_a_bundle_without_sums(folder: Path, policy: Policy) -> None:
    (folder / "SHA256SUMS").unlink()
    assert refusal(folder, policy) == "b: is not signed: SHA256SUMS cannot be had"


def test_a_signature_by_somebody_else(
    unsigned: Path, bob: Path, keys: Keys, keygen: SshKeygen, policy: Policy, signers: Path
) -> None:
    sign_bundle(unsigned, bob, keygen, pytest.fail)
    told = (
        f"b/SHA256SUMS.sig: by ED25519 key {keys.fingerprint(bob)}, which {signers} does not allow"
    )
    assert refusal(unsigned, policy) == told


def test_a_signature_of_another_bundle(
    folder: Path, lock: Lock, source: MemorySource, policy: Policy, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    export(lock, source, other)
    shutil.copy(folder / "SHA256SUMS.sig", other)
    assert refusal(other, policy).endswith("SHA256SUMS.sig: does not fit SHA256SUMS")


@pytest.mark.parametrize("name", ["bundle.json", "airgapbuild.lock", "buildkitd.toml", TARBALL])
def test_a_forger_who_rewrites_the_sums_as_well(folder: Path, policy: Policy, name: str) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes() + b"\n")
    vouch(folder, name)
    assert refusal(folder, policy) == "b/SHA256SUMS.sig: does not fit SHA256SUMS"


def test_the_signature_covers_every_other_file(folder: Path, policy: Policy) -> None:
    """Whatever is changed, is there too much or too little: nothing is left that may be."""
    names = {path.name for path in folder.iterdir()}
    listed = {line.split()[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
    assert names - listed == {"SHA256SUMS", "SHA256SUMS.sig"}
    for name in sorted(listed):
        path, raw = folder / name, (folder / name).read_bytes()
        path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
        assert verify(folder, policy=policy).error, name
        path.write_bytes(raw)
    for name in ("uninstall.sh", "SHA256SUMS.asc", ".hidden"):
        (folder / name).write_text("")
        with pytest.raises(BundleError, match=f"{name}: does not belong to the bundle"):
            open_bundle(folder, policy=policy)
        assert verify(folder, policy=policy).error
        (folder / name).unlink()
    assert verify(folder, policy=policy).error is None


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "device", "huge"])
def test_a_signature_that_is_no_small_plain_file(
    folder: Path, policy: Policy, tmp_path: Path, kind: str
) -> None:
    path = folder / "SHA256SUMS.sig"
    path.rename(tmp_path / "good")
    if kind == "link":
        path.symlink_to(tmp_path / "good")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.write_bytes((tmp_path / "good").read_bytes() + b"\n" * 65536)
    told = "is too large for a signature" if kind == "huge" else "not a plain file"
    assert refusal(folder, policy) == f"b/SHA256SUMS.sig: {told}"
    if kind != "huge":
        with pytest.raises(BundleError, match=r"SHA256SUMS\.sig: not a plain file"):
            open_bundle(folder)
        [broken] = [file for file in verify(folder).files if file.state != "ok"]
        assert (broken.name, broken.state) == ("SHA256SUMS.sig", "broken")


def test_nothing_is_parsed_of_a_bundle_that_is_refused(folder: Path, policy: Policy) -> None:
    for name in ("SHA256SUMS", "bundle.json", "airgapbuild.lock"):
        (folder / name).write_bytes(b"\xff")
    assert refusal(folder, policy) == "b/SHA256SUMS.sig: does not fit SHA256SUMS"


@pytest.mark.parametrize(
    ("serial", "told"),
    [
        (None, "b/bundle.json: has no serial; 7 or higher is wanted"),
        (0, "b/bundle.json: has serial 0; 7 or higher is wanted"),
        (6, "b/bundle.json: has serial 6; 7 or higher is wanted"),
        (7, None),
        (8, None),
    ],
)
def test_an_older_bundle_is_refused(
    lock: Lock, source: MemorySource, tmp_path: Path, serial: int | None, told: str | None
) -> None:
    folder, policy = tmp_path / "b", Policy(min_serial=7)
    export(lock, source, folder, packaging=Packaging(serial=serial))
    if told:
        assert refusal(folder, policy) == told
    else:
        assert open_bundle(folder, policy=policy).index.serial == serial
        assert verify(folder, policy=policy).serial == serial


def test_a_serial_cannot_be_raised_under_a_signature(folder: Path, policy: Policy) -> None:
    index = json.loads((folder / "bundle.json").read_bytes())
    (folder / "bundle.json").write_text(json.dumps({**index, "serial": 9}))
    vouch(folder, "bundle.json")
    wanted = Policy(policy.allowed, min_serial=9)
    assert refusal(folder, wanted) == "b/SHA256SUMS.sig: does not fit SHA256SUMS"


def test_a_signature_by_the_same_key_is_kept(
    unsigned: Path, ann: Path, keys: Keys, keygen: SshKeygen
) -> None:
    key = keys.make("different-each-time", "ecdsa")
    path = unsigned / "SHA256SUMS.sig"
    first = sign_bundle(unsigned, key, keygen, pytest.fail)
    raw, times = path.read_bytes(), path.stat().st_mtime_ns
    again = sign_bundle(unsigned, key, keygen, pytest.fail)
    assert (first, again) == (Signed(first.key, made=True), Signed(first.key, made=False))
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (raw, times)
    assert path.stat().st_mode & 0o777 == 0o644
    other = sign_bundle(unsigned, ann, keygen, pytest.fail)
    assert (other.made, other.key.type) == (True, "ED25519")


@pytest.mark.parametrize("damage", ["flipped", "other sums", "other namespace", "link"])
def test_a_signature_that_is_no_good_is_made_anew(
    folder: Path, ann: Path, keys: Keys, keygen: SshKeygen, policy: Policy, damage: str
) -> None:
    path, sums = folder / "SHA256SUMS.sig", (folder / "SHA256SUMS").read_bytes()
    if damage == "link":
        path.rename(folder.parent / "elsewhere")
        path.symlink_to(folder.parent / "elsewhere")
    elif damage == "flipped":
        path.write_bytes(path.read_bytes().replace(b"A", b"B"))
    elif damage == "other sums":
        path.write_bytes(keys.sign(sums + b"\n", ann))
    else:
        path.write_bytes(keys.sign(sums, ann, "file"))
    assert sign_bundle(folder, ann, keygen, pytest.fail).made
    assert open_bundle(folder, policy=policy).signer


def test_a_certificate_signs_anew(unsigned: Path, keys: Keys, keygen: SshKeygen) -> None:
    ca, key = keys.make("ca"), keys.make("certified")
    certificate = keys.certify(ca, key, "ann")
    assert sign_bundle(unsigned, certificate, keygen, pytest.fail).key.type == "ED25519-CERT"
    assert sign_bundle(unsigned, certificate, keygen, pytest.fail).made
    path = keys.folder / "of the ca"
    path.write_text(f"a* cert-authority {keys.public(ca)}")
    signer = open_bundle(unsigned, policy=Policy(AllowedSigners.read(path, keygen))).signer
    assert signer
    assert signer.principal == "ann"


def test_what_is_no_bundle_cannot_be_signed(tmp_path: Path, ann: Path, keygen: SshKeygen) -> None:
    with pytest.raises(BundleError, match="SHA256SUMS: No such file"):
        sign_bundle(tmp_path, ann, keygen, pytest.fail)


def test_an_export_that_changes_nothing_leaves_the_signature(
    lock: Lock, source: MemorySource, ann: Path, keygen: SshKeygen, policy: Policy, tmp_path: Path
) -> None:
    folder = tmp_path / "b"
    export(lock, source, folder)
    sign_bundle(folder, ann, keygen, pytest.fail)
    assert not export(lock, source, folder).changed
    assert open_bundle(folder, policy=policy).signer


def test_an_export_of_other_sums_removes_the_signature(
    lock: Lock, source: MemorySource, ann: Path, keygen: SshKeygen, tmp_path: Path
) -> None:
    folder = tmp_path / "b"
    export(lock, source, folder)
    sign_bundle(folder, ann, keygen, pytest.fail)
    export(lock, source, folder, packaging=Packaging(serial=1))
    assert not is_signed(folder)
    assert verify(folder).error is None


def test_a_signature_is_dropped_unless_its_sums_stay(folder: Path) -> None:
    drop_signature(folder, unless=(folder / "SHA256SUMS").read_bytes())
    assert is_signed(folder)
    drop_signature(folder, unless=b"others")
    drop_signature(folder, unless=b"others")
    assert not is_signed(folder)


def test_a_signature_is_dropped_where_the_sums_are_gone(folder: Path) -> None:
    sums = (folder / "SHA256SUMS").read_bytes()
    (folder / "SHA256SUMS").unlink()
    drop_signature(folder, unless=sums)
    assert not is_signed(folder)
