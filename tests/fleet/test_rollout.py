"""Moves of a rollout: planned, shown, signed, whole or not there; and what devices make of them."""

from __future__ import annotations

import contextlib
import errno
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from support.devices import (
    DAY,
    DAY_ZERO,
    LETTERS,
    World,
    bundle,
    catalogue,
    new_device,
    permit,
    signers,
    trust,
)
from support.fleets import device_id, new_fleet, signed, take_in

from deltaseal.device import Device
from deltaseal.errors import (
    DeltasealError,
    ExpiredError,
    LockedError,
    NothingToDo,
    PolicyError,
    SequenceError,
    SignatureError,
    UsageError,
    WithdrawnError,
)
from deltaseal.fleet import impact_of
from deltaseal.fleet.places import FolderPlace
from deltaseal.fleet.rollout import Plan, Rollout, Standing, carry_out, standing
from deltaseal.manifest import PERSONALISER, in_phase, release_role
from deltaseal.repo import DirectorySource
from deltaseal.storage import BytesSource, PowerCut, RealDisk, SimulatedDisk

NOW = DAY_ZERO + 3_600
ID = "macos-26.3.1-a"
ALL = [*signers(release_role("macos")), *signers(PERSONALISER)]


@pytest.fixture
def offers(tmp_path: Path) -> Path:
    """A publisher's folder with letter ``a``, one device manifest a model, as a scenario leaves it."""
    folder = tmp_path / "offers"
    folder.mkdir()
    made = bundle("a")
    (folder / "a.bundle").write_bytes(made.to_bytes())
    (folder / "macos.catalogue").write_bytes(catalogue(made).to_bytes())
    (folder / f"{ID}.Mac15,6.manifest").write_bytes(permit(made).to_bytes())
    return folder


def rollout(folder: Path, now: int = NOW) -> Rollout:
    return Rollout(FolderPlace(folder, trust(), now=now), now)


def do(folder: Path, move: Callable[[Rollout], Plan], now: int = NOW) -> Plan:
    moves = rollout(folder, now)
    plan = move(moves)
    carry_out(plan, moves.place, ALL)
    return plan


def update(device: Device, folder: Path) -> str:
    """What a look ends with: the letter that is applied, or the reason code."""
    try:
        return str(device.update([DirectorySource(folder)]).letter)
    except DeltasealError as error:
        return error.reason


@pytest.fixture
def world() -> World:
    return World(clock=NOW + 10)


@pytest.fixture
def device(tmp_path: Path, world: World) -> Device:
    return new_device(tmp_path / "d", world)


# ---- phases ----------------------------------------------------------------------------------------------


def test_a_phase_is_set_and_devices_go_by_it(offers: Path, device: Device) -> None:
    do(offers, lambda moves: moves.set(ID, phase=0))
    assert sorted(path.name for path in offers.iterdir() if path.suffix == ".manifest") == [f"{ID}.manifest"]
    assert update(device, offers) == "E_POLICY"
    do(offers, lambda moves: moves.set(ID, phase=10_000), NOW + 1)
    assert update(device, offers) == "a"


def test_raising_the_phase_only_adds_devices() -> None:
    phases = (0, 100, 1_000, 10_000)
    inside = [{n for n in range(2_000) if in_phase(ID, device_id(n), phase)} for phase in phases]
    for smaller, larger in itertools.pairwise(inside):
        assert smaller < larger
    assert len(inside[-1]) == 2_000


def test_a_person_installs_ahead_of_the_phase(offers: Path, device: Device) -> None:
    do(offers, lambda moves: moves.set(ID, phase=0))
    assert device.install(ID, [DirectorySource(offers)]).letter == "a"


