"""bundle.json: what a bundle holds, and where in its tarballs each blob lies."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeInt,
    ValidationError,
    model_validator,
)

from airgapbuild.document import Many, Table
from airgapbuild.errors import BundleError
from airgapbuild.manifest import LevelField, NameField
from airgapbuild.oci.content import json_object
from airgapbuild.oci.digest import Digest, DigestField
from airgapbuild.oci.field import SizeField
from airgapbuild.oci.platform import PlatformField

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

    from airgapbuild.lockfile import LockedImage
    from airgapbuild.oci.content import Descriptor
    from airgapbuild.oci.platform import Platform

INDEX_FILE: Final = "bundle.json"
SUMS_FILE: Final = "SHA256SUMS"
SIGNATURE_FILE: Final = "SHA256SUMS.sig"
BUILDKITD_FILE: Final = "buildkitd.toml"
BUILDER_FILE: Final = "builder.json"
INSTALL_FILE: Final = "install.sh"
TOOL_FILE: Final = "airgapbuild.pyz"
VERSION: Final = 1
FETCH_AGAIN: Final = "bring this file over again"
"""The hint for a file that is not what the bundle says of it."""

_PARTIAL = ".part"
_PART = re.compile(r"\.[0-9]{3}\Z", re.ASCII)
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_SUM_LINE = re.compile(r"([0-9a-f]{64})  (\S+)", re.ASCII)


def _file_name(text: str) -> str:
    if not _FILE_NAME.fullmatch(text):
        raise ValueError(f"'{text[:100]}' is no file name of a bundle")
    return text


class _Blob(Table):
    digest: DigestField
    size: SizeField = Field(description="Of the blob, in bytes.")


class BundledBlob(_Blob):
    """One blob of a tarball: which bytes of the file hold the frames that it is in."""

    offset: SizeField = Field(description="Of its first frame in the file, in bytes.")
    length: SizeField = Field(description="Of all its frames, in bytes.")
    start: Annotated[SizeField, Field(gt=0)] | None = Field(
        default=None,
        description="Where in what they decode to the blob begins, if it is not alone in them.",
    )
    reference: DigestField | None = Field(
        default=None,
        description="Of an older layer's raw tar, if the frames hold what differs from that.",
    )


class RequiredBlob(_Blob):
    """A blob of a tarball's image that is not in the tarball: the receiver holds it already."""

    diff_id: DigestField | None = Field(
        default=None, description="Of a layer: the digest of its raw tar, as a daemon names it."
    )


class OlderBlob(_Blob):
    """The raw tar of an older layer, by which a tarball's layer is told."""


class Base(Table):
    """What a differential bundle was made against."""

    name: NameField | None = Field(
        default=None, description="Of the bundle or lock; none for an inventory."
    )
    digest: DigestField = Field(description="Of its airgapbuild.lock, or of the inventory.")


