"""No credential appears in anything that is written or printed.

Marked secrets are put wherever one can come from; then everything is searched for them, in plain,
in base64 and as in URLs.
"""

from __future__ import annotations

import base64
import json
import secrets
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, quote_plus

import pytest

from airgapbuild.credentials import Credential
from airgapbuild.oci.digest import parse_digest
from tests.integration.faults import Asked, Reply, Server, challenge, document, errors
from tests.integration.projects import Project
from tests.support.memory import MemorySource

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

REPOSITORY = "team/app"
OUTSIDE, STORE = "outside.test", "store.test"
"""Names that are asked of a proxy, which answers itself."""


def mark(kind: str) -> str:
    """A secret that nothing else looks like, with what URLs and base64 make different."""
    return f"S3cret+{kind}/{secrets.token_hex(8)}&~"


def spellings(secret: str) -> set[bytes]:
    """A secret in plain, as in URLs, and in base64, whatever stands before it there."""
    found = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}
    for before in range(3):
        raw = secret.encode()[: len(secret) - (len(secret) + before) % 3]
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # The first four characters also hold what stands before it.
            found.add(encode(b"x" * before + raw).decode()[4 if before else 0 :])
    return {spelling.encode() for spelling in found}


@dataclass
class Keep:
    """A private registry with one reader. Whatever it refuses, it repeats what it was shown."""

    server: Server
    address: str
    credential: Credential | None
    """The reader's; None for one that wants a token and gives it to anybody."""
    store: str
    """Where its blobs lie: an URL, to be followed with a signature."""
    bearer: bool = False
    fault: str = ""
    token: str = field(default_factory=lambda: mark("token"))
    signature: str = field(default_factory=lambda: mark("signature"))
    content: MemorySource = field(default_factory=MemorySource)
    read: int = 0
    """How often it has given something away."""
    failed: int = 0
    """How often it has not, or has broken off."""

    def __post_init__(self) -> None:
        # Of its own, or another registry would be asked for what is the same.
        self.content.publish(self.ref, "linux/amd64", layers=(self.address.encode(), b"top"))

    @property
    def ref(self) -> str:
        return f"{self.address}/{REPOSITORY}:1"

    @property
    def secrets(self) -> set[str]:
        known = {self.token, self.signature} if self.bearer else {self.signature}
        if self.credential:
            known |= {self.credential.identity_token or self.credential.password}
        return known

    def answer(self, asked: Asked) -> Reply:
        """What it says to a request."""
        path = asked.path.removeprefix(f"http://{self.address}").removeprefix(f"/v2/{REPOSITORY}/")
        if path.startswith("/token"):
            return self._token(asked)
        wanted = f"Bearer {self.token}" if self.bearer else self._basic
        if asked.authorization != wanted:
            return challenge(f'Bearer realm="{self.server.url}/token"' if self.bearer else "Basic")
        if self.fault.isdigit():
            return self._refusal(int(self.fault), asked)
        kind, _, name = path.partition("/")
        if kind in {"referrers", "tags"} or name.startswith("sha256-"):
            return document(404, {"errors": [{"code": "NOT_FOUND"}]})
        if kind == "blobs" or self.fault in {"cut", "lost"}:
            return self._elsewhere(name)
        self.read += 1
        return self.found(name)

    def found(self, name: str) -> Reply:
        """What it has under a tag or a digest."""
        key = f"{self.address}/{REPOSITORY}{'@' if ':' in name else ':'}{name}"
        if document := self.content.manifests.get(key):
            return Reply(200, document.raw, {"Content-Type": document.descriptor.media_type})
        return Reply(body=self.content.blobs[parse_digest(name)])

    @property
    def _basic(self) -> str | None:
        return self.credential.basic if self.credential else None

    def _elsewhere(self, name: str) -> Reply:
        if self.fault == "lost":
            login = quote(self.signature, safe="")
            location = f"https://user:{login}@elsewhere.invalid/?sig={login}"
        else:
            location = f"{self.store}/{name}?signature={quote_plus(self.signature)}"
        return Reply(307, headers={"Location": location})

    def _token(self, asked: Asked) -> Reply:
        shown = parse_qs(asked.body.decode()).get("refresh_token", [asked.authorization])[0]
        known = self.credential and (self.credential.identity_token or self._basic)
        if shown != known:
            return self._refusal(401, asked)
        return document(200, {"token": self.token})

    def _refusal(self, status: int, asked: Asked) -> Reply:
        shown = asked.authorization or ""
        plain = base64.b64decode(shown.partition(" ")[2]) if shown.startswith("Basic") else b""
        said = f"no: {shown} {plain.decode()} {asked.body.decode()}"
        return errors(status, "DENIED", said, self.later())

    def later(self) -> dict[str, str]:
        """After a second try, which is to be seen as well, whoever asks is to come in an hour."""
        self.failed += 1
        return {"Retry-After": "3600"} if self.failed > 1 else {}


