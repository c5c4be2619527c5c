"""ssh-keygen: bytes signed, and signatures verified.

Nobody is trusted but where `ssh-keygen -Y verify` says so in so many words, for the very bytes that
it is given here. Its two siblings only help to tell what is wrong: `find-principals` looks at the
key and at no signature, `check-novalidate` at the signature, whoever's it is.

Source: ssh-keygen(1), "ALLOWED SIGNERS"; openssh-portable, PROTOCOL.sshsig and sshsig.c.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airgapbuild.errors import SignatureError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

NAMESPACE: Final = "airgapbuild-bundle"
"""What is signed: a signature that was made for something else, as for a mail, is none here."""

_PROGRAM: Final = "ssh-keygen"
_INSTALL: Final = "install OpenSSH 8.2 or newer: package openssh-client, or openssh-clients"
_MAX_ALLOWED: Final = 4 << 20
_KEY_WORDS = re.compile(r"\d+ (SHA256:\S+) .*\((\S+)\)\n")
_WAITS: Final = "Confirm user presence"
_PROMPT = re.compile(r"Enter [^:]*: ")


@dataclass(frozen=True)
class Key:
    """A public key, or a certificate of one."""

    type: str
    """As ssh-keygen has it: `ED25519`, `RSA-CERT`, …"""
    fingerprint: str
    """`SHA256:…`, of the key itself."""

    @property
    def is_certificate(self) -> bool:
        """Whether a CA vouches for it."""
        return self.type.endswith("-CERT")

    def __str__(self) -> str:
        return f"{self.type} key {self.fingerprint}"


@dataclass(frozen=True)
class Signer:
    """Somebody who was allowed to sign, and has."""

    principal: str
    """As the allowed signers have it, which may be a pattern; of a certificate, as it has it."""
    key: Key

    def __str__(self) -> str:
        name = self.principal if self.principal.isprintable() else ascii(self.principal)
        return f"{name} ({self.key})"


@dataclass(frozen=True)
class SshKeygen:
    """An ssh-keygen that works; it finds agents and askpass programs by its environment."""

    program: str
    environ: Mapping[str, str]
    interactive: bool
    """Whether it may ask for passphrases and PINs on standard input."""

    @classmethod
    def find(cls, environ: Mapping[str, str], *, interactive: bool = False) -> SshKeygen:
        """The ssh-keygen on PATH.

        Raises:
            SignatureError: there is none, or it is older than OpenSSH 8.2.
        """
        program = shutil.which(_PROGRAM, path=environ.get("PATH"))
        if not program:
            raise SignatureError(f"{_PROGRAM} is not on PATH", hint=_INSTALL)
        found = cls(program, environ, interactive)
        # An old one does not know the word, this one misses what belongs to it.
        if "Too few arguments for find-principals" not in found.ask("find-principals").stderr:
            raise SignatureError(f"{program} cannot verify signatures: too old", hint=_INSTALL)
        return found

    def sign(self, content: bytes, key: Path, on_line: Callable[[str], None]) -> bytes:
        """A signature of `content` in our namespace, made with a private key or an agent's.

        `on_line` gets what ssh-keygen says when a hardware key waits to be touched.

        Raises:
            SignatureError: the key is missing, locked, or did not sign.
        """
        with _files(content=content) as folder:
            signed = folder / "content"
            command = [self.program, "-q", "-Y", "sign", "-f", str(key), "-n", NAMESPACE]
            with subprocess.Popen(
                [*command, str(signed)],
                env=dict(self.environ),
                # It would wait for a passphrase on a pipe, too.
                stdin=None if self.interactive else subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
            ) as process:
                try:
                    said = _listen(process.stderr or (), on_line)
                except BaseException:
                    process.kill()  # else it would be waited for, and it for a passphrase
                    raise
            if process.returncode:
                raise _unsigned(key, said)
            return signed.with_suffix(".sig").read_bytes()

    def public_key(self, path: Path) -> Key | None:
        """The key of a file, private or public; None where only its passphrase would tell."""
        found = _KEY_WORDS.fullmatch(self._call("-l", "-f", str(path)).stdout)
        return Key(found[2], found[1]) if found else None

    def key_of(self, content: bytes, signature: bytes, what: str) -> Key:
        """The key that has signed `content`. Whose it is, and what that is worth, is not asked.

        Raises:
            SignatureError: the signature does not fit, is of another namespace, or is none.
        """
        with _files(signature=signature) as folder:
            answer = self.ask(
                "check-novalidate",
                *("-n", NAMESPACE, "-s", str(folder / "signature")),
                content=content,
            )
        key = answer.good("")
        if key is None:
            raise _wrong(answer, what)
        return key

    def ask(self, what: str, *options: str, content: bytes = b"") -> Answer:
        """What it answers to `-Y what`, with `content` on its standard input."""
        return self._call("-Y", what, *options, content=content)

    def _call(self, *arguments: str, content: bytes = b"") -> Answer:
        try:
            done = subprocess.run(
                [self.program, *arguments],
                input=content,
                env=dict(self.environ),
                capture_output=True,
                check=False,
            )
        except OSError as error:
            message = f"{self.program}: {(error.strerror or 'cannot be run').lower()}"
            raise SignatureError(message, hint=_INSTALL) from error
        out, err = (raw.decode(errors="surrogateescape") for raw in (done.stdout, done.stderr))
        return Answer(done.returncode, out, err)


@dataclass(frozen=True)
class AllowedSigners:
    """Who may sign: a file in the format that ssh-keygen(1) has under ALLOWED SIGNERS."""

    path: Path
    raw: bytes
    keygen: SshKeygen

    @classmethod
    def read(cls, path: Path, keygen: SshKeygen) -> AllowedSigners:
        """Those in a file, which may be a pipe. Its lines are ssh-keygen's to judge.

        Raises:
            UsageError: it cannot be read.
            SignatureError: it names nobody, or is no such file by its size.
        """
        try:
            with path.open("rb") as file:
                raw = file.read(_MAX_ALLOWED + 1)
        except OSError as error:
            hint = "a file of allowed signers has lines like: name@corp.example ssh-ed25519 AAAA…"
            raise UsageError(f"{path}: {(error.strerror or '').lower()}", hint=hint) from error
        if len(raw) > _MAX_ALLOWED:
            raise SignatureError(f"{path}: more than {_MAX_ALLOWED} bytes")
        lines = (line.strip() for line in raw.split(b"\n"))
        if all(not line or line.startswith(b"#") for line in lines):
            raise SignatureError(f"{path}: names nobody who may sign")
        return cls(path, raw, keygen)

    def verify(self, content: bytes, signature: bytes, what: str) -> Signer:
        """Who of them has signed `content`, and may sign bundles now.

        Raises:
            SignatureError: nobody. It says what is wrong with the signature, or with the signer.
        """
        key = self.keygen.key_of(content, signature, what)
        complaints: dict[int, str] = {}
        lines: list[bytes] = []
        left = self.raw.split(b"\n")
        while lines != left:
            lines = left
            signer, told = self._signer(content, signature, lines)
            if signer:
                return signer
            complaints |= told
            # `find-principals` tells only the first line that has the key. What is said against
            # that one does not count against the others.
            left = [b"" if n in told else line for n, line in enumerate(lines, 1)]
        reasons = [f"{self.path}:{number}: {complaints[number]}" for number in sorted(complaints)]
        raise SignatureError(f"{what}: by {key}, which {self.path} does not allow", *reasons)

    def _signer(
        self, content: bytes, signature: bytes, lines: list[bytes]
    ) -> tuple[Signer | None, dict[int, str]]:
        """Who has signed; else what is said against the lines, by number."""
        with _files(signature=signature, allowed=b"\n".join(lines)) as folder:
            allowed = str(folder / "allowed")
            files = ("-f", allowed, "-s", str(folder / "signature"))
            found = self.keygen.ask("find-principals", *files, "-v")
            told = found.complaints(allowed)
            # A "!name" excludes somebody; it is told with the others of its line.
            names = [name for name in found.stdout.split("\n") if name and name[0] != "!"]
            for name in names:
                options = (*files, "-n", NAMESPACE, "-I", name)
                answer = self.keygen.ask("verify", *options, content=content)
                if key := answer.good(f" for {name}"):
                    return Signer(name, key), {}
                told |= answer.complaints(allowed)
        return None, told


@dataclass(frozen=True)
class Answer:
    """What ssh-keygen has answered."""

    status: int
    stdout: str
    stderr: str

    def good(self, whose: str) -> Key | None:
        """The key, where this says that the signature is good: by its status, and in words."""
        words = rf'Good "{NAMESPACE}" signature{re.escape(whose)} with (\S+) key (SHA256:\S+)\n'
        found = re.fullmatch(words, self.stdout)
        return Key(found[1], found[2]) if found and self.status == 0 else None

    def complaints(self, path: str) -> dict[int, str]:
        """What is said against lines of a file, by number: of each line, the first."""
        told: dict[int, str] = {}
        pattern = rf"^(?:debug1: )?{re.escape(path)}:(\d+): (?!matched )(.+?)\r?$"
        for number, words in re.findall(pattern, self.stderr, re.MULTILINE):
            told.setdefault(int(number), words)
        return told


def _wrong(answer: Answer, what: str) -> SignatureError:
    """What is wrong with a signature in itself."""
    said = answer.stderr.split("\n")
    if "incorrect signature" in answer.stderr:
        hint = "bring both over again; if that is no help, the sums were changed after the signing"
        return SignatureError(f"{what}: does not fit SHA256SUMS", hint=hint)
    if "namespace does not match" in answer.stderr:
        message = f"{what}: was made for another purpose: its namespace is not {NAMESPACE}"
        return SignatureError(message)
    reason = next((line.strip() for line in said if line.strip()), "no reason told")
    message = f"{what}: is damaged, or no signature: {reason}"
    return SignatureError(message, hint="bring it over again")


def _listen(lines: Iterable[str], on_line: Callable[[str], None]) -> list[str]:
    """What is said while a signature is made, without prompts."""
    said = []
    for line in lines:
        words = _PROMPT.sub("", line).strip()
        if words.startswith(_WAITS):
            on_line(words)
        if words:
            said.append(words)
    return said


def _unsigned(key: Path, said: list[str]) -> SignatureError:
    reason = said[-1] if said else "no reason told"
    hint = None
    if "passphrase" in reason:
        hint = "add the key to an ssh-agent, or sign where there is a terminal"
    return SignatureError(f"{key}: does not sign: {reason}", hint=hint)


@contextmanager
def _files(**contents: bytes) -> Iterator[Path]:
    """A folder with these files, which nobody else can reach."""
    with ExitStack() as stack:
        try:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="airgapbuild-")))
            for name, content in contents.items():
                (folder / name).write_bytes(content)
        except OSError as error:
            raise SignatureError(f"no temporary files for {_PROGRAM}: {error.strerror}") from error
        yield folder
