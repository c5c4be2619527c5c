"""What the models of buildkitd.toml cannot see: other tables, and who is going to read the file.

Source: moby/buildkit util/resolver/resolver.go, whose mirrors take nothing from the registry that
they stand for; docker/buildx store/storeutil, which reads the file of every builder in each command
with the BuildKit that it was built with.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, get_origin

from airgapbuild.buildkitd.keys import Buildkitd, LockedBuildkitd
from airgapbuild.buildkitd.registries import CONNECTION, host_of
from airgapbuild.buildkitd.since import Release, Replaced, Since
from airgapbuild.document import fields_of, model_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

    from airgapbuild.document import Document

_Key: TypeAlias = tuple[str | int, ...]
_Tables: TypeAlias = dict[str, Any]

_QUOTED = Since("0.28.0", "a key like this one", buildx="0.32.0")
"""Before, both read TOML with go-toml v1, which stops at some keys that have to be quoted."""
_BRACKETS = frozenset("[]")


@dataclass(frozen=True)
class _Entry:
    """A key of the file, and what is known of it."""

    path: _Key
    value: Any
    facts: tuple[Since | Replaced, ...]


def buildkitd_problems(document: Document, release: Release | None) -> list[tuple[int, str]]:
    """What is wrong with the table `buildkitd` of a manifest beyond its types, with the lines.

    `release` is the BuildKit that the builder is pinned to, None where that is not known.
    """
    tables = _table(document.values, "buildkitd")
    return [
        *_mirror_problems(document, _table(tables, "registry")),
        *(
            document.problem(("buildkitd", *entry.path), what)
            for entry in _all_entries(Buildkitd, tables)
            if (what := _out_of_time(entry, release))
        ),
    ]


def unreadable_by(buildx: Release, tables: _Tables) -> tuple[str, ...]:
    """What of these tables a buildx cannot read; it would fail in every command.

    Each is a key, with the release that can.
    """
    return tuple(
        f"buildkitd.{'.'.join(map(str, entry.path))}: needs buildx {fact.buildx}"
        for entry in _all_entries(LockedBuildkitd, tables)
        for fact in entry.facts
        if isinstance(fact, Since)
        and fact.buildx
        and fact.concerns(entry.value)
        and not buildx.has(fact.buildx)
    )


def _out_of_time(entry: _Entry, release: Release | None) -> str | None:
    """Why the key is not for this BuildKit."""
    for fact in entry.facts:
        if isinstance(fact, Replaced):
            if release is None or release.has(fact.buildkit):
                return f"is deprecated: write {fact.by}, as since BuildKit {fact.buildkit}"
        elif release and fact.concerns(entry.value) and not release.has(fact.buildkit):
            what = fact.what or "it"
            return f"{what} needs BuildKit {fact.buildkit}, and the builder has {release}"
    return None


def _all_entries(model: type[BaseModel], tables: _Tables) -> Iterator[_Entry]:
    yield from _entries(model, tables)
    yield from _quoted_keys(tables)


def _quoted_keys(value: object, path: _Key = ()) -> Iterator[_Entry]:
    """The keys that go-toml v1 cannot read, as seen with buildx 0.13 and 0.29."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if '"' in key or (isinstance(inner, dict) and not _BRACKETS.isdisjoint(key)):
                yield _Entry((*path, key), inner, (_QUOTED,))
            yield from _quoted_keys(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _quoted_keys(inner, (*path, number))


def _entries(model: type[BaseModel], table: _Tables, path: _Key = ()) -> Iterator[_Entry]:
    """Every key of a table and of those below; what the model does not know is told elsewhere."""
    fields = fields_of(model)
    for key, value in table.items():
        field = fields.get(key)
        if field is None:
            continue
        facts = tuple(it for it in field.metadata if isinstance(it, Since | Replaced))
        yield _Entry((*path, key), value, facts)
        if inner := model_in(field.annotation):
            for place, each in _members(field.annotation, value):
                if isinstance(each, dict):
                    yield from _entries(inner, each, (*path, key, *place))


def _members(annotation: object, value: object) -> Iterator[tuple[_Key, Any]]:
    """The values in a field's value, and where in it they stand."""
    if isinstance(value, list):
        yield from (((number,), item) for number, item in enumerate(value))
    elif isinstance(value, dict) and get_origin(annotation) is dict:
        yield from (((key,), item) for key, item in value.items())
    else:
        yield (), value


def _mirror_problems(document: Document, registries: _Tables) -> list[tuple[int, str]]:
    """What is said of a host twice, or of a registry that is meant for its mirrors."""
    said: dict[str, dict[_Key, _Tables]] = {
        host: {("registry", host): table}
        for host, table in registries.items()
        if isinstance(table, dict)
    }
    for host, table in registries.items():
        for path, mirror in _mirrors(host, table):
            if isinstance(mirror, dict) and isinstance(mirror.get("host"), str):
                said.setdefault(host_of(mirror["host"]), {})[path] = mirror
    problems = [it for tables in said.values() for it in _contradictions(document, tables)]
    for host, table in registries.items():
        bare = [
            mirror
            for _, mirror in _mirrors(host, table)
            if isinstance(mirror, str) and host_of(mirror) not in said
        ]
        if bare:
            problems += _meant_for_mirrors(document, host, table, bare[0])
    return problems


def _mirrors(host: str, table: object) -> Iterator[tuple[_Key, Any]]:
    mirrors = table.get("mirrors") if isinstance(table, dict) else None
    for number, mirror in enumerate(mirrors if isinstance(mirrors, list) else ()):
        yield ("registry", host, "mirrors", number), mirror


def _contradictions(document: Document, tables: dict[_Key, _Tables]) -> Iterator[tuple[int, str]]:
    for key in CONNECTION:
        places = [path for path, table in tables.items() if key in table]
        for path in places[1:]:
            if tables[path][key] != tables[places[0]][key]:
                first = document.place(("buildkitd", *places[0], key))
                what = f"contradicts {first}, which is about the same host"
                yield document.problem(("buildkitd", *path, key), what)


def _meant_for_mirrors(
    document: Document, host: str, table: _Tables, mirror: str
) -> Iterator[tuple[int, str]]:
    """The trap of BuildKit's own documentation (buildkit#2514, #6177)."""
    for key in CONNECTION:
        if value := table.get(key):
            mend = f'mirrors = [{{ host = "{mirror}", {key} = {_shown(value)} }}]'
            what = (
                f"is about {host} itself, not about its mirror: write {mend}, "
                f'or make a table [buildkitd.registry."{host_of(mirror)}"]'
            )
            yield document.problem(("buildkitd", "registry", host, key), what)


def _shown(value: object) -> str:
    """A value as TOML has it; a table is too long to be repeated."""
    texts = value if isinstance(value, list) else [value]
    plain = all(isinstance(text, str) for text in texts)
    return "true" if value is True else json.dumps(value) if plain else "…"


def _table(values: _Tables, key: str) -> _Tables:
    value = values.get(key)
    return value if isinstance(value, dict) else {}
