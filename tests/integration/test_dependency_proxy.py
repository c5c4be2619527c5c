"""GitLab's dependency proxy as a mirror: Docker Hub below a path, for the job's own login."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engines.registry import Registry
from tests.integration.projects import Project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engines.parts.part import Shelf
    from tests.engines.registry import Auth

USER = ("gitlab-ci-token", "glcbt-1")
PATH = "group/dependency_proxy/containers"
PREFIX = "CI_DEPENDENCY_PROXY_GROUP_IMAGE_PREFIX"


@pytest.fixture(params=["htpasswd", "token"])
def job(bed: Shelf, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """What GitLab sets in a job of a group that has the proxy."""
    auth: Auth = request.param
    with Registry.start(bed, auth=auth, user=USER, path=PATH) as running:
        yield {
            "CI_DEPENDENCY_PROXY_SERVER": running.address,
            "CI_DEPENDENCY_PROXY_USER": USER[0],
            "CI_DEPENDENCY_PROXY_PASSWORD": USER[1],
            PREFIX: f"{running.address}/{PATH}",
        }


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """It asks nobody but the proxy."""
    made = Project(tmp_path)
    mirrors = {"docker.io": {"mirrors": [f"${PREFIX}"], "upstream": False}}
    made.wants({"one": "busybox:1.37.0"}, mirrors)
    return made


def test_a_job_locks_and_exports_through_it(project: Project, job: dict[str, str]) -> None:
    done = project.run("lock", "-v", **job)
    assert done.returncode == 0, done.stderr
    assert ": login of 'gitlab-ci-token' from CI_DEPENDENCY_PROXY_PASSWORD\n" in done.stderr
    # The lock is the same wherever it was made.
    assert job["CI_DEPENDENCY_PROXY_SERVER"] not in project.lock.read_text()
    assert PREFIX not in project.lock.read_text()
    assert project.run("lock", "--check").returncode == 0
    done = project.run("export", **job)
    assert done.returncode == 0, done.stderr
    assert project.run("verify", "bundles/bundle").returncode == 0


def test_the_job_s_login_is_what_opens_it(project: Project, job: dict[str, str]) -> None:
    done = project.run("lock", **job | {"CI_DEPENDENCY_PROXY_PASSWORD": "another"})
    assert done.returncode == 5
    assert "another" not in done.stderr
    assert not project.lock.exists()


def test_where_its_variable_is_not_set_it_is_no_mirror(project: Project) -> None:
    for empty in ({}, {PREFIX: ""}):
        done = project.run("lock", **empty)
        assert done.returncode == 5
        assert f" hint: set ${PREFIX}, or drop upstream = false\n" in done.stderr


def test_a_variable_that_says_no_mirror_is_told(project: Project) -> None:
    done = project.run("lock", **{PREFIX: "https://gitlab.example/group"})
    assert done.returncode == 3
    assert done.stderr == (
        f'error: registries."docker.io".mirrors: ${PREFIX} is no host[:port][/path], '
        "without a scheme and without a login\n"
    )
