"""The tables [builder] and [[builder.node]], and what in them does not go together.

Source: docker/buildx builder/builder.go (`Create`), store/nodegroup.go (`validateDuplicates`),
driver/remote/util/endpoint.go.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, get_args

from pydantic import AfterValidator, Field

from airgapbuild.document import Many, Table
from airgapbuild.drivers import Driver, flag_problem, option_problem
from airgapbuild.oci.platform import PlatformField

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airgapbuild.document import Document

    _Problem = tuple[tuple[str | int, ...], str]

DEFAULT_ENDPOINT: Final = "default"
"""Whatever daemon docker's environment names."""

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9._-]*", re.ASCII)
_DAEMON = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.+-]+|(unix:///|tcp://|ssh://)[^\s?#]+", re.ASCII)
_BUILDKITD = re.compile(
    r"(tcp://|unix:///|ssh://|docker-container://|kube-pod://)[^\s/][^\s]*", re.ASCII
)
_TLS: Final = ("cacert", "cert", "key", "servername")
_TRUE: Final = ("1", "t", "T")  # what Go's true begins with


def builder_name(text: str) -> str:
    """The name of a buildx builder that `text` is.

    Raises:
        ValueError: it is none; "default" is the name of the context's own.

    Source: docker/buildx store/util.go, `ValidateName`.
    """
    if not _NAME.fullmatch(text) or text.lower() == "default":
        raise ValueError(
            f"'{text}' is no builder name: a letter, then letters, digits, '.', '-' or '_', "
            "and not 'default'"
        )
    return text


class NodeEntry(Table):
    """One of several places where the builder runs."""

    endpoint: str | None = Field(
        default=None,
        description='docker-container: a docker context, "default" or a daemon\'s URL. '
        "remote: a buildkitd's URL. kubernetes: none.",
    )
    name: Annotated[str, AfterValidator(builder_name)] | None = Field(
        default=None, description="The node's name; the builder's with a number unless given."
    )
    platforms: Many[PlatformField] = Field(
        default=(), description="What is built here, where it is not left to the node to say."
    )
    driver_opts: dict[str, str] = Field(
        default={}, description="Options beside the builder's, or in their place."
    )
    flags: Many[str] = Field(default=(), description="Flags in place of the builder's.")


class BuilderEntry(Table):
    """The buildx builder that `load` makes."""

    name: Annotated[str, AfterValidator(builder_name)] = Field(
        description="The builder's name, as in docker buildx ls."
    )
    driver: Driver = Field(
        default="docker-container",
        description="Who runs buildkitd: docker-container, kubernetes or remote.",
    )
    image: str | None = Field(
        default=None, description="Which image it runs: a key of [images], of role builder."
    )
    sealed: bool = Field(
        default=False,
        description="Look-ups outside the buildkitd mirrors fail at once instead of stalling.",
    )
    driver_opts: dict[str, str] = Field(
        default={}, description="Options of buildx's driver; values are strings."
    )
    flags: Many[str] = Field(default=(), description="Flags for buildkitd.")
    node: Many[NodeEntry] = Field(
        default=(), description="Where it runs; on the daemon that `load` finds, unless given."
    )

    @property
    def nodes(self) -> dict[str, NodeEntry]:
        """Its nodes by name: the given ones, else the one on the daemon of `load`."""
        given = self.node or (NodeEntry(),)
        return {_node_name(self.name, node.name, n): node for n, node in enumerate(given)}

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The daemons that its nodes run on, in their order; none where they run elsewhere."""
        if self.driver != "docker-container":
            return ()
        return tuple(node.endpoint or DEFAULT_ENDPOINT for node in self.nodes.values())

    def options_of(self, node: NodeEntry) -> dict[str, str]:
        """The driver options of a node."""
        return {**self.driver_opts, **node.driver_opts}

    def flags_of(self, node: NodeEntry) -> tuple[str, ...]:
        """The flags of a node's buildkitd."""
        return node.flags or self.flags


def builder_problems(document: Document) -> list[tuple[int, str]]:
    """What in the builder's tables does not go together, of a manifest or a lock.

    What validation of each table reports is left to it.
    """
    builder = document.values.get("builder")
    if not isinstance(builder, dict):
        return []
    driver = builder.get("driver", "docker-container")
    if driver not in get_args(Driver):
        return []
    nodes = _nodes(builder)
    problems = [
        *_driver_problems(driver, builder, has_buildkitd=bool(document.values.get("buildkitd"))),
        *_table_problems(driver, (), builder),
        *(it for n, node in nodes for it in _table_problems(driver, ("node", n), node)),
        *_endpoint_problems(driver, nodes),
        *_double_problems(builder, nodes),
        *(it for n, node in nodes or [(0, {})] for it in _option_problems(driver, builder, node)),
    ]
    return [document.problem(("builder", *path), what) for path, what in problems]


def _nodes(builder: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    nodes = builder.get("node")
    listed = nodes if isinstance(nodes, list) else []
    return [(n, node) for n, node in enumerate(listed) if isinstance(node, dict)]


def _driver_problems(
    driver: Driver, builder: dict[str, Any], *, has_buildkitd: bool
) -> Iterator[_Problem]:
    if driver == "docker-container" and "image" not in builder:
        yield ("image",), "is missing"
    if driver != "remote":
        return
    what = "is not for the remote driver: its buildkitd runs already, as somebody else set it up"
    yield from (((key,), what) for key in ("image", "sealed", "flags") if builder.get(key))
    if has_buildkitd:
        yield ("driver",), "a remote buildkitd takes no file: leave [buildkitd] out"
    if not builder.get("node"):
        yield ("driver",), 'remote needs a [[builder.node]] with endpoint = "tcp://host:port"'


def _table_problems(
    driver: Driver, path: tuple[str | int, ...], table: dict[str, Any]
) -> Iterator[_Problem]:
    """Problems of options and flags, of the builder or one of its nodes."""
    for name, value in _texts(table.get("driver-opts")).items():
        place = (*path, "driver-opts", name)
        if name == "image" and driver == "docker-container":
            yield place, "comes from [builder] image: leave it out"
        elif problem := option_problem(driver, name, value):
            yield place, problem
    flags = table.get("flags")
    for n, flag in enumerate(flags if isinstance(flags, list) else []):
        if isinstance(flag, str) and (problem := flag_problem(flag, is_first=n == 0)):
            yield (*path, "flags", n), problem
    if path and driver == "remote" and flags:
        yield (*path, "flags"), "is not for the remote driver"


def _endpoint_problems(
    driver: Driver, nodes: list[tuple[int, dict[str, Any]]]
) -> Iterator[_Problem]:
    for n, node in nodes:
        path, endpoint = ("node", n, "endpoint"), node.get("endpoint")
        if driver == "kubernetes":
            if endpoint is not None:
                yield path, "is not for the kubernetes driver: kubeconfig names the cluster"
        elif endpoint is None:
            yield path, "is missing"
        elif not isinstance(endpoint, str):
            continue
        elif driver == "remote" and not _BUILDKITD.fullmatch(endpoint):
            yield path, f"'{endpoint}' is no buildkitd: write tcp://host:port or {_OTHERS}"
        elif driver == "docker-container" and not _DAEMON.fullmatch(endpoint):
            yield path, f"'{endpoint}' is no daemon: write a docker context, or {_DAEMONS}"


_OTHERS = "docker-container://NAME, unix:///PATH, ssh://HOST, kube-pod://NAME"
_DAEMONS = "unix:///PATH, tcp://host:port, ssh://HOST"


def _double_problems(
    builder: dict[str, Any], nodes: list[tuple[int, dict[str, Any]]]
) -> Iterator[_Problem]:
    """What two nodes cannot both have: an endpoint, a name, a platform that they are given."""
    seen: dict[tuple[str, str], int] = {}
    for n, node in nodes:
        name, platforms = node.get("name"), node.get("platforms")
        claims = [
            (("endpoint",), str(node.get("endpoint") or n)),
            (("name",), _node_name(str(builder.get("name")), name, n)),
            *((("platforms", i), str(it)) for i, it in enumerate(_list(platforms))),
        ]
        for path, value in claims:
            other = seen.setdefault((str(path[0]), value), n)
            if other != n:
                yield ("node", n, *path), f"'{value}' is that of another node, number {other + 1}"


def _option_problems(
    driver: Driver, builder: dict[str, Any], node: dict[str, Any]
) -> Iterator[_Problem]:
    """Options that need others."""
    options = {**_texts(builder.get("driver-opts")), **_texts(node.get("driver-opts"))}
    place = ("driver-opts",)
    if driver == "kubernetes":
        if not options.get("image"):
            yield place, _NEEDS_IMAGE
        if options.get("qemu.install", "")[:1] in _TRUE and not options.get("qemu.image"):
            what = "needs qemu.image, too, or that image is pulled from docker.io"
            yield (*place, "qemu.install"), what
    given = [name for name in _TLS if name in options]
    if driver == "remote" and given:
        pair = ("cert", "key") if {"cert", "key"} & set(given) else ()
        missing = [name for name in ("cacert", *pair) if name not in options]
        if missing:
            yield place, f"{given[0]} needs {' and '.join(missing)}, too"


_NEEDS_IMAGE = (
    'needs image = "registry.inside.example/moby/buildkit:v0.34.2": the pods pull it from a '
    "registry of the site, not from what is loaded here"
)


def _node_name(builder: str, name: object, number: int) -> str:
    """A node's name, as buildx gives it."""
    return (str(name) if name else f"{builder}{number}").lower()


def _texts(value: object) -> Mapping[str, str]:
    """The texts of a table; none where it is something else (reported elsewhere)."""
    table = value if isinstance(value, dict) else {}
    return {name: text for name, text in table.items() if isinstance(text, str)}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
