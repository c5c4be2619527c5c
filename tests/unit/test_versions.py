from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgapbuild.versions import MAX_CANDIDATES, candidates, is_floating, newer, parse_version

PARTS = st.lists(st.integers(0, 40).map(str), min_size=1, max_size=4).map(".".join)
STAGES = st.sampled_from(["", "-rc1", "rc2", "-beta.3", "-alpha", "a1", "-dev"])
TAGS = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "v", "qemu-v", "bookworm-", "stable-"]),
        PARTS,
        STAGES,
        st.sampled_from(["", "-slim", "-rootless", "-alpine3.20", "-69"]),
    ),
)
ANYTHING = (
    TAGS | st.text(max_size=150) | st.sampled_from(["latest", "edge", "20240911", "9" * 5000])
)


@pytest.mark.parametrize(
    ("tag", "tags", "expected"),
    [
        ("v0.34.2", "v0.34.1 v0.34.2 v0.35.0 v0.100.0 0.36.0 v0.36 v1", "v0.35.0 v0.100.0"),
        ("v0.34.2", "v0.35.0-rc1 v0.35.0-rootless v0.35.0-beta2", ""),
        ("v0.34.2-rootless", "v0.35.0 v0.35.0-rootless v0.36.0-rc1-rootless", "v0.35.0-rootless"),
        ("v1.0-rc1", "v1.0-rc2 v1.0 v1.0-beta9 v1.1-rc1", "v1.0-rc2 v1.0 v1.1-rc1"),
        ("3.13-slim", "3.14-slim 3.14 3.14.1-slim 3.12-slim 3.15-rc-slim 4-slim", "3.14-slim"),
        ("3.1.0rc2-slim", "3.1.0rc3-slim 3.1.0a7-slim 3.1.0-slim", "3.1.0rc3-slim 3.1.0-slim"),
        ("1.19", "1.20 1.20.0 1 2 1.21-labs 1.9 1.100", "1.20 1.100"),
        ("1", "2 1.5 10", "2 10"),
        ("3", "4 20240807", "4"),
        ("20240807", "20250108 99 3", "20250108"),
        ("jammy-20240911", "jammy-20241001 noble-20241001 jammy", "jammy-20241001"),
        ("qemu-v10.0.4-56", "qemu-v10.2.3-69 qemu-v10.2.3 v10.2.3-70", "qemu-v10.2.3-69"),
        ("21.0.4_7-jre", "21.0.5_11-jre 21.0.5.11-jre 21.0.4_7-jdk", "21.0.5_11-jre"),
        ("8-jre-alpine3.20", "11-jre-alpine3.20 11-jre-alpine3.21", "11-jre-alpine3.20"),
        ("buildx-stable-1", "buildx-stable-2 v0.35.0", "buildx-stable-2"),
        ("1.02", "1.2 1.3 1.2.0", "1.3"),
        ("latest", "v2 latest 3.4", ""),
        ("1.0-12ab34f", "1.0-12ab34e 1.1-12ab34f 1.1-99ab34f", "1.1-12ab34f"),
    ],
)
def test_newer_versions_are_those_of_the_same_scheme(tag: str, tags: str, expected: str) -> None:
    assert newer(tag, tags.split()) == tuple(expected.split())


@pytest.mark.parametrize(
    ("tag", "floating"),
    [
        *((tag, True) for tag in ("latest", "edge", "slim", "bookworm-slim", "1", "v1", "3-slim")),
        *((tag, True) for tag in ("buildx-stable-1", "buildx-stable-1-rootless", "8-jre")),
        *((tag, False) for tag in ("3.13", "3.13-slim", "v0.34.2", "24.04", "qemu-v10.2.3")),
        *((tag, False) for tag in ("20240911", "jammy-20240911", "sha-abc1234", "main-0123456")),
    ],
)
def test_a_tag_floats_that_names_no_version_or_only_its_first_part(
    tag: str, floating: bool
) -> None:
    assert is_floating(tag) is floating


@pytest.mark.parametrize(
    ("tag", "tags", "expected"),
    [
        ("latest", "v0.34.2 v0.35.0 v0.36.0-rc1 v0.35.0-rootless latest", "v0.35.0 v0.34.2"),
        ("buildx-stable-1", "v0.35.0 v0.35.0-rootless buildx-stable-1", "v0.35.0"),
        ("buildx-stable-1-rootless", "v0.35.0 v0.35.0-rootless", "v0.35.0-rootless"),
        ("3-slim", "3.14-slim 3.14.2-slim 3.13.9-slim 2.7-slim 3.14.2", "3.14.2-slim 3.13.9-slim"),
        ("1-labs", "1.19-labs 1.20.0-labs 1.20-labs 1.20", "1.20.0-labs 1.19-labs"),
        ("stable-alpine", "1.28.0-alpine 1.28.0", "1.28.0-alpine"),
        ("stable", "1.28.0-alpine 1.28.0", "1.28.0"),
        ("slim", "3.14.2-slim 3.14.2", "3.14.2-slim"),
        ("bookworm-slim", "bookworm-20240926-slim 3.1", "bookworm-20240926-slim"),
        ("latest", "qemu-v10.2.3 qemu-v10.0.4-56", "qemu-v10.2.3 qemu-v10.0.4-56"),
        ("latest", "latest edge 3", ""),
    ],
)
def test_a_floating_tag_has_likely_versions(tag: str, tags: str, expected: str) -> None:
    assert candidates(tag, tags.split()) == tuple(expected.split())


@given(ANYTHING, st.lists(ANYTHING))
def test_whatever_the_tags_newer_ones_are_newer(tag: str, tags: list[str]) -> None:
    found = newer(tag, tags)
    assert set(found) <= set(tags) - {tag}
    pin = parse_version(tag)
    for other in map(parse_version, found):
        assert pin is not None
        assert other is not None
        assert other.scheme == pin.scheme
        assert other.order > pin.order
        assert newer(other.tag, [tag]) == ()


@given(st.lists(TAGS, unique=True, min_size=2))
def test_the_order_of_the_registry_does_not_matter(tags: list[str]) -> None:
    assert newer(tags[0], tags) == newer(tags[0], reversed(tags))
    assert candidates("latest", tags) == candidates("latest", reversed(tags))


@given(TAGS, st.lists(TAGS))
def test_each_newer_tag_is_newer_than_those_before_it(tag: str, tags: list[str]) -> None:
    found = newer(tag, tags)
    for n, one in enumerate(found):
        assert not set(newer(one, found)) & set(found[: n + 1])


@given(ANYTHING, st.lists(ANYTHING))
def test_candidates_are_few_and_stay_where_they_are(tag: str, tags: list[str]) -> None:
    found = candidates(tag, tags)
    assert len(found) <= MAX_CANDIDATES
    assert len(set(found)) == len(found)
    assert not any(map(is_floating, found))


@given(TAGS)
def test_a_version_is_all_of_its_tag(tag: str) -> None:
    version = parse_version(tag)
    assert version is not None
    assert tag.startswith(version.head)
    assert tag.endswith(version.tail)
    assert len(version.separators) == len(version.numbers) - 1
