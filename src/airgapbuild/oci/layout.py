"""An OCI image layout on disk, shared by parallel jobs.

Source: OCI image specification v1.1, image-layout.md. Buildx reads such a folder as
`--build-context NAME=oci-layout://DIR@DIGEST`, without a registry.
"""

from __future__ import annotations

import fcntl
import json
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from airgapbuild.errors import BundleError
from airgapbuild.files import replacing, write_if_changed
from airgapbuild.oci.content import (
    MAX_DOCUMENT,
    OCI_INDEX,
    Content,
    Descriptor,
    content,
    media_type_of,
)
from airgapbuild.oci.digest import digest_of, encoded, matches, parse_digest, verified
from airgapbuild.oci.reference import parse_reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.reference import Reference

LAYOUT_FILE: Final = b'{"imageLayoutVersion":"1.0.0"}'
IMAGE_NAME: Final = "io.containerd.image.name"
"""The annotation by which Docker, containerd and BuildKit know an image in an index.json."""

_CHUNK = 1 << 20


class Layout:
    """A folder with `oci-layout`, `index.json` and `blobs/sha256/`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def blob_path(self, digest: Digest) -> Path:
        """Where a blob lies, or would."""
        return self.path / "blobs" / "sha256" / encoded(digest)

    def holds(self, descriptor: Descriptor) -> bool:
        """Whether the blob is here, whole and right; its bytes are read to know."""
        try:
            with self.blob_path(descriptor.digest).open("rb") as file:
                chunks = iter(lambda: file.read(_CHUNK), b"")
                return matches(chunks, descriptor.digest, descriptor.size)
        except FileNotFoundError:
            return False

    def blobs(self) -> Iterator[Descriptor]:
        """The blobs that are here, whole and right, by digest; their bytes are read to know."""
        for path in sorted((self.path / "blobs" / "sha256").glob("*")):
            with suppress(ValueError):
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
        with replacing(self.blob_path(descriptor.digest)) as file:
            for chunk in verified(chunks, descriptor.digest, descriptor.size, what):
                file.write(chunk)

    def name(self, descriptor: Descriptor, names: tuple[str, ...]) -> bool:
        """Enters an image under full names, taking them from whatever had them; whether it had to.

        Raises:
            BundleError: the folder's index.json is not one.
        """
        with self._locked():
            write_if_changed(self.path / "oci-layout", LAYOUT_FILE)
            entries = [entry for entry in self._entries() if _name_of(entry) not in names]
            entries += [_entry(descriptor, name) for name in names]
            entries.sort(key=lambda entry: (_name_of(entry) or "", str(entry.get("digest"))))
            return self._write(entries)

    def images(self) -> dict[Reference, Digest]:
        """The images that are known by name; what others have entered without one is left out.

        Raises:
            BundleError: the folder's index.json is not one.
        """
        images = {}
        for entry in self._entries():
            with suppress(ValueError):
                name = parse_reference(_name_of(entry) or "")
                images[name] = parse_digest(str(entry.get("digest")))
        return images

    def document(self, digest: Digest) -> Content | None:
        """The manifest or index of this digest; None where it is not here, or is something else."""
        try:
            with self.blob_path(digest).open("rb") as file:
                raw = file.read(MAX_DOCUMENT + 1)
        except FileNotFoundError:
            return None
        return content(raw, media_type_of(raw)) if digest_of(raw) == digest else None

    def unname(self, images: Mapping[str, Digest]) -> None:
        """Takes full names away, each from the image of this digest only; blobs stay.

        Raises:
            BundleError: the folder's index.json is not one.
        """
        with self._locked():
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
        try:
            manifests = json.loads(path.read_bytes())["manifests"]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError) as error:
            hint = "move the folder away, or choose another with --layout"
            raise BundleError(f"{path}: not an OCI index: {error}", hint=hint) from error
        return [entry for entry in manifests if isinstance(entry, dict)]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer of index.json at a time. The lock file stays: removing it would race."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".airgapbuild.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _name_of(entry: dict[str, Any]) -> str | None:
    annotations = entry.get("annotations")
    return annotations.get(IMAGE_NAME) if isinstance(annotations, dict) else None


def _entry(descriptor: Descriptor, name: str) -> dict[str, Any]:
    return {
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
        "annotations": {IMAGE_NAME: name},
    }
