"""airgapbuild.pyz: made by real pip, run by real Pythons that have nothing else, and sealed."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airgapbuild import __version__
from tests.engines.daemon import docker_config
from tests.engines.root import Root
from tests.engines.site import Site
from tests.support.program import airgapbuild, document

if TYPE_CHECKING:
    from tests.conftest import FreshDaemon
    from tests.engines.netns import Namespace
    from tests.engines.parts.part import Shelf
    from tests.engines.registry import Registry
    from tests.support.keys import Keys

REPOSITORY = Path(__file__).parents[2]
PYTHON = Path(sys.base_prefix) / "bin" / "python3"
MANIFEST = """\
version = 1
name = "tools"
platforms = ["linux/amd64", "linux/arm64"]

[images.busybox]
ref = "busybox:{busybox}"
role = "tool"

[registries."docker.io"]
mirrors = ["{registry}"]
upstream = false
"""
NO_INDEX = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": "/dev/null"}


@pytest.fixture(scope="module")
def project(registry: Registry, busybox: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    text = MANIFEST.format(busybox=busybox, registry=registry.address)
    (folder / "airgapbuild.toml").write_text(text)
    assert airgapbuild("lock", cwd=folder).returncode == 0
    return folder


@pytest.fixture(scope="module")
def bundle(project: Path) -> Path:
    done = airgapbuild("export", "--with-tool", cwd=project)
    assert done.returncode == 0, done.stderr
    return project / "bundles" / "tools"


@pytest.fixture(scope="module")
def wheels(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels in the tool."""
    folder = tmp_path_factory.mktemp("wheels")
    with zipfile.ZipFile(bundle / "airgapbuild.pyz") as archive:
        for name in archive.namelist():
            if name.startswith("wheels/"):
                (folder / Path(name).name).write_bytes(archive.read(name))
    return folder


def test_the_bundle_is_whole_with_it(bundle: Path) -> None:
    told = document(airgapbuild("verify", "--json", bundle))
    [tool] = [file for file in told["files"] if file["name"] == "airgapbuild.pyz"]
    assert (tool["what"], tool["state"]) == ("airgapbuild itself", "ok")


def test_a_second_export_asks_pip_for_nothing(project: Path, bundle: Path) -> None:
    before = (bundle / "airgapbuild.pyz").stat().st_mtime_ns
    done = airgapbuild("export", "--with-tool", "--json", cwd=project, env=NO_INDEX)
    assert done.returncode == 0, done.stderr
    assert document(done)["changed"] is False
    assert (bundle / "airgapbuild.pyz").stat().st_mtime_ns == before


def test_the_same_wheels_are_the_same_bytes(project: Path, bundle: Path, wheels: Path) -> None:
    env = {**NO_INDEX, "PIP_FIND_LINKS": str(wheels)}
    done = airgapbuild("export", "--with-tool", "-o", "again", cwd=project, env=env)
    assert done.returncode == 0, done.stderr
    first, second = (
        hashlib.sha256((folder / "airgapbuild.pyz").read_bytes()).hexdigest()
        for folder in (bundle, project / "again")
    )
    assert first == second


def test_an_export_without_it_takes_it_away(project: Path, bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "b"))
    assert airgapbuild("export", "-o", copy, cwd=project).returncode == 0
    assert not (copy / "airgapbuild.pyz").exists()
    assert airgapbuild("verify", "--quick", copy).returncode == 0


def test_what_pip_cannot_get_is_told_and_nothing_is_left(project: Path) -> None:
    done = airgapbuild("export", "--with-tool", "-o", "none", cwd=project, env=NO_INDEX)
    assert done.returncode == 5
    assert "pip has no wheels for Python 3.11 on linux/amd64" in done.stderr
    assert "pip config list" in done.stderr
    assert not list((project / "none").glob("*.pyz*"))
    assert not list((project / "none").glob(".*"))


def test_each_platform_has_modules_of_its_own(wheels: Path) -> None:
    machines = {"x86_64": 62, "aarch64": 183}  # ELF's e_machine
    seen = set()
    for path in wheels.glob("*linux*.whl"):
        [machine] = [machine for machine in machines if path.name.endswith(f"{machine}.whl")]
        with zipfile.ZipFile(path) as wheel:
            for name in wheel.namelist():
                if name.endswith(".so"):
                    header = wheel.read(name)[:20]
                    assert header[:4] == b"\x7fELF"
                    assert int.from_bytes(header[18:20], "little") == machines[machine]
        distribution, _, python, *_ = path.name.split("-")
        seen.add((distribution, python, machine))
    pythons = ("cp311", "cp312", "cp313", "cp314")
    compiled = ("pydantic_core", "zstandard", "charset_normalizer")
    assert seen == {(d, p, m) for d in compiled for p in pythons for m in machines}


