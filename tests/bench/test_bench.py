"""What the benchmark makes of its figures. Nothing here is timed."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.bench import __main__ as bench
from tests.bench.big import big_image
from tests.bench.measure import (
    OURS,
    BenchError,
    Command,
    Result,
    Tool,
    Usage,
    alternate,
    measured,
    ratio,
)
from tests.bench.report import Measured, document, render, table
from tests.engines import layout
from tests.support.program import environment

MB = 10**6
RESULTS = (
    Result(OURS, [Usage(0.3, 0.2, 40 * MB), Usage(0.2, 0.1, 50 * MB), Usage(0.25, 0.2, 44 * MB)]),
    Result("crane", [Usage(1.0, 2.0, 9 * MB), Usage(0.125, 3.0, 8 * MB), Usage(0.5, 2.5, 8 * MB)]),
)
ROWS = (Measured("lock", "digests", RESULTS), Measured("load", "", lacking="no engine"))


def tool(*argv: str, once: bool = False, name: str = "it") -> Tool:
    return Tool(name, lambda: nullcontext(Command(argv, environment(), Path("/"))), once)


def test_a_ratio_is_our_median_in_units_of_theirs() -> None:
    ours, theirs = RESULTS
    assert ratio(RESULTS, theirs) == 0.5
    assert ratio(RESULTS, ours) is None
    assert ratio([theirs], theirs) is None


def test_the_table() -> None:
    assert table(ROWS) == (
        "row   tool           wall  fastest  ours/it     cpu  memory\n"
        "lock  airgapbuild  250 ms   200 ms           200 ms   50 MB\n"
        "      crane        500 ms   125 ms     0.50  2.50 s    9 MB\n"
        "load: not measured: no engine\n"
    )


def test_the_json_has_every_run() -> None:
    whole = json.loads(render(document(ROWS, 3, {"cpus": 2})))
    assert whole["rounds"] == 3
    assert whole["machine"] == {"cpus": 2}
    lock, load = whole["rows"]
    assert load == {"row": "load", "what": "", "lacking": "no engine"}
    crane = lock["tools"][1]
    assert (crane["tool"], crane["wall"], crane["ours/it"]) == ("crane", 0.5, 0.5)
    assert crane["runs"][1] == {"wall": 0.125, "cpu": 3.0, "peak": 8 * MB}


def test_tools_take_turns_after_a_round_that_does_not_count() -> None:
    usage = Usage(1, 1, 1)
    tools = [tool(name="a"), tool(name="b", once=True), tool(name="c")]
    turns = [(it.name, used is not None) for it, used in alternate(tools, 2, lambda _: usage)]
    warm = [("a", False), ("c", False)]
    assert turns == [*warm, ("a", True), ("b", True), ("c", True), ("a", True), ("c", True)]


def test_a_run_is_measured_with_all_its_processes(tmp_path: Path) -> None:
    hold = "import os, sys, time; held = bytearray(60_000_000);"
    child = f"{hold} time.sleep(0.5)"
    parent = f"{hold} os.spawnv(os.P_WAIT, sys.argv[1], sys.argv[1:])"
    argv = (sys.executable, "-IS", "-c")
    usage = measured(tool(*argv, parent, *argv, child), tmp_path)
    assert usage.cpu > 0
    assert 120 * MB < usage.peak < 200 * MB


def test_the_memory_of_the_one_who_measures_does_not_count(tmp_path: Path) -> None:
    assert measured(tool("true"), tmp_path).peak < 16 * MB


def test_the_memory_of_a_server_counts_where_it_is_what_is_measured(tmp_path: Path) -> None:
    hold = (
        "import sys; held = bytearray(60_000_000); print(flush=True); held = None; sys.stdin.read()"
    )
    argv = (sys.executable, "-IS", "-c", hold)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout
        server.stdout.readline()
        command = Command(("true",), environment(), tmp_path, server.pid)
        assert 60 * MB < measured(Tool("it", lambda: nullcontext(command)), tmp_path).peak < 90 * MB
        server.communicate()


def test_a_tool_that_fails_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"it: exit 3: sh -c .*\nno such thing"):
        measured(tool("sh", "-c", "echo no such thing >&2; exit 3"), tmp_path)


def test_a_tool_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="No such file or directory: 'no-such-program'"):
        measured(tool("no-such-program"), tmp_path)


def test_the_big_image_is_whole_and_the_same_each_time(tmp_path: Path) -> None:
    image = big_image(tmp_path / "a", (1, 2))
    assert image == big_image(tmp_path / "b", (1, 2))
    manifest = layout.read(tmp_path / "a", image.platforms["linux/amd64"].manifest)
    for layer in manifest["layers"]:
        assert layout.blob(tmp_path / "a", layer["digest"]).stat().st_size == layer["size"]


def test_each_row_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--list"]) == 0
    told = capsys.readouterr().out
    assert all(f"{name}: " in told for name in bench.ROWS)


@pytest.mark.parametrize("argv", [["--rows", "nothing"], ["--rounds", "0"]])
def test_a_wrong_option_is_told(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(argv)
    assert argv[0] in capsys.readouterr().err
