"""install.sh alone, in every shell: a recording `docker` stands where the engine would.

What it does to real engines is in test_install.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airgapbuild.far_side.script import install_script
from tests.support.forgery import make_two

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engines.parts.part import Shelf

TEXT = """
version = 1
name = "b"
platforms = ["linux/amd64", "linux/arm64"]
[images.kit]
ref = "kit:1"
role = "builder"
[images.tool]
ref = "tool:1"
role = "base"
platforms = ["linux/amd64"]
[builder]
name = "Airgap"
image = "kit"
"""
KIT, TOOL = "kit_1_linux-amd64.oci.tar.zst", "tool_1_linux-amd64.oci.tar.zst"
OTHER = "kit_1_linux-arm64.oci.tar.zst"
CONTAINER = "buildx_buildkit_airgap0"

# Says what the test wants to hear, and writes down what it was asked.
DOCKER = """\
#!/bin/sh
echo "$*" >>"$LOG"
case "$1 ${2:-}" in
"version "*) echo "${VERSION-28.5.2} linux/${ARCH-amd64}"; exit "${DOWN-0}" ;;
"info "*) echo "$MACHINE" ;;
"load "*)
  /usr/bin/sha256sum | cut -c 1-64 >>"$LOG"
  echo "${LOADED-Loaded image: x}"
  exit "${REFUSED-0}" ;;