@dataclass
class Site:
    """A project that wants an image from each registry, and all the logins for them."""

    project: Project
    keeps: dict[str, Keep]
    sources: set[Path]
    """The files that hold secrets, and are meant to."""
    planted: set[str]
    """Secrets that are no registry's: a proxy's, a broken helper's."""
    kept: dict[str, str]
    """Where each login is kept, as `-v` tells it."""

    def fail(self, fault: str) -> None:
        for keep in self.keeps.values():
            keep.fault, keep.failed = fault, 0

    @property
    def secrets(self) -> set[str]:
        return self.planted.union(*(keep.secrets for keep in self.keeps.values()))

    def found(self, done: subprocess.CompletedProcess[str]) -> list[tuple[str, bytes]]:
        """Where a secret was printed or written: the place, and the secret as it stands there."""
        texts = {"stdout": done.stdout.encode(), "stderr": done.stderr.encode()}
        for root in (self.project.folder, self.project.home):
            for path in root.rglob("*"):
                texts[str(path)] = str(path).encode()
                if path.is_file() and path not in self.sources:
                    texts[str(path)] += path.read_bytes()
        wanted = {spelling for secret in self.secrets for spelling in spellings(secret)}
        return [(name, each) for name, text in texts.items() for each in wanted if each in text]


def auth(credential: Credential) -> dict[str, str]:
    return {"auth": credential.basic.removeprefix("Basic ")}


def helper(home: Path, name: str, script: str) -> Path:
    path = home / "bin" / f"docker-credential-{name}"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


KEPT_AS_TOKEN = ("identity", "helped-token")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        store = stack.enter_context(Server(host="127.0.0.1"))
        keeps: dict[str, Keep] = {}
        for name in (
            *("file", "plain", "identity", "helped", "helped-token", "podman", "variable"),
            *("job", "dependency", "open", "proxied"),
        ):
            server = stack.enter_context(Server())
            credential = Credential(f"user-{name}", mark(name))
            if name in KEPT_AS_TOKEN:
                credential = Credential("<token>", "", mark(name))
            keep = Keep(
                server,
                OUTSIDE if name == "proxied" else server.address,
                None if name == "open" else credential,
                f"http://{STORE}/{name}" if name == "proxied" else f"{store.url}/{name}",
                bearer=name in {*KEPT_AS_TOKEN, "variable", "dependency", "open"},
            )
            keeps[name] = keep
            server.guards[f"http://{STORE}/"] = lambda asked: stored(asked, keeps)
            server.guards[""] = keep.answer
        store.guards[""] = lambda asked: stored(asked, keeps)
        yield planted(Project(tmp_path), keeps)


