"""What a device does under torture: acts, each from a prepared disk to an end that is known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from deltaseal.device import Device
from deltaseal.device.store import RESERVE_BYTES
from deltaseal.errors import NetworkError
from deltaseal.lab.torture.bench import HOOK, Bench, overlaid
from deltaseal.lab.torture.seen import ROOT, Eye
from deltaseal.lab.torture.sources import MemorySource
from deltaseal.lab.torture.stock import BASELINE, NEXT_BASE, Stock, respoilt
from deltaseal.lab.torture.world import World
from deltaseal.storage.nodes import DiskState, Leaf

__all__ = ["Act", "acts_of", "spoilt_bundles"]

NONE: frozenset[str] = frozenset()
DONE = frozenset({"", "NOTHING"})


@dataclass(frozen=True, slots=True)
class Act:
    """Something that a device is told to do, and what must be true however often it is cut off.

    At every moment the device shows the trees of ``old`` or of ``new`` (labels of the stock; more in
    ``also``). When the act has been done to its end, again and again if need be, it shows ``new`` in one of
    the states ``final``; each try ends with one of the reasons ``ends``.
    """

    name: str
    words: str
    start: Callable[[Bench], DiskState]
    run: Callable[[Bench, Device], object]
    old: str
    new: str
    final: frozenset[str]
    ends: frozenset[str] = DONE
    also: frozenset[str] = NONE
    retry: Callable[[Bench, Device], object] | None = None  # what a person does about an improvement on hold
    world: Callable[[World], World] = lambda world: world
    recovers: frozenset[str] = DONE  # with what reasons `recover` may end on the way
    damaged: bool = False  # the disk was edited before: `verify` may say so
    lost_records: bool = False  # records were lost before: the pointer may win
    broken_off: bool = False  # the end is no end of the work: what is left over is in use
    everyday: bool = False  # what the product promises of it holds through cuts of the recovery too
    killed: bool = False  # it is worth killing the process first, then cutting the power
    # What is believed of a repository before and after, by file name: one of both at every moment.
    believed: Callable[[Bench], tuple[Mapping[str, bytes], Mapping[str, bytes]]] | None = None
    told: bool = True  # once the first run has ended, it shows ``new``, durably


def acts_of(stock: Stock) -> list[Act]:
    """Every act that the stock has the means for."""
    letter = next(iter(stock.bundles))
    acts = [_update(letter), _removal(letter), _rollback(letter)]
    if stock.builtin:
        acts += [_second_letter(), _rebase(), _news()]
    acts = [replace(act, everyday=True) for act in acts]
    acts.append(_removal_on_a_full_disk(letter))
    if not stock.builtin:
        return acts
    return [
        *acts,
        _rollback_to_former(),
        _withdrawal(),
        *(
            _given_up(state, how)
            for state in ("FETCHING", "STAGED")
            for how in ("remove", "withdraw", "higher")
        ),
        _waits("relaunch"),
        _comes_into_use(),
        _removed_while_waiting(),
        _tried_too_often(),
        _bad_bytes_then_good(),
        _bad_bytes_only(),
        _network_fails(),
        _other_route(),
        _no_route(),
        _wrong_result(),
        _staged_slot_edited(),
        _live_damaged(),
        _baseline_damaged(),
        _nothing_good(),
        _rebase_out_of_broken(),
        _rebased_trees_edited(),
        _rebase_to_other_trees(),
        _rebase_to_nothing(),
        _rebase_without_reserve(),
        _rebased_slot_edited_late(),
        _rebase_to_the_same_base(),
        _rescued(),
        _pointer_moved(),
        _record_lost(),
        _torn_journal(),
        _staged_link_moved(),
        _switching_slot_edited(),
        _rollback_to_nothing(),
        _pointer_moved_to_damage(),
        _no_pointer_slot_edited(),
        _no_pointer_baseline_edited(),
        _no_pointer_nothing_good(),
        _rebase_record_lost(),
    ]


def spoilt_bundles(stock: Stock) -> Stock:
    """The stock with bundles that are signed and still cannot be built, as acts need them."""
    if not stock.builtin:
        return stock
    good = stock.bundles["a"]
    other = stock.bundles["b"].manifest.components["app"].result_tree

    def bent(component: str, kind: str, payload: bytes) -> bytes:
        return payload[:-9] + bytes([payload[-9] ^ 0x55]) + payload[-8:]

    def bent_delta(component: str, kind: str, payload: bytes) -> bytes:
        return bent(component, kind, payload) if kind != "whole" else payload

    spoilt = {
        "a, its delta bent": respoilt(good, bent_delta),
        "a, all of it bent": respoilt(good, bent),
        "a, another result signed": respoilt(
            good,
            lambda component, kind, payload: payload,
            amend=lambda manifest: replace(
                manifest, components={"app": replace(manifest.components["app"], result_tree=other)}
            ),
        ),
    }
    return replace(stock, bundles={**stock.bundles, **spoilt})


# ---- prepared disks ------------------------------------------------------------------------------------


def _new(bench: Bench) -> DiskState:
    return bench.new()


def _on(label: str) -> Callable[[Bench], DiskState]:
    """A device with this bundle applied and confirmed."""

    def make(bench: Bench) -> DiskState:
        source = bench.stock.source(label)
        return bench.done(bench.new(), lambda device: device.update([source]))

    return lambda bench: bench.prepared(f"on {label}", make)


def _hooked(start: Callable[[Bench], DiskState]) -> Callable[[Bench], DiskState]:
    """The same with a health hook of the owner."""
    return lambda bench: overlaid(start(bench), {HOOK: ("file", b"#!/bin/sh\n", 0o755)})


def _at(state: str, label: str = "a") -> Callable[[Bench], DiskState]:
    """A device that lost its power on the way to a bundle, as soon as it stood in ``state``."""

    def make(bench: Bench) -> DiskState:
        source = bench.stock.source(label)
        return bench.stopped(bench.new(), lambda device: device.update([source]), state)

    return lambda bench: bench.prepared(f"{state} of {label}", make)


def _edited(start: Callable[[Bench], DiskState], *paths: str) -> Callable[[Bench], DiskState]:
    """The same with one byte of some files changed, as a failing disk or a person would."""

    def make(bench: Bench) -> DiskState:
        state = start(bench)
        return overlaid(
            state, {f"{ROOT}/{path}": _one_byte_off(state.leaves[f"{ROOT}/{path}"]) for path in paths}
        )

    return make


def _one_byte_off(leaf: Leaf) -> Leaf:
    assert leaf[0] == "file"
    return ("file", leaf[1][:9] + bytes([leaf[1][9] ^ 1]) + leaf[1][10:], leaf[2])


def _an_image(bench: Bench, holder: str) -> str:
    """Some file of a component that the first bundle touches."""
    state = _on(next(iter(bench.stock.bundles)))(bench)
    component = sorted(bench.stock.bundles[next(iter(bench.stock.bundles))].manifest.components)[0]
    top = f"{ROOT}/{holder}/{component}/"
    sizes = {
        path: len(leaf[1])
        for path, leaf in state.leaves.items()
        if path.startswith(top) and leaf[0] == "file"
    }
    return max(sizes, key=lambda path: (sizes[path], path)).removeprefix(f"{ROOT}/")


def _with_next_base(start: Callable[[Bench], DiskState]) -> Callable[[Bench], DiskState]:
    def make(bench: Bench) -> DiskState:
        trees = {f"next/{path}": leaf for path, leaf in bench.stock.next_trees.items()}
        return DiskState({**start(bench).leaves, "next": ("dir", 0o755), **trees})

    return make


# ---- what the product does every day -------------------------------------------------------------------


def _updating(*labels: str) -> Callable[[Bench, Device], object]:
    return lambda bench, device: device.update([bench.stock.source(*labels)])


def _retrying(label: str) -> Callable[[Bench, Device], object]:
    def run(bench: Bench, device: Device) -> object:
        id = bench.stock.bundles[label].manifest.id
        return device.install(id, [bench.stock.source(label)], retry=True)

    return run


def _update(label: str) -> Act:
    return Act(
        name="update",
        words="from the baseline to the first improvement",
        start=_new,
        run=_updating(label),
        old=BASELINE,
        new=label,
        final=frozenset({"ACTIVE"}),
        retry=_retrying(label),
    )


def _second_letter() -> Act:
    return replace(
        _update("b"),
        name="second letter",
        words="from the first improvement to a higher one, which touches one component more",
        start=_on("a"),
        run=_updating("a", "b"),
        old="a",
    )


def _removal(label: str) -> Act:
    return Act(
        name="removal",
        words="from the improvement back to the baseline",
        start=_on(label),
        run=lambda bench, device: device.remove(),
        old=label,
        new=BASELINE,
        final=frozenset({"BASELINE"}),
    )


def _removal_on_a_full_disk(label: str) -> Act:
    return replace(
        _removal(label),
        name="removal, disk full",
        words="the same where not a byte is left but the reserve",
        world=lambda world: replace(world, room=0),
    )


def _rollback(label: str) -> Act:
    return Act(
        name="rollback",
        words="a health hook says no: back to the baseline, and held",
        start=_hooked(_new),
        run=_updating(label),
        old=label,
        new=BASELINE,
        final=frozenset({"BASELINE"}),
        ends=frozenset({"ROLLED_BACK", "E_HELD", "NOTHING"}),
        world=lambda world: replace(world, hook=1),
    )


def _rollback_to_former() -> Act:
    return replace(
        _rollback("b"),
        name="rollback to a letter",
        words="a health hook says no to the second letter: back to the first",
        start=_hooked(_on("a")),
        run=_updating("a", "b"),
        new="a",
        final=frozenset({"ACTIVE"}),
    )


def _rebase() -> Act:
    return Act(
        name="rebase",
        words="from an improvement to the next full base",
        start=_with_next_base(_on("a")),
        run=_rebasing,
        old="a",
        new=NEXT_BASE,
        final=frozenset({"BASELINE"}),
    )


def _rebasing(bench: Bench, device: Device) -> object:
    document = bench.stock.next_base
    assert document is not None, "the built-in scenario has one"
    return device.rebase(document, Path("/next"))


def _news() -> Act:
    return Act(
        name="news",
        words="a repository that the device believes in has other metadata, and nothing to install",
        start=lambda bench: bench.believing(),
        run=lambda bench, device: device.update([bench.repository.mirror]),
        old=BASELINE,
        new=BASELINE,
        final=frozenset({"BASELINE"}),
        ends=frozenset({"NOTHING"}),
        believed=lambda bench: (bench.repository.before, bench.repository.after),
    )


def _withdrawal() -> Act:
    return replace(
        _removal("a"),
        name="withdrawal",
        words="the vendor takes the improvement off",
        run=lambda bench, device: device.update([_order_to_leave(bench)]),
    )


def _order_to_leave(bench: Bench) -> MemorySource:
    """A source with nothing but the order to take the first improvement off."""
    return bench.stock.source(catalogue=bench.stock.catalogue("a", serial=2, withdraw="a"))


# ---- what interrupts it --------------------------------------------------------------------------------


def _given_up(state: str, how: str) -> Act:
    words = {
        "remove": "a person removes it",
        "withdraw": "its vendor withdraws it",
        "higher": "a higher letter comes",
    }
    runs: dict[str, Callable[[Bench, Device], object]] = {
        "remove": lambda bench, device: device.remove(),
        "withdraw": lambda bench, device: device.update([_order_to_leave(bench)]),
        "higher": _updating("a", "b"),
    }
    higher = how == "higher"
    return Act(
        name=f"{state.lower()}, then {how}",
        words=f"while it is {state}, {words[how]}",
        start=_at(state),
        run=runs[how],
        old=BASELINE,
        new="b" if higher else BASELINE,
        final=frozenset({"ACTIVE" if higher else "BASELINE"}),
        retry=_retrying("b") if higher else None,
    )


def _waits(activation: str) -> Act:
    return replace(
        _update("a"),
        name="waiting",
        words="a listed program still runs with the old files",
        final=frozenset({"WAITING"}),
        world=lambda world: replace(world, running=("Safari",)),
    )


def _waiting(bench: Bench) -> DiskState:
    def make(bench: Bench) -> DiskState:
        source = bench.stock.source("a")
        busy = replace(bench.world, running=("Safari",))
        return bench.done(bench.new(), lambda device: device.update([source]), busy)

    return bench.prepared("waiting", make)


def _comes_into_use() -> Act:
    return replace(
        _update("a"),
        name="comes into use",
        words="the program that ran with the old files has ended",
        start=_waiting,
        old="a",
    )


def _removed_while_waiting() -> Act:
    return replace(
        _removal("a"),
        name="removed while waiting",
        words="a person removes what nobody used yet",
        start=_waiting,
    )


def _tried_too_often() -> Act:
    """Three trials were cut off already; the next cut is the last."""

    def make(bench: Bench) -> DiskState:
        state = _at("TRIAL")(bench)
        for _ in range(3):
            state = bench.done(state, lambda device: device.recover(), replace(bench.world, boot="again"))
        return state

    return Act(
        name="tried too often",
        words="a fourth trial is cut off: back to the baseline, and held",
        start=lambda bench: bench.prepared("tried three times", make),
        run=_updating("a"),
        old="a",
        new=BASELINE,
        final=frozenset({"BASELINE"}),
        ends=frozenset({"E_HELD"}),
    )


# ---- what comes over the line --------------------------------------------------------------------------


def _payload_at(bench: Bench, label: str) -> int:
    """Where in a bundle the payloads begin."""
    bundle = bench.stock.bundles[label]
    return bundle.size() - sum(payload.size() for payload in bundle.payloads)


def _spoiling(bench: Bench, label: str) -> MemorySource:
    start = _payload_at(bench, label)

    def spoil(offset: int, data: bytes) -> bytes:
        return bytes([data[0] ^ 1]) + data[1:] if data and offset >= start else data

    return bench.stock.source(label, spoil=spoil)


def _bad_bytes_then_good() -> Act:
    return replace(
        _update("a"),
        name="bad bytes, then good",
        words="the first source sends other bytes than were signed, the second the right ones",
        run=lambda bench, device: device.update([_spoiling(bench, "a"), bench.stock.source("a")]),
    )


def _bad_bytes_only() -> Act:
    return Act(
        name="bad bytes",
        words="the only source sends other bytes than were signed",
        start=_new,
        run=lambda bench, device: device.update([_spoiling(bench, "a")]),
        old=BASELINE,
        new=BASELINE,
        final=frozenset({"BASELINE"}),
        ends=frozenset({"E_DIGEST"}),
    )


def _network_fails() -> Act:
    def failing(bench: Bench) -> MemorySource:
        start = _payload_at(bench, "a")

        def spoil(offset: int, data: bytes) -> bytes:
            if offset >= start:
                raise NetworkError("the line is dead")
            return data

        return bench.stock.source("a", spoil=spoil)

    return replace(
        _bad_bytes_only(),
        name="network fails",
        words="the line dies before the first byte of a payload",
        run=lambda bench, device: device.update([failing(bench)]),
        ends=frozenset({"E_NET"}),
        broken_off=True,  # what was downloaded stays for the next try
    )


def _other_route() -> Act:
    return replace(
        _update("a"),
        run=_updating("a, its delta bent"),
        retry=_retrying("a, its delta bent"),
        name="other route",
        words="the signed delta cannot be applied, the whole files can",
    )


def _no_route() -> Act:
    return replace(
        _bad_bytes_only(),
        name="no route",
        words="nothing of what was signed can be applied: held",
        run=_updating("a, all of it bent"),
        ends=frozenset({"E_DELTA", "E_DIGEST", "E_HELD"}),
    )


def _wrong_result() -> Act:
    return replace(
        _no_route(),
        name="wrong result",
        words="what was signed comes out as another tree than was signed: held",
        run=_updating("a, another result signed"),
    )


# ---- what happens to the disk --------------------------------------------------------------------------


def _staged_slot_edited() -> Act:
    return replace(
        _update("a"),
        name="staged slot edited",
        words="the new slot changes between the power cut and the switch: it is made again",
        start=lambda bench: _edited(_at("STAGED"), _an_image(bench, "slot-1"))(bench),
        ends=frozenset({*DONE, "E_DIGEST"}),
        told=False,  # the first try ends with what was found
    )


def _live_damaged() -> Act:
    return replace(
        _removal("a"),
        name="live image damaged",
        words="`recover` finds what is in use damaged, and goes back to the baseline",
        start=lambda bench: _edited(_on("a"), _an_image(bench, "slot-1"))(bench),
        run=lambda bench, device: device.recover(),
        also=frozenset({"unknown trees in slot-1"}),
        ends=frozenset({*DONE, "E_DAMAGED"}),
        recovers=frozenset({*DONE, "E_DAMAGED"}),
        damaged=True,
    )


def _baseline_damaged() -> Act:
    return replace(
        _update("a"),
        name="baseline damaged",
        words="removal is refused where the baseline is damaged",
        start=lambda bench: _edited(_on("a"), _an_image(bench, "baseline"))(bench),
        run=lambda bench, device: device.remove(),
        old="a",
        ends=frozenset({"E_DAMAGED"}),
        recovers=frozenset({"E_DAMAGED"}),
        damaged=True,
        retry=None,
    )


def _both_damaged(bench: Bench) -> DiskState:
    return _edited(_on("a"), _an_image(bench, "slot-1"), _an_image(bench, "baseline"))(bench)


def _nothing_good() -> Act:
    return Act(
        name="nothing good",
        words="both what is in use and the baseline are damaged: the pointer stays",
        start=_both_damaged,
        run=lambda bench, device: device.recover(),
        old="unknown trees in slot-1",
        new="unknown trees in slot-1",
        final=frozenset({"BROKEN"}),
        ends=frozenset({"BROKEN"}),
        recovers=frozenset({"BROKEN"}),
        damaged=True,
        broken_off=True,
    )


def _rebase_out_of_broken() -> Act:
    def make(bench: Bench) -> DiskState:
        return bench.done(_both_damaged(bench), lambda device: device.recover())

    return replace(
        _rebase(),
        name="rebase out of broken",
        words="a good signed base brings a broken device back",
        start=_with_next_base(lambda bench: bench.prepared("broken", make)),
        old="unknown trees in slot-1",
        also=frozenset({"unknown trees in baseline"}),
        recovers=frozenset({*DONE, "BROKEN"}),
        damaged=True,
    )


def _rebased_trees_edited() -> Act:
    """The power goes while the next base comes into its place, and somebody edits it meanwhile."""

    def make(bench: Bench) -> DiskState:
        start = _with_next_base(_on("a"))(bench)
        state = bench.stopped(start, lambda device: _rebasing(bench, device), "REBASING")
        new = Eye(bench.stock).pointer(state)
        slots = sorted(
            {path.split("/")[1] for path in state.leaves if path.startswith(f"{ROOT}/slot-")} - {new}
        )
        return _edited(lambda bench: state, f"{slots[-1]}/app/lib/engine.so")(bench)

    return replace(
        _rebase(),
        name="rebase, its trees edited",
        words="the trees of the next base change between the power cut and their use: back to the baseline",
        start=lambda bench: bench.prepared("rebase edited", make),
        also=frozenset({BASELINE}),
        recovers=frozenset({*DONE, "E_DIGEST", "E_DAMAGED", "E_BASE"}),
        ends=frozenset({*DONE, "E_DIGEST", "E_DAMAGED", "E_BASE"}),
        damaged=True,
        told=False,
    )


def _rebase_to_other_trees() -> Act:
    def start(bench: Bench) -> DiskState:
        state, path = _with_next_base(_on("a"))(bench), "next/app/lib/engine.so"
        return overlaid(state, {path: _one_byte_off(state.leaves[path])})

    return replace(
        _rebase(),
        name="rebase, other trees",
        words="the trees are not those of the signed base: refused, and nothing has changed",
        start=start,
        new="a",
        final=frozenset({"ACTIVE"}),
        ends=frozenset({"E_BASE"}),
    )


def _rebase_to_nothing() -> Act:
    """As :func:`_rebased_trees_edited`, and the baseline is edited too."""

    def make(bench: Bench) -> DiskState:
        return _edited(_rebased_trees_edited().start, _an_image(bench, BASELINE))(bench)

    return replace(
        _nothing_good(),
        name="rebase, nothing good",
        words="the trees of the next base and the baseline change before the pointer does: it stays",
        start=lambda bench: bench.prepared("rebase, nothing good", make),
        old="a",
        new="a",
    )


def _rebase_without_reserve() -> Act:
    return replace(
        _rebase(),
        name="rebase, no reserve",
        words="there is no room for a reserve, so that nothing is given up, and synced, before the record",
        world=lambda world: replace(world, room=RESERVE_BYTES // 2),
        start=lambda bench: overlaid(_with_next_base(_on("a"))(bench), {f"{ROOT}/reserve": None}),
    )


def _rebased_slot_edited_late() -> Act:
    """The next base is in its place, the pointer leads there, and the slot that it came from is edited."""

    def make(bench: Bench) -> DiskState:
        state = _rebased_trees_edited().start(bench)
        old = [path for path in state.leaves if path.startswith(f"{ROOT}/{BASELINE}/")]
        new = {f"{ROOT}/{BASELINE}/{path}": leaf for path, leaf in bench.stock.next_trees.items()}
        document = bench.stock.next_base
        assert document is not None, "the built-in scenario has one"
        changed: dict[str, Leaf | None] = {**dict.fromkeys(old), **new, f"{ROOT}/active": ("link", BASELINE)}
        changed[f"{ROOT}/base.document"] = ("file", document.to_bytes(), 0o644)
        return overlaid(state, changed)

    return replace(
        _rebase(),
        name="rebase, slot edited late",
        words="the new baseline is in use, and the slot that it came from changes before it is wiped",
        start=lambda bench: bench.prepared("rebase edited late", make),
        run=lambda bench, device: device.recover(),
        old=NEXT_BASE,
        damaged=True,
    )


def _rebase_to_the_same_base() -> Act:
    def start(bench: Bench) -> DiskState:
        trees = {f"same/{path}": leaf for path, leaf in bench.stock.trees.items()}
        damaged = _edited(_new, _an_image(bench, BASELINE))(bench)
        return DiskState({**damaged.leaves, "same": ("dir", 0o755), **trees})

    return replace(
        _rebase(),
        name="rebase, the same base",
        words="the baseline is damaged: a rebase to the very base that the device is on makes it good again",
        start=start,
        run=lambda bench, device: device.rebase(bench.stock.base_document, Path("/same")),
        old="unknown trees in baseline",
        new=BASELINE,
        also=NONE,
        recovers=frozenset({*DONE, "BROKEN"}),
        damaged=True,
    )


def _rescued() -> Act:
    """As deltaseal-rescue leaves a device at the fourth boot that nobody confirmed."""

    def start(bench: Bench) -> DiskState:
        mark = {"rescued": ("file", b"slot-1 boots\n", 0o644), "active": ("link", BASELINE)}
        return overlaid(_waiting(bench), {f"{ROOT}/{name}": leaf for name, leaf in mark.items()})  # type: ignore[misc]

    return replace(
        _pointer_moved(),
        name="rescued",
        words="the rescue program has left an improvement: accepted, held, and its mark is gone for good",
        start=start,
        old=BASELINE,
    )


def _pointer_moved() -> Act:
    return replace(
        _removal("a"),
        name="pointer moved",
        words="the rescue program, or a person, points to the baseline: the pointer wins, and it is held",
        start=lambda bench: overlaid(_on("a")(bench), {f"{ROOT}/active": ("link", "baseline")}),
        run=lambda bench, device: device.recover(),
        lost_records=True,
    )


def _record_lost() -> Act:
    """The journal's last records are gone, the pointer leads to the new slot."""

    def make(bench: Bench) -> DiskState:
        state = _on("a")(bench)
        path = f"{ROOT}/journal/00000001"
        leaf = state.leaves[path]
        assert leaf[0] == "file"
        lines = leaf[1].splitlines(keepends=True)
        staged = next(at for at, line in enumerate(lines) if b'"event":"staged"' in line)
        return overlaid(state, {path: ("file", b"".join(lines[: staged + 1]), leaf[2])})

    return replace(
        _update("a"),
        name="records lost",
        words="the journal lost its last records, the pointer leads to the new slot: proved and adopted",
        start=lambda bench: bench.prepared("records lost", make),
        old="a",
        lost_records=True,
    )


