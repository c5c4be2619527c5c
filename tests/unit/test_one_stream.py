"""A tarball means the same to who reads it run by run, as airgapbuild does, and to who reads it as
one stream, as `zstd -d`, docker and install.sh do."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from airgapbuild.bundle.frames import MAGIC, decoded
from airgapbuild.bundle.reader import open_bundle
from airgapbuild.bundle.walk import walk
from airgapbuild.errors import BundleError, IntegrityError
from airgapbuild.oci.archive import END, Member, archive_members
from airgapbuild.verify import verify
from tests.support.forgery import COMPACT, TARBALL, make_bundle, members, stored, vouch

Runs = list[bytes]
"""The frames up to the first blob, those of the blob, and the rest."""
FORGED = stored(b"forged")
WIDE = MAGIC + b"\0" + bytes([28 - 10 << 3]) + b"\1\0\0"
"""A frame of nothing that wants 256 MiB of memory."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("made") / "b")


@pytest.fixture(scope="module")
def compact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("compact") / "b", COMPACT)


def skippable(size: int) -> bytes:
    """The header of a frame that readers of zstd pass over."""
    return b"\x50\x2a\x4d\x18" + size.to_bytes(4, "little")


def tar_member(name: str, data: bytes) -> bytes:
    member = Member(name, len(data), data)
    return member.header + data + member.padding


