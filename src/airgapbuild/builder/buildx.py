"""Buildx itself: found, and asked to start a builder.

Commands look for it first of all, so this imports nothing that takes long.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from airgapbuild.errors import BuilderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_VERSION = re.compile(r"buildx\s+v?(\d\S*)", re.ASCII)
# "Buildkit:" up to buildx v0.12, "BuildKit version:" since.
_BUILDKIT = re.compile(r"^BuildKit(?: version)?:\s*(\S+)", re.IGNORECASE | re.MULTILINE)
_NODE = re.compile(r"^Name:", re.MULTILINE)
_PLATFORMS = re.compile(r"^Platforms:\s*(\S.*)", re.MULTILINE)
_STEP = re.compile(r"#\d+ ")
_FAILED = re.compile(r"(?:ERROR|Error): *(.*)")
# The container's log, which buildx prints when buildkitd ends at once; control bytes run its lines
# into each other.
_BUILDKITD_SAID = re.compile(r".*\b(buildkitd: .+)")
_SHOWN_LINES = 3
_INSTALL = (
    "install the plugin (package docker-buildx-plugin or docker-buildx), "
    "or put the binary into ~/.docker/cli-plugins/docker-buildx"
)


@dataclass(frozen=True)
class Answer:
    """What a builder that runs says of itself."""

    buildkit: str
    """Its version."""
    platforms: frozenset[str]
    """Those that it can run, by itself or by an emulator of the kernel, as `linux/arm64`."""


@dataclass(frozen=True)
class Buildx:
    """A buildx that works."""

    command: tuple[str, ...]
    """`docker buildx`, or `buildx` alone."""
    version: str

    @classmethod
    def look(cls, environ: Mapping[str, str]) -> Buildx | None:
        """The buildx that `find` finds, None where there is none that would do."""
        try:
            return cls.find(environ)
        except BuilderError:
            return None

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> Buildx:
        """The buildx on PATH: docker's plugin, else a `buildx` that stands alone.

        The latter does not read TLS from the environment, so it does not count where that is set.

        Raises:
            BuilderError: there is none.
        """
        for command in (("docker", "buildx"), ("buildx",)):
            if shutil.which(command[0], path=environ.get("PATH")) is None:
                continue
            if version := _version_of(command, environ):
                if command == ("buildx",) and _needs_tls(environ):
                    message = "buildx outside docker does not read TLS from the environment"
                    raise BuilderError(message, hint=_INSTALL)
                return cls(command, version)
        raise BuilderError("`docker buildx version` does not work here", hint=_INSTALL)

    def ask(self, name: str, environ: Mapping[str, str], seconds: float) -> Answer | None:
        """What a builder says, which is not started for it; None where it says nothing in time."""
        with suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                [*self.command, "inspect", name],
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=seconds,
                check=False,
            )
            if found := _BUILDKIT.search(done.stdout):
                return Answer(found[1].removeprefix("v"), _platforms(done.stdout))
        return None

    def boot(self, name: str, environ: Mapping[str, str], on_line: Callable[[str], None]) -> str:
        """The version of the BuildKit that runs once every node of the builder is up.

        `on_line` gets what buildx says meanwhile. Where nodes differ, all their versions.

        Raises:
            BuilderError: a node does not start; the message is buildx's own.
        """
        command = [*self.command, "inspect", "--bootstrap", name]
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as answer:
            status, said = _run(command, environ, answer, on_line)
            answer.seek(0)
            shown = answer.read()
        versions = [version.removeprefix("v") for version in _BUILDKIT.findall(shown)]
        nodes = len(_NODE.findall(shown.partition("Nodes:")[2]))
        if status == 0 and versions and len(versions) == nodes:
            return ", ".join(dict.fromkeys(versions))
        reason = _reason(said) or _reason(shown.splitlines()) or f"exit status {status}"
        hint = f"see for yourself: {' '.join(command)}"
        raise BuilderError(f"builder '{name}' does not start: {reason}", hint=hint)


def _platforms(shown: str) -> frozenset[str]:
    """Those of all nodes. An asterisk marks what was configured."""
    texts = [text.strip(" *") for line in _PLATFORMS.findall(shown) for text in line.split(",")]
    return frozenset(text for text in texts if "/" in text)


def _version_of(command: tuple[str, ...], environ: Mapping[str, str]) -> str | None:
    done = subprocess.run(
        [*command, "version"], env=dict(environ), capture_output=True, text=True, check=False
    )
    found = _VERSION.search(done.stdout)
    return found[1] if done.returncode == 0 and found else None


def _needs_tls(environ: Mapping[str, str]) -> bool:
    return bool(environ.get("DOCKER_TLS") or environ.get("DOCKER_TLS_VERIFY"))


def _run(
    command: list[str],
    environ: Mapping[str, str],
    answer: IO[str],
    on_line: Callable[[str], None],
) -> tuple[int, list[str]]:
    """The exit status and the lines on stderr; stdout goes to `answer`, so no pipe fills up."""
    said = []
    with subprocess.Popen(
        command,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=answer,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    ) as process:
        for line in process.stderr or ():
            if text := line.strip():
                said.append(text)
                on_line(text)
    return process.returncode, said


def _reason(lines: Iterable[str]) -> str | None:
    """What went wrong in the words of buildkitd or buildx: the last error, else the last lines."""
    texts = [_STEP.sub("", line, count=1) for line in lines]
    if complaints := [found[1] for text in texts if (found := _BUILDKITD_SAID.match(text))]:
        return complaints[-1]
    if failures := [found[1] for text in texts if (found := _FAILED.match(text))]:
        return failures[-1]
    return "; ".join(texts[-_SHOWN_LINES:]) or None
