from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from airgapbuild.cli.init import TEMPLATE
from schemas.generate import DOCUMENTS, schema_of

SCHEMAS = Path(__file__).parents[2] / "schemas"
GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_schema_is_committed_as_the_models_have_it(name: str) -> None:
    assert (SCHEMAS / name).read_text() == schema_of(name), "run `make schemas`"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(schema_of(name)))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("manifest.schema.json", TEMPLATE),
        ("lock.schema.json", (GOLDEN / "airgapbuild.lock").read_text()),
    ],
)
def test_what_we_write_fits_its_schema(name: str, text: str) -> None:
    jsonschema.validate(tomllib.loads(text), json.loads(schema_of(name)))


def test_a_wrong_document_does_not() -> None:
    document = tomllib.loads(TEMPLATE.replace("role = ", "rolle = "))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, json.loads(schema_of("manifest.schema.json")))


def test_formats_are_only_those_that_every_validator_knows() -> None:
    assert not [name for name in DOCUMENTS if '"format": "' in schema_of(name)]
