"""The exit codes: one table, held against the product's, the README and the classes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deltaseal import errors
from deltaseal.errors import EXIT_CODES, DeltasealError

README = Path(__file__).parents[1] / "README.md"

# The product definition, section 11: reason codes by exit code.
PRODUCT: dict[int, set[str]] = {
    0: set(),
    1: set(),
    2: set(),
    3: set(),
    10: {"E_SIG"},
    11: {"E_EXPIRED"},
    12: {"E_SEQ"},
    13: {"E_BASE"},
    14: {"E_MODEL", "E_DEVICE"},
    15: {"E_TYPE"},
    16: {"E_DIGEST"},
    17: {"E_TREE"},
    18: {"E_DELTA"},
    19: {"E_LIMIT"},
    20: {"E_WITHDRAWN", "E_HELD", "E_POLICY"},
    21: {"E_SPACE"},
    22: {"E_IO"},
    23: {"E_LOCKED"},
    24: {"E_BATTERY"},
    25: set(),
    26: set(),
    27: {"E_NET"},
    28: {"E_DAMAGED"},
    29: set(),
    30: set(),
}

CLASSES = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, DeltasealError) and kind is not DeltasealError
]


def test_the_codes_are_those_of_the_product() -> None:
    assert [row.code for row in EXIT_CODES] == list(PRODUCT)
    for row in EXIT_CODES:
        assert PRODUCT[row.code] <= set(row.reasons)
        assert all(
            reason.startswith("E_") is False or row.code == 2
            for reason in set(row.reasons) - PRODUCT[row.code]
        )


def test_every_reason_has_exactly_one_class_and_every_class_a_code() -> None:
    reasons = [reason for row in EXIT_CODES for reason in row.reasons]
    assert sorted(kind.reason for kind in CLASSES) == sorted(reasons)


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_carries_its_row(kind: type[DeltasealError]) -> None:
    error = kind("what was found", hint="what to do", found=3)
    row = next(row for row in EXIT_CODES if kind.reason in row.reasons)
    assert error.exit_code == row.code
    assert error.to_json() == {
        "reason": kind.reason,
        "exit_code": row.code,
        "sentence": "what was found",
        "hint": "what to do",
        "facts": {"found": 3},
    }
    assert str(error) == "what was found"


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_without_a_hint_of_its_own_has_the_one_of_its_reason(kind: type[DeltasealError]) -> None:
    hint = kind("what was found").hint
    assert hint and "\n" not in hint and not hint.endswith(".")


def test_the_readme_has_the_table() -> None:
    rows = re.findall(r"^\| (\d+) \| (.*?) \|$", README.read_text(), re.MULTILINE)
    expected = [
        (
            str(row.code),
            row.meaning + (f" ({', '.join(f'`{reason}`' for reason in row.reasons)})" if row.reasons else ""),
        )
        for row in EXIT_CODES
    ]
    assert rows == expected