class BundledPart(Table):
    """One part of a file that was split; it lies in the folder under this name."""

    name: str
    size: Annotated[SizeField, Field(gt=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class BundledFile(Table):
    """One file of the bundle; a tarball says whose it is and what is in it."""

    name: Annotated[str, AfterValidator(_file_name)]
    size: SizeField
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    parts: Many[BundledPart] = Field(
        default=(), description="Where it was split: the files that, one after another, are it."
    )
    image: NameField | None = None
    platform: PlatformField | None = None
    blobs: Many[BundledBlob] = ()
    requires: Many[RequiredBlob] = Field(
        default=(), description="What its image needs besides, in the image's order."
    )
    references: Many[OlderBlob] = Field(
        default=(), description="Older layers, without which some of its layers cannot be read."
    )

    @model_validator(mode="after")
    def _parts_are_the_file(self) -> Self:
        """What else is told of the parts follows from their names and sizes."""
        names = [part.name for part in self.parts]
        if names != [part_name(self.name, number) for number in range(1, len(names) + 1)]:
            raise ValueError(f"the parts of {self.name} are not numbered from 001 on")
        if names and (len(names) == 1 or sum(part.size for part in self.parts) != self.size):
            raise ValueError(f"the parts of {self.name} are not as long as the whole")
        return self

    @property
    def stored(self) -> tuple[BundledPart | BundledFile, ...]:
        """What lies in the folder of it: its parts in order, or the file itself."""
        return self.parts or (self,)


class BundleIndex(Table):
    """The whole of bundle.json."""

    version: Annotated[int, Field(ge=VERSION, le=VERSION)]
    name: NameField
    serial: NonNegativeInt | None = Field(
        default=None, description="Grows from bundle to bundle, so that an older one is known."
    )
    layers: Literal["compact"] | None = Field(
        default=None, description="compact: raw layers, under one compression for each tarball."
    )
    level: LevelField | None = Field(
        default=None, description="Of zstd, at which a compact bundle's layers are compressed."
    )
    lock: DigestField = Field(description="Of airgapbuild.lock.")
    against: Many[Base] = Field(
        default=(), description="Of a differential bundle: what its receiver holds already."
    )
    files: Many[BundledFile] = Field(
        description="Every file but bundle.json, SHA256SUMS and its signature."
    )

    def file(self, name: str) -> BundledFile | None:
        """The file of this name."""
        return next((file for file in self.files if file.name == name), None)

    def tarball(self, image: str, platform: Platform) -> BundledFile | None:
        """The tarball of an image's platform."""
        found = (f for f in self.files if f.image == image and f.platform == platform)
        return next(found, None)


def tarball_name(image: LockedImage, platform: Platform) -> str:
    """The file name of an image's platform: `buildkit_v0.34.2_linux-amd64.oci.tar.zst`."""
    return f"{image.name}_{image.version_tag}_{platform.slug}.oci.tar.zst"


def beyond(requires: Iterable[RequiredBlob]) -> Callable[[Descriptor], bool]:
    """Tells of a blob whether it travels where these do not."""
    left_out = {blob.digest for blob in requires}
    return lambda blob: blob.digest not in left_out


def partial_name(name: str) -> str:
    """Where a file lies while it is made."""
    return f".{name}{_PARTIAL}"


def part_name(name: str, number: int) -> str:
    """The name of a file's part, counted from 1: `x.001`."""
    return f"{name}.{number:03}"


def whole_name(name: str) -> str:
    """The name of the file that a part of this name is of; of what is no part, the same."""
    return _PART.sub("", name)


def under_construction(name: str) -> str:
    """Where a file or a part lies while it is made; a first part where the whole would."""
    whole = whole_name(name)
    return partial_name(whole if name == part_name(whole, 1) else name)


def constructed(name: str) -> str:
    """The file that is made where a partial file of this name lies, or that a part is of."""
    return whole_name(name.removeprefix(".").removesuffix(_PARTIAL) if is_partial(name) else name)


def is_partial(name: str) -> bool:
    """Whether this is a file that was not made to its end."""
    return name.startswith(".") and name.endswith(_PARTIAL)


def render_index(index: BundleIndex) -> bytes:
    """The bytes of bundle.json."""
    document = index.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return json.dumps(document, indent=1).encode() + b"\n"


def parse_bundle_index(raw: bytes, what: str) -> BundleIndex:
    """The bundle.json in these bytes.

    Raises:
        BundleError: they are none, or of a newer version.
    """
    try:
        document = json_object(raw)
    except ValueError as error:
        raise BundleError(f"{what}: {error}") from error
    version = document.get("version")
    if isinstance(version, int) and version > VERSION:
        raise BundleError(
            f"{what}: version {version} is newer than this airgapbuild reads ({VERSION})",
            hint="load it with the airgapbuild that wrote it, or a newer one",
        )
    try:
        return BundleIndex.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{what}: {place}: {first['msg']}") from error


def render_sums(sums: dict[str, str]) -> bytes:
    """SHA256SUMS as `sha256sum -c` reads it, from file names and hexadecimal digests."""
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()


def parse_sums(raw: bytes, what: str) -> dict[str, str]:
    """File names and their hexadecimal digests.

    Raises:
        BundleError: a line is not `digest  name`, or a name comes twice or leads elsewhere.
    """
    sums: dict[str, str] = {}
    # Not splitlines(): for sha256sum only a line feed ends a line, and it is one bit from others.
    *lines, rest = raw.decode("ascii", "replace").split("\n")
    if rest:
        raise BundleError(f"{what}:{len(lines) + 1}: the line has no end")
    for number, line in enumerate(lines, 1):
        match = _SUM_LINE.fullmatch(line)
        if not match or not _FILE_NAME.fullmatch(match[2]) or match[2] in sums:
            raise BundleError(f"{what}:{number}: not a line of sha256sum, or a name twice")
        sums[match[2]] = match[1]
    return sums


def sha256_of(digest: Digest) -> str:
    """The bare digits, as in SHA256SUMS."""
    return digest.removeprefix("sha256:")
