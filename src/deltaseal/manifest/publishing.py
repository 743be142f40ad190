"""What a publisher may release: letters, fixes, catalogues and permissions (R3, R6, R7, R11).

The counterpart of :mod:`deltaseal.manifest.rules`: judged when something is
made, so that no device ever has to refuse it.  Pure functions of values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from deltaseal.errors import DocumentTypeError, SequenceError, UsageError
from deltaseal.manifest.catalogue import Catalogue, CatalogueBase, Listed, Withdrawal
from deltaseal.manifest.device_manifest import LIFETIME, DeviceManifest, Personal
from deltaseal.manifest.releases import BundleManifest
from deltaseal.manifest.versions import full_name, letter_rank


@dataclass(frozen=True, slots=True)
class Published:
    """An improvement as it goes into a catalogue."""

    manifest: BundleManifest
    digest: str  # bundle digest, hexadecimal
    expires: int  # seconds since 1970


def check_release(
    new: BundleManifest, earlier: Iterable[BundleManifest], *, withdrawn: Collection[str] = ()
) -> None:
    """Refuse a release that breaks R3 against the earlier ones of its system.

    ``SequenceError`` where its sequence or, on its base, its letter does not rise
    above all earlier ones, withdrawn ones included; ``UsageError`` naming the CVE
    where it loses a fix of a lower letter that is not withdrawn, or reuses an id.
    """
    for other in earlier:
        if other.os != new.os:
            continue
        _check_rises(new, other)
        if other.base_build == new.base_build:
            _check_letter(new, other)
            if other.id not in withdrawn:
                _check_fixes(new, other)


def _check_rises(new: BundleManifest, other: BundleManifest) -> None:
    if other.id == new.id:
        raise UsageError(f"the id {new.id} was already released", hint="choose a new id", id=new.id)
    if new.sequence <= other.sequence:
        raise SequenceError(
            f"{new.id} has sequence {new.sequence}, but {other.id} already has {other.sequence}",
            hint=f"give it a sequence above {other.sequence}",
            found=new.sequence,
            above=other.sequence,
            id=other.id,
        )


def _check_letter(new: BundleManifest, other: BundleManifest) -> None:
    if letter_rank(new.letter) <= letter_rank(other.letter):
        base = f"{full_name(new.os, new.version)} build {new.base_build}"
        raise SequenceError(
            f"{new.id} has letter {new.letter}, but {base} already had {other.letter} ({other.id})",
            hint="letters rise within a base and are never used again, even after a withdrawal",
            found=new.letter,
            above=other.letter,
            id=other.id,
        )


def _check_fixes(new: BundleManifest, other: BundleManifest) -> None:
    lost = sorted(other.fixed - new.fixed)
    if lost:
        raise UsageError(
            f"{new.id} loses {', '.join(lost)}, which {other.id} fixes",
            hint=f"contain every fix of the lower letters of the base, or withdraw {other.id} first",
            lost=lost,
            id=other.id,
        )


@dataclass(frozen=True, slots=True)
class LostFix:
    """A hole that was closed on an earlier base and is open on a later one."""

    cve: str
    closed_on: str  # build of the earlier base
    lost_on: str  # build of the later base


def lost_fixes(catalogue: Catalogue) -> tuple[LostFix, ...]:
    """Every fix that a later base neither includes nor has an improvement for (R11).

    A hole that a withdrawal names as open again on the later base is not lost by
    mistake: it is said.
    """
    found: list[LostFix] = []
    closed: dict[str, str] = {}  # CVE: build where it was first closed
    for base in catalogue.bases:
        here = _closed_on(catalogue, base)
        said = _reopened_on(catalogue, base)
        found += [LostFix(cve, build, base.build) for cve, build in closed.items() if cve not in here | said]
        for cve in sorted(here):
            closed.setdefault(cve, base.build)
    return tuple(found)


def _closed_on(catalogue: Catalogue, base: CatalogueBase) -> set[str]:
    return {*base.includes, *(cve for entry in catalogue.on_base(base.build) for cve in entry.cves)}


def _reopened_on(catalogue: Catalogue, base: CatalogueBase) -> set[str]:
    on_base = {entry.id for entry in catalogue.improvements if entry.base_build == base.build}
    return {cve for order in catalogue.withdrawals if order.id in on_base for cve in order.reopens}


def make_catalogue(
    *,
    os: str,
    serial: int,
    issued: int,
    expires: int,
    bases: Sequence[CatalogueBase],
    improvements: Iterable[Published],
    minimum_sequence: int = 0,
    withdrawals: Sequence[Withdrawal] = (),
) -> Catalogue:
    """The catalogue of one system, judged as a whole.

    Improvements of other systems are a ``UsageError``, as are an unknown base, an
    order about an unknown improvement, a break of R3, and a lost fix (R11): each
    names what is wrong.
    """
    published = sorted(improvements, key=lambda one: one.manifest.sequence)
    builds = {base.build for base in bases}
    for one in published:
        _check_belongs(one.manifest, os, builds)
    withdrawn = {order.id for order in withdrawals}
    unknown = sorted(withdrawn - {one.manifest.id for one in published})
    if unknown:
        raise UsageError(f"withdrawn, but not among the improvements: {', '.join(unknown)}", unknown=unknown)
    for index, one in enumerate(published):
        before = [other.manifest for other in published[:index]]
        check_release(one.manifest, before, withdrawn=withdrawn)
    catalogue = Catalogue(
        os=os,
        serial=serial,
        issued=issued,
        expires=expires,
        minimum_sequence=minimum_sequence,
        bases=tuple(bases),
        improvements=tuple(listed(one) for one in published),
        withdrawals=tuple(withdrawals),
    )
    check_nothing_lost(catalogue)
    return Catalogue.loads(catalogue.dumps())


def _check_belongs(manifest: BundleManifest, os: str, builds: Collection[str]) -> None:
    if manifest.os != os:
        raise UsageError(f"{manifest.id} is for {manifest.os}, this catalogue is for {os}", id=manifest.id)
    if manifest.base_build not in builds:
        raise UsageError(
            f"{manifest.id} is for build {manifest.base_build}, which is not among the bases",
            hint="list every base, oldest first",
            id=manifest.id,
            build=manifest.base_build,
        )


def listed(one: Published) -> Listed:
    """The entry of an improvement in a catalogue."""
    manifest = one.manifest
    return Listed(
        id=manifest.id,
        letter=manifest.letter,
        base_build=manifest.base_build,
        bundle=one.digest,
        sequence=manifest.sequence,
        expires=one.expires,
        cves=tuple(sorted(manifest.fixed)),
    )


def check_nothing_lost(catalogue: Catalogue) -> None:
    """Refuse a catalogue that loses a fix (R11): a ``UsageError`` that names each."""
    lost = lost_fixes(catalogue)
    if lost:
        named = "; ".join(f"{one.cve}, closed on {one.closed_on}, is open on {one.lost_on}" for one in lost)
        raise UsageError(
            f"a fix is lost: {named}",
            hint="list the CVE under the later base's includes, or release an improvement for that base",
            lost=[{"cve": one.cve, "closed_on": one.closed_on, "lost_on": one.lost_on} for one in lost],
        )


def make_withdrawals(
    actions: Mapping[str, str], released: Sequence[BundleManifest]
) -> tuple[Withdrawal, ...]:
    """The orders for these ids, each with the holes that are open again once all of them are followed.

    Those are the fixes of the withdrawn improvement that no other one of its base, not withdrawn, closes too.
    An id that was not released is a ``UsageError``.
    """
    by_id = {manifest.id: manifest for manifest in released}
    unknown = sorted(actions.keys() - by_id.keys())
    if unknown:
        raise UsageError(f"withdrawn, but not among the improvements: {', '.join(unknown)}", unknown=unknown)
    return tuple(
        Withdrawal(id, action, tuple(sorted(_opened_again(by_id[id], actions, released))))
        for id, action in actions.items()
    )


def _opened_again(
    withdrawn: BundleManifest, actions: Mapping[str, str], released: Sequence[BundleManifest]
) -> frozenset[str]:
    base = (withdrawn.os, withdrawn.base_build)
    others = (one for one in released if one.id not in actions and (one.os, one.base_build) == base)
    return withdrawn.fixed.difference(*(other.fixed for other in others))


def make_permit(
    bundle: BundleManifest,
    digest: str,
    *,
    issued: int,
    expires: int | None = None,
    models: Sequence[str] | None = None,
    personal: Personal | None = None,
    channel: str = "stable",
    phase: int = 10_000,
    paused: bool = False,
) -> DeviceManifest:
    """A device manifest for one bundle: for some of its models (default: all), or for one device.

    ``expires`` defaults to the longest life, 7 days.  Widening, a longer life or a
    phase out of range is a ``UsageError``.
    """
    wider = sorted(set(models or ()) - set(bundle.models))
    if wider:
        raise UsageError(
            f"{bundle.id} is not released for {', '.join(wider)}",
            hint="a device manifest can only narrow what the bundle allows",
            added=wider,
        )
    if personal is not None and models is not None:
        raise UsageError("a device manifest is for models or for one device, not for both")
    permit = DeviceManifest(
        id=bundle.id,
        os=bundle.os,
        bundle=digest,
        models=None if personal else tuple(bundle.models if models is None else models),
        personal=personal,
        channel=channel,
        phase=phase,
        issued=issued,
        expires=issued + LIFETIME if expires is None else expires,
        paused=paused,
    )
    try:
        return DeviceManifest.loads(permit.dumps())
    except DocumentTypeError as error:
        raise UsageError(error.sentence, **error.facts) from error
