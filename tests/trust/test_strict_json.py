"""Strict JSON: one reading for everybody, one spelling for us (hostile cases: tests/attacks)."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltaseal.errors import DocumentTypeError, LimitError
from deltaseal.trust import strict_json

CLEAN = st.text(
    st.characters(
        codec="utf-8",
        exclude_categories=("Cc", "Cs"),
        exclude_characters="\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
    ),
    max_size=20,
)
LEAVES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | CLEAN
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(CLEAN, inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(CLEAN, VALUES, max_size=5)


def nested(levels: int) -> bytes:
    """An object with arrays inside each other, ``levels`` deep in all."""
    return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


@given(OBJECTS)
def test_what_is_written_is_read_back(value):
    data = strict_json.dumps(value)
    assert strict_json.loads(data) == value
    assert strict_json.dumps(strict_json.loads(data)) == data


@given(OBJECTS)
def test_order_of_insertion_leaves_no_trace(value):
    assert strict_json.dumps(dict(reversed(list(value.items())))) == strict_json.dumps(value)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_arbitrary_bytes_are_read_or_refused_as_a_type(data):
    try:
        value = strict_json.loads(data)
    except DocumentTypeError:
        return
    assert json.loads(data) == value


def test_canonical_form():
    assert strict_json.dumps({"é": "ü", "b": [1, True, None], "a": {}}) == (
        '{"a":{},"b":[1,true,null],"é":"ü"}'.encode()
    )


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'"a"', b"1", b"{", b"{}x", b"{'a':1}", b'{"a":1,}', b"\x00", b"{} {}"]
)
def test_what_is_no_json_object_is_refused(data):
    with pytest.raises(DocumentTypeError):
        strict_json.loads(data)


def test_limit_of_size():
    text = b'{"a":"' + b"x" * (strict_json.MAX_BYTES - 8) + b'"}'
    assert len(text) == strict_json.MAX_BYTES
    assert len(strict_json.loads(text)["a"]) == strict_json.MAX_BYTES - 8
    with pytest.raises(LimitError):
        strict_json.loads(text[:-1] + b" }")


@pytest.mark.parametrize(
    "data",
    [
        b"[" * strict_json.MAX_BYTES,
        b'{"a":' * (strict_json.MAX_BYTES // 5),
        b'{"a":' + b"9" * (strict_json.MAX_BYTES - 6) + b"}",
        b'{"a":' + b"9" * (strict_json.MAX_BYTES - 8) + b".5}",
        b'{"' + b'\\"' * (strict_json.MAX_BYTES // 2 - 2),
    ],
    ids=["arrays", "objects", "digits", "fraction", "quotes"],
)
def test_hostile_text_of_full_size_is_refused_quickly(data):
    start = time.perf_counter()
    with pytest.raises(DocumentTypeError):
        strict_json.loads(data)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1.0},
        {"a": 2**53 + 1},
        {1: "a"},
        {"a": b"x"},
        {"a": "\n"},
        {"\u202e": 1},
        {"a": "\ud800"},
        {"a": {1, 2}},
    ],
    ids=repr,
)
def test_nothing_is_written_that_would_not_be_read(value):
    with pytest.raises(DocumentTypeError):
        strict_json.dumps(value)
