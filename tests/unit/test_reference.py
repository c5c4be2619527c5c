from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgapbuild.oci.reference import Reference, parse_reference, parse_registry, parse_source

DIGEST = "sha256:" + "0f" * 32

COMPONENT = st.from_regex(r"[a-z0-9]{1,8}((\.|_|__|-{1,2})[a-z0-9]{1,5}){0,2}", fullmatch=True)
REGISTRY = st.one_of(
    st.just("docker.io"),
    st.from_regex(r"[a-z][a-z0-9]{0,6}\.[a-z]{2,5}(:[0-9]{2,5})?", fullmatch=True),
    st.just("localhost"),
    st.just("[::1]:5000"),
)
TAG = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)


@given(
    REGISTRY,
    st.lists(COMPONENT, min_size=2, max_size=4),
    st.none() | TAG,
    st.sampled_from(["", "@" + DIGEST]),
)
def test_the_full_form_and_the_familiar_form_mean_the_same(
    registry: str, path: list[str], tag: str | None, digest: str
) -> None:
    text = f"{registry}/{'/'.join(path)}{f':{tag}' if tag else ''}{digest}"
    reference = parse_reference(text)
    assert parse_reference(str(reference)) == reference
    assert parse_reference(reference.familiar) == reference


@given(st.text(max_size=80))
def test_any_text_is_a_reference_or_a_value_error(text: str) -> None:
    try:
        reference = parse_reference(text)
    except ValueError:
        return
    assert parse_reference(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("python", "docker.io/library/python:latest"),
        ("python:3.13-slim", "docker.io/library/python:3.13-slim"),
        ("moby/buildkit:v0.34.2", "docker.io/moby/buildkit:v0.34.2"),
        ("index.docker.io/library/python:3", "docker.io/library/python:3"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000/x:1", "localhost:5000/x:1"),
        ("127.0.0.1:1/airgapbuild/b:v1", "127.0.0.1:1/airgapbuild/b:v1"),
        (f"x@{DIGEST}", f"docker.io/library/x@{DIGEST}"),
        (f"x:1@{DIGEST}", f"docker.io/library/x:1@{DIGEST}"),
        ("Host/x:1", "Host/x:1"),
    ],
)
def test_short_names_mean_what_docker_takes_them_for(text: str, full: str) -> None:
    assert str(parse_reference(text)) == full


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is no repository name"),
        ("moby/BuildKit:v1", r"'moby/BuildKit' is no repository name \(must be lower case\)"),
        ("a:b:c", "is no repository name"),
        ("x:", "'' is no tag"),
        ("x:" + "t" * 129, "is no tag"),
        ("x@sha256:12", "is not a digest"),
        ("x@sha512:" + "0" * 128, "is not a digest"),
        ("https://x/y", "'https:' is no registry host"),
        ("-.example.com/x", "is no registry host"),
        ("0f" * 32, "is an image ID"),
        ("a/../b", "is no repository name"),
        ("x/" + "y" * 260, "more than 255 characters"),
    ],
)
def test_what_is_no_reference_says_which_part_is_wrong(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_reference(text)


@pytest.mark.parametrize("text", ["https://x", "x/y", "", "x:port", "a b"])
def test_a_registry_is_a_host_alone(text: str) -> None:
    with pytest.raises(ValueError, match="no scheme"):
        parse_registry(text)


@pytest.mark.parametrize(
    ("text", "means", "shown"),
    [
        ("oci-layout:out", ("", "out", None, None), "oci-layout:out"),
        ("oci-layout:../out/x:v1", ("", "../out/x", "v1", None), "oci-layout:../out/x:v1"),
        ("oci-layout://out:v1", ("", "out", "v1", None), "oci-layout:out:v1"),
        ("oci-layout:///srv/out", ("", "/srv/out", None, None), "oci-layout:/srv/out"),
        (f"oci-layout:~/o@{DIGEST}", ("", "~/o", None, DIGEST), f"oci-layout:~/o@{DIGEST}"),
        (
            "docker-daemon:python",
            ("docker.io", "library/python", "latest", None),
            "docker-daemon:python:latest",
        ),
        (
            "docker-daemon:r.example:5000/own:1",
            ("r.example:5000", "own", "1", None),
            "docker-daemon:r.example:5000/own:1",
        ),
        ("python:3", ("docker.io", "library/python", "3", None), "python:3"),
    ],
)
def test_a_transport_says_where_an_image_lies(
    text: str, means: tuple[str, str, str | None, str | None], shown: str
) -> None:
    reference = parse_source(text)
    found = (reference.registry, reference.repository, reference.tag, reference.digest)
    assert found == means
    assert reference.familiar == shown
    assert parse_source(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("oci-layout:", "names no folder"),
        ("oci-layout://:v1", "names no folder"),
        ("oci-layout:a\nb", "names no folder"),
        ("oci-layout:out:v 1", "'v 1' is no tag"),
        ("oci-layout:out@sha256:0", "is not a digest"),
        ("docker-daemon:A", "must be lower case"),
        (f"docker-daemon:python@{DIGEST}", "must be docker-daemon:repository:tag, without"),
    ],
)
def test_what_no_transport_leads_to_says_why(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_source(text)


@given(st.sampled_from(["oci-layout:", "docker-daemon:", ""]), st.text(max_size=60))
def test_any_text_is_a_source_or_a_value_error(transport: str, text: str) -> None:
    try:
        reference = parse_source(transport + text)
    except ValueError:
        return
    assert parse_source(str(reference)) == reference
    assert parse_source(reference.familiar) == reference


def test_a_digest_replaces_the_tag_in_registries_only() -> None:
    digest = parse_source(f"x@{DIGEST}").digest
    assert digest is not None
    assert str(parse_source("x:1").with_digest(digest)) == f"docker.io/library/x@{DIGEST}"
    assert parse_source("docker-daemon:x:1").with_digest(digest) == Reference(
        "docker.io", "library/x", "1", digest, "docker-daemon"
    )
