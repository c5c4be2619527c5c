"""The adapters that commands hand to their steps: daemons and ssh-keygen."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from airgapbuild.errors import ManifestError, UsageError
from airgapbuild.manifest import PolicyEntry, read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from airgapbuild.bundle.reader import Bundle
    from airgapbuild.bundle.signature import Policy
    from airgapbuild.cli.console import Console
    from airgapbuild.engine.daemon import Daemon
    from airgapbuild.engine.endpoint import Endpoint
    from airgapbuild.lockfile import Lock
    from airgapbuild.signing import SshKeygen


@contextmanager
def daemon_at(endpoint: Endpoint, console: Console) -> Iterator[Daemon]:
    """The daemon at an endpoint; while it does not answer, a terminal shows who is asked."""
    from airgapbuild.engine.daemon import Daemon

    task = console.task(f"ask the daemon at {endpoint.host}")
    with Daemon.connect(endpoint) as daemon:
        task.done(f"Docker {daemon.version}")
        yield daemon


@contextmanager
def node_daemons(lock: Lock, daemon: Daemon) -> Iterator[tuple[Daemon, ...]]:
    """The daemons that a lock's builder runs on, in the order of its nodes.

    `daemon` is the one that "default" stands for; another node that is there gets it, too.
    """
    with ExitStack() as stack:
        endpoints = lock.builder.endpoints if lock.builder else ()
        yield tuple(stack.enter_context(node_daemon(text, daemon)) for text in endpoints)


@contextmanager
def node_daemon(text: str, daemon: Daemon) -> Iterator[Daemon]:
    """The daemon at a node's endpoint; `daemon` itself where that is meant."""
    from airgapbuild.engine.daemon import Daemon
    from airgapbuild.engine.endpoint import DEFAULT_CONTEXT, find_node_endpoint

    if text == DEFAULT_CONTEXT:
        yield daemon
        return
    found = find_node_endpoint(text, os.environ)
    if found.host == daemon.endpoint.host:
        yield daemon
        return
    with Daemon.connect(found) as connected:
        yield connected


def ssh_keygen() -> SshKeygen:
    """The ssh-keygen of this machine; it may ask where there is a terminal."""
    from airgapbuild.signing import SshKeygen

    return SshKeygen.find(os.environ, interactive=sys.stdin.isatty())


def policy_for(
    bundles: Sequence[Path],
    manifest: Path | None,
    signers: Path | None,
    min_serial: int | None,
    *,
    demanded: bool = True,
) -> Policy:
    """What is demanded of bundles: by options, else by the manifest's policy.

    A manifest must have one where it is `demanded`: it was named for nothing else.

    Raises:
        UsageError: a file with demands lies in a bundle itself, or cannot be read.
        ManifestError: the manifest is not right, or has no policy.
        SignatureError: the file of signers names nobody, or there is no ssh-keygen to verify with.
    """
    from airgapbuild.bundle.signature import Policy
    from airgapbuild.signing import AllowedSigners

    if manifest:
        entry = _policy_of(manifest, demanded=demanded)
        signers = signers or entry.allowed_signers
        min_serial = entry.min_serial if min_serial is None else min_serial
    for path in (manifest, signers):
        if path and any(path.resolve().is_relative_to(it.resolve()) for it in bundles):
            message = f"{path}: lies in the bundle, which cannot vouch for itself"
            raise UsageError(message, hint="take the file from where you trust it")
    allowed = AllowedSigners.read(signers, ssh_keygen()) if signers else None
    return Policy(allowed, min_serial)


def open_with_bases(folders: Sequence[Path], policy: Policy) -> tuple[Bundle, list[Bundle]]:
    """The last of these bundles, and those before it, which have what it leaves out.

    They are older, so the lowest serial is not for them.

    Raises:
        BundleError, IntegrityError, LockError, SignatureError: see `open_bundle`.
    """
    from airgapbuild.bundle.reader import open_bundle

    of_bases = replace(policy, min_serial=None)
    bases = [open_bundle(base, policy=of_bases) for base in folders[:-1]]
    return open_bundle(folders[-1], policy=policy), bases


def _policy_of(path: Path, *, demanded: bool) -> PolicyEntry:
    entry = read_manifest(path).policy
    if entry is None and not demanded:
        return PolicyEntry()
    if entry is None:
        hint = 'for example: [policy], and below it: allowed-signers = "allowed_signers"'
        raise ManifestError(f"{path}: has no [policy], which a bundle could meet", hint=hint)
    return entry
