"""Attacks on trust and transport, through a repository: refused with its own code, the device unchanged.

Ids are those of the product's list. The publisher and the thief are in tests/support/repository.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from securesystemslib.signer import CryptoSigner
from support.devices import BUILD, DAY, MODEL, World, bundle, catalogue, everything, permit, signed_base
from support.loopback import Served, serving
from support.repository import NOW, Mirror, Vendor, all_keys, keys, moment, role
from tuf.api.metadata import Metadata, MetaFile
from tuf.api.metadata import Role as TufRole

from deltaseal.device import Device
from deltaseal.errors import DeltasealError
from deltaseal.manifest import BundleManifest, Catalogue, Withdrawal
from deltaseal.repo import Repository, Source, layout
from deltaseal.repo.http import HttpTransport
from deltaseal.repo.metadata import THRESHOLDS, add_signatures, dump
from deltaseal.trust import sign

THIEF = 9  # the share of keys that nobody trusts


@pytest.fixture
def vendor() -> Vendor:
    return Vendor().release(bundle("a"))


@pytest.fixture
def world() -> World:
    return World(clock=NOW)


@pytest.fixture
def device(tmp_path: Path, vendor: Vendor, world: World) -> Device:
    """A device that knows the repository, and has nothing applied."""
    return vendor.device(tmp_path / "device", world)


def refused(device: Device, source: Source, *, install: str = "") -> DeltasealError:
    """Try it; it must be refused, and nothing that the device runs or could run has changed.

    What was rightly signed before the fault may be in its metadata and its journal.
    """
    before, runs = everything(device.path), device.status().to_json()
    with pytest.raises(DeltasealError) as error:
        device.install(install, [source]) if install else device.update([source])
    after = everything(device.path)
    assert _without_words(after) == _without_words(before), "a refused attack changed the device"
    for what in ("applied", "state", "build"):
        assert device.status().to_json()[what] == runs[what]
    return error.value


def refused_whole(device: Device, source: Source, *, install: str = "") -> DeltasealError:
    """As ``refused``, and not a byte of the device has changed, of its metadata neither."""
    before = everything(device.path)
    error = refused(device, source, install=install)
    assert everything(device.path) == before, "a refused attack changed what the device believes"
    return error


def _without_words(found: dict[str, tuple[str, bytes, int]]) -> dict[str, tuple[str, bytes, int]]:
    return {name: what for name, what in found.items() if not name.startswith(("metadata", "journal"))}


# ---- what a mirror can do --------------------------------------------------------------------------


def test_T01_an_arbitrary_bundle(vendor: Vendor, device: Device) -> None:
    a = bundle("a")
    strangers = a.document.with_signatures(()).add_signatures(keys("release:macos", THIEF))
    vendor.files[layout.bundle_name(a.digest)] = replace(a, document=strangers).to_bytes()
    assert refused(device, vendor.mirror()).reason == "E_SIG"


def test_T01_metadata_signed_by_strangers(vendor: Vendor, device: Device) -> None:
    vendor.forge("timestamp", lambda t: setattr(t, "version", 9), keys("timestamp", THIEF))
    assert refused_whole(device, vendor.mirror()).reason == "E_SIG"


def test_T02_an_old_timestamp(vendor: Vendor, device: Device) -> None:
    old = dict(vendor.files)
    vendor.renew(later=60)
    with pytest.raises(DeltasealError):
        vendor.renew(later=60) and device.update([Repository(Mirror(vendor.files, before=_no_bundles))])
    assert refused_whole(device, Repository(Mirror(old))).reason == "E_SEQ"


def _no_bundles(name: str) -> None:
    if name.startswith("bundles/"):
        raise DeltasealError("none")


def test_T02_an_old_root_in_place_of_the_next(vendor: Vendor, device: Device) -> None:
    vendor.files[layout.metadata_name("root", 2)] = vendor.root(1)
    assert refused_whole(device, vendor.mirror()).reason == "E_SEQ"


def test_T02_an_old_catalogue_by_stolen_online_keys(vendor: Vendor, tmp_path: Path) -> None:
    old = vendor.files[layout.metadata_name("release-macos", 2)]
    vendor.release(bundle("a"), bundle("b"))
    device = vendor.device(tmp_path / "device")

    def roll_back(snapshot: object) -> None:
        snapshot.version += 1  # type: ignore[attr-defined]
        snapshot.meta["release-macos.json"] = MetaFile.from_data(2, old, ["sha256"])  # type: ignore[attr-defined]

    vendor.forge("snapshot", roll_back, keys("snapshot"))
    vendor.stamp(vendor.body("timestamp").snapshot_meta.version + 1, by=keys("timestamp"))
    assert refused(device, vendor.mirror()).reason == "E_SEQ"


def test_T03_a_freeze(vendor: Vendor, device: Device, world: World) -> None:
    world.clock = NOW + DAY
    error = refused_whole(device, vendor.mirror())
    assert (error.reason, error.facts["role"]) == ("E_EXPIRED", "timestamp")


def test_T04_endless_metadata(vendor: Vendor, device: Device) -> None:
    with serving(Served(vendor.files.get, endless=True)) as served:
        assert refused_whole(device, Repository.at(served.url)).reason == "E_LIMIT"


def test_T04_a_timestamp_over_the_limit(vendor: Vendor, device: Device) -> None:
    vendor.files[layout.TIMESTAMP_NAME] += b" " * layout.MAX_TIMESTAMP
    assert refused_whole(device, vendor.mirror()).reason == "E_LIMIT"


def test_T04_offers_over_the_limit_by_stolen_online_keys(vendor: Vendor, device: Device) -> None:
    path = layout.offers_path("macos", BUILD, MODEL)
    vendor.target("personaliser", path, bytes(layout.MAX_OFFERS + 1), by=keys("personaliser"))
    assert refused(device, vendor.mirror()).reason == "E_LIMIT"


def test_T05_a_slow_drip(vendor: Vendor, device: Device) -> None:
    with serving(Served(vendor.files.get, drip=0.05)) as served:
        source = Repository(HttpTransport(served.url, window=0.5))
        assert refused_whole(device, source).reason == "E_NET"


def test_T07_parts_of_two_snapshots(vendor: Vendor, device: Device) -> None:
    first = {name: vendor.files[layout.metadata_name(name, 2)] for name in ("snapshot", "release-macos")}
    vendor.release(bundle("a"), bundle("b"))
    for name, data in first.items():
        mixed = dict(vendor.files) | {layout.metadata_name(name, 3): data}
        assert refused(device, Repository(Mirror(mixed))).reason == "E_DIGEST"


def test_T07_offers_of_another_snapshot(vendor: Vendor, device: Device) -> None:
    offers = sorted(name for name in vendor.files if name.startswith("targets/offers/"))
    vendor.release(bundle("a"), bundle("b"))
    new = next(name for name in vendor.files if name.startswith("targets/offers/") and name not in offers)
    vendor.files[new] = vendor.files[offers[0]]
    assert refused(device, vendor.mirror()).reason == "E_DIGEST"


def test_T38_another_valid_bundle(vendor: Vendor, device: Device) -> None:
    vendor.files[layout.bundle_name(bundle("a").digest)] = bundle("b").to_bytes()
    assert refused(device, vendor.mirror()).reason == "E_DIGEST"


def test_T38_the_next_mirror_is_asked(vendor: Vendor, device: Device) -> None:
    bent = dict(vendor.files) | {layout.bundle_name(bundle("a").digest): bundle("b").to_bytes()}
    assert device.update([Repository(Mirror(bent)), vendor.mirror()]).state == "ACTIVE"


# ---- documents that are not what they say ------------------------------------------------------------


def test_T15_a_document_of_another_type(vendor: Vendor, device: Device) -> None:
    data = signed_base().to_bytes()
    vendor.target("release-macos", "macos/catalogue", data, by=keys("release:macos"))
    assert refused(device, vendor.mirror()).reason == "E_TYPE"


def test_T15_metadata_of_another_type(vendor: Vendor, device: Device) -> None:
    vendor.files[layout.TIMESTAMP_NAME] = vendor.files[layout.metadata_name("snapshot", 2)]
    assert refused_whole(device, vendor.mirror()).reason == "E_TYPE"


def test_T37_bytes_after_the_catalogue(vendor: Vendor, device: Device) -> None:
    data = vendor.listed().to_bytes() + b"more"
    vendor.target("release-macos", "macos/catalogue", data, by=keys("release:macos"))
    assert refused(device, vendor.mirror()).reason == "E_SIG"


def test_T37_a_length_that_leads_out_of_the_offers(vendor: Vendor, device: Device) -> None:
    data = bytearray(permit(bundle("a")).to_bytes())
    at = 8 + len("deltaseal/device-manifest")
    data[at : at + 4] = b"\xff\xff\xff\x7f"
    path = layout.offers_path("macos", BUILD, MODEL)
    vendor.target("personaliser", path, bytes(data), by=keys("personaliser"))
    assert refused(device, vendor.mirror()).reason == "E_SIG"


# ---- signatures ----------------------------------------------------------------------------------------


def new_root(vendor: Vendor, change: Callable[[object], object], by: list[object]) -> None:
    """The next root, changed and signed."""

    def next_one(root: object) -> None:
        root.version += 1  # type: ignore[attr-defined]
        change(root)

    vendor.forge("root", next_one, by)  # type: ignore[arg-type]


def test_T16_all_keys_of_one_algorithm_and_one_of_the_other(vendor: Vendor, device: Device) -> None:
    # Four signatures, which is the sum that TUF counts; of ML-DSA there is one too few.
    new_root(vendor, lambda root: None, list(keys("root")[:4]))
    error = refused_whole(device, vendor.mirror())
    assert error.reason == "E_SIG"
    assert "1 of 2 ml-dsa-65" in error.sentence


@pytest.mark.parametrize("stolen", [0, 1])
def test_T16_one_algorithm_of_an_online_role(vendor: Vendor, device: Device, stolen: int) -> None:
    vendor.forge("timestamp", lambda t: setattr(t, "version", 9), [keys("timestamp")[stolen]])
    assert refused_whole(device, vendor.mirror()).reason == "E_SIG"


@pytest.mark.parametrize("name", ["timestamp", "snapshot", "release-macos", "personaliser"])
@pytest.mark.parametrize("stripped", [0, 1])
def test_T17_a_stripped_signature(vendor: Vendor, device: Device, name: str, stripped: int) -> None:
    ours = name.replace("-", ":")
    body = vendor.body(name)
    body.version += 1
    vendor.put(name, body, [keys(ours)[1 - stripped]])
    if name == "snapshot":
        vendor.stamp(body.version, by=keys("timestamp"))
    elif name != "timestamp":
        vendor.reseal()
    assert refused(device, vendor.mirror()).reason == "E_SIG"


def test_T18_one_key_under_two_ids(vendor: Vendor, device: Device) -> None:
    stolen = keys("timestamp", THIEF)[0]

    def twice(root: object) -> None:
        from deltaseal.repo.metadata import tuf_key

        key = tuf_key(stolen.public)
        other = type(key).from_dict("ab" * 32, key.to_dict())
        root.keys |= {key.keyid: key, other.keyid: other}  # type: ignore[attr-defined]
        fields = {THRESHOLDS: {"ed25519": 1, "ml-dsa-65": 1}}
        root.roles["timestamp"] = TufRole([key.keyid, other.keyid], 2, fields)  # type: ignore[attr-defined]

    new_root(vendor, twice, list(keys("root")))
    body = vendor.body("timestamp")
    body.version += 1
    metadata: Metadata[object] = Metadata(body)
    add_signatures(metadata, [stolen])
    [signature] = metadata.signatures.values()
    metadata.signatures["ab" * 32] = type(signature)("ab" * 32, signature.signature)
    vendor.files[layout.TIMESTAMP_NAME] = dump(metadata)
    assert refused_whole(device, vendor.mirror()).reason == "E_SIG"


def test_T19_an_algorithm_that_counts_nothing(vendor: Vendor, device: Device) -> None:
    foreign = CryptoSigner(rsa.generate_private_key(65_537, 2_048))
    ours = keys("timestamp")[0]

    def mixed(root: object) -> None:
        from deltaseal.repo.metadata import tuf_key

        key = tuf_key(ours.public)
        root.keys |= {foreign.public_key.keyid: foreign.public_key, key.keyid: key}  # type: ignore[attr-defined]
        fields = {THRESHOLDS: {"ed25519": 1, "ml-dsa-65": 1}}
        ids = [key.keyid, foreign.public_key.keyid]
        root.roles["timestamp"] = TufRole(ids, 2, fields)  # type: ignore[attr-defined]

    new_root(vendor, mixed, list(keys("root")))
    body = vendor.body("timestamp")
    body.version += 1
    metadata: Metadata[object] = Metadata(body)
    add_signatures(metadata, [ours])
    metadata.sign(foreign, append=True)
    vendor.files[layout.TIMESTAMP_NAME] = dump(metadata)
    assert refused_whole(device, vendor.mirror()).reason == "E_SIG"


def test_T19_a_rule_that_names_no_second_algorithm(vendor: Vendor, device: Device) -> None:
    def weaker(root: object) -> None:
        root.roles["timestamp"].unrecognized_fields = {}  # type: ignore[attr-defined]

    new_root(vendor, weaker, list(keys("root")))
    assert refused_whole(device, vendor.mirror()).reason == "E_SIG"


# ---- time ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["root", "timestamp", "snapshot", "targets", "release-macos", "personaliser"]
)
def test_T20_an_expired_role_file(vendor: Vendor, device: Device, world: World, name: str) -> None:
    world.clock = ends = NOW + 10 * DAY
    for each in ("root", "targets", "release-macos", "personaliser"):

        def until(body: object, each: str = each) -> None:
            body.version += 1  # type: ignore[attr-defined]
            body.expires = moment(ends if each == name else ends + DAY)  # type: ignore[attr-defined]

        vendor.forge(each, until, keys(each.replace("-", ":")))
    lives = {each: ends if each == name else ends + DAY for each in ("snapshot", "timestamp")}
    vendor.reseal(snapshot_ends=lives["snapshot"], timestamp_ends=lives["timestamp"])
    error = refused_whole(device, vendor.mirror())
    assert (error.reason, error.facts["role"]) == ("E_EXPIRED", name)


def test_T20_an_expired_catalogue(vendor: Vendor, world: World, tmp_path: Path) -> None:
    vendor.release(bundle("a"), expires=NOW + 3_600)
    device = vendor.device(tmp_path / "device", world)
    world.clock = NOW + 3_600
    assert refused_whole(device, vendor.mirror()).reason == "E_EXPIRED"


def test_T21_a_clock_that_was_set_back(vendor: Vendor, device: Device, world: World) -> None:
    world.clock = NOW + 2 * DAY
    vendor.publisher.now = world.clock
    old = vendor.files[layout.TIMESTAMP_NAME]
    vendor.release(bundle("a"), issued=world.clock)
    assert device.update([vendor.mirror()]).state == "ACTIVE"
    world.clock = NOW
    stamp = Metadata.from_bytes(old).signed
    stamp.version = vendor.body("timestamp").version + 1
    stamp.snapshot_meta = vendor.body("timestamp").snapshot_meta
    vendor.put("timestamp", stamp, keys("timestamp"))
    assert refused_whole(device, vendor.mirror()).reason == "E_EXPIRED"


# ---- the chain of roots, and delegations -------------------------------------------------------------------


def test_T22_a_gap_in_the_chain(vendor: Vendor, device: Device) -> None:
    vendor.rotate("timestamp", 1).rotate("timestamp", 2)
    third = vendor.root(3)
    for second in (None, third):
        mixed = dict(vendor.files)
        del mixed[layout.metadata_name("root", 2)]
        if second is not None:
            mixed[layout.metadata_name("root", 2)] = second
        assert refused_whole(device, Repository(Mirror(mixed))).reason == "E_SIG"


def test_T22_a_root_that_the_old_rule_does_not_accept(vendor: Vendor, device: Device) -> None:
    from deltaseal.repo import parts

    new_root(vendor, lambda root: parts.set_root_rule(root, role("root", 1)), list(keys("root", 1)))  # type: ignore[arg-type]
    assert refused_whole(device, vendor.mirror()).reason == "E_SIG"


def test_T22_a_root_that_only_the_old_rule_accepts(vendor: Vendor, device: Device) -> None:
    from deltaseal.repo import parts

    new_root(vendor, lambda root: parts.set_root_rule(root, role("root", 1)), list(keys("root")))  # type: ignore[arg-type]
    assert refused_whole(device, vendor.mirror()).reason == "E_SIG"


def test_T23_a_role_that_names_what_is_not_its_own(vendor: Vendor, device: Device) -> None:
    data = vendor.listed().to_bytes()
    vendor.target("release-macos", "ios/catalogue", data, by=keys("release:macos"))
    error = refused_whole(device, vendor.mirror())
    assert (error.reason, error.facts["path"]) == ("E_SIG", "ios/catalogue")


def test_T23_a_catalogue_of_another_system(vendor: Vendor, device: Device) -> None:
    foreign = Catalogue.loads(vendor.listed().body)
    document = sign(Catalogue.TYPE, replace(foreign, os="ios").dumps(), keys("release:ios"))
    vendor.target("release-macos", "macos/catalogue", document.to_bytes(), by=keys("release:macos"))
    assert refused(device, vendor.mirror()).reason == "E_SIG"


def test_T24_one_role_under_two_delegators(vendor: Vendor, device: Device) -> None:
    # The release role of macOS delegates to "personaliser" too, to keys of its own, which sign one.
    from tuf.api.metadata import DelegatedRole, Delegations

    from deltaseal.repo.metadata import rule_values, tuf_key

    theirs = keys("personaliser", THIEF)
    by_id = {key.keyid: key for key in (tuf_key(each.public) for each in theirs)}

    def delegate(body: object) -> None:
        body.version += 1  # type: ignore[attr-defined]
        fields = rule_values(role("personaliser", THIEF))
        roles = {
            "personaliser": DelegatedRole("personaliser", list(by_id), 2, False, ["macos/*"], None, fields)
        }
        body.delegations = Delegations(by_id, roles)  # type: ignore[attr-defined]

    vendor.forge("release-macos", delegate, keys("release:macos"))
    vendor.forge("personaliser", lambda body: setattr(body, "version", body.version + 1), theirs).reseal()
    assert refused(device, vendor.mirror()).reason == "E_SIG"


# ---- what is offered ---------------------------------------------------------------------------------


def test_T27_a_lower_letter(vendor: Vendor, device: Device) -> None:
    vendor.release(bundle("a"), bundle("b"))
    assert device.update([vendor.mirror()]).name == "macOS 26.3.1 (b)"
    assert refused_whole(device, vendor.mirror(), install="macos-26.3.1-a").reason == "E_SEQ"


def test_T28_a_withdrawn_improvement_that_is_permitted_still(vendor: Vendor, device: Device) -> None:
    order = Withdrawal("macos-26.3.1-a", "keep", ("CVE-2026-20643",))
    vendor.release(bundle("a"), withdrawals=(order,))
    fresh = permit(bundle("a"), issued=NOW, expires=NOW + DAY).to_bytes()
    path = layout.offers_path("macos", BUILD, MODEL)
    vendor.target("personaliser", path, fresh, by=keys("personaliser"))
    with pytest.raises(DeltasealError) as error:  # it journals the order, and refuses
        device.update([vendor.mirror()])
    assert error.value.reason == "E_WITHDRAWN"
    assert device.status().applied is None
    assert refused(device, vendor.mirror()).reason == "E_WITHDRAWN"


def test_T30_the_personaliser_permits_what_nobody_released(vendor: Vendor, device: Device) -> None:
    b = bundle("b")
    strangers = b.document.with_signatures(()).add_signatures(keys("personaliser"))
    vendor.files[layout.bundle_name(b.digest)] = replace(b, document=strangers).to_bytes()
    fresh = permit(b, issued=NOW, expires=NOW + DAY).to_bytes()
    path = layout.offers_path("macos", BUILD, MODEL)
    vendor.target("personaliser", path, fresh, by=keys("personaliser"))
    assert refused(device, vendor.mirror()).reason == "E_SIG"


def test_T30_the_personaliser_widens_what_was_released(vendor: Vendor, world: World, tmp_path: Path) -> None:
    device = vendor.device(tmp_path / "other", world, model="Mac99,9")
    a = bundle("a")
    fresh = permit(a, issued=NOW, expires=NOW + DAY, models=("Mac99,9",)).to_bytes()
    path = layout.offers_path("macos", BUILD, "Mac99,9")
    vendor.target("personaliser", path, fresh, by=keys("personaliser"))
    assert "Mac99,9" not in BundleManifest.loads(a.document.body).models
    assert refused(device, vendor.mirror()).reason == "E_SIG"


# ---- undone by rotation ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["timestamp", "snapshot"])
def test_T06_a_version_pushed_to_the_maximum_is_undone_by_rotation(
    vendor: Vendor, device: Device, name: str
) -> None:
    honest = dict(vendor.files)
    if name == "timestamp":
        vendor.forge("timestamp", lambda t: setattr(t, "version", 2**53), keys("timestamp"))
    else:
        vendor.forge("snapshot", lambda s: setattr(s, "version", 2**53), keys("snapshot"))
        vendor.stamp(2**53, by=keys("timestamp"))
    assert device.update([vendor.mirror()]).state == "ACTIVE"  # the content is honest, the number is not
    vendor.files.clear()
    vendor.files.update(honest)
    assert refused(device, vendor.mirror()).reason == "E_SEQ"
    vendor.rotate("snapshot", 1).publisher.rotate(role("timestamp", 1))
    vendor.publisher.publish([*all_keys(), *all_keys(1)])
    with pytest.raises(DeltasealError) as error:
        device.update([vendor.mirror()])
    assert error.value.reason == "NOTHING"


@pytest.mark.parametrize("pushed", [{"serial": 2**53}, {"minimum": 2**53}, {"issued": NOW + 3_650 * DAY}])
def test_T39_what_a_stolen_release_key_pushed_ahead_is_undone_by_rotation(
    vendor: Vendor, device: Device, world: World, pushed: dict[str, int]
) -> None:
    stolen = {"serial": 2, "expires": NOW + 7_300 * DAY, **pushed}
    data = catalogue(bundle("a"), improvements_expire=NOW + 7_300 * DAY, **stolen).to_bytes()  # type: ignore[arg-type]
    honest = dict(vendor.files)
    vendor.target("release-macos", "macos/catalogue", data, by=keys("release:macos"))
    with pytest.raises(
        DeltasealError
    ):  # below the minimum, or expired at that date: but the catalogue is taken in
        device.update([vendor.mirror()])
        raise DeltasealError("the serial alone stops nothing yet")
    vendor.files.clear()
    vendor.files.update(honest)
    assert device.status().applied is None or "serial" in pushed
    vendor.publisher.now = NOW + 60
    vendor.rotate("release:macos", 1)
    vendor.rotate("snapshot", 1).rotate("timestamp", 1)
    with pytest.raises(DeltasealError) as error:
        assert device.update([vendor.mirror()]).state == "ACTIVE"
        device.update([vendor.mirror()])
    assert error.value.reason == "NOTHING"
