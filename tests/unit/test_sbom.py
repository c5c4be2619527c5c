"""A build's arguments, where it makes an SBOM."""

from __future__ import annotations

import pytest

from airgapbuild.builder.sbom import SCANNER, bring, scan_of
from airgapbuild.errors import BuilderError
from airgapbuild.oci.digest import digest_of

ONE, OTHER = digest_of(b"one"), digest_of(b"other")
DIGESTS = {SCANNER: ONE, "corp.example/scanner": OTHER}
BY_DIGEST = f"type=sbom,generator=docker/buildkit-syft-scanner@{ONE}"


@pytest.mark.parametrize(
    ("asked", "changed"),
    [
        (("--sbom=true",), BY_DIGEST),
        (("--sbom", "1"), BY_DIGEST),
        (("--attest", "type=sbom"), BY_DIGEST),
        (("--attest=type=sbom,disabled=false",), f"type=sbom,disabled=false,{BY_DIGEST[10:]}"),
        (
            ("--sbom=generator=corp.example/scanner:latest,x=y",),
            f"type=sbom,generator=corp.example/scanner@{OTHER},x=y",
        ),
        (('--attest=type=sbom,"x=a,b"',), f'type=sbom,"x=a,b",{BY_DIGEST[10:]}'),
    ],
)
def test_the_scanner_is_named_by_digest(asked: tuple[str, ...], changed: str) -> None:
    scan = scan_of(("-t", "app", *asked, "."), DIGESTS)
    assert scan is not None
    assert scan.arguments == ("-t", "app", "--attest", changed, ".")
    assert scan.scanner == ("corp.example/scanner" if "corp" in changed else SCANNER)
    assert scan.builder == ()


@pytest.mark.parametrize(
    "arguments",
    [
        (".",),
        ("--sbom=false", "."),
        ("--sbom",),
        ("--attest", "type=provenance,mode=max", "."),
        ("--attest=type=sbom,disabled=true", "."),
        ("--sbom=generator=not-loaded", "."),
        ("--sbom=generator=No Name", "."),
        ("--attest=", "."),
        ("--attest", "type=sbom\n,x", "."),
        ("--sbom", "generator=a\rb", "."),
    ],
)
def test_all_else_stays_as_it_is(arguments: tuple[str, ...]) -> None:
    assert scan_of(arguments, DIGESTS) is None


def test_a_scanner_that_was_not_loaded_stays_as_it_is() -> None:
    assert scan_of(("--sbom=true", "."), {}) is None


@pytest.mark.parametrize("builder", [("--builder", "b"), ("--builder=b",)])
def test_the_same_builder_gets_it(builder: tuple[str, ...]) -> None:
    scan = scan_of((*builder, "--sbom=true", "."), DIGESTS)
    assert scan is not None
    assert scan.builder == builder
    assert scan.arguments == (*builder, "--attest", BY_DIGEST, ".")


def test_a_builder_that_does_not_take_it_is_told() -> None:
    scan = scan_of(("--sbom=true", "."), DIGESTS)
    assert scan is not None
    script = "echo first >&2; echo 'ERROR: no' >&2; exit 3"
    with pytest.raises(BuilderError, match=f"did not take {SCANNER} from the layout: ERROR: no"):
        bring(scan, ("sh", "-c", script), {SCANNER: "oci-layout:///l"}, {"PATH": "/usr/bin:/bin"})
