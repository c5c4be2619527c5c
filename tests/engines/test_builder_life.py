"""A builder's life in the hands of every buildx: listed, adopted, changed, removed."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airgapbuild.builder.buildx import Buildx
from airgapbuild.builder.fitness import check_fits
from airgapbuild.builder.instance import Instance, InstanceStore
from airgapbuild.builder.wanted import wanted_instance
from airgapbuild.builder_tables import NodeEntry
from airgapbuild.engine.daemon import Daemon
from airgapbuild.engine.endpoint import find_endpoint
from airgapbuild.errors import BuilderError, UsageError
from airgapbuild.load import boot, load_builder
from tests.engines.daemon import BUILDX
from tests.engines.daemon import Daemon as BedDaemon
from tests.engines.site import BUILDER, CONTAINER, Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airgapbuild.lockfile import Lock

IMAGE = "moby/buildkit:v0.34.2"
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: nowhere
contexts: [{name: nowhere, context: {cluster: nowhere, user: nobody}}]
clusters: [{name: nowhere, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: nobody, user: {}}]
"""
ENGINE = ("28.5", "containerd")
VOLUME = f"{CONTAINER}_state"

each_buildx = pytest.mark.parametrize(
    ("daemon", "buildx"),
    [(ENGINE, buildx) for buildx in BUILDX],
    indirect=True,
    ids=["-".join((*ENGINE, buildx)) for buildx in BUILDX],
    scope="session",
)


@pytest.fixture
def site(daemon: BedDaemon, config: Path, tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "home").mkdir()
    site = Site(daemon, config, tmp_path / "home")
    yield site
    site.remove_builder()


def changed(lock: Lock, **keys: Any) -> Lock:
    """The same lock with other keys in its table `builder`."""
    assert lock.builder is not None
    return lock.model_copy(update={"builder": lock.builder.model_copy(update=keys)})


def instance_of(lock: Lock) -> Instance:
    instance = wanted_instance(lock)
    assert instance is not None
    return instance


def load_again(site: Site, lock: Lock) -> None:
    """What `load` does for the builder of a lock, once the images are there."""
    store = InstanceStore.of(site.env)
    assert lock.builder is not None
    with Daemon.connect(find_endpoint(None, site.env)) as daemon:
        nodes = [daemon for _ in lock.builder.endpoints]
        builder = load_builder(instance_of(lock), nodes, store, site.home / "config")
    assert boot(builder, Buildx.find(site.env), site.env).buildkit == "0.34.2"


def build(site: Site, folder: Path) -> str:
    """What a build says that copies one file."""
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    argv = ("buildx", "build", "--progress=plain", "--builder", BUILDER, folder)
    return site.daemon.docker(*argv, config=site.config).stderr