def another_image(folder: Path) -> bytes:
    """The rest of the tar, from the first blob on, by which another image is loaded."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("forged"))
    diff_id = hashlib.sha256(layer.getvalue()).hexdigest()
    config = json.dumps({"os": "linux", "rootfs": {"diff_ids": [f"sha256:{diff_id}"]}}).encode()
    digits = hashlib.sha256(config).hexdigest()
    image = {"Config": f"blobs/sha256/{digits}", "Layers": [f"blobs/sha256/{diff_id}"]}
    first = members(folder)[f"blobs/sha256/{blobs_of(folder)[0]['digest'][7:]}"]
    return b"".join(
        (
            first + bytes(-len(first) % 512),
            tar_member("manifest.json", json.dumps([{**image, "RepoTags": ["tool:1"]}]).encode()),
            tar_member(f"blobs/sha256/{digits}", config),
            tar_member(f"blobs/sha256/{diff_id}", layer.getvalue()),
            END,
        )
    )


def blobs_of(folder: Path) -> list[dict[str, Any]]:
    """Of the tarball, in the order in which they lie there."""
    index = json.loads((folder / "bundle.json").read_bytes())
    [file] = [file for file in index["files"] if file["name"] == TARBALL]
    return sorted(file["blobs"], key=lambda blob: blob["offset"])


def passed_over(head: bytes, blob: bytes, rest: bytes, folder: Path) -> Runs:
    """All from the first blob on lies in a skippable frame, whose header ends the first run."""
    evil = stored(another_image(folder))
    end = skippable(len(evil)) + evil
    return [head + skippable(len(blob + rest) + 8), blob, rest + end]


def with_last_block_open(frames: bytes) -> bytes:
    """Of one stored frame with one block: another block is to follow it."""
    return frames[:9] + bytes([frames[9] & 0xFE]) + frames[10:]


def summed_frame(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


FORGERIES: dict[str, Callable[[bytes, bytes, bytes, Path], Runs]] = {
    "another image behind a skippable frame": passed_over,
    "skippable at the beginning": lambda a, b, c, _: [skippable(3) + b"abc" + a, b, c],
    "skippable between": lambda a, b, c, _: [a + skippable(3) + b"abc", b, c],
    "skippable in a blob's run": lambda a, b, c, _: [a, b + skippable(3) + b"abc", c],
    "skippable at the end": lambda a, b, c, _: [a, b, c + skippable(3) + b"abc"],
    "skippable header at the end": lambda a, b, c, _: [a, b, c + skippable(3)],
    "skippable over a blob": lambda a, b, c, _: [a + skippable(len(b)), b, c],
    "empty skippable": lambda a, b, c, _: [a + skippable(0), b, c],
    "a byte at the end": lambda a, b, c, _: [a, b, c + b"\0"],
    "zeros at the end": lambda a, b, c, _: [a, b, c + bytes(512)],
    "half a magic at the end": lambda a, b, c, _: [a, b, c + MAGIC[:2]],
    "a magic at the end": lambda a, b, c, _: [a, b, c + MAGIC],
    "a frame's header at the end": lambda a, b, c, _: [a, b, c + FORGED[:9]],
    "a frame at the end": lambda a, b, c, _: [a, b, c + FORGED],
    "an open frame at the end": lambda a, b, c, _: [a, b, c + FORGED[:9] + bytes(3)],
    "a frame in two runs": lambda a, b, c, _: [a + b[:9], b[9:], c],
    "a block in two runs": lambda a, b, c, _: [a + b[:20], b[20:], c],
    "a frame without a last block": lambda a, b, c, _: [a, with_last_block_open(b), c],
    "a frame without its sum": lambda a, b, c, folder: [
        a,
        summed_frame(b"".join(decoded(io.BytesIO(b), len(b), "b")))[:-4],
        c,
    ],
    "an old format": lambda a, b, c, _: [a, b"\x27" + b[1:], c],
    "a dictionary": lambda a, b, c, _: [a, b[:4] + b"\xa3\1\2\3\4" + b[5:], c],
    "a wide window": lambda a, b, c, _: [a, b + WIDE, c],
}
ALIKE: dict[str, Callable[[bytes, bytes, bytes, Path], Runs]] = {
    "as it is": lambda a, b, c, _: [a, b, c],
    "compressed, with a sum": lambda a, b, c, _: [
        a,
        summed_frame(b"".join(decoded(io.BytesIO(b), len(b), "b"))),
        c,
    ],
    "empty frames": lambda a, b, c, _: [
        zstandard.compress(b"") + a,
        b,
        c + zstandard.compress(b""),
    ],
}


def forge(folder: Path, forgery: Callable[[bytes, bytes, bytes, Path], Runs]) -> None:
    raw = (folder / TARBALL).read_bytes()
    first, *others = blobs_of(folder)
    cut, end = first["offset"], first["offset"] + first["length"]
    head, blob, rest = forgery(raw[:cut], raw[cut:end], raw[end:], folder)
    first.update(offset=len(head), length=len(blob))
    for other in others:
        other["offset"] += len(head + blob) - end
    index = json.loads((folder / "bundle.json").read_bytes())
    [file] = [file for file in index["files"] if file["name"] == TARBALL]
    file["blobs"] = [first, *others]
    (folder / TARBALL).write_bytes(head + blob + rest)
    (folder / "bundle.json").write_text(json.dumps(index))
    vouch(folder, TARBALL)


def prove(folder: Path) -> None:
    bundle = open_bundle(folder)
    bundle.check_files()
    [image] = bundle.lock.image
    bundle.check_image(image, image.platform[0])


@pytest.mark.parametrize("kind", ["made", "compact"])
@pytest.mark.parametrize("row", FORGERIES)
def test_what_is_another_tar_as_one_stream_is_refused(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, row: str
) -> None:
    folder = Path(shutil.copytree(request.getfixturevalue(kind), tmp_path / "b"))
    forge(folder, FORGERIES[row])
    with pytest.raises((BundleError, IntegrityError)):
        prove(folder)
    found = verify(folder)
    assert found.error is not None
    assert found.fetch == ()


@pytest.mark.parametrize("kind", ["made", "compact"])
@pytest.mark.parametrize("row", ALIKE)
def test_what_is_proven_is_the_same_as_one_stream(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, row: str
) -> None:
    folder = Path(shutil.copytree(request.getfixturevalue(kind), tmp_path / "b"))
    forge(folder, ALIKE[row])
    prove(folder)
    assert verify(folder).error is None
    raw = (folder / TARBALL).read_bytes()
    stream = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
    bundle = open_bundle(folder)
    [image] = bundle.lock.image
    wanted = archive_members(bundle.image(image, image.platform[0]), image.names)
    tar = stream.read()
    assert walk(iter([tar]), wanted, TARBALL)
    if program := shutil.which("zstd"):
        command = [program, "-dcq", "--long=27", str(folder / TARBALL)]
        assert subprocess.run(command, check=True, capture_output=True).stdout == tar


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.binary(max_size=300),
            st.integers(0, 400),
            st.booleans(),
            st.booleans(),
            st.integers(10, 22),
        ),
        max_size=4,
    ),
    st.integers(1, 200),
    st.integers(1, 50),
)
def test_frames_end_where_zstd_says(
    frames: list[tuple[bytes, int, bool, bool, int]], step: int, less: int
) -> None:
    """However they were written and are read; and what lacks its end is refused."""
    content = b"".join(piece * times for piece, times, *_ in frames)
    raw = b"".join(
        zstandard.ZstdCompressor(
            compression_params=zstandard.ZstdCompressionParameters.from_level(
                1, window_log=log, write_checksum=has_sum, write_content_size=has_size
            )
        ).compress(piece * times)
        for piece, times, has_sum, has_size, log in frames
    )

    class Dripping(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(step if size is None or size < 0 else min(size, step))

    assert b"".join(decoded(Dripping(raw), len(raw), "x")) == content
    for cut in range(max(1, len(raw) - less), len(raw)):
        whole = zstandard.ZstdDecompressor().decompressobj(read_across_frames=False)
        rest = raw[:cut]
        while rest:
            whole = zstandard.ZstdDecompressor().decompressobj()
            whole.decompress(rest)
            rest = whole.unused_data if whole.eof else b""
        if not whole.eof:
            with pytest.raises(BundleError, match=r"^x: "):
                list(decoded(Dripping(raw), cut, "x"))
