"""Rollouts and fleets on a repository: a move is published in one go, or leaves nothing behind."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from support.command import deltaseal, must
from support.devices import BUILD, MODEL, World
from support.fleets import new_fleet
from support.repository import NOW, DiskMirror, MemoryFolder, Vendor, all_keys, bundle, disk_with, keys

from deltaseal.errors import DeltasealError, SequenceError, SignatureError, UsageError, WithdrawnError
from deltaseal.fleet import follow, publisher_of
from deltaseal.fleet.repositories import RepositoryPlace, RepositorySource
from deltaseal.fleet.rollout import Plan, Rollout, carry_out, standing
from deltaseal.manifest import PERSONALISER, Catalogue, DeviceManifest
from deltaseal.repo import DiskFolder, Publisher, Repository, first_files
from deltaseal.repo.published import documents_in
from deltaseal.storage import BytesSource, PowerCut, SimulatedDisk
from deltaseal.trust import UnverifiedDocument

ID = "macos-26.3.1-a"
ONLINE = [*keys(PERSONALISER), *keys("snapshot"), *keys("timestamp")]


@pytest.fixture
def vendor() -> Vendor:
    return Vendor().release(bundle("a"))


def do(
    vendor: Vendor, move: Callable[[Rollout], Plan], *, later: int, by: list[object] | None = None
) -> Plan:
    place = RepositoryPlace(MemoryFolder(vendor.files), now=NOW + later)
    plan = move(Rollout(place, NOW + later))
    carry_out(plan, place, by or all_keys())
    return plan


def update(vendor: Vendor, path: Path, world: World) -> str:
    """What a device's look ends with: the letter that is applied, or the reason code."""
    from deltaseal.device import Device

    try:
        return str(Device(path, edge=world.edge()).update([vendor.mirror()]).letter)
    except DeltasealError as error:
        return error.reason


def test_the_online_keys_move_a_phase(vendor: Vendor, tmp_path: Path) -> None:
    world = World(clock=NOW + 100)
    vendor.device(tmp_path / "d", world)
    do(vendor, lambda moves: moves.set(ID, phase=0), later=10, by=ONLINE)
    assert update(vendor, tmp_path / "d", world) == "E_POLICY"
    do(vendor, lambda moves: moves.set(ID, phase=10_000), later=20, by=ONLINE)
    assert update(vendor, tmp_path / "d", world) == "a"


def test_pause_withdraw_and_reissue(vendor: Vendor, tmp_path: Path) -> None:
    world = World(clock=NOW + 100)
    vendor.device(tmp_path / "first", world)
    assert update(vendor, tmp_path / "first", world) == "a"
    do(vendor, lambda moves: moves.pause(ID), later=10, by=ONLINE)
    vendor.device(tmp_path / "second", world)
    assert update(vendor, tmp_path / "second", world) == "E_POLICY"
    plan = do(vendor, lambda moves: moves.withdraw(ID, "remove"), later=20)
    assert plan.reopens == ("CVE-2026-20643",)
    update(vendor, tmp_path / "first", world)
    from deltaseal.device import Device

    assert Device(tmp_path / "first", edge=world.edge()).status().letter is None
    source = BytesSource(bundle("b").to_bytes())
    do(vendor, lambda moves: moves.reissue(source, phase=10_000), later=30)
    assert update(vendor, tmp_path / "first", world) == "b"
    assert update(vendor, tmp_path / "second", world) == "b"


@pytest.mark.parametrize(
    "lacking", ["personaliser", "release:macos", "snapshot", "timestamp"], ids=lambda name: name
)
def test_keys_that_are_not_enough_leave_nothing_prepared(vendor: Vendor, lacking: str) -> None:
    before = dict(vendor.files)
    gone = {key.public for key in keys(lacking)}
    by = [key for key in all_keys() if key.public not in gone]
    source = BytesSource(bundle("b").to_bytes())
    with pytest.raises(SignatureError):
        do(vendor, lambda moves: moves.reissue(source, phase=1), later=10, by=by)
    changed = {name for name in {*before, *vendor.files} if before.get(name) != vendor.files.get(name)}
    assert not {name for name in changed if name.startswith(("metadata/", "staged/"))}
    do(vendor, lambda moves: moves.set(ID, phase=5), later=20)


def test_what_others_prepare_is_left_alone(vendor: Vendor) -> None:
    vendor.publisher.offer(ID, signers=keys(PERSONALISER), phase=7)
    staged = {name: data for name, data in vendor.files.items() if name.startswith("staged/")}
    with pytest.raises(UsageError, match="being prepared"):
        do(vendor, lambda moves: moves.set(ID, phase=5), later=10)
    assert staged == {name: data for name, data in vendor.files.items() if name.startswith("staged/")}


def test_a_timestamp_renewed_meanwhile_is_no_move_another_phase_is(vendor: Vendor) -> None:
    place = RepositoryPlace(MemoryFolder(vendor.files), now=NOW + 10)
    plan = Rollout(place, NOW + 10).set(ID, phase=5)
    vendor.renew(later=1)
    carry_out(plan, place, all_keys())
    plan = Rollout(place, NOW + 20).set(ID, phase=9)
    do(vendor, lambda moves: moves.set(ID, phase=8), later=20)
    with pytest.raises(SequenceError, match="somebody moved something"):
        carry_out(plan, place, all_keys())


