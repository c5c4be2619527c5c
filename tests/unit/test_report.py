from __future__ import annotations

import base64
import hashlib
import re
import shutil
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgapbuild.bundle.reader import peek
from airgapbuild.bundle.signature import Policy, sign_bundle
from airgapbuild.errors import LockError, UsageError
from airgapbuild.lockfile import read_lock
from airgapbuild.oci.content import Descriptor
from airgapbuild.oci.digest import digest_of
from airgapbuild.oci.reference import parse_source
from airgapbuild.repack import repack_folder
from airgapbuild.report.charts import bar
from airgapbuild.report.facts import Facts, gather
from airgapbuild.report.markup import tag, visible, void
from airgapbuild.report.page import render_page
from airgapbuild.signing import AllowedSigners, Key, Signer, SshKeygen
from tests.support.keys import Keys
from tests.support.program import airgapbuild, document
from tests.support.showcase import HOSTILE, make_showcase

VOID = {"meta", "wbr"}
TARBALL = "python_3.13-slim_linux-amd64.oci.tar.zst"
KIT = "buildkit_v0.34.2_linux-amd64.oci.tar.zst"


class Page(HTMLParser):
    """A page that was read: its elements and its text; elements that do not nest are an error."""

    def __init__(self, raw: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self._path: list[str] = ["page"]
        self.feed(raw.decode())
        self.close()
        assert self._path == ["page"]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._path.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._path.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self._path[-1], data))

    @property
    def text(self) -> str:
        """All that can be read, without the places where it may wrap."""
        return "".join(data for tag, data in self.texts if tag != "style")

    def of(self, tag: str) -> list[str]:
        return [data for where, data in self.texts if where == tag]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_showcase(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def facts(made: tuple[Path, Path]) -> Facts:
    old, new = made
    return gather(new, since=old)


@pytest.fixture
def folder(made: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[1], tmp_path / "b"))


def read(facts: Facts) -> Page:
    return Page(render_page(facts))


@given(st.text())
def test_any_text_is_text_and_nothing_else(text: str) -> None:
    page = Page(f"<!doctype html>{tag('p', text, title=text).html}".encode())
    assert page.elements == [("p", {"title": visible(text)})]
    assert page.text == visible(text)


def test_what_cannot_be_seen_is_shown_by_its_code() -> None:
    assert visible("a\u202eb\u200b\x1b\udcff\r\n") == "a\\u202eb\\u200b\\x1b\\udcff\\r\n"
    assert visible("café 日本 שלום") == "café 日本 שלום"


def test_an_element_without_content_has_no_end() -> None:
    assert void("meta", http_equiv='a"b').html == '<meta http-equiv="a&quot;b">'


@pytest.mark.parametrize(
    ("sizes", "whole", "drawn"),
    [
        ((50, 50), 100, [(0, 498), (500, 498)]),
        ((1,), 1 << 40, [(0, 2)]),
        ((0,), 0, [(0, 2)]),
    ],
)
def test_a_bar_is_drawn_to_scale(
    sizes: tuple[int, ...], whole: int, drawn: list[tuple[int, int]]
) -> None:
    page = Page(bar([(size, "own") for size in sizes], whole).html.encode())
    pieces = [found for name, found in page.elements if name == "rect"][1:]
    assert [(int(piece["x"]), int(piece["width"])) for piece in pieces] == drawn


def test_the_page_asks_for_nothing_and_runs_nothing(facts: Facts) -> None:
    page = read(facts)
    assert not {name for name, _ in page.elements} & {"script", "img", "link", "a", "iframe"}
    attributes = {name for _, found in page.elements for name in found}
    assert not {name for name in attributes if name in {"href", "src", "style"} or name[:2] == "on"}
    [style] = page.of("style")
    sha256 = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert "url(" not in style
    assert "@import" not in style
    [policy] = [it["content"] for name, it in page.elements if "http-equiv" in it]
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{sha256}'; base-uri 'none'; form-action 'none'"
    )


