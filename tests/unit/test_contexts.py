"""Named contexts for what lies in a layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airgapbuild.builder.contexts import as_bake, as_compose, as_flags, as_words, contexts_of
from airgapbuild.errors import BundleError, UsageError
from airgapbuild.oci.content import OCI_INDEX, Descriptor
from airgapbuild.oci.derived import DERIVED_FROM
from airgapbuild.oci.digest import digest_of
from airgapbuild.oci.layout import Layout
from tests.support.program import airgapbuild, document

DIGEST = digest_of(b"index")


def filled(folder: Path, *names: str) -> Layout:
    layout = Layout(folder)
    layout.name(Descriptor(media_type=OCI_INDEX, digest=DIGEST, size=5), names)
    return layout


@pytest.mark.parametrize(
    ("name", "written"),
    [
        (
            "docker.io/library/python:3.13-slim",
            {"python:3.13-slim", f"python:3.13-slim@{DIGEST}", f"python@{DIGEST}"},
        ),
        (
            "docker.io/docker/dockerfile:1",
            {"docker/dockerfile:1", f"docker/dockerfile:1@{DIGEST}", f"docker/dockerfile@{DIGEST}"},
        ),
        # BuildKit looks `latest` up without the tag, but with it beside a digest.
        (
            "docker.io/library/alpine:latest",
            {"alpine", f"alpine:latest@{DIGEST}", f"alpine@{DIGEST}"},
        ),
        (
            "corp.example:5000/base/os:7",
            {
                "corp.example:5000/base/os:7",
                f"corp.example:5000/base/os:7@{DIGEST}",
                f"corp.example:5000/base/os@{DIGEST}",
            },
        ),
    ],
)
def test_an_image_is_found_as_dockerfiles_write_it(
    tmp_path: Path, name: str, written: set[str]
) -> None:
    contexts = contexts_of(filled(tmp_path, name))
    assert contexts == dict.fromkeys(written, f"oci-layout://{tmp_path}@{DIGEST}")


def test_an_image_with_raw_layers_goes_by_the_registrys_digest_as_well(tmp_path: Path) -> None:
    upstream = digest_of(b"upstream")
    top = Descriptor(
        media_type=OCI_INDEX, digest=DIGEST, size=5, annotations={DERIVED_FROM: upstream}
    )
    Layout(tmp_path).name(top, ("docker.io/library/a:1", "docker.io/library/b:2"))
    names = {
        f"{name}{digest}"
        for name in ("a:1", "a", "b:2", "b")
        for digest in ("", f"@{DIGEST}", f"@{upstream}")
    } - {"a", "b"}
    assert contexts_of(Layout(tmp_path)) == dict.fromkeys(
        names, f"oci-layout://{tmp_path}@{DIGEST}"
    )


def test_an_image_may_be_known_by_digest_alone(tmp_path: Path) -> None:
    contexts = contexts_of(filled(tmp_path, f"docker.io/library/a@{DIGEST}"))
    assert contexts == {f"a@{DIGEST}": f"oci-layout://{tmp_path}@{DIGEST}"}


@pytest.mark.parametrize("said", ["sha256:../etc", 1, None])
def test_an_upstream_digest_that_is_none_is_left_out(tmp_path: Path, said: object) -> None:
    filled(tmp_path, "docker.io/library/a:1")
    index = json.loads((tmp_path / "index.json").read_text())
    index["manifests"][0]["annotations"][DERIVED_FROM] = said
    (tmp_path / "index.json").write_text(json.dumps(index))
    assert len(contexts_of(Layout(tmp_path))) == 3


def test_the_folder_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    contexts = contexts_of(filled(Path("layout"), "docker.io/library/a:1"))
    assert contexts["a:1"] == f"oci-layout://{tmp_path}/layout@{DIGEST}"


@pytest.mark.parametrize("odd", [":", "@"])
def test_a_folder_that_buildx_would_cut_is_refused(tmp_path: Path, odd: str) -> None:
    folder = tmp_path / f"job{odd}2" / "layout"
    assert contexts_of(Layout(folder)) == {}
    layout = filled(folder, "docker.io/library/a:1")
    with pytest.raises(UsageError) as caught:
        contexts_of(layout)
    assert caught.value.message == f"{folder}: buildx would cut the layout's path at its '{odd}'"
    assert caught.value.hint
    (tmp_path / "link").symlink_to(folder)
    assert contexts_of(Layout(tmp_path / "link"))["a:1"] == (
        f"oci-layout://{tmp_path}/link@{DIGEST}"
    )


def test_flags_are_words_and_lines() -> None:
    contexts = {"a:1": "oci-layout:///l@sha256:1", "b": "oci-layout:///l@sha256:2"}
    lines = [
        "--build-context a:1=oci-layout:///l@sha256:1",
        "--build-context b=oci-layout:///l@sha256:2",
    ]
    assert as_words(contexts) == "\n".join(lines) + "\n"
    assert as_flags(contexts) == as_words(contexts).split()


@pytest.mark.parametrize("odd", [" ", "\t", "*", "?", "[", "'", '"', "\\"])
def test_a_folder_that_a_shell_would_split_is_refused(odd: str) -> None:
    with pytest.raises(UsageError, match="would split"):
        as_words({"a": f"oci-layout:///my{odd}layout@sha256:1"})


def test_files_for_bake_and_compose() -> None:
    contexts = {"a:1": "oci-layout:///l@sha256:1"}
    assert json.loads(as_bake(contexts, ["app", "web"])) == {
        "target": {"app": {"contexts": contexts}, "web": {"contexts": contexts}}
    }
    assert json.loads(as_compose(contexts, ["app"])) == {
        "services": {"app": {"build": {"additional_contexts": contexts}}}
    }


def test_what_bake_and_compose_would_put_in_is_no_variable() -> None:
    contexts = {"a:1": "oci-layout:///l/${x}$y%{z}%@sha256:1"}
    bake, compose = json.loads(as_bake(contexts, ["a"])), json.loads(as_compose(contexts, ["a"]))
    assert bake["target"]["a"]["contexts"] == {"a:1": "oci-layout:///l/$${x}$y%%{z}%@sha256:1"}
    assert compose["services"]["a"]["build"]["additional_contexts"] == {
        "a:1": "oci-layout:///l/$${x}$$y%{z}%@sha256:1"
    }


@pytest.mark.parametrize("content", [None, b'{"manifests": []}'])
def test_an_empty_layout_is_told(tmp_path: Path, content: bytes | None) -> None:
    if content:
        (tmp_path / "index.json").write_bytes(content)
    assert contexts_of(Layout(tmp_path)) == {}
    told = airgapbuild("contexts", "--layout", tmp_path)
    assert (told.returncode, told.stdout) == (7, "")
    assert "no image lies in this layout" in told.stderr
    assert "airgapbuild load" in told.stderr


@pytest.mark.parametrize(
    "entry",
    [
        {"digest": DIGEST},
        {"digest": DIGEST, "annotations": {"io.containerd.image.name": "No Name"}},
        {"digest": "sha256:../etc", "annotations": {"io.containerd.image.name": "b:1"}},
        "no entry",
    ],
)
def test_what_others_have_entered_is_left_out(tmp_path: Path, entry: object) -> None:
    filled(tmp_path, "docker.io/library/a:1")
    index = json.loads((tmp_path / "index.json").read_text())
    index["manifests"].append(entry)
    (tmp_path / "index.json").write_text(json.dumps(index))
    assert "a:1" in contexts_of(Layout(tmp_path))
    assert len(contexts_of(Layout(tmp_path))) == 3


@pytest.mark.parametrize("content", ["[]", "{", '{"manifests": 1}'])
def test_a_layout_that_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "index.json").write_text(content)
    with pytest.raises(BundleError, match=r"index\.json"):
        contexts_of(Layout(tmp_path))


def test_the_command_prints_what_is_asked_for(tmp_path: Path) -> None:
    filled(tmp_path / "l", "docker.io/library/a:1")
    source = f"oci-layout://{tmp_path}/l@{DIGEST}"
    plain = airgapbuild("contexts", "--quiet", "--layout", tmp_path / "l")
    assert plain.stdout.splitlines()[0] == f"--build-context a:1={source}"
    told = document(airgapbuild("contexts", "--json", "--layout", tmp_path / "l"))
    assert told["contexts"]["a:1"] == source
    bake = airgapbuild("contexts", "--format", "bake", "--layout", tmp_path / "l", "app")
    assert json.loads(bake.stdout)["target"]["app"]["contexts"]["a:1"] == source


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("app",), "options hold for the whole build"),
        (("--format", "bake"), "no targets are named for bake"),
        (("--format", "compose"), "no services are named for compose"),
    ],
)
def test_names_go_with_files_only(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    filled(tmp_path / "l", "docker.io/library/a:1")
    done = airgapbuild("contexts", "--layout", tmp_path / "l", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert not done.stdout
