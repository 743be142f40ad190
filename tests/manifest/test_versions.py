"""Versions for people and for tools."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.bodies import letters, versions

from deltaseal.manifest import display, full_name, letter_rank, numeric, os_name

maybe_letter = st.none() | letters


def test_R1_forms() -> None:
    assert display("26.3.1", "a") == "26.3.1 (a)"
    assert display("26.3.1") == "26.3.1"
    assert numeric("26.3.1", "a") == "26.3.1.1"
    assert numeric("26.4") == "26.4.0.0"
    assert full_name("macos", "26.3.2", "a") == "macOS 26.3.2 (a)"


def test_systems_have_the_names_that_people_know() -> None:
    assert [os_name(os) for os in ("ios", "ipados", "macos", "plan9")] == ["iOS", "iPadOS", "macOS", "plan9"]


@given(versions, maybe_letter, versions, maybe_letter)
def test_R1_the_numeric_form_compares_as_versions_and_letters_do(
    one: str, one_letter: str | None, other: str, other_letter: str | None
) -> None:
    def order(version: str, letter: str | None) -> tuple[tuple[int, ...], int]:
        parts = [int(part) for part in version.split(".")]
        return tuple(parts + [0] * (3 - len(parts))), letter_rank(letter)

    def dotted(text: str) -> tuple[int, ...]:
        parts = tuple(int(part) for part in text.split("."))
        assert len(parts) == 4
        return parts

    same_order = (order(one, one_letter) < order(other, other_letter)) == (
        dotted(numeric(one, one_letter)) < dotted(numeric(other, other_letter))
    )
    assert same_order
