"""A corpus: its list of pairs, where they come from, where they lie, and what other tools made of them.

The list is TOML with a ``[[pair]]`` for each (docs/corpus.md says the fields). Nothing here needs more than
the standard library: a stranger's checkout can fetch before it is built.
"""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deltaseal.errors import UsageError

__all__ = ["PUBLIC", "Origin", "Pair", "Side", "load_pairs", "recorded_sizes", "select"]

PUBLIC = Path(__file__).with_name("pairs.toml")  # the public pairs, shipped with the package

SOURCES = ("apt", "npm", "pip", "url")
KINDS = ("elf", "macho", "tree", "file")


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a pair as it is fetched. ``version`` is a package's, or a whole URL.

    ``member`` is the path inside the package, "." for all of it; empty where the file itself is the side.
    ``sha256`` and ``bytes`` are those of the member: empty and None in a list that is still being made.
    """

    version: str
    member: str
    sha256: str
    bytes: int | None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a pair comes from: a fetcher's name, and what it needs to know."""

    source: str
    package: str
    old: Side
    new: Side
    licence: str = ""
    suites: tuple[str, ...] = ()  # apt
    platform: str = ""  # pip, as all that follow but the last
    python: str = ""
    abis: tuple[str, ...] = ()
    slice: str = ""  # of a universal Mach-O file: this architecture only

    @property
    def sides(self) -> dict[str, Side]:
        """Both sides by name."""
        return {"old": self.old, "new": self.new}


@dataclass(frozen=True, slots=True)
class Pair:
    """Two versions of one image or tree; ``old`` and ``new`` may not be fetched yet."""

    name: str
    group: str
    kind: str
    arch: str
    old: Path
    new: Path
    old_bytes: int
    new_bytes: int
    origin: Origin | None = None

    @property
    def is_tree(self) -> bool:
        """Whether both sides are directories."""
        return self.kind == "tree"

    @property
    def is_here(self) -> bool:
        """Whether both sides have been fetched."""
        return self.old.exists() and self.new.exists()


# ---- the list ----------------------------------------------------------------------------------

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_FIELDS = {
    *("name", "group", "kind", "arch", "source", "package", "licence", "note", "slice"),
    *("old", "new", "member", "old_member", "new_member"),
    *("old_sha256", "new_sha256", "old_bytes", "new_bytes"),
    *("suites", "platform", "python", "abi"),
}


def load_pairs(pairs_toml: Path, corpus: Path) -> tuple[Pair, ...]:
    """The pairs of a list, in its order, with their places below the folder ``corpus``.

    Raises UsageError, with the pair and the field that is wrong.
    """
    try:
        with pairs_toml.open("rb") as file:
            entries = tomllib.load(file).get("pair")
    except OSError as error:
        raise UsageError(f"cannot read {pairs_toml}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{pairs_toml} is no TOML: {error}") from error
    if not isinstance(entries, list) or not entries:
        raise UsageError(f"{pairs_toml} holds no [[pair]]")
    pairs = tuple(_pair(_Entry(entry, pairs_toml), corpus) for entry in entries)
    twice = {pair.name for pair in pairs if sum(pair.name == other.name for other in pairs) > 1}
    if twice:
        raise UsageError(f"{pairs_toml} names a pair twice: {', '.join(sorted(twice))}")
    return pairs


class _Entry:
    """One table of the list, read field by field."""

    def __init__(self, values: dict[str, Any], path: Path) -> None:
        self.values = values
        self.where = f"{path}: pair {values.get('name', '?')!r}"
        unknown = set(values) - _FIELDS
        if unknown:
            raise UsageError(f"{self.where}: unknown {', '.join(sorted(unknown))}")

    def text(self, field: str, default: str | None = None) -> str:
        value = self.values.get(field, default)
        if not isinstance(value, str):
            raise UsageError(f"{self.where}: {field} must be a text")
        return value

    def number(self, field: str) -> int | None:
        value = self.values.get(field)
        if value is not None and (not isinstance(value, int) or value < 0):
            raise UsageError(f"{self.where}: {field} must be a number of bytes")
        return value

    def one_of(self, field: str, known: Sequence[str], default: str | None = None) -> str:
        value = self.text(field, default)
        if value not in known:
            raise UsageError(f"{self.where}: {field} {value!r}", hint=f"known: {', '.join(known)}")
        return value

    def digest(self, field: str) -> str:
        value = self.text(field, "")
        if value and not re.fullmatch("[0-9a-f]{64}", value):
            raise UsageError(f"{self.where}: {field} must be 64 hexadecimal digits")
        return value

    def texts(self, field: str) -> tuple[str, ...]:
        value = self.values.get(field, [])
        words = value.split() if isinstance(value, str) else value
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise UsageError(f"{self.where}: {field} must be texts")
        return tuple(words)


def _pair(entry: _Entry, corpus: Path) -> Pair:
    name = entry.text("name")
    if not _NAME.fullmatch(name):
        raise UsageError(f"{entry.where}: a name is letters, digits and . _ + -")
    origin = _origin(entry) if "source" in entry.values else None
    return Pair(
        name=name,
        group=entry.text("group", "pair"),
        kind=entry.one_of("kind", KINDS, "file"),
        arch=entry.text("arch", ""),
        old=corpus / name / "old",
        new=corpus / name / "new",
        old_bytes=entry.number("old_bytes") or 0,
        new_bytes=entry.number("new_bytes") or 0,
        origin=origin,
    )


def _origin(entry: _Entry) -> Origin:
    def side(name: str) -> Side:
        member = entry.text(f"{name}_member", entry.text("member", ""))
        return Side(entry.text(name), member, entry.digest(f"{name}_sha256"), entry.number(f"{name}_bytes"))

    source = entry.one_of("source", SOURCES)
    return Origin(
        source=source,
        package=entry.text("package", "" if source == "url" else None),
        old=side("old"),
        new=side("new"),
        licence=entry.text("licence", ""),
        suites=entry.texts("suites"),
        platform=entry.text("platform", ""),
        python=entry.text("python", ""),
        abis=entry.texts("abi"),
        slice=entry.text("slice", ""),
    )


def select(pairs: Sequence[Pair], names: Iterable[str]) -> tuple[Pair, ...]:
    """Those pairs whose name, group, kind or architecture is among ``names``; all where it is empty.

    Raises UsageError for a name that no pair knows.
    """
    wanted = set(names)
    if not wanted:
        return tuple(pairs)
    unknown = wanted - {word for pair in pairs for word in _words(pair)}
    if unknown:
        raise UsageError(
            f"no such pair or group: {', '.join(sorted(unknown))}",
            hint="the pairs are: " + ", ".join(pair.name for pair in pairs),
        )
    return tuple(pair for pair in pairs if wanted & _words(pair))


def _words(pair: Pair) -> set[str]:
    return {pair.name, pair.group, pair.kind, pair.arch}


def recorded_sizes(peers_csv: Path) -> dict[str, dict[str, int]]:
    """What other tools made of each pair: pair, then peer, then bytes of its delta."""
    sizes: dict[str, dict[str, int]] = {}
    with peers_csv.open(newline="") as file:
        for row in csv.DictReader(file):
            sizes.setdefault(row["pair"], {})[row["peer"]] = int(row["delta_bytes"])
    return sizes
