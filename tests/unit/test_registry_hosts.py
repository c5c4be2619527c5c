from __future__ import annotations

import base64
from pathlib import Path

import pytest

from airgapbuild.manifest import RegistrySettings
from airgapbuild.oci.reference import is_loopback, parse_reference
from airgapbuild.registry.hosts import Host, hosts_for
from airgapbuild.registry.origin import Origin, origin_of
from airgapbuild.registry.proxies import proxy_for

SOME_FILE = Path(__file__)
PYTHON = parse_reference("python:3.13-slim")


def test_docker_hub_is_asked_at_its_own_address() -> None:
    (host,) = hosts_for(PYTHON, {})
    assert (host.name, host.base, host.path_of(PYTHON)) == (
        "docker.io",
        "https://registry-1.docker.io/v2",
        "library/python",
    )
    assert host.shown(PYTHON) == "python:3.13-slim"


def test_mirrors_come_first_each_with_its_own_settings() -> None:
    settings = {
        "docker.io": RegistrySettings(
            mirrors=("mirror.corp/dockerhub", "[::1]:5000"), ca=SOME_FILE, insecure=True
        ),
        "mirror.corp": RegistrySettings(http=True),
    }
    mirror, local, hub = hosts_for(PYTHON, settings)
    assert (mirror.base, mirror.path_of(PYTHON)) == (
        "http://mirror.corp/v2",
        "dockerhub/library/python",
    )
    assert mirror.settings == RegistrySettings(http=True)
    assert mirror.shown(PYTHON) == "mirror.corp/dockerhub/library/python:3.13-slim"
    assert (local.base, local.settings) == ("http://[::1]:5000/v2", RegistrySettings())
    assert (hub.name, hub.settings) == ("docker.io", settings["docker.io"])


def asked(reference: str, settings: dict[str, RegistrySettings]) -> list[str]:
    parsed = parse_reference(reference)
    return [f"{host.name}/{host.path_of(parsed)}" for host in hosts_for(parsed, settings)]


def mirrored(*mirrors: str, upstream: bool = True) -> RegistrySettings:
    return RegistrySettings(mirrors=mirrors, upstream=upstream)


def test_the_longest_key_counts_and_it_alone() -> None:
    settings = {
        "docker.io": mirrored("all.test", upstream=False),
        "docker.io/library": mirrored("official.test/hub"),
        "docker.io/library/python": mirrored("one.test/py", upstream=False),
    }
    assert asked("moby/buildkit:1", settings) == ["all.test/moby/buildkit"]
    assert asked("busybox:1", settings) == [
        "official.test/hub/busybox",
        "docker.io/library/busybox",
    ]
    assert asked("python:3", settings) == ["one.test/py"]
    assert asked("docker.io/library/python/x:3", settings) == ["one.test/py/x"]


def test_a_key_ends_where_a_component_does() -> None:
    settings = {"docker.io/lib": mirrored("a.test"), "docker.i": mirrored("b.test")}
    assert asked("python:3", settings) == ["docker.io/library/python"]
    assert asked("docker.io:5000/a/b:3", {"docker.io": mirrored("c.test")}) == [
        "docker.io:5000/a/b"
    ]


@pytest.mark.parametrize(
    ("key", "path"),
    [("docker.io", "g/proxy/library/python"), ("docker.io/library", "g/proxy/python")],
)
def test_a_mirror_stands_for_what_the_key_names(key: str, path: str) -> None:
    mirror, hub = asked("python:3", {key: mirrored("gitlab.test/g/proxy")})
    assert (mirror, hub) == (f"gitlab.test/{path}", "docker.io/library/python")


def test_a_host_is_reached_as_its_own_table_says_whatever_key_led_to_it() -> None:
    settings = {
        "r.test/team": mirrored("m.test/r"),
        "r.test": RegistrySettings(insecure=True),
        "m.test": RegistrySettings(http=True),
    }
    mirror, own = hosts_for(parse_reference("r.test/team/app:1"), settings)
    assert mirror.base == "http://m.test/v2"
    assert mirror.shown(parse_reference("r.test/team/app:1")) == "m.test/r/app:1"
    assert own.settings.insecure


def test_upstream_false_leaves_the_mirrors_only() -> None:
    settings = {"docker.io": RegistrySettings(mirrors=("a.test", "b.test"), upstream=False)}
    assert [host.name for host in hosts_for(PYTHON, settings)] == ["a.test", "b.test"]
    assert hosts_for(PYTHON, {"docker.io": RegistrySettings(upstream=False)}) == ()


