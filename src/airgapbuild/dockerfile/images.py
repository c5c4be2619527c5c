"""The images that a build of a Dockerfile needs.

Stages that the target does not need are left out, as BuildKit leaves them out.

Source: Dockerfile reference, "FROM", "Automatic platform ARGs in the global scope", "COPY --from",
"RUN --mount", "ONBUILD"; moby/buildkit frontend/dockerfile/dockerfile2llb/convert.go.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from airgapbuild.dockerfile.parser import parse_instructions
from airgapbuild.dockerfile.words import expand
from airgapbuild.errors import UsageError
from airgapbuild.oci.platform import Platform, parse_platform
from airgapbuild.oci.reference import Reference, parse_reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from airgapbuild.dockerfile.parser import Dockerfile, Instruction

BUILT_IN: Final = "dockerfile.v0"
"""The name of BuildKit's own frontend, which is no image."""

_SYNTAX: Final = "BUILDKIT_SYNTAX"
_SCRATCH: Final = "scratch"
_READ_DOCKERFILES: Final = ("/dockerfile", "/dockerfile-upstream")
_FROM_WORDS: Final = (1, 3)

Triggers: TypeAlias = Callable[[Reference, Platform], tuple[str, ...]]
"""What an image has ONBUILD, as far as that is known."""


