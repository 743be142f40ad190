"""What a device is, has and waits for, as one value with a JSON form of its own.

Rules of what people see (product definition, section 10): the letter is always
there and never part of a string that tools compare; nothing is called "secure",
and nothing "up to date" while something is outstanding.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

__all__ = ["FORMAT", "Applied", "NextStep", "Pending", "Problem", "Status", "Underway"]

FORMAT: Final = 1  # of the JSON; rises when a field changes its meaning or goes


@dataclass(frozen=True, slots=True)
class Applied:
    """The improvement in use. Times in seconds since 1970, sizes in bytes."""

    id: str
    letter: str
    build: str
    bundle: str  # bundle digest
    sequence: int
    since: int
    fetched: int  # what it cost to fetch
    health: str  # how its trial was judged: "good", or "not checked" without a hook or a running process
    components: tuple[str, ...]
    fixes: tuple[dict[str, Any], ...]  # as in the bundle manifest: cve, component, title, impact, ...
    by: str  # "automatic", or "uid 1000"


@dataclass(frozen=True, slots=True)
class Underway:
    """An improvement on its way."""

    id: str
    letter: str
    build: str
    stage: str  # such as "downloading", "on trial"
    fetched: int  # bytes so far
    total: int  # bytes in all


@dataclass(frozen=True, slots=True)
class Pending:
    """What is still to be done before what was switched to is in use everywhere (R13)."""

    what: str  # "relaunch" or "restart"
    processes: tuple[str, ...]  # those that still use an image that is not in use any more


@dataclass(frozen=True, slots=True)
class Problem:
    """Something outstanding about one improvement or one component."""

    kind: str  # "held", "removed", "withdrawn", "rescued", "retry", "damaged", "other bytes", "policy"
    about: str
    sentence: str
    reason: str = ""
    time: int = 0  # since when, or for "retry": when


@dataclass(frozen=True, slots=True)
class NextStep:
    """What comes next and who decides it: "you", "its owner", "your organisation", "vendor", "device"."""

    what: str
    who: str


@dataclass(frozen=True, slots=True)
class Status:
    """All that a settings pane, a script or an administrator asks a device."""

    device: str
    model: str
    channel: str
    os: str
    version: str
    letter: str | None
    name: str  # for people: "macOS 26.3.1 (a)"; never parsed
    numeric: str  # for tools that compare dotted numbers: "26.3.1.1"
    base_build: str
    build: str  # what the build is now
    state: str
    applied: Applied | None
    underway: Underway | None
    pending: Pending | None
    problems: tuple[Problem, ...]
    next_step: NextStep
    floor: int  # lowest sequence that is still taken
    updates: str  # of the owner's policy; "unknown" if that cannot be read

    @property
    def outstanding(self) -> bool:
        """Whether anything is left to do or to decide."""
        return bool(self.underway or self.pending or self.problems or self.state == "BROKEN")

    def to_json(self) -> dict[str, Any]:
        """The status as JSON values, with the version of their form."""
        return {"format": FORMAT, **asdict(self), "outstanding": self.outstanding}