def test_the_page_can_be_found_ones_way_in(facts: Facts) -> None:
    page = read(facts)
    assert page.elements[0] == ("html", {"lang": "en"})
    assert page.of("title") == ["builders: transfer report"]
    names = [name for name, _ in page.elements]
    assert [names.count(landmark) for landmark in ("header", "main", "footer", "h1")] == [1] * 4
    levels = [int(name[1]) for name in names if re.fullmatch("h[1-6]", name)]
    assert all(deeper <= level + 1 for level, deeper in pairwise(levels))
    ids = Counter(found["id"] for _, found in page.elements if "id" in found)
    assert set(ids.values()) == {1}
    labels = [found["aria-labelledby"] for name, found in page.elements if name == "section"]
    assert {*labels} <= {*ids}
    assert names.count("caption") == names.count("table")
    heads = [found for name, found in page.elements if name == "th"]
    assert all(found.get("scope") in {"col", "row"} for found in heads)
    assert all(found["aria-hidden"] == "true" for name, found in page.elements if name == "svg")


def test_every_digest_sum_name_and_size_is_in_full(facts: Facts, made: tuple[Path, Path]) -> None:
    _, new = made
    text = read(facts).text
    lock = read_lock(new / "airgapbuild.lock")
    for image in lock.image:
        assert image.digest in text
        assert all(str(name) in text for name in image.names)
        for locked in image.platform:
            assert {locked.manifest in text, locked.config in text} == {True}
    assert facts.content
    assert all(digest in text for digest in facts.content.owners)
    sums = (new / "SHA256SUMS").read_text()
    assert sums in text
    assert hashlib.sha256(sums.encode()).hexdigest() in text
    assert "the registry registry.corp.example:5000, repository tools/shell" in text
    assert "max-parallelism = 4" in text
    for told in (
        "The bundle is whole",
        "It is not signed.",
        "3 layers, 2 shared",
        "Serial42",
    ):
        assert told in text


@pytest.mark.parametrize("text", HOSTILE)
def test_free_text_of_a_bundle_is_shown_and_nothing_more(facts: Facts, text: str) -> None:
    shown = visible(text)[:300]
    # An artifact's type as evidence and as a change, a setting of the builder, and its change.
    assert read(facts).of("code").count(shown) == 4


def test_long_text_is_cut_and_its_length_told(facts: Facts) -> None:
    assert "x" * 301 not in read(facts).text
    assert "… (2000 characters)" in read(facts).text


def test_the_same_bundle_gives_the_same_page_wherever_it_lies(
    facts: Facts, folder: Path, made: tuple[Path, Path]
) -> None:
    assert render_page(facts) == render_page(gather(folder, since=made[0]))


def test_changes_since_a_bundle_and_since_its_lock(facts: Facts, made: tuple[Path, Path]) -> None:
    old, new = made
    text = read(facts).text
    for told in ("serial 41", "1 moved", "7 changes", "moby/buildkit:v0.34.1"):
        assert told in text
    assert digest_of((old / "airgapbuild.lock").read_bytes()) in text
    by_lock = read(gather(new, since=old / "airgapbuild.lock")).text
    assert digest_of((old / "airgapbuild.lock").read_bytes()) in by_lock
    assert "serial 41" not in by_lock
    assert "about " in by_lock
    same = read(gather(old, since=old)).text
    assert "Imagesthe same" in same
    assert "0 B of" in same
    assert "What has changed" not in read(gather(old)).text


def test_what_is_damaged_is_told_and_the_rest_is_still_shown(folder: Path) -> None:
    path = folder / TARBALL
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    (folder / "<b>notes").write_text("")
    facts = gather(folder)
    page = read(facts)
    assert "Not whole: 2 problems" in page.text
    assert "The bundle is whole" not in page.text
    assert f"bring over again: {TARBALL}" in page.text
    assert Counter(data for data in page.of("span") if data in {"ok", "wrong", "foreign"}) == {
        "ok": 12,
        "wrong": 1,
        "foreign": 1,
    }
    assert facts.content
    layers = {image.name: image.platforms[0].layers for image in facts.content.images}
    assert layers["python"] is None
    assert len(layers["buildkit"] or ()) == 3
    assert "not looked into" in page.text


