"""Starts one program, waits for it, prints what it used: exit code, CPU seconds, wall seconds, peak KiB.

Run as a script, ``python -I -S launch.py PROGRAM ARGUMENT...``, never imported. It is a process of its
own because a peak is carried over ``exec``: Linux counts the memory of whoever starts a program into the
program's own peak (setmax_mm_hiwater_rss in fs/exec.c). So this file imports next to nothing, and
no peak below its own 9 MB or so can be seen.
"""

import os
import sys
import time


def main() -> None:
    """Run ``sys.argv[1:]`` with its output on standard error; print the four figures on standard output."""
    began = time.monotonic()
    to_stderr = [(os.POSIX_SPAWN_DUP2, 2, 1)]
    try:
        child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=to_stderr)
    except OSError as error:
        sys.exit(f"{sys.argv[1]}: {error.strerror}")
    _, status, used = os.wait4(child, 0)
    wall = time.monotonic() - began
    print(os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, wall, used.ru_maxrss)


if __name__ == "__main__":
    main()
