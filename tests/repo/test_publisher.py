"""The publisher: what it takes, what it asks for, and that a reader never meets half of anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.devices import BUILD, DAY, MODEL, World, bundle, catalogue, permit, signed_base
from support.repository import NOW, DiskMirror, MemoryFolder, Mirror, Vendor, all_keys, disk_with, keys, role
from support.repository import ROLES as NAMES

from deltaseal.errors import DeltasealError, LockedError, SequenceError, SignatureError, UsageError
from deltaseal.manifest import Catalogue, Withdrawal
from deltaseal.repo import DiskFolder, Publisher, Repository, first_files, layout
from deltaseal.repo.coverage import coverage
from deltaseal.repo.folders import LOCK
from deltaseal.repo.upkeep import export, prune, states
from deltaseal.storage import BytesSource, MissingError, PowerCut, SimulatedDisk


def look(files: dict[str, bytes], root: bytes) -> dict[str, bytes]:
    """What a new device finds."""
    mirror = Repository(Mirror(files))
    _, found = first_files(root, [mirror], os="macos", build=BUILD, model=MODEL, now=NOW)
    return dict(found)


def test_nothing_is_seen_before_it_is_published() -> None:
    vendor = Vendor()
    seen = {name: data for name, data in vendor.files.items() if not name.startswith(("staged", "bundles"))}
    vendor.publisher.add(BytesSource(bundle("a").to_bytes()))
    vendor.publisher.add(BytesSource(catalogue(bundle("a"), issued=NOW, expires=NOW + DAY).to_bytes()))
    after = {name: data for name, data in vendor.files.items() if name.startswith("metadata")}
    assert after == {name: data for name, data in seen.items() if name.startswith("metadata")}
    assert [one.role for one in vendor.publisher.waiting()] == ["release-macos"]


def test_missing_signatures_are_named_and_what_was_signed_is_kept() -> None:
    files: dict[str, bytes] = {}
    publisher = Publisher.create(MemoryFolder(files), [role(name) for name in NAMES], now=NOW)
    with pytest.raises(SignatureError) as error:
        publisher.publish(keys("root")[:2])
    assert "0 of 2 ml-dsa-65" in error.value.sentence
    waiting = {one.role: one.missing for one in publisher.waiting()}
    assert waiting["root"] == {"its rule": {"ml-dsa-65": (0, 2)}}
    publisher.publish([key for key in all_keys() if key not in keys("root")[:2]])
    assert look(files, files["metadata/1.root.json"])


def test_more_keys_than_needed_sign_no_more_than_needed() -> None:
    vendor = Vendor()
    assert len(vendor.body("root").roles["root"].keyids) == 6
    [state] = [one for one in states(vendor.publisher).roles if one.role == "root"]
    assert state.keys == {"ed25519": (2, 2, 3), "ml-dsa-65": (2, 2, 3)}


@pytest.mark.parametrize("missing", ["root", "timestamp", "personaliser"])
def test_a_role_that_is_missing(missing: str) -> None:
    roles = [role(name) for name in NAMES if name != missing]
    with pytest.raises(UsageError) as error:
        Publisher.create(MemoryFolder({}), roles, now=NOW)
    assert missing in error.value.sentence


def test_a_repository_is_made_once() -> None:
    with pytest.raises(UsageError):
        Publisher.create(Vendor().publisher.folder, [role(name) for name in NAMES], now=NOW)


def test_what_is_added_is_verified() -> None:
    publisher = Vendor().publisher
    strangers = bundle("a").document.with_signatures(())
    from dataclasses import replace

    for source in (
        replace(bundle("a"), document=strangers).to_bytes(),
        signed_base().with_signatures(()).to_bytes(),
        catalogue().with_signatures(()).to_bytes(),
        permit(bundle("a")).with_signatures(()).to_bytes(),
    ):
        with pytest.raises(SignatureError):
            publisher.add(BytesSource(source))


def test_a_serial_that_does_not_rise() -> None:
    vendor = Vendor().release(bundle("a"))
    with pytest.raises(SequenceError):
        vendor.publisher.add(BytesSource(catalogue(bundle("a")).to_bytes()))


def test_a_catalogue_needs_its_bundles() -> None:
    vendor = Vendor()
    vendor.publisher.add(BytesSource(catalogue(bundle("a"), issued=NOW, expires=NOW + DAY).to_bytes()))
    with pytest.raises(UsageError) as error:
        vendor.publisher.publish(all_keys())
    assert bundle("a").digest[:12] in error.value.sentence
    assert vendor.body("release-macos").version == 1


def test_a_permission_that_is_given_again_takes_the_place_of_the_former() -> None:
    vendor = Vendor().release(bundle("a"))
    for phase in (100, 5_000):
        vendor.publisher.offer("macos-26.3.1-a", signers=all_keys(), phase=phase)
    vendor.publisher.publish(all_keys())
    assert [one.phase for one in vendor.publisher.permits()] == [5_000]


def test_permissions_are_renewed_as_they_are_until_they_are_withdrawn() -> None:
    vendor = Vendor().release(bundle("a"))
    vendor.publisher.offer("macos-26.3.1-a", signers=all_keys(), phase=7, channel="seed", paused=True)
    vendor.publisher.publish(all_keys())
    vendor.renew(later=3 * DAY)
    assert [one.issued for one in vendor.publisher.permits()] == [NOW]
    vendor.renew(later=1 * DAY)
    [renewed] = vendor.publisher.permits()
    assert (renewed.issued, renewed.phase, renewed.channel, renewed.paused) == (
        NOW + 4 * DAY,
        7,
        "seed",
        True,
    )
    vendor.release(bundle("a"), withdrawals=(Withdrawal("macos-26.3.1-a", "keep", ("CVE-2026-20643",)),))
    assert list(vendor.publisher.permits()) == []


def test_an_improvement_that_expired_is_offered_no_more() -> None:
    vendor = Vendor().release(bundle("a"), improvements_expire=NOW + 5 * DAY)
    vendor.renew(later=5 * DAY)
    assert list(vendor.publisher.permits()) == []


def test_only_the_timestamp_is_new_where_nothing_is() -> None:
    vendor = Vendor().release(bundle("a"))
    vendor.publisher.now += 60
    assert vendor.publisher.publish(all_keys()).roles == ("timestamp",)


@pytest.mark.parametrize(("offers", "bits"), [(1, 0), (32, 0), (33, 4), (1_024, 4), (1_025, 8)])
def test_bins_grow_with_the_offers(offers: int, bits: int) -> None:
    assert layout.bin_bits(offers) == bits
    assert layout.bin_bits(1, least=bits) == bits


def test_offers_in_bins_are_found(tmp_path: Path) -> None:
    from support.devices import DAY_ZERO

    models = (MODEL, *(f"Mac{number},1" for number in range(40)))
    many = bundle("a", models=models)
    vendor = Vendor().release(many)
    assert DAY_ZERO < NOW
    assert vendor.body("personaliser").delegations.succinct_roles.bit_length == 4
    assert len(vendor.body("personaliser").targets) == 0
    device = vendor.device(tmp_path / "device", World(clock=NOW))
    assert device.update([vendor.mirror()]).state == "ACTIVE"
    vendor.renew(later=60)
    assert len(vendor.files["metadata/timestamp.json"]) < 8_000


def test_a_state_that_is_pruned_can_be_read_and_so_can_the_one_before() -> None:
    vendor = Vendor().release(bundle("a"))
    before = dict(vendor.files)
    vendor.release(bundle("a"), bundle("b")).release(bundle("a"), bundle("b"), bundle("c"))
    last = dict(vendor.files)
    gone = prune(vendor.publisher)
    assert gone
    assert not [name for name in gone if name.endswith(".root.json")]
    assert look(vendor.files, vendor.root())
    assert look(vendor.files | {layout.TIMESTAMP_NAME: last[layout.TIMESTAMP_NAME]}, vendor.root())
    assert prune(vendor.publisher) == []
    with pytest.raises(DeltasealError):
        look(vendor.files | {layout.TIMESTAMP_NAME: before[layout.TIMESTAMP_NAME]}, vendor.root())


def test_what_waits_is_not_pruned() -> None:
    vendor = Vendor().release(bundle("a"))
    vendor.publisher.add(BytesSource(bundle("b").to_bytes()))
    listed = catalogue(bundle("a"), bundle("b"), serial=2, issued=NOW, expires=NOW + DAY)
    vendor.publisher.add(BytesSource(listed.to_bytes()))
    prune(vendor.publisher, keep=0)
    vendor.publisher.publish(all_keys())
    assert vendor.publisher.catalogue("macos") == Catalogue.loads(listed.body)


def test_an_export_is_a_mirror_with_its_proofs() -> None:
    vendor = Vendor().release(bundle("a")).rotate("timestamp", 1)
    copy: dict[str, bytes] = {}
    size = export(vendor.publisher, MemoryFolder(copy))
    assert size == sum(map(len, copy.values()))
    assert look(copy, vendor.root()) == look(vendor.files, vendor.root())
    assert len(copy) < len(vendor.files)


def test_an_export_brings_a_mirror_up_to_date() -> None:
    until = NOW + 30 * DAY
    vendor = Vendor().release(bundle("a"), improvements_expire=until)
    copy: dict[str, bytes] = {}
    export(vendor.publisher, MemoryFolder(copy))
    before = dict(copy)
    vendor.rotate("release:macos", 1).rotate("timestamp", 1)  # bundles are signed anew, under their old names
    size = export(vendor.publisher, MemoryFolder(copy))
    assert size < sum(map(len, copy.values()))
    assert look(copy, vendor.root()) == look(vendor.files, vendor.root())
    name = layout.bundle_name(bundle("a").digest)
    assert copy[name] == vendor.files[name] != before[name]
    with pytest.raises(UsageError, match="is newer"):
        export(Publisher(MemoryFolder(before), NOW), MemoryFolder(copy))
    copy["metadata/2.root.json"] += b" "
    with pytest.raises(UsageError, match="another repository"):
        export(vendor.publisher, MemoryFolder(copy))


def test_what_is_moved_daily_does_not_keep_the_others_from_being_renewed() -> None:
    until = NOW + 60 * DAY
    both = bundle("a", models=(MODEL, "Mac16,8"))
    vendor = Vendor().release(both, expires=until, improvements_expire=until)
    for day in range(1, 16):
        vendor.publisher.now = NOW + day * DAY
        ends = {one.models: one.expires for one in vendor.publisher.permits()}
        assert len(ends) == 2
        assert min(ends.values()) > vendor.publisher.now, (day, ends)
        vendor.publisher.offer("macos-26.3.1-a", signers=all_keys(), models=[MODEL], phase=100 * day)
        vendor.publisher.publish(all_keys())


def test_a_new_catalogue_reads_no_offers_of_what_it_does_not_change() -> None:
    until = NOW + 60 * DAY
    vendor = Vendor().release(bundle("a"), expires=until, improvements_expire=until)
    read: list[str] = []

    class Watched(MemoryFolder):
        def read(self, name: str) -> bytes:
            read.append(name)
            return super().read(name)

    publisher = Publisher(Watched(vendor.files), NOW + 60)
    publisher.amend("macos", signers=all_keys(), minimum=1)
    publisher.publish(all_keys())
    assert not [name for name in read if name.startswith("targets/offers/")]
    publisher.amend("macos", signers=all_keys(), ends={"macos-26.3.1-a": until + DAY})
    publisher.publish(all_keys())
    assert [name for name in read if name.startswith("targets/offers/")]


def test_a_minimum_and_an_end_that_are_moved(tmp_path: Path) -> None:
    vendor = Vendor().release(bundle("a"))
    device = vendor.device(tmp_path / "device")
    made = vendor.publisher.amend("macos", signers=all_keys(), minimum=2)
    assert (made.serial, made.minimum_sequence) == (2, 2)
    vendor.publisher.publish(all_keys())
    with pytest.raises(DeltasealError) as error:
        device.update([vendor.mirror()])
    assert error.value.reason == "E_SEQ"
    vendor.publisher.amend("macos", signers=all_keys(), minimum=0, ends={"macos-26.3.1-a": NOW})
    vendor.publisher.publish(all_keys())
    assert coverage([vendor.publisher.catalogue("macos")], "CVE-2026-20643", now=NOW)[0].how == "expired"  # type: ignore[list-item]
    assert list(vendor.publisher.permits()) == []
    vendor.publisher.amend("macos", signers=all_keys(), ends={"macos-26.3.1-a": NOW + 9 * DAY})
    vendor.publisher.offer("macos-26.3.1-a", signers=all_keys())
    vendor.publisher.publish(all_keys())
    assert device.update([vendor.mirror()]).state == "ACTIVE"


def test_what_cannot_be_amended() -> None:
    publisher = Vendor().release(bundle("a")).publisher
    before = publisher.catalogue("macos")
    with pytest.raises(UsageError, match="lists no"):
        publisher.amend("macos", signers=all_keys(), ends={"macos-1-z": NOW})
    with pytest.raises(UsageError, match="no catalogue of ios"):
        publisher.amend("ios", signers=all_keys(), minimum=1)
    with pytest.raises(SignatureError):
        publisher.amend("macos", signers=keys("personaliser"), minimum=1)
    assert publisher.catalogue("macos") == before


def test_coverage() -> None:
    vendor = Vendor().release(bundle("a"))
    listed = vendor.publisher.catalogue("macos")
    assert listed is not None
    found = coverage([listed], "CVE-2026-20643", now=NOW)
    assert [one.sentence for one in found] == [
        "macOS 26.3.1 build 25D2128: fixed from (a) on, macos-26.3.1-a"
    ]
    assert coverage([listed], "CVE-2000-1", now=NOW) == []
    assert coverage([listed], "CVE-2026-20643", now=NOW + 250 * DAY)[0].how == "expired"


# ---- two publishers at once ------------------------------------------------------------------------


def on_disk(vendor: Vendor, path: Path) -> Path:
    for name, data in vendor.files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def tree(path: Path) -> dict[str, bytes]:
    found = {str(each.relative_to(path)): each for each in path.rglob("*") if each.is_file()}
    return {name: each.read_bytes() for name, each in found.items() if name != LOCK}


WRITES: dict[str, Callable[[Publisher], object]] = {
    "add": lambda publisher: publisher.add(BytesSource(bundle("b").to_bytes())),
    "offer": lambda publisher: publisher.offer("macos-26.3.1-a", signers=all_keys(), phase=7),
    "rotate": lambda publisher: publisher.rotate(role("timestamp", 1)),
    "sign": lambda publisher: publisher.sign(all_keys()),
    "publish": lambda publisher: publisher.publish(all_keys()),
    "prune": lambda publisher: prune(publisher, keep=0),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_second_publisher_is_told_and_changes_nothing(name: str, tmp_path: Path) -> None:
    path = on_disk(Vendor().release(bundle("a")), tmp_path / "repo")
    first, second = DiskFolder(path), DiskFolder(path)
    before = tree(path)
    with first.locked():
        with pytest.raises(LockedError, match="another publisher is at work") as error:
            WRITES[name](Publisher(second, NOW + 60))
        assert (error.value.reason, "run the same again" in error.value.hint) == ("E_LOCKED", True)
        assert tree(path) == before
        WRITES[name](Publisher(first, NOW + 60))  # whoever holds it is not in its own way
    WRITES[name](Publisher(second, NOW + 120))


def test_two_publishers_of_one_new_repository(tmp_path: Path) -> None:
    roles = [role(name) for name in NAMES]
    first = DiskFolder(tmp_path / "repo")
    with first.locked():
        with pytest.raises(LockedError):
            Publisher.create(DiskFolder(tmp_path / "repo"), roles, now=NOW)
        Publisher.create(first, roles, now=NOW)
    with pytest.raises(UsageError, match="already"):
        Publisher.create(DiskFolder(tmp_path / "repo"), roles, now=NOW)


def test_what_two_publishers_add_by_turns_is_published_by_either(tmp_path: Path) -> None:
    path = on_disk(Vendor().release(bundle("a")), tmp_path / "repo")
    one, other = Publisher(DiskFolder(path), NOW), Publisher(DiskFolder(path), NOW)
    one.add(BytesSource(bundle("b").to_bytes()))
    other.offer("macos-26.3.1-a", signers=all_keys(), phase=7)
    both, until = (bundle("a"), bundle("b")), NOW + 30 * DAY
    listed = catalogue(*both, serial=2, issued=NOW, expires=until, improvements_expire=until)
    one.add(BytesSource(listed.to_bytes()))
    other.offer("macos-26.3.1-b", signers=all_keys(), phase=9)
    one.publish(all_keys())
    assert {permit.id: permit.phase for permit in other.permits()} == {
        "macos-26.3.1-a": 7,
        "macos-26.3.1-b": 9,
    }


def test_the_lock_of_a_publisher_that_was_killed_is_free() -> None:
    disk = disk_with(Vendor().release(bundle("a")).files)
    disk.cut_at(3)
    with pytest.raises(PowerCut):
        step_release(Publisher(DiskFolder("repo", disk=disk), NOW))
    step_release(Publisher(DiskFolder("repo", disk=disk.crash("visible")), NOW))


# ---- killed at any operation -------------------------------------------------------------------------


def step_release(publisher: Publisher) -> None:
    publisher.add(BytesSource(bundle("b").to_bytes()))
    listed = catalogue(bundle("a"), bundle("b"), serial=2, issued=NOW, expires=NOW + DAY)
    publisher.add(BytesSource(listed.to_bytes()))
    publisher.offer("macos-26.3.1-b", signers=all_keys())
    publisher.publish(all_keys())


def step_rotate(publisher: Publisher) -> None:
    publisher.rotate(role("timestamp", 1))
    publisher.rotate(role("snapshot", 1))
    publisher.rotate(role("targets", 1))
    publisher.publish([*all_keys(), *all_keys(1)])


def step_prune(publisher: Publisher) -> None:
    publisher.publish(all_keys())
    prune(publisher, keep=0)


@pytest.mark.parametrize("step", [step_release, step_rotate, step_prune])
def test_T33_a_publisher_killed_at_any_operation_leaves_a_repository(
    step: Callable[[Publisher], None],
) -> None:
    vendor = Vendor().release(bundle("a"))
    root, files = vendor.root(), dict(vendor.files)
    old = look(files, root)
    count = _changes(files, step)
    states_seen = set()
    for cut in range(count):
        disk = disk_with(files)
        disk.cut_at(cut)
        with pytest.raises(PowerCut):
            step(Publisher(DiskFolder("repo", disk=disk), NOW + 60))
        after = disk.crash()
        found = dict(
            first_files(root, [Repository(DiskMirror(after))], os="macos", build=BUILD, model=MODEL, now=NOW)[
                1
            ]
        )
        states_seen.add("old" if found == old else "new")
        if cut % 3 == 0:
            _again(after, step)
    assert "old" in states_seen


def _changes(files: dict[str, bytes], step: Callable[[Publisher], None]) -> int:
    disk = disk_with(files)
    step(Publisher(DiskFolder("repo", disk=disk), NOW + 60))
    return disk.changes


def _again(disk: SimulatedDisk, step: Callable[[Publisher], None]) -> None:
    """Whoever is called again after the cut comes to the end."""
    publisher = Publisher(DiskFolder("repo", disk=disk), NOW + 120)
    try:
        step(publisher)
    except (SequenceError, MissingError):  # the catalogue was published already
        publisher.publish([*all_keys(), *all_keys(1)])
