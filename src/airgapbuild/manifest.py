"""airgapbuild.toml: what the user asks for, as a frozen value.

A `Manifest` in hand is sound: every reference parses, the builder's image is declared, no two
images claim one name. All problems of a file are reported at once, each with its line.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeInt,
    Strict,
    ValidationError,
    ValidationInfo,
)

from airgapbuild.builder_tables import BuilderEntry, builder_problems
from airgapbuild.buildkitd import Buildkitd, mirror
from airgapbuild.buildkitd.checks import buildkitd_problems
from airgapbuild.buildkitd.since import release_of
from airgapbuild.document import (
    Document,
    Many,
    Table,
    meaning_of,
    parse_document,
    sorted_messages,
)
from airgapbuild.errors import ManifestError, UsageError
from airgapbuild.files import expanded, is_file
from airgapbuild.local_name import digest_tag, local_name, named_by
from airgapbuild.oci.platform import Platform, PlatformField
from airgapbuild.oci.reference import (
    Reference,
    ReferenceField,
    SourceField,
    parse_prefix,
    parse_source,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airgapbuild.buildkitd.since import Release
    from airgapbuild.oci.digest import Digest

Role: TypeAlias = Literal["builder", "binfmt", "frontend", "base", "tool"]
"""What an image is for: `builder`, `binfmt` and `tool` go to the daemon, `frontend` and `base` to
an OCI layout on disk, where builds find them."""

DAEMON_ROLES: Final[tuple[Role, ...]] = ("builder", "binfmt", "tool")
"""Images of these roles go to the daemon, the others to the layout."""

_KNOWN_ROLES: Final[dict[str, Role]] = {
    "moby/buildkit": "builder",
    "tonistiigi/binfmt": "binfmt",
    "docker/dockerfile": "frontend",
    "docker/dockerfile-upstream": "frontend",
}

Layers: TypeAlias = Literal["exact", "compact"]
"""exact: as the registry has them. compact: raw, under one compression."""

HIGHEST_LEVEL: Final = 19
"""Of zstd. Beyond it memory grows to gigabytes, and next to nothing is gained."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,15})(KiB|MiB|GiB|KB|MB|GB)?", re.ASCII)
_UNITS = {
    None: 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
}
LEAST_PART_SIZE: Final = 1 << 20
"""In bytes. A typing error shall not make a thousand files."""


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"'{text}' is no name here: lower-case letters, digits and hyphens")
    return text


def parse_part_size(text: object) -> int:
    """The bytes that `1900MiB`, `100MB` or a plain number are.

    Raises:
        ValueError: it is no size, or less than a MiB.
    """
    found = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if type(text) is int:
        size = text
    elif found:
        size = int(found[1]) * _UNITS[found[2]]
    else:
        raise ValueError(f"{text!r} is no size: write 1900MiB, 100MB (KiB, GiB, KB, GB) or bytes")
    if size < LEAST_PART_SIZE:
        raise ValueError(f"{text!r} is less than 1MiB, the least for a part")
    return size


def _tag(reference: Reference) -> Reference:
    if reference.digest:
        raise ValueError(f"'{reference.familiar}' must be repository:tag, without a digest")
    return reference


def _absolute(path: Path, info: ValidationInfo) -> Path:
    folder: Path = (info.context or {}).get("folder", Path())
    path = (folder / expanded(path)).absolute()
    try:
        if is_file(path):
            return path
    except UsageError as error:
        raise ValueError(error.message) from error
    raise ValueError(f"there is no file '{path}'")


def usual_role(names: Iterable[Reference]) -> Role:
    """What an image of these names is for, where nobody says it; the first name decides.

    Only the last two parts of its repository count: a mirror has `corp/moby/buildkit`.
    """
    repository = next((name.repository for name in names if name.registry), "")
    return _KNOWN_ROLES.get("/".join(repository.split("/")[-2:]), "base")


NameField = Annotated[str, AfterValidator(_name)]
LevelField = Annotated[int, Field(ge=1, le=HIGHEST_LEVEL)]
PathField = Annotated[Path, Strict(strict=False), AfterValidator(_absolute)]


