"""Enrolling: the fleet's owner says which devices count, and with which key."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from deltaseal.errors import DeviceError
from deltaseal.fleet.store import Fleet
from deltaseal.report import Enrolment

__all__ = ["Enrolled", "enroll"]


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What enrolling did."""

    new: int
    known: int
    changed: int  # the key was exchanged, because it was asked for

    def to_json(self) -> dict[str, int]:
        """The counts as JSON values."""
        return {"new": self.new, "known": self.known, "changed": self.changed}


def enroll(fleet: Fleet, enrolments: Iterable[Enrolment], *, now: int, again: bool = False) -> Enrolled:
    """Enrol devices, all or none of them.

    ``DeviceError`` for a device that is enrolled with another key, system or model, unless ``again``: then it
    starts anew; and for a key that another device has.
    """
    counts = {"new": 0, "known": 0, "changed": 0}
    with fleet.writing() as write:
        for one in enrolments:
            counts[_enroll(write, one, now, again=again)] += 1
    return Enrolled(**counts)


def _enroll(write: sqlite3.Connection, one: Enrolment, now: int, *, again: bool) -> str:
    said = (one.key.raw, one.os, one.model)
    known = write.execute("SELECT key, os, model FROM devices WHERE device = ?", (one.device,)).fetchone()
    if known == said:
        return "known"
    if known and not again:
        raise DeviceError(
            f"device {one.device} is enrolled already, with another key, system or model",
            hint="if it was made anew, enrol it with --again; else somebody speaks in its name",
            device=one.device,
        )
    owner = write.execute("SELECT device FROM devices WHERE key = ?", (one.key.raw,)).fetchone()
    if owner and owner[0] != one.device:
        raise DeviceError(
            f"device {one.device} names the key of device {owner[0]}",
            hint="two devices must not share a key; make one of them anew",
            device=one.device,
            other=owner[0],
        )
    if known:
        write.execute(
            "UPDATE devices SET key = ?, hint = ?, os = ?, model = ?, sequence = 0, build = '', journal = 0,"
            " head = '' WHERE device = ?",
            (one.key.raw, one.key.key_hint, one.os, one.model, one.device),
        )
        return "changed"
    write.execute(
        "INSERT INTO devices (device, key, hint, os, model, enrolled) VALUES (?, ?, ?, ?, ?, ?)",
        (one.device, one.key.raw, one.key.key_hint, one.os, one.model, now),
    )
    return "new"
