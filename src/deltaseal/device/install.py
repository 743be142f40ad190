"""From a chosen offer to WAITING: fetch, stage, switch. Each step is a row of the state table.

Invariants:

1. The record of the offer is durable before the first byte is fetched, that of the complete bytes before the
   first is staged, that of the staged slot before the switch is announced.
2. Whatever fails before the switch leaves the former in use, untouched, and a record of why.
3. Work that was cut off is taken up where its last record stands, from the signed manifest kept with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NoReturn

from deltaseal.bundle import CheckedSource, VerifiedBundle
from deltaseal.device.fetch import discard_others, fetch_payload, is_fetched
from deltaseal.device.ledger import Retry
from deltaseal.device.offers import Chosen, find_bundle
from deltaseal.device.stage import build_component, finish_slot, open_slot
from deltaseal.device.states import UNDER_WAY, Event, State
from deltaseal.device.switch import confirm, give_up_work, go
from deltaseal.device.taken import taken
from deltaseal.device.updater import Updater, why
from deltaseal.errors import (
    BaseMismatchError,
    BatteryError,
    DeltaError,
    DeltasealError,
    DigestError,
    LimitError,
    NetworkError,
    SpaceError,
    StorageError,
    TreeError,
)
from deltaseal.manifest import Route
from deltaseal.repo import Source
from deltaseal.storage import FileSource

__all__ = ["begin", "carry_on"]

# A payload or tree at fault: another route may do. The old tree at fault is among them: from the baseline, or
# with whole files, there may be a way.
_AT_FAULT: Final = (BaseMismatchError, DeltaError, DigestError, LimitError, TreeError)
# The surroundings at fault: the same will do later.
_LATER: Final = (BatteryError, NetworkError, SpaceError, StorageError)

_FIRST_WAIT: Final = 3_600  # seconds until the next automatic try, doubled each time
_LONGEST_WAIT: Final = 86_400


@dataclass(slots=True)
class _Way:
    """The routes still to be tried for each component, the current one first."""

    bundle: VerifiedBundle
    routes: dict[str, list[Route]]
    in_place: dict[str, CheckedSource] = field(default_factory=dict)  # payloads of a bundle on a local disk


def begin(up: Updater, chosen: Chosen, *, uid: int | None, retry: bool) -> None:
    """BASELINE, ACTIVE: record the offer, the first step of its way. Other work under way is given up."""
    if up.ledger.state in UNDER_WAY:
        give_up_work(up, Event.HIGHER)
    slot = max([up.ledger.slots, *up.store.slots()]) + 1
    total = sum(routes[0].size for routes in chosen.routes.values())
    fresh = taken(chosen.bundle.verified, slot=slot, epoch=up.trust.epoch, permit=chosen.permit, uid=uid)
    work = replace(fresh, total=total)
    up.record(Event.OFFER, State.FETCHING, work, improvement=work.to_json(), retry=retry)


def carry_on(up: Updater, chosen: Chosen, sources: Sequence[Source]) -> None:
    """Do what is left from FETCHING on, as far as it goes now: to ACTIVE, or to WAITING until it is used."""
    way = _Way(chosen.bundle, {name: list(routes) for name, routes in chosen.routes.items()})
    if up.ledger.state is State.FETCHING:
        _fetch(up, way, sources)
    if up.ledger.state is State.STAGING:
        _stage(up, way, sources)
    go(up)
    confirm(up)


def _fetch(up: Updater, way: _Way, sources: Sequence[Source]) -> None:
    try:
        discard_others(up, way.bundle)
        for name in sorted(way.routes):
            _fetch_from_any(up, way, way.routes[name][0], sources)
    except _LATER as error:
        _interrupted(up, error)
    except DigestError as error:
        up.record(Event.BAD_BYTES, up.ledger.former, up.work, **why(error))
        up.store.clear_fetch()
        raise
    up.record(Event.FETCHED, State.STAGING, up.work)


def _fetch_from_any(up: Updater, way: _Way, route: Route, sources: Sequence[Source]) -> None:
    """Fetch one payload; where a source's bytes are bad, try the next source.

    A bundle that is a file on a local disk is read where it lies: its payload is checked, not copied.
    """
    if route.sha256 in way.in_place or is_fetched(up, route):
        return
    failure: DeltasealError | None = None
    for source in sources:
        try:
            bundle = find_bundle(up, [source], way.bundle.digest)
            if isinstance(bundle.source, FileSource):
                way.in_place[route.sha256] = bundle.payload(route.sha256)
                up.progress("fetch", route.size, route.size)
            else:
                fetch_payload(up, bundle, route)
            return
        except DigestError as error:
            failure = error
            if up.ledger.state is State.FETCHING:
                up.record(Event.BAD_BYTES, State.FETCHING, up.work, source=source.name, **why(error))
        except NetworkError as error:
            failure = failure or error
    raise failure or NetworkError("there is no source to fetch from", payload=route.sha256)


def _stage(up: Updater, way: _Way, sources: Sequence[Source]) -> None:
    work = up.work
    try:
        open_slot(up, work, way.bundle.signed.to_bytes())
        for name in sorted(way.routes):
            _build_by_any(up, way, name, sources)
        finish_slot(up, work)
    except _LATER as error:
        _interrupted(up, error)
    fetched = sum(routes[0].size for routes in way.routes.values())
    up.record(Event.STAGED, State.STAGED, work, fetched=fetched)


def _build_by_any(up: Updater, way: _Way, name: str, sources: Sequence[Source]) -> None:
    """Build one component by its cheapest route; where that fails, by the next one (R15)."""
    routes = way.routes[name]
    while True:
        route = routes[0]
        try:
            _fetch_from_any(up, way, route, sources)
            in_place = way.in_place.get(route.sha256)
            build_component(up, up.work, way.bundle.manifest, name, route, in_place=in_place)
            return
        except _AT_FAULT as error:
            facts = {"component": name, "route": route.kind, **why(error)}
            if len(routes) == 1:
                up.record(Event.UNBUILT, up.ledger.former, up.work, hold=True, **facts)
                up.keep_slots(up.ledger.active)
                up.store.clear_fetch()
                raise
            up.record(Event.UNBUILT, State.STAGING, up.work, **facts)
            routes.pop(0)


def _interrupted(up: Updater, error: DeltasealError) -> NoReturn:
    """The surroundings failed: note when to try again; what was fetched stays for that.

    The slot goes first: on a full disk its room is needed for the record, and no state relies on it.
    """
    work = up.work
    up.keep_slots(up.ledger.active)
    before = up.ledger.retry
    wait = min(before.wait * 2, _LONGEST_WAIT) if before and before.id == work.id else _FIRST_WAIT
    told = why(error)
    retry = Retry(work.id, up.edge.now() + wait, wait, told["reason"], told["sentence"])
    up.record(Event.INTERRUPTED, up.ledger.former, work, retry=retry.to_json())
    raise error