class ImageEntry(Table):
    """One image that the bundle is to hold."""

    ref: SourceField = Field(
        description="The image: repository:tag, or with @sha256:…; oci-layout:FOLDER[:TAG] or "
        "docker-daemon:NAME where it lies in no registry."
    )
    role: Role | None = Field(
        default=None,
        description="What it is for: builder, binfmt, frontend, base or tool. Left out, it follows "
        "from the repository's name: moby/buildkit is a builder, tonistiigi/binfmt is binfmt, "
        "docker/dockerfile and docker/dockerfile-upstream are frontends, all others are bases.",
    )
    daemon: bool = Field(
        default=False,
        description="Whether a base or frontend image goes to the daemon as well.",
    )
    tags: Many[Annotated[ReferenceField, AfterValidator(_tag)]] = Field(
        default=(), description="More names that it gets on load."
    )
    platforms: Annotated[Many[PlatformField] | None, Field(min_length=1)] = Field(
        default=None, description="Its platforms, where they differ from the manifest's."
    )

    @property
    def purpose(self) -> Role:
        """Its role, stated or not."""
        return self.role or usual_role((self.ref, *self.tags))


_VARIABLE = re.compile(r"\$(?:(?P<name>\w+)|\{(?P<braced>\w+)\})(?P<path>/.*)?", re.ASCII)


def mirror_in(text: str, environ: Mapping[str, str]) -> str | None:
    """A mirror as the environment has it: `$NAME` or `${NAME}` put in; None where it is not set.

    Raises:
        ValueError: what it comes to is no mirror.
    """
    found = _VARIABLE.fullmatch(text)
    if not found:
        return mirror(text)
    name = found["name"] or found["braced"]
    value = environ.get(name)
    if not value:
        return None
    try:
        return mirror(value.rstrip("/") + (found["path"] or ""))
    except ValueError:
        # What it says may hold a login, which would be seen in the job's log.
        message = f"${name} is no host[:port][/path], without a scheme and without a login"
        raise ValueError(message) from None


def _mirror(text: str) -> str:
    return text if _VARIABLE.fullmatch(text) else mirror(text)


class RegistrySettings(Table):
    """How one registry, or a part of it, is reached from the connected side."""

    mirrors: Many[Annotated[str, AfterValidator(_mirror)]] = Field(
        default=(),
        description="Asked first, in this order: host[:port][/path], in place of the table's key; "
        "or $NAME[/path], a variable that says it, left out where it is not set.",
    )
    upstream: bool = Field(default=True, description="Whether the registry itself is asked, last.")
    http: bool = Field(default=False, description="Plain http; loopback hosts need not say it.")
    insecure: bool = Field(default=False, description="https without checking the certificate.")
    ca: PathField | None = Field(default=None, description="A PEM file of CAs to trust for it.")
    cert: PathField | None = Field(default=None, description="A PEM client certificate.")
    key: PathField | None = Field(default=None, description="The client certificate's key.")


class BundleEntry(Table):
    """What the bundle is to hold beside the images, and how it is packed."""

    attestations: bool = Field(
        default=True,
        description="Whether attestations, signatures and SBOMs of the images come along.",
    )
    layers: Layers = Field(
        default="exact",
        description="exact: the registry's bytes, all digests survive. compact: raw, under one "
        "compression; much smaller, but the containerd store knows the image by another digest.",
    )
    level: LevelField | None = Field(
        default=None, description="Of zstd, for compact layers: 1 (fast) to 19 (small)."
    )
    part_size: Annotated[
        int | None,
        BeforeValidator(parse_part_size, json_schema_input_type=int | str),
    ] = Field(
        default=None,
        description="Larger tarballs come in parts of this size: 1900MiB, 100MB, or bytes.",
    )


class PolicyEntry(Table):
    """What is demanded of a bundle where it is taken over; nothing of it goes into one."""

    allowed_signers: PathField | None = Field(
        default=None,
        description="Who may have signed it: a file as ssh-keygen(1) has it under ALLOWED SIGNERS.",
    )
    min_serial: NonNegativeInt | None = Field(
        default=None, description="The lowest serial that is not too old."
    )


class Manifest(Table):
    """The whole of airgapbuild.toml."""

    version: Literal[1] = Field(description="The manifest's format.")
    name: NameField = Field(description="The bundle's name: bundles/<name>/.")
    platforms: Annotated[Many[PlatformField], Field(min_length=1)] = Field(
        description="The platforms of each image that names none of its own."
    )
    images: Annotated[dict[NameField, ImageEntry], Field(min_length=1)] = Field(
        description="The images, by a name of yours."
    )
    registries: dict[Annotated[str, AfterValidator(parse_prefix)], RegistrySettings] = Field(
        default={},
        description="How registries are reached from the connected side, by host[:port] or "
        "host[:port]/path; of several keys that an image begins with, the longest counts.",
    )
    bundle: BundleEntry = Field(
        default_factory=BundleEntry,
        description="What it holds beside the images, and how it is packed.",
    )
    policy: PolicyEntry | None = Field(
        default=None, description="What `verify`, `load` and `push` with --file demand of a bundle."
    )
    builder: BuilderEntry | None = Field(default=None, description="The builder, if one is wanted.")
    buildkitd: Buildkitd = Field(
        default_factory=Buildkitd, description="buildkitd.toml, as the builder gets it."
    )

    def platforms_of(self, entry: ImageEntry) -> tuple[Platform, ...]:
        """The platforms that an image is wanted for, each once, sorted."""
        return tuple(sorted(set(entry.platforms or self.platforms), key=str))


