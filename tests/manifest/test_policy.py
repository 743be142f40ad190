"""The owner's policy file."""

from __future__ import annotations

import pytest

from deltaseal.errors import UsageError
from deltaseal.manifest import Policy, read_policy


def test_an_empty_file_is_the_default() -> None:
    assert read_policy("") == Policy()


def test_every_wish() -> None:
    text = """
    updates = "notify"
    deadline = 2026-03-24
    personalised_only = true
    remove = "admin"
    full_download = "unmetered"
    """
    assert read_policy(text) == Policy("notify", 1_774_310_400, True, "admin", "unmetered")


@pytest.mark.parametrize(
    "text",
    [
        'updates = "sometimes"',
        "updates = 1",
        'deadline = "2026-03-24"',
        "deadline = 2026-03-24T00:00:00",
        "personalised_only = 1",
        'surprise = "x"',
        "updates =",
    ],
)
def test_a_wrong_wish_is_named(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        read_policy(text)
    assert refusal.value.hint