def test_a_pause_holds_although_an_older_permission_lies_about(offers: Path, device: Device) -> None:
    old = (offers / f"{ID}.Mac15,6.manifest").read_bytes()
    do(offers, lambda moves: moves.pause(ID))
    (offers / "old.manifest").write_bytes(old)
    assert update(device, offers) == "E_POLICY"
    with pytest.raises(PolicyError, match="paused"):
        device.install(ID, [DirectorySource(offers)])
    do(offers, lambda moves: moves.resume(ID), NOW + 1)
    assert not (offers / "old.manifest").exists()
    assert update(device, offers) == "a"


def test_setting_a_paused_one_keeps_it_paused(offers: Path, device: Device) -> None:
    do(offers, lambda moves: moves.pause(ID))
    do(offers, lambda moves: moves.set(ID, phase=5_000), NOW + 1)
    (one,) = standing(FolderPlace(offers, trust(), now=NOW))
    assert one.permit is not None
    assert (one.permit.phase, one.permit.paused) == (5_000, True)


def test_a_channel_is_set(offers: Path, device: Device) -> None:
    do(offers, lambda moves: moves.set(ID, phase=10_000, channel="seed"))
    assert update(device, offers) == "E_POLICY"


def test_moves_that_make_no_sense_are_told(offers: Path) -> None:
    moves = rollout(offers)
    with pytest.raises(UsageError, match="not paused"):
        moves.resume(ID)
    with pytest.raises(UsageError, match="lists macos-9"):
        moves.set("macos-9", phase=1)
    with pytest.raises(UsageError, match="no withdrawal"):
        moves.withdraw(ID, "explode")
    do(offers, lambda moves: moves.pause(ID))
    with pytest.raises(UsageError, match="paused already"):
        rollout(offers).pause(ID)


# ---- withdrawals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "stays"), [("keep", "a"), ("remove", "None"), ("pin", "a")])
def test_a_withdrawal_is_carried_out(offers: Path, device: Device, action: str, stays: str) -> None:
    assert update(device, offers) == "a"
    plan = do(offers, lambda moves: moves.withdraw(ID, action))
    assert plan.reopens == ("CVE-2026-20643",)
    assert not list(offers.glob("*.manifest"))
    update(device, offers)
    assert str(device.status().letter) == stays
    assert [problem.kind for problem in device.status().problems] == ["withdrawn"]


@pytest.mark.parametrize(("action", "then"), [("keep", "b"), ("remove", "b"), ("pin", "E_WITHDRAWN")])
def test_a_reissue_after_a_withdrawal(offers: Path, device: Device, action: str, then: str) -> None:
    update(device, offers)
    do(offers, lambda moves: moves.withdraw(ID, action))
    b = bundle("b").to_bytes()
    plan = do(offers, lambda moves: moves.reissue(BytesSource(b), phase=10_000), NOW + 1)
    assert plan.before.listed.id == ID
    if action == "remove":
        assert update(device, offers) in ("b", "None")
    assert update(device, offers) in (then, "NOTHING")
    assert str(device.status().letter) == {"E_WITHDRAWN": "a"}.get(then, then)
    orders = FolderPlace(offers, trust(), now=NOW).catalogues()["macos"].withdrawals
    assert [order.reopens for order in orders] == [()]  # b closes it again


def test_an_offline_device_carries_it_out_when_it_is_back_also_after_the_catalogue_ended(
    offers: Path, device: Device, world: World
) -> None:
    update(device, offers)
    do(offers, lambda moves: moves.withdraw(ID, "remove"))
    world.clock += 300 * DAY
    with pytest.raises(ExpiredError):
        device.update([DirectorySource(offers)])
    assert device.status().letter is None
    assert device.status().state == "BASELINE"


def test_once_seen_it_is_carried_out_without_a_network(offers: Path, device: Device, world: World) -> None:
    update(device, offers)
    do(offers, lambda moves: moves.withdraw(ID, "remove"))
    world.boot = "boot-2"
    found = FolderPlace(offers, trust(), now=NOW).catalogues()["macos"]
    from deltaseal.device.recovery import updating

    with updating(device.path, RealDisk(), world.edge(), progress=lambda *_: None) as up:
        up.record_catalogue(found, "0" * 64)  # seen, and then the power went
    assert device.status().letter == "a"
    world.clock += 400 * DAY
    with pytest.raises(NothingToDo):
        device.update([])
    assert device.status().letter is None


