"""Somebody rewrites files while the updater works: whatever was verified before, what is used must be good.

At one operation after another a file of the store is rewritten, cut short, or replaced by a link. However that
ends, the device shows the old or the new trees, or `verify` says what is not: nothing wrong goes unseen.
"""

from __future__ import annotations

from collections.abc import Iterator

from deltaseal.lab.torture.acts import Act
from deltaseal.lab.torture.bench import Bench, attempt
from deltaseal.lab.torture.result import Part
from deltaseal.lab.torture.seen import ROOT
from deltaseal.storage import SimulatedDisk
from deltaseal.storage.simulated import Operation
from deltaseal.storage.volume import Leaf

__all__ = ["TARGETS", "swap_everywhere"]

TARGETS = ("fetch", "slot", "baseline", "manifest")
_WAYS = ("rewritten", "cut short", "made a link", "taken away")


def swap_everywhere(bench: Bench, act: Act, target: str, *, every: int = 1) -> Part:
    """Change a file of one kind before each (or each ``every``-th) operation of an act."""
    part = Part("swap", f"{act.name}: {target}", f"a file ({target}) is changed while it is used; {act.words}")
    with part.timed():
        for moment, way in _moments(bench, act, part, every):
            _swap(bench, act, part, target, moment, way)
    return part


def _moments(bench: Bench, act: Act, part: Part, every: int) -> Iterator[tuple[int, str]]:
    disk = SimulatedDisk.of(act.start(bench))
    attempt(lambda: act.run(bench, bench.device(disk, act.world(bench.world))))
    part.operations += len(disk.operations)
    for count, moment in enumerate(range(0, len(disk.operations), every)):
        yield moment, _WAYS[count % len(_WAYS)]


def _swap(bench: Bench, act: Act, part: Part, target: str, moment: int, way: str) -> None:
    disk = SimulatedDisk.of(act.start(bench))
    done: list[str] = []

    def before(operation: Operation) -> None:
        if operation.index >= moment and not done:
            path = _victim(disk.snapshot(), target, moment)
            if path:
                _change(disk, path, way)
                done.append(path)

    disk.before = before
    device = bench.device(disk, act.world(bench.world))
    ended = attempt(lambda: act.run(bench, device))
    disk.before = None
    if not done:
        part.ended["nothing was there yet"] += 1
        return
    part.cuts += 1
    part.ended[f"{way}: {ended.reason or 'done'}"] += 1
    told = f"{done[0]} {way} before operation {moment}"
    if ended.reason == "BUG":
        part.find("bug", f"the act ended with {ended}", way=told)
        return
    label = bench.eye.label(disk.after_cut("visible"))
    if label in (act.old, act.new):
        return
    verified = attempt(lambda: _raise_first(device.verify()))
    if not verified.reason:
        part.find("unseen", f"the device shows {label}, and `verify` finds nothing", way=told)


def _raise_first(findings: object) -> None:
    from deltaseal.errors import DamagedError

    for finding in findings:  # type: ignore[attr-defined]
        raise DamagedError(str(finding.sentence))


def _victim(leaves: dict[str, Leaf], target: str, moment: int) -> str | None:
    """Some file of the kind, another one at another moment."""
    prefixes = {"fetch": "fetch/", "slot": "slot-", "baseline": "baseline/", "manifest": "slot-"}
    top = f"{ROOT}/{prefixes[target]}"
    found = [
        path
        for path, leaf in sorted(leaves.items())
        if path.startswith(top) and leaf[0] == "file" and path.endswith("/.bundle") == (target == "manifest")
    ]
    return found[moment % len(found)] if found else None


def _change(disk: SimulatedDisk, path: str, way: str) -> None:
    leaf = disk.snapshot()[path]
    assert leaf[0] == "file"
    data, mode = leaf[1], leaf[2]
    if way == "rewritten":
        at = len(data) // 2
        disk.tamper(path, ("file", data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] if data else b"x", mode))
    elif way == "cut short":
        disk.tamper(path, ("file", data[: len(data) // 2], mode))
    else:
        disk.tamper(path, None)
        if way == "made a link":
            disk.tamper(path, ("link", "/etc/passwd"))
