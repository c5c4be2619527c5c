"""`airgapbuild env`: the loaded builder, for other programs."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from airgapbuild.builder.instance import MARK, Instance, InstanceStore, Node
from airgapbuild.engine.endpoint import find_endpoint
from tests.support.program import airgapbuild, document

if TYPE_CHECKING:
    from pathlib import Path

    from airgapbuild.drivers import Driver

HOST = "tcp://192.0.2.1:2375"


@pytest.fixture
def loaded(tmp_path: Path) -> dict[str, str]:
    """The environment of a user who has loaded a builder, in a folder with odd characters."""
    env = {"HOME": str(tmp_path / "it's \\ my $HOME"), "DOCKER_HOST": HOST}
    use(env, put(env, "airgap"))
    return env


def put(env: dict[str, str], name: str, driver: Driver = "docker-container") -> Instance:
    """A builder of airgapbuild's, and not current."""
    options = {MARK: "1"} if driver == "docker-container" else {}
    instance = Instance(name, (Node(f"{name}0", "default", options),), driver)
    InstanceStore.of(env).write(instance)
    return instance


def use(env: dict[str, str], instance: Instance) -> None:
    InstanceStore.of(env).make_current(instance, find_endpoint(None, env).buildx_key)


def config(env: dict[str, str]) -> str:
    return f"{env['HOME']}/.docker/buildx"


def test_a_shell_takes_it(loaded: dict[str, str]) -> None:
    told = airgapbuild("env", "--quiet", env=loaded).stdout
    script = f'{told}printf "%s\\n" "$BUILDX_BUILDER" "$BUILDX_CONFIG"'
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["airgap", config(loaded)]


def test_fish_takes_it(loaded: dict[str, str]) -> None:
    told = airgapbuild("env", "--format", "fish", env=loaded).stdout
    assert told.splitlines() == [
        "set -gx BUILDX_BUILDER 'airgap'",
        f"set -gx BUILDX_CONFIG '{config(loaded)}'".replace("\\", "\\\\").replace("t's", "t\\'s"),
    ]


def test_dotenv_and_json_have_it_as_it_is(loaded: dict[str, str]) -> None:
    told = airgapbuild("env", "--format", "dotenv", env=loaded).stdout
    assert told == f"BUILDX_BUILDER=airgap\nBUILDX_CONFIG={config(loaded)}\n"
    variables = document(airgapbuild("env", "--json", env=loaded))["variables"]
    assert variables == {"BUILDX_BUILDER": "airgap", "BUILDX_CONFIG": config(loaded)}


def test_the_builder_of_another_daemon_does_not_count(loaded: dict[str, str]) -> None:
    done = airgapbuild("env", "--host", "tcp://192.0.2.2:2375", env=loaded)
    assert done.returncode == 9
    assert "no builder was loaded for tcp://192.0.2.2:2375" in done.stderr
    assert "airgapbuild load" in done.stderr
    assert not done.stdout


def test_without_a_builder(tmp_path: Path) -> None:
    done = airgapbuild("env", env={"HOME": str(tmp_path)})
    assert done.returncode == 9
    assert "no builder was loaded" in done.stderr


class TestWithoutUse:
    """`load --no-use` leaves the builder that is current as it is."""

    @pytest.fixture
    def env(self, tmp_path: Path) -> dict[str, str]:
        return {"HOME": str(tmp_path), "DOCKER_HOST": HOST}

    def named(self, env: dict[str, str]) -> str:
        return str(document(airgapbuild("env", "--json", env=env))["variables"]["BUILDX_BUILDER"])

    def test_the_builder_is_named(self, env: dict[str, str]) -> None:
        put(env, "airgap")
        assert self.named(env) == "airgap"

    def test_somebody_elses_is_not(self, env: dict[str, str]) -> None:
        theirs = Instance("theirs", (Node("theirs0", "default"),))
        InstanceStore.of(env).write(theirs)
        use(env, theirs)
        assert airgapbuild("env", env=env).returncode == 9
        put(env, "airgap")
        assert self.named(env) == "airgap"

    def test_the_current_one_goes_before_others(self, env: dict[str, str]) -> None:
        put(env, "other")
        use(env, put(env, "airgap", "remote"))
        assert self.named(env) == "airgap"

    def test_of_several_none_is_guessed(self, env: dict[str, str]) -> None:
        put(env, "one")
        put(env, "two")
        done = airgapbuild("env", env=env)
        assert done.returncode == 9
        assert "several builders were loaded, and none of them is current: one, two" in done.stderr
        assert "docker buildx use one" in done.stderr


@pytest.mark.parametrize("content", ["", "[]", '{"Name": "airgap"}'])
def test_a_file_that_buildx_did_not_write(loaded: dict[str, str], content: str) -> None:
    store = InstanceStore.of(loaded)
    (store.folder / "current").write_text(content)
    done = airgapbuild("env", env=loaded)
    assert done.returncode == 9
    assert "current: not what buildx writes" in done.stderr
