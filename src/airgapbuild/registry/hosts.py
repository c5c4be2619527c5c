"""Which hosts are asked for a reference, in which order, and how each is reached.

A table of `[registries]` is chosen as containers-registries.conf(5) chooses one: the longest key
that the reference begins with, by whole components, and that one alone. A mirror stands for what
the key names, so the rest of the path follows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airgapbuild.errors import ManifestError
from airgapbuild.manifest import RegistrySettings, mirror_in
from airgapbuild.oci.reference import DOCKER_HUB, Reference, is_loopback, parse_registry

if TYPE_CHECKING:
    from collections.abc import Mapping

_HUB_ADDRESS = "registry-1.docker.io"
_DEFAULTS = RegistrySettings()


@dataclass(frozen=True)
class Host:
    """One host that may have what is looked for."""

    name: str
    """As people write it: the key of its settings and of its credentials."""
    prefix: str
    """The path that a mirror has of its own; empty elsewhere."""
    settings: RegistrySettings
    """Its own, never those of the registry that it mirrors."""
    replaced: str = ""
    """The beginning of a repository's path that a mirror stands for; empty for all of a host."""

    @property
    def base(self) -> str:
        """The URL below which its API lies."""
        address = _HUB_ADDRESS if self.name == DOCKER_HUB else self.name
        return f"{'http' if self._plain else 'https'}://{address}/v2"

    def path_of(self, reference: Reference) -> str:
        """The repository's path on this host."""
        rest = reference.repository.removeprefix(self.replaced).removeprefix("/")
        return "/".join(part for part in (self.prefix, rest) if part)

    def shown(self, reference: Reference) -> str:
        """The reference as this host is asked for it, as short as people write it."""
        if self.name == reference.registry and not self.prefix:
            return reference.familiar
        tag = f":{reference.tag}" if reference.tag else ""
        digest = f"@{reference.digest}" if reference.digest else ""
        return f"{self.name}/{self.path_of(reference)}{tag}{digest}"

    @property
    def risk(self) -> str | None:
        """What its settings give up, in words; None if nothing leaves this machine unprotected."""
        if self.settings.http and not is_loopback(self.name):
            return "plain http (http = true): what passes can be read and changed on the way"
        if self.settings.insecure and not self._plain:
            return "its certificate is not checked (insecure = true): it may be anybody"
        return None

    @property
    def _plain(self) -> bool:
        """Plain http where the settings say so, and on loopback unless they speak of TLS."""
        its = self.settings
        return its.http or (is_loopback(self.name) and not (its.ca or its.insecure or its.cert))


def hosts_for(reference: Reference, settings: Mapping[str, RegistrySettings]) -> tuple[Host, ...]:
    """The hosts to ask for a reference: the mirrors in order, then the registry itself.

    None, if the settings leave none.
    """
    key = key_for(reference, settings)
    chosen = settings.get(key, _DEFAULTS)
    replaced = key.partition("/")[2]
    mirrors = tuple(_mirror(text, replaced, settings) for text in chosen.mirrors)
    own = Host(reference.registry, "", settings.get(reference.registry, _DEFAULTS))
    return (*mirrors, own) if chosen.upstream else mirrors


def with_variables(
    settings: Mapping[str, RegistrySettings], environ: Mapping[str, str]
) -> dict[str, RegistrySettings]:
    """The settings with the mirrors that variables name; those that are not set are left out.

    Raises:
        ManifestError: what a variable says is no mirror.
    """
    return {key: _with_variables(key, its, environ) for key, its in settings.items()}


def _with_variables(
    key: str, its: RegistrySettings, environ: Mapping[str, str]
) -> RegistrySettings:
    try:
        mirrors = [mirror_in(text, environ) for text in its.mirrors]
    except ValueError as error:
        raise ManifestError(f'registries."{key}".mirrors: {error}') from error
    return its.model_copy(update={"mirrors": tuple(filter(None, mirrors))})


def key_for(reference: Reference, settings: Mapping[str, RegistrySettings]) -> str:
    """The key of the table that says where to ask for a reference: the longest; else the host."""
    keys = [key for key in settings if f"{reference.name}/".startswith(f"{key}/")]
    return max(keys, key=len, default=reference.registry)


def _mirror(text: str, replaced: str, settings: Mapping[str, RegistrySettings]) -> Host:
    address, _, path = text.partition("/")
    name = parse_registry(address)
    return Host(name, path, settings.get(name, _DEFAULTS), replaced)