@pytest.mark.parametrize("part_size", [None, 200_000])
def test_damaged_documents_are_not_looked_into(folder: Path, part_size: int | None) -> None:
    """Also where the tarball is in parts: it is no part that is looked into."""
    repack_folder(folder, part_size)
    path = folder / (f"{TARBALL}.001" if part_size else TARBALL)
    raw = bytearray(path.read_bytes())
    file = peek(folder).index.file(TARBALL)
    assert file
    raw[min(blob.offset for blob in file.blobs) + 40] ^= 1
    path.write_bytes(raw)
    facts = gather(folder)
    assert facts.verified.fetch == (path.name,)
    assert facts.content
    layers = {image.name: image.platforms[0].layers for image in facts.content.images}
    assert layers["python"] is None
    assert len(layers["buildkit"] or ()) == 3
    assert "not looked into" in read(facts).text


def test_a_missing_tarball_is_told_at_its_image(folder: Path) -> None:
    (folder / KIT).unlink()
    text = read(gather(folder)).text
    assert f"{KIT} is missing" in text
    assert "missing or not right, it cannot be told" in text
    assert "Nothing: every image" not in text


@pytest.mark.parametrize("name", ["airgapbuild.lock", "bundle.json", "SHA256SUMS"])
def test_without_a_document_the_files_are_still_told(
    folder: Path, made: tuple[Path, Path], name: str
) -> None:
    (folder / name).unlink()
    facts = gather(folder, since=made[0])
    text = read(facts).text
    assert "Not whole" in text
    assert TARBALL in text
    assert ("What has changed cannot be told" in text) == (name != "SHA256SUMS")
    assert ("Fingerprint" in text) == (name != "SHA256SUMS")
    assert facts.name == ("builders" if name == "SHA256SUMS" else "b")


def test_who_signed_it_stands_at_the_top(folder: Path, keys: Keys) -> None:
    key, keygen = keys.make("officer"), SshKeygen.find(keys.environ)
    assert "It is not signed." in read(gather(folder)).text
    sign_bundle(folder, key, keygen, pytest.fail)
    unasked = read(gather(folder))
    assert "Its signature was not checked." in unasked.text
    assert "The bundle is whole" in unasked.text
    assert ("span", {"class": "aside"}) in unasked.elements
    assert "bad" not in {found.get("class") for _, found in unasked.elements}
    allowed = AllowedSigners.read(keys.allow(key, "officer@corp.example"), keygen)
    text = read(gather(folder, policy=Policy(allowed))).text
    assert "Signed by officer@corp.example, who is allowed to, with the " in text
    assert f"ED25519 key {keys.fingerprint(key)}." in text


def test_a_signer_is_shown_as_text(facts: Facts) -> None:
    signer = Signer('<b>"\u202e', Key("ED25519", "SHA256:abc"))
    text = read(replace(facts, verified=replace(facts.verified, signer=signer))).text
    assert 'Signed by <b>"\\u202e, who' in text


def test_a_bundle_that_is_refused_gets_no_page(folder: Path, keys: Keys, tmp_path: Path) -> None:
    signers = keys.allow(keys.make("officer"), "officer@corp.example")
    options = ("--allowed-signers", signers)
    done = airgapbuild("report", folder, *options, cwd=tmp_path, env=keys.environ)
    assert done.returncode == 10
    assert "is not signed" in done.stderr
    assert not list(tmp_path.glob("*.html"))


def test_a_difference_tells_what_the_receiver_must_hold(facts: Facts) -> None:
    assert "Nothing: every image is here" in read(facts).text
    assert facts.content
    first, *others = facts.content.images
    blob = Descriptor(media_type="", digest=digest_of(b"base"), size=4)
    lacking = replace(first, platforms=(replace(first.platforms[0], lacking=(blob,)),))
    content = replace(facts.content, images=(lacking, *others))
    text = read(replace(facts, content=content)).text
    assert "This bundle is a difference" in text
    assert text.count(blob.digest) == 1


