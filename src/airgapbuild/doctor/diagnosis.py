"""What failed in a build, told in the site's terms: what is lacking, where, and what brings it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from airgapbuild.builder.contexts import digests_by_name
from airgapbuild.doctor.emulators import mend_of
from airgapbuild.doctor.finding import Examined, Finding, ok, problem, warning
from airgapbuild.doctor.holdings import platforms_in
from airgapbuild.doctor.log import Failure, failures
from airgapbuild.errors import (
    AirgapbuildError,
    BuilderError,
    BundleError,
    DaemonError,
    RegistryError,
)
from airgapbuild.oci.digest import parse_digest
from airgapbuild.oci.reference import DOCKER_HUB
from airgapbuild.suggestion import manifest_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from airgapbuild.doctor.site import Site
    from airgapbuild.manifest import Role
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.platform import Platform
    from airgapbuild.oci.reference import Reference

AREA: Final = "build"
_SEALED: Final = re.compile(r"127\.0\.0\.1(:| port )1\b")
_SHOWN: Final = 5
"""Names that are told of those that come near."""

_EMPTY: Final = warning(
    "the log is empty",
    "docker prints its progress on stderr",
    "docker buildx build . 2>&1 | tee build.log",
)


@dataclass(frozen=True)
class Rule:
    """An error by its words, and what it means here."""

    pattern: re.Pattern[str]
    error: type[AirgapbuildError]
    explain: Callable[[Site, Failure, re.Match[str]], Finding]


def diagnose(text: str, site: Site) -> Iterator[Examined]:
    """What the log of a build says, each failure explained."""
    if not text.strip():
        yield Examined(AREA, BuilderError, _EMPTY)
        return
    found = failures(text)
    for failure in found:
        yield _explained(site, failure)
    if not found:
        yield Examined(AREA, BuilderError, ok("the log has no error of docker, buildx or BuildKit"))


def _explained(site: Site, failure: Failure) -> Examined:
    if _is_passed_by(site, failure):
        return Examined(AREA, BuilderError, _passed_by(site, failure))
    rules = (*(_OF_BOOT if failure.is_boot else _OF_IMAGES if failure.image else ()), *_RULES)
    for rule in rules:
        if match := rule.pattern.search(failure.said):
            return Examined(AREA, rule.error, rule.explain(site, failure, match))
    where = f"{failure.step}: " if failure.step else ""
    said = warning(
        f"{where}{failure.reason}", "this error is not known here: it may be the build's own"
    )
    return Examined(AREA, BuilderError, said)


def _is_passed_by(site: Site, failure: Failure) -> bool:
    """Whether the layout has an image that was looked for elsewhere."""
    image = failure.image
    return (
        image is not None
        and not failure.is_of_layout
        and image.familiar.removesuffix(":latest") in _names(site)
    )


def _passed_by(site: Site, failure: Failure) -> Finding:
    return problem(
        f"{_shown(failure)} is in {site.layout.path}, but the build did not look there",
        f"it takes from a layout what --build-context names; elsewhere: {_last(failure.reason)}",
        f"airgapbuild build{site.layout_option} …, in place of docker buildx build …\n"
        f"or: docker buildx build $(airgapbuild contexts{site.layout_option}) …",
    )


def _absent(site: Site, failure: Failure, _match: re.Match[str]) -> Finding:
    """An image that the build asked a registry for, and no registry answers."""
    image = failure.image
    why = (
        "the builder is sealed: what is not in the layout is not looked for outside"
        if _SEALED.search(failure.reason)
        else f"no registry answers: {_last(failure.reason)}"
    )
    what = f"{_shown(failure)} is not in {site.layout.path}{_near(site, image) if image else ''}"
    if image and site.lock and any(image in locked.names for locked in site.lock.image):
        return problem(f"{what}, though it is locked", why, site.load)
    return problem(what, why, f"{_to_add(site, failure)}{_or_inside(failure)}")


def _or_inside(failure: Failure) -> str:
    """What lets a sealed builder ask the image's registry, where that is inside."""
    image = failure.image
    if image is None or image.registry == DOCKER_HUB or not _SEALED.search(failure.reason):
        return ""
    return (
        f"\n# or, where {image.registry} is inside and reachable:\n"
        f'[buildkitd.registry."{image.registry}"]'
    )


def _to_add(site: Site, failure: Failure, platforms: Iterable[Platform] = ()) -> str | None:
    """The lines that bring the image, and what to do with them."""
    if failure.image is None:
        return None
    role: Role = "frontend" if failure.is_frontend else "base"
    locked = {image.name: image for image in site.lock.image} if site.lock else {}
    own = {name for name, image in locked.items() if failure.image in image.names}
    lines = manifest_lines(failure.image, role, platforms, locked.keys() - own)
    return f"{lines}# in airgapbuild.toml; then lock, export, and here: {site.load}"


