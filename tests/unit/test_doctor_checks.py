"""Sites as they are found, one trap in each."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgapbuild.builder.buildx import Buildx
from airgapbuild.builder.instance import InstanceStore
from airgapbuild.builder_tables import BuilderEntry
from airgapbuild.buildkitd import Buildkitd
from airgapbuild.doctor.builders import check_builder, check_chosen, check_store
from airgapbuild.doctor.buildx import check_buildx, check_environment
from airgapbuild.doctor.daemon import check_address, check_api, check_clock, check_daemon
from airgapbuild.doctor.disk import check_disk
from airgapbuild.doctor.examination import CHECKS, error_of, examine
from airgapbuild.doctor.finding import Finding
from airgapbuild.doctor.holdings import check_given, check_layout
from airgapbuild.doctor.network import check_proxies, lookup_seconds
from airgapbuild.doctor.nodes import nodes_of
from airgapbuild.doctor.site import Site, look
from airgapbuild.engine.daemon import Daemon
from airgapbuild.engine.endpoint import find_endpoint
from airgapbuild.errors import BuilderError, DaemonError
from airgapbuild.lockfile import read_lock
from airgapbuild.oci.layout import Layout
from tests.support.forgery import make_tiny
from tests.support.memory import MemorySource
from tests.support.socket_daemon import Socket, answer

MARK = "env.AIRGAPBUILD_CONFIG"
SEAL = {f"env.{name}": "http://127.0.0.1:1" for name in ("HTTP_PROXY", "HTTPS_PROXY")}
SEAL |= {"env.NO_PROXY": "127.0.0.1,::1,localhost"}

GOLDEN = read_lock(Path(__file__).parent / "golden" / "airgapbuild.lock")
BUILDING = GOLDEN.model_copy(
    update={"builder": BuilderEntry(name="airgap", image="buildkit"), "buildkitd": Buildkitd()}
)
"""What ought to be there: a builder."""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A machine with buildx, and no daemon."""
    endpoint = find_endpoint(None, {"DOCKER_HOST": "unix:///nowhere.sock"})
    return Site(
        environ={},
        layout=Layout(tmp_path / "layout"),
        store=InstanceStore(tmp_path / "buildx", tmp_path),
        endpoint=endpoint,
        daemon=DaemonError("nobody is there"),
        buildx=Buildx(("docker", "buildx"), "0.38.2"),
        cache=tmp_path / "cache",
    )


def answering(tmp_path: Path, **info: Any) -> Daemon:
    """A daemon of which only a clock, a proxy or a store is wanted that no real one has."""
    version = {"Version": "28.5.2", "ApiVersion": "1.51", "Os": "linux", "Arch": "amd64"}
    listening = Socket(tmp_path / "docker.sock", answer(version), answer(info))
    try:
        return Daemon.connect(listening.endpoint)
    finally:
        listening.close()


def store(site: Site, name: str, *, driver: str = "docker-container", **node: Any) -> None:
    """Writes a builder of one node, as buildx does."""
    nodes = [{"Name": f"{name}0", "Endpoint": "default", **node}]
    folder = site.store.folder / "instances"
    folder.mkdir(parents=True, exist_ok=True)
    document = {"Name": name, "Driver": driver, "Nodes": nodes, "Dynamic": False}
    (folder / name).write_text(json.dumps(document))


def choose(site: Site, name: str) -> None:
    chosen = {"Key": "unix:///nowhere.sock", "Name": name, "Global": False}
    (site.store.folder / "current").write_text(json.dumps(chosen))


def states(found: Iterable[Finding]) -> list[str]:
    return [it.state for it in found]


def only(found: Iterable[Finding]) -> Finding:
    [one] = found
    return one


def test_where_there_is_nothing_every_check_still_answers(tmp_path: Path) -> None:
    environ = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    site = look(environ, Layout(tmp_path / "layout"), tmp_path / "cache", seconds=5)
    found = list(examine(site))
    assert {it.area for it in found if it.finding.state == "problem"} <= {"daemon", "buildx"}
    error = error_of(found)
    assert error is not None


