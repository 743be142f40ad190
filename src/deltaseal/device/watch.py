"""Looking for improvements by itself, as a timer or a loop does: one look, what came of it, and who is told.

Everything that decides is decided elsewhere: the owner's policy, holds, phases and deadlines by the rules of
an offer, battery and network by R14 and R17. What the system does not say of these two, a program of the
owner may; what nobody says is unknown, and shown as such.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from deltaseal.device.device import Device
from deltaseal.edge import Edge
from deltaseal.errors import DeltasealError, LockedError, NothingToDo, RolledBackError
from deltaseal.repo import Source
from deltaseal.report import Status

__all__ = ["FORMAT", "WATCH", "Look", "look", "tell", "watching_edge"]

FORMAT: Final = 1  # of the JSON
WATCH: Final = "watch.d"  # in the store: the owner's programs
_SECONDS: Final = 60  # that one of them may take
_METERED: Final = {0: True, 1: False}  # how `metered` ends


@dataclass(frozen=True, slots=True)
class Look:
    """What came of one look."""

    time: int  # seconds since 1970
    outcome: str  # "applied", "waiting", "nothing", "later", "rolled back", "refused"
    sentence: str
    battery: int | None  # percent; None: unknown
    metered: bool | None  # None: unknown
    status: Status | None  # None where it cannot be said
    error: DeltasealError | None = None

    @property
    def exit_code(self) -> int:
        """0 if it did what there was to do, else the code of the refusal."""
        return self.error.exit_code if self.error else 0

    def to_json(self) -> dict[str, Any]:
        """The look as JSON values, with the version of their form."""
        return {
            "format": FORMAT,
            "time": self.time,
            "outcome": self.outcome,
            "sentence": self.sentence,
            "battery": self.battery,
            "metered": self.metered,
            "error": self.error.to_json() if self.error else None,
            "status": self.status.to_json() if self.status else None,
        }


def watching_edge(store: Path, edge: Edge) -> Edge:
    """The edge, where the system is silent, with what the owner's programs in ``watch.d`` say.

    ``battery`` prints a percentage; ``metered`` ends with 0 for yes, 1 for no. Anything else is unknown.
    """

    def battery() -> int | None:
        told, program = edge.battery(), store / WATCH / "battery"
        if told is not None or not program.is_file():
            return told
        return _percent(edge.run_hook(program, _SECONDS).words)

    def metered() -> bool | None:
        told, program = edge.metered(), store / WATCH / "metered"
        if told is not None or not program.is_file():
            return told
        return _yes_or_no(edge.run_hook(program, _SECONDS).status)

    return replace(edge, battery=battery, metered=metered)


def _percent(words: str) -> int | None:
    number = words.strip().removesuffix("%").strip()
    return int(number) if number.isascii() and number.isdigit() and int(number) <= 100 else None


def _yes_or_no(status: int | None) -> bool | None:
    return None if status is None else _METERED.get(status)


def look(device: Device, sources: Callable[[], Sequence[Source]], edge: Edge) -> Look:
    """Look once, and do what there is to do. Refusals are part of the answer; nothing is raised for them."""
    try:
        outcome, sentence, error = _looked(device, sources, edge.now())
    except NothingToDo as nothing:
        outcome, sentence, error = "nothing", nothing.sentence, None
    except RolledBackError as failed:
        outcome, sentence, error = "rolled back", failed.sentence, failed
    except LockedError as locked:
        outcome, sentence, error = "later", locked.sentence, locked
    except DeltasealError as refused:
        outcome, sentence, error = "refused", refused.sentence, refused
    return Look(edge.now(), outcome, sentence, edge.battery(), edge.metered(), _status_or_none(device), error)


def _looked(
    device: Device, sources: Callable[[], Sequence[Source]], now: int
) -> tuple[str, str, DeltasealError | None]:
    retry = next((problem for problem in device.status().problems if problem.kind == "retry"), None)
    if retry is not None and now < retry.time:
        return "later", f"{retry.about} was interrupted ({retry.sentence}) and its time has not come", None
    status = device.update(sources())
    if status.state == "ACTIVE" and status.applied:
        return "applied", f"{status.name} is applied", None
    what = status.pending.what if status.pending else "use"
    return "waiting", f"{status.name} waits for a {what}", None


def _status_or_none(device: Device) -> Status | None:
    try:
        return device.status()
    except DeltasealError:
        return None  # a damaged journal: the refusal says so


def tell(found: Look, store: Path, edge: Edge) -> str:
    """Tell the owner's program ``watch.d/report``, as JSON on its standard input; return what went wrong."""
    program = store / WATCH / "report"
    if not program.is_file():
        return ""
    words = json.dumps(found.to_json(), sort_keys=True, separators=(",", ":")).encode() + b"\n"
    result = edge.tell_hook(program, words, _SECONDS)
    if result.status == 0:
        return ""
    ended = "did not end in time" if result.status is None else f"ended with {result.status}"
    return f"watch.d/report {ended}: {result.words[:200]}".rstrip(": ")
