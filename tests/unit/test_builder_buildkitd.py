from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from airgapbuild.builder.buildkitd import inside_hosts, render, sealing
from airgapbuild.buildkitd import Buildkitd, LockedBuildkitd

GOLDEN = Path(__file__).parent / "golden" / "buildkitd.toml"

EVERYTHING = """
root = "/var/lib/buildkit"
insecure-entitlements = ["security.insecure", "network.host"]
proxyNetwork = false
provenanceEnvDir = "/etc/buildkit/provenance.d"
log = { level = "debug", format = "json" }
grpc = { address = ["unix:///run/a.sock"], debugAddress = "127.0.0.1:6060", uid = 0 }
otel.socketPath = "/run/otel.sock"
cdi = { disabled = true, specDirs = ["/etc/cdi"], autoAllowed = ["vendor.example/class"] }
dns = { nameservers = ["10.0.0.2"], options = ["edns0"], searchDomains = ["corp.example"] }
history = { maxAge = 172800, maxEntries = 50 }
system = { platformsCacheMaxAge = "1h", maxRegistryConcurrency = 4 }
frontend."dockerfile.v0".enabled = true
frontend."gateway.v0" = { enabled = true, allowedRepositories = ["docker/dockerfile"] }

[worker.oci]
enabled = true
max-parallelism = 4
noProcessSandbox = false
apparmor-profile = "p"
cniPoolSize = 8
gc = true
reservedSpace = "30%"
maxUsedSpace = "60GB"
minFreeSpace = 20000000000
labels = { zone = "b", arch = "a" }
[[worker.oci.gcpolicy]]
keepDuration = "48h"
filters = ["type==source.local", "type==exec.cachemount"]
maxUsedSpace = "512MB"
[[worker.oci.gcpolicy]]
all = true

[registry."docker.io"]
mirrors = ["registry.inside.example:5000/hub", "second.inside.example"]
[registry."registry.inside.example:5000"]
http = true
"""


def parse(text: str) -> LockedBuildkitd:
    return Buildkitd.model_validate(tomllib.loads(text)).locked


def test_every_key_is_written_as_it_was_read() -> None:
    assert tomllib.loads(render(parse(EVERYTHING)).decode()) == tomllib.loads(EVERYTHING)


def test_the_file_is_the_golden_one() -> None:
    assert render(parse(EVERYTHING)) == GOLDEN.read_bytes()


def test_the_order_of_the_keys_does_not_matter() -> None:
    one = parse('[registry."a.example"]\nhttp = true\ninsecure = true\n[log]\nlevel = "info"')
    two = parse('[log]\nlevel = "info"\n[registry."a.example"]\ninsecure = true\nhttp = true')
    assert render(one) == render(two)


def test_an_empty_config_is_a_comment() -> None:
    for empty in (LockedBuildkitd(), parse("[worker.oci]\n[registry]\n")):
        assert tomllib.loads(render(LockedBuildkitd()).decode()) == {}
        assert render(empty).startswith(b"# ")


@pytest.mark.parametrize(
    "wrong",
    [
        "worker.containerd.enabled = true",
        'grpc.tls.ca = "/ca.pem"',
        'worker.oci.userRemapUnsupported = "x"',
        'worker.oci.networkMode = "none"',
        f"worker.oci.max-parallelism = {1 << 63}",
        "compaction.minReclaimPercent = 101",
        'system.sessionAuthTimeout = "-"',
        "worker.oci.maxParallelism = 4",  # BuildKit spells this one with a hyphen
        "worker.oci.max_parallelism = 4",
        'worker.oci.max-parallelism = "4"',
        'worker.oci.rootless = "no"',
        'worker.oci.reservedSpace = "10 bananas"',
        'worker.oci.reservedSpace = "101%"',
        "worker.oci.reservedSpace = -1",
        "worker.oci.reservedSpace = true",
        'history.maxAge = "2 days"',
        "history.maxAge = -1",
        'insecure-entitlements = ["everything"]',
        "system.maxRegistryConcurrency = 0",
        'registry."docker.io".ca = ["x.pem"]',
        'registry."docker.io".keypair = [{ key = "/key.pem" }]',
        'registry."docker.io".mirrors = [{ http = true }]',
        'registry."docker.io".mirrors = ["https://mirror.example"]',
        'registry."docker.io".mirrors = ["mirror.example/UPPER"]',
        'registry."https://docker.io".http = true',
        'log.level = "loud"',
    ],
)
def test_what_buildkit_would_ignore_or_choke_on_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError):
        parse(wrong)


@pytest.mark.parametrize("space", ["0", "512MB", "1.5 GiB", "10g", "7%", "100%"])
def test_a_disk_space_is_what_buildkit_takes_for_one(space: str) -> None:
    assert parse(f'worker.oci.minFreeSpace = "{space}"').worker is not None


@pytest.mark.parametrize("duration", ["0", "60", "48h", "1h30m", "1.5h", "100ms"])
def test_a_duration_is_what_go_takes_for_one(duration: str) -> None:
    assert parse(f'history.maxAge = "{duration}"').history is not None


def test_a_mirror_with_a_scheme_is_told_what_to_write() -> None:
    with pytest.raises(ValidationError, match=r"without a scheme; plain http is `http = true`"):
        parse('registry."docker.io".mirrors = ["http://mirror.example"]')


def test_inside_are_mirrors_and_registries_of_their_own() -> None:
    config = parse(
        """
        [registry."docker.io"]
        mirrors = ["mirror.example:5000/hub"]
        [registry."ghcr.io"]
        mirrors = ["mirror.example:5000/ghcr", "other.example"]
        [registry."own.example"]
        [registry."both.example"]
        mirrors = ["cache.example"]
        http = true
        """
    )
    assert inside_hosts(config) == (
        "both.example",
        "cache.example",
        "mirror.example:5000",
        "other.example",
        "own.example",
    )


def test_a_seal_is_a_proxy_that_nobody_listens_on() -> None:
    options = sealing(parse('[registry."docker.io"]\nmirrors = ["mirror.example:5000"]'))
    nowhere = "http://127.0.0.1:1"
    inside = "127.0.0.1,::1,localhost,mirror.example:5000"
    assert options == {
        "env.HTTP_PROXY": nowhere,
        "env.HTTPS_PROXY": nowhere,
        "env.NO_PROXY": inside,
        "env.http_proxy": nowhere,
        "env.https_proxy": nowhere,
        "env.no_proxy": inside,
    }
