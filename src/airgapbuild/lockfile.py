"""airgapbuild.lock: what was decided, as a frozen value.

The lock is all that later steps go by: digests and sizes of each image and platform, and the
builder and buildkitd tables, CAs included. It holds no time, host or path of the machine that made
it, and is written sorted, one key a line, so that the same decision is the same bytes and a review
shows what moved.

Each image carries two digests of its own table: `entry`, of what the manifest asked for, by which a
stale lock is known; and `checksum`, of the table's other keys, by which an edited one is.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from typing import TYPE_CHECKING, Annotated, Any, Final

import tomli_w
from pydantic import Field, NonNegativeInt, ValidationError

from airgapbuild.builder_tables import BuilderEntry, builder_problems
from airgapbuild.buildkitd import LockedBuildkitd
from airgapbuild.document import Many, Table, meaning_of, parse_document, sorted_messages
from airgapbuild.errors import LockError
from airgapbuild.files import write_if_changed
from airgapbuild.local_name import digest_tag, local_name, named_by
from airgapbuild.manifest import (
    DAEMON_ROLES,
    Manifest,
    NameField,
    Role,
    entry_digest,
)
from airgapbuild.oci.content import Descriptor
from airgapbuild.oci.digest import Digest, DigestField
from airgapbuild.oci.platform import PlatformField
from airgapbuild.oci.reference import Reference, ReferenceField, SourceField, TagField

if TYPE_CHECKING:
    from pathlib import Path

    from airgapbuild.document import Document
    from airgapbuild.oci.platform import Platform

FILE_NAME: Final = "airgapbuild.lock"
VERSION: Final = 1

_HEADER = "# What `airgapbuild lock` decided. Do not edit: `export` and `load` go by it.\n\n"
_COMMENT = _HEADER.partition("\n")[0].encode()
_EDITED = "restore it from version control, or delete it and run `airgapbuild lock`"


class LockedPlatform(Table):
    """One platform of a locked image."""

    platform: PlatformField
    manifest: DigestField = Field(description="The platform manifest: what the registry serves.")
    manifest_size: NonNegativeInt = Field(description="Its size in bytes.")
    config: DigestField = Field(description="The config: the image ID in Docker's classic store.")
    layers_size: NonNegativeInt = Field(description="All layers as the registry has them, bytes.")
    attestations: Many[DigestField] = Field(
        default=(), description="The attestation manifests of this platform."
    )


class LockedReferrer(Table):
    """A manifest that refers to a locked one: a signature, an SBOM, an attestation."""

    digest: DigestField
    media_type: str
    artifact_type: str = Field(description="What it is: a signature, an SBOM…")
    size: NonNegativeInt = Field(description="Of the manifest, in bytes.")
    subject: DigestField = Field(description="What it refers to: the index or a manifest.")
    tag: TagField | None = Field(
        default=None, description="What ties it to its subject where it does not say it itself."
    )


class LockedImage(Table):
    """One image, pinned."""

    name: NameField
    ref: SourceField
    role: Role
    daemon: bool = Field(
        default=False, description="Whether a base or frontend image goes to the daemon as well."
    )
    tags: Many[ReferenceField] = ()
    media_type: str = Field(description="Of what the reference pointed at: an index or a manifest.")
    digest: DigestField = Field(description="Its digest: the image ID in the containerd store.")
    size: NonNegativeInt = Field(description="Its size in bytes.")
    entry: DigestField = Field(description="Of what the manifest's entry means.")
    attestations: bool = Field(
        default=True, description="Whether attestations and what refers to it are locked, too."
    )
    platform: Annotated[Many[LockedPlatform], Field(min_length=1)]
    referrer: Many[LockedReferrer] = ()
    checksum: DigestField = Field(description="Of the other keys of this table.")

    @property
    def top(self) -> Descriptor:
        """The descriptor of what the reference pointed at."""
        return Descriptor(media_type=self.media_type, digest=self.digest, size=self.size)

    @property
    def tagged(self) -> tuple[Reference, ...]:
        """The names that the manifest gives the image; none for a reference without a tag."""
        plain = [ref for ref in (self.ref, *self.tags) if ref.is_name]
        names = [Reference(ref.registry, ref.repository, ref.tag) for ref in plain]
        return tuple(dict.fromkeys(names))

    @property
    def names(self) -> tuple[Reference, ...]:
        """The names that the image gets where it is loaded, its builder name last.

        A reference without a tag gives none: the stores of Docker name images by tags.
        """
        builder = [self.builder_name] if self.is_builder else []
        return tuple(dict.fromkeys([*self.tagged, *builder]))

    @property
    def layout_names(self) -> tuple[Reference, ...]:
        """The names that the layout knows it by: its reference where it has no other."""
        return self.names or (self.ref,)

    @property
    def registry_names(self) -> tuple[Reference, ...]:
        """The names that a registry knows it by: its digest alone where it has no tag."""
        return self.tagged or (self.ref.with_digest(self.digest),)

    @property
    def is_builder(self) -> bool:
        """Whether a buildx builder runs this image."""
        return self.role == "builder"

    @property
    def for_daemon(self) -> bool:
        """Whether it goes to the daemon, in the daemon's own platform."""
        return self.daemon or self.role in DAEMON_ROLES

    @property
    def for_layout(self) -> bool:
        """Whether it goes to the layout, in all platforms."""
        return self.role not in DAEMON_ROLES

    @property
    def places(self) -> tuple[str, ...]:
        """Where it goes: `daemon`, `layout` or both."""
        return (*(("daemon",) * self.for_daemon), *(("layout",) * self.for_layout))

    @property
    def version_tag(self) -> str:
        """The reference's tag; the digest's first digits where it has none."""
        return self.ref.tag or digest_tag(self.digest)

    @property
    def builder_name(self) -> Reference:
        """The name by which buildx starts it without asking a registry that could answer."""
        return local_name(named_by(self.ref, self.tags), self.version_tag)

    def on(self, platform: Platform) -> LockedPlatform | None:
        """The locked platform, None where the image was not locked for it."""
        return next((entry for entry in self.platform if entry.platform == platform), None)

    def referrers_of(self, locked: LockedPlatform) -> tuple[LockedReferrer, ...]:
        """What refers to a platform's manifest or to the index, which every platform needs."""
        subjects = (self.digest, locked.manifest)
        return tuple(entry for entry in self.referrer if entry.subject in subjects)

    def seal(self) -> LockedImage:
        """The same image with its checksum."""
        return self.model_copy(update={"checksum": _checksum(self)})


