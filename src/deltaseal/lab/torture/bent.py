"""Bytes changed or cut off on the way: bundles and documents at the door, and journals on the disk."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from deltaseal.bundle import open_bundle
from deltaseal.lab.torture.acts import Act, acts_of
from deltaseal.lab.torture.bench import Bench, attempt, overlaid
from deltaseal.lab.torture.power import CUT_ONCE, Exploration
from deltaseal.lab.torture.result import Part
from deltaseal.lab.torture.seen import ROOT
from deltaseal.lab.torture.sources import MemorySource
from deltaseal.manifest import verify_base, verify_catalogue, verify_device_manifest
from deltaseal.storage import BytesSource, SimulatedDisk
from deltaseal.trust import UnverifiedDocument

__all__ = ["bend_documents", "bend_journal", "bend_payloads"]

_REFUSALS = frozenset(
    {
        "E_SIG",
        "E_TYPE",
        "E_DIGEST",
        "E_LIMIT",
        "E_EXPIRED",
        "E_DELTA",
        "E_TREE",
        "E_BASE",
        "NOTHING",
        "E_NET",
        "E_USAGE",
    }
)
Door = Callable[[bytes], bytes]
"""Takes bytes in and returns the digest of what it believed."""


def bend_documents(bench: Bench, *, others: int = 1) -> list[Part]:
    """Flip a bit of every byte of the signed part of a bundle, and cut it off at every boundary.

    The same for the other documents, of which each ``others``-th byte is taken.
    """
    stock, letter = bench.stock, next(iter(bench.stock.bundles))
    trust, now = stock.trust, stock.now
    bundle = stock.bundles[letter]
    head = bundle.size() - sum(payload.size() for payload in bundle.payloads)

    def bundle_door(data: bytes) -> bytes:
        return open_bundle(BytesSource(data)).verify(trust, now=now).signed.digest

    def base_door(data: bytes) -> bytes:
        return bytes.fromhex(verify_base(UnverifiedDocument.loads(data), trust, now=now).digest)

    def permit_door(data: bytes) -> bytes:
        return bytes.fromhex(verify_device_manifest(UnverifiedDocument.loads(data), trust, now=now).digest)

    def catalogue_door(data: bytes) -> bytes:
        return bytes.fromhex(verify_catalogue(UnverifiedDocument.loads(data), trust, now=now).digest)

    permit = stock.source(letter).manifests(None)[0]
    doors: list[tuple[str, Door, bytes, int]] = [
        ("bundle", bundle_door, bundle.to_bytes(), head),
        ("base", base_door, stock.base_document.to_bytes(), 0),
        ("device manifest", permit_door, permit.to_bytes(), 0),
    ]
    if stock.builtin:
        doors.append(("catalogue", catalogue_door, stock.catalogue(letter).to_bytes(), 0))
    return [
        _bend_document(name, door, data, signed or len(data), 1 if signed else others)
        for name, door, data, signed in doors
    ]


def _bend_document(name: str, door: Door, data: bytes, signed: int, every: int) -> Part:
    share = "each" if every == 1 else f"one in {every}"
    part = Part("bent", name, f"a bit of {share} of its {signed:,} signed bytes, and every boundary")
    with part.timed():
        believed = door(data)
        for at in range(0, signed, every):
            bent = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
            _knock(part, door, bent, believed, f"byte {at}, bit {at % 8}")
        for at in sorted(_boundaries(data[:signed])):
            _knock(part, door, data[:at], believed, f"cut off after {at} bytes")
            _knock(part, door, data[:at] + data[at + 1 :], believed, f"byte {at} left out")
        _knock(part, door, data + b"\0", believed, "a byte more")
    return part


def _boundaries(data: bytes) -> set[int]:
    """Where fields of the envelope may end (docs/spec/documents.md), and places between them.

    A signature is as long as its algorithm's; the fields before it are tried byte by byte anyway.
    """
    sizes = (1, 2, 8, 64, 3_309)
    found = {0, len(data) - 1, len(data) // 2}
    for size in sizes:
        found |= {size, len(data) - size}
    found |= set(range(0, len(data), 256))
    return {at for at in found if 0 <= at < len(data)}


def _knock(part: Part, door: Door, data: bytes, believed: bytes, way: str) -> None:
    part.cuts += 1
    opened: list[bytes] = []
    ended = attempt(lambda: opened.append(door(data)))
    if ended.reason == "BUG":
        part.find("bug", f"reading it ended with {ended}", way=way)
    elif not ended.reason and opened[0] != believed:
        part.find("believed", "other content was believed", way=way)
    elif not ended.reason:
        part.ended["same content, signatures enough"] += 1
    else:
        part.ended[ended.reason] += 1


def bend_payloads(bench: Bench, *, samples: int, seed: int = 0) -> Part:
    """Flip bytes of every region of a bundle, cut it off at each record; a whole device must refuse it."""
    letter = next(iter(bench.stock.bundles))
    bundle = bench.stock.bundles[letter]
    part = Part("bent", "bundle, on a device", f"{samples} bytes of each region, and every boundary")
    data, good = bundle.to_bytes(), bench.stock.source(letter)
    with part.timed():
        for way, bent in _bent_bundles(data, list(_regions(bench, letter)), samples, seed):
            source = MemorySource(
                bundles={bundle.digest: bent}, manifests=good.manifests(None), name="a bad mirror"
            )
            disk = SimulatedDisk.of(bench.new())
            device = bench.device(disk, bench.world)
            ended = attempt(lambda device=device, source=source: device.update([source]))  # type: ignore[misc]
            part.cuts += 1
            part.ended[ended.reason or "done"] += 1
            label = bench.eye.label(disk.after_cut("visible"))
            if ended.reason not in _REFUSALS or label != "baseline":
                part.find("believed", f"the update ended with {ended}; the device shows {label}", way=way)
    return part


def _regions(bench: Bench, letter: str) -> Iterator[tuple[str, int, int]]:
    """Name, begin and end of each region of a bundle."""
    bundle = bench.stock.bundles[letter]
    at = bundle.size() - sum(payload.size() for payload in bundle.payloads)
    yield "head", 0, 16
    yield "document", 16, at
    vex = bundle.manifest.vex  # read by people, not by devices
    for number, ((digest, _), payload) in enumerate(
        zip(bundle.manifest.payloads(), bundle.payloads, strict=True)
    ):
        if vex is not None and digest == vex.sha256:
            continue  # the last one
        middle = at + min(84, payload.size() // 2)  # the header of a tree delta (docs/spec/tree.md)
        yield f"payload {number}, header", at, middle
        yield f"payload {number}, rest", middle, at + payload.size()
        at += payload.size()


def _bent_bundles(
    data: bytes, regions: list[tuple[str, int, int]], samples: int, seed: int
) -> Iterator[tuple[str, bytes]]:
    chance = random.Random(seed)
    used = _cheapest_payload(regions)
    for name, begin, end in regions:
        yield f"cut off at the begin of {name}", data[:begin]
        if name.startswith("payload") and name.partition(",")[0] != used:
            continue  # a payload that is not fetched may be anything
        for _ in range(samples):
            at = chance.randrange(begin, end)
            yield (
                f"{name}, byte {at}",
                data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :],
            )


def _cheapest_payload(regions: list[tuple[str, int, int]]) -> str:
    sizes: dict[str, int] = {}
    for name, begin, end in regions:
        if name.startswith("payload"):
            sizes[name.partition(",")[0]] = sizes.get(name.partition(",")[0], 0) + end - begin
    return min(sizes, key=lambda name: sizes[name])


def bend_journal(bench: Bench, *, every: int) -> Part:
    """Cut the journal off at each record, flip bytes of it: the device proves itself anew, and goes on."""
    part = Part("bent", "journal", f"cut off at each record, and every {every}th byte of it changed")
    update = acts_of(bench.stock)[0]
    act: Act = replace(
        update,
        also=frozenset({update.new}),
        lost_records=True,
        everyday=False,
        recovers=frozenset({"", "E_DAMAGED"}),
        ends=frozenset({"", "NOTHING", "E_DAMAGED"}),
    )
    with part.timed():
        start = bench.done(bench.new(), lambda device: act.run(bench, device))
        exploration = Exploration(bench, act, part, CUT_ONCE)
        path = f"{ROOT}/journal/00000001"
        leaf = start.leaves[path]
        assert leaf[0] == "file"
        data, mode = leaf[1], leaf[2]
        ends = [at + 1 for at, byte in enumerate(data) if byte == 0x0A]
        for at in (0, *ends[:-1], *(end - 5 for end in ends)):
            state = overlaid(start, {path: ("file", data[:at], mode)})
            exploration.settle_found(state, f"the journal cut off after {at} of {len(data)} bytes")
        for at in range(3, len(data), every):
            bent = data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]
            exploration.settle_found(
                overlaid(start, {path: ("file", bent, mode)}), f"byte {at} of the journal"
            )
    return part
