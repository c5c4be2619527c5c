"""TOML documents whose problems have a place: `airgapbuild.toml:12: images.python.ref: …`.

tomllib reads the values but keeps no positions, so a second, shallow pass finds the line of each
key: the text is cut into statements (a table header, or a key with its value), and tomllib itself
says what path each one sets.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from codecs import BOM_UTF8
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Strict, ValidationError

from airgapbuild.oci.digest import Digest, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic.fields import FieldInfo

_Key: TypeAlias = tuple[str | int, ...]
_T = TypeVar("_T")
_M = TypeVar("_M", bound=BaseModel)

BYTE_ORDER_MARK = "begins with a byte-order mark: save it as UTF-8 without one"
"""What is wrong with a document of some editors for Windows."""

Many = Annotated[tuple[_T, ...], Strict(strict=False)]
"""An array of a document, as a tuple."""

_MARK = re.compile(
    r"""
    \"{3} [^"\\]*+ (?: (?: \\. | "(?!"") ) [^"\\]*+ )* \"{3,5}
    | '{3} [^']*+ (?: '(?!'') [^']*+ )* '{3,5}
    | " [^"\\\n]*+ (?: \\. [^"\\\n]*+ )* "
    | ' [^'\n]*+ '
    | \# [^\n]*+
    | [\[\]{}\n]
    """,
    re.VERBOSE | re.DOTALL,
)
"""The strings, comments, brackets and line ends of a valid document.

No group is possessive: Debian 12's Python, 3.11.2, gets those wrong.
"""
_DEEP = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){64}""")
"""A dotted key of so many parts that tomllib would take its time, which grows with their square."""
_OPENING = ("[", "{")
_CLOSING = ("]", "}")
_MUST_BE = {
    "tuple_type": "must be an array: [ … ]",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "bool_type": "must be true or false",
    "string_type": "must be text in quotes",
    "int_type": "must be a whole number",
}
"""What people know by other words than Python's."""
_POSITION = re.compile(r" \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$")


class Table(BaseModel):
    """A table of a document: frozen, no unknown keys, no silent conversions, kebab-case keys."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        defer_build=True,
        alias_generator=lambda name: name.replace("_", "-"),
        populate_by_name=True,
    )


@dataclass(frozen=True)
class Document:
    """The values of a TOML file, and where they stand."""

    name: str
    """The file's name, as messages show it."""
    values: dict[str, Any]
    lines: dict[_Key, int]

    def place(self, path: _Key) -> str:
        """`file:line: key`, the line of the nearest key above where this one is not written."""
        for length in range(len(path), 0, -1):
            if line := self.lines.get(path[:length]):
                return f"{self.name}:{line}: {_dotted(path)}"
        return f"{self.name}: {_dotted(path)}" if path else self.name

    def problem(self, path: _Key, message: str) -> tuple[int, str]:
        """A problem and the line it sorts by."""
        line = next(
            (self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), 0
        )
        return line, f"{self.place(path)}: {message}"

    def parse(self, model: type[_M], *, context: dict[str, Any] | None = None) -> _M:
        """The document as a model.

        Raises:
            ValidationError: it does not fit; `problems_of` gives the lines for people.
        """
        return model.model_validate(self.values, context=context, by_alias=True, by_name=False)

    def problems_of(self, error: ValidationError, model: type[BaseModel]) -> list[tuple[int, str]]:
        """One problem for each thing that validation found.

        Pydantic leaves wrong entries out before it counts them: none left is no problem of its own.
        """
        found = error.errors(include_url=False)
        inner = {item["loc"][:end] for item in found for end in range(len(item["loc"]))}
        return [
            self.problem(_readable(item["loc"]), _message(item, model))
            for item in found
            if item["type"] != "too_short" or item["loc"] not in inner
        ]


def parse_document(raw: bytes, name: str) -> Document:
    """The TOML document in these bytes.

    Raises:
        ValueError: they are not UTF-8 or not TOML; the message has file, line and column.
    """
    deep = f"{name}: not TOML that anybody wrote: nested too deeply"
    if raw.startswith(BOM_UTF8):
        raise ValueError(f"{name}:1: {BYTE_ORDER_MARK}")
    try:
        text = raw.decode()
        if _DEEP.search(text):
            raise ValueError(deep)
        values = tomllib.loads(text)
        lines = dict(_key_lines(text))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{name}:{line}: not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(_syntax(name, text, str(error))) from error
    except RecursionError as error:
        raise ValueError(deep) from error
    return Document(name, values, lines)