def _near(site: Site, image: Reference) -> str:
    """What the layout has of the same repository, for who meant that."""
    images = _images(site)
    of_it = sorted(name for name in images if name.name == image.name)
    same_tag = [name for name in of_it if name.tag == image.tag and image.digest]
    if same_tag:
        return f", which has {same_tag[0].familiar} as {images[same_tag[0]]}"
    shown = ", ".join(name.familiar for name in of_it[:_SHOWN])
    return f", which has {shown}" if shown else ""


def _names(site: Site) -> frozenset[str]:
    """The names that builds can be told to take from the layout."""
    return frozenset(digests_by_name(site.layout)) if _images(site) else frozenset()


def _images(site: Site) -> dict[Reference, Digest]:
    """The layout's images; none where it cannot be read, which the checks tell."""
    try:
        return site.layout.images()
    except (AirgapbuildError, OSError):
        return {}


def _last(reason: str) -> str:
    """The end of a chain of errors, which is its cause."""
    return ": ".join(reason.rsplit(": ", 2)[-2:])


def _host(failure: Failure) -> str:
    """The host that answered, as the error names it; else the image's own."""
    found = re.search(r"https?://([^/\"]+)/", failure.reason)
    return found[1] if found else failure.image.registry if failure.image else "the registry"


def _shown(failure: Failure) -> str:
    """The image, or the step that needs it, where the log says either."""
    return (failure.image.familiar if failure.image else failure.step) or "an image of this build"


def _platform(site: Site, failure: Failure, _match: re.Match[str]) -> Finding:
    image, images = failure.image, _images(site)
    here = platforms_in(site.layout, images[image]) if image in images else ()
    shown = f" for {', '.join(map(str, here))} only" if here else ""
    return problem(
        f"{_shown(failure)} is there{shown}, and the build is for another platform",
        "each platform of an image is content of its own",
        f"{_to_add(site, failure, here)}\n# with the platform that is missing in `platforms`",
    )


def _cut(site: Site, failure: Failure, match: re.Match[str]) -> Finding:
    folder = site.layout.path
    if site.layout.blob_path(parse_digest(match[1])).is_file():
        return problem(
            f"{match[1]} was not where {_shown(failure)} was looked for; {folder} has it",
            "the build was told of another folder, or it was loaded meanwhile",
            f"airgapbuild build{site.layout_option} …, "
            f"or: docker buildx build $(airgapbuild contexts{site.layout_option}) …",
        )
    return problem(
        f"{folder} lacks {match[1]}, which {_shown(failure)} needs",
        "an image is named there of which this part has gone",
        site.load,
    )


def _damaged(site: Site, _failure: Failure, match: re.Match[str]) -> Finding:
    if site.layout.blob_path(parse_digest(match[1])).is_file():
        return problem(
            f"{site.layout.path}: {match[1]} is damaged",
            "it has the right size, and other bytes than were loaded",
            site.load,
        )
    return problem(
        f"what came as {match[1]} is something else",
        "the registry or mirror that was asked has it damaged, or something on the way changed it",
        "build again; where it stays so, push the image there again",
    )


def _denied_by_policy(_site: Site, failure: Failure, _match: re.Match[str]) -> Finding:
    return problem(
        f"{_shown(failure)} is denied by the source policy",
        "a sealed policy allows what the lock names, and no other image",
        "unset EXPERIMENTAL_BUILDKIT_SOURCE_POLICY, or lock the image and load the policy anew",
    )


def _unknown_authority(_site: Site, failure: Failure, _match: re.Match[str]) -> Finding:
    host = _host(failure)
    return problem(
        f"{host}: BuildKit does not trust its certificate",
        "the builder's container has no CA but the public ones, whatever this machine trusts",
        f'[buildkitd.registry."{host}"]\nca = "certs/{host}.pem"  # or: insecure = true',
    )


def _plain_http(_site: Site, failure: Failure, _match: re.Match[str]) -> Finding:
    host = _host(failure)
    return problem(
        f"{host} speaks plain http, and BuildKit asks it by https",
        "http must be said for the very host, a mirror as well",
        f'[buildkitd.registry."{host}"]\nhttp = true',
    )


def _tls(_site: Site, failure: Failure, _match: re.Match[str]) -> Finding:
    host = _host(failure)
    return problem(
        f"{host} refuses plain http: it may want https",
        "BuildKit takes plain http for loopback hosts, unless it is told otherwise",
        f'[buildkitd.registry."{host}"]\nhttp = false',
    )