def test_a_daemon_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent.sock"))
        silent.listen()
        site = look(
            {"PATH": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/silent.sock"},
            Layout(tmp_path / "layout"),
            tmp_path / "cache",
            seconds=0.2,
        )
    assert "did not answer in" in only(check_daemon(site)).what


def test_an_address_that_makes_no_sense_is_the_daemon_s_problem(tmp_path: Path) -> None:
    environ = {"PATH": str(tmp_path), "DOCKER_HOST": "gopher://x"}
    site = look(environ, Layout(tmp_path), tmp_path, seconds=5)
    assert "gopher://x" in only(check_daemon(site)).what
    assert list(check_address(site)) == []


def context(tmp_path: Path, name: str, host: str) -> None:
    """A docker context that is the current one."""
    folder = tmp_path / "contexts/meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    meta = {"Name": name, "Endpoints": {"docker": {"Host": host}}}
    (folder / "meta.json").write_text(json.dumps(meta))
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": name}))


def test_a_host_and_a_context_that_disagree(site: Site, tmp_path: Path) -> None:
    context(tmp_path, "lab", "tcp://lab:2375")
    environ = {"DOCKER_CONFIG": str(tmp_path), "DOCKER_HOST": "tcp://docker:2375"}
    both = replace(site, environ=environ, endpoint=find_endpoint(None, environ))
    found = only(check_address(both))
    assert (found.state, found.mend) == (
        "warning",
        "unset DOCKER_HOST, or: docker context use default",
    )
    assert "tcp://docker:2375, the docker context 'lab' is tcp://lab:2375" in found.what
    same = {**environ, "DOCKER_HOST": "tcp://lab:2375"}
    agreed = replace(site, environ=same, endpoint=find_endpoint(None, same))
    assert list(check_address(agreed)) == []


def test_tls_of_dind_is_told_and_a_zero_is_not_off(site: Site) -> None:
    environ = {"DOCKER_HOST": "tcp://docker:2376", "DOCKER_TLS_VERIFY": "0"}
    found = list(
        check_address(replace(site, environ=environ, endpoint=find_endpoint(None, environ)))
    )
    assert states(found) == ["warning", "ok"]
    assert found[0].mend == "unset DOCKER_TLS_VERIFY"
    assert "GitLab's dind" in found[1].what


@pytest.mark.parametrize(("asked", "problems"), [("1.51", 0), ("1.40", 0), ("1.52", 1), ("x", 1)])
def test_an_api_that_the_daemon_has_not(
    site: Site, tmp_path: Path, asked: str, problems: int
) -> None:
    reached = replace(site, environ={"DOCKER_API_VERSION": asked}, daemon=answering(tmp_path))
    assert states(check_api(reached)) == ["problem"] * problems


@pytest.mark.parametrize(
    ("ahead", "state"), [(timedelta(0), "ok"), (timedelta(hours=26), "warning")]
)
def test_a_clock_that_is_wrong(site: Site, tmp_path: Path, ahead: timedelta, state: str) -> None:
    moment = (datetime.now(tz=UTC) + ahead).isoformat().replace("+00:00", "123Z")
    found = only(check_clock(replace(site, daemon=answering(tmp_path, SystemTime=moment))))
    assert found.state == state
    assert state == "ok" or "1 day" in found.what


def test_a_clock_that_is_not_told_is_not_judged(site: Site, tmp_path: Path) -> None:
    assert list(check_clock(site)) == []
    assert list(check_clock(replace(site, daemon=answering(tmp_path, SystemTime="soon")))) == []


@pytest.mark.parametrize(
    ("command", "version", "state", "words"),
    [
        (("docker", "buildx"), "0.13.1", "ok", "docker's plugin"),
        (("buildx",), "0.38.2", "ok", "alone"),
        (("docker", "buildx"), "0.10.5", "warning", "0.10.5"),
        (("docker", "buildx"), "dev", "ok", "dev"),
    ],
)
def test_buildx(site: Site, command: tuple[str, ...], version: str, state: str, words: str) -> None:
    found = only(check_buildx(replace(site, buildx=Buildx(command, version))))
    assert found.state == state
    assert words in found.what


def test_no_buildx_is_told_with_what_to_install(site: Site) -> None:
    found = only(check_buildx(replace(site, buildx=BuilderError("none", hint="install it"))))
    assert (found.state, found.what, found.mend) == ("problem", "none", "install it")


@pytest.mark.parametrize(
    ("variables", "state", "mend"),
    [
        ({"DOCKER_BUILDKIT": "0"}, "warning", "unset DOCKER_BUILDKIT"),
        ({"DOCKER_BUILDKIT": "false"}, "warning", "unset DOCKER_BUILDKIT"),
        ({"BUILDX_DEFAULT_POLICY": "1"}, "warning", "export BUILDX_DEFAULT_POLICY=0"),
        (
            {"DOCKER_DEFAULT_PLATFORM": "linux/arm64"},
            "warning",
            "unset DOCKER_DEFAULT_PLATFORM",
        ),
        (
            {"EXPERIMENTAL_BUILDKIT_SOURCE_POLICY": "/nowhere.json"},
            "problem",
            "unset EXPERIMENTAL_BUILDKIT_SOURCE_POLICY",
        ),
    ],
)
def test_a_variable_that_turns_builds_away(
    site: Site, tmp_path: Path, variables: dict[str, str], state: str, mend: str
) -> None:
    reached = replace(site, environ=variables, daemon=answering(tmp_path))
    found = only(check_environment(reached))
    assert (found.state, found.mend) == (state, mend)
    assert next(iter(variables)) in found.what


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"DOCKER_BUILDKIT": "1", "BUILDX_DEFAULT_POLICY": "0"},
        {"DOCKER_DEFAULT_PLATFORM": "linux/amd64"},
        {"EXPERIMENTAL_BUILDKIT_SOURCE_POLICY": __file__},
    ],
)
def test_variables_that_are_no_hindrance(
    site: Site, tmp_path: Path, variables: dict[str, str]
) -> None:
    reached = replace(site, environ=variables, daemon=answering(tmp_path))
    assert list(check_environment(reached)) == []


