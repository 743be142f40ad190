"""The measuring corpus: its list of pairs, where they lie, and what other tools made of them."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deltaseal.errors import UsageError

__all__ = ["Pair", "load_pairs", "recorded_sizes", "select"]


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

    @property
    def is_tree(self) -> bool:
        """Whether both sides are directories."""
        return self.kind == "tree"

    @property
    def is_here(self) -> bool:
        """Whether both sides have been fetched."""
        return self.old.exists() and self.new.exists()


def load_pairs(pairs_toml: Path, corpus: Path) -> tuple[Pair, ...]:
    """The pairs of a list, in its order, with their places below the folder ``corpus``."""
    with pairs_toml.open("rb") as file:
        entries = tomllib.load(file)["pair"]
    return tuple(
        Pair(
            name=entry["name"],
            group=entry["group"],
            kind=entry["kind"],
            arch=entry["arch"],
            old=corpus / entry["name"] / "old",
            new=corpus / entry["name"] / "new",
            old_bytes=entry["old_bytes"],
            new_bytes=entry["new_bytes"],
        )
        for entry in entries
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
            hint="`benchmarks/corpus/fetch --list` lists them",
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