def entry_digest(entry: ImageEntry, platforms: tuple[Platform, ...], bundle: BundleEntry) -> Digest:
    """A digest of what an image's entry means.

    Comments, the order of keys and platforms, and the spelling of a reference do not change it.
    """
    return meaning_of(
        {
            "ref": str(entry.ref),
            "role": entry.purpose,
            "tags": sorted(str(tag) for tag in entry.tags),
            "platforms": sorted(str(platform) for platform in platforms),
            "attestations": bundle.attestations,
            **({"daemon": True} if entry.daemon else {}),
        }
    )


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file.

    Raises:
        ManifestError: the file is missing, is not TOML, or has problems: all of them, one a line.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        hint = "`airgapbuild init` writes one to start from"
        raise ManifestError(f"{path}: there is no such file", hint=hint) from error
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}") from error
    return parse_manifest(raw, str(path), folder=path.parent)


def parse_manifest(raw: bytes, name: str, *, folder: Path) -> Manifest:
    """The manifest in these bytes; paths in it are relative to `folder`.

    Raises:
        ManifestError: see `read_manifest`.
    """
    try:
        document = parse_document(raw, name)
    except ValueError as error:
        raise ManifestError(str(error)) from error
    problems = [
        *builder_problems(document),
        *_builder_image_problems(document),
        *_name_problems(document),
        *_local_name_problems(document),
        *_registry_problems(document),
        *_nameless_problems(document),
        *_level_problems(document),
        *buildkitd_problems(document, _buildkit(document)),
        *_daemon_problems(document),
    ]
    try:
        manifest = document.parse(Manifest, context={"folder": folder})
    except ValidationError as error:
        problems += document.problems_of(error, Manifest)
        raise ManifestError(*sorted_messages(problems)) from error
    if problems:
        raise ManifestError(*sorted_messages(problems))
    return manifest


def _table(values: dict[str, Any], key: str) -> dict[str, Any]:
    """A sub-table; an empty one where it is missing or something else (reported elsewhere)."""
    value = values.get(key)
    return value if isinstance(value, dict) else {}


def _builder_image_problems(document: Document) -> list[tuple[int, str]]:
    """A builder of an image that is not declared, or not as one."""
    images = _table(document.values, "images")
    name = _table(document.values, "builder").get("image")
    if not isinstance(name, str):
        return []
    path = ("builder", "image")
    if name not in images:
        declared = ", ".join(sorted(images)) or "none"
        return [document.problem(path, f"there is no [images.{name}]; declared: {declared}")]
    role = _role(_table(images, name))
    if role == "builder":
        return []
    return [document.problem(path, f"[images.{name}] must have role = \"builder\", not '{role}'")]


def _buildkit(document: Document) -> Release | None:
    """The BuildKit that the builder's image is pinned to."""
    name = _table(document.values, "builder").get("image")
    images = _table(document.values, "images")
    reference = _parsed(_table(images, name).get("ref")) if isinstance(name, str) else None
    return release_of(reference) if reference else None


def _name_problems(document: Document) -> list[tuple[int, str]]:
    """Two images that would take one name from each other in the daemon or the layout."""
    owners: dict[str, str] = {}
    problems = []
    for key, entry in _table(document.values, "images").items():
        if not isinstance(entry, dict):
            continue
        claims: list[tuple[tuple[str | int, ...], object]] = [(("ref",), entry.get("ref"))]
        claims += [(("tags", n), tag) for n, tag in enumerate(_tags(entry))]
        for path, text in claims:
            if (name := _full(text)) and owners.setdefault(name, key) != key:
                what = f"'{text}' is also a name of [images.{owners[name]}]"
                problems.append(document.problem(("images", key, *path), what))
    return problems


def _local_name_problems(document: Document) -> list[tuple[int, str]]:
    """Two builder images with one local name, which does not tell the registry."""
    owners: dict[Reference, str] = {}
    images = _table(document.values, "images")
    problems = []
    for key in images:
        local = _local_name(_table(images, key))
        if local and owners.setdefault(local, key) != key:
            what = (
                f"a builder would know it by {local}, as it would [images.{owners[local]}]: "
                'give one of the two role = "tool", or take another version'
            )
            problems.append(document.problem(("images", key, "ref"), what))
    return problems