def test_it_loads_into_a_daemon(
    bundle: Path, bed: Shelf, fresh_daemon: FreshDaemon, tmp_path: Path
) -> None:
    daemon = fresh_daemon("28.5", "classic")
    site = Site(daemon, docker_config(bed, tmp_path / "docker"), tmp_path / "home")
    site.home.mkdir()
    done = subprocess.run(
        [*daemon.namespace.prefix, PYTHON, bundle / "airgapbuild.pyz", "load", "--json", bundle],
        env=site.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"][0]["action"] == "loaded"
    [folder] = (site.home / ".cache" / "airgapbuild").iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    # A folder that others may write to is nothing to run code from.
    folder.chmod(0o777)
    again = subprocess.run(
        [PYTHON, bundle / "airgapbuild.pyz", "--version"],
        env={"HOME": str(site.home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 2
    assert "is not yours alone" in again.stderr


@pytest.mark.parametrize("version", ["3.13", "3.14"])
def test_it_runs_on(
    version: str, bundle: Path, bed: Shelf, closed: Namespace, tmp_path: Path
) -> None:
    root = Root(bed.part(f"pythons/{version}"), tmp_path / "scratch", (bundle,))
    command = (f"python{version}", bundle / "airgapbuild.pyz", "verify", "--json", bundle)
    done = closed.run(
        [*root.prefix, *command],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["whole"]


def base_image(bed: Shelf, root: Path, name: str) -> None:
    """Pushes an image of one layer."""
    crane = bed.part("peers/go") / "bin/crane"
    appended = (crane, "append", "--insecure", "--oci-empty-base", "--new_layer", root)
    subprocess.run([*appended, "--new_tag", name], check=True, capture_output=True)
    mutated = (crane, "mutate", "--insecure", "--set-platform", "linux/amd64", name)
    subprocess.run([*mutated, "--tag", name], check=True, capture_output=True)


class TestItsOwnImage:
    """The repository's Dockerfile, built by a sealed daemon of what two bundles brought."""

    @pytest.fixture
    def bases(self, bed: Shelf, writable_registry: Registry, keys: Keys, tmp_path: Path) -> Path:
        """A signed bundle of bundles/image.toml, whose bases hold the bed's programs."""
        manifest = (REPOSITORY / "bundles" / "image.toml").read_text()
        made = {"docker": tmp_path / "docker.tar", "python": tmp_path / "python.tar"}
        with tarfile.open(made["docker"], "w") as tar:
            tar.add(bed.part("engines/28.5") / "bin/docker", "usr/local/bin/docker")
            plugins = "usr/local/libexec/docker/cli-plugins"
            tar.add(bed.part("buildx/newest") / "docker-buildx", f"{plugins}/docker-buildx")
        with tarfile.open(made["python"], "w") as tar:
            tar.add(bed.part("pythons/3.13"), "")
            link = tarfile.TarInfo("usr/local/bin/python3")
            link.type, link.linkname = tarfile.SYMTYPE, "/usr/bin/python3.13"
            tar.addfile(link)
        for ref in re.findall(r'^ref = "([^/"]+)"$', manifest, re.MULTILINE):
            root = made.get(ref.partition(":")[0], made["python"])
            base_image(bed, root, f"{writable_registry.address}/library/{ref}")
        mirrors = f'mirrors = ["{writable_registry.address}"]\nupstream = false\n'
        text = manifest.replace(', "linux/arm64"', "")
        (tmp_path / "image.toml").write_text(f'{text}\n[registries."docker.io"]\n{mirrors}')
        sign = ("--sign", keys.make("sender"))
        for command in (("lock",), ("export", *sign)):
            done = airgapbuild(*command, "--file", "image.toml", cwd=tmp_path, env=keys.environ)
            assert done.returncode == 0, done.stderr
        return tmp_path / "bundles" / "image"

    def test_it_is_built_and_loads_a_signed_bundle(
        self,
        bases: Path,
        bundle: Path,
        keys: Keys,
        bed: Shelf,
        fresh_daemon: FreshDaemon,
        tmp_path: Path,
    ) -> None:
        daemon, config = fresh_daemon("28.5", "containerd"), docker_config(bed, tmp_path / "docker")
        site = Site(daemon, config, tmp_path / "home")
        site.load(bases)
        output = "type=docker,name=airgapbuild,compression=uncompressed"  # --load, in less time
        options = ("--build-context", f"tool={bundle}", "--output", output)
        done = site.airgapbuild("build", *options, REPOSITORY)
        assert done.returncode == 0, done.stderr
        signers = keys.allow(keys.make("sender"), "sender@corp")
        seen = (
            f"{daemon.socket}:/var/run/docker.sock",
            f"{bases}:/bundle:ro",
            f"{signers}:/signers",
        )
        run = ("run", "--rm", "--network=host", *(f"--volume={volume}" for volume in seen))
        told = site.docker(*run, "--user=1000", "airgapbuild", "airgapbuild", "--version")
        assert told == f"airgapbuild {__version__}\n"
        load = ("airgapbuild", "load", "--allowed-signers", "/signers", "/bundle")
        assert "signed by sender@corp" in site.docker(*run, "airgapbuild", *load)
