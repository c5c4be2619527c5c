from __future__ import annotations

from string import ascii_lowercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgapbuild.registry.challenge import Challenge, parse_challenges

TOKEN = st.text("!#$%&'*+.^_`|~0123456789-" + ascii_lowercase, min_size=1)
PARAMETERS = st.dictionaries(TOKEN, st.text(st.characters(codec="latin-1"), max_size=20))
CHALLENGES = st.lists(st.tuples(TOKEN, PARAMETERS), max_size=4)


def quoted(value: str) -> str:
    return '"' + value.replace("\\", r"\\").replace('"', r"\"") + '"'


def rendered(challenges: list[tuple[str, dict[str, str]]]) -> str:
    return ", ".join(
        " ".join(
            part
            for part in (scheme, ", ".join(f"{k}={quoted(v)}" for k, v in parameters.items()))
            if part
        )
        for scheme, parameters in challenges
    )


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('Basic realm="a, b"', [("basic", {"realm": "a, b"})]),
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
            'scope="repository:library/python:pull,push"',
            [
                (
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:library/python:pull,push",
                    },
                )
            ],
        ),
        (
            'Negotiate YWJj==, BEARER Realm = "x" , Service=y, Basic realm="z"',
            [
                ("negotiate", {}),
                ("bearer", {"realm": "x", "service": "y"}),
                ("basic", {"realm": "z"}),
            ],
        ),
        (r'Basic realm="a \"quoted\" word"', [("basic", {"realm": 'a "quoted" word'})]),
        ("Bearer realm=https://x/token", [("bearer", {"realm": "https://x/token"})]),
        (',, Basic , ,Bearer a="b",', [("basic", {}), ("bearer", {"a": "b"})]),
        ('Basic realm="never closed', [("basic", {})]),
        ('realm="nobody"', []),
    ],
)
def test_header_is_read_as_its_challenges(
    header: str, expected: list[tuple[str, dict[str, str]]]
) -> None:
    assert parse_challenges(header) == tuple(Challenge(*one) for one in expected)


@given(CHALLENGES)
def test_what_is_written_by_the_grammar_is_read_back(
    challenges: list[tuple[str, dict[str, str]]],
) -> None:
    assert parse_challenges(rendered(challenges)) == tuple(
        Challenge(scheme, parameters) for scheme, parameters in challenges
    )


@given(st.text())
def test_no_header_breaks_the_parser(header: str) -> None:
    parse_challenges(header)


def test_a_long_header_is_read_in_no_time() -> None:
    for part in ('Bearer a="', "a=b, ", "Basic ", '"\\', " ,\t", "a=" * 3):
        parse_challenges("Bearer " + part * 20_000)