def _login(_site: Site, failure: Failure, _match: re.Match[str]) -> Finding:
    host = _host(failure)
    return problem(
        f"{host} does not give {_shown(failure)} to whoever builds",
        "it wants a login, or has no such repository and does not say so",
        f"docker login {host}",
    )


def _busy(_site: Site, failure: Failure, _match: re.Match[str]) -> Finding:
    return problem(
        f"{_host(failure)} answers no more requests for now (429, too many)",
        "it counts every look-up of a tag, whether or not the image is there already",
        "bundle the image, and build with airgapbuild build: then no registry is asked",
    )


def _not_there(site: Site, failure: Failure, _match: re.Match[str]) -> Finding:
    return problem(
        f"{_host(failure)}, or a mirror of it, answers, and has no {_shown(failure)}",
        "neither the layout nor the registry inside has it",
        _to_add(site, failure),
    )


def _broken_registry(_site: Site, failure: Failure, match: re.Match[str]) -> Finding:
    return problem(
        f"{_host(failure)} answers with {match[1]}",
        "the registry itself, or what stands before it, does not work",
        "its own log says why",
    )


def _emulator(site: Site, failure: Failure, _match: re.Match[str]) -> Finding:
    return problem(
        f"{failure.step}: a program of another platform, and nothing here runs it",
        "the kernel has no emulator for it (binfmt_misc), nor the builder's image "
        "(buildkit-qemu-*, which moby/buildkit's own images have)",
        mend_of(site),
    )


def _fetches(_site: Site, failure: Failure, _match: re.Match[str]) -> Finding:
    return problem(
        f"{failure.step or failure.reason}: fetches from outside",
        "the builder is sealed: no host but its mirrors is reached",
        "bring the content along in the build context; of a host inside, in airgapbuild.toml:\n"
        "[builder.driver-opts]\n"
        '"env.NO_PROXY" = "127.0.0.1,::1,localhost,HOST"',
    )


def _step_asks(_site: Site, failure: Failure, match: re.Match[str]) -> Finding:
    return problem(
        f"{failure.step}: the step itself asks the network: {match[1].strip()}",
        "what a step downloads comes from no layout and no mirror of the builder",
        "use a mirror inside in that step, or a base image that has it: build it on the connected "
        "side,\nand bundle it by oci-layout:FOLDER",
    )


def _by_load(what: str, why: str) -> Callable[[Site, Failure, re.Match[str]], Finding]:
    """A problem that loading mends."""
    return lambda site, _failure, match: problem(match.expand(what), why, site.load)


def _by(what: str, why: str, mend: str) -> Callable[[Site, Failure, re.Match[str]], Finding]:
    """A problem that a line mends; what the pattern found is put in."""
    return lambda _site, _failure, match: problem(match.expand(what), why, match.expand(mend))


def _rule(
    pattern: str,
    error: type[AirgapbuildError],
    explain: Callable[[Site, Failure, re.Match[str]], Finding],
) -> Rule:
    return Rule(re.compile(pattern), error, explain)


_OF_IMAGES: Final = (
    _rule(r"no match for platform", BundleError, _platform),
    _rule(r"desc = content (sha256:[0-9a-f]{64}): not found", BundleError, _cut),
    _rule(r"denied by policy|due to policy", BuilderError, _denied_by_policy),
    _rule(r"x509: ", RegistryError, _unknown_authority),
    _rule(r"server gave HTTP response to HTTPS client", RegistryError, _plain_http),
    _rule(r"http://\S+: 400 Bad Request", RegistryError, _tls),
    _rule(r"toomanyrequests|429 Too Many Requests", RegistryError, _busy),
    _rule(
        r"pull access denied|insufficient_scope|40[13] (Unauthorized|Forbidden)|no basic auth",
        RegistryError,
        _login,
    ),
    _rule(r": (5\d\d [A-Z][\w ]+)", RegistryError, _broken_registry),
    _rule(r": not found$", RegistryError, _not_there),
    _rule(
        r"proxyconnect|dial tcp|i/o timeout|deadline exceeded|connection (refused|reset)|"
        r"unreachable|no route to host|failed to do request",
        BundleError,
        _absent,
    ),
)
"""What a registry, or the layout, says of an image that a build names."""

