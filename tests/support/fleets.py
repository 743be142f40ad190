"""Devices of a fleet as values: enrolments and reports, signed, each field easily changed."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from support.devices import BUILD, DAY, DAY_ZERO, MODEL, trust

from deltaseal.fleet import Fleet, Ingested, create_fleet, documents_of, enroll, ingest
from deltaseal.report import Enrolment, Report, read_enrolment
from deltaseal.storage import BytesSource
from deltaseal.trust import PrivateKey, UnverifiedDocument

NOW = DAY_ZERO + DAY


def device_id(number: int) -> str:
    """The id of one device of many."""
    return hashlib.sha256(b"device %d" % number).hexdigest()[:32]


@functools.cache
def device_key(number: int) -> PrivateKey:
    """Its key, the same in every run."""
    return PrivateKey.generate("ed25519", random=lambda size: hashlib.sha256(b"key %d" % number).digest())


def enrolment(number: int, *, os: str = "macos", model: str = MODEL) -> UnverifiedDocument:
    """Its enrolment."""
    key = device_key(number)
    return Enrolment(device_id(number), key.public, os, model, DAY_ZERO).signed(key)


def report(number: int, sequence: int = 1, **changes: object) -> Report:
    """A report of a device on the base with nothing applied; ``changes`` are fields of it."""
    plain = Report(
        device=device_id(number),
        sequence=sequence,
        time=DAY_ZERO + sequence,
        os="macos",
        version="26.3.1",
        build=BUILD,
        model=MODEL,
        channel="stable",
        state="BASELINE",
        journal_n=sequence,
        journal_head=hashlib.sha256(b"%d %d" % (number, sequence)).hexdigest(),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def signed(number: int, sequence: int = 1, **changes: object) -> bytes:
    """The same, signed by its device."""
    return report(number, sequence, **changes).signed(device_key(number)).to_bytes()


def new_fleet(path: Path, devices: Iterable[int] = range(3)) -> Fleet:
    """A fleet with these devices enrolled."""
    fleet = create_fleet(path, trust())
    enroll(fleet, [read_enrolment(enrolment(number)) for number in devices], now=DAY_ZERO)
    return fleet


def take_in(fleet: Fleet, *files: bytes, now: int = NOW) -> Ingested:
    """Take in files, named by their place."""

    def documents(data: bytes) -> Iterator[UnverifiedDocument]:
        return documents_of(BytesSource(data))

    return ingest(
        fleet,
        ((str(at), functools.partial(documents, data)) for at, data in enumerate(files)),
        now=now,
    )
