"""Which BuildKit brought a key or a kind of value, kept beside the key itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airgapbuild.versions import parse_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

    from airgapbuild.oci.reference import Reference


@dataclass(frozen=True)
class Release:
    """A release of BuildKit or buildx, as far as it can be told from others."""

    numbers: tuple[int, ...]

    def __str__(self) -> str:
        return ".".join(map(str, self.numbers))

    def has(self, since: str) -> bool:
        """Whether what came with a release is in this one; in its candidates it is, too."""
        return self.numbers >= tuple(map(int, since.split(".")))


@dataclass(frozen=True)
class Since:
    """The release of BuildKit that brought a key; with `when`, values that this tells of.

    An older BuildKit ignores the key, or stops at the value. Where a `buildx` is named, an older
    one cannot read the file either.
    """

    buildkit: str
    what: str = ""
    when: Callable[[Any], bool] | None = None
    buildx: str | None = None

    def concerns(self, value: object) -> bool:
        """Whether it is about a key with this value."""
        return self.when is None or self.when(value)

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        what = f"{self.what}: " if self.what else ""
        text = f"{what[:1].upper()}{what[1:]}BuildKit {self.buildkit} or newer."
        return _described(handler(core_schema), text)


@dataclass(frozen=True)
class Replaced:
    """The release of BuildKit in which something else has taken a key's place."""

    buildkit: str
    by: str

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        text = f"Before BuildKit {self.buildkit}; since then: {self.by}."
        return _described(handler(core_schema), text) | {"deprecated": True}


def _described(schema: JsonSchemaValue, text: str) -> JsonSchemaValue:
    before = schema.get("description")
    return schema | {"description": f"{before} {text}" if before else text}


def release_of(reference: Reference) -> Release | None:
    """The BuildKit in an image, as its tag has it; None where the tag does not tell.

    Only a repository called `buildkit` is taken to have BuildKit's versions, of three numbers.
    """
    return parse_release(reference.tag) if reference.repository.endswith("buildkit") else None


def parse_release(tag: str | None) -> Release | None:
    """The release that a tag or a program's own version names; None where it names none."""
    version = parse_version((tag or "").partition("+")[0])  # behind it, a distribution's own
    if version is None or version.head not in {"", "v"} or len(version.numbers) != _PARTS:
        return None
    return Release(version.numbers)


_PARTS = 3