def test_a_fleet_follows_a_repository(vendor: Vendor, tmp_path: Path) -> None:
    do(vendor, lambda moves: moves.set(ID, phase=250), later=10)
    with new_fleet(tmp_path / "fleet.db") as fleet:
        news = follow(fleet, RepositorySource(MemoryFolder(vendor.files)), now=NOW + 20)
        assert (news.catalogues, news.improvements, news.left_out) == (("macos",), (ID,), ())
        improvement = publisher_of(fleet).improvements[ID]
    assert improvement.now is not None
    assert improvement.now.phase == 250
    assert improvement.models == frozenset({"Mac15,6"})


def test_the_command_takes_a_repository(
    vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, data in vendor.files.items():
        (tmp_path / "repo" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "repo" / name).write_bytes(data)
    options = []
    for number, key in enumerate(ONLINE):
        key.save(tmp_path / f"{number}.pem")
        options += ["--key", f"{number}.pem"]
    assert "100 % of stable" in must("rollout", "status", "--publisher", "repo", now=NOW + 5).out
    must("rollout", "set", ID, "--phase", "300", "--publisher", "repo", *options, "--yes", now=NOW + 10)
    assert "3 % of stable" in must("rollout", "status", "--publisher", "repo", now=NOW + 11).out
    from support.devices import trust

    (tmp_path / "trust.json").write_bytes(trust().dumps())
    must("fleet", "create", "--trust", "trust.json")
    assert "1 new catalogue, 1 new improvement" in must("fleet", "follow", "repo", now=NOW + 12).err
    with_trust = deltaseal("rollout", "status", "--publisher", "repo", "--trust", "trust.json")
    assert (with_trust.code, "leave --trust out" in with_trust.err) == (2, True)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            ("rollout", "status", "--publisher", "https://example.org/repo"),
            "can be read, but not published to",
        ),
        (("fleet", "follow", "https://example.org/repo"), "a fleet reads a repository where it lies"),
        (("rollout", "status", "--publisher", "nowhere"), "does not exist"),
    ],
)
def test_places_that_cannot_be_are_told(
    given: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    new_fleet(tmp_path / "fleet.db").close()
    ran = deltaseal(*given)
    assert (ran.code, words in ran.err) == (2, True), ran.err


def test_standing_reads_what_is_in_force(vendor: Vendor) -> None:
    vendor.publisher.offer(ID, signers=keys(PERSONALISER), phase=7)  # prepared, not published
    (one,) = standing(RepositoryPlace(MemoryFolder(vendor.files), now=NOW + 1))
    assert one.permit is not None
    assert one.permit.phase == 10_000


# ---- cut at any operation --------------------------------------------------------------------------------


def seen(disk: SimulatedDisk, root: bytes) -> tuple[str, tuple[tuple[int, bool], ...]]:
    """What a new device makes of the repository: how the improvement was withdrawn, how it is offered."""
    mirror = Repository(DiskMirror(disk))
    who = {"os": "macos", "build": BUILD, "model": MODEL}
    _, files = first_files(root, [mirror], **who, now=NOW + 30)
    order = Catalogue.loads(UnverifiedDocument.loads(files["catalogue"]).body).withdrawal(ID)
    permits = [DeviceManifest.loads(one.body) for one in documents_in(files.get("offers", b""))]
    return order.action if order else "", tuple((one.phase, one.paused) for one in permits)


CUT: dict[str, Callable[[Rollout], Plan]] = {
    "set": lambda moves: moves.set(ID, phase=100),
    "withdraw": lambda moves: moves.withdraw(ID, "remove"),
}


def move(disk: SimulatedDisk, name: str, later: int = 10) -> None:
    place = RepositoryPlace(DiskFolder("repo", disk=disk), now=NOW + later)
    carry_out(CUT[name](Rollout(place, NOW + later)), place, all_keys())


def finish(disk: SimulatedDisk, name: str) -> None:
    """What the command then says to do: publish what was left, and move again what is not moved."""
    Publisher(DiskFolder("repo", disk=disk), NOW + 20).publish(all_keys())
    with contextlib.suppress(WithdrawnError):
        move(disk, name, later=25)


@pytest.mark.parametrize("name", CUT)
def test_T33_a_move_in_a_repository_cut_anywhere_is_whole_or_not_there(vendor: Vendor, name: str) -> None:
    files, root = dict(vendor.files), vendor.root()
    whole = disk_with(files)
    move(whole, name)
    old, new = seen(disk_with(files), root), seen(whole, root)
    assert old != new
    ends = set()
    for change in range(whole.changes):
        disk = disk_with(files)
        disk.cut_at(change)
        with pytest.raises(PowerCut):
            move(disk, name)
        for keep in ("durable", "visible"):
            found = seen(disk.crash(keep), root)
            assert found in (old, new), (change, keep)
            ends.add(found)
        if change % 5 == 0:
            left = disk.crash()
            finish(left, name)
            assert seen(left, root) == new, change
    assert ends == {old, new}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("name", CUT)
def test_T34_T35_a_move_in_a_repository_that_the_disk_refuses(vendor: Vendor, name: str, number: int) -> None:
    files, root = dict(vendor.files), vendor.root()
    whole = disk_with(files)
    move(whole, name)
    operations = len(whole.operations)
    old, new = seen(disk_with(files), root), seen(whole, root)
    for operation in range(0, operations, 80):
        disk = disk_with(files)
        disk.fail_at(operation, number)
        with contextlib.suppress(DeltasealError):
            move(disk, name)
        assert seen(disk, root) in (old, new), operation
        finish(disk, name)
        assert seen(disk, root) == new, operation
