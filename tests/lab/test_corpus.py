from __future__ import annotations

from pathlib import Path

import pytest

from deltaseal.errors import UsageError
from deltaseal.lab.bench import load_pairs, recorded_sizes, select

LISTS = Path("benchmarks/corpus")


def test_the_list_of_pairs_is_whole() -> None:
    pairs = load_pairs(LISTS / "pairs.toml", Path("here"))
    assert len({pair.name for pair in pairs}) == len(pairs) == 48
    assert pairs[0].old == Path("here/libcrypto/old") and not pairs[0].is_here
    assert [pair.name for pair in pairs if pair.is_tree] == ["lxml-wheel"]


def test_every_pair_has_recorded_peers() -> None:
    recorded = recorded_sizes(LISTS / "peers.csv")
    assert recorded["libcrypto"]["zucchini+xz"] == 144_008
    assert {pair.name for pair in load_pairs(LISTS / "pairs.toml", Path())} == set(recorded)


def test_pairs_are_chosen_by_name_group_kind_and_arch() -> None:
    pairs = load_pairs(LISTS / "pairs.toml", Path())
    assert select(pairs, []) == pairs
    assert [pair.name for pair in select(pairs, ["libcrypto", "bun"])] == ["libcrypto", "bun"]
    assert {pair.group for pair in select(pairs, ["macho"])} == {"macho"} | {
        pair.group for pair in pairs if pair.kind == "macho"
    }
    assert {pair.arch for pair in select(pairs, ["universal2"])} == {"universal2"}


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(UsageError, match="libfoo"):
        select(load_pairs(LISTS / "pairs.toml", Path()), ["libfoo", "libcrypto"])
