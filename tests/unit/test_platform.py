from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgapbuild.oci.platform import parse_platform

PART = st.from_regex(r"[A-Za-z0-9_.-]{1,8}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/amd64", "linux/amd64"),
        ("Linux/x86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/i386", "linux/386"),
    ],
)
def test_one_platform_has_one_spelling(text: str, normal: str) -> None:
    assert str(parse_platform(text)) == normal


@given(PART, PART, st.none() | PART)
def test_a_normal_spelling_stays(os: str, architecture: str, variant: str | None) -> None:
    once = parse_platform("/".join(filter(None, (os, architecture, variant))))
    assert parse_platform(str(once)) == once
    assert "/" not in once.slug


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/am d64"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a platform: write os/architecture"):
        parse_platform(text)
