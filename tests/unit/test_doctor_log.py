"""Builds that failed, explained.

`build_logs/` is what Docker 28.5 with buildx 0.13, 0.29 and 0.38 and BuildKit 0.34.2 printed, each
file of one failure. `tests/engines/test_doctor.py` makes the main ones anew.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from airgapbuild.builder.instance import InstanceStore
from airgapbuild.doctor.diagnosis import diagnose
from airgapbuild.doctor.finding import Examined
from airgapbuild.doctor.log import failures
from airgapbuild.doctor.site import Site
from airgapbuild.errors import BuilderError, DaemonError
from airgapbuild.oci.digest import parse_digest
from airgapbuild.oci.layout import Layout
from tests.support.memory import MemorySource

LOGS = Path(__file__).parent / "build_logs"


def log(name: str) -> str:
    return (LOGS / f"{name}.log").read_text()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A machine on which there is nothing."""
    nothing = DaemonError("none")
    return Site(
        environ={},
        layout=Layout(tmp_path / "layout"),
        store=InstanceStore(tmp_path / "buildx", tmp_path),
        endpoint=nothing,
        daemon=nothing,
        buildx=BuilderError("none"),
        cache=tmp_path / "cache",
    )


def shelve(layout: Layout, name: str, *platforms: str) -> str:
    """Puts the documents of an image into a layout; its digest."""
    source = MemorySource()
    top = source.publish(name, *platforms)
    for content in source.manifests.values():
        layout.put(content.descriptor, iter([content.raw]))
    layout.name(top.descriptor, (name,))
    return top.descriptor.digest


def only(found: list[Examined]) -> Examined:
    [one] = found
    return one


class Missing(NamedTuple):
    """A log of an image that was to be had nowhere."""

    log: str
    name: str
    table: str
    role: str = "base"
    why: str = "the builder is sealed"


MISSING = [
    Missing("from", "alpine:3.20", "alpine"),
    Missing("from-0.13", "alpine:3.20", "alpine"),
    Missing("from-0.29", "alpine:3.20", "alpine"),
    Missing("from-digest", f"alpine:3.20@sha256:{'a' * 64}", "alpine"),
    Missing("copy-from", "golang:1.22", "golang"),
    Missing("multi-missing", "alpine:3.20", "alpine"),
    Missing("syntax", "docker/dockerfile:1.7", "dockerfile", "frontend"),
    Missing("sbom", "docker/buildkit-syft-scanner:stable-1", "buildkit-syft-scanner"),
    Missing("dns-timeout", "alpine:3.20", "alpine", why="no registry answers: read udp"),
    Missing("tcp-timeout", "203.0.113.9/x/alpine:3.20", "alpine", why="i/o timeout"),
]


@pytest.mark.parametrize("case", MISSING, ids=lambda case: case.log)
def test_an_image_that_was_not_bundled(site: Site, case: Missing) -> None:
    found = only(list(diagnose(log(case.log), site)))
    assert (found.finding.state, found.error.kind) == ("problem", "bundle")
    assert found.finding.what == f"{case.name} is not in {site.layout.path}"
    assert case.why in (found.finding.why or "")
    assert found.finding.mend == (
        f'[images.{case.table}]\nref = "{case.name}"\nrole = "{case.role}"\n'
        "# in airgapbuild.toml; then lock, export, and here: airgapbuild load BUNDLE"
    )


def test_of_a_registry_that_may_be_inside_the_other_way_is_told(site: Site) -> None:
    mend = only(list(diagnose(log("from-private"), site))).finding.mend or ""
    assert mend.endswith(
        "\n# or, where registry.corp.example is inside and reachable:\n"
        '[buildkitd.registry."registry.corp.example"]'
    )


def test_each_image_of_a_bake_is_told(site: Site) -> None:
    found = [it.finding.what for it in diagnose(log("bake"), site)]
    assert found == [f"{name} is not in {site.layout.path}" for name in ("alpine:3.20", "python:3")]


def test_what_the_layout_has_of_the_same_repository_is_named(site: Site) -> None:
    shelve(site.layout, "docker.io/library/alpine:3.19", "linux/amd64")
    shelve(site.layout, "docker.io/library/alpine:edge", "linux/amd64")
    found = only(list(diagnose(log("from"), site)))
    assert found.finding.what.endswith(", which has alpine:3.19, alpine:edge")


def test_another_digest_under_the_same_tag_is_named(site: Site) -> None:
    digest = shelve(site.layout, "docker.io/library/alpine:3.20", "linux/amd64")
    found = only(list(diagnose(log("from-digest"), site)))
    assert found.finding.what.endswith(f", which has alpine:3.20 as {digest}")


