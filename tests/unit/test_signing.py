"""What ssh-keygen says, and what is made of it."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from airgapbuild.errors import SignatureError, UsageError
from airgapbuild.signing import AllowedSigners, Signer, SshKeygen
from tests.support.keys import NAMESPACE, Keys
from tests.support.terminal import NO_TERMINAL

CONTENT = b"abc  one\ndef  two\n"
WHAT = "b/SHA256SUMS.sig"


@pytest.fixture(scope="module")
def ann(keys: Keys) -> Path:
    return keys.make("ann")


@pytest.fixture(scope="module")
def bob(keys: Keys) -> Path:
    return keys.make("bob")


@pytest.fixture(scope="module")
def ca(keys: Keys) -> Path:
    return keys.make("ca")


@pytest.fixture(scope="module")
def by_ann(keys: Keys, ann: Path) -> bytes:
    return keys.sign(CONTENT, ann)


@pytest.fixture(scope="module")
def keygen(keys: Keys) -> SshKeygen:
    return SshKeygen.find(keys.environ)


class Check:
    """A file of allowed signers, written line by line, and what it makes of a signature."""

    def __init__(self, keys: Keys, keygen: SshKeygen, path: Path) -> None:
        self.keys = keys
        self.keygen = keygen
        self.path = path

    def __call__(self, signature: bytes, *lines: str, content: bytes = CONTENT) -> Signer:
        self.path.write_text("\n".join(lines))
        return AllowedSigners.read(self.path, self.keygen).verify(content, signature, WHAT)

    def refused(self, signature: bytes, *lines: str, content: bytes = CONTENT) -> tuple[str, ...]:
        """What is said of it; the names of the files do not matter here."""
        with pytest.raises(SignatureError) as caught:
            self(signature, *lines, content=content)
        assert caught.value.exit_code == 10
        return tuple(
            line.removeprefix(f"{WHAT}: ").replace(str(self.path), "FILE")
            for line in caught.value.lines
        )


@pytest.fixture
def check(keys: Keys, keygen: SshKeygen, tmp_path: Path) -> Check:
    return Check(keys, keygen, tmp_path / "allowed_signers")


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_what_is_signed_is_known_to_be_the_signers(
    keys: Keys, keygen: SshKeygen, check: Check, kind: str
) -> None:
    key = keys.make(f"of-{kind}", kind)
    signature = keygen.sign(CONTENT, key, pytest.fail)
    signer = check(signature, f"ann@corp.example {keys.public(key)}")
    assert signer.principal == "ann@corp.example"
    assert signer.key.type == kind.upper()
    assert signer.key.fingerprint == keys.fingerprint(key)
    assert str(signer) == f"ann@corp.example ({kind.upper()} key {keys.fingerprint(key)})"
    assert keygen.key_of(CONTENT, signature, WHAT) == keygen.public_key(key) == signer.key


def test_the_programs_own_signatures_are_taken_and_ours_by_it(
    keys: Keys, keygen: SshKeygen, ann: Path, by_ann: bytes
) -> None:
    assert keygen.sign(CONTENT, ann, pytest.fail) == by_ann


@pytest.mark.parametrize(
    ("principals", "told"),
    [
        ("ann", "ann"),
        ("ann,bob", "ann"),
        ("!bob,ann", "ann"),
        ("!bob,*", "*"),
        ("*@corp.example", "*@corp.example"),
        ('"Ann A. of Corp"', "Ann A. of Corp"),
        ("-f", "-f"),
        ("änn", "änn"),
        ("$(id);`id`", "$(id);`id`"),
    ],
)
def test_a_principal_is_as_the_file_has_it(
    keys: Keys, ann: Path, by_ann: bytes, check: Check, principals: str, told: str
) -> None:
    assert check(by_ann, f"{principals} {keys.public(ann)}").principal == told


def test_a_principal_is_printed_without_its_control_characters(
    keys: Keys, ann: Path, by_ann: bytes, check: Check
) -> None:
    signer = check(by_ann, f"ann\x1b[2J {keys.public(ann)}")
    assert str(signer).startswith(r"'ann\x1b[2J' (ED25519 key ")


def test_comments_and_lines_that_are_none_do_not_matter(
    keys: Keys, ann: Path, bob: Path, by_ann: bytes, check: Check
) -> None:
    lines = [
        *("# who may sign", "", "garbage", f"bob {keys.public(bob)}", "ann ssh-ed25519 AAAA"),
        f'\t ann namespaces="git,airgap*" {keys.public(ann)} Ann\'s own # no comment',
        "#",
    ]
    assert check(by_ann, *lines).principal == "ann"


def test_a_key_that_several_lines_have_counts_where_it_may_sign(
    keys: Keys, ann: Path, by_ann: bytes, check: Check
) -> None:
    public = keys.public(ann)
    lines = [
        f'mail namespaces="file" {public}',
        f'old valid-before="20200101" {public}',
        f"ann {public}",
    ]
    assert check(by_ann, *lines).principal == "ann"
    assert check(by_ann, *reversed(lines)).principal == "ann"


def test_nobody_has_the_key(keys: Keys, bob: Path, ann: Path, by_ann: bytes, check: Check) -> None:
    who = f"by ED25519 key {keys.fingerprint(ann)}, which FILE does not allow"
    assert check.refused(by_ann, f"bob {keys.public(bob)}") == (who,)
    assert check.refused(by_ann, "# all gone", "x") == (who, "FILE:2: invalid line")
    assert check.refused(by_ann, f"# ann {keys.public(ann)}", f"bob {keys.public(bob)}") == (who,)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ('namespaces="file,git"', 'key is not permitted for use in signature namespace "airg'),
        ('namespaces=""', 'key is not permitted for use in signature namespace "airg'),
        ('namespaces="*,!airgapbuild-bundle"', "key is not permitted for use in signature name"),
        ('valid-before="20200101"', "key has expired: verify time "),
        ('valid-after="20990101"', "key is not yet valid: verify time "),
        ('valid-after="20990101",namespaces="airgap*"', "key is not yet valid: verify time "),
        ('valid-before="tomorrow"', 'bad options: invalid "valid-before" time'),
        ("no-such-option", "bad options: unknown key option"),
    ],
)
def test_a_key_that_may_not_sign_bundles_now(
    keys: Keys, ann: Path, by_ann: bytes, check: Check, options: str, reason: str
) -> None:
    _, told = check.refused(by_ann, f"ann {options} {keys.public(ann)}")
    assert told.startswith(f"FILE:1: {reason}")


def test_a_ca_is_not_a_signer_itself(keys: Keys, ann: Path, by_ann: bytes, check: Check) -> None:
    assert len(check.refused(by_ann, f"ann cert-authority {keys.public(ann)}")) == 1


def test_a_signature_in_another_namespace(keys: Keys, ann: Path, check: Check) -> None:
    mail = keys.sign(CONTENT, ann, "file")
    assert check.refused(mail, f"ann {keys.public(ann)}") == (
        "was made for another purpose: its namespace is not airgapbuild-bundle",
    )


def test_other_bytes_than_were_signed(keys: Keys, ann: Path, by_ann: bytes, check: Check) -> None:
    line = f"ann {keys.public(ann)}"
    for content in (CONTENT[:-1], CONTENT + b"\n", b"", CONTENT.upper(), by_ann):
        assert check.refused(by_ann, line, content=content) == ("does not fit SHA256SUMS",)


def test_no_bit_of_a_signature_can_be_flipped(
    keys: Keys, ann: Path, by_ann: bytes, check: Check
) -> None:
    line = f"ann {keys.public(ann)}"
    header, footer = by_ann.index(b"\n"), by_ann.rindex(b"-----END")
    base64 = [n for n in range(header, footer) if by_ann[n : n + 1] not in b"\n="]
    for at in base64[::23]:
        flipped = bytearray(by_ann)
        flipped[at] ^= 1
        assert check.refused(bytes(flipped), line), at


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(lambda raw: raw[:100], id="cut"),
        pytest.param(lambda raw: raw[: raw.index(b"\n") + 1], id="header"),
        pytest.param(lambda raw: raw[raw.index(b"\n") + 1 :], id="headless"),
        pytest.param(lambda raw: b"", id="empty"),
        pytest.param(lambda raw: b"\0" * 1000, id="zeros"),
        pytest.param(lambda raw: b"Good signature\n", id="words"),
        pytest.param(lambda raw: raw.replace(b"SSH SIGNATURE", b"PGP SIGNATURE"), id="pgp"),
    ],
)
def test_a_damaged_signature(
    keys: Keys, ann: Path, by_ann: bytes, check: Check, damaged: object
) -> None:
    assert callable(damaged)
    [told] = check.refused(damaged(by_ann), f"ann {keys.public(ann)}")
    assert told.startswith("is damaged, or no signature: ")


def test_the_file_that_is_read_first_counts(
    keys: Keys, ann: Path, by_ann: bytes, check: Check, keygen: SshKeygen
) -> None:
    """Many readers of one pipe would each get a part of it."""
    pipe = subprocess.Popen(["echo", f"ann {keys.public(ann)}"], stdout=subprocess.PIPE)
    assert pipe.stdout
    path = Path(f"/dev/fd/{pipe.stdout.fileno()}")
    allowed = AllowedSigners.read(path, keygen)
    pipe.communicate()
    assert allowed.verify(CONTENT, by_ann, WHAT).principal == "ann"


def certified(keys: Keys, ca: Path, name: str, *certificate: str) -> bytes:
    key = keys.make(name)
    return keys.sign(CONTENT, keys.certify(ca, key, *certificate))


@pytest.mark.parametrize("principals", ["ann@corp.example", "x@corp.example,bob", "*@corp.*"])
def test_a_certificate_of_a_ca(keys: Keys, ca: Path, check: Check, principals: str) -> None:
    signature = certified(keys, ca, f"cert-{hash(principals)}", "bob,ann@corp.example,root")
    signer = check(signature, f"{principals} cert-authority {keys.public(ca)}")
    assert signer.principal == ("bob" if "bob" in principals else "ann@corp.example")
    assert signer.key.type == "ED25519-CERT"
    assert signer.key.is_certificate


@pytest.mark.parametrize(
    ("name", "certificate", "reason"),
    [
        ("late", ("ann", "20200101:20210101"), "Certificate invalid: expired"),
        ("early", ("ann", "20980101:20990101"), "Certificate invalid: not yet valid"),
        ("anybody", ("",), "Certificate lacks principal list"),
        ("other", ("bob",), "no valid principals found"),
    ],
)
def test_a_certificate_that_does_not_count(
    keys: Keys, ca: Path, check: Check, name: str, certificate: tuple[str, ...], reason: str
) -> None:
    signature = certified(keys, ca, name, *certificate)
    line = f"ann cert-authority {keys.public(ca)}"
    _, told = check.refused(signature, line)
    assert told.startswith("FILE:1: ")
    assert told.endswith(reason)


def test_a_certificate_of_another_ca_or_without_one(
    keys: Keys, ca: Path, ann: Path, check: Check
) -> None:
    signature = certified(keys, ca, "plain", "ann")
    assert len(check.refused(signature, f"ann cert-authority {keys.public(ann)}")) == 1
    assert len(check.refused(signature, f"ann {keys.public(ca)}")) == 1


def test_a_key_that_an_agent_holds(keys: Keys, check: Check) -> None:
    key = keys.make("held", passphrase="a secret")
    unlocked = keys.make("unlocked")
    unlocked.write_bytes(key.read_bytes())
    keys.run("-q", "-p", "-P", "a secret", "-N", "", "-f", unlocked)
    with keys.agent(unlocked) as environ:
        public = key.with_name("held.pub")
        signature = SshKeygen.find(environ).sign(CONTENT, public, pytest.fail)
    assert check(signature, f"ann {keys.public(key)}").principal == "ann"


def test_a_passphrase_that_nobody_can_type(keys: Keys, keygen: SshKeygen) -> None:
    key = keys.make("locked", passphrase="a secret")
    code = ("from pathlib import Path; import os, sys; from airgapbuild.signing import SshKeygen;"
            "SshKeygen.find(os.environ).sign(b'', Path(sys.argv[1]), print)")  # fmt: skip
    done = subprocess.run(
        [*NO_TERMINAL, sys.executable, "-c", code, key],
        env=keys.environ,
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert f"{key}: does not sign: Load key " in done.stderr
    assert "incorrect passphrase supplied" in done.stderr


@pytest.mark.parametrize("what", ["nothing", "no key", "no private half"])
def test_a_key_that_does_not_sign(keys: Keys, keygen: SshKeygen, tmp_path: Path, what: str) -> None:
    key = tmp_path / "key"
    if what == "no key":
        key.write_text("what is this\n")
    if what == "no private half":
        key = tmp_path / "key.pub"
        key.write_bytes(keys.make("half").with_name("half.pub").read_bytes())
    with pytest.raises(SignatureError, match=f"^{key}: does not sign: .*{key.stem}"):
        keygen.sign(CONTENT, key, pytest.fail)
    assert [path.name for path in tmp_path.iterdir()] == ([] if what == "nothing" else [key.name])


@pytest.mark.parametrize("text", ["", "\n \n", "# ann ssh-ed25519 AAAA\n\t# bob\r\n\r\n"])
def test_a_file_that_names_nobody(keygen: SshKeygen, tmp_path: Path, text: str) -> None:
    path = tmp_path / "allowed"
    path.write_text(text)
    with pytest.raises(SignatureError, match=r"names nobody who may sign$"):
        AllowedSigners.read(path, keygen)


def test_a_file_that_cannot_be_read(keygen: SshKeygen, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing: no such file or directory$"):
        AllowedSigners.read(tmp_path / "nothing", keygen)
    with pytest.raises(UsageError, match=f"{tmp_path}: is a directory$"):
        AllowedSigners.read(tmp_path, keygen)


def test_a_file_without_an_end(keygen: SshKeygen) -> None:
    with pytest.raises(SignatureError, match=r"^/dev/zero: more than \d+ bytes$"):
        AllowedSigners.read(Path("/dev/zero"), keygen)


def test_there_is_no_room_for_temporary_files(keygen: SshKeygen, by_ann: bytes) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        with pytest.raises(SignatureError, match=r"^no temporary files for ssh-keygen: File too "):
            keygen.key_of(CONTENT, by_ann, WHAT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def program(folder: Path, script: str) -> dict[str, str]:
    """An ssh-keygen that the real one would not be."""
    path = folder / "ssh-keygen"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return {"PATH": str(folder)}


def test_there_is_no_ssh_keygen(tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match="ssh-keygen is not on PATH") as caught:
        SshKeygen.find({"PATH": str(tmp_path)})
    assert caught.value.hint is not None
    assert "8.2" in caught.value.hint


@pytest.mark.parametrize(
    "script",
    [
        "echo 'unknown option -- Y' >&2; exit 1",  # OpenSSH 8.0
        "echo 'Unsupported operation for -Y: \"find-principals\"' >&2; exit 1",  # 8.1
        f"echo 'Good \"{NAMESPACE}\" signature for ann with ED25519 key SHA256:AAAA'",
        "exit 0",
    ],
)
def test_an_ssh_keygen_that_is_too_old_or_none(tmp_path: Path, script: str) -> None:
    with pytest.raises(SignatureError, match="cannot verify signatures: too old"):
        SshKeygen.find(program(tmp_path, script))


def test_an_ssh_keygen_that_cannot_be_run(tmp_path: Path) -> None:
    environ = program(tmp_path, "")
    (tmp_path / "ssh-keygen").write_text("#!/nothing\n")
    with pytest.raises(SignatureError, match=f"^{tmp_path}/ssh-keygen: no such file or directory"):
        SshKeygen.find(environ)


GOOD = f'Good "{NAMESPACE}" signature{{}} with ED25519 key SHA256:AAAA'


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, ""),
        (0, "Could not verify signature."),
        (0, GOOD.format("")),  # as check-novalidate says of any key
        (0, GOOD.format(" for bob")),
        (0, GOOD.format(" for ann").replace(NAMESPACE, "file")),
        (0, GOOD.format(" for ann") + " and more"),
        (0, "x " + GOOD.format(" for ann")),
        (1, GOOD.format(" for ann")),
        (255, GOOD.format(" for ann")),
    ],
)
def test_only_a_good_status_and_the_very_words_count(
    tmp_path: Path, status: int, words: str
) -> None:
    script = f"""case "$2" in
    find-principals) [ $# = 2 ] && echo "Too few arguments for find-principals" >&2 || echo ann ;;
    check-novalidate) echo '{GOOD.format("")}' ;;
    verify) echo '{words}'; exit {status} ;;
    esac"""
    keygen = SshKeygen.find(program(tmp_path, script))
    path = tmp_path / "allowed"
    path.write_text("ann ssh-ed25519 AAAA\n")
    with pytest.raises(SignatureError, match=r"which .* does not allow"):
        AllowedSigners.read(path, keygen).verify(CONTENT, b"", WHAT)


def test_the_same_program_with_the_right_words_is_believed(tmp_path: Path) -> None:
    """So that the test above is not for nothing."""
    script = f"""case "$2" in
    find-principals) [ $# = 2 ] && echo "Too few arguments for find-principals" >&2 || echo ann ;;
    check-novalidate) echo '{GOOD.format("")}' ;;
    verify) echo '{GOOD.format(" for ann")}' ;;
    esac"""
    keygen = SshKeygen.find(program(tmp_path, script))
    path = tmp_path / "allowed"
    path.write_text("ann ssh-ed25519 AAAA\n")
    assert AllowedSigners.read(path, keygen).verify(CONTENT, b"", WHAT).principal == "ann"