"context ls") echo "${CONTEXT-default}" ;;
"context inspect") [ "${TAKEN-}" = "$3" ] ;;
"container inspect") [ -n "${MADE-}" ] && echo "$MADE" ;;
"image inspect") echo sha256:kit ;;
"buildx version") exit "${NO_BUILDX-0}" ;;
"buildx inspect") echo "${BOOTED-BuildKit version:      v0.34.2}" ;;
esac
"""
TOOLS = ("sed", "grep", "cut", "sort", "tr", "cat", "mkdir", "mktemp", "mv", "rm", "sha256sum")


@dataclass
class Machine:
    """A far side with a shell, what every system has, and a docker that writes down its orders."""

    shell: tuple[str, ...]
    folder: Path
    bundle: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def programs(self) -> Path:
        return self.folder / "bin"

    @property
    def home(self) -> Path:
        return self.folder / "a home"

    @property
    def instance(self) -> Path:
        return self.home / ".docker/buildx/instances/airgap"

    def bring(self, *names: str) -> None:
        """Puts programs of this machine there, too."""
        for name in names:
            (self.programs / name).symlink_to(shutil.which(name) or "")

    def run(
        self, *options: str | Path, script: Path | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.shell, str(script or self.bundle / "install.sh"), *map(str, options)],
            env=self.environment,
            cwd=cwd or self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def environment(self) -> dict[str, str]:
        log = self.folder / "log"
        own = {"PATH": str(self.programs), "HOME": str(self.home), "LOG": str(log)}
        return own | self.env

    def refuses(self, code: int, *words: str, options: tuple[str | Path, ...] = ()) -> None:
        """Runs it: it ends with this exit code and one error of these words."""
        done = self.run(*options)
        assert done.returncode == code, done.stderr
        [error] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert all(word in error for word in words), error

    @property
    def asked(self) -> list[str]:
        """What docker was asked, and the sums of what it was given to load."""
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []

    @property
    def loaded(self) -> list[str]:
        return [line for line in self.asked if len(line) == 64]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_two(tmp_path_factory.mktemp("made") / "b", TEXT)


@pytest.fixture(params=["dash", "bash", "busybox"])
def machine(request: pytest.FixtureRequest, bed: Shelf, made: Path, tmp_path: Path) -> Machine:
    shell = bed.part("shells") / request.param
    mode = {"dash": (), "bash": ("--posix",), "busybox": ("sh",)}[request.param]
    bundle = Path(shutil.copytree(made, tmp_path / "on a stick" / "the bundle"))
    machine = Machine((str(shell), *mode), tmp_path, bundle)
    machine.home.mkdir()
    machine.programs.mkdir()
    (machine.programs / "docker").write_text(DOCKER)
    (machine.programs / "docker").chmod(0o755)
    for name in TOOLS:
        own = shell if request.param == "busybox" else Path(shutil.which(name) or "")
        (machine.programs / name).symlink_to(own)
    return machine


def sum_of(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def vouch(bundle: Path) -> None:
    """Makes the sums agree with what is there: a forger's work."""
    files = sorted(path for path in bundle.iterdir() if not path.name.startswith("SHA256SUMS"))
    lines = [f"{sum_of(path.read_bytes())}  {path.name}\n" for path in files]
    (bundle / "SHA256SUMS").write_text("".join(lines))


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def damage(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def split(path: Path, size: int) -> int:
    """Puts parts in a file's place; how many."""
    raw = path.read_bytes()
    path.unlink()
    starts = range(0, len(raw), size)
    for number, start in enumerate(starts, 1):
        path.with_name(f"{path.name}.{number:03}").write_bytes(raw[start : start + size])
    return len(starts)


def test_shellcheck_has_nothing_to_say(bed: Shelf) -> None:
    done = subprocess.run(
        [bed.part("shells") / "shellcheck", "--shell=sh", "-"],
        input=install_script(),
        capture_output=True,
        check=False,
    )
    assert done.stdout.decode() == ""
    assert done.returncode == 0


def test_a_bundle_is_loaded_and_its_builder_set_up(machine: Machine) -> None:
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert machine.loaded == [sum_of((machine.bundle / n).read_bytes()) for n in (KIT, TOOL)]
    assert machine.asked[-2:] == ["buildx use Airgap", "buildx inspect --bootstrap Airgap"]
    assert machine.instance.read_bytes() == (machine.bundle / "builder.json").read_bytes()
    buildkitd = machine.home / ".config/airgapbuild/Airgap/buildkitd.toml"
    assert buildkitd.read_bytes() == (machine.bundle / "buildkitd.toml").read_bytes()
    assert machine.instance.stat().st_mode & 0o777 == 0o600
    assert "builder Airgap runs BuildKit v0.34.2, and is the current one" in done.stdout
    assert "oci-layout://" in done.stdout  # what to do with the base image


def test_a_second_run_leaves_what_is_there(machine: Machine) -> None:
    first, second = machine.run(), machine.run()
    assert (second.returncode, second.stdout) == (0, first.stdout)
    assert [path.name for path in machine.instance.parent.parent.iterdir()] == ["instances"]
    assert [path.name for path in machine.instance.parent.iterdir()] == ["airgap"]


def test_the_folders_of_docker_and_buildx_may_be_elsewhere(machine: Machine) -> None:
    machine.env = {"DOCKER_CONFIG": f"{machine.folder}/d", "XDG_CONFIG_HOME": f"{machine.folder}/c"}
    assert machine.run().returncode == 0
    assert (machine.folder / "d/buildx/instances/airgap").is_file()
    assert (machine.folder / "c/airgapbuild/Airgap/buildkitd.toml").is_file()
    machine.env["BUILDX_CONFIG"] = f"{machine.folder}/x"
    assert machine.run().returncode == 0
    assert (machine.folder / "x/instances/airgap").is_file()
    assert not any(machine.home.iterdir())


def test_it_runs_from_everywhere(machine: Machine) -> None:
    inside = machine.run(script=Path("install.sh"), cwd=machine.bundle)
    beside = machine.run(script=Path("the bundle/install.sh"), cwd=machine.bundle.parent)
    own = Path(shutil.copy(machine.bundle / "install.sh", machine.folder / "reviewed.sh"))
    given = machine.run("the bundle", script=own, cwd=machine.bundle.parent)
    assert [inside.returncode, beside.returncode, given.returncode] == [0, 0, 0]
    assert len(machine.loaded) == 6


def test_images_alone(machine: Machine) -> None:
    assert machine.run("--no-builder").returncode == 0
    assert len(machine.loaded) == 2
    assert not any(machine.home.iterdir())


def test_a_bundle_without_a_builder(machine: Machine) -> None:
    (machine.bundle / "builder.json").unlink()
    vouch(machine.bundle)
    done = machine.run()
    assert (done.returncode, done.stderr) == (0, "")
    assert "the bundle asks for no builder" in done.stdout
    assert not any(machine.home.iterdir())


# ---- usage ----


def test_help(machine: Machine) -> None:
    done = machine.run("--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: sh install.sh [options] [BUNDLE]\n")
    assert machine.run("-h").stdout == done.stdout
    assert machine.asked == []


@pytest.mark.parametrize(
    "options",
    [
        ("--nonsense",),
        ("--platform",),
        ("--platform", "amd64"),
        ("--platform", "linux/*"),
        ("--signer", "a@b"),
        ("--allowed-signers", "missing"),
        ("one", "two"),
    ],
)
def test_what_makes_no_sense_is_exit_2(machine: Machine, options: tuple[str, ...]) -> None:
    machine.refuses(2, options=options)
    assert machine.asked == []


# ---- the files ----


def test_tarballs_of_other_platforms_may_be_missing(machine: Machine) -> None:
    (machine.bundle / OTHER).unlink()
    assert machine.run().returncode == 0


@pytest.mark.parametrize("name", [KIT, "bundle.json", "builder.json", "SHA256SUMS"])
def test_a_missing_file_is_exit_7(machine: Machine, name: str) -> None:
    (machine.bundle / name).unlink()
    machine.refuses(7, name)
    assert machine.loaded == []


def test_no_folder_is_exit_7(machine: Machine) -> None:
    machine.refuses(7, "nowhere", options=("nowhere",))


@pytest.mark.parametrize("name", [KIT, OTHER, "install.sh"])
def test_a_changed_file_is_exit_6_and_nothing_is_loaded(machine: Machine, name: str) -> None:
    own = Path(shutil.copy(machine.bundle / "install.sh", machine.folder / "reviewed.sh"))
    damage(machine.bundle / name)
    done = machine.run(machine.bundle, script=own)
    assert done.returncode == 6
    assert done.stderr.startswith(f"error: not what SHA256SUMS says: {name}\n")
    assert machine.asked == []


@pytest.mark.parametrize("name", ["notes.txt", ".kit.part", "--help", "a b\x1b[2J"])
def test_a_foreign_file_is_exit_7(machine: Machine, name: str) -> None:
    (machine.bundle / name).write_text("")
    machine.refuses(7, name.replace("\x1b", "?"), "does not belong to the bundle")
    assert machine.asked == []


def test_a_link_is_exit_7(machine: Machine) -> None:
    (machine.bundle / KIT).rename(machine.folder / KIT)
    (machine.bundle / KIT).symlink_to(machine.folder / KIT)
    machine.refuses(7, KIT, "not a plain file")


@pytest.mark.parametrize("line", ["", f"{'0' * 64}  ../x", f"{'0' * 64}  -x", f"{'0' * 64}  a b"])
def test_sums_that_are_none_are_exit_7(machine: Machine, line: str) -> None:
    with (machine.bundle / "SHA256SUMS").open("a") as sums:
        sums.write(f"{line}\n")
    machine.refuses(7, "SHA256SUMS")


def test_sums_whose_last_line_has_no_end_are_exit_7(machine: Machine) -> None:
    """`read` gives such a line and fails: a loop passes over it, and over its file."""
    sums = machine.bundle / "SHA256SUMS"
    sums.write_text(sums.read_text().removesuffix("\n"))
    damage(machine.bundle / TOOL)
    machine.refuses(7, "SHA256SUMS", "cannot be read")
    assert machine.asked == []


def test_empty_sums_are_exit_7(machine: Machine) -> None:
    (machine.bundle / "SHA256SUMS").write_text("")
    machine.refuses(7, "SHA256SUMS")


# Busybox has a sha256sum in itself.
@pytest.mark.parametrize("machine", ["dash", "bash"], indirect=True)
def test_without_sha256sum_shasum_does(machine: Machine) -> None:
    (machine.programs / "sha256sum").unlink()
    machine.refuses(6, "neither sha256sum nor shasum")
    machine.bring("shasum")
    assert machine.run("--no-builder").returncode == 0
    damage(machine.bundle / KIT)
    machine.refuses(6, KIT)


def test_parts_are_joined_on_the_way(machine: Machine) -> None:
    whole = [sum_of((machine.bundle / name).read_bytes()) for name in (KIT, TOOL)]
    assert split(machine.bundle / KIT, 20_000) > 10
    vouch(machine.bundle)
    assert machine.run().returncode == 0
    assert machine.loaded == whole
    (machine.bundle / f"{KIT}.007").rename(machine.folder / "away")
    machine.refuses(7, f"{KIT}.007")
    (machine.bundle / f"{KIT}.007").write_text("another")
    machine.refuses(6, f"{KIT}.007")


def test_a_bundle_that_leans_on_an_older_one_is_exit_7(machine: Machine) -> None:
    path = machine.bundle / "bundle.json"
    index = json.loads(path.read_bytes())
    index["files"][-1]["requires"] = [{"digest": "sha256:x"}]
    path.write_text(json.dumps(index, indent=1))
    vouch(machine.bundle)
    machine.refuses(7, "only what differs from an older one")
    assert machine.asked == []


# ---- signatures ----


@dataclass
class Keys:
    """Who signs, and who is allowed to."""

    folder: Path

    def make(self, name: str) -> None:
        self._keygen("-q", "-t", "ed25519", "-N", "", "-f", self.folder / name)

    def sign(self, name: str, file: Path, namespace: str = "airgapbuild-bundle") -> None:
        file.with_name(f"{file.name}.sig").unlink(missing_ok=True)
        self._keygen("-q", "-Y", "sign", "-f", self.folder / name, "-n", namespace, file)

    def allow(self, **principals: str) -> Path:
        """The file of those who may sign: principals, and whose key each has."""
        path = self.folder / "allowed signers"
        keys = {key: (self.folder / f"{key}.pub").read_text() for key in principals.values()}
        path.write_text("".join(f"{who}@x {keys[key]}" for who, key in principals.items()))
        return path

    @staticmethod
    def _keygen(*arguments: str | Path) -> None:
        subprocess.run(["ssh-keygen", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    keys = Keys(tmp_path / "keys")
    keys.folder.mkdir()
    keys.make("alice")
    keys.make("mallory")
    return keys


def test_a_signed_bundle_is_loaded(machine: Machine, keys: Keys) -> None:
    machine.bring("ssh-keygen")
    allowed = keys.allow(bob="mallory", alice="alice")
    keys.sign("alice", machine.bundle / "SHA256SUMS")
    signed = machine.run("--allowed-signers", allowed)
    assert (signed.returncode, signed.stderr) == (0, "")
    assert signed.stdout.startswith("signed by alice@x\n")
    signers = ("--signer", "bob@x", "--signer", "alice@x")
    relative = machine.run("--allowed-signers", "keys/allowed signers", *signers)
    assert relative.stdout == signed.stdout
    machine.refuses(10, options=("--allowed-signers", allowed, "--signer", "bob@x"))


@pytest.mark.parametrize("how", ["nobody", "another", "namespace", "changed", "garbled"])
def test_what_nobody_signed_who_may_is_exit_10(machine: Machine, keys: Keys, how: str) -> None:
    machine.bring("ssh-keygen")
    sums = machine.bundle / "SHA256SUMS"
    if how != "nobody":
        namespace = "file" if how == "namespace" else "airgapbuild-bundle"
        keys.sign("mallory" if how == "another" else "alice", sums, namespace)
    if how == "changed":
        (machine.bundle / "buildkitd.toml").write_text("debug = true\n")
        vouch(machine.bundle)
    if how == "garbled":
        (machine.bundle / "SHA256SUMS.sig").write_text("-----BEGIN SSH SIGNATURE-----\n")
    machine.refuses(10, options=("--allowed-signers", keys.allow(alice="alice")))
    assert machine.asked == []


def test_without_ssh_keygen_nothing_is_signed(machine: Machine, keys: Keys) -> None:
    keys.sign("alice", machine.bundle / "SHA256SUMS")
    allowed = keys.allow(alice="alice")
    machine.refuses(10, "ssh-keygen is not here", options=("--allowed-signers", allowed))


def test_a_signature_that_nobody_checks_is_noted(machine: Machine, keys: Keys) -> None:
    keys.sign("alice", machine.bundle / "SHA256SUMS")
    done = machine.run()
    assert done.returncode == 0
    assert done.stderr.startswith("note: the bundle is signed; nobody has checked that")


# ---- docker ----


def test_without_docker_it_is_exit_8(machine: Machine) -> None:
    (machine.programs / "docker").unlink()
    machine.refuses(8, "docker is not here")


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"DOWN": "1"}, "the Docker daemon does not answer"),
        ({"REFUSED": "1", "LOADED": "no space left"}, "docker load failed: no space left"),
        ({"LOADED": "Error unpacking image x: disk"}, "could not load it: Error unpacking image x"),
        ({"LOADED": ""}, "docker load did nothing"),
        ({"VERSION": "20.10.24"}, "Docker 20.10.24 cannot read the tarballs"),
    ],
)
def test_what_docker_does_not_do_is_exit_8(
    machine: Machine, env: dict[str, str], words: str
) -> None:
    machine.env = env
    machine.refuses(8, words)
    assert not any(machine.home.iterdir())


