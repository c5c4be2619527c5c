from __future__ import annotations

from pathlib import Path

import pytest

from airgapbuild.builder_tables import BuilderEntry
from airgapbuild.errors import ManifestError
from airgapbuild.manifest import parse_manifest

HEAD = """version = 1
name = "b"
platforms = ["linux/amd64"]
[images.kit]
ref = "kit:1"
role = "builder"
[builder]
name = "Air"
"""
REMOTE = 'driver = "remote"\n'
PODS = 'driver = "kubernetes"\n'
PODS_IMAGE = 'driver-opts.image = "registry.inside.example/kit:1"\n'


def builder(text: str) -> BuilderEntry:
    entry = parse_manifest((HEAD + text).encode(), "m.toml", folder=Path()).builder
    assert entry is not None
    return entry


def problems(text: str) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        builder(text)
    return list(caught.value.lines)


def node(text: str) -> str:
    return f"[[builder.node]]\n{text}\n"


def test_a_builder_without_nodes_has_the_one_that_load_finds() -> None:
    entry = builder('image = "kit"')
    assert list(entry.nodes) == ["air0"]
    assert entry.endpoints == ("default",)


def test_nodes_have_names_and_settings_beside_the_builders() -> None:
    text = 'image = "kit"\nflags = ["--debug"]\ndriver-opts = { memory = "1g", network = "host" }\n'
    first = node('endpoint = "default"\nplatforms = ["linux/amd64"]')
    second = node(
        'endpoint = "tcp://arm:2375"\nname = "Farm"\nflags = ["--trace"]\n'
        'platforms = ["linux/arm64", "linux/arm"]\ndriver-opts = { memory = "2g" }'
    )
    entry = builder(text + first + second)
    assert list(entry.nodes) == ["air0", "farm"]
    assert entry.endpoints == ("default", "tcp://arm:2375")
    one, two = entry.nodes.values()
    assert (entry.flags_of(one), entry.flags_of(two)) == (("--debug",), ("--trace",))
    assert entry.options_of(one) == {"memory": "1g", "network": "host"}
    assert entry.options_of(two) == {"memory": "2g", "network": "host"}


@pytest.mark.parametrize(
    "endpoint",
    [
        *("tcp://buildkitd:1234", "docker-container://buildkitd", "unix:///run/buildkit/b.sock"),
        *("kube-pod://buildkitd", "kube-pod://pod?namespace=ci", "ssh://me@host"),
    ],
)
def test_a_remote_builder_is_where_somebody_else_runs_it(endpoint: str) -> None:
    entry = builder(REMOTE + node(f'endpoint = "{endpoint}"'))
    assert list(entry.nodes) == ["air0"]
    assert entry.endpoints == ()


def test_pods_need_no_endpoint() -> None:
    entry = builder(PODS + PODS_IMAGE + node('name = "arm"') + node('platforms = ["linux/amd64"]'))
    assert list(entry.nodes) == ["arm", "air1"]
    assert entry.endpoints == ()


@pytest.mark.parametrize("endpoint", ["default", "farm-1", "unix:///run/d.sock", "ssh://me@host"])
def test_a_node_is_on_a_daemon(endpoint: str) -> None:
    assert builder('image = "kit"\n' + node(f'endpoint = "{endpoint}"')).endpoints == (endpoint,)