@pytest.mark.parametrize("content", ["{", "[]", '{"Name": "x"}', "", "\xff"])
def test_a_file_that_is_no_builder_s(site: Site, content: str) -> None:
    store(site, "good")
    path = site.store.folder / "instances/broken"
    path.write_text(content, encoding="latin-1")
    found = only(check_store(site))
    assert (found.state, found.mend) == ("problem", f"rm {path}")


def test_a_foreign_name_among_the_builders(site: Site) -> None:
    store(site, "good")
    path = site.store.folder / "instances/good (copy)"
    path.write_text("{}")
    assert only(check_store(site)).mend == f"rm '{path}'"


def test_builders_that_are_all_right(site: Site) -> None:
    assert only(check_store(site)).state == "ok"
    store(site, "good")
    assert only(check_store(site)).state == "ok"


def test_no_builder_is_chosen(site: Site, tmp_path: Path) -> None:
    found = only(check_chosen(replace(site, daemon=answering(tmp_path))))
    assert (found.state, found.mend) == ("warning", "airgapbuild load BUNDLE")
    assert list(check_builder(site)) == []


def test_a_chosen_builder_and_what_plain_docker_build_needs(site: Site, tmp_path: Path) -> None:
    store(site, "airgap")
    choose(site, "airgap")
    site = replace(site, daemon=answering(tmp_path))
    found = only(check_chosen(site))
    assert (found.state, found.mend) == ("ok", 'eval "$(airgapbuild env)"')
    by_variable = only(check_chosen(replace(site, environ={"BUILDX_BUILDER": "airgap"})))
    assert (by_variable.state, by_variable.mend) == ("ok", None)


def test_whom_a_daemon_that_does_not_answer_would_build_with_is_not_told(site: Site) -> None:
    """Its address may be the wrong one, and buildx keeps its choice by that."""
    store(site, "airgap")
    assert list(check_chosen(replace(site, given=BUILDING))) == []


def test_a_builder_that_is_yet_to_be_loaded_is_told_once(site: Site, tmp_path: Path) -> None:
    store(site, "mine")
    choose(site, "mine")
    site = replace(site, given=BUILDING, daemon=answering(tmp_path))
    assert list(check_chosen(site)) == []
    found = only(check_builder(site))
    assert (found.state, found.mend) == ("problem", "airgapbuild load BUNDLE")


