from __future__ import annotations

import json
import subprocess
import tomllib
from pathlib import Path

import jsonschema
import pytest

from airgapbuild.cli.init import TEMPLATE
from schemas.generate import DOCUMENTS, schema_of
from tests.support.program import PROGRAM, environment

REPOSITORY = Path(__file__).parents[2]
SCHEMAS = REPOSITORY / "schemas"
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


def linted(manifest: Path, *options: str) -> bool:
    """Whether taplo, which editors run, has nothing against it."""
    command = [str(PROGRAM.parent / "taplo"), "lint", "--no-auto-config", *options, str(manifest)]
    return not subprocess.run(command, env=environment(), check=False).returncode


class TestSchemaStore:
    """Its catalog leads an editor to the schema by the file's name alone."""

    @pytest.fixture
    def catalog(self, tmp_path: Path) -> str:
        """The catalog with our entry, whose address is one of this repository's files."""
        entry = json.loads((REPOSITORY / "share/schemastore/catalog-entry.json").read_text())
        place = entry["url"].partition("/main/")[2]
        entry["url"] = (REPOSITORY / place).as_uri()
        catalog = tmp_path / "catalog.json"
        kind = "https://json.schemastore.org/schema-catalog.json"
        catalog.write_text(json.dumps({"$schema": kind, "version": 1, "schemas": [entry]}))
        return f"--schema-catalog={catalog.as_uri()}"

    @pytest.fixture
    def manifest(self, tmp_path: Path) -> Path:
        return tmp_path / "airgapbuild.toml"

    @pytest.mark.parametrize("page", ["bundles/builders.toml", "bundles/mirrored.toml"])
    def test_the_examples_are_right(self, catalog: str, manifest: Path, page: str) -> None:
        manifest.write_text((REPOSITORY / page).read_text().partition("\n")[2])
        assert linted(manifest, catalog)

    def test_what_init_writes_is_right(self, catalog: str, manifest: Path) -> None:
        manifest.write_text(TEMPLATE)
        assert linted(manifest, catalog)

    @pytest.mark.parametrize(
        ("right", "wrong"),
        [
            ("\nrole = ", "\nrolle = "),
            ("[builder]", "[bilder]"),
            ('role = "builder"', 'role = "build"'),
            ("version = 1", 'version = "1"'),
            ('["linux/amd64"]', '"linux/amd64"'),
            ("sealed = true", 'sealed = "yes"'),
            ("max-parallelism = 4", "max-parallel = 4"),
        ],
    )
    def test_a_mistake_is_told(self, catalog: str, manifest: Path, right: str, wrong: str) -> None:
        assert right in TEMPLATE
        manifest.write_text(TEMPLATE.replace(right, wrong))
        assert not linted(manifest, catalog)

    def test_other_toml_files_are_not_ours(self, catalog: str, tmp_path: Path) -> None:
        (tmp_path / "other.toml").write_text("rolle = 1\n")
        assert linted(tmp_path / "other.toml", catalog)


def test_the_first_line_of_the_examples_leads_an_editor_to_the_schema(tmp_path: Path) -> None:
    (tmp_path / "schemas").symlink_to(SCHEMAS)
    (tmp_path / "bundles").mkdir()
    for example in (REPOSITORY / "bundles").glob("*.toml"):
        (copy := tmp_path / "bundles" / example.name).write_text(example.read_text())
        assert linted(copy)
        copy.write_text(example.read_text() + "\n[bilder]\n")
        assert not linted(copy)
