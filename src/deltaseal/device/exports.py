"""From the journal to what the device's exports need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from deltaseal.device.journal import describe
from deltaseal.device.ledger import Ledger
from deltaseal.device.record import Reading, Record
from deltaseal.device.states import Event
from deltaseal.device.store import Store
from deltaseal.edge import Edge
from deltaseal.manifest import accept_catalogue, effective_now, verify_catalogue
from deltaseal.repo import Source
from deltaseal.report import Audited, KnownFix, audit_lines
from deltaseal.trust import strict_json

__all__ = ["audit_of", "known_fixes"]


def audit_of(store: Store, reading: Reading, edge: Edge) -> tuple[bytes, ...]:
    """The whole journal, signed by the device; a damaged one with its fault and all that is whole of it."""
    fault = "" if reading.fault is None else describe(reading.fault)
    entries = [
        Audited(strict_json.loads(record.body), evidence)
        for records, evidence in ((reading.evidence, True), (reading.records, False))
        for record in records
    ]
    identity = store.identity()
    return tuple(audit_lines(identity.id, entries, fault=fault, made=edge.now(), signer=store.key()))


def known_fixes(
    store: Store, records: Iterable[Record], ledger: Ledger, edge: Edge, sources: Sequence[Source]
) -> tuple[KnownFix, ...]:
    """What is fixed on this base, and by what: the offers in the journal, the catalogues of the sources."""
    return (*_offered(records), *_listed(store, ledger, edge, sources))


def _offered(records: Iterable[Record]) -> Iterator[KnownFix]:
    for record in records:
        if record.event is not Event.OFFER:
            continue
        offer = record.facts["improvement"]
        for fix in offer["fixes"]:
            yield KnownFix(fix["cve"], fix["component"], fix.get("title", ""), offer["id"], offer["letter"])


def _listed(store: Store, ledger: Ledger, edge: Edge, sources: Sequence[Source]) -> Iterator[KnownFix]:
    base = ledger.base
    assert base is not None, "a journal begins with the base"
    trust = store.trust()
    floors = ledger.of_epoch(trust.epoch)
    now = effective_now(edge.now(), build_date=edge.build_date, catalogues_issued=[floors.clock_floor])
    last = (floors.serial, floors.catalogue) if floors.serial else None
    for document in (found for source in sources if (found := source.catalogue(base.os))):
        catalogue = verify_catalogue(document, trust, now=now)
        accept_catalogue(catalogue, os=base.os, now=now, last=last)
        for listed in catalogue.value.on_base(base.build):
            for cve in listed.cves:
                yield KnownFix(cve, "", "", listed.id, listed.letter)
