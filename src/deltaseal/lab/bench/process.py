"""One program, one run: its exit code, and what it used of processor and memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Run", "Usage", "measure"]

_LAUNCHER = Path(__file__).with_name("launch.py")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and the children it waited for used.

    ``cpu_s`` is user and system time of all threads added up, ``wall_s`` the time that passed, both in
    seconds; ``peak_kb`` is the largest resident set of any one of the processes, in KiB.
    """

    cpu_s: float
    wall_s: float
    peak_kb: int

    def beyond(self, start: Usage) -> Usage:
        """The same less what merely starting takes; memory is left as it is."""
        return Usage(max(0.0, self.cpu_s - start.cpu_s), max(0.0, self.wall_s - start.wall_s), self.peak_kb)


@dataclass(frozen=True, slots=True)
class Run:
    """How a program ended: ``exit_code`` is negative where a signal ended it, None where time ran out."""

    exit_code: int | None
    usage: Usage
    output: str

    @property
    def good(self) -> bool:
        """Whether the program ended with exit code 0."""
        return self.exit_code == 0

    @property
    def failure(self) -> str:
        """Why the run was not good, on one line; empty where it was."""
        if self.good:
            return ""
        if self.exit_code is None:
            return "out of time"
        last_line = self.output.strip().rpartition("\n")[2][:160]
        return f"exit {self.exit_code}: {last_line}"


def measure(argv: Sequence[str | Path], *, timeout: float | None = None) -> Run:
    """Run a program to its end in a process of its own and report what it used.

    ``timeout`` is in seconds of wall time; a program that takes longer is ended with all its children.
    """
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), *map(str, argv)]
    with subprocess.Popen(
        launcher,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            figures, output = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return Run(None, Usage(0.0, 0.0, 0), "")
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        return Run(process.returncode, Usage(0.0, 0.0, 0), output)
    code, cpu, wall, peak = figures.split()
    return Run(int(code), Usage(float(cpu), float(wall), int(peak)), output)
