"""From the ledger to what people see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from deltaseal.device.health import pending
from deltaseal.device.ledger import Base, Improvement, Ledger
from deltaseal.device.states import SWITCHED, State
from deltaseal.device.store import FETCH, Store
from deltaseal.edge import Edge
from deltaseal.errors import DeltasealError
from deltaseal.manifest import Policy, full_name, numeric
from deltaseal.report import Applied, NextStep, Pending, Problem, Status, Underway

__all__ = ["status_of"]

_STAGE: Final = {
    State.FETCHING: "downloading",
    State.STAGING: "preparing",
    State.STAGED: "ready to switch",
    State.SWITCHING: "switching",
    State.WAITING: "waiting to be used",
    State.TRIAL: "on trial",
    State.ROLLING_BACK: "being rolled back",
    State.REMOVING: "being removed",
    State.REBASING: "being put on another base",
}


def status_of(
    store: Store, ledger: Ledger, edge: Edge, *, policy: Policy | DeltasealError, epoch: int
) -> Status:
    """What the device is now. Reads nothing but the ledger, the sizes of downloads, and the processes.

    A policy that cannot be read is told as a problem.
    """
    base, identity = ledger.base, store.identity()
    assert base is not None, "a journal begins with the base"
    shown = ledger.work if ledger.state in SWITCHED and ledger.work else ledger.active
    letter = shown.letter if shown else None
    waiting = pending(edge, store, base, ledger.switch, shown)
    problems = (*_unreadable(policy), *_rescued(store, shown), *_problems(ledger, base))
    return Status(
        device=identity.id,
        model=identity.model,
        channel=identity.channel,
        os=base.os,
        version=base.version,
        letter=letter,
        name=full_name(base.os, base.version, letter),
        numeric=numeric(base.version, letter),
        base_build=base.build,
        build=shown.build if shown else base.build,
        state=ledger.state.value,
        applied=_applied(ledger.active) if ledger.active else None,
        underway=_underway(store, ledger),
        pending=waiting,
        problems=problems,
        next_step=_next_step(ledger, base, waiting, policy, now=edge.now()),
        floor=ledger.floor(epoch),
        updates=policy.updates if isinstance(policy, Policy) else "unknown",
    )


def _applied(active: Improvement) -> Applied:
    return Applied(
        id=active.id,
        letter=active.letter,
        build=active.build,
        bundle=active.bundle,
        sequence=active.sequence,
        since=active.since,
        fetched=active.fetched,
        health=active.health,
        components=tuple(sorted(active.trees)),
        fixes=tuple(active.fixes),
        by="automatic" if active.uid is None else f"uid {active.uid}",
    )


def _underway(store: Store, ledger: Ledger) -> Underway | None:
    work = ledger.work
    stage = _STAGE.get(ledger.state)
    if work is None or stage is None:
        return None
    fetched = _bytes_fetched(store) if ledger.state is State.FETCHING else work.total
    return Underway(work.id, work.letter, work.build, stage, min(fetched, work.total), work.total)


def _bytes_fetched(store: Store) -> int:
    with store.inside(FETCH) as at:
        return sum(store.disk.stat(at, name).size for name in store.disk.names(at))


def _unreadable(policy: Policy | DeltasealError) -> Iterator[Problem]:
    if isinstance(policy, DeltasealError):
        yield Problem("policy", "policy.toml", policy.sentence, policy.reason)


def _rescued(store: Store, shown: Improvement | None) -> Iterator[Problem]:
    """What the rescue did since the last run: the state that is shown is that of the journal."""
    if sentence := store.rescued():
        yield Problem("rescued", shown.id if shown else "baseline", f"{sentence}; the next run journals it")


def _problems(ledger: Ledger, base: Base) -> Iterator[Problem]:
    for id, hold in ledger.holds.items():
        yield Problem("held", id, hold.sentence, hold.reason, hold.time)
    for id, time in ledger.removed.items():
        yield Problem("removed", id, "removed by a person; it is not installed again by itself", "", time)
    for id, order in ledger.withdrawn.items():
        again = f"; open again: {', '.join(order.reopens)}" if order.reopens else ""
        yield Problem(
            "withdrawn", id, f"withdrawn by its vendor ({order.action}){again}", "E_WITHDRAWN", order.time
        )
    if ledger.retry:
        retry = ledger.retry
        yield Problem("retry", retry.id, retry.sentence, retry.reason, retry.at)
    for name in ledger.damaged:
        yield Problem("damaged", name, "the baseline differs from the device's own record", "E_DAMAGED")
    for name in _other_bytes(base):
        sentence = "these are not the bytes of the signed base: no improvement fits"
        yield Problem("other bytes", name, sentence, "E_BASE")


def _other_bytes(base: Base) -> list[str]:
    return [name for name, digest in base.declared.items() if base.found.get(name) != digest]


def _next_step(
    ledger: Ledger, base: Base, waiting: Pending | None, policy: Policy | DeltasealError, *, now: int
) -> NextStep:
    if ledger.state is State.BROKEN:
        return NextStep("`device rebase`: nothing on it has a good digest", "you")
    if waiting:
        return NextStep(waiting.what, "you")
    if ledger.state in _STAGE:
        return NextStep("the next run goes on with it", "device")
    if len(_other_bytes(base)) == len(base.declared):
        return NextStep("nothing fits until the bytes are those of the signed base", "you")
    if not isinstance(policy, Policy):
        return NextStep("what the policy of this device says", "its owner")
    if policy.updates == "off":
        return NextStep(
            "updates are switched off; an improvement can be installed by hand", "your organisation"
        )
    overdue = policy.deadline is not None and now >= policy.deadline
    if policy.updates == "notify" and not overdue:
        return NextStep("install what is offered", "you")
    if ledger.active is None and (ledger.holds or (ledger.removed and not overdue)):
        return NextStep("a higher letter comes by itself, this one only by `device install`", "you")
    return NextStep("the next run takes what is offered for this device", "device")
