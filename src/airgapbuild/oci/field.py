"""Fields of documents that have one form in TOML and JSON, and values of ours behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, GetPydanticSchema
from pydantic_core import core_schema

if TYPE_CHECKING:
    from collections.abc import Callable


SizeField = Annotated[int, Field(strict=True, ge=0, lt=1 << 63)]
"""A count of bytes, or a place in a file: an int64, as the OCI specification has it."""


def written_as_text(kind: type, parse: Callable[[str], Any]) -> GetPydanticSchema:
    """How pydantic reads and writes such a value: a string to `parse`, or the value itself."""

    def take(value: object, as_string: core_schema.ValidatorFunctionWrapHandler) -> object:
        return value if isinstance(value, kind) else parse(as_string(value))

    schema = core_schema.no_info_wrap_validator_function(
        take,
        core_schema.str_schema(strict=True),
        serialization=core_schema.to_string_ser_schema(),
    )
    return GetPydanticSchema(lambda _source, _handler: schema)
