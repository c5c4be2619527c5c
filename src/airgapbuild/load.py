"""Bundle + daemon → images, layout, builder.

The order is: prove the bundle, look at the daemon, send what it lacks, ask it what it holds now,
and fill the layout meanwhile; then write the builder's files and start it. No step begins before
the bytes that it uses are proven.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airgapbuild.builder.buildkitd import BUILDKITD_FILE
from airgapbuild.builder.buildx import Buildx
from airgapbuild.builder.contexts import check_folder
from airgapbuild.builder.wanted import made_from
from airgapbuild.errors import DaemonError
from airgapbuild.files import mode_of, reaching, write_if_changed
from airgapbuild.filling import fill
from airgapbuild.leftovers import remove_node
from airgapbuild.progress import SILENT, Progress
from airgapbuild.supply import Supply
from airgapbuild.threads import pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from airgapbuild.builder.instance import Instance, InstanceStore, Node
    from airgapbuild.bundle.reader import Bundle
    from airgapbuild.engine.daemon import Daemon, HeldContainer
    from airgapbuild.engine.endpoint import Endpoint
    from airgapbuild.lockfile import LockedImage, LockedPlatform
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.layout import Layout


@dataclass(frozen=True)
class Proven:
    """A bundle whose files are right, and those that have what it leaves out."""

    bundle: Bundle
    bases: tuple[Bundle, ...]


@dataclass(frozen=True)
class LoadedImage:
    """What happened to one image in one place."""

    image: LockedImage
    platforms: tuple[LockedPlatform, ...]
    """The platforms that are there now: the daemon's own, or those of the layout."""
    place: str
    """`daemon` or `layout`; the address of the daemon where it is another node's."""
    id: Digest
    """What it is known by there: the config's digest in a classic store, else that of the index or
    manifest."""
    action: str
    """`present` (nothing to do), `named` (only names were missing) or `loaded`."""
    sent: int
    """Bytes that went to the daemon or into the layout."""


@dataclass(frozen=True)
class LoadedBuilder:
    """What happened to the builder."""

    instance: Instance
    buildkitd: Path | None
    """The buildkitd.toml that the builder has, as a file; None where it can have none."""
    changed: bool
    """Whether its files had to be written, or a container made anew."""
    is_current: bool = False
    """Whether a plain `docker buildx build` now uses it."""
    buildx: str | None = None
    """The version of the buildx that started it; None where it was not to be started."""
    buildkit: str | None = None
    """The version of the BuildKit that answered."""


def prove(bundle: Bundle, bases: Sequence[Bundle] = (), *, progress: Progress = SILENT) -> Proven:
    """The same bundles, after every byte of their files was found right.

    Tarballs of other platforms than the daemon's may be missing from a folder.

    Raises:
        IntegrityError: a file is not what its bundle says.
    """
    for each in (*bases, bundle):
        each.check_files(progress=progress)
    return Proven(bundle, tuple(bases))


def load_images(
    proven: Proven,
    daemon: Daemon,
    layout: Layout,
    *,
    others: Iterable[Daemon] = (),
    progress: Progress = SILENT,
) -> tuple[LoadedImage, ...]:
    """The bundle's images, where they are wanted: one that goes to two places is there twice.

    `others` are daemons that run further nodes of the builder: its image goes to them as well.

    What a differential bundle leaves out may lie in one of its bases, whose other images are not
    loaded. Older layers by which it tells its own are laid out in files without a name in the
    layout's folder.

    Raises:
        IntegrityError, BundleError: a bundle is not whole or not right; nothing was sent of the
            image that it concerns. What a differential bundle leaves out is nowhere; nothing was
            sent of any image.
        DaemonError: the daemon did not take an image, or holds another one afterwards.
        UsageError: no build could read the layout at its path; nothing was sent.
    """
    supply, wanted = _supply(proven, daemon, layout), proven.bundle.lock.image
    builder = proven.bundle.lock.builder_image
    nodes = [(builder, it, _supply(proven, it, layout)) for it in others] if builder else []

    def check() -> None:
        supply.check(daemon, layout)
        for image, other, its in nodes:
            its.check_node(image, other)

    fills = any(image.for_layout for image in wanted)
    if fills:
        check_folder(layout)
    is_new = mode_of(layout.path) is None
    if is_new:
        check()  # a load that is refused makes no folder
    with layout.filling() if fills else nullcontext(), pool(1, "layout") as beside:
        if not is_new:
            check()  # now that nobody sweeps out what it finds there
        # A daemon unpacks for seconds, and leaves a core to this.
        filled = {
            image.name: beside.submit(_to_layout, supply, layout, image, progress)
            for image in wanted
            if image.for_layout
        }
        sent = {
            image.name: _to_daemon(supply, daemon, image, progress)
            for image in wanted
            if image.for_daemon
        }
        further = [_to_node(its, other, image, progress) for image, other, its in nodes]
    places = (sent, {name: each.result() for name, each in filled.items()})
    here = (place[image.name] for image in wanted for place in places if image.name in place)
    return (*here, *further)


