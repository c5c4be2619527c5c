"""An OCI image layout on disk, shared by parallel jobs.

Two locks, both of which a process gives back however it ends: one writer of index.json at a time,
and no sweeping while something is filled in, since a blob lies here before a name leads to it.

Source: OCI image specification v1.1, image-layout.md. Buildx reads such a folder as
`--build-context NAME=oci-layout://DIR@DIGEST`, without a registry.
"""

from __future__ import annotations

import fcntl
import json
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, Final

from airgapbuild.errors import BundleError
from airgapbuild.files import reaching, replacing, write_if_changed
from airgapbuild.oci.content import (
    INDEX_TYPES,
    MAX_DOCUMENT,
    OCI_INDEX,
    Content,
    Descriptor,
    content,
    json_object,
    media_type_of,
    parse_config,
    parse_index,
    parse_manifest,
)
from airgapbuild.oci.derived import DERIVED_FROM
from airgapbuild.oci.digest import digest_of, encoded, matches, parse_digest, verified
from airgapbuild.oci.reference import parse_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from airgapbuild.oci.content import Config
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.reference import Reference

LAYOUT_FILE: Final = b'{"imageLayoutVersion":"1.0.0"}'
IMAGE_NAME: Final = "io.containerd.image.name"
"""The annotation by which Docker, containerd and BuildKit know an image in an index.json."""

_CHUNK = 1 << 20
_INDEX_LOCK = ".airgapbuild.lock"
_FILLING_LOCK = ".airgapbuild.filling.lock"
_ANOTHER = "another folder is named by --layout or XDG_DATA_HOME, for serve by --cache"


