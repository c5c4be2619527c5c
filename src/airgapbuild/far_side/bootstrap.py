"""What `python3 airgapbuild.pyz` runs first: it unpacks what this Python needs, and starts it.

It is the zip's `__main__.py`, and stands on the standard library alone.
"""

import hashlib
import json
import os
import platform
import re
import runpy
import shutil
import stat
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NoReturn

_ANOTHER = "XDG_CACHE_HOME names another folder"
_OTHERS = 0o077
_TAGS = re.compile(r"-(?P<python>[^-]+)-(?P<abi>[^-]+)-(?P<platform>[^-]+)\.whl$")


def main() -> None:
    """Runs airgapbuild."""
    path = Path(sys.path[0])
    with zipfile.ZipFile(path) as archive:
        _check(json.loads(archive.read("tool.json")))
        folder = _unpacked(archive, _cache())
    sys.path[0:1] = [str(folder)]
    runpy.run_module("airgapbuild", run_name="__main__")


def _refuse(what: str, hint: str = "") -> NoReturn:
    """Ends it with the words and the code that airgapbuild's own errors have."""
    print(f"error: {what}" + (f"\nhint: {hint}" if hint else ""), file=sys.stderr)  # noqa: T201
    sys.exit(2)


def _check(made_of: "dict[str, list[str]]") -> None:
    """Ends it here where there is nothing for this Python."""
    here = "{}.{}".format(*sys.version_info)
    if here not in made_of["pythons"] or sys.implementation.name != "cpython":
        held = ", ".join(made_of["pythons"])
        _refuse(f"airgapbuild.pyz runs on CPython {held}, this is {here}")
    machines = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}
    if machines.get(platform.machine()) not in made_of["platforms"]:
        held = ", ".join(made_of["platforms"])
        _refuse(f"airgapbuild.pyz runs on {held}, this is {platform.machine()}")
    if platform.libc_ver()[0] != "glibc":
        _refuse("airgapbuild.pyz needs glibc: `sh install.sh` does without it")


def _cache() -> Path:
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "airgapbuild"
    except RuntimeError:
        _refuse("this user has no home folder: HOME is not set", _ANOTHER)


def _unpacked(archive: zipfile.ZipFile, cache: Path) -> Path:
    """The folder with our own code and the wheels for this Python."""
    held = "".join(f"{entry.filename} {entry.CRC}\n" for entry in archive.infolist())
    digest = hashlib.sha256(held.encode()).hexdigest()[:20]
    folder = cache / f"tool-{digest}-{sys.implementation.cache_tag}"
    try:
        if not _is_ours(folder):
            _make(folder, archive)
    except OSError as error:
        _refuse(f"{error.filename or cache}: {error.strerror}", _ANOTHER)
    return folder


def _make(folder: Path, archive: zipfile.ZipFile) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="tool-", dir=folder.parent))
    try:
        _unpack(archive, scratch)
        if folder.exists() and not _is_ours(folder):
            _refuse(f"{folder}: is not yours alone", f"remove it; {_ANOTHER}")
        scratch.rename(folder)
    except OSError:
        if not _is_ours(folder):  # else another run was faster
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    """Whether nobody else can have put anything there: code is run from it.

    So it is as `mkdtemp` makes it; one more bit is the cache's, whose group its folders inherit.
    """
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return False
    owned = found.st_uid == os.geteuid() and stat.S_ISDIR(found.st_mode)
    return owned and not found.st_mode & _OTHERS


def _unpack(archive: zipfile.ZipFile, folder: Path) -> None:
    for name in archive.namelist():
        if name.startswith("own/"):
            target = folder / name[4:]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(name))
        elif name.startswith("wheels/") and _fits(name):
            with archive.open(name) as file, zipfile.ZipFile(file) as wheel:
                wheel.extractall(folder)


def _fits(name: str) -> bool:
    """Whether a wheel is for this Python and machine."""
    tags = _TAGS.search(name)
    if tags is None:
        return False
    if tags["platform"] == "any":
        return True
    minor = "cp{}{}".format(*sys.version_info)
    return platform.machine() in tags["platform"] and (tags["abi"] in {minor, "abi3"})


if __name__ == "__main__":
    main()