def meaning_of(value: object) -> Digest:
    """A digest of what a value means, whatever the order of its keys."""
    return digest_of(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def sorted_messages(problems: Iterable[tuple[int, str]]) -> tuple[str, ...]:
    """The problems' texts in the order of the file, each once."""
    return tuple(dict.fromkeys(text for _, text in sorted(problems)))


def fields_of(model: type[BaseModel]) -> dict[str | int, FieldInfo]:
    """A table's fields by the keys of the document."""
    fields = model.model_fields
    return {field.alias or name: field for name, field in fields.items()}


def model_in(annotation: object) -> type[BaseModel] | None:
    """The model of a field that holds one of it, many, or a table of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(model_in, get_args(annotation))), None)


def _syntax(name: str, text: str, message: str) -> str:
    found = _POSITION.search(message)
    what = _POSITION.sub("", message)
    if found and found["line"]:
        return f"{name}:{found['line']}:{found['column']}: not TOML: {what}"
    end = f"{text.count(chr(10)) + 1}:{len(text) - text.rfind(chr(10))}"
    return f"{name}:{end}: not TOML: {what}"


def _key_lines(text: str) -> Iterator[tuple[_Key, int]]:
    """Each key's path with its first line, 1-based; array tables carry their index."""
    table: _Key = ()
    counts: dict[_Key, int] = {}
    for line, statement in _statements(text):
        parsed = tomllib.loads(statement)
        if statement.lstrip().startswith("["):
            table, in_array = _header(parsed)
            table = _indexed(table, counts)
            if in_array:
                number = counts.get(table, 0)
                counts[table] = number + 1
                table = (*table, number)
            yield table, line
        else:
            for path in _paths(parsed):
                yield (*table, *path), line


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """The statements of a valid document, each with its first line.

    Only brackets and strings go on over the end of a line.
    """
    depth, start, first, line = 0, 0, 1, 1
    for found in _MARK.finditer(text + "\n"):
        mark = found[0]
        depth += (mark in _OPENING) - (mark in _CLOSING)
        line += mark.count("\n")
        if mark == "\n" and depth == 0:
            statement = text[start : found.end()]
            if statement.strip() and not statement.lstrip().startswith("#"):
                yield first, statement
            start, first = found.end(), line


def _header(parsed: dict[str, Any]) -> tuple[_Key, bool]:
    path: list[str | int] = []
    value: Any = parsed
    while isinstance(value, dict) and value:
        key = next(iter(value))
        path.append(key)
        value = value[key]
    return tuple(path), isinstance(value, list)


def _indexed(path: _Key, counts: dict[_Key, int]) -> _Key:
    """The path with the index of the current element after each array table on the way."""
    done: _Key = ()
    for position, key in enumerate(path):
        done = (*done, key)
        if position < len(path) - 1 and done in counts:
            done = (*done, counts[done] - 1)
    return done


def _paths(value: object) -> Iterator[_Key]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (key,)
            for path in _paths(inner):
                yield (key, *path)


def _dotted(path: _Key) -> str:
    parts = [
        part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else json.dumps(part)
        for part in map(str, path)
    ]
    return ".".join(parts)


def _readable(location: tuple[int | str, ...]) -> _Key:
    """The path as the user wrote it: validation names a mapping's own key as `[key]`."""
    return tuple(part for part in location if part != "[key]")


def _message(item: Any, model: type[BaseModel]) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    match item["type"]:
        case "extra_forbidden":
            known = _keys_beside(item["loc"], model)
            near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
            return "unknown key" + (f", did you mean '{near[0]}'?" if near else "")
        case "missing":
            return "is missing"
        case "value_error":
            return str(item["ctx"]["error"])
        case "too_short":
            return "must not be empty"
    text: str = _MUST_BE.get(item["type"]) or item["msg"]
    given = item["input"]
    shown = f", not {given!r}" if isinstance(given, str | int | float) else ""
    if isinstance(given, bool):
        shown = f", not {json.dumps(given)}"
    return text.replace("Input should be", "must be", 1) + shown


def _keys_beside(location: _Key, model: type[BaseModel]) -> tuple[str, ...]:
    """What the table knows in which this key stands."""
    for part in location[:-1]:
        if (field := fields_of(model).get(part)) is not None:
            model = model_in(field.annotation) or model
    return tuple(map(str, fields_of(model)))