def _supply(proven: Proven, daemon: Daemon, layout: Layout) -> Supply:
    return Supply.of(proven.bundle, proven.bases, layout.path, daemon=daemon, layout=layout)


def _to_node(supply: Supply, daemon: Daemon, image: LockedImage, progress: Progress) -> LoadedImage:
    return replace(_to_daemon(supply, daemon, image, progress), place=daemon.endpoint.host)


def _to_daemon(
    supply: Supply, daemon: Daemon, image: LockedImage, progress: Progress
) -> LoadedImage:
    bundle, locked = supply.bundle, supply.platform(image, daemon)
    documents = bundle.image(image, locked)
    if not daemon.holds(documents, image.names):
        documents = bundle.check_image(image, locked)
    task = progress.task(image.name)
    read = supply.reader(image, locked)
    absent = frozenset(blob.digest for blob in supply.absent(image, locked))
    outcome = daemon.load(documents, image.names, read, task, absent)
    task.done(outcome.action)
    identifier = daemon.expected_id(documents)
    return LoadedImage(image, (locked,), "daemon", identifier, outcome.action, outcome.sent)


def _to_layout(
    supply: Supply, layout: Layout, image: LockedImage, progress: Progress
) -> LoadedImage:
    filled = fill(supply, layout, image, progress)
    digest = filled.top.digest
    return LoadedImage(image, filled.platforms, "layout", digest, filled.action, filled.sent)


def drop_nodes(
    instance: Instance,
    nodes: Sequence[Daemon],
    store: InstanceStore,
    connect: Callable[[str], AbstractContextManager[Daemon]],
    *,
    progress: Progress = SILENT,
) -> tuple[str, ...]:
    """The containers, now gone with their cache, of nodes that our builder is to have no more.

    To be called before `load_builder`, which forgets those nodes. `nodes` are the daemons of the
    others; `connect` leads to the daemon at an endpoint. One that does not answer is noted.

    Raises:
        BuilderError: the file of the builder cannot be read.
    """
    kept = {(node.container, its.id) for node, its in zip(instance.nodes, nodes, strict=False)}
    gone = []
    for node in store.dropped(instance):
        try:
            with connect(node.endpoint) as daemon:
                if (node.container, daemon.id) not in kept and remove_node(node, daemon):
                    gone.append(node.container)
        except DaemonError as error:
            progress.note(
                f"{node.container} may be left, of a node that is no more: {error.message}"
            )
    return tuple(gone)


def load_builder(
    instance: Instance,
    nodes: Sequence[Daemon],
    store: InstanceStore,
    config_folder: Path,
    *,
    progress: Progress = SILENT,
) -> LoadedBuilder:
    """The builder as buildx knows it.

    `nodes` are the daemons that it runs on, as `BuilderEntry.endpoints` has them. A container that
    was made from another image or other settings is removed (its cache volume stays), since buildx
    would go on using it: the next start makes it anew.

    Raises:
        BuilderError: the name is taken by something else, or its file cannot be written.
        UsageError: buildkitd.toml cannot be written.
    """
    changed = store.write(instance)
    for node, daemon in zip(instance.nodes, nodes, strict=False):
        container = daemon.container(node.container)
        if container and not _is_made_from(container, node, daemon):
            progress.detail(f"{node.container}: made from something else, removed")
            daemon.remove_container(container.id)  # not the one that another job makes meanwhile
            changed = True
    buildkitd = None
    if content := instance.nodes[0].files.get(BUILDKITD_FILE):
        buildkitd = config_folder / instance.name / BUILDKITD_FILE
        with reaching(buildkitd, "XDG_CONFIG_HOME names another folder"):
            changed |= write_if_changed(buildkitd, content)
    return LoadedBuilder(instance, buildkitd, changed)


def use(
    builder: LoadedBuilder, store: InstanceStore, endpoint: Endpoint, *, default: bool = False
) -> LoadedBuilder:
    """The same builder, current for a daemon, as by `docker buildx use`.

    Raises:
        BuilderError: the files cannot be written.
    """
    changed = store.make_current(builder.instance, endpoint.buildx_key, default=default)
    return replace(builder, changed=builder.changed or changed, is_current=True)


def _is_made_from(container: HeldContainer, node: Node, daemon: Daemon) -> bool:
    held = daemon.image(node.driver_opts["image"])
    return (
        held is not None and container.image == held.id and made_from(node, container.environment)
    )


def boot(
    builder: LoadedBuilder,
    buildx: Buildx | None,
    environ: Mapping[str, str],
    *,
    progress: Progress = SILENT,
) -> LoadedBuilder:
    """The same builder, running, with the versions that answered.

    Raises:
        BuilderError: there is no buildx, or the builder does not come up.
    """
    buildx = buildx or Buildx.find(environ)
    task = progress.task(f"boot {builder.instance.name}")
    buildkit = buildx.boot(builder.instance.name, environ, progress.detail)
    task.done(f"BuildKit {buildkit}")
    return replace(builder, buildx=buildx.version, buildkit=buildkit)
