"""What buildx's drivers take: each option, the buildx that brought it, the form of its value.

Buildx refuses every command about a builder that has an option which it does not know.

Source: docker/buildx v0.3.0 to v0.38.2, driver/docker-container/factory.go,
driver/kubernetes/factory.go and driver/remote/factory.go.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Driver: TypeAlias = Literal["docker-container", "kubernetes", "remote"]
"""Who runs buildkitd: a container of a daemon, pods, or somebody else."""

Version: TypeAlias = tuple[int, int]
"""Of buildx: 0.36 is (0, 36). Options come with such releases only."""

NEWEST: Final[Version] = (0, 38)
"""The buildx whose options are known here."""

ENVIRONMENT: Final = "env."
"""What the option for a variable of buildkitd begins with."""


@dataclass(frozen=True)
class _Form:
    words: str
    pattern: re.Pattern[str]


def _form(words: str, pattern: str) -> _Form:
    return _Form(words, re.compile(pattern, re.ASCII))


_SIZE_PATTERN = r"\d+(\.\d+)? ?([kKmMgGtTpP]([iI]?[bB])?|[bB])?"
_ELEMENT = r"(key|operator|value|effect)=[^=,;]*|tolerationSeconds=-?\d+"
_TEXT = _form("a text that is not empty", r"[^\0]+")
_PATH = _form("an absolute path", r"/[^\0]*")
_NUMBER = _form("a whole number", r"[+-]?\d{1,18}")
_COUNT = _form("a number of pods", r"\d{1,9}")
_BOOLEAN = _form("true or false", r"1|t|T|TRUE|true|True|0|f|F|FALSE|false|False")
_SIZE = _form("a size: 512MB, 2GB, or bytes", _SIZE_PATTERN)
_SWAP = _form("a size, or -1 for no limit", rf"-1|{_SIZE_PATTERN}")
_RESTART = _form(
    "no, always, unless-stopped or on-failure[:TIMES]",
    r"no|always|unless-stopped|on-failure(:\d{1,9})?",
)
_DURATION = _form("a duration: 90s, 2m", r"((\d+(\.\d*)?|\.\d+)(ns|us|ms|s|m|h))+")
_QUANTITY = _form(
    "a quantity of Kubernetes: 500m, 2, 4Gi",
    r"\+?(\d+(\.\d*)?|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?",
)
_PAIRS = _form("NAME=VALUE, with commas between", r'"?[^=,"]+=[^=,"]*(,[^=,"]+=[^=,"]*)*"?')
_TOLERATIONS = _form(
    "key=…,operator=…,value=…,effect=…,tolerationSeconds=…, with semicolons between",
    rf"({_ELEMENT})([,;]({_ELEMENT}))*",
)
_BALANCE = _form("sticky or random", r"sticky|random")

_OPTIONS: Final[Mapping[Driver, Mapping[str, tuple[Version, _Form]]]] = {
    "docker-container": {
        "image": ((0, 3), _TEXT),
        "network": ((0, 3), _TEXT),
        ENVIRONMENT: ((0, 4), _form("a text", r"[^\0]*")),
        "cgroup-parent": ((0, 7), _TEXT),
        "cpu-period": ((0, 12), _NUMBER),
        "cpu-quota": ((0, 12), _NUMBER),
        "cpu-shares": ((0, 12), _NUMBER),
        "cpuset-cpus": ((0, 12), _TEXT),
        "cpuset-mems": ((0, 12), _TEXT),
        "memory": ((0, 12), _SIZE),
        "memory-swap": ((0, 12), _SWAP),
        "restart-policy": ((0, 13), _RESTART),
        "default-load": ((0, 14), _BOOLEAN),
        "provenance-add-gha": ((0, 30), _BOOLEAN),
        "allow-untrusted-image": ((0, 36), _BOOLEAN),
    },
    "kubernetes": {
        "image": ((0, 4), _TEXT),
        "namespace": ((0, 4), _TEXT),
        "replicas": ((0, 4), _COUNT),
        "rootless": ((0, 4), _BOOLEAN),
        "loadbalance": ((0, 4), _BALANCE),
        "nodeselector": ((0, 5), _PAIRS),
        "requests.cpu": ((0, 6), _QUANTITY),
        "requests.memory": ((0, 6), _QUANTITY),
        "limits.cpu": ((0, 6), _QUANTITY),
        "limits.memory": ((0, 6), _QUANTITY),
        "qemu.install": ((0, 7), _BOOLEAN),
        "qemu.image": ((0, 7), _TEXT),
        "tolerations": ((0, 9), _TOLERATIONS),
        "serviceaccount": ((0, 11), _TEXT),
        "annotations": ((0, 12), _PAIRS),
        "labels": ((0, 12), _PAIRS),
        "default-load": ((0, 14), _BOOLEAN),
        "schedulername": ((0, 14), _TEXT),
        "requests.ephemeral-storage": ((0, 14), _QUANTITY),
        "limits.ephemeral-storage": ((0, 14), _QUANTITY),
        "timeout": ((0, 15), _DURATION),
        "buildkit-root-volume-memory": ((0, 26), _QUANTITY),
        ENVIRONMENT: ((0, 28), _form("a text", r"[^\0]*")),
        "persistent-volume-claim.requests.storage": ((0, 34), _QUANTITY),
    },
    "remote": {
        "cacert": ((0, 9), _PATH),
        "cert": ((0, 9), _PATH),
        "key": ((0, 9), _PATH),
        "servername": ((0, 9), _TEXT),
        "default-load": ((0, 14), _BOOLEAN),
    },
}


_FLAGS: Final = frozenset(
    [
        *("addr", "allow-insecure-entitlement", "cdi-disabled", "cdi-spec-dir", "config", "debug"),
        *("debugaddr", "group", "log-format", "log-level", "otel-socket-path", "proxy-network"),
        *("root", "rootless", "save-cache-debug", "tlscacert", "tlscert", "tlskey", "trace"),
        *("oci-worker-binary", "oci-worker-no-process-sandbox"),
        *("oci-worker-proxy-snapshotter-path", "containerd-worker-addr"),
        *("containerd-worker-hyperv-isolation", "containerd-worker-namespace"),
        *("containerd-worker-runtime",),
    ]
    + [
        f"{worker}-{name}"
        for worker in ("oci", "containerd")
        for name in (
            *("cni-binary-dir", "cni-config-path", "cni-pool-size", "max-parallelism", "worker"),
            *("worker-apparmor-profile", "worker-gc", "worker-gc-keepstorage", "worker-labels"),
            *("worker-net", "worker-platform", "worker-rootless", "worker-selinux"),
            *("worker-snapshotter",),
        )
    ]
)
"""Of buildkitd, from v0.10 to v0.34."""

# Buildx gives buildkitd its file by a flag of its own, and asks it at its own socket.
_TAKEN_FLAGS: Final = {
    "config": "write [buildkitd] instead",
    "addr": "buildx asks buildkitd at its own socket",
}


def flag_problem(word: str, *, is_first: bool) -> str | None:
    """What is wrong with a word of buildkitd's command line, None where nothing is.

    A word without hyphens is the value of the one before it.

    Source: moby/buildkit cmd/buildkitd/main.go, main_oci_worker.go, main_containerd_worker.go.
    """
    flag, _, _ = word.partition("=")
    name = flag.removeprefix("--")
    if name in _TAKEN_FLAGS and flag != name:
        return f"'{flag}' is taken: {_TAKEN_FLAGS[name]}"
    if (name in _FLAGS and flag != name) or not (is_first or word.startswith("-")):
        return None
    near = difflib.get_close_matches(name, _FLAGS - _TAKEN_FLAGS.keys(), n=1)
    meant = f", did you mean '--{near[0]}'?" if near else ': write "--debug", or "--root=/path"'
    return f"'{word}' is no flag of buildkitd{meant}"


def option_problem(driver: Driver, name: str, value: str) -> str | None:
    """What is wrong with an option of a driver, None where nothing is."""
    options = _OPTIONS[driver]
    known = options.get(_kind(name))
    if known is None or name == ENVIRONMENT:
        near = difflib.get_close_matches(name, options, n=1)
        shown = "env.NAME" if near == [ENVIRONMENT] else near[0] if near else None
        meant = f", did you mean '{shown}'?" if shown else ""
        return f"no option of the {driver} driver in buildx up to {version_words(NEWEST)}{meant}"
    _, form = known
    return None if form.pattern.fullmatch(value) else f"must be {form.words}, not '{value}'"


def newer_options(
    driver: Driver, names: Iterable[str], version: Version
) -> list[tuple[str, Version]]:
    """The options that a buildx of this version does not know, with the one that brought each."""
    options = _OPTIONS[driver]
    known = ((name, options[_kind(name)][0]) for name in sorted(names) if _kind(name) in options)
    return [(name, since) for name, since in known if since > version]


def version_words(version: Version) -> str:
    """A version as people write it: 0.36."""
    return f"{version[0]}.{version[1]}"


def _kind(name: str) -> str:
    return ENVIRONMENT if name.startswith(ENVIRONMENT) else name
