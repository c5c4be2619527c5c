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
import sys
import tempfile
import zipfile
from pathlib import Path

_PRIVATE = 0o40700
"""A folder that nobody else may even look into, as `mkdtemp` makes it."""
_TAGS = re.compile(r"-(?P<python>[^-]+)-(?P<abi>[^-]+)-(?P<platform>[^-]+)\.whl$")


def main() -> None:
    """Runs airgapbuild."""
    path = Path(sys.path[0])
    with zipfile.ZipFile(path) as archive:
        _check(json.loads(archive.read("tool.json")))
        folder = _unpacked(archive)
    sys.path[0:1] = [str(folder)]
    runpy.run_module("airgapbuild", run_name="__main__")


def _check(made_of: "dict[str, list[str]]") -> None:
    """Ends it here where there is nothing for this Python."""
    here = "{}.{}".format(*sys.version_info)
    if here not in made_of["pythons"] or sys.implementation.name != "cpython":
        held = ", ".join(made_of["pythons"])
        sys.exit(f"error: airgapbuild.pyz runs on CPython {held}, this is {here}")
    machines = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}
    if machines.get(platform.machine()) not in made_of["platforms"]:
        held = ", ".join(made_of["platforms"])
        sys.exit(f"error: airgapbuild.pyz runs on {held}, this is {platform.machine()}")
    if platform.libc_ver()[0] != "glibc":
        sys.exit("error: airgapbuild.pyz needs glibc: `sh install.sh` does without it")


def _unpacked(archive: zipfile.ZipFile) -> Path:
    """The folder with our own code and the wheels for this Python."""
    held = "".join(f"{entry.filename} {entry.CRC}\n" for entry in archive.infolist())
    digest = hashlib.sha256(held.encode()).hexdigest()[:20]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "airgapbuild"
    folder = cache / f"tool-{digest}-{sys.implementation.cache_tag}"
    if not _is_ours(folder):
        cache.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix="tool-", dir=cache))
        try:
            _unpack(archive, scratch)
            if folder.exists():
                sys.exit(f"error: {folder}: is not yours alone; remove it, or set XDG_CACHE_HOME")
            scratch.rename(folder)
        except OSError:
            if not _is_ours(folder):  # else another run was faster
                raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _is_ours(folder: Path) -> bool:
    """Whether nobody else can have put anything there: code is run from it."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return False
    return found.st_uid == os.geteuid() and found.st_mode == _PRIVATE


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
