from __future__ import annotations

import hashlib
import json
import multiprocessing
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airgapbuild.builder.instance import MARK, Instance, InstanceStore, Node
from airgapbuild.errors import BuilderError
from airgapbuild.oci.platform import parse_platform

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

NODE = Node(
    name="airgap0",
    endpoint="default",
    driver_opts={MARK: "1", "image": "127.0.0.1:1/airgapbuild/buildkit:v1"},
    flags=("--allow-insecure-entitlement=network.host",),
    files={"buildkitd.toml": b"debug = true\n"},
)
INSTANCE = Instance("Airgap", (NODE,))
EXPECTED = (
    '{"Name":"Airgap","Driver":"docker-container","Nodes":[{"Name":"airgap0","Endpoint":"default",'
    '"Platforms":null,"DriverOpts":{"env.AIRGAPBUILD_CONFIG":"1",'
    '"image":"127.0.0.1:1/airgapbuild/buildkit:v1"}'
    ',"Flags":["--allow-insecure-entitlement=network.host"],'
    '"Files":{"buildkitd.toml":"ZGVidWcgPSB0cnVlCg=="}}],"Dynamic":false}'
)


def one(name: str = "airgap", **options: str) -> Instance:
    """A builder of one node with these driver options."""
    return Instance(name, (Node(f"{name}0", "default", options),))


@pytest.fixture
def store(tmp_path: Path) -> InstanceStore:
    return InstanceStore.of({"DOCKER_CONFIG": str(tmp_path)})


def put(store: InstanceStore, name: str, content: str) -> Path:
    path = store.folder / "instances" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_the_document_is_go_s(store: InstanceStore) -> None:
    assert INSTANCE.document().decode() == EXPECTED


def test_what_is_empty_is_null_as_in_go() -> None:
    node = json.loads(one().document())["Nodes"][0]
    assert [node[key] for key in ("DriverOpts", "Flags", "Files")] == [None, None, None]


def test_go_escapes_more_than_json_asks_for() -> None:
    document = one(**{"env.X": 'a&b<c>"é\u2028\n'}).document()
    assert rb'"env.X":"a\u0026b\u003cc\u003e\"' + "é".encode() + rb'\u2028\n"' in document


def test_the_container_is_named_after_the_node() -> None:
    assert NODE.container == "buildx_buildkit_airgap0"


def test_platforms_and_several_nodes_are_written_as_in_go() -> None:
    arm = replace(NODE, name="arm", platforms=(parse_platform("linux/arm"),), files={})
    document = Instance("b", (replace(NODE, name="b0"), arm)).document()
    nodes = json.loads(document)["Nodes"]
    assert [(node["Name"], bool(node["Platforms"])) for node in nodes] == [
        ("b0", False),
        ("arm", True),
    ]
    assert nodes[0]["Platforms"] == []
    assert b'"Platforms":[{"architecture":"arm","os":"linux","variant":"v7"}],"Driver' in document


def test_the_store_is_where_buildx_has_it(tmp_path: Path) -> None:
    docker = {"HOME": "/home/me", "DOCKER_CONFIG": "/config"}
    assert InstanceStore.of({"HOME": "/home/me"}).folder == Path("/home/me/.docker/buildx")
    assert InstanceStore.of(docker).folder == Path("/config/buildx")
    assert InstanceStore.of(docker | {"BUILDX_CONFIG": "/buildx"}).folder == Path("/buildx")


def test_a_builder_is_written_for_its_owner_only(store: InstanceStore) -> None:
    assert store.write(INSTANCE)
    path = store.folder / "instances" / "airgap"
    assert path.read_text() == EXPECTED
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert sorted(p.name for p in store.folder.iterdir()) == [".lock", "instances"]


def test_a_builder_is_read_by_any_spelling(store: InstanceStore) -> None:
    assert store.read("airgap") is None
    store.write(INSTANCE)
    stored = store.read("AIRGAP")
    assert stored is not None
    assert (stored.name, stored.driver) == ("Airgap", "docker-container")
    [node] = stored.nodes
    assert (node.name, node.endpoint, stored.is_marked) == ("airgap0", "default", True)
    assert stored.document == EXPECTED.encode()


def test_an_equal_builder_is_left_byte_for_byte(store: InstanceStore) -> None:
    path = put(store, "airgap", json.dumps(json.loads(EXPECTED), indent=1, sort_keys=True))
    before = path.stat()
    assert store.holds(INSTANCE)
    assert not store.write(INSTANCE)
    assert path.stat() == before


def test_another_builder_of_ours_is_replaced(store: InstanceStore) -> None:
    store.write(one(image="old", **{MARK: "0"}))
    assert not store.holds(INSTANCE)
    assert store.write(INSTANCE)
    assert store.holds(INSTANCE)


def test_a_builder_of_another_driver_is_not_touched(store: InstanceStore) -> None:
    content = EXPECTED.replace("docker-container", "kubernetes")
    path = put(store, "airgap", content)
    with pytest.raises(BuilderError, match="exists with driver kubernetes") as refused:
        store.write(INSTANCE)
    assert "docker buildx rm Airgap" in (refused.value.hint or "")
    assert path.read_text() == content