def test_T02_T28_an_old_catalogue_or_a_withdrawn_improvement_does_not_come_back(
    offers: Path, device: Device, tmp_path: Path
) -> None:
    update(device, offers)
    before = {path.name: path.read_bytes() for path in offers.iterdir()}
    do(offers, lambda moves: moves.withdraw(ID, "remove"))
    update(device, offers)
    replayed = tmp_path / "replayed"
    replayed.mkdir()
    for name, data in before.items():
        (replayed / name).write_bytes(data)
    assert update(device, replayed) == "E_SEQ"
    (replayed / "macos.catalogue").unlink()
    assert update(device, replayed) == "E_WITHDRAWN"


def test_a_withdrawal_is_spent(offers: Path) -> None:
    do(offers, lambda moves: moves.withdraw(ID, "keep"))
    for move in (
        lambda moves: moves.set(ID, phase=1),
        lambda moves: moves.withdraw(ID, "keep"),
        lambda moves: moves.resume(ID),
    ):
        with pytest.raises(WithdrawnError):
            move(rollout(offers))
    assert do(offers, lambda moves: moves.withdraw(ID, "remove"), NOW + 1).catalogue is not None


def test_R03_a_reissue_has_a_higher_letter_and_every_fix(offers: Path) -> None:
    again = bundle("a", sequence=9).to_bytes()
    with pytest.raises(UsageError, match="listed already"):
        rollout(offers).reissue(BytesSource(again), phase=100)
    do(offers, lambda moves: moves.reissue(BytesSource(bundle("c", sequence=7).to_bytes()), phase=100))
    with pytest.raises(SequenceError, match="has sequence 2, but"):
        rollout(offers).reissue(BytesSource(bundle("b").to_bytes()), phase=100)
    foreign = bundle("b", build_of_base="25X1", sequence=9).to_bytes()
    with pytest.raises(UsageError, match="no reissue"):
        rollout(offers).reissue(BytesSource(foreign), phase=100)


# ---- two people, too few keys ----------------------------------------------------------------------------


def test_T36_two_people_at_once(offers: Path) -> None:
    first, second = rollout(offers), rollout(offers)
    with first.place.locked(), pytest.raises(LockedError):
        carry_out(second.set(ID, phase=1), second.place, ALL)


def test_who_decides_on_what_is_no_longer_so_decides_anew(offers: Path) -> None:
    first, second = rollout(offers), rollout(offers)
    mine, theirs = first.set(ID, phase=9_000), second.pause(ID)
    carry_out(theirs, second.place, ALL)
    before = {path.name: path.read_bytes() for path in offers.iterdir()}
    with pytest.raises(SequenceError, match="somebody moved something"):
        carry_out(mine, first.place, ALL)
    assert {path.name: path.read_bytes() for path in offers.iterdir()} == before


def test_keys_that_are_not_enough_change_nothing(offers: Path) -> None:
    before = {path.name: path.read_bytes() for path in offers.iterdir()}
    moves = rollout(offers)
    for plan, keys in (
        (moves.set(ID, phase=1), signers(release_role("macos"))),
        (moves.set(ID, phase=1), signers(PERSONALISER)[:1]),
        (moves.withdraw(ID, "remove"), signers(PERSONALISER)),
        (moves.reissue(BytesSource(bundle("b").to_bytes()), phase=1), signers(PERSONALISER)),
    ):
        with pytest.raises(SignatureError, match="not enough for the role"):
            carry_out(plan, moves.place, keys)
    assert {path.name: path.read_bytes() for path in offers.iterdir()} == before


# ---- cut at any operation --------------------------------------------------------------------------------


