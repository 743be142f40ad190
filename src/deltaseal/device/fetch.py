"""Fetching payloads by ranges into the store, going on where an earlier fetch ended.

Invariants:

1. A payload is good only after its whole bytes, read back or as written, had the digest that the signed
   manifest names, and its file and name are synced.
2. Bytes from before a power cut are hashed again, like new ones; if the whole is then bad, they are discarded
   and fetched once more from the first byte: what a cut left half-written must not count against a source.
"""

from __future__ import annotations

import hashlib

from deltaseal.bundle import VerifiedBundle
from deltaseal.device.store import FETCH
from deltaseal.device.updater import Updater
from deltaseal.errors import DigestError
from deltaseal.manifest import Route
from deltaseal.storage import ByteSource, Dir, Disk, File, MissingError, chunks, exists

__all__ = ["RANGE", "discard_others", "fetch_payload", "is_fetched"]

RANGE = 1 << 20  # bytes asked for at once


def discard_others(up: Updater, bundle: VerifiedBundle) -> None:
    """Remove downloads that belong to other work."""
    up.store.clear_fetch(keep=frozenset(sha256 for sha256, _ in bundle.manifest.payloads()))


def is_fetched(up: Updater, route: Route) -> bool:
    """Whether a payload lies in the store in full and with its digest."""
    with up.store.inside(FETCH) as at:
        hasher = hashlib.sha256()
        there = _hash_there(up.store.disk, at, route.sha256, hasher)
    return there == route.size and hasher.hexdigest() == route.sha256


def fetch_payload(up: Updater, bundle: VerifiedBundle, route: Route) -> int:
    """Fetch what is missing of a payload; return how many bytes were fetched.

    Raises ``DigestError`` if the source's bytes are not those that were signed: nothing of them stays.
    """
    stored = bundle.stored(route.sha256)
    with up.store.inside(FETCH) as at:
        resumed = _size(up.store.disk, at, route.sha256) > 0
        fetched, good = _fetch(up, at, stored, route)
        if not good and resumed:
            more, good = _fetch(up, at, stored, route)
            fetched += more
    if not good:
        raise DigestError(
            f"payload {route.sha256[:12]}… of {bundle.manifest.id} has other bytes than were signed",
            payload=route.sha256,
            id=bundle.manifest.id,
        )
    return fetched


def _fetch(up: Updater, at: Dir, stored: ByteSource, route: Route) -> tuple[int, bool]:
    """One go: append what is missing, judge the whole; bad bytes are removed."""
    disk, name = up.store.disk, route.sha256
    if _size(disk, at, name) > route.size:
        disk.unlink(at, name)
    hasher = hashlib.sha256()
    start = done = _hash_there(disk, at, name, hasher)
    with _open(disk, at, name) as file:
        while done < route.size:
            piece = stored.read_at(done, min(RANGE, route.size - done))
            file.write(piece)
            hasher.update(piece)
            done += len(piece)
            up.progress("fetch", done, route.size)
        disk.sync(file)
    disk.sync_dir(at)
    good = hasher.hexdigest() == route.sha256
    if not good:
        disk.unlink(at, name)
        disk.sync_dir(at)
    return done - start, good


def _open(disk: Disk, at: Dir, name: str) -> File:
    return disk.open_append(at, name) if exists(disk, at, name) else disk.create(at, name)


def _size(disk: Disk, at: Dir, name: str) -> int:
    try:
        return disk.stat(at, name).size
    except MissingError:
        return 0


def _hash_there(disk: Disk, at: Dir, name: str, hasher: hashlib._Hash) -> int:
    try:
        with disk.open_read(at, name) as file:
            for piece in chunks(file):
                hasher.update(piece)
            return file.size()
    except MissingError:
        return 0
