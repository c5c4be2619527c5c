"""Emulators of other platforms, registered with the daemon's kernel by the bundle's image for it.

Source: tonistiigi/binfmt cmd/binfmt/main.go: its answer is JSON, and what went wrong is in its log
alone, since it ends with 0 whatever happens.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from airgapbuild.errors import BundleError, DaemonError
from airgapbuild.oci.reference import parse_reference
from airgapbuild.suggestion import manifest_lines

if TYPE_CHECKING:
    from airgapbuild.engine.daemon import Daemon
    from airgapbuild.lockfile import Lock, LockedImage

BINFMT: Final = "tonistiigi/binfmt:qemu-v10.2.3"
"""The image that registers emulators with the kernel."""

_MOUNT: Final = "mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc"


def binfmt_image(lock: Lock) -> LockedImage:
    """The image that registers emulators.

    Raises:
        BundleError: none was locked.
    """
    found = next((image for image in lock.image if image.role == "binfmt"), None)
    if found is None:
        lines = manifest_lines(parse_reference(BINFMT), "binfmt").rstrip()
        hint = f"add it to airgapbuild.toml, then lock and export again:\n{lines}"
        raise BundleError("the bundle has no image of role binfmt", hint=hint)
    return found


def register(image: LockedImage, daemon: Daemon) -> tuple[str, ...]:
    """The emulators that are registered now, by the names that the kernel has for them.

    The kernel is asked again by a second container: without a mount of binfmt_misc beside the
    first one's, Linux 6.7 and newer forget what that has registered.

    Raises:
        DaemonError: the daemon runs no privileged container, or no emulator is registered.
    """
    name = str(image.names[0])
    told, log = _answer(daemon, name, "--install", "all")
    if not told:
        reason = (log.strip().splitlines() or ["it does not say why"])[-1]
        hint = "the daemon's kernel must have binfmt_misc, and its container all privileges"
        raise DaemonError(f"{name} registers no emulator: {reason}", hint=hint)
    kept, _ = _answer(daemon, name)
    if not kept:
        message = "the kernel forgot the emulators when the container that registered them ended"
        raise DaemonError(message, hint=f"on the daemon's machine: {_MOUNT}")
    return kept


def _answer(daemon: Daemon, image: str, *arguments: str) -> tuple[tuple[str, ...], str]:
    """The emulators that a run of the image tells, and its log."""
    told, log = daemon.run_privileged(image, arguments)
    try:
        return tuple(map(str, json.loads(told)["emulators"] or ())), log
    except (ValueError, KeyError, TypeError):
        return (), log
