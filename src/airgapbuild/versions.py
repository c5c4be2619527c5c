"""What tags say of versions: which are newer, which will move, what else one may be called.

A tag is a version between two texts: `qemu-v10.2.3` is `qemu-v` and 10.2.3, `3.13-slim` is 3.13 and
`-slim`. Tags are compared only where both texts and the separators, and so the number of parts, are
the same: nothing else is sure to be the same kind of image.

Source: Renovate's docker versioning, which keeps the text and the number of parts in the same way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MAX_CANDIDATES: Final = 8
"""Of how many tags the digests are worth asking for, to learn what a floating one stands for."""

_MAX_TAG = 128
# Debian 12's Python, 3.11.2, gets possessive groups wrong; one that is looked ahead at is as good.
_TAG = re.compile(
    r"""
    (?P<head> [A-Za-z_.-]* )
    (?= (?P<numbers> [0-9]++ (?: \. [0-9]++ | [_-] [0-9]++ (?! [A-Za-z] ) )* ) ) (?P=numbers)
    (?: [._-]? (?P<stage> dev | alpha | beta | milestone | preview | pre | cr | rc
                        | [abm] (?= [0-9] ) ) [.-]? (?P<nth> [0-9]* ) (?= [._-] | \Z ) )?
    (?P<tail> [\w.-]* )
    """,
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)
_STAGES = {"dev": 0, "a": 1, "alpha": 1, "b": 2, "beta": 2, "m": 3, "milestone": 3}
_STAGES |= {"pre": 4, "preview": 4, "cr": 5, "rc": 5}
_RELEASE = 6
_SHORTEST_DATE = 10**7
_COMMIT_OR_DATE = re.compile(r"(?<![0-9a-z])(?=[a-f]*[0-9])[0-9a-f]{7,}(?![0-9a-z])", re.ASCII)
_PLAIN = ("", "v")


@dataclass(frozen=True)
class Version:
    """A tag that holds a version."""

    tag: str
    head: str
    numbers: tuple[int, ...]
    stage: tuple[int, int]
    """How far a pre-release is, and which of that kind; a release is the furthest."""
    tail: str
    separators: tuple[str, ...]

    @property
    def scheme(self) -> tuple[object, ...]:
        """Equal for tags that can be compared. A date is no successor of a plain number."""
        return self.head, self.separators, self.tail, self.numbers[0] >= _SHORTEST_DATE

    @property
    def order(self) -> tuple[object, ...]:
        """Greater for the newer of two tags of one scheme."""
        return self.numbers, self.stage

    @property
    def released(self) -> bool:
        """Whether it is no pre-release."""
        return self.stage[0] == _RELEASE


def parse_version(tag: str) -> Version | None:
    """The version in a tag; None where there is none."""
    found = _TAG.fullmatch(tag) if len(tag) <= _MAX_TAG else None
    if found is None:
        return None
    parts = re.split(r"([._-])", found["numbers"])
    stage = (_STAGES[found["stage"].lower()], int(found["nth"] or 0)) if found["stage"] else None
    return Version(
        tag=tag,
        head=found["head"],
        numbers=tuple(map(int, parts[::2])),
        stage=stage or (_RELEASE, 0),
        tail=found["tail"],
        separators=tuple(parts[1::2]),
    )


def newer(tag: str, tags: Iterable[str]) -> tuple[str, ...]:
    """The tags that are newer versions of the same scheme, oldest first.

    Pre-releases are among them only if `tag` is one.
    """
    pin = parse_version(tag)
    if pin is None:
        return ()
    found = [
        version
        for version in _versions(tags)
        if version.scheme == pin.scheme
        and version.order > pin.order
        and (version.released or not pin.released)
    ]
    return tuple(version.tag for version in sorted(found, key=lambda it: (it.order, it.tag)))


def is_floating(tag: str) -> bool:
    """Whether a tag is made to move: `latest`, `3`, `3-slim`, `buildx-stable-1`.

    It names no version, or only the first part of one. What holds a date or a commit stays.
    """
    version = parse_version(tag)
    if version is None:
        return True
    return len(version.numbers) == 1 and not _COMMIT_OR_DATE.search(tag)


def candidates(tag: str, tags: Iterable[str]) -> tuple[str, ...]:
    """The tags that a floating tag may stand for, likeliest first, at most `MAX_CANDIDATES`."""
    fixed = [it for it in _versions(tags) if it.released and not is_floating(it.tag)]
    groups = ([it for it in fixed if likely(it)] for likely in _likely(tag))
    likeliest = next((group for group in groups if group), [])
    chosen: list[Version] = []
    for version in sorted(likeliest, key=lambda it: (it.numbers, it.tag), reverse=True):
        # Where there is 3.14.2, 3.14 says less of the same.
        said = any(it.numbers[: len(version.numbers)] == version.numbers for it in chosen)
        if not said and len(chosen) < MAX_CANDIDATES:
            chosen.append(version)
    return tuple(version.tag for version in chosen)


def _likely(tag: str) -> Iterator[Callable[[Version], bool]]:
    """What the versioned names of a floating tag look like, the surest way first."""
    if pin := parse_version(tag):
        # `3-slim` is a `3.….…-slim`; `buildx-stable-1-rootless` is a `v….….…-rootless`.
        yield lambda it: (it.head, it.tail, it.numbers[0]) == (pin.head, pin.tail, pin.numbers[0])
        yield lambda it: it.head in _PLAIN and it.tail == pin.tail
        return
    # `bookworm-slim` is a `bookworm-…-slim`, `stable-alpine` a `….….…-alpine`.
    words = tag.split("-")
    for n in range(len(words) + 1):
        heads = (*_PLAIN, "".join(f"{word}-" for word in words[:n]))
        tail = "".join(f"-{word}" for word in words[n:])
        yield partial(_looks_like, heads, tail)
    yield lambda it: not it.tail


def _looks_like(heads: tuple[str, ...], tail: str, version: Version) -> bool:
    return version.head in heads and version.tail == tail


def _versions(tags: Iterable[str]) -> Iterator[Version]:
    return filter(None, map(parse_version, tags))
