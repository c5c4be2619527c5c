"""The package as users install it: sdist and wheel, on every Python that we claim and can have."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest

from tests.engines.netns import Namespace
from tests.engines.root import Root

if TYPE_CHECKING:
    from tests.engines.parts.part import Shelf

REPOSITORY = Path(__file__).parents[2]
_PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_28_x86_64", "manylinux_2_17_x86_64")
_TESTERS = ("pytest", "hypothesis", "jsonschema")
_INSIDE = """
python"$1" -m venv /venv
/venv/bin/pip install --quiet --no-index --find-links "$2/wheels" airgapbuild ${@:4}
cd /root
/venv/bin/airgapbuild --version
/venv/bin/airgapbuild init
/venv/bin/airgapbuild lock --check || test $? = 4
/venv/bin/airgapbuild load nothing || test $? = 7
cd "$2/source"
exec /venv/bin/python -m pytest -q -p no:cacheprovider --hypothesis-profile few $3
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel made from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = (sys.executable, "-m", "build", "--quiet", "--outdir", folder, REPOSITORY)
    subprocess.run(command, check=True)
    return folder


def test_the_sdist_holds_what_a_packager_needs(built: Path) -> None:
    [path] = built.glob("airgapbuild-*.tar.gz")
    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    wanted = {"src/airgapbuild/cli/__init__.py", "tests/unit/test_cli.py", "schemas/generate.py"}
    assert wanted | {"README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml"} <= names


def test_the_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    [path] = built.glob("airgapbuild-*.whl")
    with ZipFile(path) as wheel:
        tops = {name.split("/")[0] for name in wheel.namelist()}
        assert {"airgapbuild/py.typed", "airgapbuild/report/style.css"} <= {*wheel.namelist()}
    assert {top.partition("-")[0] for top in tops} == {"airgapbuild"}


# The newest has what could turn out otherwise there by annotations, patterns, paths or clocks: the
# documents, the field's nouns, the command line. The bytes of bundles are the same on every Python.
# What lies between has what annotations, TOML and zstd are read by.
_BETWEEN = ("content", "frames", "manifest")
# Debian 12's 3.11.2 is an early one, whose patterns have faults that the later 3.11 of CI has not.
_EARLY = (*_BETWEEN, "document", "lockfile", "reference", "versions")
_NEWEST = (
    *(*_BETWEEN, "builder_*", "buildkitd_*", "cli", "console", "credentials", "digest", "document"),
    *(
        "drivers",
        "engine_*",
        "lockfile",
        "platform",
        "reference",
        "registry_*",
        "resolve",
        "versions",
    ),
)


@pytest.mark.parametrize(
    ("version", "tests"), [("3.11", _EARLY), ("3.13", _BETWEEN), ("3.14", _NEWEST)]
)
def test_it_installs_runs_and_passes_its_unit_tests_on(
    version: str, tests: tuple[str, ...], built: Path, bed: Shelf, closed: Namespace, tmp_path: Path
) -> None:
    [wheel] = built.glob("airgapbuild-*.whl")
    [sdist] = built.glob("airgapbuild-*.tar.gz")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:"),
            *("--python-version", version, "--implementation", "cp"),
            *(f"--platform={platform}" for platform in _PLATFORMS),
            *("--dest", tmp_path / "wheels", wheel, *_TESTERS),
        ],
        check=True,
    )
    (tmp_path / "source").mkdir()
    unpack = ("tar", "--extract", "--strip-components=1", "--directory", tmp_path / "source")
    subprocess.run([*unpack, "--file", sdist], check=True)
    files = [f"tests/unit/test_{name}.py" for name in tests]
    root = Root(bed.part(f"pythons/{version}"), tmp_path / "scratch", (tmp_path,))
    done = closed.run(
        [*root.prefix, "bash", "-ec", _INSIDE, "sh", version, tmp_path, " ".join(files), *_TESTERS],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "airgapbuild.toml is written" in done.stdout
