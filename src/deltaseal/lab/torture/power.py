"""The power is cut at every operation of an act, and the device has to come back: old or new, and to an end.

One run of the act passes through every point at which the power may go. There the disk says what is pending,
and each choice of what survives is a state that a machine may find when the power is back. Equal states are
recovered once. For each:

1. before anything is mended, the pointer shows the old or the new trees, whole;
   and what the device believes of a repository is the old or the new metadata, to the byte;
2. `recover` ends well; then the same holds, `verify` finds nothing, and a second `recover` changes nothing;
3. a power cut alone never damages the journal, and never loses a record that was acted upon;
4. the act, done again, comes to its end, and leaves nothing behind.

The power is cut during recovery too (:class:`Depth`), and what that leaves is treated the same.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from deltaseal.device import Device
from deltaseal.lab.torture.acts import Act
from deltaseal.lab.torture.bench import Bench, attempt
from deltaseal.lab.torture.choices import BOTH_ENDS, DEFAULT, FULL, LIGHT, Choices
from deltaseal.lab.torture.result import Ended, Part
from deltaseal.lab.torture.seen import ROOT, crossings, notes_of
from deltaseal.lab.torture.world import AFTER, World
from deltaseal.storage import SimulatedDisk
from deltaseal.storage.nodes import DiskState
from deltaseal.storage.simulated import Operation

__all__ = ["CUT_FULL", "CUT_ONCE", "Depth", "Exploration", "cut_everywhere"]


@dataclass(frozen=True, slots=True)
class Depth:
    """How far a run goes: the choices at each cut of an act, then of its recovery, then of that one's.

    Recoveries that go the same way (:func:`_way_of`) are cut only once: they differ in what lies in a tree
    that they wipe.
    """

    levels: tuple[Choices, ...]  # for what a device does every day
    others: tuple[Choices, ...]  # for the other acts, which are there to cross the whole state table


CUT_ONCE = Depth((DEFAULT, BOTH_ENDS), (LIGHT,))
CUT_FULL = Depth((FULL, DEFAULT, BOTH_ENDS), (DEFAULT, BOTH_ENDS))


@dataclass(frozen=True, slots=True)
class Found:
    """A state of the disk, and the way there."""

    state: DiskState
    way: str
    level: int  # cuts so far


class Exploration:
    """Everything that can become of one act; what is found goes into ``part``."""

    def __init__(self, bench: Bench, act: Act, part: Part, depth: Depth) -> None:
        self._bench = bench
        self._act = act
        self._part = part
        self._levels = depth.levels if act.everyday else depth.others
        self._ways: set[tuple[str, ...]] = set()
        self._start = act.start(bench)
        self._notes = notes_of(self._start.leaves)
        self._believed = act.believed(bench) if act.believed else ()
        self._seen: set[bytes] = set()
        self._finished: set[bytes] = set()
        self._todo: list[Found] = []

    # The act ------------------------------------------------------------------------

    def cut_everywhere(self) -> None:
        """Run the act once, and take up every state that a power cut on the way may leave."""
        disk = self._disk(self._start)
        self._collect(disk, 0, f"act {self._act.name!r}")
        ended = attempt(lambda: self._act.run(self._bench, self._device(disk, self._world)))
        self._part.operations += len(disk.operations)
        self._note(disk.after_cut("visible"))
        self._judge_end(disk, ended)
        self._take_pending(disk, 0, f"act {self._act.name!r}, at its end")
        self.settle_all()

    def kill_then_cut(self) -> None:
        """Kill the process before each change, start it again, and cut the power while that recovers.

        What the dead one wrote is there to be seen, and not yet durable: nothing may rely on it.
        """
        disk = self._disk(self._start)

        def before(operation: Operation) -> None:
            if operation.change is None:
                return
            left = disk.killed()
            way = f"act {self._act.name!r}, killed before change {operation.change}; recovery"
            self._collect_extremes(left, way)
            attempt(self._device(left, self._world).recover)

        disk.before = before
        attempt(lambda: self._act.run(self._bench, self._device(disk, self._world)))
        self.settle_all()

    def _collect_extremes(self, disk: SimulatedDisk, way: str) -> None:
        """As :meth:`_collect`, all or nothing surviving; no cut of the recovery after it."""

        def before(operation: Operation) -> None:
            for choice in BOTH_ENDS.of(disk.pending, seed=0) if operation.change is not None else ():
                self._part.states += 1
                if disk.digest_after_cut(choice.kept) not in self._seen:
                    self._take(
                        disk.after_cut(choice.kept),
                        f"{way}, before {operation}; survived: {choice.words}",
                        len(self._levels),
                    )

        disk.before = before

    def settle_all(self) -> None:
        """Recover whatever was found, and what is found by that."""
        while self._todo:
            found = self._todo.pop()
            self.settle(found)

    def settle_found(self, state: DiskState, way: str) -> None:
        """Start from a disk that somebody else made."""
        self._part.cuts += 1
        self._part.states += 1
        self._take(state, way, len(self._levels))
        self.settle_all()

    def settle_faulted(self, disk: SimulatedDisk, ended: Ended, way: str) -> None:
        """Go on from a disk on which an operation failed: with the power on, and after a cut."""
        visible = disk.after_cut("visible")
        self._note(visible)
        if not self._is_old_or_new(visible, f"{way}, and it ended with {ended}"):
            return
        self._take_pending(disk, 0, f"{way}, and it ended with {ended.reason or 'done'}")
        self.settle_all()

    def _judge_end(self, disk: SimulatedDisk, ended: Ended) -> None:
        """The first run, which nothing cut off."""
        if ended.reason not in self._act.ends:
            self._find("act", f"the act itself ended with {ended}")
        if not self._act.told:
            return
        told: set[bytes] = set()
        for choice in self._levels[0].of(disk.pending, seed=0):
            digest = disk.digest_after_cut(choice.kept)
            if digest in told:
                continue
            told.add(digest)
            state = disk.after_cut(choice.kept)
            label = self._bench.eye.label(state)
            if label != self._act.new:
                sentence = f"the act has returned, and after a power cut the device shows {label}"
                self._find("not durable", sentence, survived=choice.words)
            elif not self._believes(state, self._believed[1:]):
                sentence = "the act has returned, and after a power cut it does not believe the new metadata"
                self._find("not durable", sentence, survived=choice.words)
            elif stale := self._bench.eye.stale_marks(state):
                sentence = f"the act has returned, and after a power cut {', '.join(stale)} is back"
                self._find("not durable", sentence, survived=choice.words)
            elif not self._act.broken_off and (back := self._bench.eye.unused_slots(state)):
                sentence = f"the act has returned, and after a power cut {', '.join(back)} is back"
                self._find("not durable", sentence, survived=choice.words)

    # States -----------------------------------------------------------------------------

    def _take(self, state: DiskState, way: str, level: int) -> None:
        """Take up a state, unless an equal one was."""
        if state.digest in self._seen:
            return
        self._seen.add(state.digest)
        self._part.distinct += 1
        self._todo.append(Found(state, way, level))

    def _collect(self, disk: SimulatedDisk, level: int, way: str) -> None:
        """From now on take up whatever a power cut before an operation of this disk may leave."""

        def before(operation: Operation) -> None:
            if operation.change is not None:
                self._take_pending(disk, level, f"{way}, before change {operation.change} ({operation})")

        disk.before = before

    def _take_pending(self, disk: SimulatedDisk, level: int, way: str) -> None:
        """Take up what a cut now may leave."""
        self._part.cuts += level == 0
        for choice in self._levels[level].of(disk.pending, seed=disk.changes):
            self._part.states += 1
            if disk.digest_after_cut(choice.kept) not in self._seen:
                self._take(disk.after_cut(choice.kept), f"{way}; survived: {choice.words}", level + 1)

    # Recovery -----------------------------------------------------------------------------

    def settle(self, found: Found) -> None:
        """The power is back: look, recover, look again, and do the act to its end."""
        way, act = found.way, self._act
        if not self._is_old_or_new(found.state, f"{way}; before recovery"):
            return
        disk, ended = self._recover(found)
        recovered = disk.after_cut("visible")
        self._note(recovered)
        self._part.ended[f"recovery: {ended.reason or 'done'}"] += 1
        if ended.reason not in act.recovers:
            self._find("recovery", f"recovery ended with {ended}", way=way)
            return
        if not self._is_old_or_new(recovered, f"{way}; after recovery"):
            return
        self._judge_journal(recovered, way)
        if recovered.digest in self._finished:
            return
        self._finished.add(recovered.digest)
        self._judge_again(recovered, way)
        self._finish(recovered, way)

    def _recover(self, found: Found) -> tuple[SimulatedDisk, Ended]:
        """Recover; where this goes another way than all before, once more with the power cut on the way."""
        disk = self._disk(found.state)
        ended = attempt(self._device(disk, self._later).recover)
        if found.level < len(self._levels):
            went = _way_of(disk.steps, ended)
            if went not in self._ways:
                self._ways.add(went)
                again = self._disk(found.state)
                self._collect(again, found.level, f"{found.way}; recovery")
                attempt(self._device(again, self._later).recover)
        return disk, ended

    def _is_old_or_new(self, state: DiskState, way: str) -> bool:
        lost = self._bench.eye.lost(state)
        if lost:
            self._find("lost", f"the store has no {', '.join(lost)}", way=way)
        unkept = self._bench.eye.promised_download(state)
        if unkept and not self._act.lost_records:
            self._find("not durable", f"the journal says otherwise, and {unkept}", way=way)
        label = self._bench.eye.label(state)
        self._part.ended[self._end_word(label)] += 1
        if not self._believes(state, self._believed):
            sentence = "what the device believes of its repository is neither the old metadata nor the new"
            self._find("metadata", sentence, way=way)
            return False
        if self._end_word(label) != "mixed":
            half = "" if self._act.damaged else self._bench.eye.half_a_baseline(state)
            if half:
                self._find("mixed", f"there is a baseline with {half}, to which the rescue would go", way=way)
            return True
        self._find("mixed", f"the device shows {label}, neither {self._act.old} nor {self._act.new}", way=way)
        return False

    def _believes(self, state: DiskState, allowed: Sequence[Mapping[str, bytes]]) -> bool:
        return not self._believed or self._bench.eye.metadata(state) in allowed

    def _end_word(self, label: str) -> str:
        known = {self._act.new: "new", self._act.old: "old"}
        return known.get(label, "old" if label in self._act.also else "mixed")

    def _judge_journal(self, state: DiskState, way: str) -> None:
        """No power cut damages a journal, or loses a record that was acted upon."""
        known = {note.digest for note in self._notes}
        for note in notes_of(state.leaves):
            if note.digest in known:
                continue
            if note.opened == "damage" and not self._act.lost_records:
                self._find("journal", "a power cut left a journal that counts as damaged", way=way)
            if note.event == "pointer-won" and not self._act.lost_records:
                self._find("order", "something was done before its record was durable", way=way)

    def _judge_again(self, state: DiskState, way: str) -> None:
        """`recover` again changes nothing, and `verify` finds nothing."""
        disk = self._disk(state)
        device = self._device(disk, self._later)
        ended = attempt(device.recover)
        if ended.reason not in self._act.recovers:
            self._find("recovery", f"a second recovery ended with {ended}", way=way)
        elif not self._trial_goes_on(state) and self._trees_and_state(
            disk.after_cut("visible")
        ) != self._trees_and_state(state):
            self._find("recovery", "a second recovery changed the device again", way=way)
        self._judge_verify(device, way)

    def _trial_goes_on(self, state: DiskState) -> bool:
        """Each start of the machine while a trial lasts counts as one more attempt."""
        return notes_of(state.leaves)[-1].state == "TRIAL"

    def _trees_and_state(self, state: DiskState) -> tuple[str, str, int]:
        notes = notes_of(state.leaves)
        return self._bench.eye.label(state), notes[-1].state, len(notes)

    def _judge_verify(self, device: Device, way: str) -> None:
        if self._act.damaged:
            return
        verified = list(device.verify())
        if verified:
            self._find("verify", f"`verify` finds {verified[0].sentence}", way=way)

    # The end --------------------------------------------------------------------------------

    def _finish(self, state: DiskState, way: str) -> None:
        """Do the act again, and again if a try was spent on what happened; it must come to its end."""
        act, disk = self._act, self._disk(state)
        device, retry = self._device(disk, self._later), act.retry
        for _ in range(3):
            ended = attempt(lambda: act.run(self._bench, device))
            ended_well = ended.reason in ("", "NOTHING", "E_HELD")
            if retry is not None and ended_well and not self._is_at_its_end(disk):
                # Three trials were cut off: it is held, and a person tries again.
                ended = attempt(functools.partial(retry, self._bench, device))
            if ended.reason not in act.ends or self._is_at_its_end(disk):
                break
        self._note(disk.after_cut("visible"))
        self._part.ended[f"repeat: {ended.reason or 'done'}"] += 1
        if ended.reason not in act.ends:
            self._find("repeat", f"the repeat ended with {ended}", way=way)
        elif not self._is_at_its_end(disk):
            label, at, _ = self._trees_and_state(disk.after_cut("visible"))
            self._find("repeat", f"the repeat left the device at {at}, showing {label}", way=way)
        else:
            self._judge_finished(disk, device, way)

    def _is_at_its_end(self, disk: SimulatedDisk) -> bool:
        label, at, _ = self._trees_and_state(disk.after_cut("visible"))
        return label == self._act.new and at in self._act.final

    def _judge_finished(self, disk: SimulatedDisk, device: Device, way: str) -> None:
        self._judge_verify(device, f"{way}; after the repeat")
        if not self._believes(disk.after_cut("durable"), self._believed[1:]):
            self._find("repeat", "the repeat has returned, and the new metadata is not believed", way=way)
        durable = self._bench.eye.label(disk.after_cut("durable"))
        if durable != self._act.new:
            self._find("not durable", f"the repeat has returned, and what is durable is {durable}", way=way)
        at = notes_of(disk.after_cut("visible").leaves)[-1].state
        if at in ("ACTIVE", "BASELINE") and not self._act.broken_off:
            left = self._bench.eye.leftovers(disk.after_cut("visible"))
            if left:
                self._find("left over", f"the work is done, and {', '.join(left)} is still there", way=way)
            self._judge_reserve(disk, way)

    def _judge_reserve(self, disk: SimulatedDisk, way: str) -> None:
        leaf = disk.after_cut("visible").leaves.get(f"{ROOT}/reserve")
        if self._world.room is None and (leaf is None or leaf[0] != "file" or not leaf[1]):
            self._find("left over", "the work is done, and the reserve was not filled again", way=way)

    # Small things -----------------------------------------------------------------------------

    @property
    def _world(self) -> World:
        return self._act.world(self._bench.world)

    @property
    def _later(self) -> World:
        return replace(self._world, boot=AFTER)

    def _device(self, disk: SimulatedDisk, world: World) -> Device:
        return self._bench.device(disk, world)

    def _disk(self, state: DiskState) -> SimulatedDisk:
        disk = SimulatedDisk.of(state)
        if self._world.room is not None:
            there = sum(len(leaf[1]) for leaf in self._start.leaves.values() if leaf[0] == "file")
            disk.capacity = there + self._world.room
        return disk

    def _note(self, state: DiskState) -> None:
        self._part.crossed.update(crossings(self._notes, notes_of(state.leaves)))

    def _find(self, what: str, sentence: str, **facts: str) -> None:
        self._part.find(what, sentence, **facts)


def _way_of(steps: Sequence[tuple[str, str]], ended: Ended) -> tuple[str, ...]:
    """What a recovery did to the store; all that it did deep inside a tree is one step, reading is none."""
    went = [ended.reason]
    for action, path in steps:
        if action in _READING:
            continue
        parts = path.split("/")
        deep = len(parts) > 3 and parts[2] != "journal"
        step = f"in {parts[2]}" if deep else f"{action} {path}"
        if step != went[-1]:
            went.append(step)
    return tuple(went)


_READING = frozenset(
    {
        "open_root",
        "open_dir",
        "open_read",
        "open_append",
        "names",
        "stat",
        "read",
        "read_link",
        "space",
        "lock",
    }
)


def cut_everywhere(bench: Bench, act: Act, depth: Depth) -> Part:
    """Put one act to the test."""
    part = Part("power", act.name, act.words)
    with part.timed():
        exploration = Exploration(bench, act, part, depth)
        exploration.cut_everywhere()
        if act.everyday or act.killed:
            exploration.kill_then_cut()
    return part