class Lock(Table):
    """The whole of airgapbuild.lock."""

    version: Annotated[int, Field(ge=VERSION, le=VERSION)]
    name: NameField
    image: Annotated[Many[LockedImage], Field(min_length=1)]
    builder: BuilderEntry | None = None
    buildkitd: LockedBuildkitd = Field(default_factory=LockedBuildkitd)

    def find(self, name: str) -> LockedImage | None:
        """The image of this name."""
        return next((image for image in self.image if image.name == name), None)

    @property
    def builder_image(self) -> LockedImage | None:
        """The image that the builder runs, None where none of these is."""
        return self.find(self.builder.image) if self.builder and self.builder.image else None


def render_lock(lock: Lock) -> bytes:
    """The bytes of airgapbuild.lock: the same for the same lock, everywhere."""
    tables = lock.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    tables["image"] = sorted(tables["image"], key=lambda image: str(image["name"]))
    for image in tables["image"]:
        image["tags"] = sorted(image.get("tags", []))
        image["platform"] = sorted(image["platform"], key=lambda entry: str(entry["platform"]))
        if referrers := image.get("referrer"):
            image["referrer"] = sorted(referrers, key=lambda it: (it["subject"], it["digest"]))
    # TOML's readers make a line feed of a CR LF that is written as it is.
    in_lines = "\\r\\n" not in json.dumps(tables)
    return (_HEADER + tomli_w.dumps(_in_order(tables), multiline_strings=in_lines)).encode()


def write_lock(path: Path, lock: Lock) -> bool:
    """Whether the file had to change to hold this lock; the old one stays until the new is whole.

    Raises:
        LockError: the folder cannot be written.
    """
    try:
        return write_if_changed(path, render_lock(lock))
    except OSError as error:
        raise LockError(f"{path}: {error.strerror}") from error


