"""buildkitd.toml as frozen models, with the keys as BuildKit spells them.

BuildKit itself ignores a key that it does not know and stops at a value of a wrong type; here both
are told before the gap. Whatever BuildKit 0.34.2 reads can be written, but for what cannot work in
a container that buildx runs: that is refused with the reason.

Source: moby/buildkit cmd/buildkitd/config (config.go, gcpolicy.go), cache/remotecache/gha/ghatypes,
util/db/compaction; a key's release is the first tag whose source has it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue

from airgapbuild.buildkitd.registries import LockedRegistry, Registry, locked_registries
from airgapbuild.buildkitd.since import Replaced, Since
from airgapbuild.buildkitd.values import (
    TEXT,
    BuildkitTable,
    Count,
    DiskSpace,
    Duration,
    Positive,
    Refused,
    Timeout,
)
from airgapbuild.document import Many
from airgapbuild.oci.reference import parse_registry

_Percent = Annotated[int, Field(gt=0, le=100)]


def _no_containerd(value: bool) -> bool:
    if value:
        raise ValueError("a builder in a container reaches no containerd; false, or leave it out")
    return value


class Log(BuildkitTable):
    """`[log]`."""

    format: Literal["json", "text"] | None = None
    level: Annotated[
        Literal["panic", "fatal", "error", "warn", "warning", "info", "debug", "trace"] | None,
        Since("0.30.0"),
    ] = None


class Grpc(BuildkitTable):
    """`[grpc]`: where buildkitd listens, inside the container."""

    address: Many[str] = ()
    debug_address: str | None = None
    uid: Count | None = None
    gid: Count | None = None
    security_descriptor: Annotated[str | None, Since("0.13.2")] = None
    tls: Annotated[
        None, Refused("buildx reaches the builder through Docker, where TLS is for its daemon")
    ] = None


class Otel(BuildkitTable):
    """`[otel]`."""

    socket_path: str | None = None


class Cdi(BuildkitTable):
    """`[cdi]`: devices that builds may ask for."""

    disabled: bool | None = None
    spec_dirs: Many[str] = ()
    auto_allowed: Many[str] = ()


class Dns(BuildkitTable):
    """`[dns]`: what build steps find in resolv.conf."""

    nameservers: Many[str] = ()
    options: Many[str] = ()
    search_domains: Many[str] = ()


class History(BuildkitTable):
    """`[history]`: how long build records stay."""

    max_age: Annotated[Duration | None, TEXT] = None
    max_entries: int | None = None


class System(BuildkitTable):
    """`[system]`."""

    platforms_cache_max_age: Duration | None = None
    max_registry_concurrency: Annotated[Positive | None, Since("0.31.0")] = None
    session_auth_timeout: Annotated[Timeout | None, Since("0.34.0")] = Field(
        default=None, description="Nothing ends it where it is zero or less."
    )


class DockerfileFrontend(BuildkitTable):
    """`[frontend."dockerfile.v0"]`: the frontend that is built in."""

    enabled: bool | None = None


class GatewayFrontend(BuildkitTable):
    """`[frontend."gateway.v0"]`: frontends that are images."""

    enabled: bool | None = None
    allowed_repositories: Many[str] = ()


class Frontends(BuildkitTable):
    """`[frontend]`."""

    dockerfile: DockerfileFrontend | None = Field(default=None, alias="dockerfile.v0")
    gateway: GatewayFrontend | None = Field(default=None, alias="gateway.v0")


class _Space(BuildkitTable):
    reserved_space: Annotated[DiskSpace | None, Since("0.17.0")] = None
    max_used_space: Annotated[DiskSpace | None, Since("0.17.0")] = None
    min_free_space: Annotated[DiskSpace | None, Since("0.17.0")] = None


class GcPolicy(_Space):
    """`[[worker.oci.gcpolicy]]`: one rule of the cache's garbage collection."""

    all: bool | None = None
    filters: Many[str] = ()
    keep_duration: Annotated[Duration | None, TEXT] = None
    keep_bytes: Annotated[DiskSpace | None, TEXT, Replaced("0.17.0", "reservedSpace")] = None


class _Worker(_Space):
    """What both kinds of workers have."""

    labels: dict[str, str] = Field(default_factory=dict)
    platforms: Many[str] = ()
    snapshotter: str | None = None
    gc: bool | None = None
    gckeepstorage: Annotated[DiskSpace | None, TEXT, Replaced("0.17.0", "reservedSpace")] = None
    gcpolicy: Many[GcPolicy] = ()
    network_mode: Annotated[
        Literal["auto", "bridge", "cni", "host"] | None,
        Since("0.13.0", "'bridge'", lambda value: value == "bridge"),
    ] = None
    cni_config_path: str | None = None
    cni_binary_path: str | None = None
    cni_pool_size: Annotated[Count | None, Since("0.11.0")] = None
    bridge_name: Annotated[str | None, Since("0.13.0")] = None
    bridge_subnet: Annotated[str | None, Since("0.13.0")] = None
    apparmor_profile: Annotated[str | None, Since("0.8.2")] = Field(
        default=None, alias="apparmor-profile"
    )
    selinux: Annotated[bool | None, Since("0.10.6")] = None
    max_parallelism: Annotated[Count | None, Since("0.9.0")] = Field(
        default=None, alias="max-parallelism"
    )