@dataclass(frozen=True)
class Build:
    """What is asked of a build, as far as its images depend on it."""

    platform: Platform
    """What it is for."""
    own: Platform
    """Of the builder."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    contexts: frozenset[str] = frozenset()
    """The names for which the user gives contexts."""


@dataclass(frozen=True)
class Need:
    """An image that a build needs, for one platform."""

    name: str
    """As it is written, with variables put in."""
    reference: Reference
    platform: Platform
    role: Literal["base", "frontend"]
    place: str
    """Where it is asked for: `Dockerfile:3`."""


@dataclass(frozen=True)
class Needs:
    """What a build needs, in the order in which it is found from the target on."""

    images: tuple[Need, ...]
    stages: tuple[tuple[str, str], ...] = ()
    """The names of the stages, and where each begins."""
    is_known: bool = True
    """Whether it is all that the build needs: what a foreign frontend reads is its own business."""


@dataclass(frozen=True)
class _Stage:
    """A FROM and what follows it."""

    number: int
    name: str
    """In lower case; empty where it has none."""
    base: str
    """The image, or a stage before it."""
    platform: Platform
    line: int
    instructions: tuple[Instruction, ...]


def needs(dockerfile: Dockerfile, build: Build, triggers: Triggers) -> Needs:
    """What a build needs; of a frontend other than Docker's, itself alone.

    Raises:
        UsageError: no build can come of it: a name is none, a stage or the target is missing.
    """
    asked = build.arguments.get(_SYNTAX, "").split()
    syntax = asked[0] if asked else dockerfile.syntax
    frontend: tuple[Need, ...] = ()
    if syntax and syntax != BUILT_IN:
        place = f"{dockerfile.name}:1"
        reference = _reference(syntax, place)
        frontend = (Need(syntax, reference, build.own, "frontend", place),)
        if not reference.name.endswith(_READ_DOCKERFILES):
            return Needs(frontend, is_known=False)
    reading = _Reading(dockerfile, build, triggers)
    images = tuple(reading.needs())
    return Needs((*frontend, *images), tuple(reading.named))


def _stages(dockerfile: Dockerfile, build: Build) -> tuple[_Stage, ...]:
    """All stages, whether the target needs them or not."""
    begins = [n for n, it in enumerate(dockerfile.instructions) if it.name == "from"]
    if not begins:
        raise UsageError(f"{dockerfile.name}: there is no FROM in it")
    words = _Words(dockerfile, build)
    words.declare(dockerfile.instructions[: begins[0]])
    return tuple(
        words.stage(number, dockerfile.instructions[begin:end])
        for number, (begin, end) in enumerate(pairwise([*begins, None]))
    )


class _Words:
    """The words of a Dockerfile outside of its stages, with global ARGs put in."""

    def __init__(self, dockerfile: Dockerfile, build: Build) -> None:
        self._dockerfile = dockerfile
        self._build = build
        self._values = _predefined(build)

    def declare(self, instructions: Iterable[Instruction]) -> None:
        """Takes global ARGs, in their order: each may use those before it."""
        for instruction in instructions:
            for word in instruction.words if instruction.name == "arg" else ():
                name, equals, default = word.partition("=")
                if name in self._build.arguments:
                    self._values[name] = self._build.arguments[name]
                elif equals:
                    self._values[name] = self._expand(default, instruction.line)

    def stage(self, number: int, instructions: tuple[Instruction, ...]) -> _Stage:
        """The stage of these instructions, the first of which is its FROM."""
        begin, *inner = instructions
        words, line = begin.words, begin.line
        if len(words) not in _FROM_WORDS or (words[1:] and words[1].lower() != "as"):
            raise self._problem("FROM takes IMAGE, or IMAGE AS NAME", line)
        base = self._expand(words[0], line)
        if not base:
            hint = "give it a default with ARG, or a value with --build-arg"
            raise self._problem(f"FROM {words[0]}: no value, no image", line, hint)
        platform = self._build.platform
        for written in begin.flag("platform"):
            try:
                platform = parse_platform(self._expand(written, line))
            except ValueError as error:
                raise self._problem(str(error), line) from error
        name = words[-1].lower() if words[1:] else ""
        return _Stage(number, name, base, platform, line, tuple(inner))

    def _expand(self, word: str, line: int) -> str:
        try:
            return expand(word, self._values, self._dockerfile.escape)
        except ValueError as error:
            raise self._problem(str(error), line) from error

    def _problem(self, what: str, line: int, hint: str | None = None) -> UsageError:
        return UsageError(f"{self._dockerfile.name}:{line}: {what}", hint=hint)


class _Reading:
    """One Dockerfile, followed from its target on."""

    def __init__(self, dockerfile: Dockerfile, build: Build, triggers: Triggers) -> None:
        self._file = dockerfile.name
        self._build = build
        self._triggers = triggers
        self._stages = _stages(dockerfile, build)
        self.named: list[tuple[str, str]] = []
        """The names of the stages that were come by, and where each begins."""
        self._by_name: dict[str, _Stage] = {}
        self._bases: dict[int, _Stage] = {}
        for stage in self._stages:  # a name means the last stage before that has it
            if stage.base in self._by_name:
                self._bases[stage.number] = self._by_name[stage.base]
            if stage.name:
                self._by_name[stage.name] = stage

    def needs(self) -> Iterator[Need]:
        """What the target needs, and what that needs, each stage once."""
        waiting = self._target()
        seen: set[int] = set()
        while waiting:
            stage = waiting.pop(0)
            if stage.number in seen or stage.name in self._build.contexts:
                continue
            seen.add(stage.number)
            if stage.name:
                self.named.append((stage.name, f"{self._file}:{stage.line}"))
            base = self._bases.get(stage.number)
            inherited: tuple[str, ...] = ()
            if base:
                waiting.append(base)
                inherited = tuple(it.trigger for it in base.instructions if it.trigger)
            elif stage.base != _SCRATCH:
                need = self._need(stage.base, stage.platform, stage.line)
                inherited = self._triggers(need.reference, need.platform)
                yield from self._unless_given(need)
            for name, line in self._sources(stage, inherited):
                if other := self._find(name, line):
                    waiting.append(other)
                elif name != _SCRATCH:
                    yield from self._unless_given(self._need(name, self._build.platform, line))

    def _target(self) -> list[_Stage]:
        wanted = self._build.target
        if wanted is None:
            return list(self._stages[-1:])
        if found := self._by_name.get(wanted.lower()):
            return [found]
        known = ", ".join(self._by_name) or "none"
        raise UsageError(f"{self._file}: no stage is called '{wanted}'; those with names: {known}")

    def _find(self, name: str, line: int) -> _Stage | None:
        """The stage of this name or number."""
        if not name.isdecimal():
            return self._by_name.get(name.lower())
        if int(name) >= len(self._stages):
            raise UsageError(f"{self._file}:{line}: there is no stage {name}")
        return self._stages[int(name)]

    def _sources(self, stage: _Stage, inherited: Iterable[str]) -> Iterator[tuple[str, int]]:
        """The images or stages that a stage takes files from, what it inherits first."""
        place = f"{self._file}:{stage.line}: ONBUILD of {stage.base}"
        triggered = [
            replace(instruction, line=stage.line)
            for trigger in inherited
            for instruction in parse_instructions(trigger, place)
        ]
        for instruction in (*triggered, *stage.instructions):
            for name in _taken_from(instruction):
                if "$" in name:
                    hint = "BuildKit puts no variable in there: give the image a stage, FROM it"
                    raise UsageError(f"{self._file}:{instruction.line}: from={name}", hint=hint)
                yield name, instruction.line

    def _need(self, name: str, platform: Platform, line: int) -> Need:
        place = f"{self._file}:{line}"
        return Need(name, _reference(name, place), platform, "base", place)

    def _unless_given(self, need: Need) -> Iterator[Need]:
        if need.reference.context_name not in self._build.contexts:
            yield need


def _taken_from(instruction: Instruction) -> Iterator[str]:
    if instruction.name == "copy":
        yield from instruction.flag("from")
    elif instruction.name == "run":
        for mount in instruction.flag("mount"):
            for option in next(csv.reader([mount]), []):
                key, _, value = option.partition("=")
                if key.lower() == "from" and value:
                    yield value


def _predefined(build: Build) -> dict[str, str]:
    values = {}
    for kind, platform in (("BUILD", build.own), ("TARGET", build.platform)):
        values[f"{kind}PLATFORM"] = str(platform)
        values[f"{kind}OS"] = platform.os
        values[f"{kind}ARCH"] = platform.architecture
        values[f"{kind}VARIANT"] = platform.variant
    return {name: build.arguments.get(name, value) for name, value in values.items()}


def _reference(name: str, place: str) -> Reference:
    try:
        return parse_reference(name)
    except ValueError as error:
        raise UsageError(f"{place}: {error}") from error