def test_another_builder_is_chosen(site: Site, tmp_path: Path) -> None:
    store(site, "mine")
    store(site, "airgap", DriverOpts={MARK: "x"})
    choose(site, "mine")
    site = replace(site, given=BUILDING, daemon=answering(tmp_path))
    found = only(check_chosen(site))
    assert found.what == "builds go to builder 'mine', and not to 'airgap'"
    assert (found.state, found.mend) == ("warning", "docker buildx use airgap")
    by_variable = only(check_chosen(replace(site, environ={"BUILDX_BUILDER": "mine"})))
    assert (by_variable.state, by_variable.mend) == ("warning", "export BUILDX_BUILDER=airgap")


def test_the_current_builder_has_gone(site: Site, tmp_path: Path) -> None:
    store(site, "airgap", DriverOpts={MARK: "x"})
    choose(site, "mine")
    site = replace(site, given=BUILDING, daemon=answering(tmp_path))
    found = only(check_chosen(site))
    assert found.what == (
        "the current builder 'mine' is gone: builds go to the daemon's own BuildKit"
    )
    assert (found.state, found.mend) == ("warning", "docker buildx use airgap")


@pytest.mark.parametrize("loaded", [True, False])
def test_a_variable_names_a_builder_that_is_nowhere(
    site: Site, tmp_path: Path, *, loaded: bool
) -> None:
    if loaded:
        store(site, "airgap")
    environ = {"BUILDX_BUILDER": "airgapp", "DOCKER_CONFIG": str(tmp_path)}
    site = replace(site, environ=environ, daemon=answering(tmp_path))
    found = only(check_chosen(replace(site, given=BUILDING)))
    assert found.what == "there is no builder 'airgapp', which BUILDX_BUILDER names"
    assert (found.state, found.mend) == ("problem", "export BUILDX_BUILDER=airgap")
    assert list(check_chosen(site)) == []
    assert only(check_builder(site)).state == "problem"


def test_a_variable_may_name_a_docker_context(site: Site, tmp_path: Path) -> None:
    context(tmp_path, "lab", "tcp://lab:2375")
    store(site, "airgap", DriverOpts={MARK: "x"})
    environ = {"BUILDX_BUILDER": "lab", "DOCKER_CONFIG": str(tmp_path)}
    found = only(
        check_chosen(
            replace(site, environ=environ, given=BUILDING, daemon=answering(tmp_path)),
        )
    )
    assert found.what == "builds go to builder 'lab', and not to 'airgap'"


@pytest.mark.parametrize("driver", ["docker-container", "kubernetes"])
def test_a_builder_of_the_lock_s_name_that_load_leaves_alone(
    site: Site, tmp_path: Path, driver: str
) -> None:
    store(site, "airgap", driver=driver)
    assert list(check_chosen(replace(site, given=BUILDING, daemon=answering(tmp_path)))) == []
    found = only(check_builder(replace(site, given=BUILDING)))
    assert found.what == "builder 'airgap' is not airgapbuild's, and load leaves it alone"
    assert (found.state, found.mend) == (
        "problem",
        "docker buildx rm airgap; airgapbuild load BUNDLE",
    )


def test_a_chosen_builder_that_is_not_there(site: Site) -> None:
    found = only(check_builder(replace(site, environ={"BUILDX_BUILDER": "gone"})))
    assert found.state == "problem"
    assert found.what == f"there is no builder 'gone' in {site.store.folder}"


def test_a_builder_of_somebody_else(site: Site) -> None:
    store(site, "ci", DriverOpts={"network": "host"})
    found = only(check_builder(replace(site, environ={"BUILDX_BUILDER": "ci"})))
    assert found.state == "warning"
    assert "not made by airgapbuild" in found.what


def test_a_builder_of_another_driver_is_not_looked_into(site: Site) -> None:
    store(site, "k8s", driver="kubernetes")
    found = only(check_builder(replace(site, environ={"BUILDX_BUILDER": "k8s"})))
    assert found.state == "ok"


def sealed(site: Site, config: str, **options: str) -> list[Finding]:
    """What is found of a builder with this buildkitd.toml."""
    files = {"buildkitd.toml": base64.b64encode(config.encode()).decode()}
    named = {name.replace("env_", "env."): value for name, value in options.items()}
    store(site, "airgap", DriverOpts={MARK: "x", **named}, Files=files)
    return list(check_builder(replace(site, environ={"BUILDX_BUILDER": "airgap"})))