_NO_NETWORK: Final = (
    r"bad address|[Cc]ould not resolve|[Tt]emporary failure (?:in name resolution|resolving)|"
    r"[Nn]ame or service not known|[Ff]ailed to establish a new connection|"
    r"[Nn]etwork (?:is )?unreachable|ENOTFOUND|EAI_AGAIN|dial tcp|[Cc]onnection timed out|"
    r"[Cc]ould(?:n't| not) connect"
)
"""What wget, curl, apt, pip, npm and Go say where there is no network."""

_OF_BOOT: Final = (
    _rule(
        r"failed to resolve reference \"(\S+)\"|(127\.0\.0\.1:1/\S+?)[\s:,]",
        BuilderError,
        _by_load(
            "the builder's image is not in the daemon, and is not to be had elsewhere",
            "buildx pulls it, and takes the daemon's own where that fails",
        ),
    ),
)

_RULES: Final = (
    _rule(r"exec format error", BuilderError, _emulator),
    _rule(r"desc = content (sha256:[0-9a-f]{64}): not found", BundleError, _cut),
    _rule(r"unexpected commit digest \S+, expected (sha256:[0-9a-f]{64})", BundleError, _damaged),
    _rule(
        r"TLS data loaded from environment",
        BuilderError,
        _by_load(
            "`docker buildx create` takes no TLS from the environment",
            "a builder that it made would have no certificates; the one of airgapbuild has them",
        ),
    ),
    _rule(
        r'no builder "([^"]*)" found',
        BuilderError,
        _by_load(r"buildx knows no builder '\1'", "it was not loaded for this user and this home"),
    ),
    _rule(
        r"unsupported source scheme: oci-layout",
        BuilderError,
        _by(
            "buildx's own policy stops builds that take images from a layout",
            "BUILDX_DEFAULT_POLICY is on, and buildx has no input for it but registries",
            "export BUILDX_DEFAULT_POLICY=0",
        ),
    ),
    _rule(
        r"invalid driver option (\S+) for (\S+) driver",
        BuilderError,
        _by(
            r"this buildx does not know the option '\1' of the driver \2",
            "options came with releases of buildx, and an unknown one stops every command",
            r"put a newer docker-buildx into ~/.docker/cli-plugins, or leave out \1",
        ),
    ),
    _rule(
        r"unexpected end of JSON input|^invalid character",
        BuilderError,
        _by(
            "buildx cannot read one of its files of builders",
            "it stops at the first one, whichever builder is meant",
            "airgapbuild doctor names the file",
        ),
    ),
    _rule(
        r"failed to read policy file: (.*)",
        BuilderError,
        _by(
            r"the source policy cannot be read: \1",
            "buildx reads it before each build",
            "unset EXPERIMENTAL_BUILDKIT_SOURCE_POLICY",
        ),
    ),
    _rule(
        r"client version (\S+) is too (new|old)",
        DaemonError,
        _by(
            r"the daemon does not speak API \1: too \2",
            "docker or buildx is of another time than the daemon",
            "unset DOCKER_API_VERSION; else use a docker and buildx nearer to the daemon's version",
        ),
    ),
    _rule(
        r"[Cc]annot connect to the Docker daemon|error during connect|"
        r"failed to connect to the docker API|permission denied while trying to connect",
        DaemonError,
        _by(
            "docker does not reach its daemon",
            "nothing can be built without it",
            "airgapbuild doctor, without --log, says how it was looked for",
        ),
    ),
    _rule(
        r"[Nn]o space left on device",
        DaemonError,
        _by(
            "the disk is full",
            "images, the build cache and what comes out share the daemon's data root",
            "docker buildx prune, and docker system df tells what else takes room",
        ),
    ),
    _rule(
        r"'buildx' is not a docker command|unknown command: docker buildx|buildx component is "
        r"missing|unknown shorthand flag|unknown flag: --build-context",
        BuilderError,
        _by(
            "docker has no buildx here",
            "it is a plugin of its own, and looked for in $DOCKER_CONFIG and the system's folders",
            "install docker-buildx-plugin, or put docker-buildx into ~/.docker/cli-plugins",
        ),
    ),
    _rule(
        rf"did not complete successfully(?s:.*?)\n([^\n]*(?:{_NO_NETWORK})[^\n]*)",
        BuilderError,
        _step_asks,
    ),
    _rule(
        r"The legacy builder is deprecated",
        BuilderError,
        lambda _site, _failure, _match: warning(
            "docker built with the builder before BuildKit",
            "it knows no builder of buildx and no layout, and asks registries",
            "unset DOCKER_BUILDKIT, and see to it that docker finds buildx: docker buildx version",
        ),
    ),
    _rule(_SEALED.pattern, BuilderError, _fetches),
)
"""All other errors; the first that fits counts."""
