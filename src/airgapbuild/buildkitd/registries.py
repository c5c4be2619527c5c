"""`[registry]`: how BuildKit reaches registries and their mirrors.

BuildKit takes everything about a connection from the table of the very host: what stands beside
`mirrors` is for the registry, not for them. Here a mirror may say its own where it is named, and
`locked_registries` gives it the table that BuildKit looks into.

Source: moby/buildkit util/resolver/config/config.go, util/resolver/resolver.go.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from airgapbuild.buildkitd.certificates import Certificate, CertificateFiles, listed
from airgapbuild.buildkitd.since import Since
from airgapbuild.buildkitd.values import BuildkitTable
from airgapbuild.document import Many
from airgapbuild.oci.reference import parse_registry

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECTION: Final = ("http", "insecure", "ca", "keypair", "tlsconfigdir")
"""The keys that are about the connection to one host."""

_PATH = re.compile(r"[a-z0-9._/-]*", re.ASCII)


def mirror(text: str) -> str:
    """A mirror's `host[:port][/path]`.

    Raises:
        ValueError: it is none. BuildKit would drop a scheme without a word, and use https.
    """
    if "://" in text:
        raise ValueError(
            f"'{text}' must be host[:port][/path] without a scheme; "
            "plain http is `http = true` in the mirror's own registry table"
        )
    host, _, path = text.partition("/")
    parse_registry(host)
    if not _PATH.fullmatch(path):
        raise ValueError(f"'{text}': '{path}' is no repository path")
    return text.rstrip("/")


def _there(text: str) -> str:
    if not text.startswith(("/", "~/")):
        raise ValueError(
            f"'{text}' must be an absolute path: it is read on the isolated machine, by `load`"
        )
    return text


PathThere: TypeAlias = Annotated[str, AfterValidator(_there)]
"""A path on the isolated machine, absolute or in somebody's home."""


def _hosts(mirrors: object, *kinds: type) -> list[str]:
    """The hosts of the mirrors in a document, of these kinds of entries."""
    entries = mirrors if isinstance(mirrors, list) else []
    found = [it.get("host") if isinstance(it, dict) else it for it in entries if type(it) in kinds]
    return [host for host in found if isinstance(host, str)]


def _has_path(mirrors: object) -> bool:
    return any("/" in host for host in _hosts(mirrors, str, dict))


def _has_ipv6_table(mirrors: object) -> bool:
    return any(host.startswith("[") for host in _hosts(mirrors, dict))


_Mirror: TypeAlias = Annotated[str, AfterValidator(mirror)]
_Folders = Annotated[
    Many[PathThere], BeforeValidator(listed, json_schema_input_type=str | list[str])
]


class KeyPair(BuildkitTable):
    """`[[registry."host".keypair]]`: a client certificate. Only its paths go into a lock."""

    key: PathThere = Field(
        description="On the isolated machine: the private key, without password."
    )
    cert: PathThere = Field(description="On the isolated machine: the certificate.")


class _Connection(BuildkitTable):
    http: bool | None = Field(default=None, description="Plain http for this very host.")
    insecure: bool | None = Field(default=None, description="https without checking, this host.")
    ca: CertificateFiles = Field(
        default=(), description="PEM files of CAs to trust for it, read by `lock`."
    )
    keypair: Many[KeyPair] = Field(default=(), description="Client certificates, read by `load`.")
    tlsconfigdir: _Folders = Field(
        default=(),
        description="Folders on the isolated machine with *.crt, *.cert and *.key, as Docker has "
        "them in /etc/docker/certs.d, read by `load`.",
    )


class Mirror(_Connection):
    """A mirror, and how it is reached."""

    host: _Mirror = Field(description="host[:port][/path]")


def _as_table(value: object) -> object:
    return {"host": value} if isinstance(value, str) else value


class Registry(_Connection):
    """`[registry."host[:port]"]`: how BuildKit reaches a registry.

    The mirrors are asked first, the registry itself always last. The other keys are the registry's
    own.
    """

    mirrors: Annotated[
        Many[Annotated[Mirror, BeforeValidator(_as_table, json_schema_input_type=str | Mirror)]],
        Since("0.11.0", "a path behind a mirror's host", _has_path),
        Since("0.28.0", "a table for an IPv6 address", _has_ipv6_table),
    ] = Field(
        default=(),
        description="Asked first, in this order: host[:port][/path], or a table with what this "
        "mirror's connection needs.",
    )


class LockedRegistry(BuildkitTable):
    """The same as BuildKit has it, with the content of files that travel along."""

    mirrors: Many[_Mirror] = ()
    http: bool | None = None
    insecure: bool | None = None
    ca: Many[Certificate] = ()
    keypair: Many[KeyPair] = ()
    tlsconfigdir: Many[PathThere] = ()

    @property
    def has_connection(self) -> bool:
        """Whether anything is said of the connection to the host itself."""
        return any(getattr(self, key) not in {None, ()} for key in CONNECTION)


def locked_registries(registries: Mapping[str, Registry]) -> dict[str, LockedRegistry]:
    """The tables as BuildKit reads them: each mirror with its own.

    What is said of a host in two places is the same: see `checks`.
    """
    tables = {host: _connection(registry) for host, registry in registries.items()}
    for host, registry in registries.items():
        if registry.mirrors:
            tables[host]["mirrors"] = tuple(each.host for each in registry.mirrors)
        for each in registry.mirrors:
            if own := _connection(each):
                tables.setdefault(host_of(each.host), {}).update(own)
    return {host: LockedRegistry.model_construct(**table) for host, table in tables.items()}


def host_of(text: str) -> str:
    """The host of a mirror, which is the name of its table."""
    return text.partition("/")[0]


def _connection(table: _Connection) -> dict[str, Any]:
    return {key: getattr(table, key) for key in CONNECTION if key in table.model_fields_set}
