"""Update and install: from what the sources offer to ACTIVE or WAITING."""

from __future__ import annotations

from collections.abc import Sequence

from deltaseal.device.install import begin, carry_on
from deltaseal.device.offers import Chosen, accept_catalogues, choose, chosen_before
from deltaseal.device.recovery import obey
from deltaseal.device.states import UNDER_WAY, State
from deltaseal.device.switch import confirm, go
from deltaseal.device.updater import Updater
from deltaseal.errors import DeltasealError, NothingToDo
from deltaseal.repo import Source

__all__ = ["take"]


def take(
    up: Updater,
    sources: Sequence[Source],
    *,
    id: str | None = None,
    retry: bool = False,
    failure: DeltasealError | None = None,
) -> None:
    """Take an improvement: the best one by itself, or ``id`` because a person asks.

    Work that is under way goes on first; what waits to be used, or is on trial, comes to its end before
    anything else is looked at. ``failure`` is why the repository could not be asked: without another source
    it is raised, after what needs none.
    """
    up.refuse_if_broken()
    if failure is not None and not sources:
        if up.ledger.state in (State.WAITING, State.TRIAL):
            confirm(up)
        raise failure
    try:
        catalogue = accept_catalogues(up, sources)
    finally:
        obey(up)  # also what an expired catalogue ordered
    if up.ledger.state in (State.WAITING, State.TRIAL):
        ended = up.work
        if not confirm(up):
            raise NothingToDo(
                f"{ended.id} waits for a {ended.activation} before anything else is installed", id=ended.id
            )
        if id in (None, ended.id):
            return
    uid = None if id is None else up.edge.uid
    try:
        chosen = choose(up, sources, catalogue, id=id, retry=retry)
    except DeltasealError:
        if up.ledger.state not in UNDER_WAY or id not in (None, up.work.id):
            raise
        _resume(up, sources)  # it was judged when it started; a new "no" is no reason to stop
        return
    if up.ledger.state in UNDER_WAY and chosen.bundle.digest == up.work.bundle:
        carry_on(up, chosen, sources)
        return
    begin(up, chosen, uid=uid, retry=retry)
    carry_on(up, chosen, sources)


def _resume(up: Updater, sources: Sequence[Source]) -> None:
    if up.ledger.state is State.STAGED:
        go(up)
        confirm(up)
        return
    chosen: Chosen = chosen_before(up, sources)
    carry_on(up, chosen, sources)
