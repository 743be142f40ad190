from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from deltaseal.lab.bench import Usage, measure


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def test_peak_is_the_program_s_own() -> None:
    ballast = bytearray(b"x" * 120_000_000)
    small = measure(["true"]).usage
    large = measure(python("b = b'x' * 90_000_000")).usage
    assert len(ballast) and small.peak_kb < 40_000
    assert 88_000 < large.peak_kb < 130_000


def test_time_of_threads_and_children_is_added_up() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])\n"
    used = measure(python(child + burn)).usage
    assert 0.6 <= used.cpu_s < 1.5
    assert used.wall_s >= 0.55


def test_failure_tells_the_last_line() -> None:
    run = measure(python("import sys; print('first', flush=True); sys.exit('this is why')"))
    assert (run.exit_code, run.good, run.failure) == (1, False, "exit 1: this is why")


def test_signal_is_a_negative_code() -> None:
    assert measure(python("import os; os.abort()")).exit_code == -6


def test_no_such_program() -> None:
    run = measure(["deltaseal-no-such-program"])
    assert not run.good and "No such file" in run.failure


def test_out_of_time_ends_the_children_too(tmp_path: Path) -> None:
    number = tmp_path / "pid"
    run = measure(["sh", "-c", f"sleep 600 & echo $! > {number}; wait"], timeout=1.0)
    assert run.failure == "out of time"
    for _ in range(100):
        if not runs(int(number.read_text())):
            return
        time.sleep(0.05)
    pytest.fail("the child of the child still runs")


def runs(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.parametrize(("whole", "start", "beyond"), [(2.0, 0.5, 1.5), (0.1, 0.5, 0.0)])
def test_start_is_subtracted_and_never_below_nothing(whole: float, start: float, beyond: float) -> None:
    assert Usage(whole, whole, 77).beyond(Usage(start, start, 99)) == Usage(beyond, beyond, 77)
