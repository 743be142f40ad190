"""From a verified bundle manifest to what the journal keeps of an improvement."""

from __future__ import annotations

from deltaseal.device.create import base_of
from deltaseal.device.ledger import Base, Improvement
from deltaseal.device.store import Store
from deltaseal.errors import BaseMismatchError, DigestError
from deltaseal.manifest import BundleManifest, DeviceManifest, Verified, verify_base, verify_bundle_manifest
from deltaseal.trust import Trust

__all__ = ["base_from_slot", "taken", "taken_from_slot"]


def taken(
    bundle: Verified[BundleManifest],
    *,
    slot: int,
    epoch: int,
    permit: DeviceManifest | None = None,
    uid: int | None = None,
) -> Improvement:
    """The improvement as the journal keeps it."""
    manifest = bundle.value
    return Improvement(
        id=manifest.id,
        bundle=bundle.digest,
        version=manifest.version,
        letter=manifest.letter,
        build=manifest.build,
        sequence=manifest.sequence,
        activation=manifest.activation,
        processes=list(manifest.processes),
        trees={name: change.result_tree for name, change in manifest.components.items()},
        fixes=[fix.to_json() for fix in manifest.cves],
        slot=slot,
        nonce=permit.personal.nonce if permit and permit.personal else "",
        uid=uid,
        epoch=epoch,
    )


def taken_from_slot(store: Store, trust: Trust, base: Base, number: int) -> Improvement:
    """What a slot is, by its own signed manifest and its own bytes, for want of a record.

    Raises the error of the first proof that fails. Expiry is not judged: that is done when an update starts.
    """
    verified = verify_bundle_manifest(store.slot_bundle(number), trust, now=0)
    manifest = verified.value
    if (manifest.os, manifest.base_build) != (base.os, base.build):
        raise BaseMismatchError(
            f"slot {number} is made for another base", expected=base.build, found=manifest.base_build
        )
    found = taken(verified, slot=number, epoch=trust.epoch)
    faults = store.slot_faults(number, found.trees, base)
    if faults:
        raise DigestError(f"slot {number} is not what its manifest says", components=faults)
    return found


def base_from_slot(store: Store, trust: Trust, number: int) -> Base | None:
    """The base that a slot holds, proved by its signed document and its own bytes; ``None`` if it holds none.

    Raises the error of the first proof that fails.
    """
    document = store.slot_base(number)
    if document is None:
        return None
    signed = verify_base(document, trust, now=0).value
    base = base_of(signed, dict(signed.components))
    faults = store.slot_faults(number, base.found, base)
    if faults:
        raise DigestError(f"slot {number} is not the base that its document says", components=faults)
    return base
