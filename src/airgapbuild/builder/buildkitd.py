"""buildkitd.toml for the builder with the files that it names, and the proxy that seals it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import tomli_w

from airgapbuild.builder.placement import CONFIG_FOLDER, placements

if TYPE_CHECKING:
    from airgapbuild.buildkitd import LockedBuildkitd

BUILDKITD_FILE: Final = "buildkitd.toml"
"""The name under which buildx ships the file; it lands in /etc/buildkit of the container."""

_HEADER = "# Written by airgapbuild. Change [buildkitd] in airgapbuild.toml instead.\n"
_NOWHERE = "http://127.0.0.1:1"
_LOCAL: Final = ("127.0.0.1", "::1", "localhost")


def config_files(buildkitd: LockedBuildkitd) -> dict[str, bytes]:
    """The files for /etc/buildkit that a lock has all of: buildkitd.toml and the CAs."""
    files = {BUILDKITD_FILE: render(buildkitd)}
    for host, placement in placements(buildkitd).items():
        ca = buildkitd.registry[host].ca
        files |= {place: it.pem.encode() for place, it in zip(placement.ca, ca, strict=True)}
    return files


def render(buildkitd: LockedBuildkitd) -> bytes:
    """The bytes of buildkitd.toml: sorted, the same for the same tables.

    Where there are none, a comment alone: a builder with BuildKit's own defaults.
    """
    tables = buildkitd.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    _place(tables, buildkitd)
    body = tomli_w.dumps(_sorted(tables))
    return (_HEADER + ("\n" + body if body else "")).encode()


def sealing(buildkitd: LockedBuildkitd) -> dict[str, str]:
    """Driver options by which whatever buildkitd does not find at an inside host fails at once.

    Its proxy is an address where nobody listens, and a refused connection is not retried; the hosts
    of `inside_hosts` are exempt. Upper case is for buildkitd (Go), lower case for the git that it
    runs (libcurl reads `http_proxy` only so). Build steps do not see any of it.

    Source: docker/buildx driver/docker-container/factory.go (`env.`); BuildKit
    util/resolver/resolver.go (`ProxyFromEnvironment`), util/gitutil/git_cli.go.
    """
    inside = ",".join((*_LOCAL, *inside_hosts(buildkitd)))
    options = {"http_proxy": _NOWHERE, "https_proxy": _NOWHERE, "no_proxy": inside}
    both = {**options, **{name.upper(): value for name, value in options.items()}}
    return {f"env.{name}": value for name, value in sorted(both.items())}


def inside_hosts(buildkitd: LockedBuildkitd) -> tuple[str, ...]:
    """The hosts that the builder is meant to reach: all mirrors, and registries of their own.

    A registry that only has mirrors stands outside: BuildKit asks it last, after every mirror, and
    that is the very request that has to fail. One without mirrors, or with settings for its own
    connection, is inside.
    """
    hosts = {
        name.partition("/")[0] for entry in buildkitd.registry.values() for name in entry.mirrors
    }
    hosts |= {
        host
        for host, entry in buildkitd.registry.items()
        if not entry.mirrors or entry.has_connection
    }
    return tuple(sorted(hosts))


def _place(tables: dict[str, Any], buildkitd: LockedBuildkitd) -> None:
    """Puts the paths in the container where a lock has content or paths of other machines."""
    for host, placement in placements(buildkitd).items():
        table = tables["registry"][host]
        there = {path: f"{CONFIG_FOLDER}/{place}" for path, place in placement.there.items()}
        paths = {
            "ca": [f"{CONFIG_FOLDER}/{place}" for place in placement.ca],
            "keypair": [
                {key: there[pair[key]] for key in pair} for pair in table.get("keypair", ())
            ],
            "tlsconfigdir": [there[folder] for folder in table.get("tlsconfigdir", ())],
        }
        table |= {key: value for key, value in paths.items() if value}


def _sorted(value: Any) -> Any:  # noqa: ANN401 - the values of a TOML document
    """Sorted tables; the order of an array is meaning (mirrors, gcpolicy) and stays."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value
