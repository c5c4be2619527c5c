"""Targets: references, platforms, digests and the headers of a tar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airgapbuild.bundle.index import parse_sums, render_sums
from airgapbuild.oci.archive import BLOCK, Member, blob_digest, parse_header
from airgapbuild.oci.digest import parse_digest
from airgapbuild.oci.platform import parse_platform
from airgapbuild.oci.reference import (
    parse_prefix,
    parse_reference,
    parse_registry,
    parse_source,
    parse_tag,
)
from tests.fuzz.target import Target
from tests.fuzz.tars import with_sum

if TYPE_CHECKING:
    from collections.abc import Callable

_DIGEST = "sha256:" + "0123456789abcdef" * 4
_BLOB = f"blobs/sha256/{_DIGEST[7:]}"
_PARSERS: tuple[Callable[[str], Any], ...] = (
    parse_reference,
    parse_source,
    parse_platform,
    parse_digest,
    parse_prefix,
    parse_registry,
    parse_tag,
)


def _value(data: bytes) -> None:
    """The first byte chooses the parser; what is parsed is read back as the same."""
    parse = _PARSERS[data[0] % len(_PARSERS)] if data else parse_reference
    value = parse(data[1:].decode("utf-8", "surrogateescape"))
    assert parse(str(value)) == value
    if parse in {parse_reference, parse_source}:
        assert parse(value.familiar) == value
        assert str(value).isprintable()


def _header(data: bytes) -> None:
    """The first byte says whether the sum is made to fit."""
    block = data[1 : BLOCK + 1].ljust(BLOCK, b"\0")
    member = parse_header(block if data[:1] == b"-" else with_sum(block))
    assert member.size >= 0
    assert blob_digest(member.name) or member.name in {"oci-layout", "index.json", "manifest.json"}


def _sums(data: bytes) -> None:
    sums = parse_sums(data, "SHA256SUMS")
    assert all("/" not in name and name.isprintable() for name in sums)
    assert parse_sums(render_sums(sums), "SHA256SUMS") == sums


TARGETS = (
    Target(
        "value",
        _value,
        tuple(
            bytes([n]) + text.encode()
            for n in range(len(_PARSERS))
            for text in (
                "python:3.13-slim",
                f"localhost:5000/a/b.c-d__e@{_DIGEST}",
                "oci-layout://build/own:1.4",
                "docker-daemon:corp.example/own:1",
                "[::1]:5000/library/a/b:c",
                "linux/arm/v7",
                _DIGEST,
            )
        ),
        inputs=180_000,
        values=True,
        words=(b"docker.io/library/", b"oci-layout:", b"docker-daemon:", b"@sha256:", b"localhost"),
    ),
    Target(
        "header",
        _header,
        tuple(
            b"+" + Member(name, size).header
            for name in ("oci-layout", "index.json", _BLOB)
            for size in (0, 511, 8 << 30, 1 << 62)
        ),
        inputs=180_000,
        words=(
            b"\x80",
            b"\xff" * 12,
            b"ustar\x0000",
            b"ustar  \0",
            b"GNU.sparse",
            b"blobs/sha256/",
        ),
    ),
    Target(
        "sums",
        _sums,
        (render_sums({"bundle.json": "0" * 64, "airgapbuild.lock": "f" * 64}),),
        inputs=120_000,
        words=(b"  ", b" *", b"\r\n", b"../", b"0" * 64),
    ),
)
