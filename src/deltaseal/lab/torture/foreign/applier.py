"""The test of somebody else's applier: three verbs, and every power cut that its own system calls allow.

The applier updates a real folder while its system calls are followed; so the same choices of what survives
are made as for the updater of deltaseal. Each state is laid out in a real folder; there it must look.
"""

from __future__ import annotations

import os
import random
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deltaseal.errors import DeltasealError, UsageError
from deltaseal.lab.torture.choices import DEFAULT, FULL, Choices
from deltaseal.lab.torture.foreign.mirror import Mirror
from deltaseal.lab.torture.foreign.trace import Call, run_traced
from deltaseal.lab.torture.kill import lay_out
from deltaseal.lab.torture.result import Part, Report
from deltaseal.lab.torture.stock import read_tree
from deltaseal.storage import RealDisk
from deltaseal.storage.nodes import DiskState
from deltaseal.trees import scan

__all__ = ["torture_applier"]

_PATIENCE = 60  # seconds that one verb may take
_KILLS, _KILLS_FULL = 20, 200


@dataclass(frozen=True, slots=True)
class _Looked:
    """What the applier shows: the old tree, the new one, or something else."""

    word: str  # old, new, mixed
    sentence: str


class _Applier:
    def __init__(self, command: Sequence[str], old: Path, new: Path, update: Path, folder: Path) -> None:
        self._command = list(command)
        self._old = old.resolve()
        self._update = update.resolve()
        self._known = {_digest(old): "old", _digest(new): "new"}
        if len(self._known) != 2:
            raise UsageError("the old and the new tree are equal")
        self.store = folder / "store"

    def create(self) -> None:
        """Begin with a fresh store on the old tree."""
        self.clear()
        ended = self._run("create", str(self.store), str(self._old))
        if ended.returncode or self.look().word != "old":
            raise UsageError(
                f"`create` did not make a store that shows the old tree: {ended.stderr.strip()}".rstrip(": "),
                hint="docs/spec/applier-protocol.md says what each verb does",
            )

    def update_argv(self) -> list[str]:
        """The update as a command."""
        return [*self._command, "update", str(self.store), str(self._update)]

    def update(self) -> int:
        """Update, or finish an update; returns the exit status."""
        return subprocess.run(self.update_argv(), capture_output=True, timeout=_PATIENCE).returncode

    def look(self) -> _Looked:
        """Ask which tree is in use, and look at it."""
        ended = self._run("look", str(self.store))
        if ended.returncode:
            return _Looked(
                "mixed",
                f"`look` ended with {ended.returncode}: {ended.stderr.strip()[:200]}".replace(
                    str(self.store), "STORE"
                ),
            )
        place = Path(ended.stdout.rstrip("\n"))
        try:
            word = self._known.get(_digest(place), "mixed")
        except DeltasealError as error:
            return _Looked("mixed", error.sentence.replace(str(self.store), "STORE"))
        shown = str(place).replace(str(self.store), "STORE")
        return _Looked(word, f"{shown} is neither the old tree nor the new one" if word == "mixed" else "")

    def lay_out(self, state: DiskState) -> None:
        """Let the store be as in a state."""
        self.clear()
        self.store.mkdir()
        lay_out(state, self.store)

    def clear(self) -> None:
        """Remove the store."""
        if self.store.exists():
            shutil.rmtree(self.store)

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._command, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
        )


def torture_applier(
    command: str, *, old: Path, new: Path, update: Path, full: bool = False, seed: int = 0
) -> Report:
    """Put an applier to the test; ``command`` is parted as a shell does it."""
    with _applier(shlex.split(command), old, new, update) as applier:
        applier.create()
        start = DiskState(read_tree(applier.store))
        parts = [
            _power(applier, start, FULL if full else DEFAULT),
            _kill(applier, start, _KILLS_FULL if full else _KILLS, seed),
        ]
    return Report(command, "full" if full else "default", parts, shortcomings=(), rows=0, crossed=0)


