"""What of a layout its index.json leads to, and the rest of it removed.

What refers to something that is kept is kept as well: signatures, SBOMs, and the documents from
which an image with raw layers is derived.

Source: OCI image specification v1.1, image-layout.md and manifest.md ("subject").
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from airgapbuild.files import mode_of
from airgapbuild.oci.content import INDEX_TYPES, MANIFEST_TYPES, MAX_DOCUMENT, json_object
from airgapbuild.oci.derived import DERIVED_FROM
from airgapbuild.oci.digest import Digest, parse_digest
from airgapbuild.progress import SILENT, Progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from airgapbuild.oci.layout import Layout

_DOCUMENTS: Final = INDEX_TYPES | MANIFEST_TYPES
_LISTS: Final = ("manifests", "layers", "blobs")
_PARTS: Final = ".*.part"
"""Files under construction, as `files.replacing` names them; a killed run leaves some."""


@dataclass(frozen=True)
class Unused:
    """A file that nobody needs."""

    path: Path
    size: int
    """In bytes."""


def reachable(layout: Layout, roots: Iterable[Digest]) -> frozenset[Digest]:
    """The digests that documents lead to from these on, whether the blobs are there or not."""
    found: set[Digest] = set()
    waiting = [(digest, True) for digest in roots]
    while waiting:
        digest, is_document = waiting.pop()
        if digest not in found:
            found.add(digest)
            waiting += _leads_to(_parsed(layout, digest)) if is_document else ()
    return frozenset(found)


def held(layout: Layout) -> dict[Digest, int]:
    """The size in bytes of each blob that is there; no byte of them is read."""
    found = {}
    with layout.reaching():
        for path in sorted((layout.path / "blobs" / "sha256").glob("*")):
            with suppress(ValueError, FileNotFoundError):
                found[parse_digest(f"sha256:{path.name}")] = path.stat().st_size
    return found


def subjects(layout: Layout, sizes: Mapping[Digest, int]) -> dict[Digest, Digest]:
    """What those of these blobs refer to that are documents with a subject, by their own digests.

    `sizes` are as `held` gives them: what is too large for a document is not read.
    """
    small = [digest for digest, size in sizes.items() if size <= MAX_DOCUMENT]
    found = {digest: _digest(_parsed(layout, digest).get("subject")) for digest in small}
    return {digest: subject for digest, subject in found.items() if subject}


def garbage(layout: Layout) -> tuple[Unused, ...]:
    """What nothing in index.json leads to, and what killed runs left.

    While a load is running, it may have put there what it has not named yet.

    Raises:
        BundleError: the layout's index.json is not one.
    """
    sizes = held(layout)
    kept = _with_referrers(layout, reachable(layout, layout.roots()), sizes)
    unused = [
        Unused(layout.blob_path(digest), size)
        for digest, size in sizes.items()
        if digest not in kept
    ]
    with layout.reaching():
        for folder in (layout.path, layout.path / "blobs" / "sha256"):
            for path in sorted(folder.glob(_PARTS)):
                with suppress(FileNotFoundError):
                    unused.append(Unused(path, path.stat().st_size))
    return tuple(unused)


def prune(layout: Layout, *, progress: Progress = SILENT) -> tuple[Unused, ...]:
    """Removes what is garbage while no load is running; what it was.

    It waits for loads that are running, and they for it.

    Raises:
        BundleError: the layout's index.json is not one.
    """
    if mode_of(layout.path) is None:
        return ()
    with layout.sweeping(lambda: progress.note(f"{layout.path}: waiting until a load is done")):
        unused = garbage(layout)
        with layout.reaching():
            for file in unused:
                file.path.unlink(missing_ok=True)
        return unused


def _with_referrers(
    layout: Layout, kept: frozenset[Digest], sizes: dict[Digest, int]
) -> frozenset[Digest]:
    """The same, with what refers to any of it, and what that leads to."""
    found = subjects(layout, {it: size for it, size in sizes.items() if it not in kept})
    while more := [digest for digest, subject in found.items() if subject in kept]:
        kept |= reachable(layout, more)
        found = {digest: it for digest, it in found.items() if digest not in kept}
    return kept


def _parsed(layout: Layout, digest: Digest) -> dict[str, Any]:
    """The document of this digest; an empty one where it is not there, or is none."""
    document = layout.document(digest)
    try:
        return json_object(document.raw) if document else {}
    except ValueError:
        return {}


def _leads_to(document: dict[str, Any]) -> Iterator[tuple[Digest, bool]]:
    """What a document names, and whether that may name more."""
    lists = [document.get(key) for key in _LISTS]
    entries = [it for each in lists if isinstance(each, list) for it in each]
    for entry in (*entries, document.get("config")):
        if digest := _digest(entry):
            media_type = entry.get("mediaType")
            yield digest, isinstance(media_type, str) and media_type in _DOCUMENTS
    annotations = document.get("annotations")
    if isinstance(annotations, dict) and (
        digest := _digest({"digest": annotations.get(DERIVED_FROM)})
    ):
        yield digest, True


def _digest(descriptor: Any) -> Digest | None:  # noqa: ANN401 - what a document has there
    try:
        return parse_digest(descriptor["digest"])
    except (KeyError, TypeError, ValueError):
        return None