def test_an_old_docker_gets_plain_tarballs(machine: Machine) -> None:
    machine.bring("zstd")
    machine.env = {"VERSION": "20.10.24"}
    plain = subprocess.run(["zstd", "-dc", machine.bundle / KIT], check=True, capture_output=True)
    split(machine.bundle / KIT, 100_000)
    vouch(machine.bundle)
    assert machine.run().returncode == 0
    assert machine.loaded[0] == sum_of(plain.stdout)


def test_a_tarball_that_breaks_off_is_exit_8(machine: Machine) -> None:
    machine.bring("zstd")
    machine.env = {"VERSION": "20.10.24"}
    whole = (machine.bundle / KIT).read_bytes()
    (machine.bundle / KIT).write_bytes(whole[:-10])
    vouch(machine.bundle)
    machine.refuses(8, "could not load it")


@pytest.mark.parametrize(
    ("arch", "machine_name", "slug"),
    [
        ("arm64", "aarch64", "linux-arm64"),
        ("arm", "armv6l", "linux-arm-v6"),
        ("arm", "armv7l", "linux-arm-v7"),
        ("arm", "aarch64", "linux-arm-v7"),
    ],
)
def test_the_daemons_platform_decides(
    machine: Machine, arch: str, machine_name: str, slug: str
) -> None:
    machine.env = {"ARCH": arch, "MACHINE": machine_name}
    (machine.bundle / KIT).rename(machine.bundle / f"kit_1_{slug}.oci.tar.zst")
    vouch(machine.bundle)
    wanted = sum_of((machine.bundle / f"kit_1_{slug}.oci.tar.zst").read_bytes())
    assert machine.run("--no-builder").returncode == 0
    assert machine.loaded == [wanted]


