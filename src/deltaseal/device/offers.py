"""What the sources offer, verified and judged: which improvement this device may take, or why none.

Nothing here touches a component. The only record written is that of a newer catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from deltaseal.bundle import VerifiedBundle, open_bundle
from deltaseal.device.store import BASELINE, FETCH
from deltaseal.device.updater import Updater
from deltaseal.errors import DeltasealError, DigestError, ExpiredError, NetworkError, NothingToDo, UsageError
from deltaseal.manifest import (
    STEPS,
    Applied,
    Catalogue,
    DeviceFacts,
    DeviceManifest,
    Finding,
    Free,
    Offer,
    Route,
    Verified,
    accept_catalogue,
    check_offer,
    full_name,
    letter_rank,
    need,
    standing_permits,
    usable_routes,
    verify_catalogue,
    verify_device_manifest,
)
from deltaseal.repo import Source
from deltaseal.storage import shares_blocks
from deltaseal.trust import UnverifiedDocument

__all__ = ["Chosen", "accept_catalogues", "choose", "chosen_before", "find_bundle"]

# Steps of R18 that only say that an offer is meant for others: with several bases in one source that is no
# news.
_FOR_OTHERS: Final = frozenset({"os", "base build"})


@dataclass(frozen=True, slots=True)
class Chosen:
    """An offer that passed every check, and the routes to try for each component, cheapest first (R15)."""

    bundle: VerifiedBundle
    permit: DeviceManifest | None  # None: taken up again, it was judged when it started
    routes: dict[str, tuple[Route, ...]]


@dataclass(frozen=True, slots=True)
class _Refused:
    """An offer that did not pass: how far it got in the order of checks, and why."""

    id: str
    step: int
    error: DeltasealError
    for_others: bool


def accept_catalogues(up: Updater, sources: Sequence[Source]) -> Catalogue | None:
    """Take in the newest catalogue that the sources have, journaling it if it is news (R8, R9).

    Raises the first refusal if there are catalogues and none of them may be taken in.
    """
    accepted: list[Verified[Catalogue]] = []
    refusals: list[DeltasealError] = []
    for document in (found for source in sources if (found := source.catalogue(up.base.os))):
        try:
            accepted.append(_accepted(up, document))
        except DeltasealError as error:
            refusals.append(error)
    if not accepted:
        if refusals:
            raise refusals[0]
        return None
    newest = max(accepted, key=lambda catalogue: catalogue.value.serial)
    if newest.value.serial > up.floors.serial:
        up.record_catalogue(newest.value, newest.digest)
    return newest.value


def _accepted(up: Updater, document: UnverifiedDocument) -> Verified[Catalogue]:
    catalogue = verify_catalogue(document, up.trust, now=up.now)
    last = (up.floors.serial, up.floors.catalogue) if up.floors.serial else None
    try:
        accept_catalogue(catalogue, os=up.base.os, now=up.now, last=last)
    except ExpiredError:
        # It offers nothing any more, but its orders stand: a device that was away carries them out.
        accept_catalogue(catalogue, os=up.base.os, now=catalogue.value.issued, last=last)
        if catalogue.value.withdrawals and catalogue.value.serial > up.floors.serial:
            up.record_catalogue(catalogue.value, catalogue.digest)
        raise
    return catalogue


def choose(
    up: Updater,
    sources: Sequence[Source],
    catalogue: Catalogue | None,
    *,
    id: str | None = None,
    retry: bool = False,
) -> Chosen:
    """The highest letter that passes all checks; with ``id``, that improvement, asked for by a person.

    Raises the refusal of the offer that got furthest, its facts naming the other findings; ``NothingToDo`` if
    what is offered is applied already, or is meant for others.
    """
    passed: list[Chosen] = []
    refused: list[_Refused] = []
    applied = False
    for permit in _permits(up, sources, id, refused):
        if up.ledger.active and up.ledger.active.bundle == permit.bundle:
            applied = True  # nothing of it needs to be read
            continue
        try:
            bundle = find_bundle(up, sources, permit.bundle)
        except DeltasealError as error:
            refused.append(_Refused(permit.id, -1, error, False))
            continue
        offer = Offer(
            bundle.manifest, bundle.digest, permit, catalogue, by_person=id is not None, retry=retry
        )
        routes = _routes(up, bundle)
        findings = _findings(up, offer, routes)
        if findings:
            refused.append(_refusal(permit.id, findings))
        else:
            passed.append(Chosen(bundle, permit, routes))
    if passed:
        return max(passed, key=lambda chosen: letter_rank(chosen.bundle.manifest.letter))
    raise _why_none(up, refused, applied=applied, id=id)


def chosen_before(up: Updater, sources: Sequence[Source]) -> Chosen:
    """The work under way, to be taken up again. Raises ``NetworkError`` if no source has its bundle."""
    bundle = find_bundle(up, sources, up.work.bundle)
    return Chosen(bundle, None, _routes(up, bundle))


def _why_none(up: Updater, refused: Sequence[_Refused], *, applied: bool, id: str | None) -> DeltasealError:
    if applied and up.ledger.active:
        active = up.ledger.active
        return NothingToDo(
            f"{full_name(up.base.os, active.version, active.letter)} is applied already", id=active.id
        )
    about_us = [each for each in refused if id is not None or not each.for_others]
    if about_us:
        return max(about_us, key=lambda each: each.step).error
    if id is not None:
        return UsageError(
            f"no source offers {id}", hint="name a --source that holds its manifest and bundle", id=id
        )
    here = f"{full_name(up.base.os, up.base.version)} build {up.base.build}"
    others = {each.id: each.error.sentence for each in refused}
    return NothingToDo(f"nothing is offered for {here}", base=up.base.build, for_others=others)


def _permits(
    up: Updater, sources: Sequence[Source], id: str | None, refused: list[_Refused]
) -> Iterator[DeviceManifest]:
    """The device manifests that a personaliser signed and that count; those that nobody signed are refused.

    Who asks for one by its id is told why it does not fit, also where it is for another system.
    """
    seen: set[bytes] = set()
    found: list[DeviceManifest] = []
    os = up.base.os if id is None else None
    for document in (each for source in sources for each in source.manifests(os, id)):
        if document.digest in seen:
            continue
        try:
            permit = verify_device_manifest(document, up.trust, now=up.now).value
        except DeltasealError as error:
            refused.append(_Refused("", -1, error, False))
            continue
        seen.add(document.digest)
        found.append(permit)
    for permit in standing_permits(found, up.identity.model):
        if id is None or permit.id == id:
            yield permit


def find_bundle(up: Updater, sources: Iterable[Source], digest: str) -> VerifiedBundle:
    """The bundle of a digest, from the first source that has it whole.

    Raises the last source's error, ``NetworkError`` if none has it.
    """
    failure: DeltasealError = NetworkError(
        f"no source has bundle {digest[:12]}…", hint="name a --source that holds it", bundle=digest
    )
    for source in sources:
        try:
            stored = source.bundle(digest)
            if stored is None:
                continue
            bundle = open_bundle(stored)
            if bundle.digest != digest:
                raise DigestError(
                    f"the source sent bundle {bundle.digest[:12]}… for {digest[:12]}…",
                    expected=digest,
                    found=bundle.digest,
                )
            return bundle.verify(up.trust, now=up.now)
        except DeltasealError as error:
            failure = error
    raise failure


def _routes(up: Updater, bundle: VerifiedBundle) -> dict[str, tuple[Route, ...]]:
    trees = up.ledger.active.trees if up.ledger.active else {}
    return {
        name: usable_routes(change, active_tree=trees.get(name), policy=up.policy, metered=up.edge.metered())
        for name, change in bundle.manifest.components.items()
    }


def _findings(up: Updater, offer: Offer, routes: dict[str, tuple[Route, ...]]) -> tuple[Finding, ...]:
    """All findings; what costs reading whole trees is only measured once everything else has passed."""
    facts = _facts(up)
    findings = check_offer(offer, facts)
    if findings:
        return findings
    found = {name: _found(up, name) for name in offer.bundle.components}
    chosen = {name: tried[0] for name, tried in routes.items() if tried}
    with up.store.inside(FETCH) as fetch:
        free = up.store.disk.space(fetch)
        reflinks = shares_blocks(up.store.disk, fetch)
    measured = replace(
        facts,
        found=found,
        free=Free(free.bytes_free, free.inodes_free),
        battery=up.edge.battery(),
    )
    return check_offer(replace(offer, need=need(offer.bundle, chosen, reflinks=reflinks)), measured)


def _found(up: Updater, component: str) -> str:
    """The digest of a baseline component now; a tree that cannot be read is not what was recorded."""
    try:
        listing = up.checked[component] = up.store.listing(BASELINE, component, up.base)
        return listing.digest.hex()
    except DeltasealError as error:
        return error.sentence


def _facts(up: Updater) -> DeviceFacts:
    ledger, base, identity = up.ledger, up.base, up.identity
    reached = ledger.reached.get(str(up.trust.epoch))
    active = ledger.active
    return DeviceFacts(
        now=up.now,
        os=base.os,
        version=base.version,
        build=base.build,
        model=identity.model,
        device=identity.id,
        channel=identity.channel,
        components={name: base.found[name] for name in base.declared if name in base.found},
        open_nonces=frozenset(ledger.nonces),
        spent_nonces=frozenset(ledger.spent),
        active=Applied(active.id, active.letter, active.sequence, active.bundle) if active else None,
        minimum=up.floors.minimum,
        reached=Applied(reached.id, reached.letter, reached.sequence, reached.bundle) if reached else None,
        holds=frozenset(ledger.holds),
        removed=frozenset(ledger.removed),
        withdrawn={name: order.action for name, order in ledger.withdrawn.items()},
        policy=up.policy,
    )


def _refusal(id: str, findings: tuple[Finding, ...]) -> _Refused:
    first, *others = findings
    error = first.error()
    error.facts["step"] = first.step
    error.facts["others"] = [finding.to_json() for finding in others]
    return _Refused(id, STEPS.index(first.step), error, first.step in _FOR_OTHERS)
