"""What docker and buildx print of a build → what failed in it.

Read is the plain progress, which they write wherever there is no terminal::

    #2 [internal] load metadata for docker.io/library/alpine:3.20
    #2 ERROR: failed to do request: …
    #5 [2/3] RUN wget http://…
    #5 0.115 wget: bad address …
    ERROR: failed to solve: alpine:3.20: failed to resolve source metadata for …

Source: moby/buildkit util/progress/progressui/printer.go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from airgapbuild.oci.reference import Reference, parse_reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
# CI systems put a time, compose a service before it.
_STEP: Final = re.compile(r"(?:^|[\s|])#(\d+) (.*)")
_OUTPUT: Final = re.compile(r"\d+\.\d+ (.*)")
_ERROR: Final = re.compile(r"(?:^|[\sZ|])(?:ERROR|error|Error): (.*)")
_SPOKEN: Final = re.compile(
    r"(?:.*)((?:Error response from daemon|Cannot connect to the Docker daemon|permission denied "
    r"while trying to connect|failed to resolve reference|docker: |unknown shorthand flag|"
    r"DEPRECATED: The legacy builder"
    r").*)"
)
_IMAGES: Final = (
    re.compile(r"\[context (\S+)(?: \S+)?\]"),
    re.compile(r"load metadata for (\S+)$"),
    re.compile(r"resolve image config for (?:docker-image://)?(\S+)$"),
    re.compile(r"failed to resolve source metadata for (\S+): "),
    re.compile(r"failed to resolve reference \"?(\S+?)\"?: "),
    re.compile(r"\] FROM (\S+)$"),
)
_BOOTING: Final = "booting buildkit"
_CONTEXT: Final = "[context "
_FRONTEND: Final = "resolve image config for"
_SCANNER: Final = "scanner"
_MOST_OUTPUT: Final = 200
"""Lines that are kept of a step: errors come last."""


@dataclass
class Step:
    """A step of a build, under one number in the log."""

    name: str = ""
    output: list[str] = field(default_factory=list)
    error: str | None = None


@dataclass(frozen=True)
class Failure:
    """Something that went wrong."""

    step: str
    """What was done, in BuildKit's words; empty where it is the command's own error."""
    reason: str
    output: tuple[str, ...] = ()
    """What the step printed."""

    @property
    def image(self) -> Reference | None:
        """The image that it is about."""
        for text in (self.step, self.reason):
            for pattern in _IMAGES:
                if found := pattern.search(text):
                    return _reference(found[1])
        return None

    @property
    def is_boot(self) -> bool:
        """Whether the builder itself did not start."""
        return _BOOTING in self.step

    @property
    def is_of_layout(self) -> bool:
        """Whether the image was looked for in a layout, as --build-context says."""
        return self.step.startswith(_CONTEXT)

    @property
    def is_frontend(self) -> bool:
        """Whether that image is what `# syntax=` names."""
        return _FRONTEND in self.step and _SCANNER not in self.step

    @property
    def said(self) -> str:
        """The reason and all that the step printed."""
        return "\n".join((self.reason, *self.output))


def failures(text: str) -> tuple[Failure, ...]:
    """What failed, each thing once, in the log's order."""
    steps: dict[str, Step] = {}
    own: list[str] = []
    for line in map(_plain, text.splitlines()):
        if found := _STEP.search(line):
            _note(steps.setdefault(found[1], Step()), found[2].strip())
        elif found := _ERROR.search(line) or _SPOKEN.match(line):
            own.append(found[1])
    failed = [Failure(it.name, it.error, tuple(it.output)) for it in steps.values() if it.error]
    rest = (Failure("", reason) for reason in own if not _is_told(reason, failed))
    return tuple(_once([*failed, *rest]))


def _note(step: Step, text: str) -> None:
    if text.startswith("ERROR: "):
        step.error = text.removeprefix("ERROR: ")
    elif not step.name:
        step.name = text
    elif found := _OUTPUT.match(text):
        step.output = [*step.output[1 - _MOST_OUTPUT :], found[1]]


def _is_told(reason: str, failed: Iterable[Failure]) -> bool:
    """Whether the command's last word is what a step has said already."""
    return any(it.reason in reason or reason in it.reason for it in failed)


def _once(found: Iterable[Failure]) -> Iterator[Failure]:
    seen: set[tuple[object, str]] = set()
    for failure in found:
        key = (failure.image, "" if failure.image else failure.reason)
        if key not in seen:
            seen.add(key)
            yield failure


def _plain(line: str) -> str:
    return _ESCAPES.sub("", line).rstrip()


def _reference(text: str) -> Reference | None:
    try:
        return parse_reference(text)
    except ValueError:
        return None
