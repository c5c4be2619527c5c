"""Bundle → what a person needs to know who approves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airgapbuild.bundle.reader import peek
from airgapbuild.bundle.signature import ANY, Policy
from airgapbuild.diff import diff
from airgapbuild.files import must_exist
from airgapbuild.inspection import inspect_bundle
from airgapbuild.lockfile import read_lock
from airgapbuild.oci.digest import Digest, digest_of
from airgapbuild.progress import SILENT, Progress
from airgapbuild.verify import verify

if TYPE_CHECKING:
    from pathlib import Path

    from airgapbuild.bundle.reader import Bundle
    from airgapbuild.diff import Diff
    from airgapbuild.inspection import Inspected
    from airgapbuild.verify import Verified


@dataclass(frozen=True)
class Identity:
    """Which bundle or lock it is."""

    name: str
    serial: int | None
    lock: Digest
    """Of airgapbuild.lock."""


@dataclass(frozen=True)
class Facts:
    """What is known of a bundle."""

    name: str
    """The bundle's; the folder's where the lock is not right."""
    verified: Verified
    content: Inspected | None
    """None where the lock or the index is not right."""
    since: Identity | None
    changes: Diff | None
    """What has changed since then."""


def gather(
    folder: Path,
    *,
    since: Path | None = None,
    policy: Policy = ANY,
    progress: Progress = SILENT,
) -> Facts:
    """All of a bundle, which is verified first, and what has changed since another one or a lock.

    A bundle that is not whole is no error: the facts tell what is wrong.

    Raises:
        UsageError: there is nothing of the name `since`.
        BundleError, IntegrityError, LockError: `since`, or the folder, cannot be read.
        SignatureError: the policy refuses the bundle.
    """
    before = _identity(since) if since else None
    verified = verify(folder, policy=policy, progress=progress)
    bundle = verified.bundle
    return Facts(
        name=bundle.lock.name if bundle else folder.resolve().name,
        verified=verified,
        content=inspect_bundle(bundle, unread=_damaged(verified, bundle)) if bundle else None,
        since=before,
        changes=diff(since, folder) if since and bundle else None,
    )


def _damaged(verified: Verified, bundle: Bundle) -> set[str]:
    """The files of a bundle of which some is not right, be it one part."""
    wrong = {file.name for file in verified.files if file.state != "ok"}
    return {file.name for file in bundle.index.files if any(it.name in wrong for it in file.stored)}


def _identity(path: Path) -> Identity:
    must_exist(path)
    if path.is_dir():
        bundle = peek(path)
        return Identity(bundle.lock.name, bundle.index.serial, bundle.index.lock)
    return Identity(read_lock(path).name, None, digest_of(path.read_bytes()))
