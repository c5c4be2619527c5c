"""Where logins come from, each kept as the tool that keeps it does."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgapbuild.credentials import Credential, Logins
from airgapbuild.credentials.authfile import AuthFile, parse_auth_file
from tests.integration.reading import Notes

if TYPE_CHECKING:
    from collections.abc import Callable

HUB = "docker.io"


class Shop:
    """A home with docker's and podman's files, helpers on PATH, and what was told."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.docker = home / ".docker"
        self.docker.mkdir()
        self.told = Notes()
        self.environ = {"HOME": str(home), "PATH": f"{home}/bin:/usr/bin:/bin"}
        # Not those of the machine that the tests run on.
        self.environ["XDG_RUNTIME_DIR"] = str(home / "run")

    def config(self, **document: object) -> None:
        (self.docker / "config.json").write_text(json.dumps(document))

    def podman(self, folder: str, **document: object) -> Path:
        path = self.home / folder / "containers/auth.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(document))
        return path

    def helper(self, name: str, script: str) -> None:
        path = self.home / "bin" / f"docker-credential-{name}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\nread server\necho $server >> {self.home}/asked\n{script}\n")
        path.chmod(0o755)

    def logins(self, **environ: str) -> Logins:
        return Logins({**self.environ, **environ}, self.docker, self.told)

    @property
    def asked(self) -> list[str]:
        return (self.home / "asked").read_text().split()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def basic(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


# docker's config.json


def test_no_config_means_no_login(shop: Shop) -> None:
    assert shop.logins()(HUB, "library/python") is None
    assert (shop.told.notes, shop.told.details) == ([], [])


def test_an_empty_config_means_no_login(shop: Shop) -> None:
    shop.config()
    assert shop.logins()(HUB, "a") is None
    shop.config(currentContext="x", auths={"docker.io": {}})
    assert shop.logins()(HUB, "a") is None
    assert shop.told.notes == []


def test_a_login_is_found_by_the_registry_s_host(shop: Shop) -> None:
    shop.config(
        auths={
            "https://index.docker.io/v1/": basic("hub", "secret:with:colons"),
            "registry.corp.example:5000": basic("me", "pw"),
            "https://legacy.example/v2/": basic("old", "pw"),
            "plain.example/v1/": {"username": "plain", "password": "pw"},
        }
    )
    login = shop.logins()
    assert login(HUB, "library/python") == Credential("hub", "secret:with:colons")
    assert login("registry.corp.example:5000", "a/b") == Credential("me", "pw")
    assert login("legacy.example", "a") == Credential("old", "pw")
    assert login("plain.example", "a") == Credential("plain", "pw")
    assert login("registry.corp.example", "a/b") is None


def test_an_identity_token_is_kept_apart(shop: Shop) -> None:
    shop.config(
        auths={
            "az.example": {**basic("u", "p"), "identitytoken": "tok"},
            "bare.example": {"identitytoken": "tok"},
        }
    )
    assert shop.logins()("az.example", "a") == Credential("u", "", "tok")
    assert shop.logins()("bare.example", "a") == Credential("<token>", "", "tok")


# Helpers


def test_a_store_is_asked_once_a_registry_and_by_the_hub_s_url(shop: Shop) -> None:
    shop.helper("keys", """echo '{"Username":"u","Secret":"s"}'""")
    shop.config(credsStore="keys", auths={HUB: {}})
    login = shop.logins()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(login, [HUB] * 8, "abcdefgh"))
    assert found == [Credential("u", "s")] * 8
    assert shop.asked == ["https://index.docker.io/v1/"]
    assert shop.told.details == [
        f"docker.io: login of 'u' from docker-credential-keys, as {shop.docker}/config.json says"
    ]


def test_a_helper_goes_before_the_store_and_before_the_file(shop: Shop) -> None:
    shop.helper("keys", "exit 1")
    shop.helper("cloud", """echo '{"Username":"<token>","Secret":"tok"}'""")
    shop.config(
        credsStore="keys",
        credHelpers={"cloud.example": "cloud"},
        auths={"cloud.example": basic("old", "pw")},
    )
    assert shop.logins()("cloud.example", "a") == Credential("<token>", "", "tok")
    assert shop.told.notes == []


