"""The kinds of values in buildkitd.toml that are more than text and numbers.

Source: moby/buildkit cmd/buildkitd/config/gcpolicy.go; docker/go-units, `RAMInBytes`; Go's
time.ParseDuration.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeAlias

from pydantic import AfterValidator, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema

from airgapbuild.buildkitd.since import Since
from airgapbuild.document import Table

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue

_SIZE = re.compile(r"\d+(\.\d+)? ?([kmgtp]i?)?b?", re.ASCII | re.IGNORECASE)
_PERCENT = re.compile(r"(\d+)%", re.ASCII)
_DURATION = re.compile(r"\d+|(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+", re.ASCII)
_ALL = 100


def _disk_space(value: int | str) -> int | str:
    if isinstance(value, int):
        fits = value >= 0
    elif percent := _PERCENT.fullmatch(value):
        fits = int(percent[1]) <= _ALL
    else:
        fits = _SIZE.fullmatch(value) is not None
    if not fits:
        raise ValueError(f"'{value}' is no disk space: write bytes, '10GB' or '10%'")
    return value


def _duration(value: int | str) -> int | str:
    fits = value >= 0 if isinstance(value, int) else _DURATION.fullmatch(value) is not None
    if not fits:
        raise ValueError(f"'{value}' is no duration: write seconds or '48h', '1h30m'")
    return value


def _timeout(value: int | str) -> int | str:
    if isinstance(value, str):
        _duration(value.removeprefix("-"))
    return value


DiskSpace: TypeAlias = Annotated[int | str, AfterValidator(_disk_space)]
"""Bytes, a size with a binary unit ("512MB" is 512 MiB), or a share of the disk ("10%")."""

Duration: TypeAlias = Annotated[int | str, AfterValidator(_duration)]
"""Seconds, or a duration as Go writes it."""

Timeout: TypeAlias = Annotated[int | str, AfterValidator(_timeout)]
"""The same, or less than nothing."""

Count: TypeAlias = Annotated[int, Field(ge=0, lt=1 << 63)]
Positive: TypeAlias = Annotated[int, Field(gt=0, lt=1 << 63)]

TEXT = Since("0.12.0", "a value as text", lambda value: isinstance(value, str), buildx="0.11.0")
"""Sizes and durations were numbers alone before."""


class BuildkitTable(Table):
    """A table of buildkitd.toml. camelCase is BuildKit's rule; exceptions are spelt out."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=False)


@dataclass(frozen=True)
class Refused:
    """Marks a key that BuildKit has and that cannot be here, with the reason."""

    why: str

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._refuse)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"description": f"Not here: {self.why}.", "not": {}}

    def _refuse(self, _: object) -> NoReturn:
        raise ValueError(f"is not for here: {self.why}")