@pytest.mark.parametrize(
    ("settings", "scheme"),
    [
        (RegistrySettings(), "http"),
        (RegistrySettings(ca=SOME_FILE), "https"),
        (RegistrySettings(cert=SOME_FILE), "https"),
        (RegistrySettings(insecure=True), "https"),
        (RegistrySettings(insecure=True, http=True), "http"),
    ],
)
def test_loopback_is_plain_http_unless_its_settings_speak_of_tls(
    settings: RegistrySettings, scheme: str
) -> None:
    reference = parse_reference("localhost:5000/a:b")
    (host,) = hosts_for(reference, {"localhost:5000": settings})
    assert host.base == f"{scheme}://localhost:5000/v2"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("LOCALHOST:5000", True),
        ("127.0.0.1", True),
        ("127.9.9.9:1", True),
        ("[::1]:5000", True),
        ("[::1]", True),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com:80", False),
        ("10.0.0.1:5000", False),
        ("[fe80::1]:5000", False),
        ("registry", False),
    ],
)
def test_loopback_is_known_by_its_name(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Registry.Example/x?y", Origin("https", "registry.example", 443)),
        ("http://a:443/", Origin("http", "a", 443)),
        ("https://user:secret@a:8443", Origin("https", "a", 8443)),
        ("https://good.test\\@evil.test/", Origin("https", "good.test", 443)),
        ("ftp://a/", None),
        ("/token", None),
        ("https://", None),
        ("https://a:99999/", None),
        ("http://a\x1b[31m/", None),
        ("http://[::1]:5000/", Origin("http", "[::1]", 5000)),
        ("", None),
    ],
)
def test_origin_is_scheme_host_and_port(url: str, origin: Origin | None) -> None:
    assert origin_of(url) == origin


PROXY = {"HTTPS_PROXY": "proxy.corp:3128", "http_proxy": "http://plain.corp:3128"}


@pytest.mark.parametrize(
    ("scheme", "host", "environ", "proxy"),
    [
        ("https", "quay.io", {}, None),
        ("https", "quay.io", PROXY, "http://proxy.corp:3128"),
        ("http", "quay.io", PROXY, "http://plain.corp:3128"),
        ("https", "localhost", PROXY, None),
        ("https", "127.0.0.1", PROXY, None),
        ("https", "a.corp", {**PROXY, "NO_PROXY": "x, .corp"}, None),
        ("https", "a.corp", {**PROXY, "no_proxy": "*.corp"}, None),
        ("https", "corp", {**PROXY, "NO_PROXY": "corp"}, None),
        ("https", "megacorp", {**PROXY, "NO_PROXY": "corp"}, "http://proxy.corp:3128"),
        ("https", "a.corp", {**PROXY, "NO_PROXY": "a.corp:5000"}, "http://proxy.corp:3128"),
        ("https", "a.corp", {**PROXY, "NO_PROXY": "a.corp:443"}, None),
        ("https", "a.corp", {**PROXY, "NO_PROXY": "*"}, None),
        ("https", "a.corp", {**PROXY, "NO_PROXY": ",."}, "http://proxy.corp:3128"),
    ],
)
def test_proxy_is_found_by_the_usual_variables(
    scheme: str, host: str, environ: dict[str, str], proxy: str | None
) -> None:
    found = proxy_for(scheme, host, 443, environ)
    assert (found.url if found else None) == proxy


def test_networks_in_no_proxy_hold_addresses() -> None:
    environ = {**PROXY, "NO_PROXY": "10.0.0.0/8,2001:db8::/32,10.x/8"}
    for host in ("10.1.2.3", "[2001:db8::1]"):
        assert proxy_for("https", host, 443, environ) is None
    for host in ("11.1.2.3", "ten.corp"):
        assert proxy_for("https", host, 443, environ) is not None


@pytest.mark.parametrize(
    ("url", "shown", "login"),
    [
        ("http://u:p%40ss@proxy.corp:3128/", "http://proxy.corp:3128", "u:p@ss"),
        ("u:p@ss@proxy.corp:3128", "http://proxy.corp:3128", "u:p@ss"),
        ("https://u:p\N{EURO SIGN}@proxy.corp", "https://proxy.corp", "u:p\N{EURO SIGN}"),
        ("http://u@proxy.corp", "http://proxy.corp", "u:"),
    ],
)
def test_a_proxy_s_login_is_no_part_of_its_url(url: str, shown: str, login: str) -> None:
    found = proxy_for("https", "quay.io", 443, {"HTTPS_PROXY": url})
    assert found is not None
    assert found.url == shown
    assert found.authorization == "Basic " + base64.b64encode(login.encode()).decode()
    assert repr(found) == f"Proxy(url='{shown}')"


@pytest.mark.parametrize(
    ("host", "settings", "risk"),
    [
        ("quay.io", {}, None),
        ("quay.io", {"http": True}, "plain http"),
        ("quay.io", {"http": True, "insecure": True}, "plain http"),
        ("quay.io", {"insecure": True}, "not checked"),
        ("localhost:5000", {}, None),
        ("localhost:5000", {"http": True}, None),
        ("localhost:5000", {"insecure": True}, "not checked"),
    ],
)
def test_a_host_says_what_its_settings_give_up(
    host: str, settings: dict[str, bool], risk: str | None
) -> None:
    said = Host(host, "", RegistrySettings.model_validate(settings)).risk
    assert (risk or "") in (said or "")
    assert (said is None) is (risk is None)
