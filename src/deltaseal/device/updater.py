"""The one who writes: an open store, its journal and the lock, handed from step to step.

:func:`updating` is how every verb that writes begins: it takes the lock, reads
the journal, mends what a power cut or damage left (:mod:`recovery`), and
carries out what the vendor ordered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from deltaseal.device.journal import Journal
from deltaseal.device.ledger import Base, Improvement, Ledger, Switch
from deltaseal.device.states import Event, State
from deltaseal.device.store import Identity, Store
from deltaseal.edge import Edge
from deltaseal.errors import BrokenError, DeltasealError, SpaceError
from deltaseal.manifest import Catalogue, Policy, effective_now
from deltaseal.trees import Listing
from deltaseal.trust import Trust

__all__ = ["Progress", "Updater"]

Progress = Callable[[str, int, int], None]  # what is done ("fetch", "stage"), bytes done, bytes in all


@dataclass(frozen=True, slots=True)
class Updater:
    """What every step needs; made by :func:`deltaseal.device.recovery.updating`."""

    store: Store
    journal: Journal
    edge: Edge
    identity: Identity
    trust: Trust
    policy: Policy
    progress: Progress
    # Baseline components as the checks of this run found them, so that staging need not scan them again. It
    # hashes whatever it uses of them: what changed meanwhile is noticed there.
    checked: dict[str, Listing] = field(default_factory=dict)

    @property
    def ledger(self) -> Ledger:
        """What the device knows now."""
        return self.journal.ledger

    @property
    def base(self) -> Base:
        """The base the device was created on."""
        base = self.ledger.base
        assert base is not None, "a journal begins with the record of the creation"
        return base

    @property
    def floors(self) -> Ledger:
        """The ledger as far as it binds under the release keys that are trusted now (R8)."""
        return self.ledger.of_epoch(self.trust.epoch)

    @property
    def now(self) -> int:
        """The time that counts (R9), seconds since 1970."""
        return self.now_under(self.trust.epoch)

    def now_under(self, epoch: int) -> int:
        """The time that counts under a release-key epoch: what an earlier one accepted binds no more."""
        issued = [self.ledger.of_epoch(epoch).clock_floor]
        return effective_now(self.edge.now(), build_date=self.edge.build_date, catalogues_issued=issued)

    @property
    def work(self) -> Improvement:
        """The improvement on its way; only asked for in states that have one."""
        work = self.ledger.work
        assert work is not None, f"no work in state {self.ledger.state}"
        return work

    def record(self, event: Event, state: State, about: Improvement | None, **facts: Any) -> None:
        """Journal what happened to an improvement, durably."""
        tried = self.ledger.attempts.get(about.id, 0) if about else 0
        self.record_attempt(event, state, about, tried, **facts)

    def record_attempt(
        self, event: Event, state: State, about: Improvement | None, attempt: int, **facts: Any
    ) -> None:
        """Journal what happened, with the number of the attempt."""
        id, bundle = (about.id, about.bundle) if about else ("", "")
        self.journal.append(event, state, id=id, bundle=bundle, attempt=attempt, facts=facts)

    def record_catalogue(self, catalogue: Catalogue, digest: str) -> None:
        """Journal that a newer catalogue was accepted, with all of it that counts later."""
        withdrawn = {
            order.id: {"action": order.action, "reopens": list(order.reopens)}
            for order in catalogue.withdrawals
        }
        self.journal.append(
            Event.CATALOGUE,
            self.ledger.state,
            facts={
                "digest": digest,
                "epoch": self.trust.epoch,
                "issued": catalogue.issued,
                "minimum": catalogue.minimum_sequence,
                "serial": catalogue.serial,
                "withdrawn": withdrawn,
            },
        )

    def switch_facts(self, about: Improvement) -> dict[str, Any]:
        """What a record of a switch keeps, to know later when it is in use."""
        processes = list(about.processes)
        return Switch(self.edge.boot_id, self.edge.now(), about.activation, processes).to_json()

    def keep_slots(self, *improvements: Improvement | None) -> None:
        """Remove every slot but those of the given improvements."""
        self.store.wipe_slots(keep={each.slot for each in improvements if each})

    def refill_reserve(self) -> None:
        """Write the reserve again, as soon as there is room."""
        try:
            self.store.fill_reserve(self.edge.random)
        except SpaceError:
            return  # removal and rollback have used it; the next run tries again

    def refuse_if_broken(self) -> None:
        """Raise ``BrokenError`` in state BROKEN."""
        if self.ledger.state is State.BROKEN:
            raise BrokenError("no slot of this device has a good digest; its pointer was left where it was")


def why(error: DeltasealError) -> dict[str, str]:
    """An error as the facts of a record."""
    return {
        "reason": error.reason,
        "sentence": "".join(c if c.isprintable() else "?" for c in error.sentence),
    }
