"""Every operation of an act fails once: no space, an I/O error, a failed sync; one program, one fault each.

After the fault the device shows the old or the new trees; so it does when the power goes at once, whatever
survives; and once the disk works again, the act comes to its end.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from deltaseal.lab.torture.acts import Act
from deltaseal.lab.torture.bench import Bench, attempt
from deltaseal.lab.torture.choices import BOTH_ENDS
from deltaseal.lab.torture.power import Depth, Exploration
from deltaseal.lab.torture.result import Part
from deltaseal.storage import SimulatedDisk
from deltaseal.storage.simulated import Operation

__all__ = ["FAULTS", "Fault", "fail_everywhere"]


@dataclass(frozen=True, slots=True)
class Fault:
    """A way in which operations fail."""

    name: str
    words: str
    number: int  # errno
    actions: frozenset[str]  # empty: every operation
    lasting: bool = False  # it fails each time from then on, not once


_WRITING = frozenset({"create", "make_dir", "write", "symlink", "rename", "sync", "sync_dir"})
_SYNCING = frozenset({"sync", "sync_dir"})

FAULTS = (
    Fault("no space", "each operation that needs room finds none", errno.ENOSPC, _WRITING),
    Fault("I/O error", "each operation fails once with an I/O error", errno.EIO, frozenset()),
    Fault(
        "failed sync", "from each sync on, that file or directory cannot be synced", errno.EIO, _SYNCING, True
    ),
    Fault(
        "broken name",
        "from each rename on, that name cannot be renamed",
        errno.EIO,
        frozenset({"rename"}),
        True,
    ),
)

_DEPTH = Depth((BOTH_ENDS,), (BOTH_ENDS,))


def fail_everywhere(bench: Bench, act: Act, fault: Fault, *, reads: int = 1) -> Part:
    """Let each operation of an act that the fault is about fail; of reading ones each ``reads``-th."""
    part = Part("faults", f"{act.name}: {fault.name}", f"{fault.words}; {act.words}")
    # After a fault the disk has been edited for the worse by nobody: but a trial may have seen it fail.
    judged = replace(act, ends=act.ends | {"E_HELD"}, lost_records=True, told=False)
    with part.timed():
        exploration, start = Exploration(bench, judged, part, _DEPTH), act.start(bench)
        for operation in _operations(bench, act, part, fault):
            if operation.change is None and operation.index % reads:
                continue
            disk = SimulatedDisk.of(start)
            disk.before = _failing(fault, operation)
            _fail(bench, judged, part, fault, operation, exploration, disk)
    return part


def _operations(bench: Bench, act: Act, part: Part, fault: Fault) -> Iterator[Operation]:
    disk = SimulatedDisk.of(act.start(bench))
    met: list[Operation] = []

    def before(operation: Operation) -> None:
        if not fault.actions or operation.action in fault.actions:
            met.append(operation)

    disk.before = before
    attempt(lambda: act.run(bench, bench.device(disk, act.world(bench.world))))
    part.operations += len(disk.operations)
    seen: set[str] = set()
    for operation in met:
        if not (fault.lasting and str(operation) in seen):  # it fails from the first time on
            seen.add(str(operation))
            yield operation


def _fail(
    bench: Bench,
    act: Act,
    part: Part,
    fault: Fault,
    at: Operation,
    exploration: Exploration,
    disk: SimulatedDisk,
) -> None:
    ended = attempt(lambda: act.run(bench, bench.device(disk, act.world(bench.world))))
    disk.before = None
    part.cuts += 1
    part.ended[f"fault: {ended.reason or 'done'}"] += 1
    way = f"act {act.name!r}, operation {at.index} ({at}) failed with {errno.errorcode[fault.number]}"
    if ended.reason == "BUG":
        part.find("bug", f"the act ended with {ended}", way=way)
        return
    exploration.settle_faulted(disk, ended, way)


def _failing(fault: Fault, at: Operation) -> Callable[[Operation], int | None]:
    if fault.lasting:
        return lambda operation: (
            fault.number if operation.index >= at.index and str(operation) == str(at) else None
        )
    return lambda operation: fault.number if operation.index == at.index else None