def _switching_slot_edited() -> Act:
    return replace(
        _staged_slot_edited(),
        name="switching, slot edited",
        words="the new slot changes between the record of the switch and the pointer: it is made again",
        start=lambda bench: _edited(_at("SWITCHING"), _an_image(bench, "slot-1"))(bench),
    )


def _rollback_to_nothing() -> Act:
    return replace(
        _nothing_good(),
        name="rollback to nothing",
        words="a health hook says no, and the baseline is damaged: the pointer stays",
        start=lambda bench: _hooked(_edited(_at("WAITING"), _an_image(bench, "baseline")))(bench),
        run=_updating("a"),
        old="a",
        new="a",
        recovers=frozenset({*DONE, "BROKEN", "E_DAMAGED"}),
        world=lambda world: replace(world, hook=1),
    )


def _pointer_moved_to_damage() -> Act:
    return replace(
        _nothing_good(),
        name="pointer moved to damage",
        words="the pointer was moved to a baseline that is damaged: no slot in use is good",
        start=lambda bench: overlaid(
            _edited(_on("a"), _an_image(bench, "baseline"))(bench), {f"{ROOT}/active": ("link", "baseline")}
        ),
        old="unknown trees in baseline",
        new="unknown trees in baseline",
    )


def _without_pointer(start: Callable[[Bench], DiskState]) -> Callable[[Bench], DiskState]:
    return lambda bench: overlaid(start(bench), {f"{ROOT}/active": None})


