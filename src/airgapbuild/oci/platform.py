"""Platforms, normalised as containerd does.

Source: OCI image specification, image-index.md, "platform"; containerd platforms/database.go
(`normalizeArch`), so that `linux/arm64/v8` and `linux/aarch64` are `linux/arm64`.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from airgapbuild.oci.field import written_as_text

if TYPE_CHECKING:
    from collections.abc import Iterable

_PART = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_PARTS = (2, 3)
_ALIASES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "i386": ("386", ""),
    "i686": ("386", ""),
}
_DEFAULT_VARIANTS = {
    ("amd64", "v1"): "",
    ("arm64", "v8"): "",
    ("arm64", "8"): "",
    ("arm", ""): "v7",
}

# Source: Go 1.25, `go tool dist list`; those that registries have images for.
_SYSTEMS = frozenset({"darwin", "freebsd", "linux", "windows"})
_ARCHITECTURES = frozenset(
    {"386", "amd64", "arm", "arm64", "loong64", "mips64", "mips64le", "mips", "mipsle"}
    | {"ppc64", "ppc64le", "riscv64", "s390x"}
)


@dataclass(frozen=True, order=True)
class Platform:
    """An operating system and an instruction set, such as `linux/arm/v7`."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def serves(self, wanted: Platform) -> bool:
        """Whether what is made for this one runs on `wanted`: an older variant does.

        Source: containerd platforms/compare.go, `Only`, without its 32-bit fallbacks.
        """
        same = (self.os, self.architecture) == (wanted.os, wanted.architecture)
        return same and self.variant <= wanted.variant

    @property
    def slug(self) -> str:
        """The platform as part of a file name: `linux-arm-v7`."""
        return str(self).replace("/", "-")


def normalised(os: str, architecture: str, variant: str = "") -> Platform:
    """The one spelling of a platform, whatever the document or the daemon calls it."""
    os, architecture, variant = os.lower(), architecture.lower(), variant.lower()
    alias, implied = _ALIASES.get(architecture, (architecture, ""))
    variant = variant or implied
    if alias == "arm" and variant.isdigit():
        variant = f"v{variant}"
    return Platform(os, alias, _DEFAULT_VARIANTS.get((alias, variant), variant))


def parse_platform(text: str) -> Platform:
    """The platform that `text` names.

    Raises:
        ValueError: it is not `os/architecture` or `os/architecture/variant`.
    """
    parts = text.split("/")
    if len(parts) not in _PARTS or not all(_PART.fullmatch(part) for part in parts):
        raise ValueError(f"'{text}' is not a platform: write os/architecture, such as linux/amd64")
    return normalised(*parts)


def meant(wanted: Platform, there: Iterable[Platform]) -> Platform | None:
    """The one of those that are there that `wanted` is a slip of the pen for, if any is.

    What an image may well be made for is no slip, however near: arm64 is not a slip for amd64.
    """
    if wanted.os in _SYSTEMS and wanted.architecture in _ARCHITECTURES:
        return None
    spelt = {str(platform): platform for platform in there}
    near = difflib.get_close_matches(str(wanted), spelt, n=1)
    return spelt[near[0]] if near else None


PlatformField = Annotated[Platform, written_as_text(Platform, parse_platform)]
"""A platform as a field of a pydantic model: a string in TOML and JSON."""
