"""The seeds of the tree readers, replayed; and what a fuzzer would do to them first."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.fuzz_tree import SEEDS, fuzz_one, make_seeds
from hypothesis import given, settings
from hypothesis import strategies as st

FOUND = sorted(SEEDS.with_name(f"{SEEDS.name}-found").iterdir())
GOOD = (SEEDS / "delta-good").read_bytes()
PLAN = 84


def test_the_seeds_are_what_the_command_makes() -> None:
    assert {path.name: path.read_bytes() for path in SEEDS.iterdir()} == make_seeds()


@pytest.mark.parametrize("name", sorted(make_seeds()))
def test_only_good_seeds_are_taken(name: str) -> None:
    assert fuzz_one((SEEDS / name).read_bytes()) is name.endswith("-good")


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
def test_what_fuzzing_found_is_taken_or_refused(path: Path) -> None:
    fuzz_one(path.read_bytes())


@settings(deadline=None)
@given(at=st.integers(0, len(GOOD) - 1), new=st.binary(max_size=4), old=st.integers(0, 4))
def test_a_changed_delta_applies_or_is_refused(at: int, new: bytes, old: int) -> None:
    changed = bytearray(GOOD[:at] + new + GOOD[at + old :])
    if at >= PLAN:
        changed[8:16] = len(changed).to_bytes(8, "little")
    fuzz_one(bytes(changed))


@given(st.binary(max_size=200))
def test_any_plan_is_read_or_refused(rest: bytes) -> None:
    sizes = bytes([len(rest) & 0x7F | 0x80, len(rest) >> 7]) if len(rest) > 127 else bytes([len(rest)])
    total = (PLAN + len(sizes) + len(rest)).to_bytes(8, "little")
    fuzz_one(GOOD[:8] + total + GOOD[16:83] + b"\0" + sizes + rest)
