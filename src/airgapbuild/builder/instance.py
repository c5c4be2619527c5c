"""The buildx builder as buildx itself would write it, under the same lock.

Written by us because `docker buildx create` refuses the TLS environment of GitLab dind. The files::

    $BUILDX_CONFIG | $DOCKER_CONFIG/buildx | ~/.docker/buildx
        .lock               flock, held for every transaction
        current             {"Key":…,"Name":…,"Global":false}
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

from airgapbuild.errors import BuilderError
from airgapbuild.files import replacing
from airgapbuild.manifest import builder_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DRIVER: Final = "docker-container"
_PRIVATE = 0o600
_PRIVATE_FOLDER = 0o700
# Go's encoding/json escapes these for the sake of HTML and JavaScript.
_GO_ESCAPES = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


@dataclass(frozen=True)
class Instance:
    """A builder of one node, run by buildx's docker-container driver."""

    name: str
    endpoint: str
    """A docker context, "default" for whatever the environment says, or a daemon's URL."""
    driver_opts: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    """Flags of buildkitd."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Files for /etc/buildkit in the container, by relative path."""

    @property
    def node(self) -> str:
        """The node's name."""
        return f"{self.name.lower()}0"

    @property
    def container(self) -> str:
        """The name of the container that buildkitd runs in."""
        return container_name(self.node)

    def document(self) -> bytes:
        """The bytes that buildx would write."""
        return _go_json(
            {
                "Name": self.name,
                "Driver": DRIVER,
                "Nodes": [
                    {
                        "Name": self.node,
                        "Endpoint": self.endpoint,
                        "Platforms": None,
                        "DriverOpts": dict(sorted(self.driver_opts.items())) or None,
                        "Flags": list(self.flags) or None,
                        "Files": {
                            path: base64.b64encode(content).decode()
                            for path, content in sorted(self.files.items())
                        }
                        or None,
                    }
                ],
                "Dynamic": False,
            }
        )


@dataclass(frozen=True)
class StoredInstance:
    """A builder that is there."""

    name: str
    driver: str
    nodes: tuple[str, ...]
    document: bytes


def container_name(node: str) -> str:
    """The container of a node, as the docker-container driver calls it."""
    return f"buildx_buildkit_{node}"


class InstanceStore:
    """Buildx's folder of builders, shared with buildx and with parallel jobs."""

    def __init__(self, folder: Path, docker_folder: Path) -> None:
        self.folder = folder
        self._docker_folder = docker_folder

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> InstanceStore:
        """The store that buildx uses in this environment."""
        home = Path(environ.get("HOME") or Path.home())
        docker_folder = Path(environ.get("DOCKER_CONFIG") or home / ".docker")
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
            nodes = tuple(str(node["Name"]) for node in document["Nodes"] or ())
            return StoredInstance(str(document["Name"]), str(document["Driver"]), nodes, raw)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BuilderError(f"{path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            hint = f"`docker buildx ls` cannot read it either; remove it: rm {path}"
            raise BuilderError(f"{path}: not a buildx builder: {error!r}", hint=hint) from error

    def holds(self, instance: Instance) -> bool:
        """Whether the builder is there as it should be, and `write` would leave it as it is.

        Raises:
            BuilderError: see `read`.
        """
        stored = self.read(instance.name)
        wanted = json.loads(instance.document())
        return stored is not None and bool(json.loads(stored.document) == wanted)

    def write(self, instance: Instance) -> bool:
        """Whether the builder had to be written; one that says the same is left as it is.

        Raises:
            BuilderError: the name is no name or taken by something that is not ours to change, or
                the folder cannot be written.
        """
        with self._transaction():
            self._check_free(instance)
            if self.holds(instance):
                return False
            self._replace(self._path(instance.name), instance.document())
            return True

    def current(self, key: str) -> str | None:
        """The builder that a plain `docker buildx build` uses at an endpoint, where one is chosen.

        `key` is the endpoint's: `Endpoint.buildx_key`. Source: store.go, `Current`.

        Raises:
            BuilderError: buildx's file is not one.
        """
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
            raise BuilderError(f"{path}: not what buildx writes: {error!r}", hint=hint) from error

    def make_current(self, instance: Instance, key: str) -> bool:
        """Whether the builder had to be made the one that a plain `docker buildx build` uses.

        `key` is the endpoint for which it is current: `Endpoint.buildx_key`.

        Raises:
            BuilderError: the folder cannot be written.
        """
        document = _go_json({"Key": key, "Name": instance.name, "Global": False})
        path = self.folder / "current"
        with self._transaction():
            if path.exists() and path.read_bytes() == document:
                return False
            self._replace(path, document)
            # A default of `buildx use --default` ends, as it does with `buildx use`.
            default = hashlib.sha256(key.encode()).hexdigest()[:20]
            (self.folder / "defaults" / default).unlink(missing_ok=True)
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

    def _path(self, name: str) -> Path:
        try:
            builder_name(name)
        except ValueError as error:
            raise BuilderError(str(error)) from error
        return self.folder / "instances" / name.lower()

    def _check_free(self, instance: Instance) -> None:
        name, stored = instance.name, self.read(instance.name)
        hint = f"choose another [builder] name, or remove it: docker buildx rm {name}"
        if stored and stored.driver != DRIVER:
            raise BuilderError(f"builder '{name}' exists with driver {stored.driver}", hint=hint)
        if stored and stored.nodes not in ((), (instance.node,)):
            nodes = ", ".join(stored.nodes)
            raise BuilderError(f"builder '{name}' exists with other nodes: {nodes}", hint=hint)
        context = hashlib.sha256(name.encode()).hexdigest()
        if (self._docker_folder / "contexts" / "meta" / context / "meta.json").exists():
            raise BuilderError(
                f"'{name}' is the name of a docker context, which is a builder to buildx",
                hint="choose another [builder] name",
            )

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
