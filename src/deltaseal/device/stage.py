"""Building a new slot beside what is in use: touched components in full, links for the others.

Invariants:

1. Nothing that is in use is written: all work happens in a slot that no pointer leads to.
2. What is consumed of a payload is what was hashed (``CheckedSource``); what is consumed of the old tree is
   hashed as it is read, and every tree that was made must have the digest that the signed manifest names.
3. Files and directories of the slot are synced before the record says that it is staged, the slot's own name
   too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, cast

from deltaseal.bundle import CheckedSource
from deltaseal.device.ledger import Improvement
from deltaseal.device.store import BASELINE, BUNDLE, FETCH, holder_of, link_to_baseline, slot_name
from deltaseal.device.updater import Updater
from deltaseal.errors import DigestError
from deltaseal.manifest import ROUTE_LETTER, BundleManifest, Route
from deltaseal.storage import remove_tree, write_file
from deltaseal.trees import Limits, apply, scan

__all__ = ["build_component", "finish_slot", "open_slot"]


def open_slot(up: Updater, work: Improvement, document: bytes) -> None:
    """Make the slot anew, with the signed manifest that it is made from."""
    disk = up.store.disk
    remove_tree(disk, up.store.root, slot_name(work.slot))
    with disk.make_dir(up.store.root, slot_name(work.slot)) as slot:
        write_file(disk, slot, BUNDLE, document)


def build_component(
    up: Updater,
    work: Improvement,
    manifest: BundleManifest,
    name: str,
    route: Route,
    *,
    in_place: CheckedSource | None,
) -> None:
    """Build one touched component by one route, from the payload that was fetched, or as it lies elsewhere.

    Raises what ``trees.apply`` raises; ``DigestError`` if the payload, or the tree made of it, is not what
    was signed. What was made so far is removed by the next attempt.
    """
    disk, change = up.store.disk, manifest.components[name]
    old_holder = holder_of(up.ledger.active) if route.kind == ROUTE_LETTER else BASELINE
    names = cast(Literal["sensitive", "insensitive"], up.base.names)
    limits = Limits(
        output_bytes=manifest.limits.output_bytes,
        memory_bytes=manifest.limits.memory_bytes,
        seconds=manifest.limits.seconds,
        entries=manifest.limits.entries,
    )
    with up.store.inside(slot_name(work.slot)) as slot:
        remove_tree(disk, slot, name)
        with (
            _payload(up, route, in_place) as checked,
            up.store.inside(old_holder) as holder,
            disk.open_dir(holder, name) as old,
            disk.make_dir(slot, name) as dest,
        ):
            checked_before = up.checked.get(name) if old_holder == BASELINE else None
            listing = checked_before or scan(disk, old, names=names, exclude=up.base.exclude)
            made = apply(
                disk,
                old,
                checked,
                dest,
                listing=listing,
                names=names,
                limits=limits,
                progress=lambda done, total: up.progress("stage", done, total),
            )
    if made.digest.hex() != change.result_tree:
        raise DigestError(
            f"{name} came out with tree digest {made.digest.hex()}, {change.result_tree} was signed",
            component=name,
            expected=change.result_tree,
            found=made.digest.hex(),
        )


@contextmanager
def _payload(up: Updater, route: Route, in_place: CheckedSource | None) -> Iterator[CheckedSource]:
    if in_place is not None:
        yield in_place
        return
    with up.store.inside(FETCH) as fetch, up.store.disk.open_read(fetch, route.sha256) as payload:
        yield CheckedSource(payload, route.sha256)


def finish_slot(up: Updater, work: Improvement) -> None:
    """Link the untouched components, make the slot's names durable."""
    disk = up.store.disk
    with up.store.inside(slot_name(work.slot)) as slot:
        for name in sorted(up.base.found.keys() - work.trees.keys()):
            disk.symlink(slot, name, link_to_baseline(name))
        disk.sync_dir(slot)
    disk.sync_dir(up.store.root)
