"""The page: one file of HTML that asks for nothing, runs nothing, and is the same each time."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from airgapbuild import __version__
from airgapbuild.builder.buildkitd import render
from airgapbuild.bundle.index import SUMS_FILE
from airgapbuild.report.changes import changes_section
from airgapbuild.report.charts import bar
from airgapbuild.report.images import (
    evidence_section,
    images_section,
    layers_section,
    needs_section,
)
from airgapbuild.report.markup import Child, Markup, tag, together, void
from airgapbuild.report.pieces import (
    block,
    code,
    digits,
    lines,
    listed,
    section,
    table,
    terms,
)
from airgapbuild.words import count_words, size_words

if TYPE_CHECKING:
    from airgapbuild.inspection import Inspected
    from airgapbuild.report.facts import Facts
    from airgapbuild.verify import CheckedFile, Verified

_STATES: Final = {"ok": "ok", "not checked": "aside"}
"""How a file's state is shown that is no problem."""


def render_page(facts: Facts) -> bytes:
    """The bytes of the page: the same for the same facts, everywhere."""
    style = files("airgapbuild.report").joinpath("style.css").read_text("utf-8")
    head = tag(
        "head",
        void("meta", charset="utf-8"),
        void("meta", http_equiv="Content-Security-Policy", content=_policy(style)),
        void("meta", name="viewport", content="width=device-width, initial-scale=1"),
        void("meta", name="color-scheme", content="light dark"),
        void("meta", name="referrer", content="no-referrer"),
        void("meta", name="generator", content=f"airgapbuild {__version__}"),
        tag("title", f"{facts.name}: transfer report"),
        tag("style", Markup(style)),
    )
    body = tag("body", _header(facts), tag("main", *_sections(facts)), _footer())
    page = tag("html", head, body, lang="en")
    return f"<!doctype html>\n{page.html}\n".encode()


def _policy(style: str) -> str:
    """Nothing may be fetched or run; the one style sheet is known by its hash."""
    sha256 = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{sha256}'; base-uri 'none'; form-action 'none'"


def _sections(facts: Facts) -> list[Markup]:
    sections = [_verdict(facts)]
    if facts.verified.sums is not None:
        sections.append(_fingerprint(facts.verified.sums))
    if facts.since:
        sections.append(changes_section(facts.since, facts.changes, facts.verified.size))
    if content := facts.content:
        sections += [images_section(content), needs_section(content)]
        sections += [_builder(content), evidence_section(content)]
    sections += [_files(facts), _by_hand()]
    if content:
        sections += [_loading(content), layers_section(content)]
    return sections


def _header(facts: Facts) -> Markup:
    return tag(
        "header",
        tag("p", "Transfer report", class_="eyebrow"),
        tag("h1", facts.name),
        *([_summary(facts, facts.content)] if facts.content else []),
    )


def _summary(facts: Facts, content: Inspected) -> Markup:
    platforms = {platform.platform for image in content.images for platform in image.platforms}
    serial = facts.verified.serial
    return terms(
        ("Images", str(len(content.images))),
        ("Platforms", listed(sorted(platforms))),
        ("Files", str(len(facts.verified.files))),
        ("Size", size_words(facts.verified.size)),
        ("Layers", _packing(facts.verified)),
        ("Serial", "none" if serial is None else str(serial)),
        class_="summary",
    )


def _packing(verified: Verified) -> str:
    if verified.bundle and verified.bundle.index.layers == "compact":
        return f"compact: raw, compressed anew at level {verified.bundle.index.level}"
    return "exact: as the registry has them"


def _verdict(facts: Facts) -> Markup:
    verified = facts.verified
    if error := verified.error:
        problems = tag("ul", *(tag("li", line) for line in error.lines))
        hint = [tag("p", tag("strong", "What to do: "), error.hint)] if error.hint else []
        title = f"Not whole: {count_words(len(error.lines), 'problem')}"
        return _verdict_box("broken", title, problems, *hint, _signature(verified))
    words = (
        "Every file has the size and the sum that the bundle says, no file is missing and none is "
        "foreign. Inside the tarballs, every byte was checked along the chain from the lock over "
        "index, manifest and config to the layers."
    )
    if verified.references:
        words += (
            " Except of layers that are told by older ones, which are not in the bundle: only the "
            "sums of their files were checked here; airgapbuild load proves the rest."
        )
    return _verdict_box("whole", "The bundle is whole", tag("p", words), _signature(verified))