def _local_name(entry: dict[str, Any]) -> Reference | None:
    """The local name of a builder's image; None of another, and where the entry does not tell."""
    ref, tags = _parsed(entry.get("ref")), [tag for it in _tags(entry) if (tag := _parsed(it))]
    if _role(entry) != "builder" or ref is None or not (ref.registry or tags):
        return None
    version = ref.tag or (ref.digest and digest_tag(ref.digest))
    return local_name(named_by(ref, tags), version) if version else None


_OF_A_HOST = ("http", "insecure", "ca", "cert", "key")


def _registry_problems(document: Document) -> list[tuple[int, str]]:
    """What [registries] says twice, in the wrong place, or of no repository."""
    problems = []
    owners: dict[str, str] = {}
    for key, table in _table(document.values, "registries").items():
        try:
            prefix = parse_prefix(key)
        except ValueError:  # reported elsewhere
            continue
        path = ("registries", key)
        if owners.setdefault(prefix, key) != key:
            what = f'is the same as [registries."{owners[prefix]}"]: make one table of both'
            problems.append(document.problem(path, what))
        host, slash, _ = prefix.partition("/")
        if slash and isinstance(table, dict):
            what = f'belongs to the host: write it in [registries."{host}"]'
            problems += [document.problem((*path, it), what) for it in _OF_A_HOST if it in table]
            problems += _bare_mirrors(document, key, prefix)
    return problems


def _bare_mirrors(document: Document, key: str, prefix: str) -> list[tuple[int, str]]:
    """Mirrors without a path that would have to stand for the whole repository of an image."""
    images = _table(document.values, "images")
    refs = [_full(_table(images, name).get("ref")) or "" for name in images]
    mirrors = document.values["registries"][key].get("mirrors")
    if not isinstance(mirrors, list) or not any(
        ref.startswith((f"{prefix}:", f"{prefix}@")) for ref in refs
    ):
        return []
    return [
        document.problem(
            ("registries", key, "mirrors", n),
            f"'{text}' needs a path, since it stands for all of {prefix}: "
            f"'{text}/{prefix.rpartition('/')[2]}'",
        )
        for n, text in enumerate(mirrors)
        if isinstance(text, str) and "/" not in text and not _VARIABLE.fullmatch(text)
    ]


def _nameless_problems(document: Document) -> list[tuple[int, str]]:
    """Images of layouts, which bring no name along, that are given none."""
    what = 'an image of a layout has no name: give it one in tags = ["corp/name:1"]'
    return [
        document.problem(("images", key, "ref"), what)
        for key, entry in _table(document.values, "images").items()
        if isinstance(entry, dict) and _is_layout(entry.get("ref")) and not _tags(entry)
    ]


def _level_problems(document: Document) -> list[tuple[int, str]]:
    bundle = _table(document.values, "bundle")
    if "level" not in bundle or bundle.get("layers") == "compact":
        return []
    return [document.problem(("bundle", "level"), 'is for layers = "compact" only')]


def _daemon_problems(document: Document) -> list[tuple[int, str]]:
    """`daemon` where there is nothing to choose."""
    images = _table(document.values, "images")
    return [
        document.problem(
            ("images", key, "daemon"),
            f"is for base and frontend images only: one of role {role} goes to the daemon anyway",
        )
        for key in images
        if "daemon" in (entry := _table(images, key)) and (role := _role(entry)) in DAEMON_ROLES
    ]


def _role(entry: dict[str, Any]) -> object:
    """The role of an entry, stated or not."""
    if "role" in entry:
        return entry["role"]
    return usual_role(filter(None, map(_parsed, (entry.get("ref"), *_tags(entry)))))


def _tags(entry: dict[str, Any]) -> list[object]:
    tags = entry.get("tags")
    return tags if isinstance(tags, list) else []


def _is_layout(text: object) -> bool:
    reference = _parsed(text)
    return reference is not None and reference.transport == "oci-layout"


def _full(text: object) -> str | None:
    """A name's one spelling; None for what is no name (reported elsewhere)."""
    reference = _parsed(text)
    if reference is None or reference.transport == "oci-layout":
        return None
    return str(replace(reference, transport="registry"))


def _parsed(text: object) -> Reference | None:
    try:
        return parse_source(text) if isinstance(text, str) else None
    except ValueError:
        return None