class OciWorker(_Worker):
    """`[worker.oci]`: runs the build steps and keeps the cache."""

    enabled: bool | None = None
    rootless: bool | None = None
    no_process_sandbox: bool | None = None
    binary: str | None = None
    proxy_snapshotter_path: str | None = None
    default_cgroup_parent: Annotated[str | None, Since("0.10.0")] = None
    stargz_snapshotter: dict[str, JsonValue] = Field(default_factory=dict)
    user_remap_unsupported: Annotated[None, Refused("BuildKit has it for its tests alone")] = None


class ContainerdRuntime(BuildkitTable):
    """`[worker.containerd.runtime]`."""

    name: str | None = None
    path: str | None = None
    options: dict[str, JsonValue] = Field(default_factory=dict)


class ContainerdWorker(_Worker):
    """`[worker.containerd]`: a builder in a container has none, so it stays turned off."""

    enabled: Annotated[bool, AfterValidator(_no_containerd)] | None = None
    address: str | None = None
    namespace: str | None = None
    runtime: Annotated[ContainerdRuntime | None, Since("0.13.0")] = None
    default_cgroup_parent: Annotated[str | None, Since("0.15.0")] = None
    rootless: Annotated[bool | None, Since("0.10.0")] = None
    # So in BuildKit's source; to_camel would write hyperVisolation.
    hyperv_isolation: Annotated[bool | None, Since("0.34.0")] = Field(
        default=None, alias="hypervIsolation"
    )


class Workers(BuildkitTable):
    """`[worker]`."""

    oci: OciWorker | None = None
    containerd: ContainerdWorker | None = None


class GhaSign(BuildkitTable):
    """`[cache.gha.sign]`."""

    command: Many[str] = ()


class GhaVerify(BuildkitTable):
    """`[cache.gha.verify]`; its policy names fields of a sigstore certificate."""

    required: bool | None = None
    policy: dict[str, JsonValue] = Field(default_factory=dict)


class Gha(BuildkitTable):
    """`[cache.gha]`: GitHub's cache, signed and verified."""

    sign: GhaSign | None = None
    verify: GhaVerify | None = None


class Cache(BuildkitTable):
    """`[cache]`."""

    gha: Gha | None = None


class Compaction(BuildkitTable):
    """`[compaction]`: when BuildKit's databases are made smaller."""

    enabled: bool | None = None
    idle_timeout: Duration | None = None
    max_retry: Count | None = None
    writes_per_check: Positive | None = None
    size_watermark: Positive | None = None
    size_growth_percent: Positive | None = None
    min_reclaim_bytes: Positive | None = None
    min_reclaim_percent: _Percent | None = None
    min_reclaim_percent_floor: _Percent | None = None


class _Keys(BuildkitTable):
    """All but the registries."""

    debug: Annotated[bool | None, Replaced("0.30.0", 'log.level = "debug"')] = None
    trace: Annotated[bool | None, Since("0.12.0"), Replaced("0.30.0", 'log.level = "trace"')] = None
    root: str | None = None
    insecure_entitlements: Annotated[
        Many[Literal["network.host", "security.insecure", "device"]],
        Since("0.20.0", "'device'", lambda value: isinstance(value, list) and "device" in value),
    ] = Field(default=(), alias="insecure-entitlements")
    proxy_network: Annotated[bool | None, Since("0.31.0")] = None
    provenance_env_dir: Annotated[str | None, Since("0.25.0")] = None
    log: Annotated[Log | None, Since("0.13.0")] = None
    grpc: Grpc | None = None
    otel: Annotated[Otel | None, Since("0.13.0")] = None
    cdi: Annotated[Cdi | None, Since("0.20.0")] = None
    dns: Dns | None = None
    history: Annotated[History | None, Since("0.11.0")] = None
    system: Annotated[System | None, Since("0.14.0")] = None
    frontend: Annotated[Frontends | None, Since("0.14.0")] = None
    worker: Workers | None = None
    cache: Annotated[Cache | None, Since("0.27.0")] = None
    compaction: Annotated[Compaction | None, Since("0.34.0")] = None


_Host = Annotated[str, AfterValidator(parse_registry)]


class LockedBuildkitd(_Keys):
    """The whole of buildkitd.toml, as a lock has it."""

    registry: dict[_Host, LockedRegistry] = Field(default_factory=dict)


class Buildkitd(_Keys):
    """The whole of buildkitd.toml, as a manifest has it."""

    registry: dict[_Host, Registry] = Field(default_factory=dict)

    @property
    def locked(self) -> LockedBuildkitd:
        """The same in a lock."""
        keys = {name: getattr(self, name) for name in self.model_fields_set - {"registry"}}
        registry = locked_registries(self.registry)
        return LockedBuildkitd.model_construct(**keys, registry=registry)
