"""What the rows share: registries, images, bundles, and the tools with a home of their own."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.bench.big import big_image
from tests.bench.measure import BenchError, Command
from tests.engines import layout
from tests.engines.bundles import make_bundle, site_manifest
from tests.engines.parts.images import TAGS
from tests.engines.registry import Registry, images
from tests.support.link import Link
from tests.support.program import airgapbuild, environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from tests.engines.parts.part import Shelf

_MANIFEST = """\
version = 1
name = "builders"
platforms = [{platforms}]
{images}
[registries."docker.io"]
mirrors = ["{mirror}"]
upstream = false
"""
_BUILDER = """
[builder]
name = "airgap"
image = "image-0"
sealed = true
driver-opts = { network = "host" }
"""

BOTH = ("linux/amd64", "linux/arm64")
BUILDKIT = "moby/buildkit:v0.34.2"


class Stage:
    """A folder for one run of the benchmark, as a context manager; parts are made when needed.

    Everything that is written lies in it, so all tools write to one file system.
    """

    def __init__(self, bed: Shelf) -> None:
        self.bed = bed

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="bench-"))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        (self.folder / "home").mkdir()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def new_site(self) -> Path:
        """An empty folder for a daemon and its user, until the row ends.

        For minutes ext4 passes over the places of files that are gone, one by one, so a daemon
        whose files went before the next one unpacks would cost that one seconds.
        """
        sites = self.folder / "sites"
        sites.mkdir(exist_ok=True)
        return Path(tempfile.mkdtemp(dir=sites))

    def end_row(self) -> None:
        """Removes what the daemons of a row have left."""
        shutil.rmtree(self.folder / "sites", ignore_errors=True)

    @cached_property
    def registry(self) -> Registry:
        """A registry with the images of the bed."""
        return self._stack.enter_context(Registry.start(self.bed))

    @cached_property
    def big_registry(self) -> Registry:
        """A registry with the image of one gigabyte, put into its storage and so into the cache."""
        registry = self._empty()
        image = big_image(self.folder / "big")
        layout.store(self.folder / "big", image, registry.storage)
        return registry

    @cached_property
    def slow(self) -> Link:
        """The way to an image of one layer of 200 MB: 8 MB a second for each connection."""
        registry = self._empty()
        image = big_image(self.folder / "layer", (200,))
        layout.store(self.folder / "layer", image, registry.storage)
        return self._stack.enter_context(Link(registry.address, rate=8_000_000))

    @cached_property
    def far(self) -> Link:
        """The way to a registry of twelve images of two platforms, 60 ms there and back."""
        registry = self._empty()
        kit = images(self.bed)[BUILDKIT]
        for ref in self.far_refs:
            image = replace(kit, repository=ref.partition(":")[0], tag=ref.partition(":")[2])
            layout.store(self.bed.part("images/built") / "layout", image, registry.storage)
        return self._stack.enter_context(Link(registry.address, delay=0.03))

    @property
    def far_refs(self) -> tuple[str, ...]:
        """The images of the far registry."""
        return tuple(f"team/image-{number}:1" for number in range(12))

    @cached_property
    def refs(self) -> tuple[str, ...]:
        """The images of the bed, each by its first name."""
        return tuple(TAGS)

    @cached_property
    def bundle(self) -> Path:
        """A bundle of the builder, without the tarball that is not for this platform."""
        folder = self.project("bundle", self.registry, (BUILDKIT,), BOTH, builder=True)
        self._run(folder, "lock")
        self._run(folder, "export")
        bundle = folder / "bundles/builders"
        next(bundle.glob("*_linux-arm64.oci.tar.zst")).unlink()
        return bundle

    @cached_property
    def site_bundle(self) -> Path:
        """A bundle of a builder with an emulator, of a frontend and of two base images."""
        return self._site_bundle("site")

    @cached_property
    def compact_site_bundle(self) -> Path:
        """The same images in a compact bundle."""
        return self._site_bundle("compact-site", '\n[bundle]\nlayers = "compact"\n')

    def _site_bundle(self, name: str, more: str = "") -> Path:
        folder = self.folder / name
        folder.mkdir()
        [tag] = [ref.partition(":")[2] for ref in TAGS if ref.startswith("library/busybox:")]
        return make_bundle(folder, site_manifest(self.registry.address, tag) + more)

    def _empty(self) -> Registry:
        return self._stack.enter_context(Registry.start(self.bed, writable=True, empty=True))

    @property
    def tarball(self) -> Path:
        """What `docker load` takes of the bundle."""
        return next(self.bundle.glob("*.oci.tar.zst"))

    @cached_property
    def env(self) -> dict[str, str]:
        """The environment of every tool: all of them on the PATH, and a home with nothing in it."""
        parts = (self.bed.part("peers/go") / "bin", self.bed.part("peers/debian") / "bin")
        plain = environment({"HOME": str(self.folder / "home")})
        return plain | {"PATH": ":".join([*map(str, parts), plain["PATH"]])}

    def project(
        self,
        name: str,
        registry: Registry | Link,
        refs: Sequence[str],
        platforms: Sequence[str],
        *,
        builder: bool = False,
    ) -> Path:
        """A folder with a manifest of these images, by their ordinary names."""
        folder = self.folder / name
        folder.mkdir()
        role = "builder" if builder else "tool"
        entries = (
            f'[images.image-{n}]\nref = "{ref}"\nrole = "{role}"' for n, ref in enumerate(refs)
        )
        text = _MANIFEST.format(
            platforms=", ".join(f'"{platform}"' for platform in platforms),
            images="\n".join(entries),
            mirror=registry.address,
        )
        (folder / "airgapbuild.toml").write_text(text + (_BUILDER if builder else ""))
        return folder

    def locked(
        self, name: str, registry: Registry | Link, ref: str, platforms: Sequence[str]
    ) -> Path:
        """Such a folder with its lock."""
        folder = self.project(name, registry, (ref,), platforms)
        self._run(folder, "lock")
        return folder

    def command(self, *argv: str | Path, cwd: Path | None = None) -> Command:
        """A program with the tools' environment."""
        return Command(argv, self.env, cwd or self.folder)

    def _run(self, folder: Path, command: str) -> None:
        done = airgapbuild(command, cwd=folder, env=self.env)
        if done.returncode:
            raise BenchError(done.stderr)


@contextmanager
def without(command: Command, *paths: Path) -> Iterator[Command]:
    """The command, with what an earlier run of it has left removed."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    yield command
