"""A Docker daemon: what it is, what it holds, and loading into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from airgapbuild.engine.archive import saved_files
from airgapbuild.engine.connection import OLDEST_API, Connection
from airgapbuild.engine.loading import Loading, LoadOutcome
from airgapbuild.errors import DaemonError
from airgapbuild.oci.archive import blob_digest
from airgapbuild.oci.digest import Digest, parse_digest
from airgapbuild.oci.image import common
from airgapbuild.oci.platform import Platform, normalised
from airgapbuild.oci.reference import Reference, parse_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from airgapbuild.engine.endpoint import Endpoint
    from airgapbuild.oci.content import Descriptor
    from airgapbuild.oci.image import PlatformImage
    from airgapbuild.progress import Task

__all__ = ["Daemon", "HeldContainer", "HeldImage", "LoadOutcome", "Store"]

Store: TypeAlias = Literal["classic", "containerd"]
"""classic: an image is its config and unpacked layers. containerd: the registry's own documents
and blobs, and so their digests, are kept as well."""

_TELLS_MANIFESTS: Final = (1, 48)
"""From this API on a containerd store tells which manifests it has the whole content of."""

_CONTAINERD_DRIVER = ["driver-type", "io.containerd.snapshotter.v1"]


@dataclass(frozen=True)
class HeldImage:
    """An image that the daemon holds."""

    id: Digest
    """The config's digest in the classic store, the index's or manifest's in containerd's."""
    names: frozenset[Reference]
    repo_digests: frozenset[Reference]
    diff_ids: tuple[Digest, ...]


@dataclass(frozen=True)
class HeldContainer:
    """A container that the daemon holds."""

    id: str
    image: Digest
    """The ID of the image that it was made from."""
    image_name: str
    """What the image was called then."""
    command: tuple[str, ...]
    environment: frozenset[str]
    """`NAME=value`, the image's own included."""
    running: bool


