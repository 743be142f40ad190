"""A second reader of the journal, written from docs/spec/store.md sections 3 and 4 alone."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from dataclasses import dataclass
from pathlib import Path

KEYS = {"n", "prev", "time", "state", "event", "id", "bundle", "attempt", "facts"}
STATES = {
    "BASELINE",
    "FETCHING",
    "STAGING",
    "STAGED",
    "SWITCHING",
    "WAITING",
    "TRIAL",
    "ACTIVE",
    "ROLLING_BACK",
    "REMOVING",
    "REBASING",
    "BROKEN",
}
REASONS = {"first", "full", "torn", "unsynced", "damage"}


class Damaged(Exception):
    """E_DAMAGED, with what is wrong."""


@dataclass(frozen=True)
class Line:
    """A whole record: the digest of its body, and its values."""

    digest: str
    values: dict

    @property
    def opened(self) -> str | None:
        return self.values["facts"].get("opened") if self.values["event"] == "checkpoint" else None


def read(folder: Path) -> list[dict]:
    """The records that count, oldest first."""
    numbers = sorted(path.name for path in folder.iterdir() if re.fullmatch(r"[0-9]{8}", path.name))
    if not numbers:
        raise Damaged("no segment")
    segments = [(int(name), *split((folder / name).read_bytes())) for name in numbers]
    start = max(
        (at for at, (_, lines, _) in enumerate(segments) if lines and lines[0].opened == "damage"), default=0
    )
    if segments[start][1][:1] == [] or segments[start][1][0].opened not in ("first", "damage"):
        raise Damaged("the first segment does not begin as one")
    if start == 0 and segments[0][1][0].opened == "first" and segments[0][0] != 1:
        raise Damaged("segment 1 is missing")
    found: list[dict] = []
    for at in range(start, len(segments)):
        number, lines, rest = segments[at]
        if at > start and number != segments[at - 1][0] + 1:
            raise Damaged(f"segment {number - 1} is missing")
        check_chain(number, lines)
        if at + 1 == len(segments):
            ends = rest.count(b"\n")
            torn = ends == 0 or (ends == 1 and rest.endswith(b"\n") and b"\0" in rest)
            if rest and not torn:
                raise Damaged(f"segment {number} was edited")
        else:
            lines = those_that_count(number, lines, rest, segments[at + 1][1])
        found += [line.values for line in lines]
    return found


def those_that_count(number: int, lines: list[Line], rest: bytes, following: list[Line]) -> list[Line]:
    """Of a segment that another one follows."""
    if not following or following[0].opened not in REASONS - {"first"}:
        raise Damaged(f"segment {number + 1} begins with no checkpoint")
    checkpoint = following[0].values
    named = (checkpoint["prev"], checkpoint["n"] - 1)
    places = [at for at, line in enumerate(lines, 1) if (line.digest, line.values["n"]) == named]
    if not places:
        raise Damaged(f"segment {number} lacks the record that the next one names")
    if following[0].opened == "full" and (places[0] < len(lines) or rest):
        raise Damaged(f"something follows the end of segment {number}")
    return lines[: places[0]]


def check_chain(number: int, lines: list[Line]) -> None:
    if len(lines) > 1000:
        raise Damaged(f"segment {number} holds more than 1,000 records")
    for before, line in itertools.pairwise(lines):
        follows = line.values["prev"] == before.digest and line.values["n"] == before.values["n"] + 1
        if not follows or line.values["event"] == "checkpoint":
            raise Damaged(f"record {line.values['n']} of segment {number} does not follow")


def split(data: bytes) -> tuple[list[Line], bytes]:
    """The whole lines from the beginning, and the rest."""
    lines = []
    while b"\n" in data:
        text, rest = data.split(b"\n", 1)
        line = whole(text)
        if line is None:
            break
        lines.append(line)
        data = rest
    return lines, data


def whole(text: bytes) -> Line | None:
    match = re.fullmatch(rb"([0-9a-f]{64}) (.{1,1048576})", text, re.DOTALL)
    if not match or hashlib.sha256(match[2]).hexdigest().encode() != match[1]:
        return None
    try:
        values = json.loads(match[2], object_pairs_hook=once)
    except ValueError:
        return None
    if not isinstance(values, dict) or set(values) != KEYS or values["state"] not in STATES:
        return None
    if values["event"] == "checkpoint" and values["facts"].get("opened") not in REASONS:
        return None
    return Line(match[1].decode(), values)


def once(pairs: list[tuple[str, object]]) -> dict:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("the same key twice")
    return dict(pairs)