class Layout:
    """A folder with `oci-layout`, `index.json` and `blobs/sha256/`.

    Whatever reads or writes it raises UsageError where the system refuses; `hint` then says what
    names another folder.
    """

    def __init__(self, path: Path, hint: str = _ANOTHER) -> None:
        self.path = path
        self._hint = hint

    def reaching(self) -> AbstractContextManager[None]:
        """See `files.reaching`; no OSError of others' may come up while it lasts."""
        return reaching(self.path, self._hint)

    def blob_path(self, digest: Digest) -> Path:
        """Where a blob lies, or would."""
        return self.path / "blobs" / "sha256" / encoded(digest)

    def holds(self, descriptor: Descriptor) -> bool:
        """Whether the blob is here, whole and right; its bytes are read to know."""
        path = self.blob_path(descriptor.digest)
        with self.reaching(), suppress(FileNotFoundError), path.open("rb") as file:
            chunks = iter(lambda: file.read(_CHUNK), b"")
            return matches(chunks, descriptor.digest, descriptor.size)
        return False

    def blobs(self) -> Iterator[Descriptor]:
        """The blobs that are here, whole and right, by digest; their bytes are read to know."""
        for path in sorted((self.path / "blobs" / "sha256").glob("*")):
            with suppress(ValueError, FileNotFoundError):
                digest = parse_digest(f"sha256:{path.name}")
                blob = Descriptor(media_type="", digest=digest, size=path.stat().st_size)
                if self.holds(blob):
                    yield blob

    def put(self, descriptor: Descriptor, chunks: Iterator[bytes]) -> None:
        """Stores a blob. Nothing appears under its name unless all of it is right.

        Raises:
            IntegrityError: the chunks are not the content that the descriptor names.
        """
        what = f"blob {descriptor.digest}"
        with self.reaching(), replacing(self.blob_path(descriptor.digest)) as file:
            for chunk in verified(chunks, descriptor.digest, descriptor.size, what):
                file.write(chunk)

    @contextmanager
    def filling(self) -> Iterator[None]:
        """While it lasts, nothing is swept out; others may fill in, too."""
        with self._file(_FILLING_LOCK) as file:
            self._lock(file, fcntl.LOCK_SH)
            yield

    @contextmanager
    def sweeping(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """While it lasts, nobody fills in; `on_wait` is called where somebody still does."""
        with self._file(_FILLING_LOCK) as file:
            if not self._lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
                on_wait()
                self._lock(file, fcntl.LOCK_EX)
            yield

    def name(self, descriptor: Descriptor, names: tuple[str, ...]) -> bool:
        """Enters an image under full names, taking them from whatever had them; whether it had to.

        What the descriptor's annotations say stays with it.

        Raises:
            BundleError: the folder's index.json is not one.
        """
        return self.name_chosen(lambda: descriptor, names)[1]

    def name_chosen(
        self, choose: Callable[[], Descriptor], names: tuple[str, ...]
    ) -> tuple[Descriptor, bool]:
        """The same of an image that is chosen while nobody else gives or takes names.

        Raises:
            BundleError: the folder's index.json is not one.
        """
        with self._file(_INDEX_LOCK) as file, self.reaching():
            self._lock(file, fcntl.LOCK_EX)
            descriptor = choose()
            write_if_changed(self.path / "oci-layout", LAYOUT_FILE)
            entries = [entry for entry in self._entries() if _name_of(entry) not in names]
            entries += [_entry(descriptor, name) for name in names]
            entries.sort(key=lambda entry: (_name_of(entry) or "", str(entry.get("digest"))))
            return descriptor, self._write(entries)

    def roots(self) -> tuple[Digest, ...]:
        """All that index.json lists, with a name or without, in its order.

        Raises:
            BundleError: the folder's index.json is not one.
        """
        found = []
        for entry in self._entries():
            with suppress(ValueError):
                found.append(parse_digest(str(entry.get("digest"))))
        return tuple(dict.fromkeys(found))

    def images(self) -> dict[Reference, Digest]:
        """The images that are known by name; what others have entered without one is left out.

        Raises:
            BundleError: the folder's index.json is not one.
        """
        return {name: parse_digest(entry["digest"]) for name, entry in self._named()}

    def upstream(self) -> dict[Reference, Digest]:
        """What the images come from whose layers are raw: the registry's digest, by name.

        Raises:
            BundleError: the folder's index.json is not one.
        """
        found = {}
        for name, entry in self._named():
            with suppress(KeyError, ValueError):
                found[name] = parse_digest(str(entry["annotations"][DERIVED_FROM]))
        return found

    def _named(self) -> Iterator[tuple[Reference, dict[str, Any]]]:
        for entry in self._entries():
            with suppress(ValueError):
                name = parse_reference(_name_of(entry) or "")
                parse_digest(str(entry.get("digest")))
                yield name, entry

    def document(self, digest: Digest) -> Content | None:
        """The manifest or index of this digest; None where it is not here, or is something else."""
        raw = self._read(self.blob_path(digest), MAX_DOCUMENT + 1)
        if raw is None or digest_of(raw) != digest:
            return None
        return content(raw, media_type_of(raw))

    def configs(self, digest: Digest) -> tuple[Config, ...]:
        """The configs of an image, one for each platform that is here.

        Raises:
            IntegrityError: the layout's documents are no images.
        """
        top = self.document(digest)
        if top is None:
            return ()
        manifests = [top]
        if top.descriptor.media_type in INDEX_TYPES:
            entries = parse_index(top, f"index {digest}").platforms
            found = [self.document(descriptor.digest) for _, descriptor in entries]
            manifests = [manifest for manifest in found if manifest]
        return tuple(config for manifest in manifests for config in self._config(manifest))

    def _config(self, manifest: Content) -> Iterator[Config]:
        what = f"manifest {manifest.descriptor.digest}"
        config = self.document(parse_manifest(manifest, what).config.digest)
        if config:
            yield parse_config(config.raw, f"config {config.descriptor.digest}")

    def unname(self, images: Mapping[str, Digest]) -> None:
        """Takes full names away, each from the image of this digest only; blobs stay.

        Raises:
            BundleError: the folder's index.json is not one.
        """
        with self._file(_INDEX_LOCK) as file, self.reaching():
            self._lock(file, fcntl.LOCK_EX)
            entries = [
                entry
                for entry in self._entries()
                if images.get(_name_of(entry) or "") != entry.get("digest")
            ]
            self._write(entries)

    def _write(self, entries: list[dict[str, Any]]) -> bool:
        """Whether index.json had to change to hold these entries."""
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        raw = json.dumps(index, indent=2).encode() + b"\n"
        return write_if_changed(self.path / "index.json", raw)

    def _entries(self) -> list[dict[str, Any]]:
        path = self.path / "index.json"
        raw = self._read(path)
        if raw is None:
            return []
        try:
            manifests = json_object(raw)["manifests"]
            return [entry for entry in manifests if isinstance(entry, dict)]
        except (ValueError, KeyError, TypeError) as error:
            hint = "move the folder away, or choose another with --layout"
            raise BundleError(f"{path}: not an OCI index: {error}", hint=hint) from error

    def _read(self, path: Path, limit: int = -1) -> bytes | None:
        """The first bytes of a file; None where it is not there."""
        with self.reaching(), suppress(FileNotFoundError), path.open("rb") as file:
            return file.read(limit)
        return None

    def _file(self, name: str) -> IO[str]:
        """A file to lock. It stays: removing it would race."""
        with self.reaching():
            self.path.mkdir(parents=True, exist_ok=True)
            return (self.path / name).open("a")

    def _lock(self, file: IO[str], how: int) -> bool:
        """Whether it is locked now; where that is not to be waited for, another may have it."""
        with self.reaching():
            try:
                fcntl.flock(file, how)
            except BlockingIOError:
                return False
            return True


def _name_of(entry: dict[str, Any]) -> str | None:
    annotations = entry.get("annotations")
    name = annotations.get(IMAGE_NAME) if isinstance(annotations, dict) else None
    return name if isinstance(name, str) else None


def _entry(descriptor: Descriptor, name: str) -> dict[str, Any]:
    return {
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
        "annotations": {**(descriptor.annotations or {}), IMAGE_NAME: name},
    }
