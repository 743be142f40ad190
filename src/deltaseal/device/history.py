"""From the journal's records to what people read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from deltaseal.device.record import Opened, Record
from deltaseal.device.states import Event, State
from deltaseal.report import Entry

__all__ = ["entries"]


def entries(records: Iterable[Record]) -> Iterator[Entry]:
    """One entry for each record; a checkpoint that only begins another segment says nothing."""
    for record in records:
        if record.event is Event.CHECKPOINT and record.opened not in _TELLING:
            continue
        sentence = _SENTENCES[record.event](record)
        facts = {name: value for name, value in record.facts.items() if name != "ledger"}
        yield Entry(record.n, record.time, record.event.value, record.state.value, record.id, sentence, facts)


_TELLING: Final = (Opened.FIRST, Opened.DAMAGE)


def _checkpoint(record: Record) -> str:
    if record.opened is Opened.FIRST:
        base = record.facts["ledger"]["base"]
        return f"created on {base['os']} {base['version']} build {base['build']}"
    return f"the journal was damaged ({record.facts['fault']}); the device was verified anew"


def _say(sentence: str) -> Callable[[Record], str]:
    return lambda record: sentence.format(id=record.id, **_words(record.facts))


def _because(sentence: str) -> Callable[[Record], str]:
    return lambda record: f"{sentence.format(id=record.id)}: {record.facts['sentence']}"


def _words(facts: Any) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if isinstance(value, str | int)}


def _offer(record: Record) -> str:
    uid = record.facts["improvement"]["uid"]
    return f"{record.id} passed all checks" + (f"; asked for by uid {uid}" if uid is not None else "")


def _unbuilt(record: Record) -> str:
    facts = record.facts
    then = "no way is left: held" if facts.get("hold") else "trying the next way"
    return f"{facts['component']} could not be built by {facts['route']}: {facts['sentence']}; {then}"


def _switched(record: Record) -> str:
    if record.state is State.WAITING:
        return f"switched to {record.id}"
    return "back on the baseline" if record.state is State.BASELINE else "back on the former improvement"


def _left(record: Record) -> str:
    uid = record.facts.get("uid")
    return f"{record.id} is removed" + (f", asked for by uid {uid}" if uid is not None else "")


def _catalogue(record: Record) -> str:
    withdrawn = ", ".join(sorted(record.facts["withdrawn"]))
    return f"catalogue {record.facts['serial']} accepted" + (f"; withdrawn: {withdrawn}" if withdrawn else "")


def _pointer_won(record: Record) -> str:
    found = record.id or "another base"
    return str(record.facts.get("sentence") or f"the pointer was found on {found}, which was verified")


def _rebase(record: Record) -> str:
    base = record.facts["rebase"]["base"]
    name = f"{base['os']} {base['version']} build {base['build']}"
    return f"the device is put on {name}, asked for by uid {record.facts['uid']}"


_SENTENCES: Final[dict[Event, Callable[[Record], str]]] = {
    Event.CHECKPOINT: _checkpoint,
    Event.OFFER: _offer,
    Event.FETCHED: _say("{id} was downloaded"),
    Event.BAD_BYTES: _because("{id} was downloaded with bad bytes"),
    Event.STAGED: _say("{id} is built and verified ({fetched} bytes downloaded)"),
    Event.UNBUILT: _unbuilt,
    Event.INTERRUPTED: _because("{id} was interrupted, and will be tried again"),
    Event.HIGHER: _say("{id} gave way to another"),
    Event.GO: _say("{id} was verified again; switching"),
    Event.SLOT_BAD: lambda record: f"{record.id or 'the new base'} was given up: {record.facts['sentence']}",
    Event.SWITCHED: _switched,
    Event.SWITCH_FAILED: _because("the switch to {id} failed"),
    Event.IN_USE: _say("{id} is in use: on trial"),
    Event.HEALTHY: _say("{id} is active; health: {health}"),
    Event.CRASHED: lambda record: f"the trial of {record.id} was cut off (attempt {record.attempt})",
    Event.UNHEALTHY: _because("{id} is rolled back and held"),
    Event.REMOVE: _left,
    Event.WITHDRAWN: _say("{id} is taken off: its vendor withdrew it"),
    Event.LIVE_DAMAGED: _because("{id} is taken off: it is damaged"),
    Event.BASELINE_DAMAGED: _say("the baseline is damaged; removal is refused"),
    Event.POINTER_WON: _pointer_won,
    Event.REBASE: _rebase,
    Event.NOTHING_GOOD: lambda record: str(record.facts["sentence"]),
    Event.REQUEST: _say("a device manifest of its own was requested"),
    Event.CATALOGUE: _catalogue,
}
