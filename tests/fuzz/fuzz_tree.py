"""Fuzz target of the tree readers: any bytes are a listing, a delta that applies, or refused.

    python tests/fuzz/fuzz_tree.py [CORPUS_DIRECTORY] [libFuzzer options]

needs atheris. The seeds in ``seeds/tree`` are made by ``--make-seeds``; what fuzzing found is in
``seeds/tree-found``, kept by ``./dev fuzz --keep``. All run in every test run.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from deltaseal.errors import DeltasealError
from deltaseal.storage import BytesSource, SimulatedDisk
from deltaseal.trees import MAGIC, Entry, Limits, Listing, apply, inspect, scan

SEEDS = Path(__file__).parent / "seeds" / "tree"

_OLD_TOOL = b"\x7fELF" + bytes(range(200))
_OLD_TEXT = b"some words, and some more words\n" * 8
OLD = {
    "old/bin/tool": ("file", _OLD_TOOL, 0o755),
    "old/doc/text": ("file", _OLD_TEXT, 0o644),
    "old/doc/link": ("link", "text"),
    "old/etc": ("link", "/etc"),
    "dest": ("dir", 0o755),
    "beside": ("file", b"mine", 0o600),
}
_LIMITS = Limits(output_bytes=1 << 20, memory_bytes=1 << 26, seconds=5, entries=1000)


def fuzz_one(data: bytes) -> bool:
    """Read ``data`` as a listing or apply it as a delta; whether it is one.

    A delta is made to fit the one old tree there is, so that the rest of it is reached.
    """
    try:
        if not data.startswith(MAGIC):
            assert Listing.loads(data).dumps() == data
            return True
        inspect(BytesSource(data))
        return _applies(data)
    except DeltasealError:
        return False


def _applies(data: bytes) -> bool:
    disk = SimulatedDisk(OLD)
    before = disk.snapshot()
    with disk.open_root("old") as old, disk.open_root("dest") as dest:
        listing = scan(disk, old)
        fitted = data[:16] + listing.digest + data[48:]
        try:
            made = apply(disk, old, BytesSource(fitted), dest, listing=listing, limits=_LIMITS)
            assert scan(disk, dest, links=listing) == made
        finally:
            after = disk.snapshot()
            assert {path: leaf for path, leaf in after.items() if not path.startswith("dest/")} == before
    return True


def make_seeds() -> dict[str, bytes]:
    """Good listings and deltas with every kind of field, and one fault each: named for it."""
    from support.tree_delta import Delta, built, edit, frame, group, plan, varint

    disk = SimulatedDisk(OLD)
    with disk.open_root("old") as top:
        listing = scan(disk, top)
    text, tool = _OLD_TEXT + b"more", _OLD_TOOL + b"!"
    edits = [
        edit(b"bin/tool", 3 + 8, built(tool)),
        edit(b"doc/link", 8),
        edit(b"doc/text", 2 + 8, built(text), shared=4),
        edit(b"etc", 1 + 8),
        edit(b"etc/copy", 3 + 32, varint(1), shared=3),
        edit(b"etc/raw", 2, built(b"raw"), shared=4),
        edit(b"etc/twin", 2 + 48, varint(2), shared=4),
        edit(b"etc/up", 4, b"\x06../doc", shared=4),
    ]
    packed = [frame(text), frame(tool)]
    groups = [
        group(0, [], [2], 3),
        group(1, [], [1], len(packed[0])),
        group(2, [1], [0], len(packed[1])),
    ]
    promised = Listing.checked(
        [
            Entry.directory(b"bin"),
            _file(b"bin/tool", tool, executable=True),
            Entry.directory(b"doc"),
            _file(b"doc/text", text),
            Entry.directory(b"etc"),
            _file(b"etc/copy", _OLD_TOOL, executable=True),
            _file(b"etc/raw", b"raw"),
            _file(b"etc/twin", b"raw"),
            Entry.link(b"etc/up", b"../doc"),
        ]
    )
    whole = plan(edits, groups)
    payload = b"".join([b"raw", *packed])

    def delta(wanted: bytes, payload: bytes = b"", **fields: int) -> bytes:
        return bytes(Delta(listing.digest, promised.digest, wanted, payload, **fields))

    def making(coding: int, old: list[int], payload: bytes, *, size: int = 3) -> bytes:
        content = varint(size) + built(b"raw")[1:]
        return delta(plan([edit(b"x", 2, content)], [group(coding, old, [0], len(payload))]), payload)

    good = delta(whole, payload)
    return {
        "listing-good": listing.dumps().replace(b"l\tetc\t/etc\n", b"l\tetc\tbin\n"),
        "listing-link-out": listing.dumps(),
        "listing-cut-short": listing.dumps()[:-1],
        "listing-count": b"deltaseal-tree/0 1048577\n",
        "listing-dots": b"deltaseal-tree/0 1\nd\t..\n",
        "delta-good": good,
        "delta-cut-short": good[:-1],
        "delta-revision": delta(whole, payload, revision=2),
        "delta-plan-no-frame": delta(whole, payload, coding=1),
        "delta-escape": delta(plan([edit(b"../x", 1)], [])),
        "delta-through-link": delta(plan([edit(b"etc/x", 1)], [])),
        "delta-dictionary": making(1, [], b"\x01\x38\x07" + frame(b"raw")[2:]),
        "delta-bomb": making(1, [], frame(bytes(1 << 20)), size=1 << 40),
        "delta-old-far-away": making(2, [1 << 62], frame(b"raw")),
        "delta-image-empty": making(3, [1], b""),
        "delta-image-noise": making(3, [1, 3], bytes(range(64))),
        "empty": b"",
    }


def _file(path: bytes, content: bytes, *, executable: bool = False) -> Entry:
    digest = hashlib.sha256(content).digest()
    return Entry.file(path, size=len(content), sha256=digest, executable=executable)


def main() -> None:
    """Write the seeds, or fuzz until stopped."""
    if sys.argv[1:] == ["--make-seeds"]:
        sys.path.insert(0, str(Path(__file__).parents[1]))
        SEEDS.mkdir(parents=True, exist_ok=True)
        for name, data in make_seeds().items():
            (SEEDS / name).write_bytes(data)
        return
    import atheris

    atheris.instrument_all()
    itself = f"{sys.executable} {sys.argv[0]}"  # how libFuzzer starts it again, by a shell, to merge
    atheris.Setup([itself, *sys.argv[1:]], fuzz_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
