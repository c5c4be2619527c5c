"""airgapbuild in one file, for a far side that has a Python and nothing else.

`airgapbuild.pyz` is a zip application (PEP 441): our own code, and the wheels of all that it needs,
in the versions that run here, for each Python that we support and each platform of the bundle. It
unpacks what the interpreter at hand needs into a cache folder (`bootstrap.py`), since compiled
modules cannot be imported out of a zip. Pip fetches the wheels from wherever it is told to.

The same versions and wheels are the same bytes. `tool.json` in it says what it was made of, so that
one that is there already need not be made again::

    __main__.py  tool.json  own/airgapbuild/…  own/airgapbuild-….dist-info/METADATA  wheels/*.whl

Source: PEP 425 (a wheel's tags), PEP 441, PEP 600 (manylinux); pip's documentation, "pip download".
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any, Final

from airgapbuild.errors import RegistryError, UsageError
from airgapbuild.files import replacing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from importlib.resources.abc import Traversable

    from airgapbuild.oci.platform import Platform

_NAME: Final = "airgapbuild"
_PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
_MACHINES: Final = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
_GLIBCS: Final = ("manylinux2014", "manylinux_2_17", "manylinux_2_28")
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_EVERYWHERE = "-none-any.whl"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_SHEBANG = b"#!/usr/bin/env python3\n"


@dataclass(frozen=True)
class Tool:
    """What airgapbuild.pyz is made of."""

    platforms: tuple[str, ...]
    """Those of the bundle that it runs on, sorted."""
    pins: tuple[str, ...]
    """`name==version` of all that is needed, sorted."""
    own: str
    """The sha256 of our own code and of what starts it, in hexadecimal digits."""

    @classmethod
    def of(cls, platforms: Iterable[Platform]) -> Tool:
        """The tool of this very airgapbuild.

        Raises:
            UsageError: it would run on none of the platforms.
        """
        named = tuple(sorted({str(platform) for platform in platforms} & _MACHINES.keys()))
        if not named:
            known = ", ".join(_MACHINES)
            raise UsageError(f"--with-tool: the bundle has no platform that it runs on: {known}")
        hasher = hashlib.sha256(_bootstrap())
        for path, content in _own_files():
            hasher.update(f"{path}\0{len(content)}\0".encode() + content)
        return cls(named, tuple(sorted(_pins(_NAME, {}).values())), hasher.hexdigest())

    def is_in(self, path: Path) -> bool:
        """Whether a file is this tool."""
        try:
            with zipfile.ZipFile(path) as archive:
                return bool(json.loads(archive.read("tool.json")) == self._document())
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return False

    def write(self, path: Path) -> None:
        """Makes the file; it appears whole or not at all.

        Raises:
            UsageError: there is no pip.
            RegistryError: a wheel cannot be had.
        """
        with TemporaryDirectory(prefix="airgapbuild-") as name:
            wheels = Path(name)
            self._download(wheels)
            with replacing(path, mode=0o755) as file:
                file.write(_SHEBANG)
                self._archive(file, sorted(wheels.glob("*.whl")))

    def _document(self) -> dict[str, Any]:
        return {
            "platforms": list(self.platforms),
            "pythons": list(_PYTHONS),
            "pins": list(self.pins),
            "own": self.own,
        }

    def _download(self, wheels: Path) -> None:
        """Everything for the first Python and platform; for the others, what is compiled."""
        targets = [(python, name) for name in self.platforms for python in _PYTHONS]
        _pip(targets[0], self.pins, wheels)
        compiled = [pin for pin in self.pins if not _is_pure(pin, wheels)]
        for target in targets[1:] if compiled else ():
            _pip(target, compiled, wheels)

    def _archive(self, file: IO[bytes], wheels: Iterable[Path]) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            _put(archive, "__main__.py", _bootstrap())
            _put(archive, "tool.json", json.dumps(self._document(), indent=1).encode())
            for path, content in _own_files():
                _put(archive, f"own/{path}", content)
            for wheel in wheels:
                _put(archive, f"wheels/{wheel.name}", wheel.read_bytes())


def _put(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _LONG_AGO)
    entry.external_attr = 0o644 << 16
    entry.create_system = 3  # Unix, wherever it is made
    archive.writestr(entry, content)


def _bootstrap() -> bytes:
    return files(__package__).joinpath("bootstrap.py").read_bytes()


def _own_files() -> Iterator[tuple[str, bytes]]:
    """The files of this airgapbuild by path, sorted, and what tells its version."""
    found = distribution(_NAME)
    folder = f"{_NAME}-{found.version}.dist-info"
    yield f"{folder}/METADATA", (found.read_text("METADATA") or "").encode()
    yield from _files_in(files(_NAME), _NAME)


def _files_in(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_file():
            yield f"{path}/{item.name}", item.read_bytes()
        elif item.name != "__pycache__":
            yield from _files_in(item, f"{path}/{item.name}")


def _pins(name: str, found: dict[str, str]) -> dict[str, str]:
    """What a distribution needs, and what that needs, by name, as it is installed here.

    Whatever a marker says: what is not installed here is not needed on Linux either.
    """
    for requirement in distribution(name).requires or ():
        match = _REQUIREMENT.match(requirement)
        if match is None or "extra ==" in requirement:
            continue
        try:
            needed = distribution(match[0])
        except PackageNotFoundError:
            continue
        if (key := needed.name.lower()) not in found:
            found[key] = f"{needed.name}=={needed.version}"
            _pins(needed.name, found)
    return found


def _is_pure(pin: str, wheels: Path) -> bool:
    name = re.sub(r"[-_.]+", "_", pin.partition("==")[0]).lower()
    return any(
        path.name.lower().startswith(f"{name}-") and path.name.endswith(_EVERYWHERE)
        for path in wheels.iterdir()
    )


def _pip(target: tuple[str, str], pins: Iterable[str], wheels: Path) -> None:
    """Fetches wheels for a Python and a platform."""
    python, platform = target
    abi = f"cp{python.replace('.', '')}"
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-input", "--no-deps", "--only-binary=:all:", "--dest", str(wheels)),
        *("--implementation", "cp", "--python-version", python),
        *(f"--abi={kind}" for kind in (abi, "abi3", "none")),
        *(f"--platform={glibc}_{_MACHINES[platform]}" for glibc in _GLIBCS),
        *pins,
    ]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode == 0:
        return
    said = done.stderr.decode(errors="replace").strip()
    if "No module named pip" in said:
        hint = "for example: python3 -m ensurepip, or install airgapbuild with pip"
        raise UsageError(f"--with-tool: {sys.executable} has no pip", hint=hint)
    errors = [line for line in said.splitlines() if line.startswith("ERROR: ")]
    reason = errors[-1].removeprefix("ERROR: ") if errors else said or "no reason told"
    raise RegistryError(
        f"--with-tool: pip has no wheels for Python {python} on {platform}: {reason}",
        hint="pip asks the index of its own configuration: see `pip config list`",
    )
