"""Images in an OCI layout on disk, as a source: what was built here and lies in no registry.

Source: OCI image specification v1.1, image-layout.md. Buildx (`--output type=oci,tar=false`),
skopeo (`oci:`), oras and `docker save` write such layouts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airgapbuild.errors import BundleError, IntegrityError
from airgapbuild.oci.content import (
    MANIFEST_TYPES,
    MAX_DOCUMENT,
    Content,
    Descriptor,
    content,
    media_type_of,
    parse_layout_index,
    parse_manifest,
    parse_referrers,
)
from airgapbuild.oci.digest import digest_of, verified
from airgapbuild.oci.layout import IMAGE_NAME, Layout
from airgapbuild.oci.referrers import fallback_tag

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.reference import Reference

_REF_NAME: Final = "org.opencontainers.image.ref.name"
_READ: Final = 1 << 20


class LayoutSource:
    """Gives what a layout on disk holds. Of a reference only tag and digest count here."""

    def __init__(self, folder: Path) -> None:
        self._layout = Layout(folder)

    def manifest(self, reference: Reference) -> Content:
        """The manifest or index at this tag or digest; without both, the only one that there is.

        Raises:
            BundleError: the folder is no layout, or does not hold it.
            IntegrityError: what lies there is not of its digest.
        """
        digest = reference.digest or self._chosen(reference)
        found = self._read(digest)
        if found is None:
            raise BundleError(f"{reference.familiar}: {digest} is not there")
        return found

    def blob(self, reference: Reference, descriptor: Descriptor) -> Iterator[bytes]:
        """The chunks of a blob, verified while they are read.

        Raises:
            BundleError: the folder does not hold it.
            IntegrityError: the bytes are not those of the descriptor.
        """
        what = f"{reference.familiar}: {descriptor.digest}"
        # One byte more than there should be would show.
        chunks = self.part(reference, descriptor, 0, descriptor.size + 1)
        return verified(chunks, descriptor.digest, descriptor.size, what)

    def part(
        self, reference: Reference, descriptor: Descriptor, start: int, stop: int
    ) -> Iterator[bytes]:
        """The bytes of a blob from `start` to `stop`, not verified.

        Raises:
            BundleError: the folder does not hold it.
        """
        try:
            with self._layout.blob_path(descriptor.digest).open("rb") as file:
                file.seek(start)
                while start < stop and (chunk := file.read(min(_READ, stop - start))):
                    start += len(chunk)
                    yield chunk
        except OSError as error:
            what = f"{reference.familiar}: {descriptor.digest}"
            raise BundleError(f"{what}: {error.strerror}") from error

    def referrers(self, reference: Reference, digest: Digest) -> tuple[Descriptor, ...]:
        """What index.json lists, itself or by the fallback tag, as referring to this digest.

        Raises:
            BundleError, IntegrityError: see `manifest`.
        """
        tag = fallback_tag(digest)
        if tagged := self.find(reference.with_tag(tag)):
            return parse_referrers(tagged, f"{reference.familiar}: {tag}")
        listed = {it.digest for it in self._entries() if it.media_type in MANIFEST_TYPES}
        documents = filter(None, map(self._read, sorted(listed)))
        return tuple(
            document.descriptor
            for document in documents
            if parse_manifest(document, reference.familiar).subject == digest
        )

    def find(self, reference: Reference) -> Content | None:
        """As `manifest`, None where there is no such tag or digest.

        Raises:
            BundleError, IntegrityError: see `manifest`.
        """
        if reference.digest:
            return self._read(reference.digest)
        tagged = (it.digest for it in self._entries() if _tag_of(it) == reference.tag)
        digest = next(tagged, None)
        return self._read(digest) if digest else None

    def _chosen(self, reference: Reference) -> Digest:
        """What the tag means; without one, the only tagged image or else the only image."""
        entries = self._entries()
        tagged = {entry.digest for entry in entries if _tag_of(entry)}
        fitting = {it.digest for it in entries if _tag_of(it) == reference.tag}
        if reference.tag is None:
            fitting = tagged or fitting
        if len(fitting) == 1:
            return fitting.pop()
        tags = ", ".join(sorted({tag for entry in entries if (tag := _tag_of(entry))})) or "none"
        count = f"{len(fitting)} images" if fitting else "no image"
        raise BundleError(
            f"{reference.familiar}: the layout has {count} of this name; its tags: {tags}",
            hint="write oci-layout:FOLDER:TAG or oci-layout:FOLDER@sha256:…",
        )

    def _entries(self) -> tuple[Descriptor, ...]:
        path = self._layout.path / "index.json"
        try:
            with path.open("rb") as file:
                return parse_layout_index(file.read(MAX_DOCUMENT), str(path))
        except OSError as error:
            hint = "an OCI layout is a folder with index.json and blobs/ in it"
            raise BundleError(f"{path}: {error.strerror}", hint=hint) from error
        except IntegrityError as error:
            raise BundleError(error.message) from error

    def _read(self, digest: Digest) -> Content | None:
        """The manifest or index of this digest, None where it is not here."""
        path = self._layout.blob_path(digest)
        try:
            with path.open("rb") as file:
                raw = file.read(MAX_DOCUMENT + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BundleError(f"{path}: {error.strerror}") from error
        if len(raw) > MAX_DOCUMENT:
            raise BundleError(f"{path}: too large for a manifest")
        if (got := digest_of(raw)) != digest:
            raise IntegrityError(f"{path}: expected {digest}, got {got}")
        return content(raw, media_type_of(raw))


def _tag_of(entry: Descriptor) -> str | None:
    """The tag that an index.json gives an entry, by the specification's name or containerd's."""
    notes = entry.annotations or {}
    name = notes.get(_REF_NAME) or notes.get(IMAGE_NAME)
    return name.rpartition(":")[2] if name else None
