"""Tars whose headers' sums fit, whatever else is wrong with them."""

from __future__ import annotations

from airgapbuild.oci.archive import BLOCK

_SUM = slice(148, 156)
_SIZE = slice(124, 136)


def with_sum(header: bytes) -> bytes:
    """The header with the sum that it should have."""
    total = sum(header) - sum(header[_SUM]) + 8 * ord(" ")
    return header[: _SUM.start] + b"%06o\0 " % total + header[_SUM.stop :]


def with_sums(tar: bytes) -> bytes:
    """The tar with such headers, as far as their sizes lead from one to the next."""
    out = bytearray(tar)
    at = 0
    while at + BLOCK <= len(out) and any(out[at : at + BLOCK]):
        header = bytes(out[at : at + BLOCK])
        out[at : at + BLOCK] = with_sum(header)
        digits = header[_SIZE].strip(b" \0")
        size = int(digits, 8) if digits and not digits.strip(b"01234567") else 0
        at += BLOCK + size + -size % BLOCK
    return bytes(out)
