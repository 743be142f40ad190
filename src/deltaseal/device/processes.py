"""From the running processes to what people see of them."""

from __future__ import annotations

from collections.abc import Iterable

from deltaseal.device.health import pending
from deltaseal.device.ledger import Ledger
from deltaseal.device.mapped import Images, Kind
from deltaseal.device.record import Record
from deltaseal.device.states import SWITCHED, Event
from deltaseal.device.store import BASELINE, Store
from deltaseal.edge import Edge
from deltaseal.manifest import full_name
from deltaseal.report import Processes

__all__ = ["processes_of"]


def processes_of(store: Store, records: Iterable[Record], ledger: Ledger, edge: Edge) -> Processes:
    """Which processes use the components, and which of them use what is not in use any more."""
    base = ledger.base
    assert base is not None, "a journal begins with the base"
    shown = ledger.work if ledger.state in SWITCHED and ledger.work else ledger.active
    running = edge.processes()
    images = Images(edge, store, base, shown, names=_slots(records))
    stale = tuple(use for each in running if (use := images.process_use(each, Kind.REPLACED)))
    old = {use.pid for use in stale}
    current = (images.process_use(each, Kind.CURRENT) for each in running if each.pid not in old)
    waiting = pending(edge, store, base, ledger.switch, shown)
    return Processes(
        using=shown.id if shown else BASELINE,
        name=full_name(base.os, base.version, shown.letter if shown else None),
        pending=waiting.what if waiting else "",
        replaced=stale,
        current=tuple(use for use in current if use),
        unseen=sum(not each.readable for each in running),
    )


def _slots(records: Iterable[Record]) -> dict[int, str]:
    """Which improvement each slot held, as far as the journal knows: a slot's number is never used again."""
    offers = (record for record in records if record.event is Event.OFFER)
    return {record.facts["improvement"]["slot"]: record.id for record in offers}
