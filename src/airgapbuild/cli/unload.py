"""`airgapbuild unload`."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgapbuild.cli.console import Color, Console
from airgapbuild.cli.options import ColorWhen, HostUrl, Json, LayoutPath, Quiet, Verbose

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airgapbuild.bundle.reader import Bundle
    from airgapbuild.engine.daemon import Daemon
    from airgapbuild.engine.endpoint import Endpoint
    from airgapbuild.lockfile import Lock
    from airgapbuild.unload import Undone

_WORDS = {"daemon": "name in the daemon", "layout": "name in the layout"}


def unload_command(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE|LOCK", help="What was loaded.")],
    *,
    host: HostUrl = None,
    layout: LayoutPath = None,
    cache: Annotated[
        bool, typer.Option("--cache", help="Take the builder's cache away, too.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """Take back what load did: builder, files, names of images.

    What is another now than load left it stays, and so does what a container uses; both are told.
    With its last name an image goes from the daemon; the layout's blobs stay until it is pruned.
    The images of a compact bundle in a containerd store are known by the bundle only.

    **Examples**

        airgapbuild unload bundles/builders
        airgapbuild unload --cache airgapbuild.lock
    """
    console = Console("unload", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        from airgapbuild.bundle.reader import peek
        from airgapbuild.cli.connect import daemon_at, node_daemons
        from airgapbuild.cli.inputs import own_layout, own_record
        from airgapbuild.engine.endpoint import find_endpoint
        from airgapbuild.files import must_exist
        from airgapbuild.lockfile import read_lock
        from airgapbuild.unload import unload_images, unload_layout

        must_exist(path)
        bundle = peek(path) if path.is_dir() else None
        lock = bundle.lock if bundle else read_lock(path)
        endpoint = find_endpoint(host, os.environ)
        with daemon_at(endpoint, console) as daemon, node_daemons(lock, daemon) as nodes:
            undone = (
                *_unload_builder(lock, endpoint, nodes, cache=cache),
                *unload_images(lock.image, daemon, own_record(daemon), bundle),
                *_unload_nodes(
                    lock, [it for it in dict.fromkeys(nodes) if it is not daemon], bundle
                ),
                *unload_layout(lock, own_layout(layout)),
            )
        _say(console, undone)
        console.result(
            {
                "undone": [
                    {"what": it.what, "name": it.name, "removed": it.kept is None, "kept": it.kept}
                    for it in undone
                ]
            }
        )


def _unload_builder(
    lock: Lock, endpoint: Endpoint, nodes: Sequence[Daemon], *, cache: bool
) -> tuple[Undone, ...]:
    from airgapbuild.builder.instance import InstanceStore
    from airgapbuild.builder.mirrored import served_of
    from airgapbuild.builder.there import files_there
    from airgapbuild.builder.wanted import wanted_instance
    from airgapbuild.cli.inputs import own_folder
    from airgapbuild.errors import BuilderError
    from airgapbuild.unload import unload_builder

    kubeconfig = endpoint.environ(os.environ).get("KUBECONFIG", "")
    there = {}
    with suppress(BuilderError):  # without its keys the builder counts as changed
        there = files_there(lock)
    store, folder = InstanceStore.of(os.environ), own_folder("XDG_CONFIG_HOME", ".config")
    served = served_of(store.read(lock.builder.name)) if lock.builder else None
    instance = wanted_instance(
        lock, endpoint.buildx_endpoint, kubeconfig, there=there, served=served
    )
    if instance is None:
        return ()
    return unload_builder(instance, nodes, store, folder, cache=cache)


def _unload_nodes(lock: Lock, others: Sequence[Daemon], bundle: Bundle | None) -> Iterator[Undone]:
    """What other nodes have: the builder's image alone."""
    from airgapbuild.cli.inputs import own_record
    from airgapbuild.unload import unload_images

    if image := lock.builder_image:
        for daemon in others:
            for undone in unload_images([image], daemon, own_record(daemon), bundle):
                yield replace(undone, what=daemon.endpoint.host)


def _say(console: Console, undone: tuple[Undone, ...]) -> None:
    if not undone:
        console.say("there is nothing to take back")
        return
    rows = [
        (_WORDS.get(it.what, it.what), it.name, f"stays: it {it.kept}" if it.kept else "removed")
        for it in undone
    ]
    console.table(("WHAT", "NAME", ""), rows)
