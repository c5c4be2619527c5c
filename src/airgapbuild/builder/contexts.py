"""What a build needs to take FROM and `# syntax` from an OCI layout instead of a registry.

A builder of the docker-container driver sees no image of the daemon. BuildKit lets a named context
stand in for an image: each name that a Dockerfile may write, mapped to a digest in the layout.

Source: docker/buildx docs/reference/buildx_build.md, "--build-context"; moby/buildkit
frontend/dockerui/namedcontext.go (the name is looked up as people write it, without `:latest`) and
frontend/gateway/gateway.go (a context stands in for a frontend image, too).
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from airgapbuild.errors import BundleError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.layout import Layout
    from airgapbuild.oci.reference import Reference

_CUTS = re.compile("[:@]")
_SUBSTITUTES = re.compile(r"([$%])\{")
_SPLITS_WORDS = re.compile(r"[\s*?\[\\'\"]")


def contexts_of(layout: Layout) -> dict[str, str]:
    """What each name stands for: `oci-layout://FOLDER@DIGEST`, by names as Dockerfiles write them.

    An image that is known by tag is found by its tag, by its digest, and by both.

    Raises:
        BundleError: the layout's index.json is not one.
        UsageError: see `check_folder`.
    """
    folder = layout.path.absolute()
    digests = digests_by_name(layout)
    if digests:
        check_folder(layout)
    return {name: f"oci-layout://{folder}@{digest}" for name, digest in digests.items()}


def check_folder(layout: Layout) -> None:
    """Returns only if every buildx reads a layout at this path.

    It cuts `FOLDER@DIGEST` at a colon in the folder too, and the elder ones at each `@`. Seen with
    0.13, 0.29 and 0.38; a symbolic link is followed.

    Raises:
        UsageError: it would not.
    """
    folder = str(layout.path.absolute())
    if found := _CUTS.search(folder):
        raise UsageError(
            f"{folder}: buildx would cut the layout's path at its '{found[0]}'",
            hint="--layout or XDG_DATA_HOME names another folder, or a symbolic link to this one, "
            "without ':' and '@' in its path",
        )


def nothing_in(layout: Layout) -> BundleError:
    """The error of a layout that holds no image."""
    hint = "`airgapbuild load BUNDLE` puts base and frontend images there"
    return BundleError(f"{layout.path.absolute()}: no image lies in this layout", hint=hint)


def digests_by_name(layout: Layout) -> dict[str, Digest]:
    """The image in the layout for each name by which BuildKit may look for it.

    One with raw layers goes by the registry's digest as well as by its own.

    Raises:
        BundleError: the layout's index.json is not one.
    """
    upstream = layout.upstream()
    return {
        written: digest
        for name, digest in sorted(layout.images().items())
        for known in dict.fromkeys((digest, upstream.get(name, digest)))
        for written in _written(name, known)
    }


def as_flags(contexts: Mapping[str, str]) -> list[str]:
    """The options of `docker buildx build`."""
    return [word for name in contexts for word in ("--build-context", f"{name}={contexts[name]}")]


def as_words(contexts: Mapping[str, str]) -> str:
    """The same options for `$(…)` of a shell, a line each.

    Raises:
        UsageError: the folder's name would be split into words or expanded there.
    """
    lines = [f"--build-context {name}={source}" for name, source in contexts.items()]
    if odd := next((source for source in contexts.values() if _SPLITS_WORDS.search(source)), None):
        hint = "use `airgapbuild build`, or `load --layout` and `contexts --layout` with another"
        raise UsageError(f"a shell would split the layout's folder in {odd}", hint=hint)
    return "".join(f"{line}\n" for line in lines)


def as_bake(contexts: Mapping[str, str], targets: Iterable[str]) -> str:
    """A second file for `docker buildx bake`, for these targets.

    Source: HCL, json/spec.md: strings are templates.
    """
    plain = {name: _SUBSTITUTES.sub(r"\1\1{", contexts[name]) for name in contexts}
    return _json({"target": {target: {"contexts": plain} for target in targets}})


def as_compose(contexts: Mapping[str, str], services: Iterable[str]) -> str:
    """A second file for `docker compose build`, for these services (YAML takes JSON).

    Source: Compose file reference, "Interpolation": two dollars are one.
    """
    build = {"additional_contexts": {name: contexts[name].replace("$", "$$") for name in contexts}}
    return _json({"services": {service: {"build": build} for service in services}})


def _written(name: Reference, digest: Digest) -> tuple[str, ...]:
    forms = (name, replace(name, digest=digest), name.with_digest(digest))
    return tuple(form.context_name for form in forms)


def _json(document: object) -> str:
    return json.dumps(document, indent=2) + "\n"