@pytest.mark.parametrize(
    ("ref", "told"),
    [
        ("oci-layout:out/<b>own:1", "no registry: the OCI layout out/<b>own"),
        ("docker-daemon:corp/own:1", "no registry: a Docker daemon, as docker.io/corp/own"),
    ],
)
def test_what_comes_from_no_registry_says_so(facts: Facts, ref: str, told: str) -> None:
    assert facts.content
    assert facts.content.lock
    [first, *others] = facts.content.lock.image
    image = first.model_copy(update={"ref": parse_source(ref)})
    lock = facts.content.lock.model_copy(update={"image": (image, *others)})
    assert told in read(replace(facts, content=replace(facts.content, lock=lock))).text


def test_an_image_for_both_places_says_so(facts: Facts) -> None:
    assert facts.content
    images = tuple(replace(it, places=("daemon", "layout")) for it in facts.content.images)
    text = read(replace(facts, content=replace(facts.content, images=images))).text
    assert "the Docker daemon and an OCI layout on disk" in text


def test_a_bundle_without_builder_and_evidence_says_so(facts: Facts) -> None:
    assert facts.content
    assert facts.content.lock
    lock = facts.content.lock.model_copy(update={"builder": None})
    images = tuple(
        replace(image, platforms=tuple(replace(it, evidence=()) for it in image.platforms))
        for image in facts.content.images
    )
    text = read(replace(facts, content=replace(facts.content, lock=lock, images=images))).text
    assert "The bundle makes no builder." in text
    assert "carries no attestations, signatures or SBOMs" in text


def _luminance(color: str) -> float:
    """Source: WCAG 2.2, "relative luminance"."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_can_be_told_from_its_ground(scheme: int) -> None:
    style = files("airgapbuild.report").joinpath("style.css").read_text()
    roots = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    colors = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", roots[scheme]))
    grounds = {
        "paper": ("ink", "soft", "good", "bad"),
        "raised": ("ink", "soft"),
        "good-tint": ("ink", "good"),
        "bad-tint": ("ink", "bad"),
    }
    for ground, texts in grounds.items():
        for text in texts:
            low, high = sorted(_luminance(colors[name]) for name in (ground, text))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (ground, text)


def test_the_command_writes_the_page_beside_it(
    facts: Facts, made: tuple[Path, Path], tmp_path: Path
) -> None:
    old, new = made
    done = airgapbuild("report", new, "--since", old, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (
        0,
        f"builders-report.html is written: {new} is whole\n",
    )
    assert (tmp_path / "builders-report.html").read_bytes() == render_page(facts)
    told = document(airgapbuild("report", "--json", new, "-o", "sub/a.html", cwd=tmp_path))
    assert told == {
        "version": 1,
        "command": "report",
        "bundle": str(new),
        "report": "sub/a.html",
        "whole": True,
    }
    assert (tmp_path / "sub/a.html").is_file()


@pytest.mark.parametrize(("damage", "code"), [("missing", 7), ("wrong", 6)])
def test_a_bundle_that_is_not_whole_ends_as_verify_does_with_a_page(
    folder: Path, tmp_path: Path, damage: str, code: int
) -> None:
    if damage == "missing":
        (folder / TARBALL).unlink()
    else:
        (folder / TARBALL).write_bytes(b"")
    done = airgapbuild("report", "--json", folder, cwd=tmp_path)
    assert done.returncode == code == airgapbuild("verify", folder).returncode
    told = document(done)
    assert (told["whole"], told["error"]["exit"]) == (False, code)
    assert "Not whole: 1 problem" in Page((tmp_path / told["report"]).read_bytes()).text


def test_a_page_inside_the_bundle_is_refused(folder: Path) -> None:
    for arguments in ((folder, "-o", folder / "a.html"), (".",)):
        done = airgapbuild("report", *arguments, cwd=folder)
        assert done.returncode == 2
        assert "where a report would be a foreign file" in done.stderr
    assert not list(folder.glob("*.html"))


def test_a_page_that_cannot_be_written_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = airgapbuild("report", folder, "-o", "file/a.html", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: file/a.html: Not a directory"


def test_an_earlier_one_that_cannot_be_read_is_told_first(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file or folder"):
        gather(folder, since=tmp_path / "nothing")
    (tmp_path / "no.lock").write_text("{")
    with pytest.raises(LockError, match=r"is no airgapbuild\.lock"):
        gather(folder, since=tmp_path / "no.lock")
