"""Values of the field's nouns that are strings in TOML and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import GetPydanticSchema
from pydantic_core import core_schema

if TYPE_CHECKING:
    from collections.abc import Callable


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
