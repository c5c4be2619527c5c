"""What is installed beside the program, or read from the repository by other tools."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from airgapbuild.cli import app
from airgapbuild.cli.init import TEMPLATE
from airgapbuild.dockerfile.parser import read_dockerfile
from airgapbuild.manifest import read_manifest
from share.commands import commands
from share.generate import MAN_PAGE, man_page
from share.page import PAGES, chinese, english, page
from tests.support.program import PROGRAM, airgapbuild, environment

REPOSITORY = Path(__file__).parents[2]


def test_the_man_page_is_committed_as_the_commands_have_it() -> None:
    assert MAN_PAGE.read_text() == man_page(), "run `make share`"


@pytest.mark.parametrize("language", PAGES)
def test_so_are_the_pages_of_the_site(language: str) -> None:
    assert PAGES[language].read_text() == page(language), "run `make share`"


def test_what_is_translated_is_what_the_commands_say() -> None:
    assert not chinese().keys() - set(english()), (
        "these texts of share/commands.zh.toml have changed"
    )


def test_it_has_every_command_that_help_has() -> None:
    helped = airgapbuild("--help").stdout
    told = set(re.findall(r"^│ ([a-z][a-z-]*) ", helped, re.MULTILINE))
    assert {command.name.split()[0] for command in commands(app)} == told
    panels = re.findall(r"^\.SH COMMANDS: (.+)$", man_page(), re.MULTILINE)
    assert panels == [
        it.upper() for it in dict.fromkeys(command.panel for command in commands(app))
    ]


def test_the_manifest_of_our_image_has_the_bases_of_its_dockerfile() -> None:
    manifest = read_manifest(REPOSITORY / "bundles" / "image.toml")
    dockerfile = read_dockerfile(REPOSITORY / "Dockerfile")
    bases = [it.words[0] for it in dockerfile.instructions if it.name == "from"]
    declared = {str(it.ref) for it in manifest.images.values() if it.purpose == "base"}
    assert {f"docker.io/library/{name}" for name in bases} - {
        "docker.io/library/scratch"
    } == declared
    assert f'base.name="docker.io/library/{bases[-1]}"' in dockerfile.text


def test_pre_commit_is_given_a_command_that_fails_on_a_stale_lock(tmp_path: Path) -> None:
    hook = (REPOSITORY / ".pre-commit-hooks.yaml").read_text()
    [entry] = re.findall(r"^ *entry: (.+)$", hook, re.MULTILINE)
    [files] = re.findall(r"^ *files: (.+)$", hook, re.MULTILINE)
    (tmp_path / "airgapbuild.toml").write_text(TEMPLATE)
    program, *arguments = shlex.split(entry)
    done = airgapbuild(*arguments, cwd=tmp_path)
    assert (program, done.returncode) == ("airgapbuild", 4)
    assert re.search(files, "airgapbuild.toml")
    assert re.search(files, "airgapbuild.lock")
    assert not re.search(files, "docs/airgapbuild.toml.md")


def test_renovate_finds_the_references_of_registries() -> None:
    preset = json.loads((REPOSITORY / "share/renovate/airgapbuild.json").read_text())
    [manager] = preset["customManagers"]
    [pattern] = manager["matchStrings"]
    text = f"""
{TEMPLATE.replace("# [images.busybox]", "[images.busybox]").replace("# ref", "ref")}
[images.a]
ref = "registry.corp.example:5000/team/app:1.2-slim@sha256:{"a" * 64}"
[images.b]
  ref='busybox:1'
[images.c]
ref = "oci-layout:build/own:1.4"
[images.d]
ref = "docker-daemon:corp/own:1.4"
"""
    found = re.finditer(pattern.replace("(?<", "(?P<"), text)  # JavaScript's groups as Python's
    names = {m["depName"]: (m["currentValue"], m["currentDigest"]) for m in found}
    assert names == {
        "moby/buildkit": ("v0.34.2", None),
        "busybox": ("1", None),
        "registry.corp.example:5000/team/app": ("1.2-slim", f"sha256:{'a' * 64}"),
    }


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

    @pytest.mark.parametrize(
        "page", ["bundles/builders.toml", "bundles/mirrored.toml", "bundles/image.toml"]
    )
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
    (tmp_path / "schemas").symlink_to(REPOSITORY / "schemas")
    (tmp_path / "bundles").mkdir()
    for example in (REPOSITORY / "bundles").glob("*.toml"):
        (copy := tmp_path / "bundles" / example.name).write_text(example.read_text())
        assert linted(copy)
        copy.write_text(example.read_text() + "\n[bilder]\n")
        assert not linted(copy)