def test_a_helper_that_knows_nothing_is_no_reason_to_warn(shop: Shop) -> None:
    shop.helper("keys", "echo credentials not found in native keychain; exit 1")
    shop.config(credsStore="keys")
    assert shop.logins()("other.example", "a") is None
    assert shop.told.notes == []


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (
            "echo s3cret; echo s3cret >&2; exit 3",
            "failed with exit code 3; see: echo reg.example | docker-credential-keys get",
        ),
        ("echo s3cret", "did not answer with a login"),
        ("""echo '{"Secret": "s3cret"}'""", "did not answer with a login"),
        ("echo '[]'", "did not answer with a login"),
    ],
)
def test_a_broken_helper_is_noted_once_and_not_quoted(
    shop: Shop, script: str, why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    shop.helper("keys", script)
    shop.config(credsStore="keys")
    login = shop.logins()
    assert login("reg.example", "a") is login("reg.example", "b") is None
    assert shop.told.notes == [
        f"reg.example: docker-credential-keys {why}; its logins are not used"
    ]
    assert capfd.readouterr() == ("", "")


def test_a_helper_that_is_no_program_is_noted(shop: Shop) -> None:
    shop.helper("keys", "")
    path = shop.home / "bin/docker-credential-keys"
    path.write_text("no program")
    shop.config(credsStore="keys")
    assert shop.logins()("reg.example", "a") is None
    assert shop.told.notes == [
        "reg.example: docker-credential-keys: exec format error; its logins are not used"
    ]


def test_a_missing_helper_is_noted_once_and_the_next_source_asked(shop: Shop) -> None:
    shop.config(credsStore="nowhere")
    shop.podman("run", auths={"reg.example": basic("pod", "pw")})
    login = shop.logins()
    assert login("reg.example", "a") == login("reg.example", "b") == Credential("pod", "pw")
    assert shop.told.notes == [
        "reg.example: docker-credential-nowhere is not on PATH; its logins are not used"
    ]


# podman's auth.json, and places within a registry


def test_podman_s_files_are_read_in_its_order(shop: Shop) -> None:
    shop.podman("run", auths={"one.example": basic("runtime", "pw")})
    shop.podman(
        ".config", auths={"one.example": basic("c", "pw"), "two.example": basic("config", "pw")}
    )
    login = shop.logins()
    assert login("one.example", "a") == Credential("runtime", "pw")
    assert login("two.example", "a") == Credential("config", "pw")


def test_podman_s_config_folder_can_be_elsewhere(shop: Shop) -> None:
    shop.podman("xdg", auths={"two.example": basic("config", "pw")})
    login = shop.logins(XDG_CONFIG_HOME=str(shop.home / "xdg"))
    assert login("two.example", "a") == Credential("config", "pw")


@pytest.mark.parametrize(
    ("repository", "user"),
    [
        ("team/app", "app"),
        ("team/app/part", "app"),
        ("team/other", "team"),
        ("teams/app", "host"),
        ("app", "host"),
    ],
)
def test_the_longest_place_that_holds_a_repository_wins(
    shop: Shop, repository: str, user: str
) -> None:
    auths = {
        "reg.example": basic("host", "pw"),
        "reg.example/team": basic("team", "pw"),
        "reg.example/team/app": basic("app", "pw"),
    }
    shop.podman("run", auths=auths)
    assert shop.logins()("reg.example", repository) == Credential(user, "pw")
    shop.config(auths=auths)
    assert shop.logins()("reg.example", repository) == Credential(user, "pw")


def test_a_login_for_a_namespace_is_for_nothing_else(shop: Shop) -> None:
    shop.config(auths={"reg.example/team": basic("team", "pw")})
    assert shop.logins()("reg.example", "other/app") is None
    assert shop.logins()("reg.example:5000", "team/app") is None


PATHS = st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map("/".join)


@given(st.sets(PATHS, max_size=6), PATHS)
def test_a_place_holds_what_lies_below_it_and_nothing_else(
    places: set[str], repository: str
) -> None:
    credentials = {f"r.example/{place}": Credential(place, "pw") for place in places}
    found = AuthFile(credentials).find("r.example", repository, lambda *_: None)
    holding = [place for place in places if f"{repository}/".startswith(f"{place}/")]
    assert (found.credential.username if found else None) == max(holding, key=len, default=None)


# The order of the sources


def everywhere(shop: Shop) -> dict[str, str]:
    """A login for reg.example in every place; the environment that names them."""
    named = shop.podman("named", auths={"reg.example": basic("named", "pw")})
    shop.config(auths={"reg.example": basic("docker", "pw")})
    shop.podman("run", auths={"reg.example": basic("podman", "pw")})
    return {
        "DOCKER_AUTH_CONFIG": json.dumps({"auths": {"reg.example": basic("variable", "pw")}}),
        "REGISTRY_AUTH_FILE": str(named),
        "CI_REGISTRY": "reg.example",
        "CI_REGISTRY_USER": "job",
        "CI_REGISTRY_PASSWORD": "pw",
    }


def test_the_first_source_that_has_a_login_decides_and_is_told(shop: Shop) -> None:
    environ = everywhere(shop)
    order: list[tuple[str, str, Callable[[], object]]] = [
        ("variable", "DOCKER_AUTH_CONFIG", lambda: environ.pop("DOCKER_AUTH_CONFIG")),
        (
            "named",
            f"REGISTRY_AUTH_FILE ({environ['REGISTRY_AUTH_FILE']})",
            lambda: environ.pop("REGISTRY_AUTH_FILE"),
        ),
        ("docker", f"{shop.docker}/config.json", (shop.docker / "config.json").unlink),
        (
            "podman",
            f"{shop.home}/run/containers/auth.json",
            (shop.home / "run/containers/auth.json").unlink,
        ),
        ("job", "CI_REGISTRY_PASSWORD", lambda: environ.pop("CI_REGISTRY_PASSWORD")),
    ]
    for user, source, remove in order:
        login = shop.logins(**environ)
        assert login("reg.example", "a") == login("reg.example", "b") == Credential(user, "pw")
        assert shop.told.details == [f"reg.example: login of '{user}' from {source}"]
        shop.told.details.clear()
        remove()
    assert shop.logins(**environ)("reg.example", "a") is None


def test_a_source_that_does_not_know_the_registry_leaves_it_to_the_next(shop: Shop) -> None:
    environ = everywhere(shop)
    environ["DOCKER_AUTH_CONFIG"] = json.dumps({"auths": {"other.example": basic("x", "y")}})
    Path(environ["REGISTRY_AUTH_FILE"]).write_text('{"auths": {}}')
    assert shop.logins(**environ)("reg.example", "a") == Credential("docker", "pw")


def test_a_gitlab_job_knows_its_registry_and_its_dependency_proxy(shop: Shop) -> None:
    login = shop.logins(
        CI_REGISTRY="registry.gitlab.example:5050",
        CI_REGISTRY_USER="gitlab-ci-token",
        CI_REGISTRY_PASSWORD="one",
        CI_DEPENDENCY_PROXY_SERVER="gitlab.example:443",
        CI_DEPENDENCY_PROXY_USER="gitlab-ci-token",
        CI_DEPENDENCY_PROXY_PASSWORD="two",
    )
    path = "group/dependency_proxy/containers/library/python"
    assert login("registry.gitlab.example:5050", "a") == Credential("gitlab-ci-token", "one")
    assert login("gitlab.example", path) == Credential("gitlab-ci-token", "two")
    assert login("gitlab.example:443", path) == Credential("gitlab-ci-token", "two")
    assert login("gitlab.example:8443", path) is None


# What is broken


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("{", "it is not JSON"),
        ("[" * 99_999, "it is not JSON"),
        ("[1]", "it has no table of credHelpers"),
        ('{"auths": ["s3cret"]}', "it has no table of auths"),
        ('{"credsStore": 1}', "a credential helper in it is no name"),
        ('{"credHelpers": {"x": 1}}', "a credential helper in it is no name"),
        ('{"auths": {"x": 1}}', "its entry for 'x' is no table"),
        ('{"auths": {"x": {"auth": 1}}}', "its entry for 'x' holds no base64 of user:password"),
        (
            '{"auths": {"x": {"auth": "s3cret:s3cret"}}}',
            "its entry for 'x' holds no base64 of user:password",
        ),
        (
            '{"auths": {"x": {"auth": "czNjcmV0"}}}',
            "its entry for 'x' holds no base64 of user:password",
        ),
        (
            '{"auths": {"x": {"auth": "/w=="}}}',
            "its entry for 'x' holds no base64 of user:password",
        ),
    ],
)
def test_what_is_broken_is_noted_once_without_its_secrets_and_passed_over(
    shop: Shop, raw: str, why: str
) -> None:
    (shop.docker / "config.json").write_text(raw)
    shop.podman("run", auths={"ghcr.io": basic("pod", "pw")})
    login = shop.logins(DOCKER_AUTH_CONFIG=raw)
    assert login(HUB, "a") is None
    assert login("ghcr.io", "a") == Credential("pod", "pw")
    assert shop.told.notes == [
        f"DOCKER_AUTH_CONFIG: {why}; its logins are not used",
        f"{shop.docker}/config.json: {why}; its logins are not used",
    ]


def test_a_file_that_was_named_and_is_not_there_is_noted(shop: Shop) -> None:
    shop.podman("run", auths={"ghcr.io": basic("pod", "pw")})
    login = shop.logins(REGISTRY_AUTH_FILE="/nowhere/auth.json")
    assert login("ghcr.io", "a") is None
    assert shop.told.notes == [
        "REGISTRY_AUTH_FILE (/nowhere/auth.json): no such file or directory; "
        "its logins are not used"
    ]


@given(st.text() | st.recursive(st.none() | st.booleans() | st.integers() | st.text(),
       lambda inner: st.lists(inner) | st.dictionaries(
           st.sampled_from(("auths", "auth", "credHelpers", "credsStore", "x", "username")), inner
       )).map(json.dumps))  # fmt: skip
def test_no_document_is_worse_than_a_value_error(raw: str) -> None:
    with suppress(ValueError):
        parse_auth_file(raw)


# What shows


def test_a_login_never_shows_its_secrets() -> None:
    shown = repr(Credential("me", "s3cret", "token"))
    assert shown == "Credential(username='me')"