def stored(asked: Asked, keeps: dict[str, Keep]) -> Reply:
    """A blob for whoever has its signature; cut short, if that is what its registry does."""
    keep_name, name = asked.path.partition("?")[0].split("/")[-2:]
    keep = keeps[keep_name]
    assert parse_qs(asked.path.partition("?")[2])["signature"] == [keep.signature]
    assert asked.authorization is None
    found = keep.found(name)
    if keep.fault == "cut":
        later = keep.later()
        return document(503, {}, later) if later else replace(found, cut=len(found.body) // 2)
    return replace(found, body=found.body[::-1]) if keep.fault == "wrong" else found


def planted(project: Project, keeps: dict[str, Keep]) -> Site:
    """Puts each secret where the registry's name says."""
    credentials = {name: keep.credential or Credential("", "") for name, keep in keeps.items()}
    addresses = {name: keep.address for name, keep in keeps.items()}
    home, gone = project.home, mark("broken")
    docker, podman = home / "docker/config.json", home / "run/containers/auth.json"
    for folder in (docker.parent, podman.parent):
        folder.mkdir(parents=True)
    plain = credentials["plain"]
    config = {
        "auths": {
            addresses["file"]: auth(credentials["file"]),
            addresses["plain"]: {"username": plain.username, "password": plain.password},
            addresses["identity"]: {"identitytoken": credentials["identity"].identity_token},
            OUTSIDE: auth(credentials["proxied"]),
        },
        "credHelpers": {
            addresses["helped"]: "keys",
            addresses["helped-token"]: "cloud",
            addresses["open"]: "broken",
        },
    }
    docker.write_text(json.dumps(config))
    podman.write_text(
        json.dumps({"auths": {f"{addresses['podman']}/team": auth(credentials["podman"])}})
    )
    helped = credentials["helped"]
    answers = {
        "keys": {"Username": helped.username, "Secret": helped.password},
        "cloud": {
            "Username": "<token>",
            "Secret": credentials["helped-token"].identity_token,
        },
    }
    helpers = [
        helper(home, name, f"cat <<'END'\n{json.dumps(answer)}\nEND")
        for name, answer in answers.items()
    ]
    helpers.append(helper(home, "broken", f"echo '{gone}'; echo '{gone}' >&2; exit 1"))
    proxy = mark("proxy")
    project.environ |= {
        "PATH": f"{home}/bin:/usr/bin:/bin",
        "DOCKER_CONFIG": str(docker.parent),
        "DOCKER_AUTH_CONFIG": json.dumps(
            {"auths": {addresses["variable"]: auth(credentials["variable"])}}
        ),
        "CI_REGISTRY": addresses["job"],
        "CI_REGISTRY_USER": credentials["job"].username,
        "CI_REGISTRY_PASSWORD": credentials["job"].password,
        "CI_DEPENDENCY_PROXY_SERVER": addresses["dependency"],
        "CI_DEPENDENCY_PROXY_USER": credentials["dependency"].username,
        "CI_DEPENDENCY_PROXY_PASSWORD": credentials["dependency"].password,
        "HTTP_PROXY": f"http://bob:{quote(proxy, safe='')}@{keeps['proxied'].server.address}",
    }
    project.wants({name: keep.ref for name, keep in keeps.items()}, {OUTSIDE: {"http": True}})
    kept = {
        **dict.fromkeys(("file", "plain", "identity", "proxied"), str(docker)),
        "helped": f"docker-credential-keys, as {docker} says",
        "helped-token": f"docker-credential-cloud, as {docker} says",
        "podman": str(podman),
        "variable": "DOCKER_AUTH_CONFIG",
        "job": "CI_REGISTRY_PASSWORD",
        "dependency": "CI_DEPENDENCY_PROXY_PASSWORD",
    }
    return Site(project, keeps, {docker, podman, *helpers}, {gone, proxy}, kept)


def test_every_place_is_read_and_no_secret_shows(site: Site) -> None:
    done = site.project.run("lock", "-v")
    assert done.returncode == 0, done.stderr
    assert [name for name, keep in site.keeps.items() if not keep.read] == []
    for name, source in site.kept.items():
        credential = site.keeps[name].credential
        assert credential
        assert f": login of '{credential.username}' from {source}\n" in done.stderr
    proxied = site.keeps["proxied"].server
    assert all("proxy-authorization" in asked.headers for asked in proxied.asked)
    assert site.found(done) == []
    for command in (
        ("lock", "-v", "--json", "--upgrade"),
        ("export", "-v"),
        ("export", "-v", "--json", "--output", "again"),
    ):
        done = site.project.run(*command)
        assert done.returncode == 0, done.stderr
        assert site.found(done) == []


@pytest.mark.parametrize(
    ("fault", "codes"),
    [
        *((fault, {"lock": 5, "export": 5}) for fault in ("401", "403", "500", "cut", "lost")),
        ("wrong", {"lock": 0, "export": 6}),
    ],
)
def test_no_secret_shows_when_it_goes_wrong(site: Site, fault: str, codes: dict[str, int]) -> None:
    assert site.project.run("lock").returncode == 0
    for command in (("lock", "--upgrade"), ("export",)):
        site.fail(fault)
        done = site.project.run(*command, "-v", "--json")
        assert done.returncode == codes[command[0]], done.stderr
        assert ("; try 2 of 5 for " in done.stderr) == (fault in {"500", "cut"})
        assert site.found(done) == []


def test_the_search_finds_each_secret_where_it_is_meant_to_be(site: Site) -> None:
    """Or it would find none anywhere else."""
    sources, site.sources = site.sources, set()
    done = site.project.run("--version")
    found = {place for place, _ in site.found(done)}
    assert found == {str(path) for path in sources}
    shutil.rmtree(site.project.home)
    texts = " ".join([*site.project.environ.values(), *site.secrets]).encode()
    assert all(any(each in texts for each in spellings(secret)) for secret in site.secrets)
