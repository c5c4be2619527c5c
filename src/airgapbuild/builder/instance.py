"""The buildx builder as buildx itself would write it, under the same lock.

Written by us because `docker buildx create` refuses the TLS environment of GitLab dind. The files::

    $BUILDX_CONFIG | $DOCKER_CONFIG/buildx | ~/.docker/buildx
        .lock               flock, held for every transaction
        current             {"Key":…,"Name":…,"Global":false}
        defaults/<hash>     a builder's name, by the hash of a key: `docker buildx use --default`
        instances/<name>    one builder, the name in lower case; every file here must be one

Source: docker/buildx store/store.go, store/nodegroup.go, store/util.go, builder/builder.go.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airgapbuild.builder_tables import builder_name
from airgapbuild.errors import BuilderError
from airgapbuild.files import home, replacing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from airgapbuild.drivers import Driver
    from airgapbuild.oci.platform import Platform

MARK: Final = "env.AIRGAPBUILD_CONFIG"
"""The option, and with it the variable, by which a node and its container tell that they are ours,
and what they were made from: buildx never compares an existing container with the instance, and
another job's container may come from another lock."""

MIRROR: Final = "env.AIRGAPBUILD_MIRROR"
"""The option by which a node tells of a mirror that its lock does not know of."""

_PRIVATE = 0o600
_PRIVATE_FOLDER = 0o700
# Go's encoding/json escapes these for the sake of HTML and JavaScript.
_GO_ESCAPES = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


@dataclass(frozen=True)
class Node:
    """One of the places where a builder runs."""

    name: str
    endpoint: str
    """A docker context, "default" for whatever the environment says, or a daemon's URL; what the
    driver calls it, where that is another one."""
    driver_opts: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    """Flags of buildkitd."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Files for /etc/buildkit in the container, by relative path."""
    platforms: tuple[Platform, ...] = ()
    """What is built here, where it is not left to the node to say."""

    @property
    def container(self) -> str:
        """The name of the container that buildkitd runs in, with the docker-container driver."""
        return f"buildx_buildkit_{self.name}"

    @property
    def cache(self) -> str:
        """The name of the volume that this container keeps its cache in."""
        return f"{self.container}_state"

    def document(self, *, is_last: bool) -> dict[str, Any]:
        """What buildx would write, in its order.

        Where a node comes behind, no platforms are an empty list to buildx, and not null.
        """
        return {
            "Name": self.name,
            "Endpoint": self.endpoint,
            "Platforms": [_platform(it) for it in self.platforms] or (None if is_last else []),
            "DriverOpts": dict(sorted(self.driver_opts.items())) or None,
            "Flags": list(self.flags) or None,
            "Files": {
                path: base64.b64encode(content).decode()
                for path, content in sorted(self.files.items())
            }
            or None,
        }


@dataclass(frozen=True)
class Instance:
    """A builder."""

    name: str
    nodes: tuple[Node, ...]
    driver: Driver = "docker-container"

    @property
    def mirror(self) -> str | None:
        """The mirror that `load --serve` was given."""
        return _mirror(self.nodes)

    def document(self) -> bytes:
        """The bytes that buildx would write."""
        nodes = [node.document(is_last=node is self.nodes[-1]) for node in self.nodes]
        whole = {"Name": self.name, "Driver": self.driver, "Nodes": nodes, "Dynamic": False}
        return _go_json(whole)


@dataclass(frozen=True)
class StoredInstance:
    """A builder that is there."""

    name: str
    driver: str
    nodes: tuple[Node, ...]
    """Without their files, flags and platforms."""
    document: bytes

    @property
    def is_marked(self) -> bool:
        """Whether every node says that airgapbuild wrote it."""
        return all(MARK in node.driver_opts for node in self.nodes)

    @property
    def mirror(self) -> str | None:
        """The mirror that `load --serve` was given."""
        return _mirror(self.nodes)