@contextmanager
def _applier(command: Sequence[str], old: Path, new: Path, update: Path) -> Iterator[_Applier]:
    if not command or shutil.which(command[0]) is None:
        raise UsageError(
            f"{command[0] if command else ''!r} is no program", hint="give the command with its path"
        )
    folder = Path(tempfile.mkdtemp(prefix="deltaseal-torture-"))
    try:
        yield _Applier(command, old, new, update, folder)
    finally:
        shutil.rmtree(folder)


def _power(applier: _Applier, start: DiskState, choices: Choices) -> Part:
    part = Part("power", "update", "the power is cut after each system call that changes the store")
    with part.timed():
        states: dict[bytes, tuple[DiskState, str]] = {}
        applier.lay_out(start)
        mirror = Mirror(applier.store)

        def on_call(call: Call) -> None:
            part.operations += 1
            if mirror.after(call):
                part.cuts += 1
                _take(part, mirror, choices, states, f"after change {part.cuts}{_said(call)}")

        status = run_traced(applier.update_argv(), on_call)
        if status or applier.look().word != "new":
            part.find("update", f"the update itself ended with {status} and shows {applier.look().word}")
        at_the_end: dict[bytes, tuple[DiskState, str]] = {}
        _take(Part("", "", ""), mirror, choices, at_the_end, "at the end")
        for digest, (state, way) in {**states, **at_the_end}.items():
            _judge(applier, part, state, way, must_be_new=not status and digest in at_the_end)
    return part


def _take(
    part: Part, mirror: Mirror, choices: Choices, states: dict[bytes, tuple[DiskState, str]], way: str
) -> None:
    for choice in choices.of(mirror.pending, seed=part.cuts):
        state = mirror.state(choice.kept)
        part.states += 1
        if state.digest not in states:
            part.distinct += 1
            states[state.digest] = (state, f"{way}; survived: {choice.words}")


def _said(call: Call) -> str:
    """What is known of a call: of writes and syncs what they were about."""
    if call.kind == "sync all":
        return ", a sync of everything"
    return f", a {call.kind} of {Path(call.path).name}" if call.path else ""


def _judge(applier: _Applier, part: Part, state: DiskState, way: str, *, must_be_new: bool = False) -> None:
    applier.lay_out(state)
    looked = applier.look()
    part.ended[f"after the cut: {looked.word}"] += 1
    if looked.word == "mixed":
        part.find("mixed", looked.sentence, way=way)
    elif must_be_new and looked.word != "new":
        part.find(
            "not durable", "the update had ended well, and after a power cut the old tree is back", way=way
        )
    _judge_repeat(applier, part, way)


def _judge_repeat(applier: _Applier, part: Part, way: str) -> None:
    status = applier.update()
    again = applier.look()
    part.ended[f"repeat: {again.word}"] += 1
    if again.word != "new":
        part.find(
            "repeat", f"the repeat ended with {status} and shows {again.word}: {again.sentence}", way=way
        )


def _kill(applier: _Applier, start: DiskState, times: int, seed: int) -> Part:
    part = Part("kill", "update", "the applier is killed at random moments")
    chance = random.Random(seed)
    with part.timed():
        applier.lay_out(start)
        began = time.monotonic()
        applier.update()
        length = time.monotonic() - began
        for number in range(times):
            applier.lay_out(start)
            moment = chance.uniform(0, length)
            _kill_after(applier, moment)
            looked = applier.look()
            part.cuts += 1
            part.ended[f"after the kill: {looked.word}"] += 1
            way = f"kill {number}, after {moment * 1000:.1f} ms"
            if looked.word == "mixed":
                part.find("mixed", looked.sentence, way=way)
            _judge_repeat(applier, part, way)
    return part


def _kill_after(applier: _Applier, seconds: float) -> None:
    """Start an update and kill it with all that it started."""
    with subprocess.Popen(
        applier.update_argv(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    ) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _digest(tree: Path) -> bytes:
    disk = RealDisk()
    with disk.open_root(tree) as top:
        return scan(disk, top).digest
