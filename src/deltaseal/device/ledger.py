"""What the journal's records add up to: all that a device knows, as one value.

:func:`fold` takes a ledger and a record and gives the next ledger; a
checkpoint holds a whole ledger as JSON. Nothing else says what a device knows
(docs/spec/store.md, sections 6 and 7).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, Self

from deltaseal.device.record import Record
from deltaseal.device.states import Event, State

__all__ = ["Base", "Hold", "Improvement", "Ledger", "Order", "Reached", "Rebase", "Retry", "Switch", "fold"]

OPEN_KEPT: Final = 16  # unanswered requests; the oldest is forgotten
SPENT_KEPT: Final = 256  # nonces remembered as spent; an older one is answered as unknown, refused as well


class _Json:
    """A dataclass of JSON values that is written and read field by field."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """The value as JSON."""
        return dict(_plain(asdict(self)))  # type: ignore[call-overload]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The value again. Raises ``KeyError`` or ``TypeError`` for anything else."""
        return cls(**{each.name: value[each.name] for each in fields(cls)})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Base(_Json):
    """The base that the device was created on, and what its own trees were then."""

    os: str
    version: str
    build: str
    names: str
    exclude: list[str]
    declared: dict[str, str]  # component: tree digest that the signed base says
    found: dict[str, str]  # component: tree digest that was found; the device's own record


@dataclass(frozen=True, slots=True)
class Improvement(_Json):
    """One improvement as the device took it; enough for status and history without any other file."""

    id: str
    bundle: str
    version: str
    letter: str
    build: str
    sequence: int
    activation: str
    processes: list[str]
    trees: dict[str, str]  # touched component: tree digest of the result
    fixes: list[dict[str, Any]]  # as in the bundle manifest
    slot: int
    nonce: str = ""  # of the personalised manifest that permits it
    uid: int | None = None  # of the person who asked for it; None: automatic
    total: int = 0  # bytes of the payloads of the cheapest routes
    fetched: int = 0  # bytes of the payloads that it was built from
    since: int = 0  # when it became ACTIVE; 0: it is not
    health: str = ""  # how the trial judged it
    epoch: int = 0  # of the release keys that signed it


@dataclass(frozen=True, slots=True)
class Reached(_Json):
    """The improvement that set the floor of an epoch of release keys (R8)."""

    id: str
    letter: str
    sequence: int
    bundle: str


@dataclass(frozen=True, slots=True)
class Hold(_Json):
    """An improvement that this device will not retry by itself, and why (R12)."""

    time: int
    reason: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Order(_Json):
    """A vendor's withdrawal: ``keep``, ``remove`` or ``pin``, and the holes that it opens again."""

    action: str
    reopens: list[str]
    time: int


@dataclass(frozen=True, slots=True)
class Retry(_Json):
    """When the next automatic try of an improvement is due, and how long this wait is (seconds)."""

    id: str
    at: int
    wait: int
    reason: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Switch(_Json):
    """The last change of the pointer: during which boot, when, and what it takes to be in use."""

    boot: str
    time: int
    activation: str
    processes: list[str]


@dataclass(frozen=True, slots=True)
class Rebase:
    """A base on its way: its trees lie whole and verified in a slot, with its signed document."""

    base: Base
    slot: int

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The value again. Raises ``KeyError`` or ``TypeError`` for anything else."""
        return cls(Base.from_json(value["base"]), value["slot"])

    def to_json(self) -> dict[str, Any]:
        """The value as JSON."""
        return {"base": self.base.to_json(), "slot": self.slot}


@dataclass(frozen=True, slots=True)
class Ledger:
    """All that a device knows of itself, from its journal alone."""

    state: State = State.BASELINE
    base: Base | None = None
    active: Improvement | None = None  # confirmed and in use, or "former" while other work goes on
    work: Improvement | None = None  # on its way, from FETCHING on
    attempts: Mapping[str, int] = field(default_factory=dict)  # by id, since it was last ACTIVE
    minimum: int = 0  # sequence, from the newest accepted catalogue
    reached: Mapping[str, Reached] = field(default_factory=dict)  # by epoch: the highest that was ever ACTIVE
    clock_floor: int = 0  # seconds since 1970 (R9)
    serial: int = 0  # of the newest accepted catalogue
    catalogue: str = ""  # digest of its body
    epoch: int = 0  # of the release keys that signed it
    holds: Mapping[str, Hold] = field(default_factory=dict)
    removed: Mapping[str, int] = field(default_factory=dict)  # id: when a person removed it
    withdrawn: Mapping[str, Order] = field(default_factory=dict)
    nonces: tuple[str, ...] = ()
    spent: tuple[str, ...] = ()
    retry: Retry | None = None
    switch: Switch | None = None
    slots: int = 0  # the highest slot number ever used
    damaged: tuple[str, ...] = ()  # components of the baseline that differ from the device's record
    rebase: Rebase | None = None  # in state REBASING

    @property
    def former(self) -> State:
        """Where the device returns to when the work under way ends without success."""
        return State.BASELINE if self.active is None else State.ACTIVE

    def of_epoch(self, epoch: int) -> Ledger:
        """What binds under release keys of ``epoch``: no floor that older ones set (R8)."""
        if epoch <= self.epoch:
            return self
        return replace(self, minimum=0, clock_floor=0, serial=0, catalogue="")

    def floor(self, epoch: int) -> int:
        """The lowest sequence that may still be installed (R8)."""
        minimum = self.of_epoch(epoch).minimum
        return max(minimum, reached.sequence if (reached := self.reached.get(str(epoch))) else 0)

    def to_json(self) -> dict[str, Any]:
        """The ledger as a checkpoint holds it."""
        return dict(_plain(asdict(self)))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Ledger:
        """The ledger of a checkpoint. Raises ``KeyError``, ``TypeError`` or ``ValueError`` if it is none."""
        plain = {each.name: value[each.name] for each in fields(cls)}
        return cls(**{name: _READ.get(name, _same)(plain[name]) for name in plain})


def _plain(value: Any) -> Any:
    """Lists and dicts only, as JSON reads them back."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _same(value: Any) -> Any:
    return value


