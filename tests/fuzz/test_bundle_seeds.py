"""The seeds of the bundle reader, replayed; and what a fuzzer would do to them first."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.fuzz_bundle import SEEDS, fuzz_one, make_seeds
from hypothesis import given
from hypothesis import strategies as st

FOUND = sorted(SEEDS.with_name(f"{SEEDS.name}-found").iterdir())
GOOD = (SEEDS / "good").read_bytes()


def test_the_seeds_are_what_the_command_makes() -> None:
    assert {path.name: path.read_bytes() for path in SEEDS.iterdir()} == make_seeds()


@pytest.mark.parametrize("name", sorted(make_seeds()))
def test_only_the_good_seed_is_a_bundle(name: str) -> None:
    assert fuzz_one((SEEDS / name).read_bytes()) is (name == "good")


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
def test_what_fuzzing_found_is_read_or_refused(path: Path) -> None:
    fuzz_one(path.read_bytes())


@given(at=st.integers(0, len(GOOD) - 1), new=st.binary(max_size=6), old=st.integers(0, 6))
def test_a_changed_bundle_is_read_or_refused(at: int, new: bytes, old: int) -> None:
    fuzz_one(GOOD[:at] + new + GOOD[at + old :])


@given(st.binary(max_size=200))
def test_a_head_with_anything_behind_it_is_refused(rest: bytes) -> None:
    data = b"DSBUND\0\0" + (16 + len(rest)).to_bytes(8, "little") + rest
    assert fuzz_one(data) is False
