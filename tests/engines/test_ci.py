"""GitHub's action and workflow, and GitLab's component, run as their runners run them."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.engines.bundles import manifest
from tests.engines.daemon import Daemon, docker_config
from tests.support.program import PROGRAM, airgapbuild
from tests.support.runner import GitHubJob, defaults, gitlab_job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines.netns import Namespace
    from tests.engines.parts.part import Shelf
    from tests.engines.registry import Registry
    from tests.support.keys import Keys

REPOSITORY = Path(__file__).parents[2]
ACTION: dict[str, Any] = yaml.safe_load((REPOSITORY / "action.yml").read_text())
TEMPLATE = REPOSITORY / "templates" / "airgapbuild" / "template.yml"
FOUND = ACTION["runs"]["steps"][0]

DOCKERFILE = """\
FROM busybox:{busybox}
RUN echo built > /greeting
"""


@pytest.fixture
def dind(bed: Shelf, blackhole: Namespace) -> Iterator[Daemon]:
    """A fresh docker:dind with TLS, in a network that drops every packet."""
    with Daemon.start(bed, "28.5", "containerd", blackhole, tls=True, data_size_mb=4096) as running:
        yield running
        running.docker("rm", "--force", "buildx_buildkit_airgap0")


@pytest.fixture
def job(dind: Daemon, bed: Shelf, busybox: str, tmp_path: Path) -> GitHubJob:
    """A job with docker, buildx and airgapbuild, in a checkout that has a Dockerfile."""
    for name in ("workspace", "temporary", "home"):
        (tmp_path / name).mkdir()
    (tmp_path / "workspace" / "Dockerfile").write_text(DOCKERFILE.format(busybox=busybox))
    config = docker_config(bed, tmp_path / "docker", "newest")
    env = dind.env | {"DOCKER_CONFIG": str(config), "HOME": str(tmp_path / "home")}
    env["PATH"] = f"{env['PATH']}:{PROGRAM.parent}"
    return GitHubJob(tmp_path / "workspace", tmp_path / "temporary", env, {}, dind.namespace.prefix)


def shell(job: GitHubJob, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """A command of the job's own, behind the action or the component."""
    done = subprocess.run(
        [*job.prefix, *command],
        cwd=job.workspace,
        env=job.env,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_action_ends_in_a_build_by_build_push_action(
    job: GitHubJob, dind: Daemon, bundle: Path, tmp_path: Path
) -> None:
    job.context = defaults(ACTION, {"bundle": str(bundle)})
    with dind.namespace.capture() as seen:
        done = job.run(ACTION["runs"]["steps"])
        assert done.returncode == 0, done.stdout + done.stderr
        assert job.outputs["builder"] == job.env["BUILDX_BUILDER"] == "airgap"
        contexts = job.outputs["contexts"].splitlines()
        # What docker/build-push-action makes of its inputs builder, build-contexts and outputs.
        given = [word for line in contexts for word in ("--build-context", line)]
        options = ("--builder", job.outputs["builder"], "--output", tmp_path / "out")
        shell(job, "docker", "buildx", "build", *given, *options, ".")
    assert (tmp_path / "out" / "greeting").read_text() == "built\n"
    assert not seen.packets


@pytest.mark.parametrize("name", ["bash", "busybox"])
def test_the_component_ends_in_a_build(
    job: GitHubJob, dind: Daemon, bed: Shelf, bundle: Path, name: str, tmp_path: Path
) -> None:
    scripts = gitlab_job(TEMPLATE, {"bundle": str(bundle)})
    build = f"airgapbuild build --output {tmp_path / 'out'} ."
    script = "\n".join(["set -eo pipefail", *scripts, build])
    program = bed.part("shells") / name
    started = (program, "sh", "-c", script) if name == "busybox" else (program, "-c", script)
    with dind.namespace.capture() as seen:
        shell(job, *started)
    assert (tmp_path / "out" / "greeting").read_text() == "built\n"
    assert "BUILDX_BUILDER=airgap\n" in (job.workspace / "airgapbuild.env").read_text()
    assert not seen.packets


def test_the_component_does_with_the_bundles_script_where_there_is_no_python(
    job: GitHubJob, bed: Shelf, bundle: Path, tmp_path: Path
) -> None:
    job.env["PATH"] = job.env["PATH"].removesuffix(f":{PROGRAM.parent}")
    assert shutil.which("airgapbuild", path=job.env["PATH"]) is None
    scripts = gitlab_job(TEMPLATE, {"bundle": str(bundle)})
    (job.workspace / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    build = f"docker buildx build --output {tmp_path / 'out'} ."
    script = "\n".join(["set -eo pipefail", *scripts, build])
    shell(job, bed.part("shells") / "busybox", "sh", "-c", script)
    assert (tmp_path / "out" / "Dockerfile").exists()


@pytest.fixture
def own(tmp_path: Path, keys: Keys) -> GitHubJob:
    """A job that has neither docker nor airgapbuild."""
    for name in ("workspace", "temporary"):
        (tmp_path / name).mkdir()
    env = dict(keys.environ) | {"PATH": f"{keys.programs}:/usr/bin:/bin"}
    return GitHubJob(tmp_path / "workspace", tmp_path / "temporary", env, {})


def test_the_newest_is_installed_also_where_a_runner_keeps_its_tools(
    own: GitHubJob, tmp_path: Path
) -> None:
    (tmp_path / "index").mkdir()
    own.env |= {
        "PATH": f"{sys.base_prefix}/bin:/usr/bin:/bin",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path / "index"),
        "RUNNER_TOOL_CACHE": str(tmp_path / "tools"),
    }
    own.context = defaults(ACTION, {"bundle": str(tmp_path)})
    for newest in ("1", "2"):
        wheel(tmp_path / "index", newest)
        done = own.run([FOUND])
        assert done.returncode == 0, done.stderr
        job = replace(own, env={**own.env})
        own.env["PATH"] = own.env["PATH"].partition(":")[2]  # the next job does not have it
        assert shell(job, "airgapbuild", "--version").stdout == f"airgapbuild {newest}\n"


def wheel(folder: Path, version: str) -> None:
    """A package of this name, of which nothing but its version is real."""
    about = f"airgapbuild-{version}.dist-info"
    files = {
        "airgapbuild.py": f"def main():\n    print('airgapbuild {version}')\n",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: airgapbuild\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": "[console_scripts]\nairgapbuild = airgapbuild:main\n",
    }
    record = "".join(f"{name},,\n" for name in (*files, f"{about}/RECORD"))
    with zipfile.ZipFile(folder / f"airgapbuild-{version}-py3-none-any.whl", "w") as archive:
        for name, text in {**files, f"{about}/RECORD": record}.items():
            archive.writestr(name, text)


class TestTheToolOfABundle:
    """It runs only once it is trusted. No daemon is needed to see that."""

    @pytest.fixture
    def shipped(self, keys: Keys, tmp_path: Path) -> Path:
        """A bundle's folder with a tool, which tells by its version that it ran; signed."""
        folder = tmp_path / "shipped"
        folder.mkdir()
        with zipfile.ZipFile(folder / "airgapbuild.pyz", "w") as archive:
            archive.writestr("__main__.py", "print('airgapbuild 9')\n")
        digest = hashlib.sha256((folder / "airgapbuild.pyz").read_bytes()).hexdigest()
        (folder / "SHA256SUMS").write_text(f"{digest}  airgapbuild.pyz\n")
        signature = keys.sign((folder / "SHA256SUMS").read_bytes(), keys.make("sender"))
        (folder / "SHA256SUMS.sig").write_bytes(signature)
        return folder

    def found(self, job: GitHubJob, shipped: Path, signers: Path | str = "") -> str | None:
        """What the tool says, None where the step refused it."""
        given = {"bundle": f"{shipped}\n", "allowed-signers": str(signers)}
        job.context = defaults(ACTION, given)
        if job.run([FOUND]).returncode:
            return None
        return shell(job, "airgapbuild", "--version").stdout

    def test_it_runs_where_its_sum_is_right(self, own: GitHubJob, shipped: Path) -> None:
        assert self.found(own, shipped) == "airgapbuild 9\n"

    def test_it_does_not_where_it_was_changed(self, own: GitHubJob, shipped: Path) -> None:
        with (shipped / "airgapbuild.pyz").open("ab") as file:
            file.write(b"x")
        assert self.found(own, shipped) is None

    def test_it_runs_where_it_is_signed(self, own: GitHubJob, shipped: Path, keys: Keys) -> None:
        allowed = keys.allow(keys.make("sender"), "sender@corp")
        assert self.found(own, shipped, allowed) == "airgapbuild 9\n"

    def test_it_does_not_where_another_signed_it(
        self, own: GitHubJob, shipped: Path, keys: Keys
    ) -> None:
        allowed = keys.allow(keys.make("stranger"), "stranger@corp")
        assert self.found(own, shipped, allowed) is None

    def test_it_does_not_where_the_sums_were_changed(
        self, own: GitHubJob, shipped: Path, keys: Keys
    ) -> None:
        with (shipped / "SHA256SUMS").open("a") as file:
            file.write("\n")
        allowed = keys.allow(keys.make("sender"), "sender@corp")
        assert self.found(own, shipped, allowed) is None


WORKFLOW = REPOSITORY / ".github" / "workflows" / "bundle.yml"
# The command line of GitHub, as far as the workflow uses it: releases are folders.
GH = """\
#!/bin/sh
set -eu
release="$RELEASES/$3"
case $1-$2 in
release-view) [ -d "$release" ] ;;
release-create) mkdir "$release" ;;
release-upload) shift 4; cp "$@" "$release" ;;
release-download) mkdir "$5"; cp "$release"/* "$5" ;;
esac
"""


@pytest.fixture
def releases(tmp_path: Path) -> Path:
    """A folder that stands for GitHub's releases, with a `gh` in `bin` that knows it."""
    for name in ("bin", "releases"):
        (tmp_path / name).mkdir()
    (tmp_path / "bin" / "gh").write_text(GH)
    (tmp_path / "bin" / "gh").chmod(0o755)
    return tmp_path / "releases"


def test_the_workflow_attaches_a_signed_bundle_and_gets_it_back(
    registry: Registry, busybox: str, keys: Keys, releases: Path, tmp_path: Path
) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    text = manifest(registry.address, busybox).partition("[builder]")[0]
    (workspace / "airgapbuild.toml").write_text(text)
    assert airgapbuild("lock", cwd=workspace).returncode == 0
    sender = keys.make("sender")
    workflow = yaml.safe_load(WORKFLOW.read_text())
    called = workflow[True]["workflow_call"]  # `on` is a boolean to YAML 1.1
    given = {"tag": "v1", "allowed-signers": str(keys.allow(sender, "sender@corp"))}
    context = defaults(called, given) | {
        "github.run_number": "7",
        "github.token": "",
        "secrets.signing-key": sender.read_text(),
    }
    for name in ("export", "check"):
        (tmp_path / name).mkdir()
        env = keys.environ | {"RELEASES": str(releases)}
        env["PATH"] = f"{releases.parent / 'bin'}:{PROGRAM.parent}:{env['PATH']}"
        job = GitHubJob(workspace, tmp_path / name, env, context)
        done = job.run(workflow["jobs"][name]["steps"])
        assert done.returncode == 0, done.stdout + done.stderr
    assert "signed by sender@corp" in done.stdout
    assert not (tmp_path / "export" / "key").exists()
    assert json.loads((releases / "v1" / "bundle.json").read_text())["serial"] == 7


def test_actionlint_has_nothing_to_say(bed: Shelf) -> None:
    command = (bed.part("actionlint") / "actionlint", "-no-color", WORKFLOW)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
