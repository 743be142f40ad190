"""The command line, run in this process with an edge of its own, and what it printed."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deltaseal.cli.app import App
from deltaseal.cli.entry import run
from deltaseal.edge import Edge, system_edge

TODAY = 1_798_000_000  # 2026-12-23, seconds since 1970
NOBODY = 65_534


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """What it printed with ``--json``."""
        values = json.loads(self.out)
        assert isinstance(values, dict)
        return values


def edge(now: int = TODAY) -> Edge:
    """This machine's edge at a fixed time, without a battery and without looking at other processes."""
    return replace(
        system_edge(),
        now=lambda: now,
        battery=lambda: None,
        processes=lambda: (),
        sleep=lambda seconds: None,
    )


def deltaseal(*arguments: object, now: int = TODAY) -> Ran:
    """Run one command. It says what it did, as to a person at a terminal."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(one) for one in arguments], App(make_edge=lambda: edge(now), wordy=True))
    return Ran(code, out.getvalue(), err.getvalue())


def must(*arguments: object, now: int = TODAY) -> Ran:
    """Run one command that succeeds."""
    ran = deltaseal(*arguments, now=now)
    assert ran.code == 0, ran.err
    return ran


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, which may read and write everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, with the bytes of files."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in sorted(folder.rglob("*"))
    }
