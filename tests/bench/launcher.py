"""Run one program to its end, and note how long it took and how much memory it had.

    python -IS launcher.py RESULT PROGRAM [ARGUMENT ...]

RESULT gets four numbers: seconds of wall time, seconds of CPU time, bytes of peak memory, and the
exit code. This is a process of its own, and a small one, because Linux counts what the parent of a
program had before the program's `exec` as the program's own peak: nothing below the 10 MB of this
one can be measured.

The peak is the larger of what the kernel notes for the largest single process (exact), and of what
all processes of the tree had together whenever we looked, some times a second.

Source: getrusage(2), ru_maxrss; proc_pid_statm(5), resident.
"""

import os
import select
import sys
import time

_LOOKS_EVERY_MS = 25
_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident(pid: int) -> int:
    """The memory that a process and all that it has started have now, in bytes."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        size = int(file.read().split()[1]) * _PAGE
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
            size += sum(_resident_or_gone(int(child)) for child in file.read().split())
    return size


def _resident_or_gone(pid: int) -> int:
    try:
        return resident(pid)
    except (OSError, IndexError):
        return 0


def main(result: str, *argv: str) -> None:
    """Measure the program, and write the result when it has ended."""
    most = 0
    begin = time.monotonic()
    pid = os.posix_spawnp(argv[0], argv, os.environ)
    end = select.poll()
    end.register(os.pidfd_open(pid), select.POLLIN)
    while not end.poll(_LOOKS_EVERY_MS):
        most = max(most, _resident_or_gone(pid))
    wall = time.monotonic() - begin
    _, status, usage = os.wait4(pid, 0)
    most = max(most, usage.ru_maxrss << 10)
    with open(result, "w", encoding="ascii") as file:
        file.write(
            f"{wall} {usage.ru_utime + usage.ru_stime} {most} {os.waitstatus_to_exitcode(status)}"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