def test_a_builder_that_somebody_else_made_is_not_touched(store: InstanceStore) -> None:
    path = put(store, "airgap", EXPECTED.replace(MARK, "env.OTHER"))
    before = path.read_bytes()
    with pytest.raises(BuilderError, match="builder 'Airgap' exists, and is not airgapbuild's"):
        store.write(INSTANCE)
    assert path.read_bytes() == before


def test_a_node_that_somebody_added_makes_a_builder_theirs(store: InstanceStore) -> None:
    document = json.loads(EXPECTED)
    document["Nodes"].append({**document["Nodes"][0], "Name": "farm1", "DriverOpts": None})
    put(store, "airgap", json.dumps(document))
    with pytest.raises(BuilderError, match="is not airgapbuild's"):
        store.write(INSTANCE)


def test_nodes_of_ours_come_and_go(store: InstanceStore) -> None:
    two = Instance("Airgap", (NODE, replace(NODE, name="farm", endpoint="farm")))
    assert store.write(INSTANCE)
    assert store.write(two)
    assert store.write(INSTANCE)
    assert (store.folder / "instances/airgap").read_text() == EXPECTED


def test_a_driver_that_keeps_no_mark_goes_by_nodes_and_endpoints(store: InstanceStore) -> None:
    node = Node("far0", "tcp://far:1234")
    store.write(Instance("far", (node,), "remote"))
    changed = Instance("far", (replace(node, driver_opts={"default-load": "true"}),), "remote")
    assert store.write(changed)
    with pytest.raises(BuilderError, match="is not airgapbuild's"):
        store.write(Instance("far", (replace(node, endpoint="tcp://other:1234"),), "remote"))


@pytest.mark.parametrize(
    ("content", "flaw"),
    [
        ("", "Expecting value: line 1 column 1"),
        ("{", "Expecting property name"),
        ("[]", "it has another form"),
        ('{"Name":"x"}', "it lacks 'Nodes'"),
    ],
)
def test_a_broken_file_is_told_with_its_path(store: InstanceStore, content: str, flaw: str) -> None:
    path = put(store, "airgap", content)
    with pytest.raises(BuilderError, match=f"not a buildx builder: {flaw}") as refused:
        store.write(INSTANCE)
    assert f"rm {path}" in (refused.value.hint or "")


@pytest.mark.parametrize("name", ["", "1st", "a b", "../a", "default", "Default", "é"])
def test_a_name_that_buildx_refuses_is_refused(store: InstanceStore, name: str) -> None:
    with pytest.raises(BuilderError, match="is no builder name"):
        store.write(one(name))


def test_a_docker_context_s_name_is_taken(tmp_path: Path, store: InstanceStore) -> None:
    folder = tmp_path / "contexts" / "meta" / hashlib.sha256(b"remote").hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text("{}")
    with pytest.raises(BuilderError, match="'remote' is the name of a docker context"):
        store.write(one("remote"))


def test_the_current_builder_is_kept_by_endpoint(store: InstanceStore) -> None:
    assert store.make_current(INSTANCE, "unix:///var/run/docker.sock")
    current = store.folder / "current"
    assert current.read_text() == (
        '{"Key":"unix:///var/run/docker.sock","Name":"Airgap","Global":false}'
    )
    assert stat.S_IMODE(current.stat().st_mode) == 0o600
    assert not store.make_current(INSTANCE, "unix:///var/run/docker.sock")
    assert store.make_current(INSTANCE, "tcp://docker:2376")


def test_a_default_builder_ends_as_with_buildx_use(store: InstanceStore) -> None:
    # toHash("default"): the first 20 digits of its sha256.
    default = store.folder / "defaults" / "37a8eec1ce19687d132f"
    default.parent.mkdir(parents=True)
    default.write_text("other")
    store.make_current(INSTANCE, "default")
    assert not default.exists()


def test_a_default_builder_comes_back(store: InstanceStore) -> None:
    default = store.folder / "defaults" / "37a8eec1ce19687d132f"
    assert store.make_current(INSTANCE, "default", default=True)
    assert default.read_text() == "Airgap"
    assert stat.S_IMODE(default.stat().st_mode) == 0o600
    assert stat.S_IMODE(default.parent.stat().st_mode) == 0o700
    assert not store.make_current(INSTANCE, "default", default=True)
    assert not store.make_current(INSTANCE, "default")
    store.make_current(one("other"), "tcp://docker:2376")
    assert store.current("default") == "Airgap"
    assert store.current("tcp://docker:2376") == "other"
    assert store.current("unix:///else") is None


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = InstanceStore.of({"BUILDX_CONFIG": str(tmp_path / "file")})
    with pytest.raises(BuilderError, match="file") as refused:
        store.write(INSTANCE)
    assert "BUILDX_CONFIG" in (refused.value.hint or "")


def hold(folder: Path, held: Event, free: Event) -> None:
    store = InstanceStore(folder, folder)
    with store._transaction():
        held.set()
        free.wait(10)
        put(store, "airgap", EXPECTED.replace("docker-container", "remote"))


def test_two_processes_write_one_after_the_other(store: InstanceStore) -> None:
    context = multiprocessing.get_context("spawn")
    held, free = context.Event(), context.Event()
    other = context.Process(target=hold, args=(store.folder, held, free))
    other.start()
    assert held.wait(10)
    free.set()
    # What the other wrote while it held the lock is seen: nobody read before.
    with pytest.raises(BuilderError, match="driver remote"):
        store.write(INSTANCE)
    other.join()
    assert other.exitcode == 0
