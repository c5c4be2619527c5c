"""What commands read before they begin: the manifest and its lock, and where our folders are."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from airgapbuild.files import home
from airgapbuild.oci.layout import Layout

if TYPE_CHECKING:
    from airgapbuild.engine.daemon import Daemon
    from airgapbuild.leftovers import Record
    from airgapbuild.lockfile import Lock
    from airgapbuild.manifest import Manifest


def own_folder(variable: str, default: str) -> Path:
    """Our folder in an XDG base folder. Source: XDG Base Directory Specification.

    Raises:
        UsageError: there is no such variable, and no home folder either.
    """
    base = os.environ.get(variable)
    return (Path(base) if base else home(os.environ) / default) / "airgapbuild"


def own_layout(folder: Path | None) -> Layout:
    """The OCI layout in a folder; ours where none is named."""
    return Layout(folder or own_folder("XDG_DATA_HOME", ".local/share") / "layout")


def layout_option(folder: Path | None) -> str:
    """What a suggested command has behind its name, so that it takes the same layout."""
    return f" --layout {shlex.quote(str(folder))}" if folder else ""


def own_record(daemon: Daemon) -> Record:
    """Our record of what was loaded into a daemon, beside the layout."""
    from airgapbuild.leftovers import Record

    return Record(own_folder("XDG_DATA_HOME", ".local/share") / "loaded", daemon)


def lock_path(manifest: Path) -> Path:
    """The lock of a manifest: `ci/builders.toml` has `ci/builders.lock`."""
    return manifest.with_suffix(".lock")


def fresh_lock(manifest: Manifest, path: Path) -> Lock:
    """The lock of a manifest, where it answers it.

    Raises:
        LockError: it is missing, unreadable or stale.
    """
    from airgapbuild.lockfile import read_lock, require_fresh

    lock = read_lock(path, own=True)
    require_fresh(manifest, lock, path)
    return lock