class Daemon:
    """A daemon that answers. Use it as a context manager."""

    def __init__(
        self, connection: Connection, version: dict[str, Any], info: dict[str, Any]
    ) -> None:
        self.endpoint = connection.endpoint
        self.version = str(version["Version"])
        self.api = _api(version)
        self.store: Store = (
            "containerd" if _CONTAINERD_DRIVER in (info.get("DriverStatus") or ()) else "classic"
        )
        self.platform: Platform = normalised(str(version["Os"]), str(version["Arch"]))
        self.id = str(info.get("ID", ""))
        """What the daemon calls itself; another one where its data are new."""
        self.root_dir = str(info.get("DockerRootDir", "/var/lib/docker"))
        self.time = str(info.get("SystemTime", ""))
        """Its clock when it was asked, as Go prints a time."""
        self.proxy = str(info.get("HttpsProxy") or info.get("HttpProxy") or "")
        """The proxy by which it asks registries itself, its login hidden; empty where none."""
        self._connection = connection

    @classmethod
    def connect(cls, endpoint: Endpoint) -> Daemon:
        """The daemon at this endpoint.

        Raises:
            DaemonError: it cannot be reached, is older than Engine 20.10, or runs on Windows.
        """
        probe = Connection(endpoint)
        try:
            version = probe.version()
        finally:
            probe.close()
        _check_fits(version)
        connection = Connection(endpoint, str(version["ApiVersion"]))
        try:
            return cls(connection, version, connection.info())
        except BaseException:
            connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def image(self, name: str) -> HeldImage | None:
        """The image of this name or ID, None where there is none.

        Raises:
            DaemonError: the daemon does not say.
        """
        found = self._connection.image(name)
        return _held(found) if found else None

    def images(self) -> dict[Digest, frozenset[Reference]]:
        """The IDs of all images, those without a name too, with the names of each.

        Raises:
            DaemonError: the daemon does not say.
        """
        listed = self._connection.images()
        return {
            parse_digest(identifier): _references(names) for identifier, names in listed.items()
        }

    def names(self) -> dict[Reference, Digest]:
        """Every name of an image, and the ID of the image that has it.

        Raises:
            DaemonError: the daemon does not say.
        """
        return {name: image for image, names in self.images().items() for name in names}

    def remove_image(self, name: str) -> bool:
        """Takes a name from an image, or removes it by its ID if it has no more than one name.

        With its last name the image goes. False where a container uses it: nothing is done then.

        Raises:
            DaemonError: the daemon refuses for another reason.
        """
        return self._connection.remove_image(name)

    def users(self, image: Digest) -> tuple[str, ...]:
        """The names of the containers that were made from an image, running or not.

        Raises:
            DaemonError: the daemon does not say.
        """
        return tuple(
            str((container.get("Names") or [container["Id"]])[0]).removeprefix("/")
            for container in self._connection.containers()
            if container.get("ImageID") == image
        )

    def holds(self, image: PlatformImage, names: tuple[Reference, ...] = ()) -> bool:
        """Whether this very image is here with all its content, under all of `names`.

        Raises:
            DaemonError: the daemon does not say.
        """
        asks = {"manifests": 1} if self._tells_manifests else {}
        found = self._connection.image(self.expected_id(image), **asks)
        return (
            found is not None
            and _held(found).names.issuperset(names)
            and self._is_whole(found, image)
        )

    def expected_id(self, image: PlatformImage) -> Digest:
        """The ID that this image has in this daemon's store."""
        document = image.config if self.store == "classic" else image.top
        return document.descriptor.digest

    def layer_chains(self) -> dict[Digest, tuple[Digest, ...]]:
        """The diff IDs of every image, lowest first, by its ID; none of one that vanishes.

        Raises:
            DaemonError: the daemon does not say.
        """
        found = {it: self._connection.image(it) for it in self.images()}
        return {identifier: _diff_ids(image or {}) for identifier, image in found.items()}

    def held_layers(self, image: PlatformImage, *, surely: bool = False) -> frozenset[Digest]:
        """The layers at the bottom of an image that another image here has as well.

        Only a common beginning counts: the classic store knows a layer by all that lie below it.
        Containerd's has it only in the compression in which it came. Whether that is the same one
        is looked at where `surely`, for the price of saving the other image.

        Raises:
            DaemonError: the daemon does not say.
        """
        wanted = image.parsed_config.diff_ids
        if len(wanted) != len(image.layers):
            return frozenset()
        depths = {it: common(wanted, chain) for it, chain in self.layer_chains().items()}
        deepest = max(depths.values(), default=0)
        layers = frozenset(layer.digest for layer in image.bottom(deepest))
        if not surely or self.store == "classic":
            return layers
        found: set[Digest] = set()
        for identifier in (it for it, depth in depths.items() if depth == deepest):
            if not layers <= found:
                found |= self._blobs_of(identifier)
        return layers & found

    def load(
        self,
        image: PlatformImage,
        names: tuple[Reference, ...],
        read: Callable[[Descriptor], Iterator[bytes]],
        task: Task,
        absent: frozenset[Digest] = frozenset(),
    ) -> LoadOutcome:
        """Sees to it that the image is here under all of `names`, by the daemon's own word.

        `read` gives a layer's chunks, verified; whatever it raises comes out as it is. It is not
        asked for the layers in `absent`, which the daemon must hold.

        Raises:
            DaemonError: the daemon refused, broke off, or holds something else afterwards.
        """
        return Loading(self, self._connection, image, names).run(read, task, absent)

    def save(self, name: str) -> Generator[bytes]:
        """The archive of an image, in chunks, as `docker save` writes it.

        Raises:
            DaemonError: there is no such image, or the daemon breaks off.
        """
        return self._connection.save(name)

    def container(self, name: str) -> HeldContainer | None:
        """The container of this name, None where there is none.

        Raises:
            DaemonError: the daemon does not say.
        """
        found = self._connection.container(name)
        if found is None:
            return None
        return HeldContainer(
            id=str(found["Id"]),
            image=parse_digest(str(found["Image"])),
            image_name=str(found["Config"]["Image"]),
            command=tuple(found["Config"].get("Cmd") or ()),
            environment=frozenset(found["Config"].get("Env") or ()),
            running=bool(found["State"]["Running"]),
        )

    def container_has(self, name: str, path: str) -> bool:
        """Whether a file is in a container, which need not run.

        Raises:
            DaemonError: the daemon does not say.
        """
        return self._connection.container_has(name, path)

    def remove_container(self, name: str) -> None:
        """Stops and removes a container, by name or ID, if it is there; its volumes stay.

        Raises:
            DaemonError: the daemon refuses.
        """
        self._connection.remove_container(name)

    def run_privileged(self, image: str, arguments: Sequence[str] = ()) -> tuple[str, str]:
        """What an image says on stdout and stderr, run to its end with all privileges.

        It has no network, and its container is removed.

        Raises:
            DaemonError: there is no such image, or the daemon does not run it so.
        """
        return self._connection.run_privileged(image, arguments)

    def remove_volume(self, name: str) -> bool:
        """Removes a volume; whether it was there.

        Raises:
            DaemonError: the daemon refuses: a container has it.
        """
        return self._connection.remove_volume(name)

    def _blobs_of(self, identifier: str) -> set[Digest]:
        names = (name for name, _, _ in saved_files(self.save(identifier), identifier))
        return {digest for name in names if (digest := blob_digest(name))}

    @property
    def _tells_manifests(self) -> bool:
        return self.store == "containerd" and self.api >= _TELLS_MANIFESTS

    def _is_whole(self, found: dict[str, Any], image: PlatformImage) -> bool:
        """Whether all content of the image's platform is there.

        The classic store has an image whole or not at all. Containerd's may have lost some of it,
        or never got it. Before it told of each manifest, it left an image of which no platform is
        whole out of its list, though not out of `inspect`, which prefers the daemon's platform.

        Source: moby daemon/containerd/image_list.go, image_inspect.go.
        """
        if self.store == "classic":
            return True
        if self._tells_manifests:
            return any(
                entry.get("Available")
                and entry["Descriptor"]["digest"] == image.manifest.descriptor.digest
                for entry in found.get("Manifests") or ()
            )
        held, wanted = _held(found), image.parsed_config.diff_ids
        return held.diff_ids == wanted and held.id in self._connection.images()


