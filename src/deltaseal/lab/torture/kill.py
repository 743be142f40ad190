"""The updater as a process on a real file system, killed (SIGKILL) at random moments.

A killed process loses nothing that it wrote, so this says less than a power cut; but it checks the
simulation, since the disk is the machine's.
"""

from __future__ import annotations

import functools
import os
import random
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from deltaseal.device import Device
from deltaseal.lab.torture.acts import Act
from deltaseal.lab.torture.bench import Bench, attempt
from deltaseal.lab.torture.result import Ended, Part
from deltaseal.lab.torture.seen import ROOT, notes_of
from deltaseal.lab.torture.stock import read_tree
from deltaseal.lab.torture.world import AFTER
from deltaseal.storage.nodes import DiskState

__all__ = ["kill_often", "laid_out", "lay_out"]

PATIENCE = 10  # seconds


def kill_often(bench: Bench, act: Act, *, times: int, seed: int = 0) -> Part:
    """Start the act ``times`` times in a process of its own, kill each, and let the device come back."""
    part = Part("kill", act.name, f"killed at random moments on a real file system; {act.words}")
    chance = random.Random(f"{seed} {act.name}")
    start = act.start(bench)
    with part.timed():
        length = _length(bench, act, start)
        for number in range(times):
            moment = chance.uniform(0, length)
            with laid_out(start) as folder:
                killed = _killed_after(moment, lambda folder=folder: _do(bench, act, folder))  # type: ignore[misc]
                part.cuts += 1
                part.ended["killed" if killed else "ended before"] += 1
                _judge(bench, act, part, folder, f"kill {number}, after {moment * 1000:.2f} ms")
    return part


@contextmanager
def laid_out(state: DiskState) -> Iterator[Path]:
    """A real folder in which everything lies as in the state."""
    folder = Path(tempfile.mkdtemp(prefix="deltaseal-torture-"))
    try:
        lay_out(state, folder)
        yield folder
    finally:
        shutil.rmtree(folder)


def lay_out(state: DiskState, folder: Path) -> None:
    """Fill an empty folder with what is in the state."""
    for path in sorted(state.leaves):
        leaf, place = state.leaves[path], folder / path
        if leaf[0] == "dir":
            place.mkdir(leaf[1])
        elif leaf[0] == "link":
            place.symlink_to(leaf[1])
        else:
            place.write_bytes(leaf[1])
            place.chmod(leaf[2])


def _do(bench: Bench, act: Act, folder: Path) -> None:
    world = act.world(bench.world)
    act.run(bench, Device(folder / ROOT, edge=world.edge()))


def _length(bench: Bench, act: Act, start: DiskState) -> float:
    """How long the act takes in a process that nobody kills, seconds."""
    with laid_out(start) as folder:
        began = time.monotonic()
        _killed_after(60, lambda: _do(bench, act, folder))
        return time.monotonic() - began


def _killed_after(seconds: float, verb: Callable[[], None]) -> bool:
    """Do something in a process of its own, and kill it after so long; whether it was still at work then."""
    child = os.fork()
    if child == 0:
        try:
            attempt(verb)
        finally:
            os._exit(0)
    pidfd = os.pidfd_open(child)
    try:
        ended, _, _ = select.select([pidfd], [], [], seconds)
        if not ended:
            os.kill(child, signal.SIGKILL)
    finally:
        os.close(pidfd)
        os.waitpid(child, 0)
    return not ended


def _judge(bench: Bench, act: Act, part: Part, folder: Path, way: str) -> None:
    known = {act.old, act.new, *act.also}
    device = Device(folder / ROOT, edge=replace(act.world(bench.world), boot=AFTER).edge())
    if (label := _label(bench, folder)) not in known:
        part.find("mixed", f"after it was killed the device shows {label}", way=way)
    ended = _once_unlocked(device.recover)
    if ended.reason not in act.recovers:
        part.find("recovery", f"recovery ended with {ended}", way=way)
    for _ in range(3):
        ended = attempt(lambda: act.run(bench, device))
        if ended.reason == "E_HELD" and act.retry is not None:
            ended = attempt(functools.partial(act.retry, bench, device))
        if _label(bench, folder) == act.new:
            break
    part.ended[f"repeat: {ended.reason or 'done'}"] += 1
    label, at = _label(bench, folder), notes_of(_state(folder).leaves)[-1].state
    if ended.reason not in act.ends or label != act.new or at not in act.final:
        part.find("repeat", f"the repeat ended with {ended}; the device is {at}, showing {label}", way=way)
    elif act.believed and bench.eye.metadata(_state(folder)) != act.believed(bench)[1]:
        part.find("repeat", "the repeat has returned, and the new metadata is not believed", way=way)
    elif findings := list(device.verify()):
        part.find("verify", f"`verify` finds {findings[0].sentence}", way=way)


def _once_unlocked(verb: Callable[[], object]) -> Ended:
    """Do something when the lock is free.

    A child that the dead process was about to start has the lock until it has become another program.
    """
    until = time.monotonic() + PATIENCE
    while (ended := attempt(verb)).reason == "E_LOCKED" and time.monotonic() < until:
        time.sleep(0.01)
    return ended


def _state(folder: Path) -> DiskState:
    return DiskState(read_tree(folder))


def _label(bench: Bench, folder: Path) -> str:
    return bench.eye.label(_state(folder))
