"""The next catalogue: the one before with an order, an improvement, an end, a minimum more (R3, R8, R9, R11).

Pure.  Needs no bundle of what is listed already: letters, sequences and closed holes stand in the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from deltaseal.errors import SequenceError, UsageError
from deltaseal.manifest.catalogue import Catalogue, Listed, Withdrawal
from deltaseal.manifest.publishing import Published, check_nothing_lost, listed
from deltaseal.manifest.versions import full_name, letter_rank

__all__ = ["next_catalogue"]


def next_catalogue(
    before: Catalogue,
    *,
    issued: int,
    expires: int,
    withdraw: Mapping[str, str] | None = None,
    add: Sequence[Published] = (),
    ends: Mapping[str, int] | None = None,
    minimum: int | None = None,
) -> Catalogue:
    """The catalogue that follows ``before``, with its serial raised by one.

    ``withdraw`` maps ids to actions; an earlier order about an id is replaced. ``ends`` maps ids to when they
    end, in seconds since 1970. ``minimum`` is the lowest sequence that devices still take; by default the
    one before. ``UsageError`` for an unknown id, one that is listed already, an unknown base, or a lost fix;
    ``SequenceError`` where a letter or a sequence does not rise.
    """
    moved = dict(ends or {})
    entries = [replace(one, expires=moved.get(one.id, one.expires)) for one in before.improvements]
    withdrawn = {order.id: order.action for order in before.withdrawals} | dict(withdraw or {})
    for one in sorted(add, key=lambda each: each.manifest.sequence):
        entry = listed(one)
        _check_follows(entry, before, entries, withdrawn)
        entries.append(entry)
    unknown = sorted({*withdrawn, *moved} - {entry.id for entry in entries})
    if unknown:
        known = ", ".join(entry.id for entry in entries) or "none"
        raise UsageError(
            f"the catalogue of {before.os} lists no {', '.join(unknown)}",
            hint=f"listed: {known}",
            unknown=unknown,
        )
    made = replace(
        before,
        serial=before.serial + 1,
        issued=max(issued, before.issued + 1),
        expires=expires,
        minimum_sequence=before.minimum_sequence if minimum is None else minimum,
        improvements=tuple(entries),
        withdrawals=tuple(_order(id, withdrawn, entries) for id in withdrawn),
    )
    check_nothing_lost(made)
    return Catalogue.loads(made.dumps())


def _order(id: str, withdrawn: Mapping[str, str], entries: Sequence[Listed]) -> Withdrawal:
    one = next(entry for entry in entries if entry.id == id)
    others = (other for other in entries if other.id not in withdrawn and other.base_build == one.base_build)
    opened = set(one.cves).difference(*(other.cves for other in others))
    return Withdrawal(id, withdrawn[id], tuple(sorted(opened)))


def _check_follows(
    new: Listed, before: Catalogue, entries: Sequence[Listed], withdrawn: Mapping[str, str]
) -> None:
    base = next((base for base in before.bases if base.build == new.base_build), None)
    if base is None:
        raise UsageError(
            f"{new.id} is for build {new.base_build}, which the catalogue of {before.os} does not list",
            hint="make a catalogue with that base with `deltaseal manifest catalogue`",
            build=new.base_build,
        )
    for other in entries:
        if other.id == new.id:
            raise UsageError(f"the id {new.id} is listed already", hint="choose a new id", id=new.id)
        if new.sequence <= other.sequence:
            raise SequenceError(
                f"{new.id} has sequence {new.sequence}, but {other.id} already has {other.sequence}",
                hint=f"give it a sequence above {other.sequence}",
                found=new.sequence,
                above=other.sequence,
            )
        if other.base_build != new.base_build:
            continue
        if letter_rank(new.letter) <= letter_rank(other.letter):
            raise SequenceError(
                f"{new.id} has letter {new.letter}, but {full_name(before.os, base.version)} already had "
                f"{other.letter} ({other.id})",
                hint="letters rise within a base and are never used again, even after a withdrawal",
                found=new.letter,
                above=other.letter,
            )
        lost = sorted(set(other.cves) - set(new.cves))
        if lost and other.id not in withdrawn:
            raise UsageError(
                f"{new.id} loses {', '.join(lost)}, which {other.id} fixes",
                hint=f"contain every fix of the lower letters of the base, or withdraw {other.id} first",
                lost=lost,
            )