@pytest.mark.parametrize("name", ["bare-buildx", "legacy"])
def test_an_image_that_the_build_passed_by(site: Site, name: str) -> None:
    shelve(site.layout, "docker.io/library/busybox:1.37.0", "linux/amd64")
    found = list(diagnose(log(name), site))[-1].finding
    assert found.what == (
        f"busybox:1.37.0 is in {site.layout.path}, but the build did not look there"
    )
    assert "docker buildx build $(airgapbuild contexts)" in (found.mend or "")


def test_a_platform_that_is_not_there(site: Site) -> None:
    shelve(site.layout, "docker.io/library/busybox:1.37.0", "linux/amd64", "linux/arm64")
    found = only(list(diagnose(log("no-platform"), site)))
    assert "for linux/amd64, linux/arm64 only" in found.finding.what
    assert 'platforms = ["linux/amd64", "linux/arm64"]\n' in (found.finding.mend or "")
    assert found.error.kind == "bundle"


@pytest.mark.parametrize("name", ["layout-layer", "layout-manifest"])
def test_a_blob_that_has_gone(site: Site, name: str) -> None:
    found = only(list(diagnose(log(name), site)))
    assert re.fullmatch(rf"{site.layout.path} lacks sha256:\w+, which .+ needs", found.finding.what)
    assert found.finding.mend == "airgapbuild load BUNDLE"


def test_of_the_last_line_alone_a_blob_s_image_is_not_known(site: Site) -> None:
    text = log("layout-layer").splitlines()[-1]
    found = only(list(diagnose(text, site))).finding
    assert found.what.endswith(", which an image of this build needs")


@pytest.mark.parametrize("name", ["layout-layer", "layout-damaged"])
def test_a_log_that_is_cut_in_a_digest_is_no_traceback(site: Site, name: str) -> None:
    text = re.sub("(sha256:[0-9a-f]{9})[0-9a-f]+", r"\1", log(name))
    assert only(list(diagnose(text, site))).finding.state == "warning"


def damaged() -> str:
    """The layer that the log of a damaged one names."""
    [digest] = set(re.findall("expected (sha256:[0-9a-f]{64})", log("layout-damaged")))
    return str(digest)


def test_a_layer_that_is_damaged(site: Site) -> None:
    path = site.layout.blob_path(parse_digest(damaged()))
    path.parent.mkdir(parents=True)
    path.touch()
    for text in (log("layout-damaged"), log("layout-damaged").splitlines()[-1]):
        found = only(list(diagnose(text, site)))
        assert found.finding.what == f"{site.layout.path}: {damaged()} is damaged"
        assert (found.finding.state, found.error.kind) == ("problem", "bundle")
        assert found.finding.mend == "airgapbuild load BUNDLE"


def test_a_layer_that_a_registry_has_damaged(site: Site) -> None:
    found = only(list(diagnose(log("layout-damaged"), site))).finding
    assert found.what == f"what came as {damaged()} is something else"
    assert (found.state, "airgapbuild load" in (found.mend or "")) == ("problem", False)


def test_a_blob_that_is_there_was_looked_for_elsewhere(site: Site) -> None:
    digest = shelve(site.layout, "docker.io/library/busybox:1.37.0", "linux/amd64")
    text = re.sub("sha256:[0-9a-f]{64}(?=: not found)", digest, log("layout-manifest"))
    found = only(list(diagnose(text, site))).finding
    assert found.what == (
        f"{digest} was not where busybox:1.37.0 was looked for; {site.layout.path} has it"
    )