def simulated(letters: str = "a") -> SimulatedDisk:
    made = [bundle(letter) for letter in letters]
    files = {
        "pub/macos.catalogue": ("file", catalogue(*made).to_bytes(), 0o644),
        f"pub/{ID}.Mac15,6.manifest": ("file", permit(made[0]).to_bytes(), 0o644),
    }
    for letter, one in zip(LETTERS, made, strict=False):
        files[f"pub/{letter}.bundle"] = ("file", one.to_bytes(), 0o644)
    return SimulatedDisk(files)


def seen(disk: SimulatedDisk) -> tuple[object, ...]:
    """What devices make of the folder: each improvement's withdrawal, and the permission that counts."""
    place = FolderPlace(Path("/pub"), trust(), now=NOW + 100, disk=disk)
    return tuple((one.listed.id, one.action, _offered(one)) for one in standing(place))


def _offered(one: Standing) -> tuple[int, bool] | None:
    return None if one.action or one.permit is None else (one.permit.phase, one.permit.paused)


MOVES: dict[str, Callable[[Rollout], Plan]] = {
    "set": lambda moves: moves.set(ID, phase=100),
    "pause": lambda moves: moves.pause(ID),
    "withdraw": lambda moves: moves.withdraw(ID, "remove"),
    "reissue": lambda moves: moves.reissue(BytesSource(bundle("b").to_bytes()), phase=100),
}


@pytest.mark.parametrize("name", MOVES)
def test_T33_a_move_that_is_cut_anywhere_is_whole_or_not_there(name: str) -> None:
    old = seen(simulated())
    whole = simulated()
    move(whole, name)
    new = seen(whole)
    assert new != old
    # A reissue is listed before it is offered: no device begins with what nothing permits.
    allowed = {old, new} | ({(*old, ("macos-26.3.1-b", "", None))} if name == "reissue" else set())
    ends = set()
    for change in range(whole.changes):
        for keep in ("durable", "visible"):
            disk = simulated()
            disk.cut_at(change)
            with pytest.raises(PowerCut):
                move(disk, name)
            found = seen(disk.crash(keep))
            assert found in allowed, (change, keep)
            ends.add(found)
    assert ends >= {old, new}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("name", MOVES)
def test_T34_T35_a_move_that_the_disk_refuses_is_whole_or_not_there(name: str, number: int) -> None:
    old = seen(simulated())
    whole = simulated()
    move(whole, name)
    count = len(whole.operations)
    new = seen(whole)
    for operation in range(0, count, 3):
        disk = simulated()
        disk.fail_at(operation, number)
        with contextlib.suppress(DeltasealError):
            move(disk, name)
        assert seen(disk)[: len(old)] in (old, new[: len(old)])
        move_again(disk, name)
        assert [one[1:] for one in seen(disk)] == [one[1:] for one in new]


def move(disk: SimulatedDisk, name: str, now: int = NOW) -> None:
    place = FolderPlace(Path("/pub"), trust(), now=now, disk=disk)
    carry_out(MOVES[name](Rollout(place, now)), place, ALL)


def move_again(disk: SimulatedDisk, name: str) -> None:
    """The same command once more: it does what is left, or says that nothing is."""
    with contextlib.suppress(WithdrawnError, UsageError):
        move(disk, name, NOW + 5)


# ---- how many --------------------------------------------------------------------------------------------


def test_a_move_says_how_many_enrolled_devices_it_concerns(offers: Path, tmp_path: Path) -> None:
    with new_fleet(tmp_path / "fleet.db", range(60)) as fleet:
        take_in(fleet, *[signed(n, active=ID if n < 5 else "") for n in range(50)])
        plan = rollout(offers).set(ID, phase=2_500)
        found = impact_of(fleet, plan.manifest, before=plan.before.permit, after=plan.permit)
    inside = sum(in_phase(ID, device_id(n), 2_500) for n in range(50))
    assert (found.fitting, found.before, found.after) == (50, 50, inside)
    assert (found.active, found.waiting) == (5, 45)
