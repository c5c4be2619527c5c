"""Signatures at the command line: export, verify, load, and the documentation's way without us."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from airgapbuild.bundle.packaging import Packaging
from airgapbuild.bundle.signature import ANY, Policy, sign_bundle
from airgapbuild.cli.connect import policy_for
from airgapbuild.errors import ManifestError, UsageError
from airgapbuild.signing import SshKeygen
from tests.support.forgery import TEXT, make_bundle, make_project
from tests.support.keys import Keys
from tests.support.program import PROGRAM, airgapbuild, document, environment
from tests.support.terminal import NO_TERMINAL, Typist

PAGE = Path(__file__).parents[2] / "docs" / "en" / "security.md"
ANN = "ann@corp.example"


@pytest.fixture(scope="module")
def ann(keys: Keys) -> Path:
    return keys.make("ann")


@pytest.fixture(scope="module")
def bob(keys: Keys) -> Path:
    return keys.make("bob")


@pytest.fixture(scope="module")
def signers(keys: Keys, ann: Path) -> Path:
    return keys.allow(ann, ANN)


@pytest.fixture
def unsigned(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "b")


@pytest.fixture
def folder(unsigned: Path, ann: Path, keys: Keys) -> Path:
    sign_bundle(unsigned, ann, SshKeygen.find(keys.environ), pytest.fail)
    return unsigned


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path)


@pytest.fixture
def environ(keys: Keys) -> dict[str, str]:
    """No daemon is there: a bundle that is refused is refused before it is looked for."""
    return {**keys.environ, "DOCKER_HOST": f"unix://{keys.folder}/no-daemon"}


def test_an_export_is_signed_and_then_left_alone(
    project: Path, keys: Keys, ann: Path, signers: Path, environ: dict[str, str]
) -> None:
    fingerprint = keys.fingerprint(ann)
    done = airgapbuild("export", "--sign", ann, cwd=project, env=environ)
    assert done.returncode == 0, done.stderr
    assert f"\nsigned by ED25519 key {fingerprint}\n" in done.stdout
    checked = ("verify", "--allowed-signers", signers, "bundles/b")
    assert airgapbuild(*checked, cwd=project, env=environ).returncode == 0
    done = airgapbuild("export", "--sign", ann, cwd=project, env=environ)
    assert f"\nthe signature is kept, by ED25519 key {fingerprint}\n" in done.stdout
    assert done.stdout.endswith("bundles/b is up to date\n")
    told = document(airgapbuild("export", "--json", cwd=project, env=environ))
    assert (told["changed"], told["signature"]) == (False, None)
    assert airgapbuild(*checked, cwd=project, env=environ).returncode == 0


def test_an_export_tells_what_it_does_to_a_signature(
    project: Path, keys: Keys, ann: Path, environ: dict[str, str]
) -> None:
    told = document(airgapbuild("export", "--json", "--sign", ann, cwd=project, env=environ))
    key = {"type": "ED25519", "fingerprint": keys.fingerprint(ann)}
    assert (told["changed"], told["signature"]) == (True, {"key": key, "made": True})
    done = airgapbuild("export", "--serial", "1", cwd=project, env=environ)
    assert done.returncode == 0
    assert "note: bundles/b: its signature was of other sums, and is removed\n" in done.stderr
    assert not (project / "bundles/b/SHA256SUMS.sig").exists()
    again = airgapbuild("export", "--serial", "2", "--sign", ann, cwd=project, env=environ)
    assert "note" not in again.stderr


@pytest.mark.parametrize("command", ["split", "join"])
def test_a_bundle_is_signed_as_it_is_packed_now(
    tmp_path: Path, keys: Keys, ann: Path, signers: Path, environ: dict[str, str], command: str
) -> None:
    folder = make_bundle(tmp_path / "b", packaging=Packaging(part_size=90_000))
    (folder / "SHA256SUMS.sig").write_text("of other sums")
    done = airgapbuild(command, "--sign", ann, folder, env=environ)
    assert done.returncode == 0
    assert "removed" not in done.stderr
    assert f"\nsigned by ED25519 key {keys.fingerprint(ann)}\n" in done.stdout
    checked = ("verify", "--allowed-signers", signers, folder)
    assert airgapbuild(*checked, env=environ).returncode == 0
    told = document(airgapbuild(command, "--json", "--sign", ann, folder, env=environ))
    key = {"type": "ED25519", "fingerprint": keys.fingerprint(ann)}
    assert (told["changed"], told["signature"]) == (False, {"key": key, "made": False})


@pytest.mark.parametrize("what", ["missing", "folder"])
def test_a_key_that_is_not_there_is_told_before_anything_is_done(
    project: Path, environ: dict[str, str], what: str
) -> None:
    if what == "folder":
        (project / "key").mkdir()
    shutil.rmtree(project / "bundles")
    done = airgapbuild("export", "--sign", "key", cwd=project, env=environ)
    assert done.returncode == 2
    assert "error: key: there is no such key\n" in done.stderr
    assert not (project / "bundles").exists()


def test_a_key_that_does_not_sign_leaves_a_whole_bundle(
    project: Path, keys: Keys, environ: dict[str, str]
) -> None:
    locked = keys.make("locked", passphrase="a secret")
    done = airgapbuild("export", "--sign", locked, cwd=project, env=environ, prefix=NO_TERMINAL)
    assert done.returncode == 10
    assert re.search(rf"^error: {locked}: does not sign: .* passphrase", done.stderr, re.MULTILINE)
    assert " hint: add the key to an ssh-agent, or sign where there is a terminal" in done.stderr
    assert not (project / "bundles/b/SHA256SUMS.sig").exists()
    assert airgapbuild("verify", "bundles/b", cwd=project, env=environ).returncode == 0


@pytest.fixture
def typist(project: Path, keys: Keys, environ: dict[str, str]) -> Typist:
    """Somebody who is asked for the passphrase of a key, in an export."""
    key = keys.make("locked", passphrase="a secret")
    env = environment({**environ, "TERM": "xterm"})
    typist = Typist((PROGRAM, "export", "--sign", key), project, env)
    typist.wait_for(b"passphrase")
    return typist


def test_a_passphrase_is_asked_for_at_the_terminal(typist: Typist) -> None:
    typist.type(b"a secret\n")
    assert typist.end() == 0, typist.told
    assert b"a secret" not in typist.told
    assert b"signed by ED25519 key " in typist.told


def test_a_run_that_is_told_to_end_does_not_wait_for_a_passphrase(
    typist: Typist, project: Path
) -> None:
    typist.running.terminate()
    assert typist.end() == 143
    assert not (project / "bundles/b/SHA256SUMS.sig").exists()


def test_a_key_that_waits_to_be_touched_says_so(
    project: Path, keys: Keys, ann: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    """No hardware is at hand: the real program, and its words for one (ssh-keygen.c, sign_one)."""
    words = "Confirm user presence for key ED25519-SK SHA256:AAAA"
    program = tmp_path / "bin/ssh-keygen"
    program.parent.mkdir()
    program.write_text(f"""#!/bin/sh
        case "$*" in *"-Y sign"*) echo '{words}' >&2 ;; esac
        exec {keys.programs}/ssh-keygen "$@"
    """)
    program.chmod(0o755)
    path = {"PATH": f"{program.parent}:{environ['PATH']}"}
    done = airgapbuild("export", "--sign", ann, cwd=project, env={**environ, **path})
    assert done.returncode == 0, done.stderr
    assert f"note: {words}\n" in done.stderr


@pytest.mark.parametrize("command", ["verify", "load"])
def test_a_refusal_is_exit_10(
    unsigned: Path, signers: Path, environ: dict[str, str], command: str
) -> None:
    done = airgapbuild(command, "--json", "--allowed-signers", signers, unsigned, env=environ)
    assert done.returncode == 10
    error = document(done)["error"]
    assert (error["kind"], error["exit"]) == ("signature", 10)
    assert error["problems"] == [f"{unsigned}: is not signed: SHA256SUMS.sig cannot be had"]


def test_a_daemon_hears_only_of_a_bundle_that_is_taken(
    folder: Path, signers: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    demands = ("--allowed-signers", signers, "--min-serial", "1")
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(tmp_path / "daemon"))
        daemon.listen()
        daemon.setblocking(False)
        command = ("load", folder, "--host", f"unix://{tmp_path}/daemon")
        done = airgapbuild(*command, *demands, env=environ)
        assert done.returncode == 10
        assert "has no serial; 1 or higher is wanted" in done.stderr
        with pytest.raises(BlockingIOError):
            daemon.accept()
    assert airgapbuild(*command, *demands[:2], env=environ).returncode == 8


def test_verify_tells_the_signer(
    folder: Path, signers: Path, keys: Keys, ann: Path, environ: dict[str, str]
) -> None:
    unasked = airgapbuild("verify", folder, env=environ).stdout
    assert re.search(r"^SHA256SUMS\.sig +\d+ B +signature +not checked$", unasked, re.MULTILINE)
    asked = ("verify", folder, "--allowed-signers", signers)
    key = {"type": "ED25519", "fingerprint": keys.fingerprint(ann)}
    told = airgapbuild(*asked, env=environ).stdout
    assert f"signed by {ANN} (ED25519 key {key['fingerprint']})\n" in told
    answer = document(airgapbuild(*asked, "--json", env=environ))
    assert (answer["signed"], answer["serial"]) == (True, None)
    assert answer["signer"] == {"principal": ANN, "key": key}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "site/airgapbuild.toml"
    path.parent.mkdir()
    return path


def test_a_manifest_demands_and_options_go_before_it(
    unsigned: Path, signers: Path, bob: Path, keys: Keys, manifest: Path
) -> None:
    (manifest.parent / "ours").write_text(f"bob {keys.public(bob)}")
    manifest.write_text(TEXT + '[policy]\nallowed-signers = "ours"\nmin-serial = 3\n')
    plain = policy_for([unsigned], manifest, None, None)
    assert plain.allowed
    assert (plain.allowed.path, plain.min_serial) == (manifest.parent / "ours", 3)
    other = policy_for([unsigned], manifest, signers, 0)
    assert other.allowed
    assert (other.allowed.path, other.min_serial) == (signers, 0)
    assert policy_for([unsigned], None, None, 4) == Policy(min_serial=4)
    assert policy_for([unsigned], None, None, None) == ANY


def test_a_manifest_demands_at_the_command_line(
    unsigned: Path, manifest: Path, environ: dict[str, str]
) -> None:
    manifest.write_text(TEXT + "[policy]\nmin-serial = 3\n")
    done = airgapbuild("verify", "-f", manifest, unsigned, env=environ)
    assert done.returncode == 10
    assert "has no serial; 3 or higher is wanted" in done.stderr


def test_a_manifest_that_demands_nothing_is_not_what_was_meant(
    unsigned: Path, signers: Path, manifest: Path
) -> None:
    manifest.write_text(TEXT)
    with pytest.raises(ManifestError, match=r"airgapbuild\.toml: has no \[policy\]"):
        policy_for([unsigned], manifest, signers, None)


@pytest.mark.parametrize("way", ["direct", "link", "dots"])
def test_a_bundle_does_not_vouch_for_itself(unsigned: Path, signers: Path, way: str) -> None:
    inside = Path(shutil.copy(signers, unsigned / "allowed"))
    manifest = unsigned / "airgapbuild.toml"
    manifest.write_text(TEXT + '[policy]\nallowed-signers = "allowed"\n')
    if way == "link":
        inside = unsigned.parent / "link"
        inside.symlink_to(unsigned / "allowed")
    elif way == "dots":
        inside = unsigned.parent / "x/../b/allowed"
        (unsigned.parent / "x").mkdir()
    with pytest.raises(UsageError, match=r"lies in the bundle, which cannot vouch for itself$"):
        policy_for([unsigned], None, inside, None)
    with pytest.raises(UsageError, match=r"lies in the bundle, which cannot vouch for itself$"):
        policy_for([unsigned], manifest, signers, None)


def test_without_ssh_keygen_nothing_is_taken(folder: Path, signers: Path, tmp_path: Path) -> None:
    done = airgapbuild("verify", "--allowed-signers", signers, folder, env={"PATH": str(tmp_path)})
    assert done.returncode == 10
    assert "ssh-keygen is not on PATH" in done.stderr


def test_the_readmes_check_without_airgapbuild(
    folder: Path, signers: Path, environ: dict[str, str]
) -> None:
    lines = PAGE.read_text().replace("\\\n", "").splitlines()
    [line] = [line for line in lines if "-Y verify" in line]
    script = line.replace("../../allowed_signers", str(signers))
    script = script.replace("sender@corp.example", ANN)

    def run() -> int:
        return subprocess.run(
            ["sh", "-ec", script], cwd=folder, env=environ, check=False
        ).returncode

    assert run() == 0
    (folder / "SHA256SUMS").write_text((folder / "SHA256SUMS").read_text() + "\n")
    assert run() != 0