KIT = 'image = "kit"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "m.toml:7: builder.image: is missing"),
        (
            'driver = "pods"',
            "m.toml:9: builder.driver: must be 'docker-container', 'kubernetes' or 'remote', "
            "not 'pods'",
        ),
        (
            KIT + '[builder.driver-opts]\nnetwork = "host"\nmemori = "1g"',
            "m.toml:12: builder.driver-opts.memori: no option of the docker-container driver in "
            "buildx up to 0.38, did you mean 'memory'?",
        ),
        (
            KIT + 'driver-opts = { memory = "lots" }',
            "m.toml:10: builder.driver-opts.memory: must be a size: 512MB, 2GB, or bytes, "
            "not 'lots'",
        ),
        (
            KIT + 'driver-opts.image = "moby/buildkit"',
            "m.toml:10: builder.driver-opts.image: comes from [builder] image: leave it out",
        ),
        (
            KIT + 'flags = ["--debug", "--config=/etc/b.toml"]',
            "m.toml:10: builder.flags.1: '--config' is taken: write [buildkitd] instead",
        ),
        (
            KIT + 'flags = ["--debug --trace"]',
            "m.toml:10: builder.flags.0: '--debug --trace' is no flag of buildkitd: write "
            '"--debug", or "--root=/path"',
        ),
        (
            KIT + node('name = "x"'),
            "m.toml:10: builder.node.0.endpoint: is missing",
        ),
        (
            KIT + node('endpoint = "https://host"'),
            "m.toml:11: builder.node.0.endpoint: 'https://host' is no daemon: write a docker "
            "context, or unix:///PATH, tcp://host:port, ssh://HOST",
        ),
        (
            KIT + node('endpoint = "farm"') + node('endpoint = "farm"'),
            "m.toml:13: builder.node.1.endpoint: 'farm' is that of another node, number 1",
        ),
        (
            KIT + node('endpoint = "a1"\nname = "Air1"') + node('endpoint = "a2"'),
            "m.toml:13: builder.node.1.name: 'air1' is that of another node, number 1",
        ),
        (
            KIT
            + node('endpoint = "a1"\nplatforms = ["linux/arm64"]')
            + node('endpoint = "a2"\nplatforms = ["linux/amd64", "linux/arm64"]'),
            "m.toml:15: builder.node.1.platforms.1: 'linux/arm64' is that of another node, "
            "number 1",
        ),
        (
            KIT + node('endpoint = "a1"\ndriver-opts = { restart = "no" }'),
            "m.toml:12: builder.node.0.driver-opts.restart: no option of the docker-container "
            "driver in buildx up to 0.38, did you mean 'restart-policy'?",
        ),
        (
            REMOTE,
            'm.toml:9: builder.driver: remote needs a [[builder.node]] with endpoint = "tcp://'
            'host:port"',
        ),
        (
            REMOTE + KIT + node('endpoint = "tcp://b:1"'),
            "m.toml:10: builder.image: is not for the remote driver: its buildkitd runs already, "
            "as somebody else set it up",
        ),
        (
            REMOTE + "sealed = true\n" + node('endpoint = "tcp://b:1"'),
            "m.toml:10: builder.sealed: is not for the remote driver: its buildkitd runs already, "
            "as somebody else set it up",
        ),
        (
            REMOTE + node('endpoint = "tcp://b:1"\nflags = ["--debug"]'),
            "m.toml:12: builder.node.0.flags: is not for the remote driver",
        ),
        (
            REMOTE + node('endpoint = "tcp://b:1"') + "[buildkitd.log]\nlevel = 'debug'",
            "m.toml:9: builder.driver: a remote buildkitd takes no file: leave [buildkitd] out",
        ),
        (
            REMOTE + node('endpoint = "farm"'),
            "m.toml:11: builder.node.0.endpoint: 'farm' is no buildkitd: write tcp://host:port or "
            "docker-container://NAME, unix:///PATH, ssh://HOST, kube-pod://NAME",
        ),
        (
            REMOTE + 'driver-opts = { cert = "/c.pem" }\n' + node('endpoint = "tcp://b:1"'),
            "m.toml:10: builder.driver-opts: cert needs cacert and key, too",
        ),
        (
            PODS,
            'm.toml:7: builder.driver-opts: needs image = "registry.inside.example/moby/buildkit:'
            'v0.34.2": the pods pull it from a registry of the site, not from what is loaded here',
        ),
        (
            PODS + PODS_IMAGE + 'driver-opts."qemu.install" = "true"',
            'm.toml:11: builder.driver-opts."qemu.install": needs qemu.image, too, or that image '
            "is pulled from docker.io",
        ),
        (
            PODS + PODS_IMAGE + node('endpoint = "farm"'),
            "m.toml:12: builder.node.0.endpoint: is not for the kubernetes driver: kubeconfig "
            "names the cluster",
        ),
    ],
)
def test_what_does_not_go_together_is_told_with_its_place(text: str, told: str) -> None:
    assert problems(text) == [told]


@pytest.mark.parametrize(
    "text",
    [
        'image = "kit"\nnode = 3',
        'image = "kit"\nnode = ["x"]',
        'image = "kit"\nnode = [{ endpoint = 3, platforms = 4, driver-opts = 5, flags = 6 }]',
        'image = "kit"\ndriver-opts = ["x"]',
        'image = "kit"\ndriver-opts = { memory = 5 }',
        'image = "kit"\nflags = [3]',
        "driver = 3",
    ],
)
def test_what_is_of_another_type_is_told_once(text: str) -> None:
    lines = problems(text)
    assert all(line.startswith("m.toml:") for line in lines)
    assert len(lines) == len({line.split(": ")[1] for line in lines})