def _api(version: dict[str, Any]) -> tuple[int, int]:
    major, minor = (int(part) for part in str(version["ApiVersion"]).split("."))
    return major, minor


def _check_fits(version: dict[str, Any]) -> None:
    try:
        api, name, system = _api(version), str(version["Version"]), str(version["Os"])
        str(version["Arch"])
    except (KeyError, ValueError, TypeError) as error:
        raise DaemonError(f"the daemon's /version is not a Docker daemon's: {error!r}") from error
    if api < _api({"ApiVersion": OLDEST_API}):
        hint = "upgrade Docker on the machine of the daemon"
        raise DaemonError(f"Docker {name} is too old, 20.10 or newer is needed", hint=hint)
    if system != "linux":
        hint = "switch Docker Desktop to Linux containers, or name a Linux daemon"
        raise DaemonError(f"the daemon runs {system} containers, BuildKit needs Linux", hint=hint)


def _held(found: dict[str, Any]) -> HeldImage:
    return HeldImage(
        id=parse_digest(str(found["Id"])),
        names=_references(found.get("RepoTags")),
        repo_digests=_references(found.get("RepoDigests")),
        diff_ids=_diff_ids(found),
    )


def _diff_ids(found: dict[str, Any]) -> tuple[Digest, ...]:
    layers = (found.get("RootFS") or {}).get("Layers") or ()
    return tuple(parse_digest(str(layer)) for layer in layers)


def _references(texts: Iterable[str] | None) -> frozenset[Reference]:
    """The names that are any: the classic store calls the untagged `<none>:<none>`."""
    found = set()
    for text in texts or ():
        try:
            found.add(parse_reference(text))
        except ValueError:
            continue
    return frozenset(found)