OTHERS = [
    ("add-https", "builder", "ADD https://example.com/x.tar.gz /: fetches", "env.NO_PROXY"),
    ("add-git", "builder", "ADD https://github.com/a/b.git /: fetches", "env.NO_PROXY"),
    ("run-network", "builder", "network: wget: bad address 'deb.debian.org'", "a mirror inside"),
    ("foreign", "builder", "RUN true: a program of another platform", 'role = "binfmt"'),
    ("foreign-multi", "builder", "[linux/arm64 1/2] RUN true: a program", "load BUNDLE --binfmt"),
    ("not-found", "registry", "a mirror of it, answers, and has no", "[images.here]"),
    ("password", "registry", "does not give 127.0.0.1:5000/library", "docker login 127.0.0.1:5000"),
    ("denied", "registry", "does not give 127.0.0.1:5000/secret/app:1", "docker login"),
    ("plain-to-tls", "registry", "127.0.0.1:5000 refuses plain http", "http = false"),
    ("tls-to-plain", "registry", "127.0.0.1:5000 speaks plain http", "http = true"),
    ("unknown-authority", "registry", "does not trust its certificate", 'ca = "certs/'),
    ("busy", "registry", "429", "airgapbuild build"),
    ("broken", "registry", "answers with 500 Internal Server Error", "log"),
    ("create-tls", "builder", "no TLS from the environment", "airgapbuild load BUNDLE"),
    ("policy", "builder", "alpine:3.20 is denied by the source policy", "unset EXPERIMENTAL"),
    ("default-policy", "builder", "buildx's own policy", "export BUILDX_DEFAULT_POLICY=0"),
    ("policy-missing", "builder", "cannot be read: open /work/nopolicy.json", "unset EXPERIMENTAL"),
    ("no-builder", "builder", "no builder 'nothere'", "airgapbuild load BUNDLE"),
    ("driver-option", "builder", "option 'nonsense' of the driver docker-c", "leave out nonsense"),
    ("broken-instance", "builder", "cannot read one of its files", "airgapbuild doctor"),
    ("no-plugin", "builder", "docker has no buildx here", "cli-plugins"),
    ("no-image", "builder", "the builder's image is not in the daemon", "airgapbuild load BUNDLE"),
    ("ordinary-builder", "builder", "the builder's image is not in", "airgapbuild load BUNDLE"),
    ("no-daemon", "daemon", "docker does not reach its daemon", "airgapbuild doctor"),
    ("no-daemon-0.13", "daemon", "docker does not reach its daemon", "airgapbuild doctor"),
    ("api", "daemon", "does not speak API 1.99: too new", "unset DOCKER_API_VERSION"),
    ("disk-full", "daemon", "the disk is full", "docker buildx prune"),
]


@pytest.mark.parametrize(("name", "kind", "what", "mend"), OTHERS, ids=[it[0] for it in OTHERS])
def test_every_other_failure(site: Site, name: str, kind: str, what: str, mend: str) -> None:
    found = only(list(diagnose(log(name), site)))
    assert (found.finding.state, found.error.kind) == ("problem", kind)
    assert what in found.finding.what
    assert found.finding.why
    assert mend in (found.finding.mend or "")
    assert "\n" not in found.finding.what


def test_the_builder_before_buildkit_is_told(site: Site) -> None:
    first, second = diagnose(log("legacy"), site)
    assert first.finding.state == "warning"
    assert "before BuildKit" in first.finding.what
    assert second.finding.what == f"busybox:1.37.0 is not in {site.layout.path}"


def test_no_log_is_left_unread(site: Site) -> None:
    told = {case.log for case in MISSING} | {name for name, *_ in OTHERS}
    told |= {"from-private", "bake", "bare-buildx", "legacy", "no-platform"}
    told |= {"layout-layer", "layout-manifest", "layout-damaged"}
    assert told == {path.stem for path in LOGS.iterdir()}


def test_an_error_of_the_build_s_own_is_a_warning(site: Site) -> None:
    text = '#5 [2/2] RUN make\n#5 0.1 no rule\n#5 ERROR: process "make" did not complete: 2\n'
    found = only(list(diagnose(text, site))).finding
    assert found.state == "warning"
    assert found.what == '[2/2] RUN make: process "make" did not complete: 2'


def test_a_log_without_an_error(site: Site) -> None:
    found = only(list(diagnose("#1 [internal] load\n#1 DONE 0.1s\n", site)))
    assert found.finding.state == "ok"


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_log_is_no_good_sign(site: Site, text: str) -> None:
    found = only(list(diagnose(text, site))).finding
    assert (found.state, found.what) == ("warning", "the log is empty")
    assert found.mend == "docker buildx build . 2>&1 | tee build.log"


def test_a_layout_that_cannot_be_read_is_no_hindrance(site: Site) -> None:
    site.layout.path.mkdir()
    (site.layout.path / "index.json").write_text("{")
    found = only(list(diagnose(log("from"), site)))
    assert found.finding.what == f"alpine:3.20 is not in {site.layout.path}"


@pytest.mark.parametrize(
    "decorated",
    [
        "\x1b[1m{}\x1b[0m",
        "2026-11-24T20:49:14.123Z {}",
        "app-1  | {}",
        "{}\r",
    ],
)
def test_what_a_ci_system_puts_around_lines_does_not_matter(decorated: str) -> None:
    text = "\n".join(decorated.format(line) for line in log("from").splitlines())
    assert failures(text) == failures(log("from"))


def test_what_is_no_reference_is_no_image(site: Site) -> None:
    text = "#1 [internal] load metadata for Not:A:Reference\n#1 ERROR: dial tcp: refused\n"
    assert only(list(diagnose(text, site))).finding.state == "warning"
