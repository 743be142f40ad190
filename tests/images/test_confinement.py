"""The child that applies: what it cannot do, and what its parent says when it ends badly."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from native.images import driver
from support.image_delta import Block, plain

from deltaseal import _core, images
from deltaseal.errors import DeltaError, DeltasealError, DigestError, LimitError, StorageError

OLD = b"hello"
DELTA = bytes(plain(OLD, 5, [Block(0, 5, 0)]))


def attempt(trick: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    """A trick from inside the confined applier."""
    (folder / "old").write_bytes(OLD)
    (folder / "delta").write_bytes(DELTA)
    command = [driver("try_confined"), trick, folder / "old", folder / "delta"]
    return subprocess.run(command, stdout=subprocess.PIPE, check=False, cwd="/")


def test_an_honest_run_applies(tmp_path: Path) -> None:
    done = attempt("apply", tmp_path)
    assert (done.returncode, done.stdout) == (0, OLD)


@pytest.mark.parametrize("trick", ["open", "create", "connect", "duplicate", "fork", "execute", "signal"])
def test_the_child_dies_of_what_it_may_not_do(trick: str, tmp_path: Path) -> None:
    """Files, sockets, descriptors, processes, signals: the kernel's filter ends it, nothing comes out."""
    done = attempt(trick, tmp_path)
    assert (done.returncode, done.stdout) == (-signal.SIGSYS, b"")


def test_the_child_gets_no_more_memory_than_it_was_given(tmp_path: Path) -> None:
    done = attempt("allocate", tmp_path)
    assert (done.returncode, done.stdout) == (0, OLD)  # refused, and went on


def test_the_child_gets_no_more_time_than_it_was_given(tmp_path: Path) -> None:
    done = attempt("run-on", tmp_path)
    assert done.returncode in (-signal.SIGKILL, -signal.SIGXCPU) and done.stdout == b""


def test_the_applier_is_one_static_file() -> None:
    """It looks nothing up: no loader, no library, no path."""
    described = subprocess.run(
        ["readelf", "-lW", _core.applier_path()], capture_output=True, text=True, check=True
    )
    assert "INTERP" not in described.stdout and "LOAD" in described.stdout


def test_an_old_file_that_shrinks_meanwhile(tmp_path: Path) -> None:
    old = tmp_path / "old"
    data = random.Random(1).randbytes(1 << 16) * 128
    old.write_bytes(data)
    delta = bytes(plain(data, len(data), [Block(0, len(data), 0)]))
    seen = 0

    def shrink(piece: memoryview) -> None:
        nonlocal seen
        seen += len(piece)
        os.truncate(old, 0)

    with pytest.raises(StorageError, match="became shorter") as caught:
        images.apply(old, delta, shrink)
    assert caught.value.exit_code == 22 and seen < len(data)


# A parent whose child goes wrong


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> object:
    """Puts a program of one line in the applier's place; PIPE is its result."""

    def put(line: str) -> None:
        path = tmp_path / "applier"
        path.write_text(f"#!{sys.executable}\nimport os, signal, sys\nPIPE = int(sys.argv[5])\n{line}\n")
        path.chmod(0o755)
        monkeypatch.setattr(_core, "applier_path", lambda: path)

    return put


ENDS: dict[str, tuple[str, type[DeltasealError], str]] = {
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", LimitError, "stopped"),
    "out-of-time": ("os.kill(os.getpid(), signal.SIGXCPU)", LimitError, "processor time"),
    "shrunken": ("os.kill(os.getpid(), signal.SIGBUS)", StorageError, "became shorter"),
    "crashed": ("os.kill(os.getpid(), signal.SIGSEGV)", DeltaError, "SIGSEGV"),
    "forbidden-call": ("os.kill(os.getpid(), signal.SIGSYS)", DeltaError, "SIGSYS"),
    "aborted": ("os.kill(os.getpid(), signal.SIGABRT)", DeltaError, "SIGABRT"),
    "too-little": ("os.write(PIPE, b'hell')", DigestError, "not the new image"),
    "nothing": ("pass", DigestError, "not the new image"),
    "too-much": ("os.write(PIPE, b'hello!')", LimitError, "more than the 5 bytes"),
    "endless": ("while True: os.write(PIPE, b'hello' * 1000)", LimitError, "more than the 5 bytes"),
    "unknown-code": ("sys.exit(77)", StorageError, "could not start"),
    "bytes-then-error": ("os.write(PIPE, b'hello'); sys.exit(4)", DeltaError, "damaged"),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_child_that_ends_badly_is_a_clear_error(name: str, play: object) -> None:
    line, error, words = ENDS[name]
    assert callable(play)
    play(line)
    with pytest.raises(error, match=words):
        images.apply(OLD, DELTA, lambda _: None)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_child_that_lies_is_caught_by_the_digest(play: object) -> None:
    assert callable(play)
    play("os.write(PIPE, b'jello')")
    with pytest.raises(DigestError):
        images.apply(OLD, images.diff_bytes(OLD, OLD), lambda _: None)


def test_the_child_is_given_three_descriptors_and_no_environment(play: object) -> None:
    assert callable(play)
    play(
        "assert not os.environ.get('HOME')\n"
        "count = sum(int(n) > 2 for n in os.listdir('/proc/self/fd')) - 1\n"
        "os.write(PIPE, b'%05d' % count)"
    )
    os.environ.setdefault("HOME", "/")
    pieces: list[bytes] = []
    with open(__file__, "rb") as beside:
        os.set_inheritable(beside.fileno(), True)
        images.apply(OLD, DELTA, lambda piece: pieces.append(bytes(piece)))
    # without the listing of the folder; one more is the program's own file
    assert 3 <= int(b"".join(pieces)) <= 4
