"""Reference → the lines of airgapbuild.toml that bring the image."""

from __future__ import annotations

import json
import re
from itertools import chain, count
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from airgapbuild.manifest import Role
    from airgapbuild.oci.platform import Platform
    from airgapbuild.oci.reference import Reference

_NO_NAME: Final = re.compile(r"[^a-z0-9]+")
_LONGEST: Final = 60
"""Of a name's characters, with room for a number behind it."""


def manifest_lines(
    reference: Reference,
    role: Role,
    platforms: Iterable[Platform] = (),
    taken: Collection[str] = (),
) -> str:
    """The table of an image, under a name that is not among those `taken`.

    Without `platforms` it is for those of the whole manifest.
    """
    lines = [f"[images.{_name(reference, taken)}]", _line("ref", reference.familiar)]
    lines.append(_line("role", role))
    if wanted := [str(platform) for platform in platforms]:
        lines.append(_line("platforms", wanted))
    return "".join(f"{line}\n" for line in lines)


def manifest_tables(images: Iterable[tuple[Reference, Role, Iterable[Platform]]]) -> str:
    """The tables of several images, each under a name of its own."""
    tables: dict[str, str] = {}
    for reference, role, platforms in images:
        name = _name(reference, tables)
        tables[name] = manifest_lines(reference, role, platforms, tables)
    return "\n".join(tables.values())


def _line(key: str, value: str | list[str]) -> str:
    return f"{key} = {json.dumps(value)}"  # of such values TOML and JSON think alike


def _name(reference: Reference, taken: Collection[str]) -> str:
    last = reference.repository.rpartition("/")[2]
    name = _NO_NAME.sub("-", last.lower())[:_LONGEST].strip("-") or "image"
    names = chain([name], (f"{name}-{n}" for n in count(2)))
    return next(it for it in names if it not in taken)