def _no_pointer_slot_edited() -> Act:
    return replace(
        _removal("a"),
        name="no pointer, slot edited",
        words="the pointer is gone, and what it led to is damaged: to the baseline",
        start=lambda bench: _without_pointer(_edited(_on("a"), _an_image(bench, "slot-1")))(bench),
        run=lambda bench, device: device.recover(),
        old="no pointer",
        lost_records=True,
    )


def _no_pointer_baseline_edited() -> Act:
    return replace(
        _nothing_good(),
        name="no pointer, baseline edited",
        words="the pointer is gone, and the baseline it led to is damaged",
        start=lambda bench: _without_pointer(_edited(_new, _an_image(bench, "baseline")))(bench),
        old="no pointer",
        new="no pointer",
    )


def _no_pointer_nothing_good() -> Act:
    return replace(
        _no_pointer_baseline_edited(),
        name="no pointer, nothing good",
        words="the pointer is gone, and both the slot and the baseline are damaged",
        start=_without_pointer(_both_damaged),
    )


def _rebase_record_lost() -> Act:
    """The record of the rebase is gone, the pointer leads to the next base."""

    def make(bench: Bench) -> DiskState:
        start = _with_next_base(_on("a"))(bench)
        state = bench.stopped(start, lambda device: _rebasing(bench, device), "REBASING", pointed=True)
        path = f"{ROOT}/journal/00000001"
        leaf = state.leaves[path]
        assert leaf[0] == "file"
        lines = leaf[1].splitlines(keepends=True)
        first = next(at for at, line in enumerate(lines) if b'"state":"REBASING"' in line)
        return overlaid(state, {path: ("file", b"".join(lines[:first]), leaf[2])})

    return replace(
        _rebase(),
        name="rebase, records lost",
        words="the journal lost the record of the rebase, the pointer leads to the next base: adopted",
        start=lambda bench: bench.prepared("rebase records lost", make),
        old=NEXT_BASE,
        also=frozenset(),
        lost_records=True,
    )


def _torn_journal() -> Act:
    def make(bench: Bench) -> DiskState:
        path, staged = f"{ROOT}/journal/00000001", _at("STAGED")(bench)
        leaf = staged.leaves[path]
        assert leaf[0] == "file"
        return overlaid(staged, {path: ("file", leaf[1] + leaf[1][:70], leaf[2])})

    return replace(
        _update("a"),
        name="journal torn",
        words="the last record was cut short, so that the record of the switch begins a new segment",
        start=lambda bench: bench.prepared("journal torn", make),
        killed=True,
    )


def _staged_link_moved() -> Act:
    return replace(
        _staged_slot_edited(),
        name="staged link moved",
        words="the link of an untouched component leads elsewhere before the switch: the slot is made again",
        start=lambda bench: overlaid(_at("STAGED")(bench), {f"{ROOT}/slot-1/os": ("link", "../fetch")}),
    )
