"""`airgapbuild load`."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgapbuild.cli.console import Color, Console
from airgapbuild.cli.options import (
    ColorWhen,
    HostUrl,
    Json,
    LayoutPath,
    MinSerial,
    PolicyPath,
    Quiet,
    Signers,
    Verbose,
)
from airgapbuild.errors import UsageError
from airgapbuild.words import size_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from airgapbuild.builder.buildx import Buildx
    from airgapbuild.builder.instance import Instance, InstanceStore
    from airgapbuild.bundle.reader import Bundle
    from airgapbuild.engine.daemon import Daemon
    from airgapbuild.engine.endpoint import Endpoint
    from airgapbuild.leftovers import OlderBuilder, Record
    from airgapbuild.load import LoadedBuilder, LoadedImage, Proven
    from airgapbuild.lockfile import Lock
    from airgapbuild.oci.digest import Digest


def load_command(
    bundles: Annotated[
        list[Path],
        typer.Argument(
            metavar="[BASE]... BUNDLE",
            help="The folder of the bundle; before it, those that have what it leaves out.",
        ),
    ],
    *,
    host: HostUrl = None,
    layout: LayoutPath = None,
    boot: Annotated[
        bool, typer.Option("--boot/--no-boot", help="Start the builder, and ask it its version.")
    ] = True,
    use: Annotated[
        bool, typer.Option("--use/--no-use", help="Make it the builder of docker buildx build.")
    ] = True,
    default: Annotated[
        bool,
        typer.Option(
            "--default", help="As docker buildx use --default: for this daemon from now on."
        ),
    ] = False,
    binfmt: Annotated[
        bool,
        typer.Option(
            "--binfmt", help="Register the bundle's emulators with the daemon's kernel, privileged."
        ),
    ] = False,
    serve: Annotated[
        str | None,
        typer.Option(
            "--serve",
            metavar="[SCHEME://]HOST:PORT",
            help="Where airgapbuild serve answers: the builder's first mirror of all registries "
            "that the bundle has images of.",
        ),
    ] = None,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Remove builder images of ours that the lock does not name."),
    ] = False,
    file: PolicyPath = None,
    allowed_signers: Signers = None,
    min_serial: MinSerial = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """Bring a bundle into a sealed daemon, and start its builder.

    The bundle is verified first, its signature before all else, where --allowed-signers or the
    policy of a manifest demand one. Only what the daemon lacks is sent, and the daemon is asked
    afterwards whether it holds what was locked. No other connection is opened than the daemon's.
    Where names have moved, older images that load had brought and that have no name left go.

    **Examples**

        airgapbuild load bundles/builders
        airgapbuild load --no-boot /media/usb/builders
        airgapbuild load --prune bundles/builders
        airgapbuild load --binfmt bundles/builders
        airgapbuild load --serve 127.0.0.1:5000 bundles/builders
        airgapbuild load bundles/builders bundles/builders-differential
        airgapbuild load --allowed-signers allowed_signers --min-serial 7 bundles/builders
        DOCKER_HOST=tcp://docker:2376 airgapbuild load bundles/builders
    """
    console = Console("load", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        if default and not use:
            raise UsageError("--default makes the builder the current one, --no-use does not")
        from airgapbuild.builder.buildx import Buildx
        from airgapbuild.engine.endpoint import find_endpoint
        from airgapbuild.threads import pool

        endpoint = find_endpoint(host, os.environ)
        environ = endpoint.environ(os.environ)
        with pool(1, "buildx") as beside:
            looking = beside.submit(Buildx.look, environ)
            # What is imported takes about as long as buildx does to answer.
            from airgapbuild import load
            from airgapbuild.builder.instance import InstanceStore
            from airgapbuild.cli.connect import daemon_at, node_daemons, open_with_bases, policy_for
            from airgapbuild.cli.inputs import own_layout, own_record
            from airgapbuild.emulators import binfmt_image, register

            policy = policy_for(bundles, file, allowed_signers, min_serial)
            opened, bases = open_with_bases(bundles, policy)
            emulating = binfmt_image(opened.lock) if binfmt else None
            shelf = own_layout(layout)
            instance = _wanted(opened.lock, endpoint, environ, serve)
            store = InstanceStore.of(os.environ)
        buildx = _fitting(looking.result(), instance, store)
        proven = _proven(console, opened, bases)
        with daemon_at(endpoint, console) as daemon, node_daemons(opened.lock, daemon) as nodes:
            records = {it: own_record(it) for it in (daemon, *nodes)}
            with _watched(records, opened.lock):
                others = [it for it in records if it is not daemon]
                images = load.load_images(proven, daemon, shelf, others=others, progress=console)
            emulators = register(emulating, daemon) if emulating else ()
            dropped = _dropped(console, instance, nodes, store, daemon) if instance else ()
            builder = _load_builder(console, instance, nodes, store) if instance else None
            if builder and use:
                builder = load.use(builder, store, endpoint, default=default)
            if builder and boot:
                builder = load.boot(builder, buildx, environ, progress=console)
            older = _pruned(records, opened.lock) if prune else ()
            swept = _swept(records, images)
            if opened.signer:
                console.say(f"signed by {opened.signer}")
            _say_images(console, daemon, images)
            _say_removed(console, older, swept, dropped)
            if emulators:
                console.say(f"the daemon's kernel runs other platforms by {', '.join(emulators)}")
            _say_builder(console, daemon, images, builder, layout)
            document = _document(daemon, images, shelf.path, builder)
            document |= {
                "emulators": list(emulators),
                "swept": list(swept),
                "dropped-nodes": list(dropped),
                "older-builders": _older_document(older),
            }
            console.result({"signer": opened.signer and asdict(opened.signer), **document})


def _wanted(
    lock: Lock, endpoint: Endpoint, environ: Mapping[str, str], serve: str | None
) -> Instance | None:
    from airgapbuild.builder.mirrored import check_reachable, parse_served
    from airgapbuild.builder.there import files_there
    from airgapbuild.builder.wanted import wanted_instance

    served = parse_served(serve) if serve else None
    if served:
        check_reachable(lock, served)
    kubeconfig = environ.get("KUBECONFIG", "")
    there = files_there(lock)
    return wanted_instance(lock, endpoint.buildx_endpoint, kubeconfig, there=there, served=served)


def _fitting(
    buildx: Buildx | None, instance: Instance | None, store: InstanceStore
) -> Buildx | None:
    if instance:
        from airgapbuild.builder.fitness import check_fits

        if buildx:
            check_fits(buildx.version, instance)
        store.check_free(instance)
    return buildx


def _proven(console: Console, bundle: Bundle, bases: Sequence[Bundle]) -> Proven:
    from airgapbuild.load import prove
    from airgapbuild.threads import pool

    with pool(1, "prove") as beside:
        proving = beside.submit(prove, bundle, bases, progress=console)
        # Docker's SDK takes about as long to be imported.
        import airgapbuild.engine.daemon  # noqa: F401
    return proving.result()


@contextmanager
def _watched(records: Mapping[Daemon, Record], lock: Lock) -> Iterator[None]:
    with ExitStack() as stack:
        for record in records.values():
            stack.enter_context(record.watching(lock))
        yield


def _pruned(records: Iterable[Daemon], lock: Lock) -> tuple[OlderBuilder, ...]:
    from airgapbuild.leftovers import prune_builders

    return tuple(older for daemon in records for older in prune_builders(lock, daemon))


def _swept(records: Mapping[Daemon, Record], images: Iterable[LoadedImage]) -> tuple[Digest, ...]:
    loaded = {image.id for image in images}
    return tuple(image for record in records.values() for image in record.sweep(loaded))


def _dropped(
    console: Console,
    instance: Instance,
    nodes: Sequence[Daemon],
    store: InstanceStore,
    daemon: Daemon,
) -> tuple[str, ...]:
    from airgapbuild.cli.connect import node_daemon
    from airgapbuild.load import drop_nodes

    connect = partial(node_daemon, daemon=daemon)
    return drop_nodes(instance, nodes, store, connect, progress=console)


def _load_builder(
    console: Console, instance: Instance, nodes: Sequence[Daemon], store: InstanceStore
) -> LoadedBuilder:
    from airgapbuild.cli.inputs import own_folder
    from airgapbuild.load import load_builder

    folder = own_folder("XDG_CONFIG_HOME", ".config")
    return load_builder(instance, nodes, store, folder, progress=console)


def _say_images(console: Console, daemon: Daemon, images: tuple[LoadedImage, ...]) -> None:
    rows = [
        (
            loaded.image.name,
            name.familiar,
            loaded.place,
            ", ".join(str(locked.platform) for locked in loaded.platforms),
            f"{loaded.action} ({size_words(loaded.sent)})" if loaded.sent else loaded.action,
        )
        for loaded in images
        for name in loaded.image.layout_names[:1]
    ]
    console.say(f"Docker {daemon.version}, {daemon.store} store, at {daemon.endpoint.host}")
    console.table(("IMAGE", "NAME", "IN", "PLATFORMS", ""), rows)


def _say_removed(
    console: Console,
    older: tuple[OlderBuilder, ...],
    swept: tuple[Digest, ...],
    dropped: tuple[str, ...],
) -> None:
    for container in dropped:
        console.say(f"removed {container}: the builder has no such node any more")
    for image in swept:
        console.say(f"removed {image[:19]}: an older image that has no name any more")
    for builder in older:
        names = ", ".join(name.familiar for name in builder.names)
        if builder.users:
            console.note(f"{names} stays: {', '.join(builder.users)} runs it")
        else:
            console.say(f"removed {names}: the lock does not name it")


def _older_document(older: tuple[OlderBuilder, ...]) -> list[dict[str, Any]]:
    return [
        {
            "id": builder.id,
            "names": [str(name) for name in builder.names],
            "users": list(builder.users),
            "removed": not builder.users,
        }
        for builder in older
    ]


def _say_builder(
    console: Console,
    daemon: Daemon,
    images: tuple[LoadedImage, ...],
    builder: LoadedBuilder | None,
    layout: Path | None,
) -> None:
    if builder is None:
        console.say("the bundle asks for no builder")
        return
    has_bases = any(loaded.place == "layout" for loaded in images)
    for line in builder_lines(builder, daemon.endpoint.docker, layout, has_bases=has_bases):
        console.say(line)


def builder_lines(
    builder: LoadedBuilder, docker: str, layout: Path | None, *, has_bases: bool
) -> list[str]:
    """What is said of a loaded builder, and at last the command that builds by it.

    `docker` is the command that talks to its daemon; `layout` the one that --layout named, and
    `has_bases` whether images lie in a layout at all.
    """
    from airgapbuild.cli.inputs import layout_option

    name = builder.instance.name
    state = f"runs BuildKit {builder.buildkit}" if builder.buildkit else "is written, not started"
    current = ", and is the current one" if builder.is_current else ""
    lines = [f"builder {name} {state}{current}"]
    if mirror := builder.instance.mirror:
        lines.append(f"its first mirror is {mirror}: airgapbuild serve must run there")
    by_us = has_bases and docker == "docker"  # airgapbuild build has no --host
    build = "airgapbuild build" if by_us else f"{docker} buildx build"
    chosen = "" if builder.is_current else f"--builder {name} "
    placed = layout_option(layout) if by_us else ""
    return [*lines, f"now: {build}{placed} {chosen}."]


def _document(
    daemon: Daemon,
    images: tuple[LoadedImage, ...],
    layout: Path,
    builder: LoadedBuilder | None,
) -> dict[str, Any]:
    return {
        "daemon": {
            "host": daemon.endpoint.host,
            "version": daemon.version,
            "store": daemon.store,
            "platform": str(daemon.platform),
        },
        "layout": str(layout),
        "images": [
            {
                "name": loaded.image.name,
                "names": [str(name) for name in loaded.image.names],
                "digest": loaded.image.digest,
                "in": loaded.place,
                "id": loaded.id,
                "platforms": [str(locked.platform) for locked in loaded.platforms],
                "action": loaded.action,
                "sent": loaded.sent,
            }
            for loaded in images
        ],
        "builder": builder
        and {
            "name": builder.instance.name,
            "driver": builder.instance.driver,
            "nodes": [
                {"name": node.name, "endpoint": node.endpoint} for node in builder.instance.nodes
            ],
            "buildkitd": builder.buildkitd and str(builder.buildkitd),
            "changed": builder.changed,
            "current": builder.is_current,
            "buildx": builder.buildx,
            "buildkit": builder.buildkit,
        },
    }