def _verdict_box(state: str, title: str, *children: Child) -> Markup:
    return tag(
        "section",
        tag("h2", title, id="verdict-title"),
        *children,
        id="verdict",
        class_=state,
        aria_labelledby="verdict-title",
    )


def _signature(verified: Verified) -> Markup:
    if signer := verified.signer:
        signed = tag("strong", "Signed by ", signer.principal)
        return tag("p", signed, ", who is allowed to, with the ", code(str(signer.key)), ".")
    known = "Its signature was not checked." if verified.signed else "It is not signed."
    told = " Who made it is not proven: compare the fingerprint with one that came another way."
    return tag("p", tag("strong", known), told)


def _fingerprint(sums: bytes) -> Markup:
    return section(
        "fingerprint",
        "Fingerprint",
        tag("p", digits(hashlib.sha256(sums).hexdigest()), class_="fingerprint"),
        tag(
            "p",
            "The sha256 of ",
            code(SUMS_FILE),
            ", which holds the sum of every other file. A copy is the same bundle, and whole, if ",
            code(f"sha256sum {SUMS_FILE}"),
            " prints this there and ",
            code(f"sha256sum -c {SUMS_FILE}"),
            " finds every file right.",
        ),
    )


def _builder(content: Inspected) -> Markup:
    if content.lock is None or content.lock.builder is None:
        return section("builder", "Builder", tag("p", "The bundle makes no builder."))
    rows = [(code(key), code(value)) for key, value in content.settings.items()]
    return section(
        "builder",
        "Builder",
        tag(
            "p", "What ", code("airgapbuild load"), " makes of it; all else is BuildKit's default."
        ),
        table("Settings", ("Setting", "Value"), rows, class_="settings"),
        tag("h3", "buildkitd.toml"),
        block("buildkitd.toml", render(content.lock.buildkitd).decode()),
    )


def _files(facts: Facts) -> Markup:
    found = facts.verified.files
    largest = max((file.size or 0 for file in found), default=0)
    rows = [_file(file, largest) for file in found]
    sums: list[Child] = []
    if facts.verified.sums is not None:
        text = facts.verified.sums.decode("ascii", "replace")
        sums = [tag("h3", SUMS_FILE), block(SUMS_FILE, text)]
    return section(
        "files",
        "Files",
        table("Files of the bundle", ("File and sha256", "Size", "State"), rows, class_="files"),
        *sums,
    )


def _file(file: CheckedFile, largest: int) -> tuple[Child, ...]:
    name: list[Child] = [code(file.name)]
    name += [tag("span", file.what, class_="aside")] if file.what else []
    name += [digits(file.sha256)] if file.sha256 else []
    size: Child = "none"
    if file.size is not None:
        drawn = bar([(file.size, "own")], largest)
        size = together([tag("div", size_words(file.size), class_="figure"), drawn])
    state = tag("span", file.state, class_=_STATES.get(file.state, "bad"))
    return lines(name), size, state


def _by_hand() -> Markup:
    commands = (
        f"sha256sum {SUMS_FILE}        # the fingerprint above\n"
        f"sha256sum -c {SUMS_FILE}     # OK for every file\n"
        "airgapbuild verify .         # and what is inside the tarballs\n"
    )
    return section(
        "check",
        "To check it by hand",
        tag("p", "In the bundle's folder; the first two need no airgapbuild:"),
        block("Commands", commands),
    )


def _loading(content: Inspected) -> Markup:
    platforms = sorted(
        {platform.platform for image in content.images for platform in image.platforms}
    )
    return section(
        "loading",
        "Where it can be loaded",
        tag(
            "p",
            f"On hosts of {listed(platforms)}, into Docker 20.10 or newer: ",
            code("airgapbuild load FOLDER"),
            ". It proves the bundle once more, sends only what the daemon lacks, and asks no "
            "registry.",
        ),
        tag(
            "p",
            "Without airgapbuild, each tarball by ",
            code("docker load -i FILE"),
            " (Docker 26.1 or newer), or ",
            code("zstd -dc FILE | docker load"),
            " (older).",
        ),
    )


def _footer() -> Markup:
    return tag(
        "footer",
        tag(
            "p",
            f"Written by airgapbuild {__version__} from the bundle alone. This page fetches "
            "nothing and runs nothing; the same bundle gives the same page.",
        ),
    )
