"""Debian packages of any release, unpacked into folders, with nothing installed on the host.

Each release and architecture has apt state of its own. The mirror is the one that the machine
itself is set up with, and so are proxies and other options of its apt.
"""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.engines.parts.part import RecipeError, run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

HERE = Path(__file__)
"""To be named by recipes, since this file's text decides what they make."""

# Without the hooks, and the files for desktop software, of the host's own apt. Nothing is ever
# installed with it, so there is nothing to lock or to keep in a binary cache.
_CONFIG = """\
Dir::Etc::sourcelist "{state}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State "{state}";
Dir::State::status "{state}/status";
Dir::Cache "{state}/cache";
APT::Architecture "{arch}";
#clear APT::Architectures;
APT::Architectures {{ "{arch}"; }};
APT::Sandbox::User "root";
Debug::NoLocking "true";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "3";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets::deb::DEP-11;
"""


@cache
def mirror() -> str:
    """Return the URI of the Debian mirror that this machine uses."""
    if not shutil.which("apt-get") or not KEYRING.exists():
        raise RecipeError("this is not Debian (no apt-get, or no Debian archive keyring)")
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if line
    ).get("VERSION_CODENAME", "sid")
    for line in run(["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)"]).splitlines():
        suite, uri = line.split(" ", 1)
        if suite == release:
            return uri
    raise RecipeError(f"apt has no source for Debian {release}")


@dataclass(frozen=True)
class Suite:
    """One Debian release for one architecture."""

    root: Path
    """The bed's cache folder."""
    name: str
    arch: str = "amd64"

    @property
    def _state(self) -> Path:
        return self.root / "apt" / f"{self.name}-{self.arch}"

    def _apt(self, *argv: str | Path, cwd: Path | None = None) -> None:
        run(["apt-get", "-q", "-c", self._state / "apt.conf", *argv], cwd=cwd)

    def fetch(self, into: Path, *packages: str) -> list[Path]:
        """Download these packages alone."""
        _update(self)
        into.mkdir(parents=True, exist_ok=True)
        self._apt("download", *packages, cwd=into)
        return sorted(into.glob("*.deb"))

    def fetch_closure(self, into: Path, *packages: str) -> list[Path]:
        """Download these packages with everything they depend on."""
        _update(self)
        (into / "partial").mkdir(parents=True, exist_ok=True)
        archives = ("-o", f"Dir::Cache::archives={into}")
        self._apt(*archives, "-y", "--download-only", "install", *packages)
        return sorted(into.glob("*.deb"))

    def update(self) -> None:
        """Read the release's package lists."""
        for folder in ("lists/partial", "cache/archives/partial"):
            (self._state / folder).mkdir(parents=True, exist_ok=True)
        (self._state / "status").touch()
        (self._state / "apt.conf").write_text(_CONFIG.format(state=self._state, arch=self.arch))
        source = f"deb [signed-by={KEYRING}] {mirror()} {self.name} main\n"
        (self._state / "sources.list").write_text(source)
        self._apt("update")


_lock = threading.Lock()
_updated: set[Suite] = set()


def _update(suite: Suite) -> None:
    """Update once in a run, and before anybody reads the lists."""
    with _lock:
        if suite not in _updated:
            suite.update()
            _updated.add(suite)


def unpack(debs: list[Path], into: Path) -> None:
    """Unpack packages over each other, without running their scripts."""
    into.mkdir(parents=True, exist_ok=True)
    for deb in debs:
        run(["dpkg", "-x", deb, into])


def root_folder(suite: Suite, into: Path, scratch: Path, *packages: str) -> None:
    """Make a Debian root folder for chroot or an image, of any architecture, with no emulation.

    No maintainer script runs, so what they would have made and is needed is made here.
    """
    debs = suite.fetch_closure(scratch / "debs", "base-files", "base-passwd", *packages)
    # base-files brings /bin -> usr/bin and its like, under which the others unpack.
    unpack(sorted(debs, key=lambda deb: not deb.name.startswith("base-files_")), into)
    for name in ("passwd", "group"):
        shutil.copy(into / f"usr/share/base-passwd/{name}.master", into / "etc" / name)
    authorities = sorted((into / "usr/share/ca-certificates").rglob("*.crt"))
    if authorities:
        bundle = into / "etc/ssl/certs/ca-certificates.crt"
        bundle.write_bytes(b"".join(file.read_bytes() for file in authorities))
    for useless in ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info"):
        shutil.rmtree(into / useless, ignore_errors=True)
