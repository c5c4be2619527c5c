"""Dockerfiles, as far as it takes to know the images that they need."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgapbuild.dockerfile.images import Build, needs
from airgapbuild.dockerfile.parser import Dockerfile, read_dockerfile
from airgapbuild.dockerfile.words import expand
from airgapbuild.errors import UsageError
from airgapbuild.oci.platform import Platform, parse_platform
from airgapbuild.oci.reference import Reference, parse_reference
from tests.support.program import PROGRAM

AMD64, ARM64 = parse_platform("linux/amd64"), parse_platform("linux/arm64")
DIGEST = "sha256:" + "0" * 64
VALUES = {"A": "abc", "E": "", "V": "1.2.3-slim", "P": "a/b/a.tar"}


def nothing(_image: Reference, _platform: Platform) -> tuple[str, ...]:
    return ()


def images(text: str, target: str | None = None, **arguments: str) -> list[str]:
    """The names of what a build needs."""
    build = Build(AMD64, AMD64, arguments, target)
    return [need.name for need in needs(Dockerfile("Dockerfile", text), build, nothing).images]


def problem(text: str, target: str | None = None) -> str:
    with pytest.raises(UsageError) as failed:
        images(text, target)
    return failed.value.message


# The results are those of BuildKit's own frontend/dockerfile/shell.
@pytest.mark.parametrize(
    ("word", "result"),
    [
        ("plain:1", "plain:1"),
        ("$A-${A}", "abc-abc"),
        ("$NONE.${NONE}", "."),
        ("$", "$"),
        ("a$.b", "a$.b"),
        ("${NONE:-x}${E:-x}${A:-x}", "xxabc"),
        ("${NONE-x}${E-x}", "x"),
        ("${NONE:+x}${E:+x}${A:+x}", "x"),
        ("${NONE+x}${E+x}", "x"),
        ("${NONE:-${E:-$A}}", "abc"),
        ("${A:?wanted}", "abc"),
        ("${V%-*}", "1.2.3"),
        ("${V%.*}", "1.2"),
        ("${V%%.*}", "1"),
        ("${V#*.}", "2.3-slim"),
        ("${V##*.}", "3-slim"),
        ("${V#x}${V%x}", "1.2.3-slim1.2.3-slim"),
        ("${P/a/x}", "x/b/a.tar"),
        ("${P//a/x}", "x/b/x.txr"),
        ("${P//?\\//}", "a.tar"),
        ("""'$A'"$A\\$\\x" """, "$Aabc$\\x "),
        ("\\$A", "$A"),
        ('"quoted":1', "quoted:1"),
    ],
)
def test_variables_are_put_in(word: str, result: str) -> None:
    assert expand(word, VALUES) == result


def test_words_may_lie_in_one_another() -> None:
    assert expand(f"{'${NONE:-' * 99}x{'}' * 99}", VALUES) == "x"
    assert expand("${NONE:-a}" * 200, VALUES) == "a" * 200


def test_the_escape_character_can_be_another_one() -> None:
    assert expand("`$A\\$A", VALUES, "`") == "$A\\abc"


@given(st.text(st.sampled_from("$${}AEVN:-+?#%/*'\"\\ é")), st.sampled_from("\\`"))
def test_any_word_has_a_meaning_or_none(word: str, escape: str) -> None:
    with suppress(ValueError):
        assert isinstance(expand(word, VALUES, escape), str)


@pytest.mark.parametrize("word", ["${A", "${", "${}", "${A:-x", "'a", '"a', "${A!x}", "${A/b}"])
def test_what_is_not_closed_is_told(word: str) -> None:
    with pytest.raises(ValueError, match=r"missing|closed|bad"):
        expand(word, VALUES)


def test_a_value_that_must_be_there() -> None:
    with pytest.raises(ValueError, match="NONE: say which"):
        expand("${NONE:?say which}", VALUES)


@pytest.mark.parametrize(
    ("text", "syntax"),
    [
        ("# syntax=docker/dockerfile:1\nFROM a", "docker/dockerfile:1"),
        ("#syntax = docker/dockerfile:1  \nFROM a", "docker/dockerfile:1"),
        ("# SYNTAX=a\n", "a"),
        ("# syntax=a with words\n", "a"),
        ("# syntax=a\r\nFROM b\r\n", "a"),
        ("# check=skip=all\n# escape=`\n# syntax=a\n", "a"),
        ("#!/usr/bin/env build\n# syntax=a\n", "a"),
        ("// syntax=a\n{}", "a"),
        ('{"syntax": "a"}', "a"),
        ("# a comment\n# syntax=a\n", None),
        ("\n# syntax=a\n", None),
        ("FROM a\n# syntax=a\n", None),
        ("# other=x\n# syntax=a\n", None),
        ('{"syntax": 1}', None),
        ('{"a":' * 100_000, None),
        ("[1]", None),
        ("", None),
    ],
)
def test_the_frontend_is_detected(text: str, syntax: str | None) -> None:
    assert Dockerfile("Dockerfile", text).syntax == syntax


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_bytes(b"\xef\xbb\xbf# syntax=a\n")
    assert read_dockerfile(tmp_path / "Dockerfile").syntax == "a"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_dockerfile(tmp_path / "none")
    with pytest.raises(UsageError, match="directory"):
        read_dockerfile(tmp_path)
    (tmp_path / "latin").write_bytes(b"# \xe9\n")
    with pytest.raises(UsageError, match="no text in UTF-8"):
        read_dockerfile(tmp_path / "latin")


def test_every_kind_of_source_counts() -> None:
    text = """
        # syntax=no/directive:1
        FROM one:1
        COPY --chmod=755 --from=two:2 /a /b
        RUN --mount=type=cache,target=/c --mount=type=bind,from=three:3,target=/t true
        run --mount=type=bind,"from=four:4",target=/t true
        ADD https://example.org/x /x
        """
    assert images(text) == ["one:1", "two:2", "three:3", "four:4"]


def test_stages_are_no_images() -> None:
    text = """
        FROM --platform=linux/arm64 one AS First
        FROM first AS second
        COPY --from=0 /a /b
        COPY --from=FIRST /a /b
        RUN --mount=from=second,target=/x true
        FROM scratch
        COPY --from=second /a /b
        """
    assert images(text) == ["one"]


def test_a_name_means_the_stage_before() -> None:
    assert images("FROM one AS a\nFROM a AS a\nFROM a") == ["one"]
    # Its own stage is none yet.
    assert images("FROM alpine AS alpine\nRUN true") == ["alpine"]


def test_stages_that_the_target_does_not_need_are_left_out() -> None:
    text = "FROM one AS a\nFROM two AS b\nFROM three AS c\nCOPY --from=a / /\nFROM four"
    assert images(text) == ["four"]
    assert images(text, "C") == ["three", "one"]
    assert images(text, "b") == ["two"]


def test_arguments_before_the_first_stage_count() -> None:
    text = 'ARG V=1 W\nARG NAME="base-$V"\nFROM ${NAME}:${W:-x}\nARG V=5\nFROM $NAME:$V'
    assert images(text) == ["base-1:1"]
    assert images(text, V="2") == ["base-2:2"]
    assert images(text, NAME="n", V="2") == ["n:2"]
    assert images("ARG W\nFROM a:${W:-x}", W="w") == ["a:w"]
    # Only what is declared can be given.
    assert images("FROM a:${W:-x}", W="w") == ["a:x"]


def test_platforms_are_predefined() -> None:
    text = """
        FROM --platform=$BUILDPLATFORM one:$TARGETARCH AS a
        FROM two:$BUILDARCH-$TARGETOS$TARGETVARIANT
        COPY --from=a / /
        COPY --from=three / /
        """
    found = needs(Dockerfile("Dockerfile", text), Build(ARM64, AMD64), nothing)
    assert [(need.name, str(need.platform)) for need in found.images] == [
        ("two:amd64-linux", "linux/arm64"),
        ("three", "linux/arm64"),
        ("one:arm64", "linux/amd64"),
    ]


def test_what_stands_in_a_heredoc_is_no_instruction() -> None:
    text = "FROM one\nRUN <<EOT\nFROM two\nEOT\nCOPY <<a <<b /\nFROM three\na\nFROM four\nb\n"
    assert images(text) == ["one"]


def test_the_escape_directive_counts() -> None:
    assert images("# escape=`\nARG A=1\nFROM one:`\n$A\n") == ["one:1"]


def test_a_frontend_is_an_image() -> None:
    text = "# syntax=docker/dockerfile:1\nFROM one"
    assert images(text) == ["docker/dockerfile:1", "one"]
    assert images(text, BUILDKIT_SYNTAX="mirror.example/docker/dockerfile:2 x") == [
        "mirror.example/docker/dockerfile:2",
        "one",
    ]
    assert images(text, BUILDKIT_SYNTAX="dockerfile.v0") == ["one"]


@pytest.mark.parametrize("text", ["# syntax=corp/own:1\nFROM one", '{"syntax": "corp/own:1"}'])
def test_of_another_frontend_nothing_else_is_told(text: str) -> None:
    assert images(text) == ["corp/own:1"]


def test_onbuild_of_a_base_counts() -> None:
    def triggers(image: Reference, platform: Platform) -> tuple[str, ...]:
        assert platform == AMD64
        if image != parse_reference("one"):
            return ()
        return ("COPY --from=two /a /b", "RUN --mount=from=first,target=/x true", "ENV A=b")

    text = "FROM three AS first\nFROM one\n"
    found = needs(Dockerfile("D", text), Build(AMD64, AMD64), triggers)
    assert [(need.name, need.place) for need in found.images] == [
        ("one", "D:2"),
        ("two", "D:2"),
        ("three", "D:1"),
    ]


def test_onbuild_of_a_stage_counts_for_the_next_one() -> None:
    text = "FROM scratch AS a\nONBUILD COPY --from=two /a /b\n"
    assert images(text) == []
    assert images(text + "FROM a") == ["two"]


def test_contexts_of_the_users_own_are_no_images() -> None:
    text = "FROM one AS a\nFROM two:latest\nCOPY --from=a / /\nCOPY --from=three / /"
    build = Build(AMD64, AMD64, contexts=frozenset({"a", "two", "three"}))
    assert needs(Dockerfile("Dockerfile", text), build, nothing).images == ()


def test_the_stages_that_are_come_by_are_told() -> None:
    found = needs(
        Dockerfile("D", "FROM one AS a\nFROM two AS b\nFROM a AS c"), Build(AMD64, AMD64), nothing
    )
    assert found.stages == (("c", "D:3"), ("a", "D:1"))


@pytest.mark.parametrize(
    "name", ["python", "python:3.13", "a.b/c", f"one@{DIGEST}", f"o:1@{DIGEST}"]
)
def test_names_are_read_as_buildkit_reads_them(name: str) -> None:
    [need] = needs(Dockerfile("Dockerfile", f"FROM {name}"), Build(AMD64, AMD64), nothing).images
    assert need.reference == parse_reference(name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no instructions"),
        ("ARG A=1\n", "no FROM"),
        ("FROM\n", "FROM takes IMAGE"),
        ("FROM a b\n", "FROM takes IMAGE"),
        ("FROM a to b\n", "Dockerfile:1: FROM takes IMAGE"),
        ("ARG A\nFROM $A\n", "Dockerfile:2: FROM $A: no value, no image"),
        ("FROM ${A\n", "Dockerfile:1: '${A': bad substitution"),
        (
            f"FROM {'${A:-' * 2000}x{'}' * 2000}\n",
            f"Dockerfile:1: '{'${A:-' * 8}…': more than 100 words in one another",
        ),
        (
            "FROM a:1\n#\0\nFROM b:1\n",
            "Dockerfile:2: has a NUL character, where the parser would stop",
        ),
        ('ARG A="${B:?say it}"\nFROM a', "Dockerfile:1: B: say it"),
        ("FROM One\n", "must be lower case"),
        ("FROM --platform=plan9 a\n", "'plan9' is not a platform"),
        ("FROM a\nCOPY --from=7 / /\n", "Dockerfile:2: there is no stage 7"),
        ("FROM a\nCOPY --from=$A / /\n", "Dockerfile:2: from=$A"),
        ("FROM a\nRUN <<EOT\n", "unterminated heredoc"),
        ("# syntax=No/Name\nFROM a\n", "must be lower case"),
    ],
)
def test_what_no_build_can_come_of_is_told(text: str, said: str) -> None:
    assert said in problem(text)


def test_a_target_must_be_there() -> None:
    assert problem("FROM a AS one\nFROM b AS two", "three") == (
        "Dockerfile: no stage is called 'three'; those with names: one, two"
    )


def test_without_the_parser_it_says_how_to_get_it() -> None:
    code = """
import sys
sys.modules["dockerfile"] = None
from airgapbuild.dockerfile.parser import parse_instructions
from airgapbuild.errors import UsageError
try:
    parse_instructions("FROM a", "Dockerfile")
except UsageError as error:
    sys.exit(f"{error} - {error.hint}")
"""
    done = subprocess.run(
        [PROGRAM.parent / "python", "-c", code], check=False, capture_output=True, text=True
    )
    assert (
        "no parser for Dockerfiles is installed - pip install 'airgapbuild[check]'" in done.stderr
    )
