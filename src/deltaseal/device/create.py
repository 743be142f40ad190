"""Making a device in a folder.

Invariants:

1. ``device.json`` is written last: a folder without it is no device, so a creation that was cut off leaves
   none.
2. What the device records as its baseline is hashed from the copies that lie in the store, not from the
   originals.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from deltaseal.device.journal import Journal
from deltaseal.device.ledger import Base, Ledger
from deltaseal.device.record import Opened, Reading
from deltaseal.device.store import (
    BASE_DOCUMENT,
    BASELINE,
    FETCH,
    HOOKS,
    JOURNAL,
    KEY,
    KEY_BYTES,
    Identity,
    Store,
)
from deltaseal.edge import Edge
from deltaseal.errors import DeltasealError, UsageError
from deltaseal.manifest import CHANNELS, effective_now, verify_base
from deltaseal.manifest import Base as SignedBase
from deltaseal.storage import Dir, Disk, copy_tree, exists, remove_tree, write_file
from deltaseal.trees import scan
from deltaseal.trust import Trust, UnverifiedDocument

__all__ = ["base_of", "check_there", "copy_components", "create_store", "tree_digest"]

_POLICY = b"""\
# What the owner of this device wants. All lines may be left out.
# updates = "automatic"        # automatic | notify | off
# deadline = 2026-12-31        # from then on a person's removal is overridden
# personalised_only = false
# remove = "person"            # person | admin
# full_download = "always"     # always | unmetered | never
# trial_seconds = 60           # that a listed process must live with the new image
# hook_seconds = 60            # that one health hook may take
"""


def create_store(
    path: Path,
    *,
    base: UnverifiedDocument,
    trees: Path,
    trust: Trust,
    model: str,
    channel: str,
    edge: Edge,
    disk: Disk,
    metadata: Mapping[str, bytes] | None = None,
) -> None:
    """Make the store of a new device at ``path``, which must be new or empty; its parent must be there.

    ``trees`` holds one directory for each component of ``base``; ``metadata`` is what the device believes of
    a repository, from which ``trust`` follows. Raises ``UsageError`` for what is in the way or missing,
    ``SignatureError`` for the base, ``TreeError`` for a tree that must not be; nothing stays then.
    """
    if channel not in CHANNELS:
        raise UsageError(
            f"{channel!r} is no channel", hint=f"choose one of {', '.join(CHANNELS)}", channel=channel
        )
    path = path.absolute()
    now = effective_now(edge.now(), build_date=edge.build_date)
    signed = verify_base(base, trust, now=now).value
    with disk.open_root(trees) as origin:
        check_there(disk, origin, signed, trees)
        for name in signed.components:
            tree_digest(
                disk, origin, name, signed
            )  # names what must not be in a tree; a copy would not show it
        with disk.open_root(path.parent) as parent, _fresh(disk, parent, path) as root:
            _fill(disk, root, origin, signed, base.to_bytes(), trust, edge, path, metadata)
            identity = Identity(edge.random(16).hex(), model, channel)
            write_file(disk, root, "device.json", identity.dumps())
            disk.sync_dir(parent)


def check_there(disk: Disk, origin: Dir, signed: SignedBase, trees: Path) -> None:
    """Raise ``UsageError`` if ``origin`` lacks a component of the base."""
    missing = [name for name in signed.components if not exists(disk, origin, name)]
    if missing:
        raise UsageError(
            f"{str(trees)!r} has no {', '.join(missing)}",
            hint="name the folder that holds one directory for each component of the base",
            missing=missing,
        )


@contextlib.contextmanager
def _fresh(disk: Disk, parent: Dir, path: Path) -> Iterator[Dir]:
    """The new, or still empty, folder to fill; however the work fails, it is again what it was."""
    made = not exists(disk, parent, path.name)
    with disk.make_dir(parent, path.name) if made else disk.open_dir(parent, path.name) as root:
        if disk.names(root):
            raise UsageError(f"{str(path)!r} is not empty", hint="choose a new folder", path=str(path))
        try:
            yield root
        except BaseException:  # interrupted, too
            with contextlib.suppress(DeltasealError):
                for name in disk.names(root):
                    remove_tree(disk, root, name)
                if made:
                    disk.remove_dir(parent, path.name)
            raise


def _fill(
    disk: Disk,
    root: Dir,
    origin: Dir,
    signed: SignedBase,
    document: bytes,
    trust: Trust,
    edge: Edge,
    path: Path,
    metadata: Mapping[str, bytes] | None,
) -> None:
    for name in (BASELINE, FETCH, HOOKS, JOURNAL):
        disk.make_dir(root, name).close()
    disk.sync_dir(root)
    with disk.open_dir(root, BASELINE) as baseline:
        found = copy_components(disk, origin, baseline, signed)
    write_file(disk, root, BASE_DOCUMENT, document)
    write_file(disk, root, "trust.json", trust.dumps())
    write_file(disk, root, "policy.toml", _POLICY, mode=0o600)
    write_file(disk, root, KEY, edge.random(KEY_BYTES), mode=0o600)
    store = Store(disk, root, path)
    if metadata is not None:
        store.take_metadata(metadata)
    store.point(BASELINE)
    store.fill_reserve(edge.random)
    base = base_of(signed, found)
    with disk.open_dir(root, JOURNAL) as at:
        nothing = Reading((), 0, 0, False, None, ())
        journal = Journal(disk, at, now=edge.now, reading=nothing, ledger=Ledger())
        journal.start(Opened.FIRST, Ledger(base=base))
    write_file(disk, root, "lock", b"", mode=0o600)


def copy_components(disk: Disk, origin: Dir, to: Dir, signed: SignedBase) -> dict[str, str]:
    """Copy every component of a base, durably; return the tree digests of the copies."""
    for name in sorted(signed.components):
        copy_tree(disk, origin, name, to, name)
    return {name: tree_digest(disk, to, name, signed) for name in sorted(signed.components)}


def base_of(signed: SignedBase, found: dict[str, str]) -> Base:
    """A signed base as the journal keeps it, with the tree digests that were found."""
    declared = dict(signed.components)
    return Base(signed.os, signed.version, signed.build, signed.names, list(signed.exclude), declared, found)


def tree_digest(disk: Disk, baseline: Dir, name: str, signed: SignedBase) -> str:
    """Hash one component as it lies in ``baseline``. Raises ``TreeError``."""
    with disk.open_dir(baseline, name) as tree:
        return scan(disk, tree, names=signed.names, exclude=signed.exclude).digest.hex()
