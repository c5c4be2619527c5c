from __future__ import annotations

import pytest

from airgapbuild.drivers import NEWEST, Driver, flag_problem, newer_options, option_problem

GOOD: list[tuple[Driver, str, tuple[str, ...]]] = [
    ("docker-container", "memory", ("512MB", "2g", "1.5GiB", "1073741824", "100 mb", "5b")),
    ("docker-container", "memory-swap", ("-1", "1gb")),
    ("docker-container", "cpu-quota", ("-1", "50000", "+5")),
    ("docker-container", "cpuset-cpus", ("0-3", "1,3")),
    ("docker-container", "restart-policy", ("no", "on-failure", "on-failure:3")),
    ("docker-container", "default-load", ("true", "F", "1")),
    ("docker-container", "env.HTTP_PROXY", ("", "http://proxy:3128")),
    ("kubernetes", "replicas", ("3",)),
    ("kubernetes", "requests.memory", ("4Gi", "500m", "1e3", "2.5G")),
    ("kubernetes", "nodeselector", ("kubernetes.io/arch=arm64,zone=a", '"a=b"', "a=")),
    ("kubernetes", "tolerations", ("key=a,value=b,effect=NoSchedule;key=c,tolerationSeconds=60",)),
    ("kubernetes", "timeout", ("90s", "1m30s", "1.5h")),
    ("kubernetes", "loadbalance", ("sticky", "random")),
    ("remote", "cacert", ("/etc/certs/ca.pem",)),
]
BAD: list[tuple[Driver, str, tuple[str, ...]]] = [
    ("docker-container", "memory", ("", "lots", "1kI", "1gbb", "-1", "0x10")),
    ("docker-container", "memory-swap", ("-2", "max")),
    ("docker-container", "cpu-shares", ("1.5", "", "two", "9" * 19)),
    ("docker-container", "network", ("",)),
    ("docker-container", "restart-policy", ("sometimes", "on-failure:x")),
    ("docker-container", "default-load", ("yes", "TrUe", "")),
    ("kubernetes", "replicas", ("-1", "many")),
    ("kubernetes", "limits.cpu", ("2 cores", "1gb", "")),
    ("kubernetes", "labels", ("a", "a=b=c", "a=b,,c=d")),
    ("kubernetes", "tolerations", ("key", "kee=a", "tolerationSeconds=long")),
    ("kubernetes", "timeout", ("90", "1 min", "")),
    ("kubernetes", "loadbalance", ("round-robin",)),
    ("remote", "key", ("key.pem", "")),
]


def cases(table: list[tuple[Driver, str, tuple[str, ...]]]) -> list[tuple[Driver, str, str]]:
    return [(driver, name, value) for driver, name, values in table for value in values]


@pytest.mark.parametrize(("driver", "name", "value"), cases(GOOD))
def test_what_buildx_takes_is_taken(driver: Driver, name: str, value: str) -> None:
    assert option_problem(driver, name, value) is None


@pytest.mark.parametrize(("driver", "name", "value"), cases(BAD))
def test_what_buildx_refuses_is_told(driver: Driver, name: str, value: str) -> None:
    assert f", not '{value}'" in (option_problem(driver, name, value) or "")


@pytest.mark.parametrize(
    ("driver", "name", "meant"),
    [
        ("docker-container", "memori", ", did you mean 'memory'?"),
        ("docker-container", "cpu_quota", ", did you mean 'cpu-quota'?"),
        ("docker-container", "env.", ", did you mean 'env.NAME'?"),
        ("docker-container", "replicas", ""),
        ("kubernetes", "limit.cpu", ", did you mean 'limits.cpu'?"),
        ("remote", "env.X", ""),
        ("remote", "network", ""),
    ],
)
def test_an_option_of_no_buildx_is_told_with_the_nearest(
    driver: Driver, name: str, meant: str
) -> None:
    assert option_problem(driver, name, "x") == (
        f"no option of the {driver} driver in buildx up to 0.38{meant}"
    )


def test_options_are_newer_than_a_buildx() -> None:
    names = ("network", "env.X", "restart-policy", "default-load", "provenance-add-gha")
    assert newer_options("docker-container", names, (0, 13)) == [
        ("default-load", (0, 14)),
        ("provenance-add-gha", (0, 30)),
    ]
    assert newer_options("docker-container", names, NEWEST) == []
    assert newer_options("kubernetes", ["env.X", "image"], (0, 13)) == [("env.X", (0, 28))]


@pytest.mark.parametrize("word", ["--debug", "--oci-worker-gc=false", "--root", "--log-level"])
def test_a_flag_of_buildkitd_is_taken(word: str) -> None:
    assert flag_problem(word, is_first=True) is None
    assert flag_problem("security.insecure", is_first=False) is None


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("--oci-worker-gcc", "is no flag of buildkitd, did you mean '--oci-worker-gc'?"),
        ("debug", "is no flag of buildkitd, did you mean '--debug'?"),
        ("-debug", "is no flag of buildkitd, did you mean '--debug'?"),
        ("--zzz", 'is no flag of buildkitd: write "--debug", or "--root=/path"'),
        ("", 'is no flag of buildkitd: write "--debug", or "--root=/path"'),
        ("--addr", "is taken: buildx asks buildkitd at its own socket"),
        ("--config", "is taken: write [buildkitd] instead"),
    ],
)
def test_what_is_no_flag_for_a_builder_is_told(word: str, told: str) -> None:
    assert flag_problem(word, is_first=True) == f"'{word}' {told}"