def test_another_platform_on_demand(machine: Machine) -> None:
    assert machine.run("--platform", "linux/arm64", "--no-builder").returncode == 0
    assert machine.loaded == [sum_of((machine.bundle / OTHER).read_bytes())]
    done = machine.run("--platform", "linux/riscv64")
    assert done.returncode == 7
    assert done.stderr == (
        "error: the bundle has nothing for linux/riscv64\n"
        "hint: it is for: linux/amd64 linux/arm64; see --platform\n"
    )


# ---- the builder ----


def test_a_docker_context_is_the_builders_endpoint(machine: Machine) -> None:
    machine.env = {"CONTEXT": "far"}
    assert machine.run().returncode == 0
    wanted = json.loads((machine.bundle / "builder.json").read_bytes())
    wanted["Nodes"][0]["Endpoint"] = "far"
    assert json.loads(machine.instance.read_bytes()) == wanted


def test_a_name_that_is_taken_is_exit_9(machine: Machine) -> None:
    machine.env = {"TAKEN": "Airgap"}
    machine.refuses(9, "'Airgap' is the name of a docker context")
    machine.env = {}
    machine.instance.parent.mkdir(parents=True)
    machine.instance.write_text('{"Name":"airgap","Driver":"remote"}')
    machine.refuses(9, "builder 'Airgap' exists")
    assert machine.instance.read_text() == '{"Name":"airgap","Driver":"remote"}'


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"Nodes":[', '"Nodes":[{"Endpoint":"farm"},', "the builder Airgap has several nodes"),
        ('"default"', '"farm"', "the builder Airgap does not run on this daemon"),
        ('"docker-container"', '"remote"', "the builder Airgap does not run on this daemon"),
    ],
)
def test_a_builder_of_other_nodes_is_left_to_airgapbuild(
    machine: Machine, old: str, new: str, told: str
) -> None:
    path = machine.bundle / "builder.json"
    path.write_text(path.read_text().replace(old, new, 1))
    vouch(machine.bundle)
    machine.refuses(9, told)
    assert not machine.instance.exists()


