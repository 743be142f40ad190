"""Somebody rewrites files while the updater works: whatever was verified before, what is used must be good.

At one operation after another a file of the store is rewritten, cut short, or replaced by a link. However
that ends, the device shows the old or the new trees, or `verify` says what is not: nothing wrong goes unseen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from deltaseal.bundle import CheckedSource
from deltaseal.errors import DamagedError
from deltaseal.lab.torture.acts import Act
from deltaseal.lab.torture.bench import Bench, attempt
from deltaseal.lab.torture.result import Part
from deltaseal.lab.torture.seen import ROOT
from deltaseal.manifest import ComponentChange
from deltaseal.report import Finding
from deltaseal.storage import ByteSource, SimulatedDisk
from deltaseal.storage.nodes import DiskState, Leaf
from deltaseal.storage.simulated import Operation
from deltaseal.trees import Listing, apply, scan

__all__ = ["TARGETS", "swap_everywhere", "swap_under_apply"]

TARGETS = ("fetch", "slot", "baseline", "manifest")
_WAYS = ("rewritten", "cut short", "made a link", "taken away")


def swap_everywhere(bench: Bench, act: Act, target: str, *, every: int = 1) -> Part:
    """Change a file of one kind before each (or each ``every``-th) operation of an act."""
    part = Part(
        "swap", f"{act.name}: {target}", f"a file ({target}) is changed while it is used; {act.words}"
    )
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
    changed = True  # since a victim was looked for

    def before(operation: Operation) -> None:
        nonlocal changed
        if operation.index >= moment and changed and not done:
            changed = False
            path = _victim(disk.snapshot(), target, moment)
            if path:
                _change(disk, path, way)
                done.append(path)
        changed = changed or operation.change is not None

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


def _raise_first(findings: Iterable[Finding]) -> None:
    for finding in findings:
        raise DamagedError(finding.sentence)


def swap_under_apply(bench: Bench, *, every: int = 1) -> Part:
    """Change the payload, or a file of the old tree, while a tree delta is applied, with nothing around it.

    Whatever is changed: what `apply` says that it wrote is what it wrote.
    """
    part = Part("swap", "apply", "the payload or an old file is changed while a tree delta is applied")
    letter = next(iter(bench.stock.bundles))
    change = sorted(bench.stock.bundles[letter].manifest.components.items())[0]
    with part.timed():
        start, sha256 = _laid_out_for_apply(bench, letter, *change)
        length = _applied(start, sha256, part, None)
        for moment in range(length):
            _applied(start, sha256, part, (moment, "rewritten"), victim="delta")
        for count, moment in enumerate(range(0, length, every)):
            _applied(start, sha256, part, (moment, _WAYS[count % len(_WAYS)]))
    return part


def _laid_out_for_apply(
    bench: Bench, letter: str, component: str, change: ComponentChange
) -> tuple[DiskState, str]:
    bundle, route = bench.stock.bundles[letter], change.baseline_route
    payloads = zip(bundle.manifest.payloads(), bundle.payloads, strict=True)
    data = next(source.read_at(0, size) for (digest, size), source in payloads if digest == route.sha256)
    top = f"{component}/"
    old = {
        f"old/{path.removeprefix(top)}": leaf
        for path, leaf in bench.stock.trees.items()
        if path.startswith(top)
    }
    leaves: dict[str, Leaf] = {
        "old": ("dir", 0o755),
        "new": ("dir", 0o755),
        "delta": ("file", data, 0o644),
        **old,
    }
    return DiskState(leaves), route.sha256


class _Witness:
    """Bytes on their way to who consumes them, held against those that were signed."""

    def __init__(self, source: ByteSource, signed: Leaf) -> None:
        assert signed[0] == "file"
        self._source = source
        self._signed = signed[1]
        self.saw_others = False

    def size(self) -> int:
        return self._source.size()

    def read_at(self, offset: int, size: int) -> bytes:
        data = self._source.read_at(offset, size)
        self.saw_others |= data != self._signed[offset : offset + size]
        return data


def _applied(
    start: DiskState, sha256: str, part: Part, swap: tuple[int, str] | None, *, victim: str = ""
) -> int:
    """Apply once, with a change at one moment; returns how many operations that took."""
    disk = SimulatedDisk.of(start)
    files = [path for path in sorted(start.leaves) if start.leaves[path][0] == "file"]
    victims = [victim] if victim else files
    witnesses: list[_Witness] = []

    def before(operation: Operation) -> None:
        if swap and operation.index == swap[0]:
            _change(disk, victims[operation.index % len(victims)], swap[1])

    disk.before = before
    told: list[Listing] = []

    def apply_it() -> None:
        with (
            disk.open_root("/") as root,
            disk.open_dir(root, "old") as old,
            disk.open_dir(root, "new") as new,
            disk.open_read(root, "delta") as payload,
        ):
            listing = scan(disk, old)
            witnesses.append(_Witness(CheckedSource(payload, sha256), start.leaves["delta"]))
            told.append(apply(disk, old, witnesses[0], new, listing=listing))

    ended = attempt(apply_it)
    disk.before = None
    count = len(disk.operations)
    with disk.open_root("new") as new:
        found = scan(disk, new, links="any") if told else None
    if swap:
        part.cuts += 1
        part.ended[f"{swap[1]}: {ended.reason or 'done'}"] += 1
    else:
        part.operations += count
    if ended.reason == "BUG":
        part.find("bug", f"it ended with {ended}", way=str(swap))
    elif any(witness.saw_others for witness in witnesses):
        part.find(
            "believed", "bytes of a payload were used that are not those that were signed", way=str(swap)
        )
    elif found is not None and found != told[0]:
        part.find("unseen", "`apply` wrote something else than it says", way=str(swap))
    return count


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
        disk.tamper(
            path, ("file", data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] if data else b"x", mode)
        )
    elif way == "cut short":
        disk.tamper(path, ("file", data[: len(data) // 2], mode))
    else:
        disk.tamper(path, None)
        if way == "made a link":
            disk.tamper(path, ("link", "/etc/passwd"))