def read_lock(path: Path, *, own: bool = False) -> Lock:
    """The lock in a file; a manifest's `own`, which is a lock whatever it looks like.

    Raises:
        LockError: it is missing, no lock, of a newer version, or was edited.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        hint = f"`airgapbuild lock --file MANIFEST` writes {path}"
        if str(path) == FILE_NAME:
            hint = "`airgapbuild lock` writes it from airgapbuild.toml"
        raise LockError(f"{path}: there is no such file", hint=hint) from error
    except IsADirectoryError as error:
        hint = f"give {path / FILE_NAME}"
        raise LockError(f"{path}: {error.strerror}", hint=hint) from error
    except OSError as error:
        raise LockError(f"{path}: {error.strerror}") from error
    return parse_lock(raw, str(path), own=own)


def parse_lock(raw: bytes, name: str, *, own: bool = False) -> Lock:
    """The lock in these bytes.

    Raises:
        LockError: see `read_lock`.
    """
    is_lock = own or raw.removeprefix(BOM_UTF8).startswith(_COMMENT)
    try:
        document = parse_document(raw, name)
    except ValueError as error:
        raise _unreadable(name, str(error), is_lock=is_lock) from error
    _check_version(document)
    try:
        lock = document.parse(Lock)
    except ValidationError as error:
        found = sorted_messages(document.problems_of(error, Lock))
        raise _unreadable(name, *found, is_lock=is_lock) from error
    problems = [
        document.problem(("image", n), f"{image.name} was edited: its checksum does not match")
        for n, image in enumerate(lock.image)
        if image.checksum != _checksum(image)
    ]
    problems += builder_problems(document)
    problems += _name_problems(document, lock)
    if lock.builder and lock.builder.image and lock.builder_image is None:
        problems.append(document.problem(("builder", "image"), "is not locked"))
    if problems:
        raise LockError(*sorted_messages(problems), hint=_EDITED)
    return lock


def _name_problems(document: Document, lock: Lock) -> list[tuple[int, str]]:
    """Two images that would take one name from each other in the daemon or the layout."""
    owners: dict[Reference, LockedImage] = {}
    return [
        document.problem(
            ("image", n), f"{image.name} would take the name {name} from {owners[name].name}"
        )
        for n, image in enumerate(lock.image)
        for name in image.layout_names
        if owners.setdefault(name, image) is not image
    ]


def stale_reasons(manifest: Manifest, lock: Lock) -> tuple[str, ...]:
    """What the manifest asks for that the lock does not answer; none: the lock is fresh."""
    reasons = []
    if manifest.name != lock.name:
        reasons.append(f"name: '{lock.name}' is locked, '{manifest.name}' is wanted")
    for name, entry in sorted(manifest.images.items()):
        image = lock.find(name)
        platforms = manifest.platforms_of(entry)
        if image is None:
            reasons.append(f"images.{name}: is not locked")
        elif image.entry != entry_digest(entry, platforms, manifest.bundle):
            reasons += _image_reasons(name, image, manifest)
    reasons += [
        f"images.{image.name}: is locked, but no longer in the manifest"
        for image in lock.image
        if image.name not in manifest.images
    ]
    wanted = {"builder": manifest.builder, "buildkitd": manifest.buildkitd.locked}
    reasons += [
        f"{table}: has changed" for table, value in wanted.items() if value != getattr(lock, table)
    ]
    return tuple(reasons)


def require_fresh(manifest: Manifest, lock: Lock, path: Path) -> None:
    """Returns only if the lock answers the manifest.

    Raises:
        LockError: it does not; one line for each reason.
    """
    if reasons := stale_reasons(manifest, lock):
        option = "" if str(path) == FILE_NAME else ", with the same --file,"
        hint = f"`airgapbuild lock`{option} brings it up to date"
        raise LockError(*(f"{path}: stale: {reason}" for reason in reasons), hint=hint)


def _image_reasons(name: str, image: LockedImage, manifest: Manifest) -> list[str]:
    entry = manifest.images[name]
    aspects: dict[str, tuple[object, object]] = {
        "ref": (image.ref.familiar, entry.ref.familiar),
        "role": (image.role, entry.purpose),
        "daemon": (_toml(image.daemon), _toml(entry.daemon)),
        "tags": (_list(tag.familiar for tag in image.tags), _list(t.familiar for t in entry.tags)),
        "platforms": (
            _list(str(locked.platform) for locked in image.platform),
            _list(str(platform) for platform in manifest.platforms_of(entry)),
        ),
        "attestations": (_toml(image.attestations), _toml(manifest.bundle.attestations)),
    }
    return [
        f"images.{name}: {aspect}: '{locked}' is locked, '{wanted}' is wanted"
        for aspect, (locked, wanted) in aspects.items()
        if locked != wanted
    ]


def _toml(value: bool) -> str:
    return str(value).lower()


def _list(items: Any) -> str:  # noqa: ANN401 - any iterable of strings
    return ", ".join(sorted(items))


def _unreadable(name: str, *problems: str, is_lock: bool) -> LockError:
    """Of a lock, its problems; of any other file, such as a manifest, that it is none."""
    if is_lock:
        return LockError(*problems, hint=_EDITED)
    hint = f"give a bundle's folder or its {FILE_NAME}"
    return LockError(f"{name}: is no {FILE_NAME}", hint=hint)


def _check_version(document: Document) -> None:
    version = document.values.get("version")
    if isinstance(version, int) and version > VERSION:
        raise LockError(
            f"{document.place(('version',))}: {version} is newer than this airgapbuild reads "
            f"({VERSION})",
            hint="upgrade airgapbuild: pip install --upgrade airgapbuild",
        )


def _checksum(image: LockedImage) -> Digest:
    """Of what stands in the table: a key that a later version brings does not change it."""
    stated = image.model_dump(
        mode="json", by_alias=True, exclude_defaults=True, exclude={"checksum"}
    )
    return meaning_of(stated)


def _in_order(value: Any) -> Any:  # noqa: ANN401 - the values of a TOML document
    """The value with sorted keys: what names a table first, then the plain, then tables."""
    if isinstance(value, list):
        return [_in_order(item) for item in value]
    if not isinstance(value, dict):
        return value
    first = {"version": 0, "name": 1, "platform": 1, "ref": 2, "role": 3, "daemon": 4, "tags": 5}
    keys = sorted(value, key=lambda key: (_is_table(value[key]), first.get(key, 9), key))
    return {key: _in_order(value[key]) for key in keys}


def _is_table(value: object) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and isinstance(value[0], dict)
    )
