"""Every pair of (last whole record, pointer) is recovered to something verified, and twice is once."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
from pathlib import Path

import pytest
from support.devices import (
    World,
    bundle,
    component,
    new_base,
    new_device,
    signed_base,
    simulated_disk,
    source,
)

from deltaseal.device import Device
from deltaseal.device.journal import add_up, read_journal
from deltaseal.device.ledger import Ledger
from deltaseal.device.recovery import classify
from deltaseal.device.states import RECOVERY, Answer, Pointer, State
from deltaseal.edge import HookResult
from deltaseal.errors import BrokenError, DeltasealError
from deltaseal.storage import File, PowerCut, SimulatedDisk
from deltaseal.storage.simulated import Leaf

ROOT = Path("/d")
POINTERS = ("baseline", "slot-1", "slot-2", "slot-8", "slot-9", None)
PLANTED = ("slot-1", "slot-2", "slot-8")  # made where they are missing; slot-9 is never there
Disk = dict[str, Leaf]


def ledger_of(content: Disk) -> Ledger:
    disk = SimulatedDisk(content)
    return add_up(read_journal(disk, disk.open_root("/d/journal")))


def _start(*, letters: str, hook: bool) -> SimulatedDisk:
    disk = simulated_disk()
    new_device(ROOT, World(), disk=disk)
    for letter in letters:
        Device(ROOT, edge=World().edge(), disk=disk).update([source(bundle(letter))])
    content = disk.snapshot()
    if hook:
        content["d/health.d/probe"] = ("file", b"", 0o755)
    return SimulatedDisk(content)


def _do(device: Device, act: str) -> None:
    if act == "rebase":
        device.rebase(signed_base(new_base()), Path("/full"))
    elif act == "remove":
        device.remove()
    else:
        device.update([source(bundle(act))])


def _stops(start: SimulatedDisk, act: str, world: World) -> dict[State, Disk]:
    """One disk for each state in which a cut can leave the journal while ``act`` runs."""
    found: dict[State, Disk] = {}
    for number in range(10_000):
        disk = start.crash("visible")
        disk.cut_at(number)
        device = Device(ROOT, edge=world.edge(), disk=disk)
        ended = True
        try:
            with contextlib.suppress(DeltasealError):
                _do(device, act)
        except PowerCut:
            ended = False
        content = disk.crash("durable").snapshot()
        found[ledger_of(content).state] = content
        if ended:
            return found
    raise AssertionError("the act never ends")


@functools.cache
def stops() -> dict[tuple[str, State], Disk]:
    """Disks in every state, with and without a former improvement."""
    sick = World(hooks={"probe": HookResult(1, "")})
    made = {
        ("fresh", state): disk for state, disk in _stops(_start(letters="", hook=False), "a", World()).items()
    }
    for state, disk in _stops(_start(letters="a", hook=False), "b", World()).items():
        made["second", state] = disk
    for state, disk in _stops(_start(letters="a", hook=True), "b", sick).items():
        made.setdefault(("second", state), disk)
    waiting = SimulatedDisk(_start(letters="a", hook=False).snapshot())
    offer = source(bundle("b", activation="restart"))
    Device(ROOT, edge=World().edge(), disk=waiting).update([offer])
    for state, disk in _stops(waiting, "remove", World()).items():
        made["waiting", state] = disk
    for act in ("remove", "rebase"):
        for state, disk in _stops(_start(letters="a", hook=False), act, World()).items():
            made.setdefault(("second", state), disk)
    return made


def _pointed(content: Disk, pointer: str | None) -> SimulatedDisk:
    """The disk with another pointer, which leads to a slot that somebody made where there was none."""
    changed = {path: leaf for path, leaf in content.items() if path != "d/active"}
    if pointer is not None:
        changed["d/active"] = ("link", pointer)
    if pointer in PLANTED and f"d/{pointer}" not in content:
        like = next((path for path in sorted(content) if re.fullmatch("d/slot-[0-9]+", path)), "d/baseline")
        changed |= {
            path.replace(like, f"d/{pointer}", 1): leaf
            for path, leaf in content.items()
            if path == like or path.startswith(f"{like}/")
        }
    return SimulatedDisk(changed)


def _shown(disk: SimulatedDisk) -> dict[str, bytes]:
    found = disk.snapshot()
    pointer = found["d/active"][1]
    top = f"d/{pointer}/app/"
    return {
        path[len(top) :]: leaf[1]
        for path, leaf in found.items()
        if path.startswith(top) and leaf[0] == "file"
    }  # type: ignore[misc]


def test_every_state_is_met() -> None:
    assert {state for _, state in stops()} == set(State) - {State.BROKEN}


@pytest.mark.parametrize("pointer", POINTERS, ids=str)
def test_every_pair_is_recovered_to_something_verified(pointer: str | None) -> None:
    good = [component("app", version) for version in (0, 1, 2)]
    for (scene, state), content in stops().items():
        disk = _pointed(content, pointer)
        where = f"{scene} {state} {pointer}"
        device = Device(ROOT, edge=World().edge(), disk=disk)
        device.recover()
        assert _shown(disk) in good, where
        assert device.verify() == (), where
        once = disk.snapshot()
        assert ledger_of(once).state in (
            State.BASELINE,
            State.ACTIVE,
            State.FETCHING,
            State.STAGING,
            State.STAGED,
            State.WAITING,
            State.TRIAL,
        ), where
        if ledger_of(once).state is not State.TRIAL:  # a trial found again is one attempt more
            device.recover()
            assert disk.snapshot() == once, where
        with contextlib.suppress(DeltasealError):
            device.update([source(bundle("a"), bundle("b"))])
        assert _shown(disk) in good, where
        assert device.verify() == (), where


def test_a_pair_that_says_stay_changes_nothing() -> None:
    for (scene, state), content in stops().items():
        for pointer in POINTERS:
            disk = _pointed(content, pointer)
            kind = classify(ledger_of(content), _leads(pointer))
            if RECOVERY[state][kind] is not Answer.STAY or kind is Pointer.GONE:
                continue
            before = disk.snapshot()
            Device(ROOT, edge=World().edge(), disk=disk).recover()
            kept = {path for path in before if not path.startswith(("d/slot-", "d/fetch", "d/reserve"))}
            assert {path: disk.snapshot().get(path) for path in kept} == {
                path: before[path] for path in kept
            }, scene


def _leads(pointer: str | None) -> str | None:
    return None if pointer == "slot-9" else pointer


def test_what_was_being_written_is_removed() -> None:
    content = dict(stops()["second", State.ACTIVE])
    left = ("d/.new-active", "d/.new-reserve", "d/journal/.new-00000009", "d/fetch/.new-x")
    disk = SimulatedDisk({**content, **{path: ("file", b"half", 0o644) for path in left}})
    Device(ROOT, edge=World().edge(), disk=disk).recover()
    assert not [path for path in left if path in disk.snapshot()]


def test_a_trial_that_is_cut_off_too_often_is_rolled_back_and_held() -> None:
    disk = SimulatedDisk(stops()["second", State.TRIAL])
    device = Device(ROOT, edge=World().edge(), disk=disk)
    for attempt in (2, 3):
        device.request()  # recovers first: each start that finds the trial open is one attempt more
        assert ledger_of(disk.snapshot()).attempts["macos-26.3.1-b"] == attempt
    device.request()
    status = device.status()
    assert (status.state, status.letter) == ("ACTIVE", "a")
    assert [(problem.kind, problem.about) for problem in status.problems] == [("held", "macos-26.3.1-b")]
    assert _shown(disk) == component("app", 1)


def test_a_slot_without_a_record_is_only_believed_with_its_signed_manifest_and_bytes() -> None:
    content = dict(stops()["second", State.STAGED])
    assert "d/slot-2/.bundle" in content
    content["d/active"] = ("link", "slot-2")
    proved = SimulatedDisk(content)
    Device(ROOT, edge=World().edge(), disk=proved).recover()
    assert ledger_of(proved.snapshot()).state is State.WAITING
    for path, leaf in (
        ("d/slot-2/.bundle", ("file", b"nothing", 0o644)),
        ("d/slot-2/app/lib/engine.so", ("file", b"other bytes", 0o644)),
        ("d/slot-2/os", ("link", "/etc")),
    ):
        planted = SimulatedDisk({**content, path: leaf})  # type: ignore[dict-item]
        Device(ROOT, edge=World().edge(), disk=planted).recover()
        assert _shown(planted) == component("app", 0), path
        assert ledger_of(planted.snapshot()).state is State.BASELINE


def test_a_staged_slot_that_changed_is_not_switched_to() -> None:
    content = dict(stops()["fresh", State.STAGED])
    content["d/slot-1/app/lib/engine.so"] = ("file", b"changed while the device was off", 0o644)
    disk = SimulatedDisk(content)
    device = Device(ROOT, edge=World().edge(), disk=disk)
    with pytest.raises(DeltasealError) as caught:
        device.update([source(bundle("a"))])
    assert caught.value.reason == "E_DIGEST"
    assert _shown(disk) == component("app", 0)
    assert device.history()[-1].event == "slot-bad"
    assert device.update([source(bundle("a"))]).letter == "a"


def test_the_payload_is_durable_when_the_record_says_so() -> None:
    content = stops()["fresh", State.STAGING]
    route = bundle("a").manifest.components["app"].baseline_route
    kept = content[f"d/fetch/{route.sha256}"][1]
    assert hashlib.sha256(kept).hexdigest() == route.sha256  # type: ignore[arg-type]


class KilledError(BaseException):
    """The process is gone, the machine goes on."""


class KillingDisk(SimulatedDisk):
    """Kills the process instead of syncing the journal for the nth time; what was written stays visible."""

    kill_at = -1

    def sync(self, file: File) -> None:
        """Sync, or die."""
        if "journal/0" in getattr(file, "label", ""):
            self.kill_at -= 1
            if self.kill_at == 0:
                raise KilledError
        super().sync(file)


def test_what_a_killed_process_left_visible_is_made_durable_before_it_is_acted_upon() -> None:
    met = 0
    for number in range(1, 12):
        disk = KillingDisk(_start(letters="", hook=False).snapshot())
        disk.kill_at = number
        with contextlib.suppress(KilledError):
            Device(ROOT, edge=World().edge(), disk=disk).update([source(bundle("a"))])
        disk.kill_at = -1
        seen = ledger_of(disk.snapshot()).state
        if seen is not State.SWITCHING or disk.snapshot()["d/active"] != ("link", "baseline"):
            continue
        met += 1
        disk.operations.clear()
        Device(ROOT, edge=World().edge(), disk=disk).recover()
        assert disk.operations.index("sync /d/journal/00000001") < disk.operations.index(
            "symlink /d/.new-active"
        )
    assert met == 1


# A pair that cannot be: without a former the baseline is the former; without work there is no new slot.
IMPOSSIBLE = {
    (State.BASELINE, Pointer.NEW),
    (State.BASELINE, Pointer.BASELINE),
    (State.ACTIVE, Pointer.NEW),
    (State.REBASING, Pointer.NEW),
}


def test_every_pair_that_can_be_is_met() -> None:
    met = {
        (state, classify(ledger_of(content), _leads(pointer)))
        for (_, state), content in stops().items()
        for pointer in POINTERS
    }
    broken = {(State.BROKEN, pointer) for pointer in Pointer}  # has a test of its own
    pairs = {(state, pointer) for state in State for pointer in Pointer}
    assert pairs - met - broken == IMPOSSIBLE


@pytest.mark.parametrize("pointer", POINTERS, ids=str)
def test_a_broken_device_stays_as_it_is_whatever_its_pointer(pointer: str | None) -> None:
    content = dict(stops()["second", State.ACTIVE])
    for path in content:
        if path.startswith("d/") and path.endswith("app/lib/engine.so"):
            content[path] = ("file", b"rotten", 0o644)
    disk = SimulatedDisk(content)
    device = Device(ROOT, edge=World().edge(), disk=disk)
    with pytest.raises(BrokenError):
        device.recover()
    assert ledger_of(disk.snapshot()).state is State.BROKEN
    disk = _pointed(disk.snapshot(), pointer)
    before = disk.snapshot()
    device = Device(ROOT, edge=World().edge(), disk=disk)
    for act in (device.recover, device.remove, device.request):
        with pytest.raises(BrokenError):
            act()
    assert disk.snapshot() == before
    device.rebase(signed_base(), Path("/trees"))
    assert _shown(disk) == component("app", 0)
    assert device.verify() == ()