MIRROR = '[registry."docker.io"]\nmirrors = ["mirror.corp:5000/hub"]\n'


def test_a_builder_that_is_not_sealed_waits_as_long_as_resolv_conf_says(
    site: Site, tmp_path: Path
) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 10.0.0.1\noptions timeout:3 attempts:4\n")
    found = only(sealed(replace(site, resolv_conf=tmp_path / "resolv.conf"), MIRROR))
    assert (found.state, found.mend) == ("warning", "[builder]\nsealed = true")
    assert "12 s for a name" in (found.why or "")


def test_a_sealed_builder_reaches_its_mirror(site: Site) -> None:
    options = {name.replace(".", "_"): value for name, value in SEAL.items()}
    options["env_NO_PROXY"] += ",mirror.corp:5000"
    found = only(sealed(site, MIRROR, **options))
    assert found.state == "ok"
    assert "is sealed" in found.what


@pytest.mark.parametrize("config", [MIRROR, '[registry."mirror.corp:5000"]\nhttp = true\n'])
def test_a_mirror_behind_the_seal(site: Site, config: str) -> None:
    options = {name.replace(".", "_"): value for name, value in SEAL.items()}
    found = only(sealed(site, config, **options))
    assert found.state == "problem"
    assert "NO_PROXY lacks mirror.corp:5000" in found.what
    assert found.mend == (
        '[builder.driver-opts]\n"env.NO_PROXY" = "127.0.0.1,::1,localhost,mirror.corp:5000"'
    )


def test_a_proxy_that_leads_somewhere_is_no_seal(site: Site) -> None:
    found = only(sealed(site, "", env_HTTPS_PROXY="http://proxy.corp:3128"))
    assert (found.state, "proxy.corp:3128" in found.what) == ("ok", True)


@pytest.mark.parametrize("config", ["[", "registry = 1", '[registry."x"]\nmirrors = 1'])
def test_a_buildkitd_toml_that_makes_no_sense_is_no_traceback(site: Site, config: str) -> None:
    options = {name.replace(".", "_"): value for name, value in SEAL.items()}
    assert states(sealed(site, config, **options)) == ["ok"]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(
    nodes=st.lists(
        anything
        | st.fixed_dictionaries(
            {"Name": anything}, optional={"DriverOpts": anything, "Files": anything}
        ),
        max_size=2,
    )
)
def test_nodes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, nodes: list[object]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    (folder / "instances").mkdir(parents=True, exist_ok=True)
    document = {"Name": "x", "Driver": "docker-container", "Nodes": nodes}
    (folder / "instances/x").write_text(json.dumps(document))
    with suppress(BuilderError):
        stored = InstanceStore(folder, folder).read("x")
        assert stored is not None
        assert len(nodes_of(stored)) == len(nodes)


def shelve(layout: Layout, name: str, *platforms: str, attested: bool = True) -> MemorySource:
    """Puts an image into a layout, with all its blobs; what it was made from."""
    source = MemorySource()
    top = source.publish(name, *platforms, attested=attested)
    for content in source.manifests.values():
        layout.put(content.descriptor, iter([content.raw]))
    for digest, raw in source.blobs.items():
        descriptor = top.descriptor.model_copy(update={"digest": digest, "size": len(raw)})
        layout.put(descriptor, iter([raw]))
    layout.name(top.descriptor, (name,))
    return source


def test_a_layout_with_all_blobs(site: Site) -> None:
    shelve(site.layout, "docker.io/library/a:1", "linux/amd64", "linux/arm64")
    found = only(check_layout(site))
    assert (found.state, found.what) == ("ok", f"{site.layout.path}: a:1")


def test_a_layout_at_a_path_that_buildx_cuts(site: Site) -> None:
    layout = Layout(site.layout.path / "job@2")
    assert states(check_layout(replace(site, layout=layout))) == ["ok"]
    shelve(layout, "docker.io/library/a:1", "linux/amd64")
    found = only(check_layout(replace(site, layout=layout)))
    assert (found.state, found.why) == ("problem", "no build can take an image from it")
    assert "symbolic link" in str(found.mend)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [cut, Path.unlink], ids=["cut", "gone"])
