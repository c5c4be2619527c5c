"""What commands read before they begin: the manifest and its lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airgapbuild.lockfile import read_lock, require_fresh

if TYPE_CHECKING:
    from pathlib import Path

    from airgapbuild.lockfile import Lock
    from airgapbuild.manifest import Manifest


def lock_path(manifest: Path) -> Path:
    """The lock of a manifest: `ci/builders.toml` has `ci/builders.lock`."""
    return manifest.with_suffix(".lock")


def fresh_lock(manifest: Manifest, path: Path) -> Lock:
    """The lock of a manifest, where it answers it.

    Raises:
        LockError: it is missing, unreadable or stale.
    """
    lock = read_lock(path)
    require_fresh(manifest, lock, path)
    return lock
