"""The publisher: what it takes, what it asks for, and that a reader never meets half of anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.devices import BUILD, DAY, MODEL, World, bundle, catalogue, permit, signed_base
from support.repository import NOW, MemoryFolder, Mirror, Vendor, all_keys, keys, role
from support.repository import ROLES as NAMES

from deltaseal.errors import DeltasealError, SequenceError, SignatureError, UsageError
from deltaseal.manifest import Catalogue, Withdrawal
from deltaseal.repo import DiskFolder, Publisher, Repository, first_files, layout
from deltaseal.repo.coverage import coverage
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
    with pytest.raises(UsageError):
        export(vendor.publisher, MemoryFolder(copy))


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


# ---- killed at any operation -------------------------------------------------------------------------


def disk_with(files: dict[str, bytes]) -> SimulatedDisk:
    return SimulatedDisk({f"repo/{name}": ("file", data, 0o644) for name, data in files.items()})


class DiskMirror:
    """A mirror that serves a simulated disk."""

    name = "disk"

    def __init__(self, disk: SimulatedDisk) -> None:
        self.folder = DiskFolder("repo", disk=disk)

    def stream(self, name: str, limit: int):  # type: ignore[no-untyped-def]
        return iter([self.folder.read(name)])

    def read(self, name: str, limit: int) -> bytes:
        return self.folder.read(name)

    def open(self, name: str):  # type: ignore[no-untyped-def]
        return self.folder.open(name)


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
    # Every cut near the end, where what readers see changes; each fourth before.
    for cut in [*range(0, count - 24, 4), *range(max(0, count - 24), count)]:
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
