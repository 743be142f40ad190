"""A process of the local executor: takes tasks from standard input, one at a time, and says how each ended.

It ends when its standard input does: also when the process that started it is gone. What it has made by then
is in the cache.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
from pathlib import Path
from typing import BinaryIO

from deltaseal.lab.matrix.jobs import run_task

__all__ = ["peak_memory", "serve"]


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Do one task after the other. An answer is the peak of memory, and the error or ``None``."""
    while True:
        try:
            task, folder, tools, threads = pickle.load(requests)
        except EOFError:
            return
        _forget_peak()
        error: BaseException | None = None
        try:
            run_task(task, folder, tools, threads)
        except Exception as raised:
            error = raised
        pickle.dump((peak_memory(), error), answers)
        answers.flush()


def peak_memory() -> int:
    """The most bytes that were resident since the last ``_forget_peak``: VmHWM of proc(5)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    return 0


def _forget_peak() -> None:
    # proc(5): 5 resets the peak; where it may not be written the peak is that of all tasks so far.
    with contextlib.suppress(OSError):
        descriptor = os.open("/proc/self/clear_refs", os.O_WRONLY)
        try:
            os.write(descriptor, b"5")
        finally:
            os.close(descriptor)


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "wb") as _answers:
        os.dup2(2, 1)  # whatever prints does not disturb the answers
        serve(sys.stdin.buffer, _answers)