class InstanceStore:
    """Buildx's folder of builders, shared with buildx and with parallel jobs."""

    def __init__(self, folder: Path, docker_folder: Path) -> None:
        self.folder = folder
        self._docker_folder = docker_folder

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> InstanceStore:
        """The store that buildx uses in this environment."""
        docker_folder = Path(environ.get("DOCKER_CONFIG") or home(environ) / ".docker")
        return cls(Path(environ.get("BUILDX_CONFIG") or docker_folder / "buildx"), docker_folder)

    def read(self, name: str) -> StoredInstance | None:
        """The builder of this name, None where there is none.

        Raises:
            BuilderError: the name cannot be one, or its file is not a builder's.
        """
        path = self._path(name)
        try:
            raw = path.read_bytes()
            document = json.loads(raw)
            nodes = document["Nodes"] or ()
            return StoredInstance(
                name=str(document["Name"]),
                driver=str(document["Driver"]),
                nodes=tuple(
                    Node(str(it["Name"]), str(it["Endpoint"]), dict(it.get("DriverOpts") or {}))
                    for it in nodes
                ),
                document=raw,
            )
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BuilderError(f"{path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            hint = f"`docker buildx ls` cannot read it either; remove it: rm {path}"
            raise BuilderError(f"{path}: not a buildx builder: {flaw(error)}", hint=hint) from error

    def holds(self, instance: Instance) -> bool:
        """Whether the builder is there as it should be, and `write` would leave it as it is.

        Raises:
            BuilderError: see `read`.
        """
        stored = self.read(instance.name)
        wanted = json.loads(instance.document())
        return stored is not None and bool(json.loads(stored.document) == wanted)

    def dropped(self, instance: Instance) -> tuple[Node, ...]:
        """The nodes that our builder of this name has, and that it is to have no more.

        Raises:
            BuilderError: see `read`.
        """
        stored = self.read(instance.name)
        if stored is None or not stored.is_marked:
            return ()
        kept = _places(instance.nodes)
        return tuple(node for node in stored.nodes if (node.name, node.endpoint) not in kept)

    def check_free(self, instance: Instance) -> None:
        """Returns only if `write` could write the builder under its name, or would leave it.

        Raises:
            BuilderError: the name is no name or taken by something that is not ours to change.
        """
        if not self.holds(instance):
            self._check_free(instance)

    def _check_free(self, instance: Instance) -> None:
        name, stored = instance.name, self.read(instance.name)
        hint = f"choose another [builder] name, or remove it: docker buildx rm {name}"
        if stored and stored.driver != instance.driver:
            raise BuilderError(f"builder '{name}' exists with driver {stored.driver}", hint=hint)
        if stored and not stored.is_marked and not _is_namesake(stored, instance):
            raise BuilderError(f"builder '{name}' exists, and is not airgapbuild's", hint=hint)
        context = hashlib.sha256(name.encode()).hexdigest()
        if (self._docker_folder / "contexts" / "meta" / context / "meta.json").exists():
            raise BuilderError(
                f"'{name}' is the name of a docker context, which is a builder to buildx",
                hint="choose another [builder] name",
            )

    def write(self, instance: Instance) -> bool:
        """Whether the builder had to be written; one that says the same is left as it is.

        Raises:
            BuilderError: the name is no name or taken by something that is not ours to change, or
                the folder cannot be written.
        """
        with self._transaction():
            if self.holds(instance):
                return False
            self._check_free(instance)
            self._replace(self._path(instance.name), instance.document())
            return True

    def current(self, key: str) -> str | None:
        """The builder that a plain `docker buildx build` uses at an endpoint, where one is chosen.

        `key` is the endpoint's: `Endpoint.buildx_key`. Source: store.go, `Current`.

        Raises:
            BuilderError: buildx's file is not one.
        """
        return self._chosen(key) or self._default(key)

    def loaded(self, key: str) -> str | None:
        """The builder for an endpoint that airgapbuild made: the current one, else the only one.

        One of pods or of a remote buildkitd keeps no mark; where it is current, it counts as ours.
        One that is current for another endpoint is not for this one.

        Raises:
            BuilderError: there are several, and none is current; or a file is not buildx's.
        """
        current = self.current(key)
        stored = self.read(current) if current else None
        if stored and (stored.is_marked or stored.driver != "docker-container"):
            return stored.name
        ours = [it for it in self._marked() if not _chooses(self.folder / "current", it)]
        if len(ours) > 1:
            message = f"{self.folder}: several builders were loaded, and none of them is current: "
            hint = f"choose one: docker buildx use {ours[0]}"
            raise BuilderError(message + ", ".join(ours), hint=hint)
        return ours[0] if ours else None

    def _marked(self) -> Iterator[str]:
        for path in sorted((self.folder / "instances").glob("*")):
            stored = self.read(path.name)
            if stored and stored.is_marked:
                yield stored.name

    def _chosen(self, key: str) -> str | None:
        """What `docker buildx use` left."""
        path = self.folder / "current"
        try:
            chosen = json.loads(path.read_bytes())
            here = chosen["Global"] or chosen["Key"] == key
            return str(chosen["Name"]) or None if here else None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BuilderError(f"{path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            hint = "`docker buildx use NAME` writes it anew"
            message = f"{path}: not what buildx writes: {flaw(error)}"
            raise BuilderError(message, hint=hint) from error

    def _default(self, key: str) -> str | None:
        """What `docker buildx use --default` left."""
        path = self._default_path(key)
        try:
            return path.read_text() or None
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise BuilderError(f"{path}: not what buildx writes: {error}") from error

    def make_current(self, instance: Instance, key: str, *, default: bool = False) -> bool:
        """Whether the builder had to be made the one that a plain `docker buildx build` uses.

        `key` is the endpoint for which it is current: `Endpoint.buildx_key`. As its `default` it
        comes back when another endpoint had another one meanwhile.

        Raises:
            BuilderError: the folder cannot be written.
        """
        document = _go_json({"Key": key, "Name": instance.name, "Global": False})
        path, default_path = self.folder / "current", self._default_path(key)
        with self._transaction():
            is_current = path.exists() and path.read_bytes() == document
            if is_current and (not default or self._default(key) == instance.name):
                return False
            self._replace(path, document)
            if default:
                default_path.parent.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
                self._replace(default_path, instance.name.encode())
            else:
                default_path.unlink(missing_ok=True)  # as `buildx use` does
            return True

    def remove(self, instance: Instance) -> bool:
        """Whether the builder was there as it is, and is gone now, as by `docker buildx rm`.

        Where it was the current one, or an endpoint's default, it is no longer.

        Raises:
            BuilderError: the folder cannot be read or written.
        """
        if not self.holds(instance):
            return False
        with self._transaction():
            if not self.holds(instance):
                return False
            (self.folder / "activity" / instance.name).unlink(missing_ok=True)
            shutil.rmtree(self.folder / "refs" / instance.name, ignore_errors=True)
            self._path(instance.name).unlink()
            for chosen in (self.folder / "current", *(self.folder / "defaults").glob("*")):
                if _chooses(chosen, instance.name):
                    chosen.unlink()
            return True

    def _default_path(self, key: str) -> Path:
        return self.folder / "defaults" / hashlib.sha256(key.encode()).hexdigest()[:20]

    def _path(self, name: str) -> Path:
        try:
            builder_name(name)
        except ValueError as error:
            raise BuilderError(str(error)) from error
        return self.folder / "instances" / name.lower()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One transaction at a time, with buildx as well."""
        try:
            self.folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
            (self.folder / "instances").mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
            lock = os.open(self.folder / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, _PRIVATE)
            with os.fdopen(lock, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
        except OSError as error:
            where = error.filename or self.folder
            hint = "buildx keeps its builders there; BUILDX_CONFIG names another folder"
            raise BuilderError(f"{where}: {error.strerror}", hint=hint) from error

    def _replace(self, path: Path, content: bytes) -> None:
        """By way of a file outside `instances`, where buildx would take it for a builder."""
        staged = self.folder / ".airgapbuild.new"
        with replacing(staged, mode=_PRIVATE) as file:
            file.write(content)
        staged.replace(path)


def flaw(error: Exception) -> str:
    """What keeps a file from being one of buildx's, by what its reader has raised."""
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    return str(error) if isinstance(error, ValueError) else "it has another form"


def _is_namesake(stored: StoredInstance, instance: Instance) -> bool:
    """Whether it is the same in other words: not every driver can keep a mark."""
    return instance.driver != "docker-container" and _places(stored.nodes) == _places(
        instance.nodes
    )


def _mirror(nodes: Iterable[Node]) -> str | None:
    return next((node.driver_opts.get(MIRROR) for node in nodes), None)


def _places(nodes: Iterable[Node]) -> list[tuple[str, str]]:
    return [(node.name, node.endpoint) for node in nodes]


def _platform(platform: Platform) -> dict[str, str]:
    """Source: OCI image specification, specs-go/v1/descriptor.go, `Platform`."""
    variant = {"variant": platform.variant} if platform.variant else {}
    return {"architecture": platform.architecture, "os": platform.os, **variant}


def _chooses(path: Path, name: str) -> bool:
    """Whether a `current` or a default, which is a bare name, names this builder."""
    try:
        raw = path.read_bytes()
        return raw == name.encode() or json.loads(raw)["Name"] == name
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False


def _go_json(document: Any) -> bytes:  # noqa: ANN401 - any JSON
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    return text.translate(_GO_ESCAPES).encode()
