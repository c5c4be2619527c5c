"""buildkitd.toml as frozen models, with the keys as BuildKit spells them.

BuildKit itself ignores a key that it does not know and stops at a value of a wrong type; here both
are told before the gap. Left out on purpose: keys that BuildKit deprecates, files that would have
to travel along (`ca`, `keypair`, `tlsconfigdir`, `grpc.tls`), the GitHub cache, and the containerd
worker, which a builder in a container cannot reach.

Source: moby/buildkit cmd/buildkitd/config (config.go, gcpolicy.go), util/resolver/config/config.go.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from airgapbuild.document import Many, Table
from airgapbuild.oci.reference import parse_registry

_SIZE = re.compile(r"\d+(\.\d+)? ?([kmgtp]i?)?b?", re.ASCII | re.IGNORECASE)
_PERCENT = re.compile(r"(\d+)%", re.ASCII)
_DURATION = re.compile(r"\d+|(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+", re.ASCII)
_PATH = re.compile(r"[a-z0-9._/-]*", re.ASCII)
_ALL = 100


def _disk_space(value: int | str) -> int | str:
    if isinstance(value, int):
        fits = value >= 0
    elif percent := _PERCENT.fullmatch(value):
        fits = int(percent[1]) <= _ALL
    else:
        fits = _SIZE.fullmatch(value) is not None
    if not fits:
        raise ValueError(f"'{value}' is no disk space: write bytes, '10GB' or '10%'")
    return value


def _duration(value: int | str) -> int | str:
    fits = value >= 0 if isinstance(value, int) else _DURATION.fullmatch(value) is not None
    if not fits:
        raise ValueError(f"'{value}' is no duration: write seconds or '48h', '1h30m'")
    return value


def mirror(text: str) -> str:
    """A mirror's `host[:port][/path]`.

    Raises:
        ValueError: it is none. BuildKit would drop a scheme without a word, and use https.
    """
    if "://" in text:
        raise ValueError(
            f"'{text}' must be host[:port][/path] without a scheme; "
            "plain http is `http = true` in the mirror's own registry table"
        )
    host, _, path = text.partition("/")
    parse_registry(host)
    if not _PATH.fullmatch(path):
        raise ValueError(f"'{text}': '{path}' is no repository path")
    return text.rstrip("/")


DiskSpace: TypeAlias = Annotated[int | str, AfterValidator(_disk_space)]
"""Bytes, a size with a binary unit ("512MB" is 512 MiB), or a share of the disk ("10%")."""

Duration: TypeAlias = Annotated[int | str, AfterValidator(_duration)]
"""Seconds, or a duration as Go writes it."""

Count: TypeAlias = Annotated[int, Field(ge=0)]


class _Table(Table):
    """camelCase is BuildKit's rule; the exceptions are spelt out where they are."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=False)


class Log(_Table):
    """`[log]`."""

    format: Literal["json", "text"] | None = None
    level: Literal["panic", "fatal", "error", "warn", "info", "debug", "trace"] | None = None


class Grpc(_Table):
    """`[grpc]`: where buildkitd listens, inside the container."""

    address: Many[str] = ()
    debug_address: str | None = None
    uid: Count | None = None
    gid: Count | None = None


class Otel(_Table):
    """`[otel]`."""

    socket_path: str | None = None


class Cdi(_Table):
    """`[cdi]`: devices that builds may ask for."""

    disabled: bool | None = None
    spec_dirs: Many[str] = ()
    auto_allowed: Many[str] = ()


class Dns(_Table):
    """`[dns]`: what build steps find in resolv.conf."""

    nameservers: Many[str] = ()
    options: Many[str] = ()
    search_domains: Many[str] = ()


class History(_Table):
    """`[history]`: how long build records stay."""

    max_age: Duration | None = None
    max_entries: int | None = None


class System(_Table):
    """`[system]`."""

    platforms_cache_max_age: Duration | None = None
    max_registry_concurrency: Annotated[int, Field(gt=0)] | None = None


class DockerfileFrontend(_Table):
    """`[frontend."dockerfile.v0"]`: the frontend that is built in."""

    enabled: bool | None = None


class GatewayFrontend(_Table):
    """`[frontend."gateway.v0"]`: frontends that are images."""

    enabled: bool | None = None
    allowed_repositories: Many[str] = ()


class Frontends(_Table):
    """`[frontend]`."""

    dockerfile: DockerfileFrontend | None = Field(default=None, alias="dockerfile.v0")
    gateway: GatewayFrontend | None = Field(default=None, alias="gateway.v0")


class GcPolicy(_Table):
    """`[[worker.oci.gcpolicy]]`: one rule of the cache's garbage collection."""

    all: bool | None = None
    filters: Many[str] = ()
    keep_duration: Duration | None = None
    reserved_space: DiskSpace | None = None
    max_used_space: DiskSpace | None = None
    min_free_space: DiskSpace | None = None


class OciWorker(_Table):
    """`[worker.oci]`: runs the build steps and keeps the cache."""

    enabled: bool | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    platforms: Many[str] = ()
    snapshotter: str | None = None
    rootless: bool | None = None
    no_process_sandbox: bool | None = None
    gc: bool | None = None
    reserved_space: DiskSpace | None = None
    max_used_space: DiskSpace | None = None
    min_free_space: DiskSpace | None = None
    gcpolicy: Many[GcPolicy] = ()
    network_mode: str | None = None
    cni_config_path: str | None = None
    cni_binary_path: str | None = None
    cni_pool_size: Count | None = None
    bridge_name: str | None = None
    bridge_subnet: str | None = None
    binary: str | None = None
    proxy_snapshotter_path: str | None = None
    default_cgroup_parent: str | None = None
    stargz_snapshotter: dict[str, JsonValue] = Field(default_factory=dict)
    apparmor_profile: str | None = Field(default=None, alias="apparmor-profile")
    selinux: bool | None = None
    max_parallelism: Count | None = Field(default=None, alias="max-parallelism")


class Workers(_Table):
    """`[worker]`."""

    oci: OciWorker | None = None


class Registry(_Table):
    """`[registry."host[:port]"]`: how BuildKit reaches a registry.

    The mirrors are asked first, the registry itself always last. `http` and `insecure` are the
    registry's own; a mirror takes its from the table of its own host.
    """

    mirrors: Many[Annotated[str, AfterValidator(mirror)]] = Field(
        default=(), description="Hosts (host[:port][/path]) that are asked first, in this order."
    )
    http: bool | None = Field(default=None, description="Plain http for this very host.")
    insecure: bool | None = Field(default=None, description="https without checking, this host.")


class Buildkitd(_Table):
    """The whole of buildkitd.toml."""

    root: str | None = None
    insecure_entitlements: Many[Literal["network.host", "security.insecure", "device"]] = Field(
        default=(), alias="insecure-entitlements"
    )
    proxy_network: bool | None = None
    provenance_env_dir: str | None = None
    log: Log | None = None
    grpc: Grpc | None = None
    otel: Otel | None = None
    cdi: Cdi | None = None
    dns: Dns | None = None
    history: History | None = None
    system: System | None = None
    frontend: Frontends | None = None
    worker: Workers | None = None
    registry: dict[Annotated[str, AfterValidator(parse_registry)], Registry] = Field(
        default_factory=dict
    )
