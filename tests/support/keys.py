"""SSH keys, certificates and signatures, made by the real programs."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

NAMESPACE = "airgapbuild-bundle"


@dataclass(frozen=True)
class Keys:
    """A folder of keys, and the OpenSSH that makes them."""

    programs: Path
    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        """This OpenSSH before all others, with no agent and no home of anybody's."""
        return {"PATH": f"{self.programs}:{os.environ['PATH']}", "HOME": str(self.folder)}

    def make(self, name: str, kind: str = "ed25519", passphrase: str = "") -> Path:
        """A key of this name, which is always the same one."""
        path = self.folder / name
        if not path.exists():
            self.run("-q", "-t", kind, "-N", passphrase, "-C", f"{name} key", "-f", path)
        return path

    def allow(self, key: Path, principal: str) -> Path:
        """A file of allowed signers that has one."""
        path = key.with_name(f"{key.name}.allowed")
        path.write_text(f"# who may sign\n{principal} {self.public(key)}\n")
        return path

    def certify(self, ca: Path, key: Path, principals: str, validity: str = "-1h:+1h") -> Path:
        """The certificate of a key, as which it is used where it lies beside the private key."""
        options = ("-n", principals) if principals else ()
        self.run("-q", "-s", ca, "-I", "an id", *options, "-V", validity, f"{key}.pub")
        return key.with_name(f"{key.name}-cert.pub")

    def public(self, key: Path) -> str:
        """The type and the key, without its comment."""
        return " ".join((key.with_name(f"{key.name}.pub")).read_text().split()[:2])

    def fingerprint(self, key: Path) -> str:
        return self.run("-l", "-f", key).split()[1]

    def sign(self, content: bytes, key: Path, namespace: str = NAMESPACE) -> bytes:
        command = ("-Y", "sign", "-q", "-f", key, "-n", namespace)
        return self.run(*command, content=content).encode()

    def run(self, *arguments: str | Path, content: bytes = b"") -> str:
        done = subprocess.run(
            [self.programs / "ssh-keygen", *arguments],
            input=content,
            env=self.environ,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    @contextmanager
    def agent(self, key: Path) -> Iterator[Mapping[str, str]]:
        """An agent that holds a key, as the variables that lead to it."""
        socket = self.folder / "agent"
        command = self.programs / "ssh-agent"
        with subprocess.Popen(
            [command, "-D", "-a", socket], env=self.environ, stdout=subprocess.PIPE
        ) as running:
            assert running.stdout
            running.stdout.readline()  # it listens
            environ = {**self.environ, "SSH_AUTH_SOCK": str(socket)}
            subprocess.run([self.programs / "ssh-add", "-q", key], env=environ, check=True)
            try:
                yield environ
            finally:
                running.terminate()
