"""Writes the JSON Schemas of airgapbuild's documents beside this file: `make schemas`.

They come from the models that read the documents, so they cannot say anything else. A test compares
them with what is committed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airgapbuild.bundle.index import BundleIndex
from airgapbuild.inventory import Inventory
from airgapbuild.lockfile import Lock
from airgapbuild.manifest import Manifest

if TYPE_CHECKING:
    from pydantic import BaseModel

DOCUMENTS: dict[str, tuple[str, type[BaseModel]]] = {
    "manifest.schema.json": ("airgapbuild.toml", Manifest),
    "lock.schema.json": ("airgapbuild.lock", Lock),
    "inventory.schema.json": ("inventory.json of a receiver", Inventory),
    "bundle.schema.json": ("bundle.json of an airgapbuild bundle", BundleIndex),
}


def schema_of(name: str) -> str:
    """The text of one schema file."""
    title, model = DOCUMENTS[name]
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_standard(model.model_json_schema(by_alias=True)),
        "title": title,
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _standard(part: Any) -> Any:  # noqa: ANN401 - any part of a JSON document
    """Without pydantic's `format: path`, which no JSON Schema has: strict validators refuse it."""
    if isinstance(part, list):
        return [_standard(item) for item in part]
    if isinstance(part, dict):
        return {k: _standard(v) for k, v in part.items() if (k, v) != ("format", "path")}
    return part


if __name__ == "__main__":
    for file in DOCUMENTS:
        (Path(__file__).parent / file).write_text(schema_of(file), encoding="utf-8")