def test_a_layout_with_a_blob_that_is_not_whole(site: Site, damage: Callable[[Path], None]) -> None:
    source = shelve(site.layout, "docker.io/library/a:1", "linux/amd64", attested=False)
    for digest in source.blobs:
        path = site.layout.blob_path(digest)
        whole = path.read_bytes()
        damage(path)
        assert f"{digest} is missing or damaged" in only(check_layout(site)).what
        path.write_bytes(whole)
    assert states(check_layout(site)) == ["ok"]


def test_a_layout_without_an_image_s_documents(site: Site) -> None:
    source = shelve(site.layout, "docker.io/library/a:1", "linux/amd64")
    top = site.layout.images().popitem()[1]
    path = site.layout.blob_path(top)
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"linux", b"linus"))
    assert f"{top} is missing or damaged" in only(check_layout(site)).what
    path.unlink()
    assert f"{top} is missing" in only(check_layout(site)).what
    path.write_bytes(raw)
    for content in source.manifests.values():
        if content.descriptor.digest != top:
            site.layout.blob_path(content.descriptor.digest).unlink()
    assert "no platform of it is there" in only(check_layout(site)).what


def test_an_index_json_that_is_none_stops_no_other_check(site: Site) -> None:
    site.layout.path.mkdir()
    (site.layout.path / "index.json").write_text("[")
    found = [it for it in examine(site) if it.area == "layout"]
    assert [it.finding.state for it in found] == ["problem"]
    assert "not an OCI index" in found[0].finding.what


def test_a_folder_that_may_not_be_read_is_told(site: Site) -> None:
    (site.store.folder).mkdir()
    (site.store.folder / "current").mkdir()
    found = [it.finding for it in examine(site) if it.area == "builder"]
    assert any("Is a directory" in it.what for it in found)


def test_what_was_given_and_cannot_be_read_is_a_finding(site: Site, tmp_path: Path) -> None:
    (tmp_path / "x.lock").write_text("version = ")
    environ = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    seen = look(
        environ, site.layout, tmp_path, host="unix:///x", given=tmp_path / "x.lock", seconds=5
    )
    found = only(check_given(seen))
    assert (found.state, found.what) == ("problem", f"{tmp_path}/x.lock: is no airgapbuild.lock")


def test_a_proxy_before_the_daemon(site: Site) -> None:
    environ = {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "corp", "DOCKER_TLS_VERIFY": "1"}
    endpoint = find_endpoint("tcp://docker:2376", environ)
    found = only(check_proxies(replace(site, environ=environ, endpoint=endpoint)))
    assert (found.state, found.mend) == ("warning", "export NO_PROXY=corp,docker")
    exempt = {**environ, "NO_PROXY": "docker"}
    assert list(check_proxies(replace(site, environ=exempt, endpoint=endpoint))) == []
    plain = find_endpoint("tcp://docker:2375", {})
    assert list(check_proxies(replace(site, environ=environ, endpoint=plain))) == []


def test_the_daemon_s_own_proxy_is_told(site: Site, tmp_path: Path) -> None:
    daemon = answering(tmp_path, HttpsProxy="http://proxy:3128")
    found = only(check_proxies(replace(site, daemon=daemon)))
    assert (found.state, "http://proxy:3128" in found.what) == ("ok", True)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 10),
        ("nameserver 10.0.0.1\n", 10),
        ("nameserver 10.0.0.1\nnameserver 10.0.0.2\nsearch corp\n", 20),
        ("nameserver a\n" * 5, 30),
        ("nameserver a\noptions timeout:1 attempts:1 rotate\n", 1),
        ("nameserver a\noptions timeout:x ndots:2\n", 10),
    ],
)
def test_how_long_a_name_is_looked_for(tmp_path: Path, text: str, seconds: int) -> None:
    (tmp_path / "resolv.conf").write_text(text)
    assert lookup_seconds(tmp_path / "resolv.conf") == seconds


def test_without_a_resolv_conf_the_resolver_asks_this_machine(tmp_path: Path) -> None:
    assert lookup_seconds(tmp_path / "nothing") == 10


def test_the_room_of_folders_that_are_not_there_yet(site: Site) -> None:
    found = list(check_disk(site))
    assert [str(site.layout.path) in it.what for it in found] == [True, False]
    assert all(" free at " in it.what for it in found)


