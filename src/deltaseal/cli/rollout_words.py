"""What ``deltaseal rollout`` says before and after a move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from deltaseal.cli.words import count, moment

if TYPE_CHECKING:
    from deltaseal.fleet import Impact
    from deltaseal.fleet.rollout import Plan, Standing

__all__ = ["done_words", "plan_lines", "standing_lines"]

_ACTIONS = {
    "keep": "it stays where it is applied, and is offered no more",
    "remove": "devices that have it go back to their baseline, at their next look",
    "pin": "it stays where it is applied, and these devices are offered nothing higher",
}


def standing_lines(found: Sequence[Standing], impacts: Sequence[Impact | None], *, now: int) -> list[str]:
    """One improvement after another."""
    if not found:
        return ["no catalogue lists an improvement"]
    return [line for one, impact in zip(found, impacts, strict=True) for line in _standing(one, impact, now)]


def _standing(one: Standing, impact: Impact | None, now: int) -> Iterator[str]:
    from deltaseal.manifest import full_name

    listed = one.listed
    yield f"{listed.id}: {full_name(one.os, one.version, listed.letter)}, build {listed.base_build}"
    permit = one.permit
    if one.action:
        yield f"  withdrawn with {one.action}"
    elif permit is None:
        yield "  not offered"
    else:
        until = f"until {moment(permit.expires)}" if now < permit.expires else "EXPIRED: renew it with `set`"
        paused = ", paused" if permit.paused else ""
        yield f"  {_percent(permit.phase)} of {permit.channel}{paused}, {until}"
    yield f"  closes {', '.join(one.listed.cves) or 'no named hole'}"
    if impact:
        yield f"  {_devices(impact.fitting)} fit, {impact.after:,} are in, {_have(impact.active)} it"


def plan_lines(plan: Plan, impact: Impact | None) -> list[str]:
    """What will happen, and to how many."""
    return [*_MOVES[plan.move](plan, impact)]


def done_words(plan: Plan) -> str:
    """What was done."""
    permit, id = plan.permit, plan.manifest.id
    if plan.move == "withdraw" and plan.catalogue:
        return f"{id} is withdrawn, by catalogue {plan.catalogue.serial} of {plan.manifest.os}"
    assert permit is not None, "all other moves have one"
    if plan.move == "pause":
        return f"{id} is paused"
    return f"{id} is offered to {_percent(permit.phase)} of {permit.channel}, until {moment(permit.expires)}"


def _set(plan: Plan, impact: Impact | None) -> Iterator[str]:
    old, new = plan.before.permit, plan.permit
    assert new is not None, "set makes one"
    was = _percent(old.phase) if old else "nobody"
    paused = "; it stays paused" if new.paused else ""
    if old and (old.phase, old.channel) == (new.phase, new.channel):
        yield f"{new.id}: renewed as it is, {was} of {new.channel}{paused}"
    else:
        yield f"{new.id}: from {was} to {_percent(new.phase)} of {new.channel}{paused}"
    if impact is None:
        yield _UNKNOWN
        return
    then = f"{impact.before:,} are in now, {impact.after:,} will be"
    yield f"  of {_devices(impact.fitting)} that it fits, {then}"
    if impact.after < impact.before:
        yield f"  those that have it ({impact.active:,}) keep it; fewer may begin"


def _pause(plan: Plan, impact: Impact | None) -> Iterator[str]:
    yield f"{plan.manifest.id}: no device begins any more; what is applied stays, what is under way goes on"
    if impact is None:
        yield _UNKNOWN
    else:
        begun = f"{_have(impact.active)} it, {impact.waiting:,} will have to wait"
        yield f"  of {_devices(impact.before)} that are in, {begun}"


def _resume(plan: Plan, impact: Impact | None) -> Iterator[str]:
    assert plan.permit is not None, "resume makes one"
    yield f"{plan.manifest.id}: goes on at {_percent(plan.permit.phase)} of {plan.permit.channel}"
    yield _UNKNOWN if impact is None else f"  {_devices(impact.waiting)} that are in may begin"


def _withdraw(plan: Plan, impact: Impact | None) -> Iterator[str]:
    order = plan.catalogue.withdrawal(plan.manifest.id) if plan.catalogue else None
    assert order is not None, "withdraw makes one"
    yield f"{order.id}: withdrawn with {order.action}: {_ACTIONS[order.action]}"
    yield (
        _UNKNOWN
        if impact is None
        else f"  {_have(impact.active, 'enrolled device')} it, {impact.waiting:,} more were in"
    )
    if not order.reopens:
        yield "  no hole is open again: a higher letter closes what it closes"
    elif order.action == "remove":
        yield f"  open again where it is removed: {', '.join(order.reopens)}"
    else:
        yield f"  stays open where it is not applied: {', '.join(order.reopens)}"
    yield "  a withdrawal cannot be taken back: the letter is spent, a higher one must follow"


def _reissue(plan: Plan, impact: Impact | None) -> Iterator[str]:
    permit = plan.permit
    assert permit is not None, "reissue makes one"
    before = plan.before
    stands = f"withdrawn with {before.action}" if before.action else "still offered"
    yield (
        f"{permit.id}: letter {plan.manifest.letter} after {before.listed.letter} "
        f"({before.listed.id}, {stands}), offered to {_percent(permit.phase)} of {permit.channel}"
    )
    closes = ", ".join(sorted(plan.manifest.fixed)) or "no named hole"
    yield f"  closes {closes}; {count(len(plan.manifest.models), 'model')}"
    if impact is None:
        yield _UNKNOWN
    else:
        yield f"  of {_devices(impact.fitting)} that it fits, {impact.after:,} will be in"


_UNKNOWN = "  how many devices that are is not known: name a fleet with --fleet"
_MOVES = {"set": _set, "pause": _pause, "resume": _resume, "withdraw": _withdraw, "reissue": _reissue}


def _percent(phase: int) -> str:
    return f"{phase / 100:g} %"


def _have(number: int, what: str = "") -> str:
    devices = count(number, what) if what else f"{number:,}"
    return f"{devices} {'has' if number == 1 else 'have'}"


def _devices(number: int) -> str:
    return count(number, "enrolled device")
