from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from airgapbuild.engine.credentials import Login, docker_credentials

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Lookup = Callable[[str], Login | None]


class Shop:
    """A DOCKER_CONFIG folder with helpers of its own, and what was warned of."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.warnings: list[str] = []
        # The SDK looks for helpers on the process's own PATH.
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def config(self, **document: object) -> Lookup:
        (self.folder / "config.json").write_text(json.dumps(document))
        return self.lookup()

    def lookup(self) -> Lookup:
        return docker_credentials({"DOCKER_CONFIG": str(self.folder)}, self.warnings.append)

    def helper(self, name: str, script: str) -> None:
        path = self.folder / f"docker-credential-{name}"
        path.write_text(f"#!/bin/sh\nread server\necho $server >> {self.folder}/asked\n{script}\n")
        path.chmod(0o755)

    @property
    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().split()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(tmp_path, monkeypatch)


def basic(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_no_config_means_no_login(shop: Shop) -> None:
    assert shop.lookup()("docker.io") is None
    assert shop.warnings == []


def test_an_empty_config_means_no_login(shop: Shop) -> None:
    assert shop.config()("docker.io") is None
    assert shop.config(currentContext="x", auths={})("docker.io") is None
    assert shop.warnings == []


def test_a_login_is_found_by_the_registry_s_host(shop: Shop) -> None:
    auths = {
        "https://index.docker.io/v1/": basic("hub", "secret:with:colons"),
        "registry.corp.example:5000": basic("me", "pw"),
        "https://legacy.example/v2/": basic("old", "pw"),
    }
    login = shop.config(auths=auths)
    assert login("docker.io") == Login("hub", "secret:with:colons")
    assert login("registry.corp.example:5000") == Login("me", "pw")
    assert login("legacy.example") == Login("old", "pw")
    assert login("registry.corp.example") is None


def test_an_identity_token_is_kept_apart(shop: Shop) -> None:
    login = shop.config(auths={"az.example": {**basic("u", "p"), "identitytoken": "tok"}})
    assert login("az.example") == Login("<token>", "", "tok")


def test_a_store_is_asked_once_a_registry_and_by_the_hub_s_url(shop: Shop) -> None:
    shop.helper("keys", """echo '{"Username":"u","Secret":"s"}'""")
    login = shop.config(credsStore="keys", auths={"docker.io": {}})
    assert login("docker.io") == login("docker.io") == Login("u", "s")
    assert shop.asked == ["https://index.docker.io/v1/"]


def test_a_helper_goes_before_the_store(shop: Shop) -> None:
    shop.helper("keys", "exit 1")
    shop.helper("cloud", """echo '{"Username":"<token>","Secret":"tok"}'""")
    login = shop.config(credsStore="keys", credHelpers={"cloud.example": "cloud"})
    assert login("cloud.example") == Login("<token>", "", "tok")
    assert shop.warnings == []


def test_a_helper_that_knows_nothing_is_no_reason_to_warn(shop: Shop) -> None:
    shop.helper("keys", "echo credentials not found in native keychain; exit 1")
    assert shop.config(credsStore="keys")("other.example") is None
    assert shop.warnings == []


@pytest.mark.parametrize("script", ["echo locked; exit 1", "echo no json"])
def test_a_broken_helper_is_warned_of_once(shop: Shop, script: str) -> None:
    shop.helper("keys", script)
    login = shop.config(credsStore="keys")
    assert login("docker.io") is login("docker.io") is None
    (warning,) = shop.warnings
    assert warning.startswith("docker.io: credential helper: ")
    assert warning.endswith("it is asked without a login")


def test_a_missing_helper_is_warned_of_once(shop: Shop) -> None:
    login = shop.config(credsStore="nowhere")
    assert login("docker.io") is login("docker.io") is None
    (warning,) = shop.warnings
    assert "docker-credential-nowhere not installed" in warning


@pytest.mark.parametrize(
    "raw", ["{", "[1]", '{"auths": {"x": 1}}', '{"auths": {"x": {"auth": 1}}}']
)
def test_a_broken_config_is_warned_of_once(shop: Shop, raw: str) -> None:
    (shop.folder / "config.json").write_text(raw)
    login = shop.lookup()
    assert login("docker.io") is login("ghcr.io") is None
    (warning,) = shop.warnings
    assert "config.json: not a docker config" in warning


def test_a_login_never_shows_its_secrets() -> None:
    assert repr(Login("me", "secret", "token")) == "Login(username='me', …)"
    assert "secret" not in f"{Login('me', 'secret')}"
