"""Hostile listings and deltas (product rules, section 9), the deltas signed with good keys as a thief could.

Each listing goes to the reader of listings. Each delta goes to a whole device, inside a bundle that is signed
for it: so nothing but the applier itself stands in its way. It must be refused by its kind of reason, and the
device must be what it was, outside the store too. Image deltas are bent byte by byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import zstandard

from deltaseal import images
from deltaseal.lab.torture.bench import Bench, attempt
from deltaseal.lab.torture.result import Part
from deltaseal.lab.torture.seen import ROOT
from deltaseal.lab.torture.stock import BASELINE, Stock, respoilt
from deltaseal.storage import BytesSource, SimulatedDisk
from deltaseal.trees import Listing
from deltaseal.trees.container import dump, load
from deltaseal.trees.plan import Built, Coding, Edit, Group, OldFile, Plan

__all__ = ["DELTAS", "LISTINGS", "bend_image_delta", "play_deltas", "play_listings"]

_SHA = "ab" * 32


@dataclass(frozen=True, slots=True)
class Hostile:
    """A hostile input: the rule that it breaks, in words, and its bytes."""

    rule: str
    words: str
    data: bytes
    names: str = "sensitive"


def _listing(*lines: str | bytes, count: int | None = None, end: bytes = b"") -> bytes:
    encoded = [line.encode("utf-8", "surrogateescape") if isinstance(line, str) else line for line in lines]
    first = b"deltaseal-tree/0 %d" % (len(lines) if count is None else count)
    return b"".join(line + b"\n" for line in (first, *encoded)) + end


LISTINGS: tuple[Hostile, ...] = (
    Hostile("H01", "a name that steps up", _listing(f"f\t../x\t1\t{_SHA}")),
    Hostile("H01", "a path that steps up in the middle", _listing("d\ta", f"f\ta/../../x\t1\t{_SHA}")),
    Hostile("H02", "an absolute path", _listing(f"f\t/etc/x\t1\t{_SHA}")),
    Hostile("H03", "an absolute link", _listing("l\tdoor\t/etc")),
    Hostile("H03", "a link that leaves the tree", _listing("d\ta", "l\ta/door\t../../etc")),
    Hostile("H03", "a path through a link", _listing("d\ta", "l\tb\ta", f"f\tb/c\t1\t{_SHA}")),
    Hostile("H04", "a device", _listing("c\tnull\t1\t3")),
    Hostile("H04", "a FIFO", _listing("p\tpipe")),
    Hostile("H04", "a hard link", _listing("h\tb\ta")),
    Hostile("H06", "a path twice", _listing("d\ta", f"f\ta\t1\t{_SHA}")),
    Hostile("H06", "out of order", _listing("d\tb", "d\ta")),
    Hostile("H07", "equal after case folding", _listing("d\tLib", "d\tlib"), "insensitive"),
    Hostile("H08", "equal after NFC", _listing("d\te\u0301", "d\t\u00e9"), "insensitive"),
    Hostile("H09", "an empty name", _listing("d\t")),
    Hostile("H09", "a dot", _listing("d\ta", "d\ta/.")),
    Hostile("H09", "a NUL", _listing("d\ta\0b")),
    Hostile("H09", "a control character", _listing("d\ta\x1bb")),
    Hostile("H09", "a name of 256 bytes", _listing("d\t" + "n" * 256)),
    Hostile(
        "H10", "sizes whose sum overflows", _listing(*(f"f\t{n}\t{(1 << 63) - 1}\t{_SHA}" for n in range(3)))
    ),
    Hostile("H13", "data after its end", _listing("d\ta", end=b"d\tb\n")),
    Hostile("H13", "an entry missing", _listing("d\ta", count=2)),
    Hostile("H13", "a line without its end", _listing("d\ta")[:-1]),
    Hostile("H14", "too many entries", _listing("d\ta", count=(1 << 20) + 1)),
)


def play_listings() -> Part:
    """Give every hostile listing to the reader."""
    part = Part("hostile", "listings", f"{len(LISTINGS)} listings that must not be")
    with part.timed():
        for each in LISTINGS:
            ended = attempt(lambda each=each: Listing.loads(each.data, names=each.names))  # type: ignore[misc]
            part.cuts += 1
            part.ended[ended.reason or "done"] += 1
            if ended.reason != "E_TREE":
                part.find("believed", f"{each.rule}, {each.words}: it ended with {ended}")
    return part


# ---- deltas ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Original:
    """A good tree delta, and what it is made from: what hostile ones begin with."""

    delta: bytes
    old: bytes  # digest of the old tree
    new: bytes  # digest of the new tree

    def with_plan(self, edits: list[Edit], groups: list[Group], *payloads: bytes) -> bytes:
        """A delta with another plan."""
        return dump(self.old, self.new, Plan(tuple(edits), tuple(groups)), payloads)

    def with_file(self, path: bytes, content: bytes = b"no", *, size: int | None = None) -> bytes:
        """A delta that only makes one file."""
        built = Built(len(content) if size is None else size, bytes(4))
        edit = Edit(path, "file", was_there=False, executable=False, target=b"", content=built)
        return self.with_plan([edit], [Group(Coding.RAW, (), (0,), len(content))], content)

    def with_frame(self, frame: bytes, size: int) -> bytes:
        """A delta whose one file comes out of a zstd frame."""
        edit = Edit(b"fresh", "file", False, False, b"", Built(size, bytes(4)))
        return self.with_plan([edit], [Group(Coding.ZSTD, (), (0,), len(frame))], frame)

    def with_link(self, path: bytes, target: bytes, *more: Edit) -> bytes:
        """A delta that makes a link."""
        link = Edit(path, "link", was_there=False, executable=False, target=target, content=None)
        groups = [Group(Coding.RAW, (), (0,), 2)] if more else []
        return self.with_plan([link, *more], groups, *([b"no"] if more else []))

    def with_checks(self, check: bytes) -> bytes:
        """The good delta, which promises other beginnings of digests."""
        read = load(BytesSource(self.delta))
        edits = [
            replace(edit, content=Built(edit.content.size, check))
            if isinstance(edit.content, Built)
            else edit
            for edit in read.plan.edits
        ]
        payloads = [payload.read_at(0, payload.size()) for payload in read.payloads]
        return self.with_plan(edits, list(read.plan.groups), *payloads)

    def with_numbers(self, at: int, data: bytes) -> bytes:
        """The good delta with a few of its bytes replaced."""
        return self.delta[:at] + data + self.delta[at + len(data) :]


def _file(path: bytes) -> Edit:
    return Edit(path, "file", False, False, b"", Built(2, bytes(4)))


def _moved(path: bytes, number: int) -> Edit:
    return Edit(path, "file", False, False, b"", OldFile(number))


def _frame(data: bytes, *, window_log: int = 17, magic: bool = False, checksum: bool = False) -> bytes:
    parameters = zstandard.ZstdCompressionParameters(
        window_log=window_log,
        format=zstandard.FORMAT_ZSTD1 if magic else zstandard.FORMAT_ZSTD1_MAGICLESS,
        write_content_size=False,
        write_checksum=checksum,
        write_dict_id=False,
    )
    writer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return writer.compress(data) + writer.flush()


def _bomb(size: int) -> bytes:
    """A frame that unpacks to so many zeros (RFC 8878, 3.1.1.2: blocks of one byte repeated)."""
    block, blocks = 1 << 17, []
    for left in range(size, 0, -block):
        last = left <= block
        blocks.append((min(left, block) << 3 | 1 << 1 | last).to_bytes(3, "little") + b"\0")
    return b"\0" + bytes([(17 - 10) << 3]) + b"".join(blocks)


_TOO_LONG = b"\xff" * 10  # as a number: over 64 bits

DELTAS: tuple[tuple[str, str, Callable[[Original], bytes]], ...] = (
    ("H01", "a file beside the tree", lambda good: good.with_file(b"../out")),
    ("H02", "an absolute path", lambda good: good.with_file(b"/etc/out")),
    ("H03", "an absolute link", lambda good: good.with_link(b"door", b"/etc")),
    ("H03", "a link that leaves the tree", lambda good: good.with_link(b"door", b"../../..")),
    ("H03", "a file through a new link", lambda good: good.with_link(b"door", b"share", _file(b"door/x"))),
    ("H09", "a control character", lambda good: good.with_file(b"a\x1bb")),
    ("H09", "a name of 256 bytes", lambda good: good.with_file(b"n" * 256)),
    ("H10", "sizes whose sum overflows", lambda good: good.with_frame(_frame(b"x"), (1 << 63) - 1)),
    ("H11", "another size than declared", lambda good: good.with_file(b"fresh", b"no", size=3)),
    ("H13", "data after its end", lambda good: good.delta + b"\0"),
    ("H13", "its end missing", lambda good: good.delta[:-1]),
    ("H20", "a window over the cap", lambda good: good.with_frame(b"\0\xff" + _frame(b"x" * 99)[2:], 99)),
    ("H21", "more than declared", lambda good: good.with_frame(_frame(b"x" * 999), 99)),
    ("H21", "less than declared", lambda good: good.with_frame(_frame(b"x" * 99), 999)),
    ("H22", "a bomb", lambda good: good.with_frame(_bomb(1 << 26), 1 << 26)),
    ("H23", "a magic number", lambda good: good.with_frame(_frame(b"x" * 99, magic=True), 99)),
    ("H23", "a checksum", lambda good: good.with_frame(_frame(b"x" * 99, checksum=True), 99)),
    ("H23", "a second frame", lambda good: good.with_frame(_frame(b"x" * 99) * 2, 198)),
    ("H24", "a frame cut short", lambda good: good.with_frame(_frame(b"x" * 99)[:-2], 99)),
    ("H30", "a total length of 64 bits", lambda good: good.with_numbers(8, b"\xff" * 8)),
    ("H31", "an old file that is none", lambda good: good.with_plan([_moved(b"fresh", 1 << 40)], [])),
    (
        "H31",
        "a group that reads an old file that is none",
        lambda good: good.with_plan(
            [_file(b"fresh")],
            [Group(Coding.ZSTD_OLD, (1 << 40,), (0,), 9)],
            _frame(b"no")[:9].ljust(9, b"\0"),
        ),
    ),
    (
        "H33",
        "a file that two groups make",
        lambda good: good.with_plan([_file(b"fresh")], [Group(Coding.RAW, (), (0,), 2)] * 2, b"no", b"no"),
    ),
    ("H33", "a file that no group makes", lambda good: good.with_plan([_file(b"fresh")], [])),
    ("H34", "a number of over 64 bits", lambda good: good.with_numbers(84, _TOO_LONG)),
    ("H36", "a plan larger than its place", lambda good: good.with_numbers(84, b"\xff\xff\xff\x0f")),
    ("H37", "another result than promised", lambda good: good.with_numbers(48, bytes(32))),
    ("H37", "files with other digests than promised", lambda good: good.with_checks(bytes(4))),
    ("H37", "another old tree than there is", lambda good: good.with_numbers(16, bytes(32))),
)

_REFUSED = frozenset({"E_TREE", "E_DELTA", "E_LIMIT", "E_DIGEST", "E_BASE", "E_SPACE"})


def play_deltas(bench: Bench) -> Part:
    """Give every hostile delta to a device, signed."""
    part = Part("hostile", "deltas", f"{len(DELTAS)} signed deltas that must not be applied")
    with part.timed():
        good = _original(bench.stock)
        outside = {path: leaf for path, leaf in bench.new().leaves.items() if not path.startswith(f"{ROOT}/")}
        for rule, words, make in DELTAS:
            disk = SimulatedDisk.of(bench.new())
            ended = attempt(lambda make=make, disk=disk: _offer(bench, make(good), disk))  # type: ignore[misc]
            part.cuts += 1
            part.ended[ended.reason or "done"] += 1
            left = disk.after_cut("visible")
            label = bench.eye.label(left)
            if ended.reason not in _REFUSED:
                part.find("believed", f"{rule}, {words}: the update ended with {ended}")
            elif label != BASELINE or bench.eye.leftovers(left):
                part.find("mixed", f"{rule}, {words}: the device shows {label}, or has something left over")
            elif {
                path: leaf for path, leaf in left.leaves.items() if not path.startswith(f"{ROOT}/")
            } != outside:
                part.find("outside", f"{rule}, {words}: something outside the store was written")
    return part


def _original(stock: Stock) -> Original:
    bundle = stock.bundles[next(iter(stock.bundles))]
    change = bundle.manifest.components["app"]
    route = change.baseline_route
    for (digest, size), payload in zip(bundle.manifest.payloads(), bundle.payloads, strict=True):
        if digest == route.sha256:
            delta = payload.read_at(0, size)
    return Original(delta, bytes.fromhex(change.base_tree), bytes.fromhex(change.result_tree))


def _offer(bench: Bench, delta: bytes, disk: SimulatedDisk) -> None:
    """A bundle with nothing but this delta, by every route."""
    letter = next(iter(bench.stock.bundles))
    bundle = respoilt(bench.stock.bundles[letter], lambda component, kind, payload: delta)
    stock = replace(bench.stock, bundles={letter: bundle})
    bench.device(disk, bench.world).update([stock.source(letter)])


def bend_image_delta(bench: Bench) -> Part:
    """Set every byte of an image delta to other values, verification off: refused, or another image."""
    part = Part(
        "hostile", "image deltas", "every byte of an image delta set to other values, digests not compared"
    )
    with part.timed():
        for delta, old, limit in _image_deltas(bench.stock):
            limits = images.Limits(output_bytes=limit, memory_bytes=1 << 26, seconds=10)
            for at in range(len(delta)):
                for value in {0, 0x7F, 0xFF, delta[at] ^ 1} - {delta[at]}:
                    bent = delta[:at] + bytes([value]) + delta[at + 1 :]
                    ended = attempt(
                        lambda bent=bent, old=old, limits=limits: images.apply(  # type: ignore[misc]
                            old, bent, lambda piece: None, limits=limits
                        )
                    )
                    part.cuts += 1
                    part.ended[ended.reason or "another image"] += 1
                    if ended.reason == "BUG" or "was ended by" in ended.sentence:
                        part.find("crash", f"the applier ended with {ended}", way=f"byte {at} set to {value}")
    return part


def _image_deltas(stock: Stock) -> Iterator[tuple[bytes, bytes, int]]:
    """Every image delta in the first payload, with its old bytes and the size of what it makes."""
    read = load(BytesSource(_original(stock).delta))
    old = _old_files(stock)
    for group, payload in zip(read.plan.groups, read.payloads, strict=True):
        if group.coding is Coding.IMAGE:
            sizes = [read.plan.built[number].size for number in group.new]
            yield (
                payload.read_at(0, payload.size()),
                b"".join(old[number] for number in group.old),
                sum(sizes),
            )


def _old_files(stock: Stock) -> dict[int, bytes]:
    """The bytes of each old file of ``app`` by its place in the tree's listing."""
    paths = sorted(path.encode() for path in stock.trees if path.startswith("app/"))
    found = {}
    for place, path in enumerate(paths):
        leaf = stock.trees[path.decode()]
        if leaf[0] == "file":
            found[place] = leaf[1]
    return found