def test_a_layout_without_room_is_pruned_itself(site: Site) -> None:
    """Docker's caches are of no use to it."""
    images = [
        image.model_copy(
            update={
                "role": "base",
                "platform": tuple(
                    it.model_copy(update={"layers_size": 10**16}) for it in image.platform
                ),
            }
        )
        for image in GOLDEN.image
    ]
    full = replace(site, given=GOLDEN.model_copy(update={"image": tuple(images)}))
    found = next(it for it in check_disk(full) if it.state == "problem")
    assert str(site.layout.path) in found.what
    assert found.mend == "airgapbuild layout prune, or another --layout"
    named = next(iter(check_disk(replace(full, is_layout_named=True))))
    assert named.mend == (
        f"airgapbuild layout prune --layout {site.layout.path}, or another --layout"
    )


def test_a_cache_without_room_can_be_elsewhere(site: Site) -> None:
    full = replace(site, cache=Path("/proc/airgapbuild"))  # of 0 bytes
    found = next(it for it in check_disk(full) if "/proc" in it.what)
    assert (found.state, "XDG_CACHE_HOME" in (found.mend or "")) == ("warning", True)


def test_what_loads_goes_to_the_layout_that_was_looked_at(tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "a bundle")
    layout = Layout(tmp_path / "my layout")
    environ = {"PATH": str(tmp_path), "HOME": str(tmp_path), "DOCKER_HOST": "unix:///nowhere.sock"}
    site = look(environ, layout, tmp_path, given=folder, seconds=5)
    assert site.load == f"airgapbuild load '{folder}'"
    named = replace(site, is_layout_named=True)
    assert named.load == f"airgapbuild load --layout '{layout.path}' '{folder}'"


MIRRORED = "env.AIRGAPBUILD_MIRROR"


def test_what_loads_keeps_the_mirror_that_a_builder_was_told_of(site: Site) -> None:
    store(site, "airgap", DriverOpts={MARK: "x", MIRRORED: "http://mirror:5001"})
    keeping = replace(site, given=BUILDING)
    assert keeping.load == "airgapbuild load --serve http://mirror:5001 BUNDLE"
    for_others = BUILDING.model_copy(update={"builder": None})
    chosen = replace(keeping, given=for_others, environ={"BUILDX_BUILDER": "airgap"})
    assert chosen.load == "airgapbuild load BUNDLE"
    (site.store.folder / "instances/airgap").write_text("{")
    assert keeping.load == "airgapbuild load BUNDLE"


def test_the_mirror_of_a_builder_is_told(site: Site) -> None:
    options = {MARK: "x", MIRRORED: "https://mirror.corp:5001", **SEAL}
    store(site, "airgap", DriverOpts=options)
    site = replace(site, environ={"BUILDX_BUILDER": "airgap"})
    found = [it for it in check_builder(site) if "mirror" in it.what]
    assert (only(found).state, only(found).what) == (
        "ok",
        "builder 'airgap' asks the mirror https://mirror.corp:5001 first (not asked here)",
    )


def test_a_mirror_on_this_machine_that_does_not_answer(site: Site) -> None:
    site = replace(site, environ={"BUILDX_BUILDER": "airgap"})
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        store(site, "airgap", DriverOpts={MARK: "x", MIRRORED: address, **SEAL})
        [found] = [it for it in check_builder(site) if "mirror" in it.what]
        assert found.state == "ok"
        assert found.what == f"builder 'airgap' asks the mirror {address} first, and it answers"
    [found] = [it for it in check_builder(site) if "mirror" in it.what]
    assert (found.state, found.what) == (
        "warning",
        f"builder 'airgap' asks the mirror {address} first, and nothing answers there",
    )
    assert found.mend == f"airgapbuild serve --listen {address.removeprefix('http://')} BUNDLE"


def test_checks_have_the_exit_code_of_their_area() -> None:
    codes = {check.area: check.error.exit_code for check in CHECKS}
    assert (codes["daemon"], codes["builder"], codes["layout"]) == (8, 9, 7)


def test_the_first_problem_is_the_error(site: Site) -> None:
    found = list(examine(replace(site, buildx=BuilderError("no buildx"))))
    error = error_of(found)
    assert isinstance(error, DaemonError)
    assert error.lines == ("nobody is there", "no buildx")
