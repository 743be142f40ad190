"""How numbers and times are said."""

from __future__ import annotations

import pytest

from deltaseal.cli.app import printable
from deltaseal.cli.words import count, moment, share


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [
        (1, 2, "50.0 %"),
        (3, 2, "150.0 %"),
        (1, 100, "1.0 %"),
        (1889, 9_589_736, "0.02 %"),
        (0, 5, "0 %"),
        (1, 0, "–"),
    ],
)
def test_a_share_is_never_rounded_to_nothing(part: int, whole: int, words: str) -> None:
    assert share(part, whole) == words


def test_one_and_many() -> None:
    assert [count(number, "file") for number in (0, 1, 2_000)] == ["0 files", "1 file", "2,000 files"]
    assert count(2, "entry", "entries") == "2 entries"


def test_a_moment_of_whatever_number() -> None:
    assert moment(1_773_705_600) == "2026-03-17 00:00 UTC"
    assert moment(2**53) == "no date of this calendar"


def test_only_visible_characters_are_printed() -> None:
    assert printable("a\x1b[0m\n\u202e\ud800é–") == "a\\x1b[0m\\n\\u202e\\ud800é–"