@pytest.mark.parametrize("name", ["../../x", "", "-f"])
def test_a_name_that_is_none_is_exit_9(machine: Machine, name: str) -> None:
    path = machine.bundle / "builder.json"
    path.write_text(path.read_text().replace('"Name":"Airgap"', f'"Name":"{name}"', 1))
    vouch(machine.bundle)
    machine.refuses(9, "builder.json")
    assert not any(machine.home.iterdir())


def test_a_folder_that_cannot_be_written_is_exit_9(machine: Machine) -> None:
    machine.instance.parent.parent.mkdir(parents=True)
    machine.instance.parent.write_text("")
    done = machine.run()
    assert done.returncode == 9
    assert f"error: {machine.instance}: cannot be written" in done.stderr
    assert [path.name for path in machine.instance.parent.parent.iterdir()] == ["instances"]


# Puts a file in its place when as many as MOVERS want to, or somewhat later.
MV = """\
#!/bin/sh
PATH=/usr/bin:/bin
for target; do :; done
: >"$LOG.${target##*/}.$$"
tries=0
while [ "$(ls "$LOG.${target##*/}".* | wc -l)" -lt "$MOVERS" ] && [ $tries -lt 200 ]; do
  tries=$((tries + 1))
  sleep 0.02
done
exec mv "$@"
"""