def _maybe(kind: type[_Json] | type[Rebase]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else kind.from_json(value)


def _each(kind: type[_Json]) -> Callable[[Any], Any]:
    return lambda values: {name: kind.from_json(value) for name, value in values.items()}


_READ: Final[dict[str, Callable[[Any], Any]]] = {
    "state": State,
    "base": _maybe(Base),
    "active": _maybe(Improvement),
    "work": _maybe(Improvement),
    "retry": _maybe(Retry),
    "switch": _maybe(Switch),
    "rebase": _maybe(Rebase),
    "holds": _each(Hold),
    "withdrawn": _each(Order),
    "reached": _each(Reached),
    "nonces": tuple,
    "spent": tuple,
    "damaged": tuple,
}


def fold(ledger: Ledger, record: Record) -> Ledger:
    """What is known after ``record``. Raises ``KeyError``, ``TypeError`` or ``ValueError`` on odd facts."""
    if record.event is Event.CHECKPOINT:
        return Ledger.from_json(record.facts["ledger"])
    after = _FOLD.get(record.event, _nothing)(ledger, record)
    after = replace(_held(after, record), state=record.state)
    if record.state is not State.REBASING:
        after = replace(after, rebase=None)
    return replace(after, work=None) if record.state in _SETTLED else after


_SETTLED: Final = frozenset({State.BASELINE, State.ACTIVE})  # no work goes on


def _nothing(ledger: Ledger, record: Record) -> Ledger:
    return ledger


def _held(ledger: Ledger, record: Record) -> Ledger:
    """The record that enters ROLLING_BACK is the hold; so is one that says so."""
    if record.state is not State.ROLLING_BACK and not record.facts.get("hold"):
        return ledger
    hold = Hold(record.time, str(record.facts["reason"]), str(record.facts["sentence"]))
    return replace(ledger, holds={**ledger.holds, record.id: hold})


def _offer(ledger: Ledger, record: Record) -> Ledger:
    work = Improvement.from_json(record.facts["improvement"])
    by_person = work.uid is not None
    return replace(
        ledger,
        work=work,
        slots=max(ledger.slots, work.slot),
        holds=_without(ledger.holds, work.id) if record.facts["retry"] else ledger.holds,
        removed=_without(ledger.removed, work.id) if by_person else ledger.removed,
    )


def _staged(ledger: Ledger, record: Record) -> Ledger:
    work = ledger.work
    return replace(ledger, work=work and replace(work, fetched=int(record.facts["fetched"])), retry=None)


def _interrupted(ledger: Ledger, record: Record) -> Ledger:
    return replace(ledger, retry=Retry.from_json(record.facts["retry"]))


def _go(ledger: Ledger, record: Record) -> Ledger:
    nonce = ledger.work.nonce if ledger.work else ""
    return replace(
        ledger,
        attempts={**ledger.attempts, record.id: record.attempt},
        nonces=tuple(each for each in ledger.nonces if each != nonce),
        spent=(*ledger.spent, nonce)[-SPENT_KEPT:] if nonce and nonce not in ledger.spent else ledger.spent,
        switch=Switch.from_json(record.facts["switch"]),
    )


def _attempt(ledger: Ledger, record: Record) -> Ledger:
    return replace(ledger, attempts={**ledger.attempts, record.id: record.attempt})


def _healthy(ledger: Ledger, record: Record) -> Ledger:
    work = ledger.work
    if work is None:
        raise ValueError("nothing is on trial")
    epoch = str(work.epoch)
    here = Reached(work.id, work.letter, work.sequence, work.bundle)
    highest = max(ledger.reached.get(epoch, here), here, key=lambda reached: reached.sequence)
    return replace(
        ledger,
        active=replace(work, since=record.time, health=str(record.facts["health"])),
        attempts=_without(ledger.attempts, work.id),
        holds=_without(ledger.holds, work.id),
        reached={**ledger.reached, epoch: highest},
        retry=None,
    )


def _ended(ledger: Ledger, record: Record) -> Ledger:
    """The pointer is durable: WAITING keeps the work; back on the baseline nothing is active."""
    if ledger.state is State.REBASING:
        return _rebased(ledger)
    return replace(ledger, active=None) if record.state is State.BASELINE else ledger


def _rebase(ledger: Ledger, record: Record) -> Ledger:
    """The pointer is about to go to another base, whose trees are staged."""
    rebase = Rebase.from_json(record.facts["rebase"])
    switch = Switch.from_json(record.facts["switch"])
    return replace(ledger, rebase=rebase, switch=switch, slots=max(ledger.slots, rebase.slot))


def _rebased(ledger: Ledger) -> Ledger:
    """A new base voids improvement, holds and removals, and has floors of its own (R8, R11).

    What was learned about this very base stays: its baseline was only made good again.
    """
    if ledger.rebase is None or ledger.base is None:
        raise ValueError("no base is on its way")
    new = ledger.rebase.base
    after = replace(ledger, base=new, active=None, work=None, attempts={}, retry=None, damaged=())
    if (new.os, new.build) == (ledger.base.os, ledger.base.build):
        return after
    return replace(after, holds={}, removed={}, reached={})


def _slot_bad(ledger: Ledger, record: Record) -> Ledger:
    """What was staged is given up; if it was a base, the pointer goes to the baseline as it was."""
    if record.state is not State.REMOVING:
        return ledger
    return replace(ledger, switch=Switch.from_json(record.facts["switch"]))


def _leaving(ledger: Ledger, record: Record) -> Ledger:
    """The pointer is about to go to the baseline, or the work under way is given up."""
    removed = ledger.removed
    if record.facts.get("uid") is not None:
        removed = {**removed, record.id: record.time}
    switch = ledger.switch
    if record.state is State.REMOVING:
        switch = Switch.from_json(record.facts["switch"])
    return replace(ledger, removed=removed, switch=switch)


def _back(ledger: Ledger, record: Record) -> Ledger:
    return replace(_attempt(ledger, record), switch=Switch.from_json(record.facts["switch"]))


def _crashed(ledger: Ledger, record: Record) -> Ledger:
    return _back(ledger, record) if record.state is State.ROLLING_BACK else _attempt(ledger, record)


def _baseline_damaged(ledger: Ledger, record: Record) -> Ledger:
    return replace(ledger, damaged=tuple(record.facts["components"]))


def _pointer_won(ledger: Ledger, record: Record) -> Ledger:
    facts = record.facts
    work = Improvement.from_json(facts["improvement"]) if "improvement" in facts else ledger.work
    switch = Switch.from_json(facts["switch"]) if "switch" in facts else ledger.switch
    active = None if record.state is State.BASELINE else ledger.active
    if "rebase" in facts:
        ledger = _rebase(ledger, record)
    ledger = _attempt(ledger, record) if record.id else ledger
    slots = max(ledger.slots, work.slot) if work else ledger.slots
    return replace(ledger, work=work, active=active, switch=switch, slots=slots)


def _request(ledger: Ledger, record: Record) -> Ledger:
    return replace(ledger, nonces=(*ledger.nonces, record.facts["nonce"])[-OPEN_KEPT:])


def _catalogue(ledger: Ledger, record: Record) -> Ledger:
    facts = record.facts
    floors = ledger.of_epoch(facts["epoch"])
    withdrawn = {
        name: ledger.withdrawn.get(name) or Order(order["action"], order["reopens"], record.time)
        for name, order in facts["withdrawn"].items()
    }
    # R8: a catalogue that withdraws the improvement which set a floor lowers that floor to the minimum.
    reached = {epoch: each for epoch, each in ledger.reached.items() if each.id not in withdrawn}
    return replace(
        ledger,
        serial=facts["serial"],
        catalogue=facts["digest"],
        minimum=facts["minimum"],
        clock_floor=max(floors.clock_floor, facts["issued"]),
        epoch=max(ledger.epoch, facts["epoch"]),
        withdrawn=withdrawn,
        reached=reached,
    )


def _without(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name}


_FOLD: Final[Mapping[Event, Callable[[Ledger, Record], Ledger]]] = {
    Event.OFFER: _offer,
    Event.STAGED: _staged,
    Event.INTERRUPTED: _interrupted,
    Event.GO: _go,
    Event.SLOT_BAD: _slot_bad,
    Event.REBASE: _rebase,
    Event.SWITCHED: _ended,
    Event.HEALTHY: _healthy,
    Event.CRASHED: _crashed,
    Event.UNHEALTHY: _back,
    Event.REMOVE: _leaving,
    Event.WITHDRAWN: _leaving,
    Event.LIVE_DAMAGED: _leaving,
    Event.BASELINE_DAMAGED: _baseline_damaged,
    Event.POINTER_WON: _pointer_won,
    Event.REQUEST: _request,
    Event.CATALOGUE: _catalogue,
}
