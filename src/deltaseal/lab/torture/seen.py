"""What the harness sees on a disk by itself, without a line of the updater: trees, pointer, journal."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deltaseal.lab.torture.stock import Stock
from deltaseal.storage.nodes import DiskState, Leaf
from deltaseal.trees import Entry, Listing

__all__ = ["ROOT", "Crossing", "Eye", "Note", "crossings", "notes_of"]

ROOT = "d"  # the device's folder on the simulated disk

_ALWAYS = ("base.document", "device.json", "policy.toml", "trust.json")

Crossing = tuple[str, str, str]
"""A state, an event, and the state after it, as the journal of a device tells them."""


@dataclass(frozen=True, slots=True)
class Note:
    """One record of a journal, as far as the harness looks at it."""

    number: int
    state: str
    event: str
    digest: str
    opened: str = ""


class Eye:
    """Knows every tree of a stock by its digest, and says which of them a disk shows."""

    def __init__(self, stock: Stock, *, root: str = ROOT) -> None:
        self._root = root
        self._excluded = tuple(os.fsencode(path).rstrip(b"/") for path in stock.base.exclude)
        labels = ["baseline", *stock.bundles, *(["next base"] if stock.next_base else [])]
        self._known: dict[tuple[tuple[str, str], ...], str] = {}
        for label in labels:
            self._known.setdefault(tuple(sorted(stock.expected(label).items())), label)
        self._components = sorted(stock.base.components)
        self._labels: dict[tuple[bytes, str], str] = {}  # by a disk's digest, and where to look on it

    def label(self, state: DiskState) -> str:
        """Which known set of trees the pointer shows: its label, or what is wrong with it."""
        pointer = state.leaves.get(f"{self._root}/active")
        if pointer is None or pointer[0] != "link":
            return "no pointer"
        return self._in(state, pointer[1])

    def half_a_baseline(self, state: DiskState) -> str:
        """What is wrong with a baseline that is there: deltaseal-rescue goes to it without a look into it."""
        if f"{self._root}/baseline" not in state.leaves:
            return ""
        label = self._in(state, "baseline")
        return label if label.startswith("unknown") else ""

    def _in(self, state: DiskState, holder: str) -> str:
        key = (state.digest, holder)
        if key not in self._labels:
            found = {name: self._digest(state, holder, name) for name in self._components}
            self._labels[key] = self._known.get(tuple(sorted(found.items())), f"unknown trees in {holder}")
        return self._labels[key]

    def pointer(self, state: DiskState) -> str:
        """Where the pointer leads."""
        pointer = state.leaves.get(f"{self._root}/active")
        return pointer[1] if pointer and pointer[0] == "link" else ""

    def lost(self, state: DiskState) -> list[str]:
        """Files of the store that must be there, whole, at every moment, and are not."""
        found = {name: state.leaves.get(f"{self._root}/{name}") for name in _ALWAYS}
        return [name for name, leaf in found.items() if leaf is None or leaf[0] != "file" or not leaf[1]]

    def metadata(self, state: DiskState) -> dict[str, bytes] | None:
        """What the device believes of a repository: the files the link leads to; ``None`` if nowhere."""
        link = state.leaves.get(f"{self._root}/metadata")
        top = f"{self._root}/{link[1]}" if link and link[0] == "link" else ""
        if top not in state.leaves:
            return None
        below = {path: leaf for path, leaf in state.leaves.items() if path.startswith(f"{top}/")}
        return {path.removeprefix(f"{top}/"): leaf[1] for path, leaf in below.items() if leaf[0] == "file"}

    def promised_download(self, state: DiskState) -> str:
        """What is wrong with the downloads where the last record says that they are whole, or discarded."""
        notes = notes_of(state.leaves, root=self._root)
        top = f"{self._root}/fetch/"
        found = [path for path, leaf in state.leaves.items() if path.startswith(top) and leaf[0] == "file"]
        last = notes[-1] if notes else None
        whole = found and all(state.sha256(path).hex() == path.removeprefix(top) for path in found)
        if last and last.event == "fetched" and not whole:
            return "a download is not there in full"
        if last and last.event == "bad-bytes" and last.state != "FETCHING" and found:
            return "bytes that were discarded are back"
        return ""

    def stale_marks(self, state: DiskState) -> list[str]:
        """Marks for or of deltaseal-rescue that are there although the journal has gone on."""
        notes = notes_of(state.leaves, root=self._root)
        at_rest = bool(notes) and notes[-1].state in ("ACTIVE", "BASELINE")
        marks = ("rescued", "unconfirmed") if at_rest else ()
        return [name for name in marks if f"{self._root}/{name}" in state.leaves]

    def unused_slots(self, state: DiskState) -> list[str]:
        """Slots that the pointer does not lead to."""
        tops = {path.split("/")[1] for path in state.leaves if path.startswith(f"{self._root}/slot-")}
        return sorted(tops - {self.pointer(state)})

    def leftovers(self, state: DiskState) -> list[str]:
        """What ought not to be there once work is finished: temporary names, downloads, unused slots."""
        link = state.leaves.get(f"{self._root}/metadata")
        believed = link[1] if link and link[0] == "link" else ""
        tops = {path.split("/")[1] for path in state.leaves if path.startswith(f"{self._root}/metadata-")}
        found = [*self.unused_slots(state), *sorted(tops - {believed})]
        for path in state.leaves:
            parts = path.removeprefix(f"{self._root}/").split("/")
            if parts[-1].startswith(".new-") or (parts[0] == "fetch" and len(parts) > 1):
                found.append("/".join(parts))
        return found

    def _digest(self, state: DiskState, holder: str, component: str) -> str:
        top = f"{self._root}/{holder}/{component}"
        for _ in range(2):  # an untouched component is one link to the baseline
            leaf = state.leaves.get(top)
            if leaf and leaf[0] == "link":
                top = os.path.normpath(os.path.join(os.path.dirname(top), leaf[1]))
        below = tuple(self._below(state, top + "/"))
        return _listing_digest(below)

    def _below(self, state: DiskState, prefix: str) -> Iterator[tuple[bytes, str, Any]]:
        for path in sorted(path for path in state.leaves if path.startswith(prefix)):
            name = os.fsencode(path[len(prefix) :])
            if any(name == each or name.startswith(each + b"/") for each in self._excluded):
                continue
            leaf = state.leaves[path]
            if leaf[0] == "file":
                yield name, "file", (state.sha256(path), len(leaf[1]), bool(leaf[2] & 0o100))
            else:
                yield name, leaf[0], leaf[1] if leaf[0] == "link" else None


@functools.lru_cache(maxsize=4096)
def _listing_digest(below: tuple[tuple[bytes, str, Any], ...]) -> str:
    entries = []
    for name, kind, what in sorted(below):
        if kind == "dir":
            entries.append(Entry.directory(name))
        elif kind == "link":
            entries.append(Entry.link(name, os.fsencode(what)))
        else:
            sha256, size, executable = what
            entries.append(Entry.file(name, size=size, sha256=sha256, executable=executable))
    return Listing(tuple(entries)).digest.hex()


def notes_of(leaves: Mapping[str, Leaf], *, root: str = ROOT) -> list[Note]:
    """Every whole record of a device's journal, in the order of the segments."""
    prefix = f"{root}/journal/0"
    found: list[Note] = []
    for path in sorted(path for path in leaves if path.startswith(prefix)):
        leaf = leaves[path]
        if leaf[0] == "file":
            found += _notes_in(leaf[1])
    return found


@functools.lru_cache(maxsize=1024)
def _notes_in(segment: bytes) -> tuple[Note, ...]:
    return tuple(note for line in segment.split(b"\n") if (note := _note(line)))


@functools.lru_cache(maxsize=65_536)
def _note(line: bytes) -> Note | None:
    digest, _, body = line.partition(b" ")
    try:
        values = json.loads(body)
        opened = str(values["facts"].get("opened", "")) if values["event"] == "checkpoint" else ""
        return Note(values["n"], values["state"], values["event"], digest.decode(), opened)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def crossings(before: list[Note], after: list[Note]) -> Iterator[Crossing]:
    """What the records that are new in ``after`` crossed, each judged by the record before it."""
    known = {note.digest for note in before}
    state = before[-1].state if before else "BASELINE"
    for note in after:
        if note.digest in known:
            continue
        if note.event != "checkpoint":
            yield (state, note.event, note.state)
        state = note.state
