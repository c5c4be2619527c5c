from __future__ import annotations

import socket
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import docker.errors
import pytest
import requests.exceptions

from airgapbuild.engine.connection import Connection, translated
from airgapbuild.engine.daemon import Daemon
from airgapbuild.engine.endpoint import find_endpoint
from airgapbuild.errors import DaemonError
from tests.support.socket_daemon import Socket, answer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airgapbuild.engine.endpoint import Endpoint

VERSION = {"ApiVersion": "1.47", "Version": "27.3.1", "Os": "linux", "Arch": "arm64"}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture
def endpoint(tmp_path: Path) -> Endpoint:
    return find_endpoint(None, {"DOCKER_HOST": f"unix://{tmp_path}/docker.sock"})


def test_a_daemon_says_what_it_is(tmp_path: Path) -> None:
    info = {
        "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
        "DockerRootDir": "/d",
    }
    answers = (answer(VERSION), answer(info))
    with closing(Socket(tmp_path / "s", *answers)) as fake, Daemon.connect(fake.endpoint) as daemon:
        assert (daemon.version, daemon.api, daemon.store) == ("27.3.1", (1, 47), "containerd")
        assert (str(daemon.platform), daemon.root_dir) == ("linux/arm64", "/d")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"ApiVersion": "1.40", "Version": "19.03.15"}, "Docker 19.03.15 is too old, 20.10"),
        ({"Os": "windows"}, "runs windows containers"),
        ({"ApiVersion": "new"}, "not a Docker daemon's"),
        ({"Version": None, "ApiVersion": None}, "not a Docker daemon's"),
    ],
)
def test_a_daemon_that_will_not_do_is_told(
    tmp_path: Path, changed: dict[str, object], words: str
) -> None:
    with (
        closing(Socket(tmp_path / "s", answer({**VERSION, **changed}))) as fake,
        pytest.raises(DaemonError, match=words),
    ):
        Daemon.connect(fake.endpoint)


def test_a_daemon_whose_packets_are_dropped_is_not_waited_for_long() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        host, port = full.getsockname()
        endpoint = find_endpoint(f"tcp://{host}:{port}", {})
        begin = time.monotonic()
        with (
            socket.create_connection((host, port)),
            pytest.raises(DaemonError, match="does not answer") as failed,
        ):
            Connection(endpoint).version()
    assert time.monotonic() - begin < 30
    assert "is it running?" in (failed.value.hint or "")


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (answer({"message": "go away"}, "500 No"), "go away"),
        (answer({"error": "teapot"}, "418 No"), '"error": "teapot"'),
        (HEAD + b"Content-Length: 5\r\n\r\nhello", "does not answer like a Docker daemon"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0-OpenSSH"),
        (b"", "without response"),
    ],
)
def test_an_answer_that_is_none_is_told(tmp_path: Path, reply: bytes, words: str) -> None:
    with (
        closing(Socket(tmp_path / "s", reply)) as fake,
        pytest.raises(DaemonError, match=words) as failed,
    ):
        Connection(fake.endpoint).version()
    assert f"unix://{tmp_path}/s" in failed.value.message


def test_a_daemon_that_is_not_there_is_told_with_who_named_it(endpoint: Endpoint) -> None:
    with pytest.raises(DaemonError, match=r"\(from DOCKER_HOST\): No such file") as failed:
        Connection(endpoint).version()
    assert "is it running?" in (failed.value.hint or "")


def test_a_daemon_that_has_ended_is_told(tmp_path: Path, endpoint: Endpoint) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{tmp_path}/docker.sock")
    listener.close()
    with pytest.raises(DaemonError, match="Connection refused"):
        Connection(endpoint).version()


def test_a_host_that_does_not_resolve_is_told() -> None:
    with pytest.raises(DaemonError, match=r"tcp://nowhere\.invalid:2375 .*unknown host$") as failed:
        Connection(find_endpoint("tcp://nowhere.invalid", {})).version()
    assert failed.value.hint == "check the name in --host, and this machine's DNS"


def test_missing_tls_files_are_named(tmp_path: Path) -> None:
    environ = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    with pytest.raises(DaemonError) as failed:
        Connection(find_endpoint("tcp://127.0.0.1:1", environ)).version()
    assert failed.value.hint == f"TLS files: CA {tmp_path}/ca.pem, certificate none, key none"


def test_a_port_that_speaks_no_tls_is_told(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    environ = {"DOCKER_TLS": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reply = b"HTTP/1.0 400 Bad Request\r\n\r\n"

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        endpoint = find_endpoint(f"tcp://127.0.0.1:{listener.getsockname()[1]}", environ)
        with pytest.raises(DaemonError, match="TLS: ") as failed:
            Connection(endpoint).version()
        thread.join()
    assert "does not speak TLS" in (failed.value.hint or "")


def test_a_stream_that_breaks_off_is_an_error(tmp_path: Path) -> None:
    line = b'{"stream":"half'
    chunk = b"%x\r\n%b\r\n" % (len(line) + 2, line + b"\r\n")
    whole = b'{"stream":"one"}\r\n'
    reply = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(whole), whole)
    for rest in (b"", b"ff\r\nmore", chunk + b"0\r\n\r\n"):
        path = tmp_path / f"s{len(rest)}"
        with closing(Socket(path, reply + rest)) as fake:
            lines = Connection(fake.endpoint).load(iter([b"x"]))
            assert next(lines) == {"stream": "one"}
            with pytest.raises(DaemonError):
                list(lines)


def test_a_daemon_that_hangs_up_is_an_error(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(1000):
            yield bytes(1 << 16)

    with (
        closing(Socket(tmp_path / "s", b"")) as fake,
        pytest.raises(DaemonError, match=r"broke the connection"),
    ):
        list(Connection(fake.endpoint).load(chunks()))


def test_an_early_refusal_is_read_though_not_all_was_sent(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(1000):
            yield bytes(1 << 16)

    with (
        closing(Socket(tmp_path / "s", answer({"message": "disk full"}, "500 No"))) as fake,
        pytest.raises(DaemonError, match="disk full"),
    ):
        list(Connection(fake.endpoint).load(chunks()))


def exceptions(module: object, package: str) -> list[type[Exception]]:
    found = [thing for thing in vars(module).values() if isinstance(thing, type)]
    return [
        kind
        for kind in found
        if issubclass(kind, Exception)
        and kind.__module__.startswith(package)
        and not issubclass(kind, Warning)
        # Raised by the SDK's reader of multiplexed streams, which is not used here.
        and kind is not docker.errors.StreamParseError
    ]


@pytest.mark.parametrize(
    "kind", exceptions(docker.errors, "docker") + exceptions(requests.exceptions, "requests")
)
def test_every_exception_of_the_libraries_becomes_ours(
    kind: type[Exception], endpoint: Endpoint
) -> None:
    error = kind.__new__(kind, "x")
    for name in ("msg", "name", "param", "explanation"):
        setattr(error, name, "x")
    error.response = None  # type: ignore[attr-defined]
    with pytest.raises(DaemonError), translated(endpoint):
        raise error


def test_what_is_no_failure_of_the_daemon_passes(endpoint: Endpoint) -> None:
    with pytest.raises(KeyError), translated(endpoint):
        raise KeyError("bug")