@pytest.fixture
def moving(machine: Machine) -> Machine:
    """Where `mv` waits for others."""
    path = machine.programs / "mv"
    path.unlink()
    path.write_text(MV)
    path.chmod(0o755)
    machine.env = {"MOVERS": "2"}
    return machine


def files_at_home(machine: Machine) -> list[str]:
    return sorted(path.name for path in machine.home.rglob("*") if path.is_file())


# Busybox moves files by itself.
@pytest.mark.parametrize("machine", ["dash", "bash"], indirect=True)
def test_two_jobs_with_one_home_do_not_meet(moving: Machine) -> None:
    """Each has written its file when both put it in its place."""
    with ThreadPoolExecutor(2) as threads:
        both = list(threads.map(lambda _: moving.run(), range(2)))
    assert [done.returncode for done in both] == [0, 0], [done.stderr for done in both]
    assert moving.instance.read_bytes() == (moving.bundle / "builder.json").read_bytes()
    assert files_at_home(moving) == ["airgap", "buildkitd.toml"]


@pytest.mark.parametrize("machine", ["dash", "bash"], indirect=True)
def test_who_is_killed_while_writing_leaves_nothing(moving: Machine) -> None:
    argv = [*moving.shell, str(moving.bundle / "install.sh")]
    with subprocess.Popen(argv, env=moving.environment, process_group=0) as running:
        wait_for(lambda: any(moving.folder.glob("log.airgap.*")))
        assert len(files_at_home(moving)) == 1
        os.killpg(running.pid, signal.SIGTERM)
        assert running.wait() == -signal.SIGTERM
    wait_for(lambda: not files_at_home(moving))  # the script's end is not its child's


def test_without_buildx_the_files_are_written_and_it_is_exit_9(machine: Machine) -> None:
    machine.env = {"NO_BUILDX": "1"}
    machine.refuses(9, "docker has no buildx; the builder's files are written")
    assert machine.instance.is_file()


def test_a_builder_that_does_not_start_is_exit_9(machine: Machine) -> None:
    machine.env = {"BOOTED": "Status: inactive"}
    machine.refuses(9, "the builder Airgap does not start")


def test_only_a_container_made_from_something_else_is_removed(machine: Machine) -> None:
    options = json.loads((machine.bundle / "builder.json").read_bytes())["Nodes"][0]["DriverOpts"]
    mark = f"AIRGAPBUILD_CONFIG={options['env.AIRGAPBUILD_CONFIG']}"
    removal = f"rm -f {CONTAINER}"
    # In any order, as Go's maps are.
    for same in (f"sha256:kit  {mark} PATH=/bin ", f"sha256:kit  PATH=/bin {mark} "):
        machine.env = {"MADE": same}
        assert machine.run().returncode == 0
    assert removal not in machine.asked
    for other in (f"sha256:old  PATH=/bin {mark} ", "sha256:kit  A=b ", f"sha256:kit  {mark}0 "):
        (machine.folder / "log").unlink()
        machine.env = {"MADE": other}
        assert machine.run().returncode == 0
        assert machine.asked.count(removal) == 1


@pytest.mark.parametrize(
    "line",
    ['tlsconfigdir = ["/certs"]', "keypair = [", '[[buildkitd.registry."a.example".keypair]]'],
)
def test_a_builder_with_client_keys_is_left_to_airgapbuild(machine: Machine, line: str) -> None:
    lock = machine.bundle / "airgapbuild.lock"
    lock.write_text(f"{lock.read_text()}{line}\n")
    vouch(machine.bundle)
    machine.refuses(9, "the builder needs client keys of this machine")
    assert not any(machine.home.iterdir())
    assert machine.run("--no-builder").returncode == 0