@pytest.mark.parametrize("daemon", [ENGINE], indirect=True, ids=["-".join(ENGINE)])
def test_a_folder_for_buildkitd_toml_that_cannot_be_made_is_told(
    daemon: BedDaemon, lock: Lock, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    store = InstanceStore(tmp_path / "buildx", tmp_path / "docker")
    environ = {"DOCKER_HOST": daemon.host}
    with Daemon.connect(find_endpoint(None, environ)) as held, pytest.raises(UsageError) as told:
        load_builder(instance_of(lock), [held], store, tmp_path / "file" / "config")
    assert told.value.message.startswith(f"{tmp_path}/file")
    assert "XDG_CONFIG_HOME" in str(told.value.hint)


@each_buildx
def test_every_buildx_lists_adopts_and_removes_it(
    site: Site, bundle: Path, lock: Lock, tmp_path: Path
) -> None:
    site.load(bundle)
    [line] = [it for it in site.docker("buildx", "ls").splitlines() if it.startswith(BUILDER)]
    assert line.split()[:2] == [f"{BUILDER}*", "docker-container"]

    # What docker/setup-buildx-action v4 runs where the builder is there: src/main.ts, and
    # src/buildx/builder.ts of docker/actions-toolkit.
    site.docker("buildx", "inspect", BUILDER)
    site.docker("buildx", "inspect", "--bootstrap", "--builder", BUILDER)
    told = " ".join(site.docker("buildx", "inspect", BUILDER).split())
    assert f"Name: {BUILDER} Driver: docker-container" in told
    assert f"Name: {BUILDER}0 Endpoint: default" in told
    assert "Status: running" in told
    assert "v0.34.2" in told
    assert "CACHED" not in build(site, tmp_path)

    # Its post step, with `keep-state`. The next job loads again, and finds the cache.
    site.docker("buildx", "rm", BUILDER, "--keep-state")
    assert site.docker("ps", "--all", "--quiet", "--filter", f"name={CONTAINER}") == ""
    load_again(site, lock)
    assert "CACHED" in build(site, tmp_path)

    # A changed builder is made anew, and keeps its cache.
    before = site.inspect(CONTAINER)
    assert before["HostConfig"]["Memory"] == 0
    options = {"network": "host", "memory": "512MB", "cpu-shares": "512"}
    load_again(site, changed(lock, driver_opts=options))
    after = site.inspect(CONTAINER)
    assert after["Id"] != before["Id"]
    assert (after["HostConfig"]["Memory"], after["HostConfig"]["CpuShares"]) == (512 << 20, 512)
    assert "CACHED" in build(site, tmp_path)

    # The post step as it is by default.
    site.docker("buildx", "rm", BUILDER)
    assert site.docker("ps", "--all", "--quiet", "--filter", f"name={CONTAINER}") == ""
    assert VOLUME not in site.docker("volume", "ls", "--quiet").split()
    assert BUILDER not in site.docker("buildx", "ls")


def current(site: Site) -> str:
    """The builder that a plain `docker buildx build` uses, as buildx tells it."""
    [name] = re.findall(r"^(\S+?)[ ]?\*", site.docker("buildx", "ls"), re.MULTILINE)
    return str(name)


@pytest.mark.parametrize(
    ("daemon", "buildx"), [(ENGINE, "newest")], indirect=True, ids=["-".join(ENGINE)]
)
def test_as_a_default_it_is_current_again_after_another_daemon(site: Site, bundle: Path) -> None:
    for options, name in (("--no-boot",), "default"), (("--no-boot", "--default"), BUILDER):
        site.load(bundle, *options)
        assert current(site) == BUILDER
        site.docker("--host", "tcp://127.0.0.1:1", "buildx", "use", BUILDER)
        assert current(site) == name


@each_buildx
def test_a_buildx_refuses_the_options_that_we_say_it_does_not_know(site: Site, lock: Lock) -> None:
    later = {
        "restart-policy": "always",
        "default-load": "true",
        "provenance-add-gha": "false",
        "allow-untrusted-image": "true",
    }
    for name, value in later.items():
        one = instance_of(changed(lock, driver_opts={name: value}))
        InstanceStore.of(site.env).write(one)
        said = site.docker("buildx", "inspect", BUILDER)
        try:
            check_fits(Buildx.find(site.env).version, one)
        except BuilderError:
            assert f"invalid driver option {name} for docker-container driver" in said
        else:
            assert "invalid driver option" not in said


@each_buildx
def test_every_buildx_builds_with_a_remote_builder(
    site: Site, bundle: Path, lock: Lock, tmp_path: Path
) -> None:
    site.load(bundle, "--no-boot", "--no-use")
    assert current(site) == "default"
    assert site.airgapbuild("env").stdout.startswith(f"export BUILDX_BUILDER={BUILDER}\n")
    site.docker("buildx", "rm", BUILDER)
    argv = ("--detach", "--privileged", "--network=host", "--name", CONTAINER)
    site.docker("run", *argv, "--volume", f"{VOLUME}:/var/lib/buildkit", IMAGE)
    node = NodeEntry(endpoint=f"docker-container://{CONTAINER}")
    remote: dict[str, Any] = {"driver": "remote", "image": None, "driver_opts": {}, "node": (node,)}
    load_again(site, changed(lock, **remote))
    assert "remote" in site.docker("buildx", "ls")
    assert "CACHED" not in build(site, tmp_path)


@each_buildx
def test_every_buildx_lists_a_builder_of_pods_as_it_writes_one(
    site: Site, lock: Lock, tmp_path: Path
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG)
    site = site.copy()
    site.daemon.env["KUBECONFIG"] = str(kubeconfig)
    options = {"image": "registry.inside.example/buildkit:1", "namespace": "ci", "replicas": "2"}
    nodes = (NodeEntry(name="amd"), NodeEntry(name="arm", driver_opts={"rootless": "true"}))
    keys = {"driver": "kubernetes", "sealed": False, "driver_opts": options, "node": nodes}
    wanted = wanted_instance(changed(lock, **keys), kubeconfig=str(kubeconfig))
    assert wanted is not None

    given = [f"--driver-opt={name}={value}" for name, value in options.items()]
    create = ("buildx", "create", "--driver=kubernetes", "--name", BUILDER, *given)
    site.docker(*create, "--node=amd")
    site.docker(*create, "--append", "--node=arm", "--driver-opt=rootless=true")
    store = InstanceStore.of(site.env)
    written = store.read(BUILDER)
    assert written is not None
    without_files = [replace(node, files={}) for node in wanted.nodes]
    assert written.document == replace(wanted, nodes=tuple(without_files)).document()

    assert store.write(wanted)
    assert f"{BUILDER} kubernetes" in " ".join(site.docker("buildx", "ls").split())
    told = site.docker("buildx", "inspect", BUILDER).splitlines()
    names = [line.split()[1] for line in told if line.startswith("Name:")]
    assert names == [BUILDER, "amd", "arm"]
    # No cluster is there; an option that it does not take would be an error.
    states = [line.split()[1] for line in told if line.startswith("Status:")]
    assert states == ["inactive", "inactive"]
