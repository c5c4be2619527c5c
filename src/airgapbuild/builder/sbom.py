"""The scanner of SBOMs out of the layout.

BuildKit looks a scanner up in a registry, whatever contexts there are. But it asks none for an
image by digest that lies in its own content store, where one lands that a build has taken from a
context: so a build that does nothing else comes first, and then the scanner is named by digest.

Source: moby/buildkit frontend/attestations/parse.go (what `attest:sbom` means) and sbom/sbom.go;
util/imageutil/config.go (`Config`); docker/buildx util/buildflags/attests.go (`--sbom`).
"""

from __future__ import annotations

import csv
import io
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from airgapbuild.errors import BuilderError
from airgapbuild.oci.reference import parse_reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airgapbuild.oci.digest import Digest

SCANNER: Final = "docker/buildkit-syft-scanner:stable-1"
"""What BuildKit makes SBOMs with unless told otherwise."""

_OPTIONS: Final = frozenset({"--sbom", "--attest", "--builder"})
_TRUE: Final = frozenset({"1", "t", "true"})
_FALSE: Final = frozenset({"0", "f", "false"})
# The pattern fits nothing in the scanner, but to know that BuildKit must have the image.
_DOCKERFILE: Final = "FROM scratch\nCOPY --from={name} /airgapbuil[d] /\n"


@dataclass(frozen=True)
class Scan:
    """A build that makes an SBOM with a scanner of the layout."""

    arguments: tuple[str, ...]
    """The build's, with the scanner by digest."""
    scanner: str
    """The name of its context."""
    builder: tuple[str, ...]
    """The options that say which builder is to build."""


def scan_of(arguments: Sequence[str], digests: Mapping[str, Digest]) -> Scan | None:
    """What becomes of a build's arguments; None where nothing needs to.

    That is where no SBOM is asked for, or its scanner is not among the images of the layout, which
    are given by the names that BuildKit looks for.
    """
    scanner = None
    changed: list[str] = []
    builder: list[str] = []
    for words in _options(arguments):
        option, _, value = "=".join(words).partition("=")
        fields = _sbom(option, value)
        name = _context_name(fields.get("generator", SCANNER)) if fields else ""
        if fields and name in digests:
            scanner = name
            by_digest = parse_reference(name).with_digest(digests[name]).familiar
            changed += ("--attest", _line(fields | {"generator": by_digest}))
            continue
        changed += words
        builder += words if option == "--builder" else ()
    return Scan(tuple(changed), scanner, tuple(builder)) if scanner else None


def bring(
    scan: Scan, command: Sequence[str], contexts: Mapping[str, str], environ: Mapping[str, str]
) -> None:
    """Has the builder take the scanner from the layout.

    Raises:
        BuilderError: it did not; the message is buildx's own.
    """
    done = subprocess.run(
        [
            *(*command, "build", *scan.builder, "--progress", "plain", "--output=type=cacheonly"),
            *("--build-context", f"{scan.scanner}={contexts[scan.scanner]}", "-"),
        ],
        input=_DOCKERFILE.format(name=scan.scanner),
        env=dict(environ),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise BuilderError(f"the builder did not take {scan.scanner} from the layout: {last}")


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The words of each option that matters here; all others one by one."""
    words = iter(arguments)
    for word in words:
        value = next(words, None) if word in _OPTIONS else None
        yield (word,) if value is None else (word, value)


def _sbom(option: str, value: str) -> dict[str, str] | None:
    """The fields of an option that asks for an SBOM, None for any other."""
    if option == "--sbom" and value.lower() in _TRUE:
        return {"type": "sbom"}
    if option not in {"--sbom", "--attest"} or value.lower() in {"", *_FALSE}:
        return None
    text = f"type=sbom,{value}" if option == "--sbom" else value
    try:
        fields = dict(field.partition("=")[::2] for field in next(csv.reader([text]), []))
    except csv.Error:  # buildx says so
        return None
    wanted = fields.get("type") == "sbom" and fields.get("disabled", "").lower() not in _TRUE
    return fields if wanted else None


def _line(fields: Mapping[str, str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(f"{key}={value}" for key, value in fields.items())
    return line.getvalue()


def _context_name(text: str) -> str:
    try:
        return parse_reference(text).context_name
    except ValueError:  # buildx says so
        return ""
