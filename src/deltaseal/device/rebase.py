"""Putting the device on a new base, or its own base anew: the one way out of BROKEN.

Invariants:

1. The new base comes from trees that have the digests of the signed base; they are copied into a slot of
   their own, synced and hashed there, before anything is announced.
2. The pointer goes to that slot, in one switch, before a byte of the old baseline is touched. From then on
   what is in use is whole and verified, and the store holds all that is needed to go on without a source.
3. ``baseline`` is taken away and made again, whole under another name first, while the pointer leads to the
   slot; then the pointer goes to it.
4. Doing any of it twice is doing it once: a power cut is answered by :func:`finish_rebase`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deltaseal.device.create import base_of, check_there, copy_components, tree_digest
from deltaseal.device.ledger import Base, Improvement, Rebase
from deltaseal.device.states import Event, State
from deltaseal.device.store import BASE, BASE_DOCUMENT, BASELINE, Store, slot_name
from deltaseal.device.switch import break_off, finish_removal
from deltaseal.device.updater import Updater
from deltaseal.errors import BaseMismatchError, NothingToDo, PolicyError, SpaceError
from deltaseal.manifest import Base as SignedBase
from deltaseal.manifest import verify_base
from deltaseal.storage import Dir, Disk, copy_tree, exists, remove_tree, shares_blocks, walk, write_file
from deltaseal.storage.recipes import temporary_name
from deltaseal.trust import UnverifiedDocument

__all__ = ["NO_IMPROVEMENT", "finish_rebase", "start_rebase"]

NO_IMPROVEMENT = Improvement("", "", "", "", "", 0, "relaunch", [], {}, [], 0)
_SPARE_PERCENT = 10  # as for an improvement (R14)


def start_rebase(up: Updater, document: UnverifiedDocument, trees: Path) -> None:
    """Put the device on a signed base, whose components lie in ``trees``; improvements and slots end.

    Raises ``SignatureError``, ``BaseMismatchError`` for another system or other bytes, ``UsageError`` for
    missing trees, ``TreeError``, ``SpaceError``, ``PolicyError``; then nothing has changed. ``NothingToDo``
    on this very base with nothing applied.
    """
    if up.policy.remove == "admin" and up.edge.uid != 0 and up.ledger.state is not State.BROKEN:
        raise PolicyError(
            "a rebase removes what is applied, and the policy lets only an administrator remove",
            remove=up.policy.remove,
            uid=up.edge.uid,
        )
    signed = verify_base(document, up.trust, now=up.now).value
    if signed.os != up.base.os:
        raise BaseMismatchError(
            f"the base is for {signed.os}, this device runs {up.base.os}",
            expected=up.base.os,
            found=signed.os,
        )
    disk = up.store.disk
    with disk.open_root(trees) as origin:
        check_there(disk, origin, signed, trees)
        _check_bytes({name: tree_digest(disk, origin, name, signed) for name in signed.components}, signed)
        base = base_of(signed, dict(signed.components))
        if up.ledger.state is State.BASELINE and up.base == base and not up.store.baseline_faults(base):
            raise NothingToDo(
                f"the device is on {base.os} {base.version} build {base.build} already, byte for byte",
                base=base.build,
            )
        _check_space(up, origin, signed)
        slot = max([up.ledger.slots, *up.store.slots()]) + 1
        try:
            found = _stage(up, slot, origin, signed, document)
            _check_bytes(found, signed)
        except BaseException:
            remove_tree(disk, up.store.root, slot_name(slot))
            raise
    rebase = Rebase(base, slot)
    switch = up.switch_facts(NO_IMPROVEMENT)
    up.store.give_up_reserve()
    up.record(Event.REBASE, State.REBASING, None, rebase=rebase.to_json(), switch=switch, uid=up.edge.uid)
    finish_rebase(up)


def finish_rebase(up: Updater) -> None:
    """REBASING: go on from wherever it was cut off. Raises ``BrokenError`` if nothing good is left."""
    rebase = up.ledger.rebase
    assert rebase is not None, "the state says that a base is on its way"
    store, slot = up.store, slot_name(rebase.slot)
    up.store.give_up_reserve()
    faults = store.slot_faults(rebase.slot, rebase.base.found, rebase.base)
    unmade = store.baseline_faults(rebase.base)
    if faults and unmade:
        _give_up(up, f"the staged base is damaged: {', '.join(sorted(faults))}")
        return
    if not faults:
        store.point(slot)
        _keep_document(store, rebase.slot)
        if unmade:
            _make_baseline(store, slot, rebase.base)
    store.point(BASELINE)
    up.record(Event.SWITCHED, State.BASELINE, None)
    up.store.confirmed()
    up.keep_slots()
    store.clear_fetch()
    up.refill_reserve()


def _check_bytes(found: dict[str, str], signed: SignedBase) -> None:
    other = {name: digest for name, digest in found.items() if digest != signed.components[name]}
    if other:
        name, digest = next(iter(other.items()))
        raise BaseMismatchError(
            f"{name} has tree digest {digest[:12]}…, the signed base says {signed.components[name][:12]}…",
            hint="name the folder with the components of exactly this base",
            expected={each: signed.components[each] for each in other},
            found=other,
        )


@dataclass(frozen=True, slots=True)
class _Amount:
    bytes: int
    entries: int


def _amount(disk: Disk, at: Dir) -> _Amount:
    sizes = [found.stat.size if found.stat.kind == "file" else 0 for found in walk(disk, at)]
    return _Amount(sum(sizes), len(sizes))


def _check_space(up: Updater, origin: Dir, signed: SignedBase) -> None:
    """Space for the slot and, where files cannot share blocks, for what the baseline grows (R14)."""
    disk = up.store.disk
    new = _total(disk, origin, signed.components)
    old = _total(disk, up.store.root, [BASELINE] if exists(disk, up.store.root, BASELINE) else [])
    grown = 0 if shares_blocks(disk, up.store.root) else max(0, new.bytes - old.bytes)
    need_bytes = (new.bytes + grown) * (100 + _SPARE_PERCENT) // 100
    need_entries = (new.entries + max(0, new.entries - old.entries)) * (100 + _SPARE_PERCENT) // 100
    free = disk.space(up.store.root)
    if free.bytes_free < need_bytes or free.inodes_free < need_entries:
        raise SpaceError(
            f"the new base needs {need_bytes:,} bytes and {need_entries:,} files, "
            f"{free.bytes_free:,} and {free.inodes_free:,} are free",
            need_bytes=need_bytes,
            need_entries=need_entries,
            free_bytes=free.bytes_free,
            free_entries=free.inodes_free,
        )


def _total(disk: Disk, origin: Dir, components: Iterable[str]) -> _Amount:
    amounts = []
    for name in components:
        with disk.open_dir(origin, name) as tree:
            amounts.append(_amount(disk, tree))
    return _Amount(sum(each.bytes for each in amounts), sum(each.entries + 1 for each in amounts))


def _stage(
    up: Updater, number: int, origin: Dir, signed: SignedBase, document: UnverifiedDocument
) -> dict[str, str]:
    """Copy the base into a slot with its signed document, durably; return the digests of the copies."""
    disk = up.store.disk
    with disk.make_dir(up.store.root, slot_name(number)) as slot:
        write_file(disk, slot, BASE, document.to_bytes())
        found = copy_components(disk, origin, slot, signed)  # their names too are durable after it
    disk.sync_dir(up.store.root)
    return found


def _keep_document(store: Store, slot: int) -> None:
    document = store.slot_base(slot)
    assert document is not None, "it was staged with its document"
    write_file(store.disk, store.root, BASE_DOCUMENT, document.to_bytes())


def _make_baseline(store: Store, slot: str, base: Base) -> None:
    """Replace ``baseline`` by copies of what lies in the slot; the pointer leads to the slot meanwhile.

    ``baseline`` is whole or not there, at every moment: deltaseal-rescue goes there without a look into it.
    """
    disk, beside, aside = store.disk, temporary_name(BASELINE), temporary_name("former")
    if exists(disk, store.root, BASELINE):
        disk.rename(store.root, BASELINE, store.root, aside)
        disk.sync_dir(store.root)
    for left in (aside, beside):
        remove_tree(disk, store.root, left)
    with disk.make_dir(store.root, beside) as made, store.inside(slot) as origin:
        for name in sorted(base.found):
            copy_tree(disk, origin, name, made, name)  # its name too is durable after it
    disk.rename(store.root, beside, store.root, BASELINE)
    disk.sync_dir(store.root)


def _give_up(up: Updater, sentence: str) -> None:
    """The staged base is not good any more: the baseline, if that is good, old or new."""
    if up.store.baseline_faults(up.base):
        break_off(up, f"{sentence}; the baseline is damaged too")
    switch = up.switch_facts(NO_IMPROVEMENT)
    up.record(Event.SLOT_BAD, State.REMOVING, None, reason="E_DIGEST", sentence=sentence, switch=switch)
    finish_removal(up)
